//! A document without a change that breaks it: what stands in the place of that change, and of those that were made upon it.
//!
//! A change that passed the guard and breaks its document is **excluded**, by an entry of the log. It keeps its place in its
//! author's sequence, its operation ids and what it was made upon, but every operation of it becomes a *filler*, which
//! automerge keeps and nobody sees: so nothing behind it has to be counted anew, `start_op` stays what the log noted, and
//! who depends on it depends on what it depended on. What was made upon it is **grafted**: it depends on what stands in the
//! place of its dependencies, and operations that refer to one that is gone become fillers as well:
//!
//! - what works on an object that is gone, or follows or replaces an element that is gone;
//! - what deletes or counts up nothing but values that are gone;
//! - a mark one end of which is gone.
//!
//! A value that was written over one that is gone stays: its author did see, and replace, what should not be there.
//!
//! Feeds and the log speak of changes as they were sealed, always. What stands in a document is computed: a change that is
//! grafted has another hash, and so has everything upon it. Who has heard of an exclusion writes upon the new hashes, who has
//! not upon the old ones, and both are right: each hash by which a change ever stood is known here and leads to how it stands
//! now. There is one such hash for each exclusion at most, and it depends on nothing but the change, what it was made upon,
//! and the exclusions in their order; when a change arrived, before or after an exclusion, makes no difference.
//!
//! Nothing here needs the document: what the server knows of a document's exclusions is enough to tell how a change that is
//! pushed will stand.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType, SortedVec};
use automerge::{Change, ChangeHash, ExpandedChange};

use crate::code::RejectCode;
use crate::document::changes_beyond;
use crate::guard::{self, Guarded};
use crate::id::{Actor, Hash};
use crate::leb128;
use crate::limits::DOCUMENT_EXCLUSIONS_MAX;

/// The key under which fillers stand. A counter is counted up by nothing there, and no value is under it.
const FILLER_KEY: &str = "_";
/// The form of [`Grafts::encode`].
const VERSION: u8 = 1;

/// What a document's exclusions have come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grafts {
    /// The excluded changes, as they were sealed, in the order of the log. The first exclusion makes stage 1, and so on.
    excluded: Vec<Hash>,
    /// Of changes that ever stood otherwise than they were sealed: how, from which stage on.
    forms: BTreeMap<Hash, Vec<(u32, Hash)>>,
    /// As what those were sealed, and from which stage on a form stands.
    origins: BTreeMap<Hash, (Hash, u32)>,
    /// Operations that became fillers: by author and first counter the last one, and at which stage.
    gone: BTreeMap<Actor, BTreeMap<u64, (u64, u32)>>,
}

/// How a change stands in its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its hash there.
    pub hash: Hash,
    /// Its bytes, where they are other ones than those that were given.
    pub bytes: Option<Vec<u8>>,
}

/// A stored document as it stands: see [`Grafts::settle`].
#[derive(Debug, Clone)]
pub struct Settled {
    /// What its exclusions have come to.
    pub grafts: Grafts,
    /// What it begins with.
    pub snapshot: Option<Vec<u8>>,
    /// The hashes of `changes`.
    pub hashes: Vec<Hash>,
    /// The changes beside the snapshot, in the order given.
    pub changes: Vec<Vec<u8>>,
}

/// Why a change is not excluded, or not grafted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GraftError {
    /// It cannot be read.
    #[error("not a change: {0}")]
    NoChange(RejectCode),
    /// It is excluded already.
    #[error("the change is excluded already")]
    Excluded,
    /// So many changes of the document are that no more can be.
    #[error("{DOCUMENT_EXCLUSIONS_MAX} changes of the document are excluded")]
    TooMany,
    /// What was stored is not what [`Grafts::encode`] made.
    #[error("the stored grafts are damaged")]
    Stored,
}

impl Grafts {
    /// Whether nothing was ever excluded.
    pub fn is_empty(&self) -> bool {
        self.excluded.is_empty()
    }

    /// The excluded changes, as they were sealed, in the order of the log.
    pub fn excluded(&self) -> &[Hash] {
        &self.excluded
    }

    /// As what a change was sealed that stands, or stood, under that hash.
    pub fn sealed(&self, hash: Hash) -> Hash {
        self.origins.get(&hash).map_or(hash, |(origin, _)| *origin)
    }

