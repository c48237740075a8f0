//! What was done that somebody may ask about one day: who signed in, whose device was revoked, who was let into a space.

use std::fmt;

use sync_core::id::{DeviceId, SpaceId};

use crate::app::App;
use crate::router::observe::Note;

/// What happened. The names are what the log and `sync-server audit` show, so they stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    AccountCreated,
    /// Of an address that has an account.
    AccountRefused,
    PasswordChanged,
    SignIn,
    SignInFailed,
    SignInBlocked,
    RefreshTheft,
    DeviceRegistered,
    DeviceRevoked,
    LogOut,
    CompanionApproved,
    SpaceCreated,
    InviteCreated,
    InviteRevoked,
    MemberJoined,
    MemberRoleChanged,
    MemberLeft,
    MemberRemoved,
    DocumentDeleted,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccountCreated => "account.created",
            Self::AccountRefused => "account.refused",
            Self::PasswordChanged => "account.password_changed",
            Self::SignIn => "signin.done",
            Self::SignInFailed => "signin.failed",
            Self::SignInBlocked => "signin.blocked",
            Self::RefreshTheft => "session.refresh_theft",
            Self::DeviceRegistered => "device.registered",
            Self::DeviceRevoked => "device.revoked",
            Self::LogOut => "session.log_out",
            Self::CompanionApproved => "companion.approved",
            Self::SpaceCreated => "space.created",
            Self::InviteCreated => "invite.created",
            Self::InviteRevoked => "invite.revoked",
            Self::MemberJoined => "member.joined",
            Self::MemberRoleChanged => "member.role_changed",
            Self::MemberLeft => "member.left",
            Self::MemberRemoved => "member.removed",
            Self::DocumentDeleted => "document.deleted",
        })
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) struct Event<'a> {
    pub(crate) kind: Kind,
    /// Whom it concerns: the user, or for a sign-in that failed what stands for the identity that was tried, never its text.
    pub(crate) user: &'a str,
    pub(crate) device: Option<DeviceId>,
    pub(crate) space: Option<SpaceId>,
    /// What else there is to know, without anything secret.
    pub(crate) detail: Option<String>,
}

/// Records it. The request it belongs to is named where there is one.
#[expect(clippy::unused_async, reason = "it is going to be kept in the store")]
pub(crate) async fn record(_app: &App, note: Option<&Note>, event: Event<'_>) {
    let Event { kind, user, device, space, detail } = event;
    tracing::info!(
        audit = %kind,
        request_id = note.map(Note::id),
        user,
        device = device.map(tracing::field::display),
        space = space.map(tracing::field::display),
        detail,
        "audit"
    );
}
