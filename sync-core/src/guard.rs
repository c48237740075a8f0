//! What stands between bytes from outside and automerge: a cheap look at the chunk, then a careful one at its operations.
//!
//! What only the document or the log can tell is left to the caller: that `seq` follows on, that the author's previous
//! change is a direct dependency, that `start_op` is one more than the highest operation of the dependencies, that the other
//! actors have written in the document. Only the document itself tells whether what older ids name exists.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType};
use automerge::{ActorId, ExpandedChange, ObjType};

use crate::chunk::{Chunk, ChunkError, hash_of, operations_of};
use crate::code::RejectCode;
use crate::graft;
use crate::id::{Actor, Hash};
use crate::limits::{CHANGE_BYTES_MAX, NESTING_DEPTH_MAX, OPERATION_COUNTER_MAX};

mod single;

/// The header of a change that passed [`inspect`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// The change's hash, computed from its bytes.
    pub hash: Hash,
    /// Its author.
    pub actor: Actor,
    /// Which of the author's changes in this document it is, from 1.
    pub seq: u64,
    /// The counter of its first operation.
    pub start_op: u64,
    /// How many operations it has; none is allowed.
    pub operations: u64,
    /// The changes that it was made upon, ascending.
    pub deps: Vec<Hash>,
    /// Actors besides the author that its operations refer to, ascending. automerge panics on one that has written nothing
    /// in the document.
    pub other_actors: Vec<Actor>,
}

impl Guarded {
    /// The counter of its last operation; one less than `start_op` if it has none.
    pub fn max_op(&self) -> u64 {
        self.start_op + self.operations - 1
    }
}

/// The cheap stage: the chunk's form and every limit that its header and run lengths show. automerge sees nothing of it.
pub fn inspect(bytes: &[u8]) -> Result<Guarded, RejectCode> {
    look(bytes, Chunk::read).map(|(_, guarded)| guarded)
}

/// The same for what [`settle`] is to judge: the hash is taken from the declaration, and compared there.
pub(crate) fn inspect_declared(bytes: &[u8], declared: Hash) -> Result<(Chunk<'_>, Guarded), RejectCode> {
    look(bytes, |bytes| Chunk::read_as(bytes, declared))
}

/// How many operations a change claims to have, by its run lengths alone: what checking it may cost, at most. 0 for what is
/// refused without looking at operations.
pub fn claimed_operations(bytes: &[u8]) -> u64 {
    if bytes.len() > CHANGE_BYTES_MAX {
        return 0;
    }
    operations_of(bytes).unwrap_or(0)
}

fn look<'a>(
    bytes: &'a [u8],
    read: impl FnOnce(&'a [u8]) -> Result<Chunk<'a>, ChunkError>,
) -> Result<(Chunk<'a>, Guarded), RejectCode> {
    if bytes.len() > CHANGE_BYTES_MAX {
        return Err(RejectCode::TooLarge);
    }
    let chunk = read(bytes).map_err(|error| error.code())?;
    let actor = Actor::from_slice(chunk.actor()).map_err(|_| RejectCode::Malformed)?;
    let other_actors = chunk.other_actors().iter().map(|other| Actor::from_slice(other)).collect::<Result<Vec<_>, _>>();
    let other_actors = other_actors.map_err(|_| RejectCode::Malformed)?;
    if !chunk.message().is_empty() || u32::try_from(chunk.time()).is_err() {
        return Err(RejectCode::Malformed);
    }
    let deps: Vec<Hash> = chunk.deps().collect();
    if !deps.is_sorted_by(|a, b| a < b) || !other_actors.is_sorted_by(|a, b| a < b) {
        return Err(RejectCode::NotCanonical);
    }
    if chunk.seq() == 0 {
        return Err(RejectCode::SequenceGap);
    }
    if deps.is_empty() && chunk.seq() > 1 {
        return Err(RejectCode::AuthorDependency);
    }
    if chunk.start_op() == 0 || (deps.is_empty() && chunk.start_op() > 1) {
        return Err(RejectCode::StartOperation);
    }
    if chunk.max_op() >= OPERATION_COUNTER_MAX {
        return Err(RejectCode::OperationRange);
    }
    chunk.check_columns().map_err(|error| error.code())?;
    let guarded = Guarded {
        hash: chunk.hash(),
        actor,
        seq: chunk.seq(),
        start_op: chunk.start_op(),
        operations: chunk.operations(),
        deps,
        other_actors,
    };
    Ok((chunk, guarded))
}

