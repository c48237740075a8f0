//! What operators do beside the server, with `sync-server`: it is kept as what callers do is, without a request.

use sync_core::id::{DeviceId, SpaceId};
use sync_core::ledger::Role;

use super::{Context, Event, Kind, row};
use crate::store::StoreError;
use crate::store::registry::Registry;

/// Something that an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A device was revoked.
    Revoked(DeviceId),
    /// What a user may do in a space was set; `None` where the membership was ended.
    RoleSet(SpaceId, Option<Role>),
    /// A space was deleted.
    SpaceDeleted(SpaceId),
    /// The account was deleted, with all that goes with it.
    AccountDeleted,
}

impl Deed {
    /// As it is kept; `by` says who has done it.
    pub(crate) fn event<'a>(self, user: &'a str, by: &str) -> Event<'a> {
        let by = |what: &str| Some(format!("{what}by {by}"));
        let event = |kind, detail| Event { kind, user, device: None, space: None, detail };
        match self {
            Self::Revoked(device) => Event { device: Some(device), ..event(Kind::DeviceRevoked, by("")) },
            Self::SpaceDeleted(space) => Event { space: Some(space), ..event(Kind::SpaceDeleted, by("")) },
            Self::AccountDeleted => event(Kind::AccountDeleted, by("")),
            Self::RoleSet(space, None) => Event { space: Some(space), ..event(Kind::MemberRemoved, by("")) },
            Self::RoleSet(space, Some(role)) => {
                let role = match role {
                    Role::Reader => "to reader, ",
                    Role::Writer => "to writer, ",
                    Role::Owner => "to owner, ",
                };
                Event { space: Some(space), ..event(Kind::MemberRoleChanged, by(role)) }
            }
        }
    }
}

/// Keeps what an operator did with a user's device or membership.
pub async fn done_by_operator(registry: &dyn Registry, now_ms: u64, user: &str, deed: Deed) -> Result<(), StoreError> {
    registry.append_audit(vec![row(now_ms, deed.event(user, "an operator"), Context::default())]).await
}
