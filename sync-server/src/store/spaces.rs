//! What a store keeps of spaces as people make and share them: names, members, and who decides about whom. What is decided is
//! decided here, the same for every store, upon what it read under the space's lock.

use async_trait::async_trait;
use sync_core::id::SpaceId;
use sync_core::ledger::Role;

use super::StoreError;

/// How much there may be of what people make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Members of one space. Whoever shares with more wants something else; a list of all of them still fits one answer.
    pub members_max: u64,
    /// Spaces that one user makes. Each costs rows for good, so nobody makes any number of them; a person has dozens.
    pub spaces_made_max: u64,
    /// Invitations of one space that can be accepted: a class or a team at once, and a list that a person can read.
    pub open_invites_max: u64,
    /// Invitations of one space that are kept, with those that were accepted of late.
    pub kept_invites_max: u64,
}

/// What the server allows.
pub const BOUNDS: Bounds =
    Bounds { members_max: 10_000, spaces_made_max: 1_000, open_invites_max: 100, kept_invites_max: 1_000 };

/// Why a store did not do what a user asked for. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing, or the user may not know that there is.
    NotFound,
    /// A member asks, but not one whose role allows it.
    Forbidden,
    /// Nobody would own the space any more.
    LastOwner,
    /// There are as many as there may be.
    TooMany,
}

/// What a store answers to a user: what was done, or why not.
pub type Decided<T> = Result<Result<T, Refusal>, StoreError>;

/// A space that is to be made.
#[derive(Debug, Clone)]
pub struct NewSpace {
    /// Its id, which nobody has yet.
    pub space: SpaceId,
    /// What it is called.
    pub name: String,
    /// Who makes it, and owns it.
    pub owner: String,
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// How many there may be.
    pub bounds: Bounds,
}

/// A space of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSpace {
    /// Which one.
    pub space: SpaceId,
    /// What the user may do there.
    pub role: Role,
    /// What it is called.
    pub name: Option<String>,
}

/// Spaces and their members. Each call names the user who asks (`by`), and finds nothing where that user is no member.
#[async_trait]
pub trait Spaces: Send + Sync + 'static {
    /// Makes a space with an owner and a name.
    async fn create_space(&self, new: NewSpace) -> Decided<()>;

    /// A user's spaces with their names, in ascending order.
    async fn named_spaces_of(&self, user: &str) -> Result<Vec<OwnSpace>, StoreError>;

    /// The members of a space, in ascending order. Any member may ask.
    async fn members(&self, space: SpaceId, by: &str) -> Decided<Vec<(String, Role)>>;

    /// An owner gives a member another role; answers with the one before.
    async fn change_role(&self, space: SpaceId, by: &str, user: &str, role: Role) -> Decided<Role>;

    /// An owner removes a member, or a member leaves.
    async fn remove_member(&self, space: SpaceId, by: &str, user: &str) -> Decided<()>;
}

/// What is read of a space before a membership changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// What whoever asks may do.
    pub(super) by: Option<Role>,
    /// What whom it is about may do.
    pub(super) of: Option<Role>,
    /// Owners of the space; two stand for any number above.
    pub(super) owners: u64,
}

impl Facts {
    /// Owners decide; who is no member does not get to know that there is anything to decide.
    fn asked_by_owner(&self) -> Result<(), Refusal> {
        match self.by {
            None => Err(Refusal::NotFound),
            Some(Role::Owner) => Ok(()),
            Some(_) => Err(Refusal::Forbidden),
        }
    }

    /// Whether the member may get that role; answers with the one before.
    pub(super) fn change_role(&self, role: Role) -> Result<Role, Refusal> {
        self.asked_by_owner()?;
        let before = self.of.ok_or(Refusal::NotFound)?;
        if before == Role::Owner && role != Role::Owner && self.owners < 2 {
            return Err(Refusal::LastOwner);
        }
        Ok(before)
    }

    /// Whether the member may be removed, or leave.
    pub(super) fn remove(&self, leaves: bool) -> Result<(), Refusal> {
        if !leaves {
            self.asked_by_owner()?;
        }
        let before = self.of.ok_or(Refusal::NotFound)?;
        if before == Role::Owner && self.owners < 2 { Err(Refusal::LastOwner) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Option<Role>; 4] = [None, Some(Role::Reader), Some(Role::Writer), Some(Role::Owner)];

    #[test]
    fn owners_decide_about_members_and_one_owner_stays() {
        for by in ROLES {
            for of in ROLES {
                for owners in 1..=2 {
                    let facts = Facts { by, of, owners };
                    for role in [Role::Reader, Role::Writer, Role::Owner] {
                        let expected = match (by, of) {
                            (None, _) | (Some(Role::Owner), None) => Err(Refusal::NotFound),
                            (Some(Role::Reader | Role::Writer), _) => Err(Refusal::Forbidden),
                            (Some(Role::Owner), Some(Role::Owner)) if owners == 1 && role != Role::Owner => {
                                Err(Refusal::LastOwner)
                            }
                            (Some(Role::Owner), Some(before)) => Ok(before),
                        };
                        assert_eq!(facts.change_role(role), expected, "{facts:?} {role:?}");
                    }
                    let removed = match (by, of) {
                        (None, _) | (Some(Role::Owner), None) => Err(Refusal::NotFound),
                        (Some(Role::Reader | Role::Writer), _) => Err(Refusal::Forbidden),
                        (Some(Role::Owner), Some(Role::Owner)) if owners == 1 => Err(Refusal::LastOwner),
                        (Some(Role::Owner), Some(_)) => Ok(()),
                    };
                    assert_eq!(facts.remove(false), removed, "{facts:?}");
                }
            }
        }
        for (of, owners, expected) in [
            (None, 1, Err(Refusal::NotFound)),
            (Some(Role::Reader), 1, Ok(())),
            (Some(Role::Owner), 1, Err(Refusal::LastOwner)),
            (Some(Role::Owner), 2, Ok(())),
        ] {
            assert_eq!(Facts { by: of, of, owners }.remove(true), expected, "who leaves");
        }
    }
}
