//! One document folded: what is behind its snapshot is read, given to the worker, and what comes back is stored beside what it
//! was made of. Nothing is taken away here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sync_core::document::FoldError;
use sync_core::epoch::Epoch;
use sync_core::feed::ChangeId;
use sync_core::graft::Grafts;
use sync_core::guard;
use sync_core::heal::Lost;
use sync_core::id::{DocId, Hash, SpaceId};
use sync_core::limits::{
    CHANGE_BYTES_MAX, EPOCH_CHANGES_MAX, FOLD_BYTES_MAX, FOLD_CHANGES_MAX, PAGE_BYTES_MAX, SNAPSHOT_PART_BYTES_MAX,
};

use super::Compactor;
use super::frames::Job;
use super::worker::{Failure, Worker};
use crate::store::StoreError;
use crate::store::registry::Registry;
use crate::store::snapshots::{Amount, DocumentState, NewSnapshot, Range, StoredSnapshot};
use crate::telemetry::metrics;

/// Steps of one document in a row: what is left then waits for the next round, so that one large document does not keep all
/// others waiting.
const STEPS_MAX: u32 = 64;
/// Parts that are cleared away in one transaction.
pub(super) const CLEARED_MAX: u32 = 16;

/// Why a document is left as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfolded {
    /// It cannot be folded now, or not at all.
    #[error(transparent)]
    Worker(#[from] Failure),
    /// The worker did not fold what it was given.
    #[error("the new snapshot has other heads than the log")]
    OtherHeads,
    /// What is stored is not what it should be.
    #[error("{0}")]
    Stored(&'static str),
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Changes that are folded in one step.
struct Tail {
    seqs: Vec<u64>,
    bytes: u64,
    /// Whether there are more behind them.
    more: bool,
}

/// What was read of them.
struct Read {
    /// The hash of the last.
    newest: Hash,
    /// Whose they are.
    ids: BTreeMap<Hash, ChangeId>,
}

/// How changes of a document stand.
pub(crate) async fn grafts_of(registry: &dyn Registry, space: SpaceId, doc: DocId) -> Result<Grafts, Unfolded> {
    match registry.grafts(space, doc).await? {
        Some(bytes) => Grafts::decode(&bytes).map_err(|_| Unfolded::Stored("the document's grafts are damaged")),
        None => Ok(Grafts::default()),
    }
}

/// A change as it stands.
pub(crate) fn standing(grafts: &mut Grafts, sealed: Vec<u8>) -> Result<Vec<u8>, Unfolded> {
    if grafts.is_empty() {
        return Ok(sealed);
    }
    let standing = grafts.stand(&sealed).map_err(|_| Unfolded::Stored("a change cannot be grafted"))?;
    Ok(standing.bytes.unwrap_or(sealed))
}

impl Compactor {
    /// Folds a document as far as its log goes, in steps.
    pub(super) async fn fold(&self, worker: &mut Worker, space: SpaceId, doc: DocId) -> Result<(), Unfolded> {
        for _ in 0..STEPS_MAX {
            let Some(state) = self.registry.document_state(space, doc).await? else { return Ok(()) };
            if state.deleted || !self.step(worker, &state).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether there is more.
    async fn step(&self, worker: &mut Worker, state: &DocumentState) -> Result<bool, Unfolded> {
        let (space, doc) = (state.space, state.doc);
        let tail = self.tail(state).await?;
        let Some(&newest_seq) = tail.seqs.last() else { return Ok(false) };
        let mut heads: BTreeSet<Hash> = BTreeSet::new();
        let mut job = Job::default();
        if let Some(snapshot) = &state.snapshot {
            heads.extend(&snapshot.heads);
            job.snapshot = Some(self.bytes_of(space, doc, snapshot).await?);
        } else if state.epoch_seq > 0 {
            let epoch = self.epoch(state).await?;
            heads.extend(epoch.changes.last().and_then(|last| guard::inspect(last).ok()).map(|last| last.hash));
            job.changes = epoch.changes;
        }
        let mut grafts = grafts_of(&*self.registry, space, doc).await?;
        let Read { newest, ids } = self.read(space, &tail, &mut job, &mut heads, &mut grafts).await?;
        let short = sync_core::mutation!("snapshot-lacks-the-newest") && job.changes.len() > 1;
        if short {
            job.changes.pop();
        }
        let job = Arc::new(job);
        let mut folded = worker.fold(Arc::clone(&job)).await;
        if let Err(Failure::Fold(FoldError::Change(breaks))) = folded {
            // It is out for good: a worker that has done nothing before is to say the same.
            worker.rest();
            folded = worker.fold(job).await;
            if matches!(folded, Err(Failure::Fold(FoldError::Change(same))) if same == breaks) {
                self.exclude(space, doc, grafts.sealed(breaks), &ids).await?;
                return Ok(true);
            }
        }
        let folded = folded?;
        if !short && !folded.heads.iter().eq(heads.iter()) {
            return Err(Unfolded::OtherHeads);
        }
        let hash = Hash::of(&[&folded.bytes]);
        self.store_parts(space, doc, hash, &folded.bytes).await?;
        let before = state.snapshot.as_ref();
        let amount = Amount { changes: tail.seqs.len() as u64, bytes: tail.bytes };
        let snapshot = StoredSnapshot {
            seq: newest_seq,
            hash,
            size: folded.bytes.len() as u64,
            heads: folded.heads,
            changes: before.map_or(0, |before| before.changes) + amount.changes,
            payload_bytes: before.map_or(0, |before| before.payload_bytes) + amount.bytes,
            below_seq: 0,
            dropped_seq: 0,
        };
        let new = NewSnapshot { doc, from: before.map(|before| before.hash), snapshot, newest, folded: amount };
        let adopted = self.registry.adopt_snapshot(space, new).await?;
        // What nobody refers to (any more): the one before, or this one where another node was quicker.
        while self.registry.clear_parts(space, doc, CLEARED_MAX).await? > 0 {
            self.pause().await;
        }
        if adopted {
            metrics::folded(amount.changes, folded.bytes.len());
        }
        Ok(adopted && tail.more)
    }

    /// Adds the entry to the log that excludes a change.
    async fn exclude(
        &self,
        space: SpaceId,
        doc: DocId,
        hash: Hash,
        ids: &BTreeMap<Hash, ChangeId>,
    ) -> Result<(), Unfolded> {
        let id =
            *ids.get(&hash).ok_or(Unfolded::Stored("what breaks the document is no change behind its snapshot"))?;
        let (head, became) = self.writer.take_back(space, vec![Lost::exclusion(id, doc, hash)]).await?;
        if became.taken == 0 {
            return Err(Unfolded::Stored("a change breaks the document, and cannot be excluded"));
        }
        metrics::excluded();
        tracing::warn!(space = %space, doc = %doc, change = %id, hash = %hash, seq = head.seq,
                       "a change breaks its document and is excluded; its author finds it in quarantine");
        Ok(())
    }

    /// Excludes whichever change that is in no snapshot, whether it breaks its document or not.
    #[cfg(feature = "testing")]
    pub(crate) async fn exclude_any(&self, space: SpaceId, doc: DocId, hash: Hash) -> Result<bool, StoreError> {
        let Some(state) = self.registry.document_state(space, doc).await? else { return Ok(false) };
        // What is in a snapshot breaks nothing.
        let after = state.snapshot.map_or(state.epoch_seq, |snapshot| snapshot.seq);
        let range = Range { after, through: u64::MAX, few: true };
        let found = self.registry.changes_in(space, doc, range, usize::MAX).await?;
        let seqs: Vec<u64> = found.into_iter().map(|(seq, _)| seq).collect();
        let changes = self.registry.changes_at(space, &seqs).await?;
        let Some(change) = changes.into_iter().find(|change| change.hash == hash) else { return Ok(false) };
        let (_, became) = self.writer.take_back(space, vec![Lost::exclusion(change.id, doc, hash)]).await?;
        Ok(became.taken > 0)
    }

    /// What the document's epoch began with.
    async fn epoch(&self, state: &DocumentState) -> Result<Epoch, Unfolded> {
        let found = self.registry.changes_at(state.space, &[state.epoch_seq]).await?;
        let bytes = found.into_iter().next().and_then(|entry| entry.bytes);
        bytes.and_then(|bytes| Epoch::decode(&bytes)).ok_or(Unfolded::Stored("the beginning of the epoch is damaged"))
    }

    /// The first changes behind the snapshot, as many as are folded at once.
    async fn tail(&self, state: &DocumentState) -> Result<Tail, StoreError> {
        let begins = state.snapshot.is_none() && state.epoch_seq > 0;
        // What an epoch begins with is folded beside them.
        let (changes_max, bytes_max) = if begins {
            (FOLD_CHANGES_MAX - EPOCH_CHANGES_MAX, FOLD_BYTES_MAX - CHANGE_BYTES_MAX)
        } else {
            (FOLD_CHANGES_MAX, FOLD_BYTES_MAX)
        };
        let after = state.snapshot.as_ref().map_or(state.epoch_seq, |snapshot| snapshot.seq);
        let range = Range { after, through: u64::MAX, few: has_few(state, after) };
        let found = self.registry.changes_in(state.space, state.doc, range, changes_max).await?;
        let (mut tail, count) = (Tail { seqs: Vec::new(), bytes: 0, more: false }, found.len());
        for (seq, bytes) in found {
            if tail.bytes + bytes > bytes_max as u64 && !tail.seqs.is_empty() {
                break;
            }
            tail.seqs.push(seq);
            tail.bytes += bytes;
        }
        tail.more = tail.seqs.len() < count || count == changes_max;
        Ok(tail)
    }

    /// Reads the changes into the job as they stand, a page at a time, and works out the heads that they leave.
    async fn read(
        &self,
        space: SpaceId,
        tail: &Tail,
        job: &mut Job,
        heads: &mut BTreeSet<Hash>,
        grafts: &mut Grafts,
    ) -> Result<Read, Unfolded> {
        // About as many as make a page, as changes are on average.
        let average = (tail.bytes / tail.seqs.len().max(1) as u64).max(1) as usize;
        let at_once = (PAGE_BYTES_MAX / average).clamp(1, 512);
        let (mut newest, mut ids) = (None, BTreeMap::new());
        // Heads by the hashes under which they were sealed: what is excluded later changes how they stand.
        *heads = heads.iter().map(|head| grafts.sealed(*head)).collect();
        for seqs in tail.seqs.chunks(at_once) {
            for change in self.registry.changes_at(space, seqs).await? {
                for dep in &change.deps {
                    heads.remove(&grafts.sealed(*dep));
                }
                // What was there before may have been built upon.
                if !change.repeats {
                    heads.insert(change.hash);
                }
                newest = Some(change.hash);
                ids.entry(change.hash).or_insert(change.id);
                let sealed = change.bytes.ok_or(Unfolded::Stored("a change behind the snapshot has no payload"))?;
                job.changes.push(standing(grafts, sealed)?);
            }
        }
        *heads = heads.iter().map(|head| grafts.now(*head)).collect();
        let newest = newest.ok_or(Unfolded::Stored("no change behind the snapshot"))?;
        Ok(Read { newest, ids })
    }

    /// A snapshot's bytes, as they were stored.
    pub(super) async fn bytes_of(
        &self,
        space: SpaceId,
        doc: DocId,
        snapshot: &StoredSnapshot,
    ) -> Result<Vec<u8>, Unfolded> {
        bytes_of(&*self.registry, space, doc, snapshot).await
    }

    async fn store_parts(&self, space: SpaceId, doc: DocId, hash: Hash, bytes: &[u8]) -> Result<(), StoreError> {
        for (part, bytes) in (0..).zip(bytes.chunks(SNAPSHOT_PART_BYTES_MAX)) {
            if part > 0 {
                self.pause().await;
            }
            self.registry.put_snapshot_part(space, doc, hash, part, bytes.to_vec()).await?;
        }
        Ok(())
    }
}

/// A snapshot's bytes, as they were stored.
pub(crate) async fn bytes_of(
    registry: &dyn Registry,
    space: SpaceId,
    doc: DocId,
    snapshot: &StoredSnapshot,
) -> Result<Vec<u8>, Unfolded> {
    let mut bytes = Vec::with_capacity(snapshot.size as usize);
    for part in 0.. {
        if bytes.len() as u64 >= snapshot.size {
            break;
        }
        let found = registry.snapshot_part(space, doc, snapshot.hash, part).await?;
        bytes.extend(found.ok_or(Unfolded::Stored("the snapshot lacks a part"))?);
    }
    if Hash::of(&[&bytes]) == snapshot.hash { Ok(bytes) } else { Err(Unfolded::Stored("the snapshot is damaged")) }
}

/// Whether a document has fewer changes than its space has entries behind that place.
pub(super) fn has_few(state: &DocumentState, after: u64) -> bool {
    let covered = state.snapshot.as_ref().map_or(0, |snapshot| snapshot.changes);
    // One that was not counted may have any number.
    state.tail.is_some_and(|tail| covered + tail.changes < state.head_seq.saturating_sub(after))
}