    /// Under which hash a change stands now.
    pub fn now(&self, hash: Hash) -> Hash {
        self.at(self.sealed(hash), u32::MAX)
    }

    /// Every hash by which a change stands or stood, besides the one under which it was sealed; with that one.
    pub fn aliases(&self) -> impl Iterator<Item = (Hash, Hash)> + '_ {
        self.origins.iter().filter(|(hash, (origin, _))| *hash != origin).map(|(hash, (origin, _))| (*hash, *origin))
    }

    /// Excludes a change. `changes` are all of the document, each behind what it was made upon, as they were sealed or as they
    /// stand; what does not stand in the document since it was made upon the excluded one is to be among them. Gives how they
    /// stand now.
    pub fn exclude(&mut self, hash: Hash, changes: &[impl AsRef<[u8]>]) -> Result<Vec<Standing>, GraftError> {
        let origin = self.sealed(hash);
        if self.excluded.contains(&origin) {
            return Err(GraftError::Excluded);
        }
        if self.excluded.len() >= DOCUMENT_EXCLUSIONS_MAX {
            return Err(GraftError::TooMany);
        }
        let mut next = self.clone();
        next.excluded.push(origin);
        let standing = changes.iter().map(|change| next.stand(change.as_ref())).collect::<Result<_, _>>()?;
        *self = next;
        Ok(standing)
    }

    /// Which operations of a change that counts from `start` on are gone: their indices in it.
    pub fn gone(&self, actor: Actor, start: u64, operations: u64) -> Vec<u32> {
        let ranges = self.gone.get(&actor).into_iter().flat_map(|ranges| ranges.range(..start + operations));
        let inside = ranges.flat_map(|(first, (last, _))| (*first).max(start)..=(*last).min(start + operations - 1));
        inside.map(|counter| (counter - start) as u32).collect()
    }

    /// A stored document as it stands: `base` is what was known when its snapshot was made, `excluded` are all changes that the log
    /// excludes of it, in its order, `changes` those beside the snapshot. Where the snapshot holds what stands otherwise now, it
    /// is taken apart, and its changes lead the others.
    pub fn settle(
        base: Self,
        excluded: &[Hash],
        snapshot: Option<Vec<u8>>,
        mut changes: Vec<Vec<u8>>,
    ) -> Result<Settled, GraftError> {
        let mut grafts = base;
        let mut snapshot = snapshot;
        let new: Vec<Hash> = excluded.iter().copied().filter(|hash| !grafts.excluded.contains(hash)).collect();
        if !new.is_empty() {
            let inside = match &snapshot {
                Some(bytes) => changes_beyond(bytes, &[]).ok_or(GraftError::Stored)?,
                None => Vec::new(),
            };
            let count = inside.len();
            let all: Vec<Vec<u8>> = inside.into_iter().map(|(_, bytes)| bytes).chain(changes).collect();
            let mut standing = None;
            for hash in new {
                standing = Some(grafts.exclude(hash, &all)?);
            }
            let otherwise = |standing: &Vec<Standing>| standing[..count].iter().any(|of| of.bytes.is_some());
            if standing.as_ref().is_some_and(otherwise) {
                (snapshot, changes) = (None, all);
            } else {
                changes = all.into_iter().skip(count).collect();
            }
        }
        let mut hashes = Vec::with_capacity(changes.len());
        for change in &mut changes {
            let standing = grafts.stand(change)?;
            hashes.push(standing.hash);
            if let Some(bytes) = standing.bytes {
                *change = bytes;
            }
        }
        Ok(Settled { grafts, snapshot, hashes, changes })
    }

    /// How a change stands now. What it was made upon is to be told of before.
    pub fn stand(&mut self, bytes: &[u8]) -> Result<Standing, GraftError> {
        let guarded = guard::inspect(bytes).map_err(GraftError::NoChange)?;
        let (origin, mut first) = self.origins.get(&guarded.hash).copied().unwrap_or((guarded.hash, 0));
        // Who made it upon what stands since an exclusion knew of that.
        first =
            guarded.deps.iter().filter_map(|dep| self.origins.get(dep)).map(|(_, stage)| *stage).fold(first, u32::max);
        let (mut hash, mut made) = (guarded.hash, None);
        let owners: Vec<Hash> = guarded.deps.iter().map(|dep| self.sealed(*dep)).collect();
        let mut deps = guarded.deps;
        let mut expanded: Option<ExpandedChange> = None;
        for stage in first.max(1)..=self.excluded.len() as u32 {
            let mut upon: Vec<Hash> = owners.iter().map(|owner| self.at(*owner, stage)).collect();
            upon.sort_unstable();
            upon.dedup();
            let whole = self.excluded[stage as usize - 1] == origin;
            if upon == deps && !whole {
                continue;
            }
            deps = upon;
            let change = match expanded.take() {
                Some(change) => change,
                None => read(bytes)?,
            };
            let change = self.graft(change, guarded.actor, whole, &deps, stage);
            let written = write(change.clone())?;
            hash = guard::inspect(&written).map_err(GraftError::NoChange)?.hash;
            (made, expanded) = (Some(written), Some(change));
            self.note(origin, stage, hash);
        }
        Ok(Standing { hash, bytes: made })
    }

    /// How a change that was sealed so stood at a stage.
    fn at(&self, origin: Hash, stage: u32) -> Hash {
        let forms = self.forms.get(&origin).map_or(&[][..], Vec::as_slice);
        forms.iter().rev().find(|(since, _)| *since <= stage).map_or(origin, |(_, hash)| *hash)
    }

    fn note(&mut self, origin: Hash, stage: u32, hash: Hash) {
        let forms = self.forms.entry(origin).or_default();
        if forms.last().is_none_or(|(last, _)| *last < stage) {
            forms.push((stage, hash));
            self.origins.entry(origin).or_insert((origin, 0));
            self.origins.entry(hash).or_insert((origin, stage));
        }
    }

    fn graft(
        &mut self,
        mut change: ExpandedChange,
        actor: Actor,
        whole: bool,
        deps: &[Hash],
        stage: u32,
    ) -> ExpandedChange {
        change.deps = deps.iter().copied().map(ChangeHash::from).collect();
        let start = change.start_op.get();
        let last = change.operations.len();
        let mut at = 0;
        while at < last {
            let pair = usize::from(matches!(change.operations[at].action, OpType::MarkBegin(_)));
            let part = at..(at + 1 + pair).min(last);
            at = part.end;
            let kept: Option<Vec<Op>> = if whole {
                None
            } else {
                change.operations[part.clone()].iter().map(|op| self.keep(op, stage)).collect()
            };
            match kept {
                Some(kept) => change.operations.splice(part, kept).for_each(drop),
                None => {
                    for index in part {
                        change.operations[index] = filler();
                        self.lose(actor, start + index as u64, stage);
                    }
                }
            }
        }
        change
    }

    /// What stays of an operation; `None` if nothing does.
    fn keep(&self, op: &Op, stage: u32) -> Option<Op> {
        let stands = |id: &OpId| !self.is_gone(id, stage);
        if let ObjectId::Id(object) = &op.obj
            && !stands(object)
        {
            return None;
        }
        let element = match &op.key {
            Key::Seq(ElementId::Id(element)) => Some(element),
            _ => None,
        };
        if element.is_some_and(|element| !stands(element)) {
            return None;
        }
        if op.pred.iter().all(stands) {
            return Some(op.clone());
        }
        let mut pred: Vec<OpId> = op.pred.iter().filter(|id| stands(id)).cloned().collect();
        if pred.is_empty() {
            match (&op.action, element) {
                (OpType::Delete | OpType::Increment(_), _) => return None,
                // In a list something is always replaced: the element, if nothing else.
                (_, Some(element)) => pred.push(element.clone()),
                _ => {}
            }
        }
        Some(Op { pred: SortedVec::from(pred), ..op.clone() })
    }

    fn is_gone(&self, id: &OpId, stage: u32) -> bool {
        let Ok(actor) = Actor::from_slice(id.actor().to_bytes()) else { return false };
        let ranges = self.gone.get(&actor).and_then(|ranges| ranges.range(..=id.counter()).next_back());
        ranges.is_some_and(|(_, (last, since))| id.counter() <= *last && *since <= stage)
    }

    fn lose(&mut self, actor: Actor, counter: u64, stage: u32) {
        let ranges = self.gone.entry(actor).or_default();
        match ranges.range_mut(..=counter).next_back() {
            Some((_, (last, _))) if counter <= *last => {}
            Some((_, (last, since))) if counter == *last + 1 && *since == stage => *last = counter,
            _ => {
                ranges.insert(counter, (counter, stage));
            }
        }
    }

    /// Bytes from which [`decode`](Self::decode) makes the same again.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let number = |out: &mut Vec<u8>, value: usize| leb128::write(out, value as u64);
        number(&mut out, self.excluded.len());
        out.extend(self.excluded.iter().flat_map(|hash| hash.0));
        number(&mut out, self.forms.len());
        for (origin, forms) in &self.forms {
            out.extend_from_slice(&origin.0);
            number(&mut out, forms.len());
            for (stage, hash) in forms {
                leb128::write(&mut out, u64::from(*stage));
                out.extend_from_slice(&hash.0);
            }
        }
        number(&mut out, self.gone.len());
        for (actor, ranges) in &self.gone {
            out.extend_from_slice(actor.as_bytes());
            number(&mut out, ranges.len());
            for (first, (last, stage)) in ranges {
                leb128::write(&mut out, *first);
                leb128::write(&mut out, last - first);
                leb128::write(&mut out, u64::from(*stage));
            }
        }
        out
    }

    /// What [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, GraftError> {
        let mut input = Input(bytes.strip_prefix(&[VERSION]).ok_or(GraftError::Stored)?);
        let mut grafts = Self::default();
        for _ in 0..input.number()? {
            grafts.excluded.push(input.hash()?);
        }
        for _ in 0..input.number()? {
            let origin = input.hash()?;
            for _ in 0..input.number()? {
                let stage = input.stage()?;
                let hash = input.hash()?;
                grafts.note(origin, stage, hash);
            }
        }
        for _ in 0..input.number()? {
            let actor = Actor::from_slice(input.take(20)?).map_err(|_| GraftError::Stored)?;
            let mut ranges = BTreeMap::new();
            for _ in 0..input.number()? {
                let first = input.number()?;
                let last = first.checked_add(input.number()?).ok_or(GraftError::Stored)?;
                ranges.insert(first, (last, input.stage()?));
            }
            grafts.gone.insert(actor, ranges);
        }
        if input.0.is_empty() { Ok(grafts) } else { Err(GraftError::Stored) }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], GraftError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(GraftError::Stored)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, GraftError> {
        leb128::read(&mut self.0).ok_or(GraftError::Stored)
    }

    fn stage(&mut self) -> Result<u32, GraftError> {
        u32::try_from(self.number()?).map_err(|_| GraftError::Stored)
    }

    fn hash(&mut self) -> Result<Hash, GraftError> {
        Hash::from_slice(self.take(32)?).map_err(|_| GraftError::Stored)
    }
}

