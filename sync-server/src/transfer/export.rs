//! A space to a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use sync_core::epoch::Epoch;
use sync_core::feed::ItemKind;
use sync_core::guard;
use sync_core::id::{DocId, Hash, SpaceId};
use sync_core::limits::{FOLD_BYTES_MAX, FOLD_CHANGES_MAX, SNAPSHOT_BYTES_MAX};
use sync_core::log::{Cursor, ReceiptKey, Verdict};
use sync_core::wire;
use tokio::time::sleep;
use uuid::Uuid;

use super::archive::Writer;
use super::{END, End, FORMAT, Facts, Line, MANIFEST, Manifest, PART_BYTES_MAX, PART_ENTRIES_MAX, Part, Progress};
use super::{TransferError, VERSION};
use crate::Storage;
use crate::clock::Clock;
use crate::compaction::{Failure, Job, Worker, Workshop, bytes_of, grafts_of, standing};
use crate::config::Compaction;
use crate::store::inspect::LogRow;
use crate::store::snapshots::Range;

/// Documents that are looked up at once.
const DOCUMENTS_MAX: usize = 256;
/// Entries that are read at once, each perhaps with a mebibyte.
const ROWS_MAX: usize = 64;
/// Payloads that are read at once.
const PAYLOADS_MAX: usize = 64;
/// How long the compaction job keeps away beyond what a step may take, …
const LEASE_MS: u64 = 60_000;
/// … and how often it is told so.
const RENEWED_EVERY: Duration = Duration::from_secs(15);
/// How long one waits for it to leave.
const PATIENCE: Duration = Duration::from_mins(10);
/// A collection's name in a path.
const COLLECTION_BYTES_MAX: usize = 128;

/// Writes a space to a file that does not exist yet, as it is at one moment of its log; beside a running server. Whatever is
/// killed half-way leaves no file of that name. `told` hears how far it has come.
pub async fn export(
    storage: &Storage,
    receipts: &ReceiptKey,
    space: SpaceId,
    (workshop, config): (Workshop, &Compaction),
    path: &Path,
    told: &mut (dyn FnMut(Progress) + Send),
) -> Result<(Manifest, Progress), TransferError> {
    if path.exists() {
        return Err(TransferError::Exists(path.to_owned()));
    }
    let mut node = [0; 16];
    getrandom::fill(&mut node).map_err(|error| TransferError::Worker(error.to_string()))?;
    let mut lease = Lease {
        storage,
        space,
        node: Uuid::from_bytes(node),
        for_ms: LEASE_MS + config.worker_deadline_ms,
        renewed: Instant::now(),
    };
    // What is told now is not to be folded, dropped or purged before it is written.
    lease.begin().await?;
    let worker = Worker::new(workshop, config.deadline());
    let written = write(storage, receipts, space, worker, &mut lease, path, told).await;
    lease.end().await;
    if written.is_err() {
        drop(fs::remove_file(partial(path)));
    }
    written
}

/// The compaction job's place in a space, held instead of it.
struct Lease<'a> {
    storage: &'a Storage,
    space: SpaceId,
    node: Uuid,
    for_ms: u64,
    renewed: Instant,
}

impl Lease<'_> {
    async fn begin(&mut self) -> Result<(), TransferError> {
        let since = Instant::now();
        while !self.storage.registry.lease_space(self.space, self.node, self.for_ms).await? {
            if since.elapsed() > PATIENCE {
                return Err(TransferError::Occupied);
            }
            sleep(Duration::from_millis(500)).await;
        }
        self.renewed = Instant::now();
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), TransferError> {
        if self.renewed.elapsed() < RENEWED_EVERY {
            return Ok(());
        }
        // Held for minutes, it is lost by a machine that was suspended alone.
        if !self.storage.registry.lease_space(self.space, self.node, self.for_ms).await? {
            return Err(TransferError::Occupied);
        }
        self.renewed = Instant::now();
        Ok(())
    }

    async fn end(&self) {
        // It runs out by itself.
        drop(self.storage.registry.lease_space(self.space, self.node, 0).await);
    }
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

