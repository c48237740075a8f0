//! How spaces come and go as a whole: filled from a file, and deleted for good.
//!
//! A closed space is nobody's: whoever asks for one that is being filled is to come again, and one that was deleted is gone.
//! Its rows are cleared in small bunches, so that nobody waits for a space of any size.

use async_trait::async_trait;
use sync_core::heal::Lost;
use sync_core::id::{DeviceId, DocId, SpaceId};
use sync_core::log::Cursor;

use super::StoreError;
use super::spaces::Decided;

/// Whether a space is there for those who may enter it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Open = 0,
    /// It is being filled from a file.
    Filling = 1,
    /// It was deleted.
    Deleted = 2,
}

impl Standing {
    /// The one with that number, as databases store it.
    pub(super) fn from_number(number: i64) -> Result<Self, StoreError> {
        match number {
            0 => Ok(Self::Open),
            1 => Ok(Self::Filling),
            2 => Ok(Self::Deleted),
            _ => Err(super::entry::corrupt("standing of a space")),
        }
    }

    /// Lets pass what asks for an open space.
    pub(super) fn pass(self) -> Result<(), StoreError> {
        match self {
            Self::Open => Ok(()),
            Self::Filling => Err(StoreError::Busy),
            Self::Deleted => Err(StoreError::DeletedSpace),
        }
    }
}

/// Why a space is not filled. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotFilled {
    /// It has a log.
    #[error("the space has a log already: only an empty one can be filled, or one that does not exist")]
    Taken,
    /// It was deleted.
    #[error("the space was deleted, and its id is never used again")]
    Deleted,
}

/// Entries that fill a space.
#[derive(Debug, Clone)]
pub struct Filling {
    /// Where its log ends so far.
    pub base: Cursor,
    /// What follows, checked.
    pub entries: Vec<Lost>,
    /// When the server that had them first took each, by its clock.
    pub received_ms: Vec<u64>,
}

/// A space that was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedSpace {
    /// Which one.
    pub space: SpaceId,
    /// When.
    pub deleted_ms: u64,
    /// When nothing of it was left.
    pub purged_ms: Option<u64>,
}

/// What became of a document's deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The entry that deleted it.
    pub seq: u64,
    /// When the server took that.
    pub deleted_ms: u64,
    /// Whether nothing of its content is left.
    pub purged: bool,
    /// When that was so first, where it was noted.
    pub purged_ms: Option<u64>,
    /// How far devices had read when they said so last, in ascending order of their ids.
    pub readers: Vec<Place>,
}

/// How far a device has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which device.
    pub device: DeviceId,
    /// The last entry that it has.
    pub seq: u64,
    /// When it said so.
    pub seen_ms: u64,
}

/// Devices that are told with a deletion.
pub const READERS_MAX: usize = 10_000;

/// Filling, deleting, and what is left to say about it.
#[async_trait]
pub trait Lifecycle: Send + Sync + 'static {
    /// Closes a space that is empty, or comes into being with this, so that it can be filled. One whose filling was broken off
    /// begins anew: whoever did it before cannot go on.
    async fn begin_filling(&self, space: SpaceId) -> Result<Result<(), NotFilled>, StoreError>;

    /// Adds entries, all or none. `None`, and nothing happens, where the space is not being filled or its log does not end
    /// where these begin; else where it ends then.
    async fn fill(&self, space: SpaceId, filling: Filling) -> Result<Option<Cursor>, StoreError>;

    /// Opens a space that was filled up to there, with that owner if there is one. `false`, and nothing happens, where it is
    /// another.
    async fn open_filled(&self, space: SpaceId, head: Cursor, owner: Option<&str>) -> Result<bool, StoreError>;

    /// Clears away rows of a closed space, at most so many of each kind; gives how many. Members stay. Of a space that is being
    /// filled nothing goes once there is something in it.
    async fn clear_closed(&self, space: SpaceId, max: u32) -> Result<u64, StoreError>;

    /// Deletes a space for good, at the wish of an owner, or of the operator. Gives who its members were.
    async fn delete_space(&self, space: SpaceId, by: Option<&str>, now_ms: u64) -> Decided<Vec<String>>;

    /// Whether a user was a member of a space when it was deleted.
    async fn lost_by_deletion(&self, space: SpaceId, user: &str) -> Result<bool, StoreError>;

    /// The tombstone of a space; `None` where it was not deleted.
    async fn deleted_space(&self, space: SpaceId) -> Result<Option<DeletedSpace>, StoreError>;

    /// Spaces that were deleted since then, at most so many, the latest first.
    async fn spaces_deleted_since(&self, since_ms: u64, max: u32) -> Result<Vec<SpaceId>, StoreError>;

    /// Spaces that were deleted by then and of which something is left, at most so many.
    async fn unpurged_spaces(&self, deleted_by_ms: u64, max: u32) -> Result<Vec<SpaceId>, StoreError>;

    /// Nothing of a deleted space is left but its tombstone.
    async fn space_purged(&self, space: SpaceId, now_ms: u64) -> Result<(), StoreError>;

    /// What became of a document's deletion; `None` where it was not deleted.
    async fn deletion(&self, space: SpaceId, doc: DocId) -> Result<Option<Deletion>, StoreError>;
}