fn filler() -> Op {
    Op {
        action: OpType::Increment(0),
        obj: ObjectId::Root,
        key: Key::Map(FILLER_KEY.into()),
        pred: SortedVec::new(),
        insert: false,
    }
}

/// The counters of operations of a change that stand in the place of ones that are gone. Most changes have none, and that is
/// seen without reading them: no key is called so.
pub(crate) fn fillers(bytes: &[u8], change: &Guarded) -> impl Iterator<Item = u64> + use<> {
    let key = [FILLER_KEY.len() as u8, FILLER_KEY.as_bytes()[0]];
    let may_have = bytes.windows(key.len()).any(|window| window == key);
    let expanded = if may_have { read(bytes).ok() } else { None };
    let ops = expanded.into_iter().flat_map(|expanded| expanded.operations);
    ops.zip(change.start_op..).filter(|(op, _)| is_filler(op)).map(|(_, counter)| counter)
}

/// Whether an operation stands in the place of one that is gone.
pub(crate) fn is_filler(op: &Op) -> bool {
    op.action == OpType::Increment(0) && *op == filler()
}

fn read(bytes: &[u8]) -> Result<ExpandedChange, GraftError> {
    let read = catch_unwind(|| Change::from_bytes(bytes.to_vec()).ok().map(|change| change.decode()));
    read.ok().flatten().ok_or(GraftError::NoChange(RejectCode::Malformed))
}

fn write(mut change: ExpandedChange) -> Result<Vec<u8>, GraftError> {
    change.hash = None;
    let written = catch_unwind(|| Change::from(change).raw_bytes().to_vec());
    written.map_err(|_| GraftError::NoChange(RejectCode::Malformed))
}
