//! What the server keeps, and what it may fail with. Which backend is configuration; how it behaves is this trait.

use std::time::Duration;

use async_trait::async_trait;
use sync_core::check::Push;
use sync_core::heal::{Lost, TakenBack};
use sync_core::id::{DeviceId, SpaceId};
use sync_core::ledger::{NewEntry, Role};
use sync_core::log::Cursor;
use sync_core::version::FeedHeads;
use sync_core::wire::{PageEntry, PushAnswer, Snapshot};

use self::idempotency::{Claim, ClaimToken, KeptAnswer, NewClaim, RequestKey};

pub mod accounts;
mod answer;
pub mod audit;
pub mod cluster;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod devices;
pub(crate) mod entry;
pub mod grants;
pub mod idempotency;
pub mod inspect;
pub mod invites;
pub mod lifecycle;
pub mod postgres;
pub mod registry;
pub mod snapshots;
pub mod spaces;
pub(crate) mod spool;
pub mod sqlite;
pub mod versions;

/// Why the storage did not do what it was asked to. Nothing of the request has taken effect, unless the answer to a
/// commit was lost: then sending it again finds out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such space.
    #[error("no such space")]
    UnknownSpace,
    /// The space was deleted, for good.
    #[error("the space was deleted")]
    DeletedSpace,
    /// More waits for the storage than it takes.
    #[error("the storage's queue is full")]
    Busy,
    /// The storage cannot be reached or written: a full disk, an I/O error, or it is closed.
    #[error("the storage is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// The storage holds something that cannot be, or the engine asked for nonsense.
    #[error("the storage is at fault: {0}")]
    Fault(#[source] Cause),
}

/// An error of the backend's library: for logs, never for clients.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What became of a group of pushes.
#[derive(Debug)]
pub struct Committed {
    /// One for each push, in the order given.
    pub answers: Vec<PushAnswer>,
    /// Where the log ended before.
    pub before: Cursor,
    /// Where the log ends now.
    pub head: Cursor,
    /// What was added to the log, in its order.
    pub entries: Vec<NewEntry>,
    /// When that was, by the store's clock.
    pub received_ms: u64,
}

/// What became of entries that a log had lost.
#[derive(Debug)]
pub struct Healed {
    /// What was added to the log again.
    pub committed: Committed,
    /// How many they were.
    pub became: TakenBack,
}

/// Which page of a log is wanted.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// The reader's place; `None` for the beginning.
    pub since: Option<Cursor>,
    /// Payload bytes that the page may hold. The first entry comes even where it alone is larger.
    pub bytes_max: usize,
    /// Entries that the page may hold.
    pub changes_max: usize,
    /// Who reads.
    pub reader: DeviceId,
    /// Whether the reader wants its own payloads too.
    pub own: bool,
    /// Whether every feed's head is wanted with the last page.
    pub version: bool,
    /// Whether the reader takes snapshots, and up to which place it has the documents.
    pub snapshots: Option<u64>,
}

impl PageRequest {
    /// The answer where a payload is gone that neither a snapshot stands in for nor a deletion makes needless.
    fn without_payload(&self) -> Result<PageAnswer, StoreError> {
        if self.snapshots.is_none() { Ok(PageAnswer::Folded) } else { Err(entry::corrupt("payload")) }
    }
}

/// A page, or why there is none.
#[derive(Debug)]
pub enum PageAnswer {
    /// Entries that follow the reader's place without a hole.
    Page(LogPage),
    /// The log does not hold the reader's place.
    Diverged {
        /// Where the log ends.
        head: Cursor,
    },
    /// Payloads after the reader's place are gone, and the reader does not take the snapshots that stand in for them.
    Folded,
}

/// Entries of a log.
#[derive(Debug)]
pub struct LogPage {
    /// In log order.
    pub entries: Vec<PageEntry>,
    /// When each of them was received, by the store's clock.
    pub received_ms: Vec<u64>,
    /// What stands in for payloads that were left out, in log order.
    pub snapshots: Vec<Snapshot>,
    /// Payload bytes among them, and those of snapshots.
    pub payload_bytes: usize,
    /// The place after them.
    pub next: Cursor,
    /// Whether the log goes on.
    pub more: bool,
    /// How far every feed has come, at the end of the log, where it was asked for.
    pub version: Option<FeedHeads>,
}

/// How far a space has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceVersion {
    /// Where its log ends.
    pub head: Cursor,
    /// How far every feed has come.
    pub feeds: FeedHeads,
}

/// How busy the connections to a database are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLevels {
    /// Connections that there are.
    pub connections: usize,
    /// How many there may be.
    pub connections_max: usize,
    /// How many wait for one.
    pub waiters: usize,
}

/// The server's memory. Each call is one transaction; what it answered is on disk.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Decides on a group of pushes to one space and adds them to its log, all or none. Several groups, of the same or
    /// of different spaces, may be under way at once.
    async fn commit(&self, space: SpaceId, pushes: Vec<Push>) -> Result<Committed, StoreError>;

    /// Takes back what a log lost, all or none of what can join it.
    async fn take_back(&self, space: SpaceId, lost: Vec<Lost>) -> Result<Healed, StoreError>;

    /// Where a log ends, and the chain's value at those of some places that it has, as of one moment.
    async fn places(&self, space: SpaceId, seqs: Vec<u64>) -> Result<(Cursor, Vec<Cursor>), StoreError>;

    /// A page of a log, as of one moment.
    async fn page(&self, space: SpaceId, request: PageRequest) -> Result<PageAnswer, StoreError>;

    /// How far a space has come, as of one moment.
    async fn version(&self, space: SpaceId) -> Result<SpaceVersion, StoreError>;

    /// Where the logs of several spaces end; those that do not exist are left out.
    async fn heads(&self, spaces: &[SpaceId]) -> Result<Vec<(SpaceId, Cursor)>, StoreError>;

    /// What a user may do in a space; `None` also where there is no such space.
    async fn role(&self, space: SpaceId, user: &str) -> Result<Option<Role>, StoreError>;

    /// Makes sure that a user's personal space is there and the user its owner.
    async fn ensure_personal(&self, user: &str) -> Result<(), StoreError>;

    /// Sets what a user may do in a space, which comes into being where it was not; `None` ends the membership.
    async fn set_role(&self, space: SpaceId, user: &str, role: Option<Role>) -> Result<(), StoreError>;

    /// How busy its connections are, where it has such.
    fn pool(&self) -> Option<PoolLevels> {
        None
    }

    /// A user's spaces, in ascending order.
    async fn spaces_of(&self, user: &str) -> Result<Vec<(SpaceId, Role)>, StoreError>;

    /// Claims a request for oneself, unless somebody has, or it was answered. What has expired by the store's own clock is
    /// as if it had never been, and is cleared away in small bunches.
    async fn claim(&self, claim: NewClaim) -> Result<Claim, StoreError>;

    /// Keeps the answer to a request for so long; `false`, and nothing happens, where the claim is not held any more.
    async fn settle(
        &self,
        of: RequestKey,
        token: ClaimToken,
        answer: KeptAnswer,
        kept: Duration,
    ) -> Result<bool, StoreError>;

    /// Gives a claim up, if it is held still.
    async fn release(&self, of: RequestKey, token: ClaimToken) -> Result<(), StoreError>;

    /// Whether both reading and writing would be tried.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Finishes what was begun and lets go of the storage; later calls are [`StoreError::Unavailable`].
    async fn close(&self) -> Result<(), StoreError>;
}
