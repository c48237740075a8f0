//! Bytes from outside on their way into automerge: sifted, tried on a copy, put in order.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::legacy::OpType;
use automerge::{Automerge, Change, ObjId, PatchLog, ReadDoc};

use super::patch::{self, Patch};
use crate::chunk::{ACTION, Chunk};
use crate::guard;
use crate::id::Hash;
use crate::limits::NESTING_DEPTH_MAX;

/// Those changes that are new, well-formed and have all dependencies; automerge's own queue of waiting ones stays empty.
pub(super) fn sift(doc: &Automerge, changes: &[impl AsRef<[u8]>], left_out: &mut Vec<Hash>) -> Vec<Change> {
    let mut coming: BTreeSet<Hash> = BTreeSet::new();
    let mut batch = Vec::with_capacity(changes.len());
    let held = |hash: Hash| doc.get_change_meta_by_hash(&hash.into()).is_some();
    for bytes in changes {
        let bytes = bytes.as_ref();
        let Ok(guarded) = guard::inspect(bytes) else {
            left_out.push(Hash::of(&[bytes]));
            continue;
        };
        if coming.contains(&guarded.hash) || held(guarded.hash) {
            continue;
        }
        let complete = guarded.deps.iter().all(|dep| coming.contains(dep) || held(*dep));
        let parsed =
            if complete { catch_unwind(|| Change::from_bytes(bytes.to_vec()).ok()).ok().flatten() } else { None };
        match parsed {
            Some(change) if Hash::from(change.hash()) == guarded.hash => {
                coming.insert(guarded.hash);
                batch.push(change);
            }
            _ => left_out.push(guarded.hash),
        }
    }
    batch
}

pub(super) fn attempt(mut doc: Automerge, batch: &[Change], observed: bool) -> Option<(Automerge, Vec<Patch>)> {
    catch_unwind(AssertUnwindSafe(move || {
        if !observed {
            doc.apply_changes(batch.iter().cloned()).ok()?;
            return (!is_too_deep(&doc, batch)).then(|| (doc, Vec::new()));
        }
        let mut log = PatchLog::active();
        doc.apply_changes_log_patches(batch.iter().cloned(), &mut log).ok()?;
        // Patches and values of what is nested deeper are made on the stack.
        if is_too_deep(&doc, batch) {
            return None;
        }
        let patches = patch::of_automerge(&doc, doc.make_patches(&mut log));
        Some((doc, patches))
    }))
    .ok()
    .flatten()
}

/// Whether a batch that was applied makes an object that stands deeper than a document may be. What one change shows by itself,
/// the guard has refused; several may go deeper together.
fn is_too_deep(doc: &Automerge, batch: &[Change]) -> bool {
    batch.iter().filter(|change| may_make(change)).any(|change| {
        let (author, start) = (change.actor_id().clone(), change.start_op().get());
        let made = change.decode().operations.into_iter().zip(start..);
        made.filter(|(op, _)| matches!(op.action, OpType::Make(_))).any(|(_, counter)| {
            let object = ObjId::Id(counter, author.clone(), 0);
            doc.parents(object).is_ok_and(|parents| parents.take(NESTING_DEPTH_MAX + 1).count() > NESTING_DEPTH_MAX)
        })
    })
}

/// Whether a change may make objects: their actions are even numbers below 8. Lengths of runs may look alike.
fn may_make(change: &Change) -> bool {
    let Ok(chunk) = Chunk::read_as(change.raw_bytes(), change.hash().into()) else { return true };
    let actions = chunk.columns().iter().filter(|column| column.spec == ACTION);
    actions.into_iter().any(|column| column.data.iter().any(|byte| *byte < 8 && byte % 2 == 0))
}

/// Kahn's algorithm, with the lowest hash first among those that are ready.
pub(super) fn topological(changes: Vec<Change>) -> Vec<Change> {
    let mut waiting: BTreeMap<Hash, usize> = BTreeMap::new();
    let mut followers: BTreeMap<Hash, Vec<Hash>> = BTreeMap::new();
    let mut by_hash: BTreeMap<Hash, Change> = BTreeMap::new();
    let mut ready: BTreeSet<Hash> = BTreeSet::new();
    for change in changes {
        let hash = Hash::from(change.hash());
        for dep in change.deps() {
            followers.entry(Hash::from(*dep)).or_default().push(hash);
        }
        if change.deps().is_empty() {
            ready.insert(hash);
        }
        waiting.insert(hash, change.deps().len());
        by_hash.insert(hash, change);
    }
    let mut sorted = Vec::with_capacity(by_hash.len());
    while let Some(hash) = ready.pop_first() {
        for follower in followers.remove(&hash).unwrap_or_default() {
            let left = waiting.entry(follower).or_insert(0);
            *left = left.saturating_sub(1);
            if *left == 0 {
                ready.insert(follower);
            }
        }
        sorted.extend(by_hash.remove(&hash));
    }
    sorted
}
