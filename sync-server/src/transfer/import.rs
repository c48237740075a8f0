//! A file to a space. Nothing in it is believed: documents are unpacked in the worker, and every entry goes through the checks
//! by which a log takes back what it lost. Until the last of them is stored and the log's chain comes out as the file says,
//! nobody sees the space.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::mem;
use std::path::Path;
use std::time::Duration;

use sync_core::feed::{Body, ItemKind};
use sync_core::heal::Lost;
use sync_core::id::{DocId, Hash, SpaceId};
use sync_core::ledger::Ledger;
use sync_core::limits::{BODY_BYTES_MAX, PAGE_BYTES_MAX};
use sync_core::log::{Cursor, Header, ReceiptKey, Verdict};
use sync_core::wire;
use tokio::time::sleep;

use super::archive::{Found, Reader};
use super::export::{DOCUMENT_BYTES_MAX, part_path};
use super::{END, End, FORMAT, LINES_BYTES_MAX, Line, MANIFEST, Manifest, Part, Progress, TransferError, VERSION};
use crate::compaction::{Failure, Worker, Workshop};
use crate::config::Compaction;
use crate::store::StoreError;
use crate::store::lifecycle::{Filling, Lifecycle};
use crate::store::spool::Spool;

/// Entries that are stored in one transaction.
const ENTRIES_MAX: usize = 500;
/// Rows of each kind that are cleared away in one.
const CLEARED_MAX: u32 = 500;
/// How often a storage that is busy is asked again, and when.
const TRIES: u32 = 20;
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// What was imported, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What the file says of itself.
    pub manifest: Manifest,
    /// What was in it.
    pub counts: Progress,
    /// Whether this server's receipts are those of the one that wrote it.
    pub same_receipts: bool,
}

/// Fills a space that is empty, or does not exist, from a file, with that owner if there is one; else its members stay who they
/// are. Beside a running server. One that is broken off leaves nothing visible and begins anew the next time.
pub async fn import(
    store: &dyn Lifecycle,
    receipts: &ReceiptKey,
    (workshop, config): (Workshop, &Compaction),
    path: &Path,
    owner: Option<&str>,
    told: &mut (dyn FnMut(Progress) + Send),
) -> Result<Imported, TransferError> {
    let worker = Worker::new(workshop, config.deadline());
    let mut intake = Intake::open(path, worker, receipts)?;
    let space = intake.manifest.space;
    store.begin_filling(space).await?.map_err(TransferError::NotFilled)?;
    let filled = async {
        clear(store, space).await?;
        let log = Log::Stored(store);
        let imported = intake.read(log, told).await?;
        if !again(|| store.open_filled(space, imported.manifest.head, owner)).await? {
            return Err(TransferError::Overtaken);
        }
        Ok(imported)
    };
    let filled = filled.await;
    if !matches!(filled, Ok(_) | Err(TransferError::Overtaken))
        && let Err(error) = abandon(store, space).await
    {
        tracing::warn!(%error, space = %space, "what was stored of a broken import is still there, but nobody sees it");
    }
    filled
}

/// Whether a file is whole and would be taken, without a database. It keeps what later entries are judged by in memory: about
/// a hundred bytes a change.
pub async fn check(
    receipts: &ReceiptKey,
    (workshop, config): (Workshop, &Compaction),
    path: &Path,
    told: &mut (dyn FnMut(Progress) + Send),
) -> Result<Imported, TransferError> {
    let worker = Worker::new(workshop, config.deadline());
    let mut intake = Intake::open(path, worker, receipts)?;
    let space = intake.manifest.space;
    let ledger = Ledger::new(space, Cursor::start(space), 0);
    intake.read(Log::Judged(Box::new(ledger)), told).await
}

/// Empties a space whose import was broken off, and opens it again.
pub async fn abandon(store: &dyn Lifecycle, space: SpaceId) -> Result<(), TransferError> {
    again(|| store.begin_filling(space)).await?.map_err(TransferError::NotFilled)?;
    clear(store, space).await?;
    if again(|| store.open_filled(space, Cursor::start(space), None)).await? {
        Ok(())
    } else {
        Err(TransferError::Overtaken)
    }
}

async fn clear(store: &dyn Lifecycle, space: SpaceId) -> Result<(), TransferError> {
    while again(|| store.clear_closed(space, CLEARED_MAX)).await? > 0 {}
    Ok(())
}

/// Asks a busy storage again: a server beside it goes first.
async fn again<T, F: Future<Output = Result<T, StoreError>>>(ask: impl Fn() -> F) -> Result<T, StoreError> {
    for _ in 1..TRIES {
        match ask().await {
            Err(StoreError::Busy) => sleep(TRY_AGAIN).await,
            answer => return answer,
        }
    }
    ask().await
}

/// Where entries go.
enum Log<'a> {
    Stored(&'a dyn Lifecycle),
    Judged(Box<Ledger>),
}

