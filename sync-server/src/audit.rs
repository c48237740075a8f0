//! What was done that somebody may ask about one day: who signed in, whose device was revoked, who was let into a space.
//!
//! It is said twice: in a line of the log, which leaves the machine at once, and in the store, where rows are only ever added.
//! Both bear the same `audit_id`, so whoever doubts the one reads the other. Rows are not chained by hashes: a chain needs a
//! lock a user, which whoever fails to sign in a thousand times would hold, says nothing about rows missing at its end, and
//! whoever can rewrite rows can rewrite the chain.

use std::fmt;

use sync_core::id::{DeviceId, SpaceId};

use crate::app::App;
use crate::random;
use crate::router::observe::Note;
use crate::store::audit::{AuditId, AuditRow};
use crate::telemetry::metrics;

pub(crate) mod deletions;
pub(crate) mod flags;
pub(crate) mod keeper;
pub(crate) mod operator;

/// What else there is to know about an event. It is one line that people read.
const DETAIL_BYTES_MAX: usize = 512;

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
    LogHealed,
    SpaceDeleted,
    AccountDeleted,
    FlagNewCountry,
    FlagBurst,
    FlagReaching,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 25] = [
        Self::AccountCreated,
        Self::AccountRefused,
        Self::PasswordChanged,
        Self::SignIn,
        Self::SignInFailed,
        Self::SignInBlocked,
        Self::RefreshTheft,
        Self::DeviceRegistered,
        Self::DeviceRevoked,
        Self::LogOut,
        Self::CompanionApproved,
        Self::SpaceCreated,
        Self::InviteCreated,
        Self::InviteRevoked,
        Self::MemberJoined,
        Self::MemberRoleChanged,
        Self::MemberLeft,
        Self::MemberRemoved,
        Self::DocumentDeleted,
        Self::LogHealed,
        Self::SpaceDeleted,
        Self::AccountDeleted,
        Self::FlagNewCountry,
        Self::FlagBurst,
        Self::FlagReaching,
    ];

    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
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
            Self::LogHealed => "space.log_healed",
            Self::SpaceDeleted => "space.deleted",
            Self::AccountDeleted => "account.deleted",
            Self::FlagNewCountry => "flag.new_country",
            Self::FlagBurst => "flag.burst",
            Self::FlagReaching => "flag.reaching",
        }
    }
}

/// What kinds of events there are, as they are written.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().map(Kind::name)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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

/// Records it. The request it belongs to is named where there is one. It waits until the event is kept, but for no longer
/// than a moment, and nothing fails because of it: what the store does not take is kept later, and the log has it anyway.
pub(crate) async fn record(app: &App, note: Option<&Note>, event: Event<'_>) {
    let row = app.audit.row(event, note.map(Context::of).unwrap_or_default());
    say(&row);
    app.audit.keep_now(row).await;
}

/// From where something was done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    pub(crate) address: Option<String>,
    pub(crate) request_id: Option<String>,
}

impl Context {
    /// As a request has it.
    pub(crate) fn of(note: &Note) -> Self {
        let address = note.address().map(|address| address.to_string());
        Self { address, request_id: Some(note.id().to_owned()) }
    }
}

/// An event of that time, as it is kept.
pub(crate) fn row(at_ms: u64, event: Event<'_>, context: Context) -> AuditRow {
    let Event { kind, user, device, space, detail } = event;
    let number = (u128::from(random::number()) << 64) | u128::from(random::number());
    AuditRow {
        user: user.replace('\0', " "),
        at_ms,
        id: AuditId(number.to_be_bytes()),
        kind: kind.name().to_owned(),
        device,
        space,
        address: context.address,
        request_id: context.request_id,
        detail: detail.map(bounded),
    }
}

/// The line of the log.
fn say(row: &AuditRow) {
    metrics::audited(&row.kind);
    let AuditRow { user, id, kind, device, space, address, request_id, detail, .. } = row;
    tracing::info!(
        audit = kind,
        audit_id = %Hex(id),
        request_id,
        user,
        device = device.map(tracing::field::display),
        space = space.map(tracing::field::display),
        address,
        detail,
        "audit"
    );
}

/// As people read it.
struct Hex<'a>(&'a AuditId);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0.0))
    }
}

/// No longer than it may be. A zero byte is none of the texts that databases keep.
fn bounded(detail: String) -> String {
    let end = (0..=DETAIL_BYTES_MAX.min(detail.len())).rev().find(|end| detail.is_char_boundary(*end)).unwrap_or(0);
    detail[..end].replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_listed() {
        let listed: Vec<usize> = Kind::ALL.into_iter().map(|kind| kind as usize).collect();
        let there_are: Vec<usize> = (0..=Kind::FlagReaching as usize).collect();
        assert_eq!(listed, there_are);
        let names: std::collections::BTreeSet<&str> = kinds().collect();
        assert_eq!(names.len(), listed.len());
    }
}
