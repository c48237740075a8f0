//! What became of changes and operations: which hold, and under which ids others hold now.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use automerge::ActorId;
use automerge::legacy::{Op, OpId};

use super::Reauthor;
use crate::graft;
use crate::guard::{self, Guarded};
use crate::id::Hash;

/// A change that does not hold.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) actor: ActorId,
    /// The counter of its first operation.
    pub(super) start: u64,
    pub(super) ops: Arc<[Op]>,
    pub(super) deps: Vec<Hash>,
    /// How many of its first operations hold all the same, in another change.
    pub(super) same: usize,
    pub(super) copies: Vec<Copy>,
}

/// A change in which operations of another one were made anew.
#[derive(Debug)]
pub(super) struct Copy {
    /// `None` while it is being made.
    pub(super) hash: Option<Hash>,
    pub(super) actor: ActorId,
    pub(super) start: u64,
    /// Which of the other's operations it holds, ascending.
    pub(super) indices: Vec<u32>,
}

/// The changes that hold.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The highest operation counter of each.
    max_ops: BTreeMap<Hash, u64>,
    heads: BTreeSet<Hash>,
    /// The last change of each author: its sequence number and its hash.
    tails: BTreeMap<ActorId, (u64, Hash)>,
    /// By author and first counter.
    ranges: BTreeMap<ActorId, BTreeMap<u64, Stretch>>,
    /// Operations that stand in the place of ones that are gone.
    fillers: BTreeMap<ActorId, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Stretch {
    hash: Hash,
    end: u64,
    bytes: Option<Box<[u8]>>,
}

impl Held {
    /// `bytes`: where what it says may have to be compared.
    pub(super) fn add(&mut self, change: &Guarded, bytes: Option<&[u8]>) {
        let actor = ActorId::from(change.actor);
        self.max_ops.insert(change.hash, change.max_op());
        for dep in &change.deps {
            self.heads.remove(dep);
        }
        self.heads.insert(change.hash);
        if let Some(bytes) = bytes {
            let fillers: BTreeSet<u64> = graft::fillers(bytes, change).collect();
            if !fillers.is_empty() {
                self.fillers.entry(actor.clone()).or_default().extend(fillers);
            }
        }
        let tail = self.tails.entry(actor.clone()).or_insert((0, change.hash));
        if change.seq > tail.0 {
            *tail = (change.seq, change.hash);
        }
        if change.operations > 0 {
            let end = change.start_op + change.operations;
            let stretch = Stretch { hash: change.hash, end, bytes: bytes.map(Into::into) };
            self.ranges.entry(actor).or_default().insert(change.start_op, stretch);
        }
    }

    fn is_filler(&self, id: &OpId) -> bool {
        self.fillers.get(id.actor()).is_some_and(|fillers| fillers.contains(&id.counter()))
    }

    pub(super) fn contains(&self, hash: Hash) -> bool {
        self.max_ops.contains_key(&hash)
    }

    pub(super) fn max_op(&self, hash: Hash) -> u64 {
        self.max_ops.get(&hash).copied().unwrap_or(0)
    }

    pub(super) fn heads(&self) -> BTreeSet<Hash> {
        self.heads.clone()
    }

    pub(super) fn tail(&self, actor: &ActorId) -> Option<(u64, Hash)> {
        self.tails.get(actor).copied()
    }

    fn stretch(&self, actor: &ActorId, counter: u64) -> Option<(u64, &Stretch)> {
        let (start, stretch) = self.ranges.get(actor)?.range(..=counter).next_back()?;
        (counter < stretch.end).then_some((*start, stretch))
    }

    /// The change that has an operation.
    pub(super) fn with_op(&self, actor: &ActorId, counter: u64) -> Option<Hash> {
        Some(self.stretch(actor, counter)?.1.hash)
    }

