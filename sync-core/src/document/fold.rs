//! Folding a document's changes into a snapshot, and getting changes back out of one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{Automerge, Change, ChangeHash};

use super::apply::{attempt, sift};
use super::read::View;
use crate::id::Hash;
use crate::limits::SNAPSHOT_BYTES_MAX;
use crate::value::Path;

/// A snapshot that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The document's heads in it, ascending.
    pub heads: Vec<Hash>,
}

/// Why a document cannot be folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The snapshot to begin with cannot be loaded.
    #[error("the snapshot is damaged")]
    Snapshot,
    /// A change breaks the document, and those before it do not: proven twice, so that it may be excluded.
    #[error("change {0} breaks the document")]
    Change(Hash),
    /// A change is no change, or comes before what it was made upon: then the storage is at fault, and not the change.
    #[error("change {0} cannot be read, or what it was made upon is missing")]
    Unreadable(Hash),
    /// What was saved is not what would be loaded again.
    #[error("the new snapshot cannot be read back")]
    ReadBack,
    /// What was saved is larger than a snapshot may be.
    #[error("the new snapshot has more than {SNAPSHOT_BYTES_MAX} bytes")]
    TooLarge,
}

/// Folds a snapshot and the changes behind it, in an order in which each follows its dependencies, into a new snapshot; and
/// loads that again and compares its heads before it is given out.
pub fn fold(snapshot: Option<&[u8]>, changes: &[impl AsRef<[u8]>]) -> Result<Folded, FoldError> {
    let base = open(snapshot).ok_or(FoldError::Snapshot)?;
    let mut left_out = Vec::new();
    let batch = sift(&base, changes, &mut left_out);
    if let Some(first) = left_out.first() {
        return Err(FoldError::Unreadable(*first));
    }
    match save(base, &batch) {
        Err(FoldError::ReadBack) => Err(culprit(snapshot, &batch)),
        folded => folded,
    }
}

/// Applies a batch, saves the document, loads it again and compares.
fn save(base: Automerge, batch: &[Change]) -> Result<Folded, FoldError> {
    let (doc, _) = attempt(base, batch, false).ok_or(FoldError::ReadBack)?;
    let heads = heads(&doc);
    let bytes = catch_unwind(AssertUnwindSafe(|| doc.save())).map_err(|_| FoldError::ReadBack)?;
    drop(doc);
    if bytes.len() > SNAPSHOT_BYTES_MAX {
        return Err(FoldError::TooLarge);
    }
    let again = open(Some(&bytes)).ok_or(FoldError::ReadBack)?;
    if self::heads(&again) == heads { Ok(Folded { bytes, heads }) } else { Err(FoldError::ReadBack) }
}

/// The changes that a snapshot holds beyond those that `have` were made upon, in an order in which each follows its
/// dependencies, as they were when they were sealed. What it does not know of `have` counts for nothing.
pub fn changes_beyond(snapshot: &[u8], have: &[Hash]) -> Option<Vec<(Hash, Vec<u8>)>> {
    let doc = open(Some(snapshot))?;
    let change = |change: Change| (change.hash().into(), change.raw_bytes().to_vec());
    catch_unwind(AssertUnwindSafe(|| {
        let have: Vec<ChangeHash> = have.iter().map(|hash| ChangeHash::from(*hash)).collect();
        let known: Vec<ChangeHash> =
            have.into_iter().filter(|hash| doc.get_change_meta_by_hash(hash).is_some()).collect();
        doc.get_changes(&known).into_iter().map(change).collect()
    }))
    .ok()
}

/// What a snapshot shows, as JSON: see [`Document::json`](super::Document::json).
pub fn snapshot_json(snapshot: &[u8]) -> Option<String> {
    let doc = open(Some(snapshot))?;
    catch_unwind(AssertUnwindSafe(|| View::now(&doc).json(&Path::default()))).ok().flatten()
}

/// A document from its snapshot; an empty one without.
pub(super) fn open(snapshot: Option<&[u8]>) -> Option<Automerge> {
    let Some(bytes) = snapshot else { return Some(Automerge::new()) };
    catch_unwind(|| Automerge::load(bytes).ok()).ok().flatten()
}

fn heads(doc: &Automerge) -> Vec<Hash> {
    let mut heads: Vec<Hash> = doc.get_heads().into_iter().map(Hash::from).collect();
    heads.sort_unstable();
    heads
}

/// The first change of a batch with which the document breaks: batches up to it do, those before it do not.
fn culprit(snapshot: Option<&[u8]>, batch: &[Change]) -> FoldError {
    let breaks = |count: usize| -> Result<bool, FoldError> {
        let base = open(snapshot).ok_or(FoldError::Snapshot)?;
        match save(base, &batch[..count]) {
            Ok(_) => Ok(false),
            Err(FoldError::ReadBack) => Ok(true),
            Err(error) => Err(error),
        }
    };
    let find = || -> Result<Option<usize>, FoldError> {
        let (mut sound, mut broken) = (0, batch.len());
        while broken - sound > 1 {
            let middle = sound + (broken - sound) / 2;
            if breaks(middle)? { broken = middle } else { sound = middle }
        }
        // Whoever is excluded is so for good: once more, with nothing left of the time before.
        Ok((broken > 0 && breaks(broken)? && !breaks(sound)?).then(|| broken - 1))
    };
    match find() {
        Ok(Some(index)) => FoldError::Change(batch[index].hash().into()),
        Ok(None) => FoldError::ReadBack,
        Err(error) => error,
    }
}
