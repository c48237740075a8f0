//! What becomes of a user who wants to be none any more: spaces, memberships, devices, sessions, the account.
//!
//! Each step may be repeated, and the account goes last: whoever is interrupted signs in once more and asks again.

use sync_core::id::{DeviceId, SpaceId};
use sync_core::ledger::Role;

use crate::store::StoreError;
use crate::store::registry::Registry;
use crate::store::spaces::Refusal;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Spaces that were deleted, with who was a member.
    pub deleted: Vec<(SpaceId, Vec<String>)>,
    /// Spaces that the user is no longer a member of.
    pub left: Vec<SpaceId>,
    /// Devices that were revoked.
    pub revoked: Vec<DeviceId>,
}

/// Why it was not.
#[derive(Debug, thiserror::Error)]
pub enum NotErased {
    /// Others are in a space that nobody else owns. Nothing was done, unless its other owners left just now.
    #[error("{0} has other members and no other owner: make somebody else an owner, or delete the space, first")]
    LastOwner(SpaceId),
    /// The storage failed. What was done by then is done; asking again goes on.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Deletes a user's personal space, the spaces that nobody else is in, the memberships, the devices with their sessions, and
/// the account, if it is of this server.
pub async fn erase_user(registry: &dyn Registry, user: &str, now_ms: u64) -> Result<Erased, NotErased> {
    let spaces = registry.named_spaces_of(user).await?;
    let personal = SpaceId::personal(user);
    let mut alone = Vec::new();
    for own in &spaces {
        if own.space == personal {
            continue;
        }
        // Who is thrown out in between is out.
        let Ok(members) = registry.members(own.space, user).await? else { continue };
        let mut others = members.iter().filter(|(name, _)| name != user).peekable();
        if others.peek().is_none() {
            alone.push(own.space);
        } else if own.role == Role::Owner && !others.any(|(_, role)| *role == Role::Owner) {
            return Err(NotErased::LastOwner(own.space));
        }
    }
    let mut erased = Erased::default();
    for own in &spaces {
        let space = own.space;
        if space == personal || alone.contains(&space) {
            if let Ok(former) = registry.delete_space(space, None, now_ms).await? {
                erased.deleted.push((space, former));
            }
            continue;
        }
        match registry.remove_member(space, user, user).await? {
            Ok(()) => erased.left.push(space),
            Err(Refusal::LastOwner) => return Err(NotErased::LastOwner(space)),
            Err(_) => {}
        }
    }
    for device in registry.devices(user, now_ms).await? {
        if registry.revoke(user, device.device, now_ms).await? == Some(true) {
            erased.revoked.push(device.device);
        }
    }
    registry.forget_user(user).await?;
    Ok(erased)
}
