//! The rows of a space as they are, for whoever doubts them.

use async_trait::async_trait;
use sync_core::feed::FeedHead;
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::ledger::{DocumentFacts, Tail};
use sync_core::log::{Cursor, Header};

use super::StoreError;

/// A row of a log, with its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// What the chain covers.
    pub header: Header,
    /// Its place, and the chain's value there, as it is stored.
    pub at: Cursor,
    /// Of an applied change: what later ones are judged by.
    pub facts: Option<RowFacts>,
    /// What it carried.
    pub payload: Option<Vec<u8>>,
    /// Whether that may be gone: a snapshot stands in for it, or its document is deleted.
    pub folded: bool,
    /// When the server took it, by its clock.
    pub received_ms: u64,
}

/// A document, and which entry deleted it.
pub type DocumentRow = (DocId, DocumentFacts, Option<u64>);

/// What a log's row says of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFacts {
    /// Who authored it.
    pub actor: Actor,
    /// automerge's sequence number.
    pub seq: u64,
    /// The counter of its first operation.
    pub start_op: u64,
    /// The counter of its last.
    pub max_op: u64,
    /// The changes that it was made upon.
    pub deps: Vec<Hash>,
}

/// What follows from a log, as it is stored beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// Where the log ends.
    pub head: Cursor,
    /// How many documents were ever created.
    pub documents_total: u64,
    /// What is acknowledged of each feed.
    pub feeds: Vec<(DeviceId, FeedHead)>,
    /// The documents, and which entries deleted them.
    pub documents: Vec<DocumentRow>,
    /// The last change of each actor in each document.
    pub actors: Vec<((DocId, Actor), Tail)>,
    /// What is kept of documents of which something was excluded.
    pub grafts: Vec<(DocId, Vec<u8>)>,
}

/// Reads rows whatever they hold. It works beside a running server.
#[async_trait]
pub trait Inspect: Send + Sync + 'static {
    /// Spaces behind that one, in ascending order, at most so many.
    async fn spaces_after(&self, after: Option<SpaceId>, spaces_max: usize) -> Result<Vec<SpaceId>, StoreError>;

    /// Rows of a log behind an entry, at most so many.
    async fn log_rows(&self, space: SpaceId, after: u64, rows_max: usize) -> Result<Vec<LogRow>, StoreError>;

    /// Documents of a space behind one, in ascending order, at most so many.
    async fn document_rows(
        &self,
        space: SpaceId,
        after: Option<DocId>,
        rows_max: usize,
    ) -> Result<Vec<DocumentRow>, StoreError>;

    /// What is stored beside the log, all as of one moment.
    async fn derived(&self, space: SpaceId) -> Result<Derived, StoreError>;
}

/// Hashes that stand behind each other in a column.
pub(super) fn hashes(bytes: &[u8]) -> Result<Vec<Hash>, StoreError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() {
        Ok(hashes.iter().copied().map(Hash).collect())
    } else {
        Err(super::entry::corrupt("list of hashes"))
    }
}
