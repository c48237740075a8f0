//! What a store keeps for compaction: snapshots, what is behind them, how far devices have read, and who looks after a space.
//!
//! Nothing here is needed to accept a change, and no count here decides what may go: that is decided by what was read back.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sync_core::feed::{ChangeId, ItemKind};
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::ledger::NewEntry;
use uuid::Uuid;

use super::StoreError;

/// Entries that the horizon passes at once for their age alone, so that looking for the first young one stays short.
pub const HORIZON_STEP: u64 = 10_000;

/// A document's snapshot, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The newest change that it covers.
    pub seq: u64,
    /// SHA-256 of its bytes.
    pub hash: Hash,
    /// How many there are.
    pub size: u64,
    /// The document's heads in it, ascending.
    pub heads: Vec<Hash>,
    /// Changes that it covers.
    pub changes: u64,
    /// And the bytes that those had.
    pub payload_bytes: u64,
    /// No reader may count on payloads up to there.
    pub below_seq: u64,
    /// There are none left up to there.
    pub dropped_seq: u64,
}

/// Changes, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub changes: u64,
    /// What they carry.
    pub bytes: u64,
}

/// What there is to know of a document before anything is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentState {
    /// In which space.
    pub space: SpaceId,
    /// Which one.
    pub doc: DocId,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Whether nothing is left of its content then.
    pub purged: bool,
    /// What its snapshot does not cover, about; `None` where that was not counted yet.
    pub tail: Option<Amount>,
    /// Its snapshot.
    pub snapshot: Option<StoredSnapshot>,
    /// Up to where the space's payloads may go.
    pub horizon_seq: u64,
    /// Where the space's log ends.
    pub head_seq: u64,
    /// Where it could not be folded: how often in a row, and when it is tried again.
    pub unfolded: Option<(u64, u64)>,
    /// The entry that began its present epoch; 0 for one that never began anew.
    pub epoch_seq: u64,
    /// Whether no payload of the epoch before is there any more.
    pub epoch_cleared: bool,
    /// Whether something of it was excluded.
    pub grafted: bool,
}

/// Applied changes of a document that are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// Behind this entry.
    pub after: u64,
    /// Up to this one.
    pub through: u64,
    /// Whether the document has few changes at all, compared with the entries of the space between the two.
    pub few: bool,
}

/// A change of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChange {
    /// Its place.
    pub seq: u64,
    /// Whose, and which.
    pub id: ChangeId,
    /// Its hash.
    pub hash: Hash,
    /// What it was made upon.
    pub deps: Vec<Hash>,
    /// Whether it is a structure that stands further in front too: another device has brought it before.
    pub repeats: bool,
    /// Its bytes, unless they were dropped.
    pub bytes: Option<Vec<u8>>,
}

/// A snapshot whose bytes are stored and were read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Of which document.
    pub doc: DocId,
    /// The hash of the one that it was folded from.
    pub from: Option<Hash>,
    /// What it is. Where payloads are is not its to say.
    pub snapshot: StoredSnapshot,
    /// The hash of the change at its `seq`.
    pub newest: Hash,
    /// What it covers that the one before did not.
    pub folded: Amount,
}

/// How far a device has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// In which space.
    pub space: SpaceId,
    /// Which device.
    pub device: DeviceId,
    /// The last entry that it has.
    pub seq: u64,
    /// When it said so.
    pub seen_ms: u64,
}

/// What new entries of a log add to the tails of documents.
pub(super) fn added(entries: &[NewEntry]) -> BTreeMap<DocId, Amount> {
    let mut tails: BTreeMap<DocId, Amount> = BTreeMap::new();
    for entry in entries {
        if let (ItemKind::Change, Some(bytes)) = (entry.header.kind, &entry.payload) {
            let tail = tails.entry(entry.header.doc).or_default();
            tail.changes += 1;
            tail.bytes += bytes.len() as u64;
        }
    }
    tails
}

