//! What a store keeps of invitations: single-use, expiring, known by the hash of a secret that it never sees again.

use std::time::Duration;

use async_trait::async_trait;
use subtle::ConstantTimeEq;
use sync_core::id::{Hash, SpaceId};
use sync_core::ledger::Role;
use uuid::Uuid;

use super::spaces::{Bounds, Decided, Refusal};

/// How long an accepted one is kept: within it, whoever lost the answer gets it again.
pub const USED_KEPT: Duration = Duration::from_hours(24);
/// Dead ones that making a new one clears away: more than it adds, so that they do not pile up, and few enough that it takes
/// no time worth speaking of.
pub const INVITE_SWEEP_MAX: u32 = 32;

/// An invitation that is to be made.
#[derive(Debug, Clone)]
pub struct NewInvite {
    /// Into which space.
    pub space: SpaceId,
    /// Who makes it.
    pub by: String,
    /// What it goes by.
    pub invite: Uuid,
    /// SHA-256 of its secret.
    pub secret_hash: Hash,
    /// What whoever accepts it may do.
    pub role: Role,
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// Until when it holds.
    pub expires_ms: u64,
    /// How many there may be.
    pub bounds: Bounds,
}

/// An invitation that can be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// What it goes by.
    pub invite: Uuid,
    /// What whoever accepts it may do.
    pub role: Role,
    /// Who made it.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub created_ms: u64,
    /// Until when it holds.
    pub expires_ms: u64,
}

/// Somebody who wants to accept one.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// Into which space.
    pub space: SpaceId,
    /// Which one.
    pub invite: Uuid,
    /// SHA-256 of the secret that was shown.
    pub secret_hash: Hash,
    /// Who.
    pub user: String,
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// How many members there may be.
    pub bounds: Bounds,
}

/// What came of accepting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// What the user may do in the space now.
    pub role: Role,
    /// What it is called.
    pub name: Option<String>,
    /// Whether that is new: not for who may do as much already, or accepts once more.
    pub is_new: bool,
}

/// Invitations. As everywhere, who is no member of the space finds nothing.
#[async_trait]
pub trait Invites: Send + Sync + 'static {
    /// An owner makes one.
    async fn invite(&self, new: NewInvite) -> Decided<()>;

    /// Those that can be accepted, the oldest first. Owners may ask.
    async fn open_invites(&self, space: SpaceId, by: &str, now_ms: u64) -> Decided<Vec<Invite>>;

    /// An owner takes one back.
    async fn revoke_invite(&self, space: SpaceId, by: &str, invite: Uuid, now_ms: u64) -> Decided<()>;

    /// Accepts one. It is used up, unless the user may do as much already; who has accepted it and still is a member gets the
    /// same answer again. Whatever else is wrong with it, it is not found.
    async fn accept_invite(&self, acceptance: Acceptance) -> Decided<Joined>;
}

/// An invitation as it is kept; where there is none, one that nobody can accept. Stores read both alike.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) is_there: bool,
    pub(super) secret_hash: Hash,
    pub(super) role: Role,
    pub(super) expires_ms: u64,
    /// Empty where nobody has.
    pub(super) used_by: String,
}

/// What accepting an invitation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: the user has that role, and keeps it.
    Stay(Role),
    /// It is used up, and the user has its role.
    Join(Role),
}

impl Acceptance {
    /// Decides upon what is kept, and what the user may do already.
    pub(super) fn decide(&self, kept: &Kept, member: Option<Role>) -> Result<Step, Refusal> {
        let is_secret = bool::from(kept.secret_hash.0.ct_eq(&self.secret_hash.0));
        if !(is_secret && kept.is_there) {
            return Err(Refusal::NotFound);
        }
        match (kept.used_by.as_str(), member) {
            ("", _) if kept.expires_ms <= self.now_ms => Err(Refusal::NotFound),
            ("", Some(role)) if role >= kept.role => Ok(Step::Stay(role)),
            ("", _) => Ok(Step::Join(kept.role)),
            (user, Some(role)) if user == self.user => Ok(Step::Stay(role)),
            _ => Err(Refusal::NotFound),
        }
    }
}

/// Before when an accepted one is dead.
pub(super) fn used_before_ms(now_ms: u64) -> i64 {
    now_ms.saturating_sub(USED_KEPT.as_millis() as u64) as i64
}

impl NewInvite {
    /// Whether there is room for one more.
    pub(super) fn has_room(&self, open: u64, kept: u64) -> bool {
        open < self.bounds.open_invites_max && kept < self.bounds.kept_invites_max
    }
}

#[cfg(test)]
mod tests {
    use super::super::spaces::BOUNDS;
    use super::*;

    fn acceptance(secret: &[u8], now_ms: u64) -> Acceptance {
        let (space, invite) = (SpaceId::from_bytes([1; 16]), Uuid::from_bytes([2; 16]));
        Acceptance { space, invite, secret_hash: Hash::of(&[secret]), user: "bob".to_owned(), now_ms, bounds: BOUNDS }
    }

    fn kept(used_by: &str) -> Kept {
        let secret_hash = Hash::of(&[b"secret"]);
        Kept { is_there: true, secret_hash, role: Role::Writer, expires_ms: 1_000, used_by: used_by.to_owned() }
    }

    #[test]
    fn an_invitation_is_for_one_person_and_a_while() {
        let fine = acceptance(b"secret", 999);
        let late = acceptance(b"secret", 1_000);
        let join = Ok(Step::Join(Role::Writer));
        assert_eq!(fine.decide(&kept(""), None), join);
        assert_eq!(fine.decide(&kept(""), Some(Role::Reader)), join, "it raises");
        for role in [Role::Writer, Role::Owner] {
            assert_eq!(fine.decide(&kept(""), Some(role)), Ok(Step::Stay(role)), "and never lowers");
        }
        assert_eq!(late.decide(&kept("bob"), Some(Role::Writer)), Ok(Step::Stay(Role::Writer)), "once more");
        for (of, kept, member) in [
            (&fine, Kept { is_there: false, ..kept("") }, None),
            (&acceptance(b"another", 999), kept(""), None),
            (&acceptance(b"another", 999), kept("bob"), Some(Role::Writer)),
            (&late, kept(""), None),
            (&late, kept(""), Some(Role::Owner)),
            (&fine, kept("eve"), None),
            (&fine, kept("eve"), Some(Role::Owner)),
            (&fine, kept("bob"), None),
        ] {
            assert_eq!(of.decide(&kept, member), Err(Refusal::NotFound), "{kept:?} {member:?}");
        }
    }
}
