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
    /// A change is no change, comes before what it was made upon, or breaks the document.
    #[error("change {0} breaks the document")]
    Change(Hash),
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
        return Err(FoldError::Change(*first));
    }
    let (doc, _) = attempt(base, &batch, false).ok_or_else(|| culprit(snapshot, &batch))?;
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
    let (mut sound, mut broken) = (0, batch.len());
    while broken - sound > 1 {
        let middle = sound + (broken - sound) / 2;
        let Some(base) = open(snapshot) else { return FoldError::Snapshot };
        if attempt(base, &batch[..middle], false).is_some() { sound = middle } else { broken = middle }
    }
    batch.get(broken.saturating_sub(1)).map_or(FoldError::ReadBack, |change| FoldError::Change(change.hash().into()))
}