/// What compaction keeps.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Documents of all spaces behind a place, in the order of their keys.
    async fn documents_after(
        &self,
        after: Option<(SpaceId, DocId)>,
        max: u32,
    ) -> Result<Vec<DocumentState>, StoreError>;

    /// One document; `None` if it does not exist.
    async fn document_state(&self, space: SpaceId, doc: DocId) -> Result<Option<DocumentState>, StoreError>;

    /// Applied changes of a document in that range, ascending, at most so many: where they are, and what they carry while
    /// they do.
    async fn changes_in(
        &self,
        space: SpaceId,
        doc: DocId,
        range: Range,
        max: usize,
    ) -> Result<Vec<(u64, u64)>, StoreError>;

    /// The changes at those places, in their order.
    async fn changes_at(&self, space: SpaceId, seqs: &[u64]) -> Result<Vec<StoredChange>, StoreError>;

    /// Sets what a document's snapshot does not cover, where that was not counted yet.
    async fn count_tail(&self, space: SpaceId, doc: DocId, tail: Amount) -> Result<(), StoreError>;

    /// A part of a snapshot's bytes.
    async fn snapshot_part(
        &self,
        space: SpaceId,
        doc: DocId,
        hash: Hash,
        part: u32,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// How changes of a document stand of which something was excluded ([`Grafts::encode`](sync_core::graft::Grafts::encode)).
    async fn grafts(&self, space: SpaceId, doc: DocId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Stores a part. Nobody sees it before the snapshot is adopted.
    async fn put_snapshot_part(
        &self,
        space: SpaceId,
        doc: DocId,
        hash: Hash,
        part: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError>;

    /// Makes it the document's snapshot, unless the document was deleted, has another one than the one that it was folded
    /// from, or its log does not have that change at that place: then `false`, and nothing happens.
    async fn adopt_snapshot(&self, space: SpaceId, new: NewSnapshot) -> Result<bool, StoreError>;

    /// Takes away parts of snapshots of a document that are not its own, at most so many; gives how many.
    async fn clear_parts(&self, space: SpaceId, doc: DocId, max: u32) -> Result<u64, StoreError>;

    /// Drops payloads of a document's changes at those places. No reader may count any more on those up to `below`, which the
    /// document's snapshot covers, unless it is deleted or they are of an epoch that is over.
    async fn drop_payloads(&self, space: SpaceId, doc: DocId, below: u64, seqs: &[u64]) -> Result<(), StoreError>;

    /// All of them are dropped up to there.
    async fn payloads_dropped(&self, space: SpaceId, doc: DocId, through: u64) -> Result<(), StoreError>;

    /// Takes away the snapshot of a deleted document.
    async fn forget_snapshot(&self, space: SpaceId, doc: DocId) -> Result<(), StoreError>;

    /// Nothing is left of the content of a deleted document, from that time on.
    async fn document_purged(&self, space: SpaceId, doc: DocId, now_ms: u64) -> Result<(), StoreError>;

    /// No payload is left of what was before the epoch that this entry began.
    async fn epoch_cleared(&self, space: SpaceId, doc: DocId, epoch_seq: u64) -> Result<(), StoreError>;

    /// A document could not be folded; it is tried again at that time.
    async fn note_unfolded(&self, space: SpaceId, doc: DocId, why: &str, again_ms: u64) -> Result<(), StoreError>;

    /// How far devices have read. What was said before is replaced.
    async fn note_readers(&self, readers: &[Reader]) -> Result<(), StoreError>;

    /// Moves a space's horizon on to where all devices are that said where they are since `active_since_ms`, or to the last
    /// entry from before `older_than_ms`, whichever is further; never back. Gives where it is.
    async fn move_horizon(&self, space: SpaceId, active_since_ms: u64, older_than_ms: u64) -> Result<u64, StoreError>;

    /// Makes sure for a while, by the store's own clock, that no other node looks after a space. `false` if one does.
    async fn lease_space(&self, space: SpaceId, node: Uuid, for_ms: u64) -> Result<bool, StoreError>;
}