impl Log<'_> {
    /// Takes entries in; gives where the log ends then.
    async fn take(&mut self, space: SpaceId, filling: Filling) -> Result<Cursor, TransferError> {
        match self {
            Self::Stored(store) => {
                let store: &dyn Lifecycle = *store;
                again(|| store.fill(space, filling.clone())).await?.ok_or(TransferError::Overtaken)
            }
            Self::Judged(ledger) => {
                ledger.take_back(filling.entries);
                Ok(ledger.head)
            }
        }
    }
}

fn damaged(what: impl Into<String>) -> TransferError {
    TransferError::Damaged(what.into())
}

/// A file that is being read.
struct Intake {
    reader: Reader<File>,
    worker: Worker,
    spool: Spool,
    manifest: Manifest,
    same_receipts: bool,
    /// Where the log ends, as far as it was read, and where what waits begins.
    place: Cursor,
    base: Cursor,
    waiting: Vec<Lost>,
    received_ms: Vec<u64>,
    bytes: usize,
    /// Documents of which a change came without its content: each is to be deleted, or begun anew, before the log ends.
    bare: BTreeSet<DocId>,
    progress: Progress,
}

impl Intake {
    fn open(path: &Path, worker: Worker, receipts: &ReceiptKey) -> Result<Self, TransferError> {
        let at_fault = |error| TransferError::File { path: path.to_owned(), error };
        let mut reader = Reader::new(File::open(path).map_err(at_fault)?).map_err(at_fault)?;
        let first = reader.next().map_err(broken)?;
        let bytes = match first {
            Some(Found { path, .. }) if path == MANIFEST => reader.take(LINES_BYTES_MAX).map_err(broken)?,
            _ => return Err(damaged("it does not begin with a manifest")),
        };
        #[derive(serde::Deserialize)]
        struct Kind {
            format: String,
            version: u32,
        }
        let kind: Kind = serde_json::from_slice(&bytes).map_err(|_| damaged("its manifest cannot be read"))?;
        if kind.format != FORMAT {
            return Err(damaged("it is no exported space"));
        }
        if kind.version != VERSION {
            return Err(TransferError::Version(kind.version));
        }
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|_| damaged("its manifest cannot be read"))?;
        // Databases count so far.
        if manifest.head.seq > i64::MAX as u64 {
            return Err(damaged("its log is longer than any can be"));
        }
        let same_receipts = receipts.verify(manifest.space, &manifest.head, &manifest.receipt);
        let start = Cursor::start(manifest.space);
        Ok(Self {
            reader,
            worker,
            spool: Spool::new()?,
            manifest,
            same_receipts,
            place: start,
            base: start,
            waiting: Vec::new(),
            received_ms: Vec::new(),
            bytes: 0,
            bare: BTreeSet::new(),
            progress: Progress::default(),
        })
    }

    async fn read(
        &mut self,
        mut log: Log<'_>,
        told: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Imported, TransferError> {
        let mut parts = 0;
        loop {
            let digest = self.reader.digest();
            let Found { path, .. } =
                self.reader.next().map_err(broken)?.ok_or_else(|| damaged("it was cut off before its end"))?;
            if path == END {
                let bytes = self.reader.take(LINES_BYTES_MAX).map_err(broken)?;
                let end: End = serde_json::from_slice(&bytes).map_err(|_| damaged("its end cannot be read"))?;
                if end.sha256 != digest || end.counts != self.progress {
                    return Err(damaged("its end does not fit what stands before"));
                }
                break;
            }
            if path == part_path(parts + 1) {
                parts += 1;
                let bytes = self.reader.take(BODY_BYTES_MAX as u64).map_err(broken)?;
                let part: Part =
                    wire::decode(&bytes).map_err(|_| damaged(format!("part {parts} of its log cannot be read")))?;
                for line in part.entries {
                    self.entry(&line)?;
                    if self.waiting.len() >= ENTRIES_MAX || self.bytes >= PAGE_BYTES_MAX {
                        self.flush(&mut log).await?;
                    }
                }
            } else if let (0, Some(doc)) = (parts, document(&path)) {
                let bytes = self.reader.take(DOCUMENT_BYTES_MAX).map_err(broken)?;
                self.document(doc, bytes).await?;
            } else if parts == 0 && (path.starts_with("documents/") || path.starts_with("tombstones/")) {
                // For people: all of it is said elsewhere.
                self.reader.skip(DOCUMENT_BYTES_MAX).map_err(broken)?;
            } else {
                return Err(damaged("it holds a file that does not belong there"));
            }
            told(self.progress);
        }
        if self.reader.next().map_err(broken)?.is_some() {
            return Err(damaged("something stands behind its end"));
        }
        self.flush(&mut log).await?;
        if self.place != self.manifest.head {
            return Err(damaged("its log does not end where its manifest says"));
        }
        if let Some(doc) = self.bare.first() {
            return Err(damaged(format!(
                "it lacks changes of document {doc}, which was neither deleted nor begun anew"
            )));
        }
        let (manifest, counts) = (self.manifest.clone(), self.progress);
        Ok(Imported { manifest, counts, same_receipts: self.same_receipts })
    }

    /// Unpacks a document's changes, for the log to ask for them.
    async fn document(&mut self, doc: DocId, bytes: Vec<u8>) -> Result<(), TransferError> {
        let (spool, mut kept) = (&mut self.spool, Ok(()));
        let mut keep = |change: Vec<u8>| {
            if kept.is_ok() {
                // The log's entry says which it is to be, and whether it is.
                let hash = Hash::of(&[change.get(8..).unwrap_or_default()]);
                kept = spool.keep(doc, hash, &change);
            }
        };
        match self.worker.unfold(bytes, &mut keep).await {
            Ok(()) => {}
            Err(Failure::Start(error)) => return Err(TransferError::Worker(error.to_string())),
            Err(error) => return Err(damaged(format!("document {doc}: {error}"))),
        }
        kept?;
        self.progress.documents += 1;
        Ok(())
    }

    fn entry(&mut self, line: &Line) -> Result<(), TransferError> {
        let seq = self.place.seq + 1;
        if seq > self.manifest.head.seq {
            return Err(damaged("its log is longer than its manifest says"));
        }
        let wrong = |what: &str| damaged(format!("entry {seq} {what}"));
        let header = line.header().ok_or_else(|| wrong("cannot be read"))?;
        self.place = self.place.next(&header);
        let lost = self.lost(header, line, &wrong)?;
        if matches!(header.kind, ItemKind::Delete | ItemKind::Epoch) && header.verdict == Verdict::Applied {
            self.bare.remove(&header.doc);
        }
        self.bytes += lost.payload_bytes();
        self.waiting.push(lost);
        // Databases count so far, and some no further than the year 294276.
        self.received_ms.push(line.at.min(9_000_000_000_000_000));
        self.progress.entries += 1;
        Ok(())
    }

    fn lost(
        &mut self,
        header: Header,
        line: &Line,
        wrong: &dyn Fn(&str) -> TransferError,
    ) -> Result<Lost, TransferError> {
        let payload = line.payload.as_ref().map(|payload| payload.to_vec());
        let applied = header.verdict == Verdict::Applied;
        let body = match header.kind {
            ItemKind::Create if applied => {
                let name = payload.and_then(|name| String::from_utf8(name).ok());
                Some(Body::Create { collection: name.ok_or_else(|| wrong("names no collection"))? })
            }
            ItemKind::Change if applied => {
                let bytes = match payload {
                    Some(bytes) => Some(bytes),
                    None => self.spool.find(header.doc, header.hash)?,
                };
                match (bytes, &line.facts) {
                    (Some(bytes), _) => Some(Body::Change { bytes }),
                    (None, Some(facts)) => {
                        let facts = facts.read().ok_or_else(|| wrong("says nothing of its change"))?;
                        if facts.actor.device() != header.id.device {
                            return Err(wrong("is of another device than its actor"));
                        }
                        self.bare.insert(header.doc);
                        return Ok(Lost::bare(header, facts));
                    }
                    (None, None) => None,
                }
            }
            ItemKind::Epoch if applied => payload.map(|bytes| Body::Epoch { bytes }),
            _ if payload.is_some() || line.facts.is_some() => return Err(wrong("carries what it cannot")),
            _ => None,
        };
        match Lost::check(header, body) {
            Ok(Some(lost)) => Ok(lost),
            Ok(None) => Err(wrong("lacks its change")),
            Err(_) => Err(wrong("carries something else than its hash says")),
        }
    }

    async fn flush(&mut self, log: &mut Log<'_>) -> Result<(), TransferError> {
        let (entries, received_ms) = (mem::take(&mut self.waiting), mem::take(&mut self.received_ms));
        if entries.is_empty() {
            return Ok(());
        }
        let base = mem::replace(&mut self.base, self.place);
        self.bytes = 0;
        let head = log.take(self.manifest.space, Filling { base, entries, received_ms }).await?;
        if head == self.place {
            return Ok(());
        }
        let (first, last) = (base.seq + 1, self.place.seq);
        Err(damaged(format!("among its entries {first} to {last} is one that no server would have taken so")))
    }
}

/// The document whose file that is.
fn document(path: &str) -> Option<DocId> {
    let (folder, name) = path.strip_prefix("documents/")?.split_once('/')?;
    (!folder.is_empty()).then(|| name.strip_suffix(".automerge")?.parse().ok())?
}

/// What is read from a file that is there and still makes no sense.
fn broken(error: io::Error) -> TransferError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it was cut off"),
        _ => damaged(error.to_string()),
    }
}