    /// How many of these operations, from the first on, hold under the same ids with the same content, and come from the same
    /// journal.
    pub(super) fn shared(&self, actor: &ActorId, start: u64, time: i64, ops: &[Op]) -> usize {
        let Some((from, Stretch { bytes: Some(bytes), .. })) = self.stretch(actor, start) else { return 0 };
        let parsed = guard::inspect(bytes).and_then(|guarded| guard::verify(bytes, &guarded));
        let Ok(theirs) = parsed.map(|parsed| parsed.decode()) else { return 0 };
        if from != start || theirs.time != time {
            return 0;
        }
        theirs.operations.iter().zip(ops).take_while(|(theirs, ours)| theirs == ours).count()
    }
}

impl Reauthor {
    fn fate(&self, id: &OpId) -> Option<(&Fate, usize)> {
        let hash = self.ranges.get(id.actor())?.range(..=id.counter()).next_back()?.1;
        let fate = self.fates.get(hash)?;
        let index = (id.counter() - fate.start) as usize;
        (index < fate.ops.len()).then_some((fate, index))
    }

    /// The id under which an operation holds. What stands in the place of one that is gone is nothing to refer to.
    pub(super) fn resolve(&self, id: &OpId) -> Option<OpId> {
        self.place(id).filter(|id| !self.held.is_filler(id))
    }

    fn place(&self, id: &OpId) -> Option<OpId> {
        let mut id = id.clone();
        // A change that does not hold stands in front of one that holds under the same author and counters: whoever wrote
        // upon the former did not know the latter.
        while let Some((fate, index)) = self.fate(&id) {
            if index < fate.same {
                return Some(id);
            }
            let holds = |copy: &&Copy| copy.indices.binary_search(&(index as u32)).is_ok();
            let copy = fate.copies.iter().rev().find(holds)?;
            let place = copy.indices.binary_search(&(index as u32)).ok()?;
            let next = OpId::new(copy.start + place as u64, &copy.actor);
            if next == id {
                return None;
            }
            if copy.hash.is_none_or(|hash| self.held.contains(hash)) {
                return Some(next);
            }
            id = next;
        }
        if self.held.with_op(id.actor(), id.counter()).is_some() {
            return Some(id);
        }
        let now = self.passage.as_ref()?.map.get(&id)?;
        self.held.with_op(now.actor(), now.counter()).map(|_| now)
    }

    /// An operation that does not hold, if its change is known.
    pub(super) fn lost(&self, id: &OpId) -> Option<&Op> {
        self.fate(id).map(|(fate, index)| &fate.ops[index])
    }

    /// Begins a copy of a change. Gives its operations, and how many of them hold all the same.
    pub(super) fn begin(&mut self, hash: Hash, start: u64) -> (Arc<[Op]>, usize) {
        let author = self.author.clone();
        let Some(fate) = self.fates.get_mut(&hash) else { return (Arc::default(), 0) };
        fate.copies.push(Copy { hash: None, actor: author, start, indices: Vec::new() });
        (fate.ops.clone(), fate.same)
    }

    /// The copy under way holds these, too; or not, after all.
    pub(super) fn keep(&mut self, hash: Hash, indices: Range<usize>, kept: bool) {
        let Some(copy) = self.fates.get_mut(&hash).and_then(|fate| fate.copies.last_mut()) else { return };
        if kept {
            copy.indices.extend(indices.map(|index| index as u32));
        } else {
            copy.indices.truncate(copy.indices.len() - indices.len());
        }
    }

    /// The copy under way is done, under that hash. Gives what it holds.
    pub(super) fn end(&mut self, hash: Hash, made: Hash) -> Vec<u32> {
        let copy = self.fates.get_mut(&hash).and_then(|fate| fate.copies.last_mut());
        copy.map_or_else(Vec::new, |copy| {
            copy.hash = Some(made);
            copy.indices.clone()
        })
    }

    /// Nothing came of the copy under way.
    pub(super) fn drop_copy(&mut self, hash: Hash) {
        if let Some(fate) = self.fates.get_mut(&hash) {
            fate.copies.pop();
        }
    }
}
