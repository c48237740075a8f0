//! A space in one file, and back: see `docs/export.md` for the format.
//!
//! The file is a tar archive under zstd, so that others can look into it. Each document is in it once, as automerge's own
//! file, and the log refers to the changes in there by their hashes; only what no document holds is in the log itself. Reading
//! trusts nothing: what fills a space goes through the same checks as what a device hands back.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sync_core::check::ChangeFacts;
use sync_core::feed::{ChangeId, ItemKind};
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::log::{Cursor, Header, Receipt, Verdict};

use crate::compaction::Failure;
use crate::store::StoreError;
use crate::store::lifecycle::NotFilled;

mod archive;
mod export;
mod import;

pub use export::export;
pub use import::{Imported, abandon, check, import};

/// What the manifest says the file is.
const FORMAT: &str = "rejoin-space";
/// The version of the format that is written, and the only one that is read.
const VERSION: u32 = 1;
const MANIFEST: &str = "manifest.json";
const END: &str = "end.json";
/// The manifest and the end are a few lines.
const LINES_BYTES_MAX: u64 = 64 << 10;
/// Payload bytes of one part of the log, unless one change alone has more.
const PART_BYTES_MAX: usize = 1 << 20;
/// Entries of one part of the log.
const PART_ENTRIES_MAX: usize = 2_000;

/// Why a space is not in a file, or a file not in a space. Nothing of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file system says no.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file is there already.
    #[error("{} exists already: give another name, or move it away", .0.display())]
    Exists(PathBuf),
    /// The storage says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is not one of ours, was cut off, or was altered.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// A later version of the server wrote the file.
    #[error(
        "the file has version {0} of the format; this server reads version {VERSION}: use the server's version that wrote it"
    )]
    Version(u32),
    /// The space cannot be filled.
    #[error("{0}; import it into another server")]
    NotFilled(NotFilled),
    /// Another import fills the same space.
    #[error("another import of this space began meanwhile, and goes on in place of this one")]
    Overtaken,
    /// The compaction job keeps the space to itself for longer than one waits.
    #[error("the compaction job looks after this space, or another export does: try again later")]
    Occupied,
    /// The database does not hold what it says.
    #[error("the space cannot be exported, since it is damaged: {0}; `sync-server verify` says more")]
    Unsound(String),
    /// The worker process cannot be used.
    #[error("the worker: {0}")]
    Worker(String),
}

impl From<Failure> for TransferError {
    fn from(failure: Failure) -> Self {
        Self::Worker(failure.to_string())
    }
}

/// How far it has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Entries of the log.
    pub entries: u64,
    /// Documents with a file of their own.
    pub documents: u64,
}

/// The first file in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    version: u32,
    /// Which space.
    pub space: SpaceId,
    /// Where its log ends.
    pub head: Cursor,
    /// The exporting server's receipt for that.
    pub receipt: Receipt,
    /// The version of the server that wrote it.
    pub server: String,
    /// When that was, by its clock.
    pub exported_ms: u64,
}

/// The last file in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    #[serde(flatten)]
    counts: Progress,
    /// SHA-256 of the archive up to here.
    sha256: Hash,
}

/// A part of the log.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    entries: Vec<Line>,
}

/// An entry.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    device: DeviceId,
    n: u64,
    kind: u8,
    doc: DocId,
    hash: Hash,
    verdict: u8,
    /// When the server took it.
    at: u64,
    /// A creation's collection; a change that no document's file holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<ByteBuf>,
    /// Of a change of a deleted document: what is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facts: Option<Facts>,
}

/// What is known of a change whose content is gone.
#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    actor: ByteBuf,
    seq: u64,
    start_op: u64,
    operations: u64,
    /// 32 bytes each.
    deps: ByteBuf,
}

impl Line {
    fn header(&self) -> Option<Header> {
        Some(Header {
            id: ChangeId { device: self.device, n: self.n },
            kind: ItemKind::from_number(self.kind)?,
            doc: self.doc,
            hash: self.hash,
            verdict: Verdict::from_number(self.verdict)?,
        })
    }
}

impl Facts {
    fn read(&self) -> Option<ChangeFacts> {
        let (deps, rest) = self.deps.as_chunks::<32>();
        let fits = rest.is_empty()
            && deps.len() <= sync_core::limits::CHANGE_DEPENDENCIES_MAX
            && self.operations <= sync_core::limits::CHANGE_OPERATIONS_MAX
            && (1..sync_core::limits::OPERATION_COUNTER_MAX).contains(&self.start_op)
            && (1..=i64::MAX as u64).contains(&self.seq);
        fits.then_some(ChangeFacts {
            actor: Actor::from_slice(&self.actor).ok()?,
            seq: self.seq,
            start_op: self.start_op,
            operations: self.operations,
            deps: deps.iter().copied().map(Hash).collect(),
            others: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