async fn write(
    storage: &Storage,
    receipts: &ReceiptKey,
    space: SpaceId,
    worker: Worker,
    lease: &mut Lease<'_>,
    path: &Path,
    told: &mut (dyn FnMut(Progress) + Send),
) -> Result<(Manifest, Progress), TransferError> {
    let head = storage.store.version(space).await?.head;
    let part = partial(path);
    let at_fault = |error| TransferError::File { path: part.clone(), error };
    let file = File::create(&part).map_err(at_fault)?;
    let writer = Writer::new(BufWriter::new(file)).map_err(at_fault)?;
    let mut out = Out { storage, space, head, worker, writer, progress: Progress::default(), part: part.clone() };
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        space,
        head,
        receipt: receipts.sign(space, &head),
        server: env!("CARGO_PKG_VERSION").to_owned(),
        exported_ms: Clock::default().now_ms(),
    };
    out.add_json(MANIFEST, &manifest)?;
    let fates = out.documents(lease, told).await?;
    out.log(&fates, lease, told).await?;
    let (counts, sha256) = (out.progress, out.writer.digest());
    out.add_json(END, &End { counts, sha256 })?;
    let file = out.writer.end().and_then(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
    let mut file = file.map_err(at_fault)?;
    file.flush().and_then(|()| file.sync_all()).map_err(at_fault)?;
    fs::rename(&part, path).map_err(|error| TransferError::File { path: path.to_owned(), error })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Not every file system has folders that can be synchronised.
    if let Ok(folder) = File::open(folder) {
        drop(folder.sync_all());
    }
    Ok((manifest, counts))
}

/// What the log has to know of documents.
#[derive(Default)]
struct Fates {
    /// Deleted: nothing of their changes is told.
    deleted: BTreeSet<DocId>,
    /// Not to be folded as a whole: their changes are in the log.
    inline: BTreeSet<DocId>,
    /// Begun anew there: nothing of their changes before is told.
    epochs: BTreeMap<DocId, u64>,
}

struct Out<'a> {
    storage: &'a Storage,
    space: SpaceId,
    head: Cursor,
    worker: Worker,
    writer: Writer<BufWriter<File>>,
    progress: Progress,
    part: PathBuf,
}

