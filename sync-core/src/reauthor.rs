//! The same operations under a new actor: what a device wrote and cannot send as it is (its feed was rolled back, or it was
//! made upon a change that was refused), made anew upon what holds.
//!
//! A change stays where it was: it depends on what it was made upon, as far as that holds, so that it is concurrent with the
//! same changes as before and concurrent insertions keep their order. Its operations get new ids, and so does whatever refers
//! to them. An operation that refers to something that is gone is left out, and said so, with these exceptions:
//!
//! - what replaced a value that is gone replaces what that value had replaced;
//! - what was typed behind the edge of a mark that is gone is typed where the edge was;
//! - an operation that a change which holds has already, under the same id, with the same content and from the same journal,
//!   is not made again. Without the journal's random bits one could not be told from another one that does the same.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::panic::catch_unwind;
use std::sync::Arc;

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType};
use automerge::{ActorId, ChangeHash, ExpandedChange};

use crate::code::RejectCode;
use crate::document::{Document, Random};
use crate::epoch::Passage;
use crate::graft::is_filler;
use crate::guard;
use crate::id::{Actor, Hash};

mod fate;

use fate::{Copy, Fate, Held};

/// Makes changes of one document anew.
#[derive(Debug)]
pub struct Reauthor {
    author: ActorId,
    held: Held,
    /// Changes that do not hold, by the hashes that they had.
    fates: BTreeMap<Hash, Fate>,
    /// Where their operations are, by author and first counter.
    ranges: BTreeMap<ActorId, BTreeMap<u64, Hash>>,
    /// How what they refer to of an epoch that is over is called now.
    passage: Option<Passage>,
}

/// Upon what a change is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upon {
    /// Upon what it was made upon before, as far as that holds.
    Same,
    /// Upon everything that holds now.
    Everything,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The change that says it now; `None` if there is nothing left to say.
    pub change: Option<MadeChange>,
    /// Operations that were left out.
    pub left_out: Vec<LeftOut>,
    /// How many operations hold already, in a change that came back.
    pub held: u32,
}

/// A change that was made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeChange {
    /// automerge's hash of it.
    pub hash: Hash,
    /// The chunk, uncompressed.
    pub bytes: Vec<u8>,
    /// Which operations of the change before it holds, ascending.
    pub indices: Vec<u32>,
}

/// An operation that was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// Which of its change's operations, counted from 0.
    pub index: u32,
    /// Why.
    pub why: Why,
}

/// Why an operation was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The map, list or text that it works on is gone.
    Object,
    /// The element or character that it follows, replaces or marks is gone.
    Element,
    /// The counter that it counts is gone.
    Value,
    /// Something else was written in its place since.
    Replaced,
    /// It removes what is gone: nothing is missing without it.
    Moot,
    /// The change would be none that a server takes.
    Refused(RejectCode),
}

/// A change that cannot be made anew, since it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a change: {0}")]
pub struct NoChange(pub RejectCode);