/// The rest for what passed [`inspect_declared`]: that it has the declared hash, and what [`verify`] checks. What stands in the
/// place of something that is gone is computed, and nobody writes it.
pub(crate) fn settle(chunk: &Chunk<'_>, guarded: &Guarded) -> Result<(), RejectCode> {
    if !single::is_sound(chunk) {
        verify(chunk.bytes(), guarded)?;
        let written = graft::fillers(chunk.bytes(), guarded).next().is_none();
        return if written { Ok(()) } else { Err(RejectCode::Malformed) };
    }
    if hash_of(chunk.bytes()) == guarded.hash { Ok(()) } else { Err(RejectCode::HashMismatch) }
}

/// The expensive stage, for what passed the cheap one: parsed, canonical, and every operation possible as far as this
/// change alone can tell; also for one that is [grafted](crate::graft). A panic of automerge is caught and counts as malformed.
pub fn verify(bytes: &[u8], guarded: &Guarded) -> Result<automerge::Change, RejectCode> {
    catch_unwind(|| {
        let change = automerge::Change::try_from(bytes).map_err(|_| RejectCode::Malformed)?;
        if Hash::from(change.hash()) != guarded.hash {
            return Err(RejectCode::HashMismatch);
        }
        if change.len() as u64 != guarded.operations {
            return Err(RejectCode::Malformed);
        }
        let expanded = change.decode();
        check_operations(&expanded)?;
        if automerge::Change::from(expanded).raw_bytes() != bytes {
            return Err(RejectCode::NotCanonical);
        }
        Ok(change)
    })
    .unwrap_or(Err(RejectCode::Malformed))
}

/// What an operation works on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Map,
    Text,
    List,
    /// Made before this change: a list or a text.
    Sequence,
}

/// Where the operation that an id names stands.
enum Place {
    /// In this change, at that index.
    Here(usize),
    Before,
}

struct Checker<'a> {
    ops: &'a [Op],
    author: &'a ActorId,
    author_is_new: bool,
    start_op: u64,
    /// How deep within this change each operation's object stands.
    depths: Vec<usize>,
    /// What the change takes older objects for: it may not change its mind.
    kinds: BTreeMap<&'a OpId, Kind>,
    /// Where the change takes an older value to stand: in which object, under which key or as an update of which element.
    homes: BTreeMap<&'a OpId, (&'a ObjectId, &'a Key)>,
}

fn check_operations(change: &ExpandedChange) -> Result<(), RejectCode> {
    let mut checker = Checker {
        ops: &change.operations,
        author: &change.actor_id,
        author_is_new: change.seq == 1,
        start_op: change.start_op.get(),
        depths: Vec::with_capacity(change.operations.len()),
        kinds: BTreeMap::new(),
        homes: BTreeMap::new(),
    };
    (0..change.operations.len()).try_for_each(|at| checker.check(at))
}

impl<'a> Checker<'a> {
    fn check(&mut self, at: usize) -> Result<(), RejectCode> {
        let op = &self.ops[at];
        let kind = self.object(at, op)?;
        match &op.key {
            Key::Map(_) if kind == Kind::Map && !op.insert => {}
            Key::Seq(ElementId::Head) if kind != Kind::Map && op.insert => {}
            Key::Seq(ElementId::Id(element)) if kind != Kind::Map => self.element(at, op, element)?,
            _ => return Err(RejectCode::Malformed),
        }
        self.action(at, op, kind)?;
        self.predecessors(at, op)
    }

    /// Any id must name an operation that its author knew: an earlier one of this change, or one with a counter below it.
    fn place(&self, at: usize, id: &OpId) -> Result<Place, RejectCode> {
        let own = id.actor() == self.author;
        match id.counter().checked_sub(self.start_op) {
            None if id.counter() > 0 && !(own && self.author_is_new) => Ok(Place::Before),
            Some(index) if own && index < at as u64 => Ok(Place::Here(index as usize)),
            _ => Err(RejectCode::OperationRange),
        }
    }