impl Out<'_> {
    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), TransferError> {
        self.writer.add(path, bytes).map_err(|error| TransferError::File { path: self.part.clone(), error })
    }

    fn add_json(&mut self, path: &str, value: &impl serde::Serialize) -> Result<(), TransferError> {
        let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| TransferError::Unsound(error.to_string()))?;
        bytes.push(b'\n');
        self.add(path, &bytes)
    }

    async fn documents(
        &mut self,
        lease: &mut Lease<'_>,
        told: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Fates, TransferError> {
        let (mut fates, mut after) = (Fates::default(), None);
        loop {
            let some = self.storage.inspect.document_rows(self.space, after, DOCUMENTS_MAX).await?;
            let Some((last, ..)) = some.last() else { return Ok(fates) };
            after = Some(*last);
            for (doc, facts, deleted_seq) in some {
                lease.renew().await?;
                let folder = folder(&facts.collection);
                if let Some(deleted_seq) = deleted_seq.filter(|seq| *seq <= self.head.seq) {
                    fates.deleted.insert(doc);
                    let tombstone = serde_json::json!({ "deleted_seq": deleted_seq });
                    self.add_json(&format!("tombstones/{folder}/{doc}.json"), &tombstone)?;
                } else {
                    let (bytes, whole) = self.materialise(doc, &mut fates).await?;
                    if !whole {
                        fates.inline.insert(doc);
                    }
                    let Some(bytes) = bytes else { continue };
                    self.add(&format!("documents/{folder}/{doc}.automerge"), &bytes)?;
                    self.progress.documents += 1;
                    // For people and other programs: what cannot be shown is in the other file all the same.
                    if let Ok(json) = self.worker.show(bytes).await {
                        self.add(&format!("documents/{folder}/{doc}.json"), &json)?;
                    }
                }
                told(self.progress);
            }
        }
    }

    /// A document as automerge keeps it, up to the head; and whether all its changes are in there as they were sealed. What breaks
    /// automerge is left out, and so is what follows it, unless it is excluded.
    async fn materialise(&mut self, doc: DocId, fates: &mut Fates) -> Result<(Option<Vec<u8>>, bool), TransferError> {
        let registry = &self.storage.registry;
        let Some(state) = registry.document_state(self.space, doc).await? else { return Ok((None, true)) };
        if state.epoch_seq > self.head.seq {
            return Err(TransferError::Unsound(format!("document {doc} was begun anew meanwhile: export once more")));
        }
        let (mut snapshot, mut heads, mut after) = (None, BTreeSet::new(), state.epoch_seq);
        let mut begins = Vec::new();
        let unsound = |error| TransferError::Unsound(format!("document {doc}: {error}"));
        let mut grafts = grafts_of(&**registry, self.space, doc).await.map_err(unsound)?;
        if state.epoch_seq > 0 {
            fates.epochs.insert(doc, state.epoch_seq);
        }
        if state.epoch_seq > 0 && state.snapshot.is_none() {
            let found = registry.changes_at(self.space, &[state.epoch_seq]).await?;
            let epoch = found.into_iter().next().and_then(|epoch| epoch.bytes).and_then(|bytes| Epoch::decode(&bytes));
            let epoch = epoch.ok_or_else(|| TransferError::Unsound(format!("document {doc}: its epoch is damaged")))?;
            heads.extend(epoch.changes.last().and_then(|last| guard::inspect(last).ok()).map(|last| last.hash));
            begins = epoch.changes;
        }
        if let Some(stored) = &state.snapshot {
            let bytes = bytes_of(&**registry, self.space, doc, stored).await;
            snapshot = Some(bytes.map_err(unsound)?);
            heads.extend(stored.heads.iter().map(|head| grafts.sealed(*head)));
            after = stored.seq;
        }
        loop {
            let range = Range { after, through: self.head.seq, few: true };
            let found = registry.changes_in(self.space, doc, range, FOLD_CHANGES_MAX).await?;
            let changes = std::mem::take(&mut begins);
            let mut job = Job { snapshot: snapshot.clone(), changes, ..Job::default() };
            let mut bytes = 0;
            'read: for seqs in found.chunks(PAYLOADS_MAX) {
                let seqs: Vec<u64> = seqs.iter().map(|(seq, _)| *seq).collect();
                for change in registry.changes_at(self.space, &seqs).await? {
                    let payload = change.bytes.ok_or_else(|| {
                        TransferError::Unsound(format!(
                            "entry {} lacks its payload, and no snapshot has it",
                            change.seq
                        ))
                    })?;
                    bytes += payload.len();
                    if bytes > FOLD_BYTES_MAX && !job.changes.is_empty() {
                        break 'read;
                    }
                    for dep in &change.deps {
                        heads.remove(&grafts.sealed(*dep));
                    }
                    // What was there before may have been built upon.
                    if !change.repeats {
                        heads.insert(change.hash);
                    }
                    job.changes.push(standing(&mut grafts, payload).map_err(unsound)?);
                    after = change.seq;
                }
            }
            // One without any change may have come into being since: the log says whether it is there.
            if job.changes.is_empty() {
                return Ok((snapshot, grafts.is_empty()));
            }
            let expected: BTreeSet<Hash> = heads.iter().map(|head| grafts.now(*head)).collect();
            match self.worker.fold(Arc::new(job)).await {
                Ok(folded) if folded.heads.iter().eq(expected.iter()) => snapshot = Some(folded.bytes),
                Err(Failure::Start(error)) => return Err(TransferError::Worker(error.to_string())),
                Ok(_) | Err(_) => {
                    tracing::warn!(space = %self.space, doc = %doc, "a document cannot be folded: its changes are in the log of the file");
                    return Ok((snapshot, false));
                }
            }
        }
    }

    async fn log(
        &mut self,
        fates: &Fates,
        lease: &mut Lease<'_>,
        told: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), TransferError> {
        let (mut place, mut entries, mut bytes, mut parts) = (Cursor::start(self.space), Vec::new(), 0, 0_u64);
        let head_seq = self.head.seq;
        while place.seq < head_seq {
            lease.renew().await?;
            let rows = self.storage.inspect.log_rows(self.space, place.seq, ROWS_MAX).await?;
            if rows.is_empty() {
                return Err(TransferError::Unsound(format!("the log ends at entry {}", place.seq)));
            }
            for row in rows.into_iter().take_while(|row| row.at.seq <= head_seq) {
                if place.next(&row.header) != row.at {
                    return Err(TransferError::Unsound(format!("the log's chain breaks at entry {}", row.at.seq)));
                }
                place = row.at;
                let line = line(row, fates)?;
                bytes += line.payload.as_ref().map_or(0, |payload| payload.len());
                bytes += line.facts.as_ref().map_or(0, |facts| facts.deps.len());
                entries.push(line);
                self.progress.entries += 1;
                if bytes >= PART_BYTES_MAX || entries.len() >= PART_ENTRIES_MAX {
                    parts += 1;
                    self.add_part(parts, std::mem::take(&mut entries))?;
                    bytes = 0;
                }
            }
            told(self.progress);
        }
        if place != self.head {
            return Err(TransferError::Unsound("the log's chain is not what the space says".to_owned()));
        }
        if entries.is_empty() { Ok(()) } else { self.add_part(parts + 1, entries) }
    }

    fn add_part(&mut self, number: u64, entries: Vec<Line>) -> Result<(), TransferError> {
        let bytes = wire::encode(&Part { entries }).map_err(|error| TransferError::Unsound(error.to_string()))?;
        self.add(&part_path(number), &bytes)
    }
}