impl Reauthor {
    /// For a document that consists of these changes, each behind those that it was made upon. From here on `author` writes; if
    /// it has written there before, it goes on from that.
    pub fn new<'a>(author: Actor, held: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NoChange> {
        let mut holds = Held::default();
        for bytes in held {
            holds.add(&guard::inspect(bytes).map_err(NoChange)?, Some(bytes));
        }
        let (fates, ranges) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { author: author.into(), held: holds, fates, ranges, passage: None })
    }

    /// What does not hold was made upon an epoch that is over.
    pub fn pass(&mut self, passage: Passage) {
        self.passage = Some(passage);
    }

    /// Whether a change holds.
    pub fn holds(&self, hash: Hash) -> bool {
        self.held.contains(hash)
    }

    /// A change that does not hold. To be told of in the order in which they were made, before [`make`](Self::make) meets what
    /// was made upon it.
    pub fn gone(&mut self, bytes: &[u8]) -> Result<Hash, NoChange> {
        let guarded = guard::inspect(bytes).map_err(NoChange)?;
        if self.fates.contains_key(&guarded.hash) {
            return Ok(guarded.hash);
        }
        let expanded = guard::verify(bytes, &guarded).map_err(NoChange)?.decode();
        let ExpandedChange { actor_id: actor, start_op, operations, deps, time, .. } = expanded;
        let (start, ops): (u64, Arc<[Op]>) = (start_op.get(), operations.into());
        let mut same = self.held.shared(&actor, start, time, &ops);
        // The two ends of a mark stay together.
        if same < ops.len() && same.checked_sub(1).is_some_and(|last| matches!(ops[last].action, OpType::MarkBegin(_)))
        {
            same -= 1;
        }
        if crate::mutation!("pulled-not-compared") {
            same = 0;
        }
        if !ops.is_empty() {
            self.ranges.entry(actor.clone()).or_default().insert(start, guarded.hash);
        }
        let deps = deps.into_iter().map(Hash::from).collect();
        self.fates.insert(guarded.hash, Fate { actor, start, ops, deps, same, copies: Vec::new() });
        Ok(guarded.hash)
    }

    /// A change of which some operations were made anew before, as another change, of which is told too: as of one that holds,
    /// or as of one that is gone.
    pub fn became(&mut self, old: &[u8], new: &[u8], indices: &[u32]) -> Result<(), NoChange> {
        let hash = self.gone(old)?;
        let guarded = guard::inspect(new).map_err(NoChange)?;
        let copy = Copy {
            hash: Some(guarded.hash),
            actor: guarded.actor.into(),
            start: guarded.start_op,
            indices: indices.to_vec(),
        };
        if let Some(fate) = self.fates.get_mut(&hash) {
            fate.copies.push(copy);
        }
        Ok(())
    }

    /// Makes a change anew, or `only` those of its operations; it holds from then on. One that holds already is left as it is.
    pub fn make(
        &mut self,
        bytes: &[u8],
        upon: Upon,
        only: Option<&[u32]>,
        random: Random<'_>,
    ) -> Result<Made, NoChange> {
        self.make_unless(bytes, upon, only, None, random)
    }

    /// The same, but for what would replace something that its author did not know, as `document` shows it.
    pub(crate) fn make_unless(
        &mut self,
        bytes: &[u8],
        upon: Upon,
        only: Option<&[u32]>,
        document: Option<&Document>,
        random: Random<'_>,
    ) -> Result<Made, NoChange> {
        let guarded = guard::inspect(bytes).map_err(NoChange)?;
        if self.held.contains(guarded.hash) {
            return Ok(Made { change: None, left_out: Vec::new(), held: guarded.operations as u32 });
        }
        let hash = self.gone(bytes)?;
        let tail = self.held.tail(&self.author);
        let mut deps = match upon {
            Upon::Same => self.standing(hash),
            Upon::Everything => None,
        };
        let deps = deps.get_or_insert_with(|| self.held.heads());
        deps.extend(tail.map(|(_, hash)| hash));
        let start = deps.iter().map(|dep| self.held.max_op(*dep)).max().unwrap_or(0) + 1;
        let (ops, same) = self.begin(hash, start);
        let (mut kept, mut left_out) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < ops.len() {
            let count = if matches!(ops[at].action, OpType::MarkBegin(_)) { 2 } else { 1 };
            let part = at..(at + count).min(ops.len());
            at = part.end;
            let wanted = part.start >= same && only.is_none_or(|only| only.binary_search(&(part.start as u32)).is_ok());
            let lost = crate::mutation!("remade-without-the-last") && at == ops.len() && ops.len() > 1;
            if !wanted || lost {
                continue;
            }
            // Of a mark's two ends the second may follow the first.
            self.keep(hash, part.clone(), true);
            let made = self.again(&ops[part.clone()]).and_then(|made| {
                let replaces =
                    document.is_some_and(|document| made.iter().any(|op| self.replaces(op, document, start)));
                if replaces { Err(Why::Replaced) } else { Ok(made) }
            });
            match made {
                Ok(made) => kept.extend(made),
                Err(why) => {
                    self.keep(hash, part.clone(), false);
                    left_out.extend(part.map(|index| LeftOut { index: index as u32, why }));
                }
            }
        }
        let held = same as u32;
        if kept.is_empty() {
            self.drop_copy(hash);
            return Ok(Made { change: None, left_out, held });
        }
        let (seq, deps) = (tail.map_or(0, |(seq, _)| seq) + 1, std::mem::take(deps));
        match self.change(seq, deps, start, kept, random) {
            Ok((made, bytes)) => {
                self.held.add(&made, None);
                let indices = self.end(hash, made.hash);
                Ok(Made { change: Some(MadeChange { hash: made.hash, bytes, indices }), left_out, held })
            }
            Err(code) => {
                let lost = self.end(hash, hash);
                self.drop_copy(hash);
                left_out.extend(lost.into_iter().map(|index| LeftOut { index, why: Why::Refused(code) }));
                left_out.sort_unstable_by_key(|left| left.index);
                Ok(Made { change: None, left_out, held })
            }
        }
    }

    fn change(
        &self,
        seq: u64,
        deps: BTreeSet<Hash>,
        start: u64,
        operations: Vec<Op>,
        random: Random<'_>,
    ) -> Result<(guard::Guarded, Vec<u8>), RejectCode> {
        let expanded = ExpandedChange {
            operations,
            actor_id: self.author.clone(),
            hash: None,
            seq,
            start_op: NonZeroU64::new(start).ok_or(RejectCode::StartOperation)?,
            // As when it is sealed: two clones of a phone never make the same change.
            time: i64::from(random() as u32),
            message: None,
            deps: deps.into_iter().map(ChangeHash::from).collect(),
            extra_bytes: Vec::new(),
            author: None,
        };
        let made = catch_unwind(|| automerge::Change::from(expanded)).map_err(|_| RejectCode::Malformed)?;
        let bytes = made.raw_bytes().to_vec();
        let guarded = guard::inspect(&bytes)?;
        guard::verify(&bytes, &guarded)?;
        Ok((guarded, bytes))
    }

    /// What a change that does not hold was made upon, as far as that holds; `None` if some of it is not known here.
    fn standing(&self, hash: Hash) -> Option<BTreeSet<Hash>> {
        let mut standing = BTreeSet::new();
        let (mut seen, mut ahead) = (BTreeSet::new(), vec![hash]);
        while let Some(hash) = ahead.pop() {
            if !seen.insert(hash) {
                continue;
            }
            if self.held.contains(hash) {
                standing.insert(hash);
                continue;
            }
            let Some(fate) = self.fates.get(&hash) else {
                // What was settled of the epoch before is in the beginning of this one.
                standing.insert(self.passage.as_ref()?.head);
                continue;
            };
            ahead.extend(fate.copies.iter().filter_map(|copy| copy.hash));
            if let Some(last) = fate.same.checked_sub(1) {
                standing.extend(self.held.with_op(&fate.actor, fate.start + last as u64));
            }
            if fate.copies.is_empty() {
                ahead.extend(&fate.deps);
            }
        }
        if standing.is_empty() {
            standing.extend(self.passage.as_ref().map(|passage| passage.head));
        }
        Some(standing)
    }

    /// A mark's two ends, or any other operation, with everything that it refers to under the id that this has now.
    fn again(&mut self, part: &[Op]) -> Result<Vec<Op>, Why> {
        let made: Vec<Op> = part.iter().map(|op| self.op(op)).collect::<Result<_, _>>()?;
        match &made[..] {
            // Nothing is left between its ends.
            [begin, end] if begin.key == end.key => Err(Why::Element),
            _ => Ok(made),
        }
    }

    /// Whether something is under the operation's key that it would replace and does not know. What the change under way, which
    /// begins at `start`, has put there itself, it knows.
    fn replaces(&self, op: &Op, document: &Document, start: u64) -> bool {
        let Key::Map(key) = &op.key else { return false };
        if matches!(op.action, OpType::Increment(_)) {
            return false;
        }
        let own = |id: &OpId| id.counter() >= start && id.actor() == &self.author;
        let known: Vec<&OpId> = op.pred.iter().collect();
        let in_change = matches!(&op.obj, ObjectId::Id(object) if own(object));
        !in_change
            && !known.iter().any(|id| own(id))
            && document.written(&op.obj, key).iter().any(|id| !known.contains(&id))
    }

    fn op(&mut self, op: &Op) -> Result<Op, Why> {
        let moot = |why| if op.action == OpType::Delete { Why::Moot } else { why };
        let obj = match &op.obj {
            ObjectId::Root => ObjectId::Root,
            ObjectId::Id(id) => ObjectId::Id(self.resolve(id).ok_or(moot(Why::Object))?),
        };
        let key = match &op.key {
            Key::Seq(ElementId::Id(id)) if op.insert => Key::Seq(self.anchor(id).ok_or(Why::Element)?),
            Key::Seq(ElementId::Id(id)) => Key::Seq(ElementId::Id(self.resolve(id).ok_or(moot(Why::Element))?)),
            other => other.clone(),
        };
        let mut pred = match op.action {
            // Another value in its place would be another counter.
            OpType::Increment(_) => op.pred.iter().filter_map(|id| self.resolve(id)).collect(),
            _ => self.replaced(op.pred.iter()),
        };
        match (&op.action, &key) {
            (OpType::Increment(_), _) if is_filler(op) => return Err(Why::Moot),
            (OpType::Increment(_), _) if pred.is_empty() => return Err(Why::Value),
            (OpType::Delete, _) if pred.is_empty() => return Err(Why::Moot),
            (_, Key::Seq(ElementId::Id(element))) if !op.insert && pred.is_empty() => {
                pred.insert(element.clone());
            }
            _ => {}
        }
        Ok(Op { action: op.action.clone(), obj, key, pred: pred.into_iter().collect(), insert: op.insert })
    }

    /// Values that hold, in place of those that an operation replaced.
    fn replaced<'a>(&'a self, pred: impl Iterator<Item = &'a OpId>) -> BTreeSet<OpId> {
        let (mut replaced, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut ahead: Vec<&OpId> = pred.collect();
        while let Some(id) = ahead.pop() {
            if !seen.insert(id) {
                continue;
            }
            match self.resolve(id) {
                Some(now) => {
                    replaced.insert(now);
                }
                None => ahead.extend(self.lost(id).into_iter().flat_map(|op| op.pred.iter())),
            }
        }
        replaced
    }

    /// The element behind which something is inserted.
    fn anchor(&mut self, id: &OpId) -> Option<ElementId> {
        let mut id = id.clone();
        loop {
            if let Some(now) = self.resolve(&id) {
                return Some(ElementId::Id(now));
            }
            let Some(op) = self.lost(&id) else {
                // An element that was deleted before the epoch: whatever stood in front of it stands there still.
                let front = self.passage.as_mut()?.before.as_mut()?.in_front_of(&id)?;
                match front {
                    Some(before) => id = before,
                    None => return Some(ElementId::Head),
                }
                continue;
            };
            if !matches!(op.action, OpType::MarkBegin(_) | OpType::MarkEnd(_)) {
                return None;
            }
            match &op.key {
                Key::Seq(ElementId::Id(before)) => id = before.clone(),
                Key::Seq(ElementId::Head) => return Some(ElementId::Head),
                Key::Map(_) => return None,
            }
        }
    }
}