    fn object(&mut self, at: usize, op: &'a Op) -> Result<Kind, RejectCode> {
        let ObjectId::Id(id) = &op.obj else {
            self.depths.push(1);
            return Ok(Kind::Map);
        };
        match self.place(at, id)? {
            Place::Here(index) => {
                let depth = self.depths[index] + 1;
                if depth > NESTING_DEPTH_MAX {
                    return Err(RejectCode::TooDeep);
                }
                self.depths.push(depth);
                match self.ops[index].action {
                    OpType::Make(ObjType::Map) => Ok(Kind::Map),
                    OpType::Make(ObjType::Text) => Ok(Kind::Text),
                    OpType::Make(ObjType::List) => Ok(Kind::List),
                    _ => Err(RejectCode::Malformed),
                }
            }
            Place::Before => {
                self.depths.push(1);
                let kind = if op.key.is_map_key() { Kind::Map } else { Kind::Sequence };
                if *self.kinds.entry(id).or_insert(kind) == kind { Ok(kind) } else { Err(RejectCode::Malformed) }
            }
        }
    }

    /// The element of a list or text that `op` follows, or replaces.
    fn element(&mut self, at: usize, op: &'a Op, element: &'a OpId) -> Result<(), RejectCode> {
        match self.place(at, element)? {
            Place::Here(index) => {
                let target = &self.ops[index];
                let replaceable = op.insert || !is_mark(target);
                if target.insert && target.obj == op.obj && replaceable { Ok(()) } else { Err(RejectCode::Malformed) }
            }
            Place::Before => {
                if !Self::is_older(&op.obj, element) {
                    return Err(RejectCode::OperationRange);
                }
                self.stands(element, op)
            }
        }
    }

    /// An older value stands in one place: where the change first says so.
    fn stands(&mut self, id: &'a OpId, op: &'a Op) -> Result<(), RejectCode> {
        let home = (&op.obj, &op.key);
        if *self.homes.entry(id).or_insert(home) == home { Ok(()) } else { Err(RejectCode::Malformed) }
    }

    fn action(&self, at: usize, op: &Op, kind: Kind) -> Result<(), RejectCode> {
        let fits = match &op.action {
            // automerge reads tables and panics on what is put into them.
            OpType::Make(ObjType::Table) => false,
            OpType::Make(_) | OpType::Put(_) => true,
            OpType::Delete | OpType::Increment(_) => !op.insert && (!op.pred.is_empty() || graft::is_filler(op)),
            // automerge finds a mark's beginning by its end's id: a lone or misplaced half breaks the saved document.
            OpType::MarkBegin(_) => {
                op.insert
                    && matches!(kind, Kind::Text | Kind::Sequence)
                    && self
                        .ops
                        .get(at + 1)
                        .is_some_and(|end| matches!(end.action, OpType::MarkEnd(_)) && end.obj == op.obj)
            }
            OpType::MarkEnd(_) => {
                op.insert
                    && at.checked_sub(1).and_then(|before| self.ops.get(before)).is_some_and(|begin| {
                        matches!(begin.action, OpType::MarkBegin(_)) && begin.obj == op.obj && begin.key != op.key
                    })
            }
        };
        if fits { Ok(()) } else { Err(RejectCode::Malformed) }
    }

    /// What `op` replaces must be values of the same place, each named once.
    fn predecessors(&mut self, at: usize, op: &'a Op) -> Result<(), RejectCode> {
        // An insertion replaces nothing; an update of an element always replaces something, the element if nothing else.
        let in_map = op.key.is_map_key();
        if !in_map && op.insert != op.pred.is_empty() {
            return Err(RejectCode::Malformed);
        }
        let mut last = None;
        for id in op.pred.iter() {
            if last.replace(id).is_some_and(|last| last >= id) {
                return Err(RejectCode::Malformed);
            }
            let is_element = matches!(&op.key, Key::Seq(ElementId::Id(element)) if element == id);
            match self.place(at, id)? {
                Place::Here(index) => {
                    let target = &self.ops[index];
                    let same_place = is_element || (target.key == op.key && !target.insert);
                    let is_value = matches!(target.action, OpType::Put(_) | OpType::Make(_));
                    if target.obj != op.obj || !same_place || !is_value {
                        return Err(RejectCode::Malformed);
                    }
                }
                Place::Before => {
                    let newer_than_element = match &op.key {
                        Key::Seq(ElementId::Id(element)) => is_element || element.counter() < id.counter(),
                        _ => true,
                    };
                    if !newer_than_element || !Self::is_older(&op.obj, id) {
                        return Err(RejectCode::OperationRange);
                    }
                    self.stands(id, op)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the object was there before `id`, which is older than this change.
    fn is_older(object: &ObjectId, id: &OpId) -> bool {
        match object {
            ObjectId::Root => true,
            ObjectId::Id(object) => object.counter() < id.counter(),
        }
    }
}

fn is_mark(op: &Op) -> bool {
    matches!(op.action, OpType::MarkBegin(_) | OpType::MarkEnd(_))
}