/// Where a part of the log is.
pub(super) fn part_path(number: u64) -> String {
    format!("log/{number:010}.msgpack")
}

fn line(row: LogRow, fates: &Fates) -> Result<Line, TransferError> {
    let LogRow { header, at, facts, payload, received_ms, .. } = row;
    let applied = header.verdict == Verdict::Applied;
    let missing = || TransferError::Unsound(format!("entry {} lacks what it says", at.seq));
    let (mut carried, mut left) = (None, None);
    match header.kind {
        ItemKind::Create if applied => carried = Some(ByteBuf::from(payload.ok_or_else(missing)?)),
        ItemKind::Epoch if applied && !fates.deleted.contains(&header.doc) => {
            carried = Some(ByteBuf::from(payload.ok_or_else(missing)?));
        }
        ItemKind::Change
            if applied
                && (fates.deleted.contains(&header.doc)
                    || fates.epochs.get(&header.doc).is_some_and(|begun| at.seq < *begun)) =>
        {
            let facts = facts.ok_or_else(missing)?;
            left = Some(Facts {
                actor: ByteBuf::from(facts.actor.as_bytes().to_vec()),
                seq: facts.seq,
                start_op: facts.start_op,
                operations: (facts.max_op + 1).saturating_sub(facts.start_op),
                deps: ByteBuf::from(facts.deps.iter().flat_map(|dep: &Hash| dep.0).collect::<Vec<u8>>()),
            });
        }
        ItemKind::Change if applied && fates.inline.contains(&header.doc) => carried = payload.map(ByteBuf::from),
        _ => {}
    }
    Ok(Line {
        device: header.id.device,
        n: header.id.n,
        kind: header.kind.number(),
        doc: header.doc,
        hash: header.hash,
        verdict: header.verdict.number(),
        at: received_ms,
        payload: carried,
        facts: left,
    })
}

/// A collection as a folder: letters, digits, `-` and `_` as they are, all else in percent and two digits, as in URLs. What is
/// too long is cut; the exact name is in the log.
fn folder(collection: &str) -> String {
    let mut name = String::new();
    for byte in collection.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
        if name.len() >= COLLECTION_BYTES_MAX {
            break;
        }
    }
    name
}

/// What a document's file may have.
pub(super) const DOCUMENT_BYTES_MAX: u64 = SNAPSHOT_BYTES_MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_collection_leaves_its_folder() {
        assert_eq!(folder("notes-2_A"), "notes-2_A");
        assert_eq!(folder("../../etc"), "%2E%2E%2F%2E%2E%2Fetc");
        assert_eq!(folder("größe"), "gr%C3%B6%C3%9Fe");
        assert!(folder(&"/".repeat(255)).len() <= COLLECTION_BYTES_MAX + 2);
    }
}
