//! Epochs: a document begins anew with the same content and without the history before it.
//!
//! An epoch is one item of an owner's feed. It carries changes that build the content from nothing, under an actor of the
//! owner's device that has written nothing before, and a map from the ids that living objects, elements and values had to those
//! that they have now. Nobody computes them a second time: what every replica takes is what stands in the log, so no two
//! versions of this library can come to different bytes. The server takes an epoch only where the document has not moved on
//! since the place in the log at which it was made, so its content is what everybody saw there.
//!
//! Changes of the epoch before that come later are refused, and their devices make them anew upon the new one: whatever they
//! refer to is looked up in the map, and they depend on the epoch alone, so that they are concurrent with what came after it
//! and insertions stay where they were. What follows an element that was deleted before the epoch follows what stood in front
//! of that, as far as its device knew; what changes something that was deleted goes into quarantine. Of values that were in
//! conflict the one that was shown is content, the others are history. A counter begins with its value.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::panic::catch_unwind;

use automerge::legacy::Op;
use automerge::{ChangeHash, ExpandedChange};

use crate::code::RejectCode;
use crate::document::{self, Document, Marked, Random};
use crate::guard;
use crate::id::{Actor, DeviceId, DocId, Hash};
use crate::leb128;
use crate::limits::{
    CHANGE_BYTES_MAX, EPOCH_CHANGE_BYTES, EPOCH_CHANGE_OPERATIONS, EPOCH_CHANGES_MAX, EPOCH_OPERATIONS_MAX,
};
use crate::structure::is_structure;
use crate::value::{Path, Step, Value};

mod map;
mod state;

pub use map::Map;
pub use state::State;

/// What an epoch's item carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// 1 for the first of a document, and so on.
    pub number: u64,
    /// The place in the log at which it was made: the document has no change behind it.
    pub through: u64,
    /// Changes that build the content from nothing, each upon the one before.
    pub changes: Vec<Vec<u8>>,
    /// Which ids became which.
    pub map: Map,
}

/// What is known of an epoch once it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochFacts {
    /// See [`Epoch::number`].
    pub number: u64,
    /// See [`Epoch::through`].
    pub through: u64,
    /// Who wrote its changes.
    pub actor: Actor,
    /// How many there are.
    pub changes: u64,
    /// The last of them: the only head.
    pub head: Hash,
    /// All their operations; their counters begin with 1.
    pub operations: u64,
}

/// Why no epoch can be made of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// Its content does not fit into one item.
    #[error("the content is too large for one item")]
    TooLarge,
    /// It has a schema: the structures in its history say which version of that, and which objects others mean.
    #[error("a document of a schema keeps its history")]
    Structured,
    /// A change of it cannot be read, or what was built does not show the same.
    #[error("the content cannot be built anew")]
    Unequal,
}

/// The declared hash of an epoch.
pub fn epoch_hash(doc: DocId, payload: &[u8]) -> Hash {
    Hash::of(&[b"rejoin epoch", doc.as_bytes(), payload])
}

/// Makes the next epoch of a document that consists of these changes, each behind those that it was made upon. `actor` must
/// not have written in it.
pub fn start(
    number: u64,
    through: u64,
    changes: &[impl AsRef<[u8]>],
    actor: Actor,
    random: Random<'_>,
) -> Result<Epoch, EpochError> {
    if changes.iter().any(|change| is_structure(change.as_ref())) {
        return Err(EpochError::Structured);
    }
    let state = State::of(changes.iter().map(AsRef::as_ref)).ok_or(EpochError::Unequal)?;
    let (ops, map) = state.content(actor);
    let changes_made = build(ops, actor, random)?;
    let epoch = Epoch { number, through, changes: changes_made, map };
    let encoded = epoch.encode();
    let fits = encoded.len() <= CHANGE_BYTES_MAX && epoch.changes.len() <= EPOCH_CHANGES_MAX;
    if !fits || Epoch::decode(&encoded).is_none() {
        return Err(EpochError::TooLarge);
    }
    let load = |changes: Vec<&[u8]>| {
        let (document, applied) = Document::load(actor, None, &changes).ok()?;
        applied.left_out.is_empty().then_some(document)
    };
    let before = load(changes.iter().map(AsRef::as_ref).collect()).ok_or(EpochError::Unequal)?;
    let after = load(epoch.changes.iter().map(Vec::as_slice).collect()).ok_or(EpochError::Unequal)?;
    let same = before.get(Path::root()) == after.get(Path::root()) && all_marks(&before) == all_marks(&after);
    if same { Ok(epoch) } else { Err(EpochError::Unequal) }
}

/// The marks of all texts of a document.
fn all_marks(document: &Document) -> Vec<(Path, Vec<Marked>)> {
    let mut found = Vec::new();
    let mut ahead: Vec<(Path, Value)> =
        document.get(Path::root()).map(|root| (Path::root(), root)).into_iter().collect();
    while let Some((path, value)) = ahead.pop() {
        let step = |step: Step| Path(path.0.iter().cloned().chain([step]).collect());
        match value {
            Value::Text(_) => found.push((path.clone(), document.marks(path).unwrap_or_default())),
            Value::Map(map) => ahead.extend(map.into_iter().map(|(key, value)| (step(Step::Key(key)), value))),
            Value::List(list) => {
                ahead.extend((0..).zip(list).map(|(index, value)| (step(Step::Index(index)), value)));
            }
            _ => {}
        }
    }
    found
}

/// Operations as changes that follow each other.
fn build(ops: Vec<Op>, actor: Actor, random: Random<'_>) -> Result<Vec<Vec<u8>>, EpochError> {
    if ops.len() as u64 > EPOCH_OPERATIONS_MAX {
        return Err(EpochError::TooLarge);
    }
    let mut changes = Vec::new();
    let (mut start, mut deps) = (1, Vec::new());
    let mut rest = ops.into_iter().peekable();
    // One of no operations where there is nothing: the epoch has to have a head.
    while rest.peek().is_some() || changes.is_empty() {
        let (mut operations, mut bytes) = (Vec::new(), 0);
        while let Some(op) = rest.peek() {
            let weight = state::weight(op);
            // A mark's two ends stay together.
            let whole = !matches!(op.action, automerge::legacy::OpType::MarkEnd(_));
            let full = operations.len() >= EPOCH_CHANGE_OPERATIONS || bytes + weight > EPOCH_CHANGE_BYTES;
            if full && whole && !operations.is_empty() {
                break;
            }
            bytes += weight;
            operations.extend(rest.next());
        }
        let count = operations.len() as u64;
        let expanded = ExpandedChange {
            operations,
            actor_id: actor.into(),
            hash: None,
            seq: changes.len() as u64 + 1,
            start_op: NonZeroU64::new(start).ok_or(EpochError::Unequal)?,
            time: i64::from(random() as u32),
            message: None,
            deps,
            extra_bytes: Vec::new(),
            author: None,
        };
        let made = catch_unwind(|| automerge::Change::from(expanded)).map_err(|_| EpochError::Unequal)?;
        let bytes = made.raw_bytes().to_vec();
        let guarded = guard::inspect(&bytes).map_err(|_| EpochError::TooLarge)?;
        guard::verify(&bytes, &guarded).map_err(|_| EpochError::Unequal)?;
        deps = vec![ChangeHash::from(guarded.hash)];
        start += count;
        changes.push(bytes);
    }
    Ok(changes)
}

impl Epoch {
    /// Its bytes, as an item carries them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        leb128::write(&mut out, self.number);
        leb128::write(&mut out, self.through);
        leb128::write(&mut out, self.changes.len() as u64);
        for change in &self.changes {
            leb128::write(&mut out, change.len() as u64);
            out.extend_from_slice(change);
        }
        self.map.encode(&mut out);
        out
    }

    /// From its bytes; `None` if they are none.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let input = &mut bytes;
        let (number, through) = (leb128::read(input)?, leb128::read(input)?);
        let count = usize::try_from(leb128::read(input)?).ok().filter(|count| *count <= EPOCH_CHANGES_MAX)?;
        let mut changes = Vec::with_capacity(count);
        for _ in 0..count {
            let length = usize::try_from(leb128::read(input)?).ok()?;
            let (change, rest) = input.split_at_checked(length)?;
            changes.push(change.to_vec());
            *input = rest;
        }
        let map = Map::decode(input)?;
        Some(Self { number, through, changes, map })
    }

    /// Its number alone.
    pub fn number_of(mut bytes: &[u8]) -> Option<u64> {
        leb128::read(&mut bytes)
    }

    /// What the server needs to know of it, if it is one that every replica can take: within the limits, of one actor of that
    /// device, each change upon the one before, and possible for automerge.
    pub fn check(device: DeviceId, bytes: &[u8]) -> Result<EpochFacts, RejectCode> {
        if bytes.len() > CHANGE_BYTES_MAX {
            return Err(RejectCode::TooLarge);
        }
        let epoch = Self::decode(bytes).ok_or(RejectCode::Malformed)?;
        let mut facts: Option<EpochFacts> = None;
        for (bytes, seq) in epoch.changes.iter().zip(1..) {
            let guarded = guard::inspect(bytes)?;
            let before = facts.as_ref().map_or(0, |facts| facts.operations);
            // Before anything is built that is as large as it says.
            if before + guarded.operations > EPOCH_OPERATIONS_MAX {
                return Err(RejectCode::TooManyOperations);
            }
            guard::verify(bytes, &guarded)?;
            if guarded.actor.device() != device {
                return Err(RejectCode::ForgedActor);
            }
            let follows = match &facts {
                None => guarded.deps.is_empty(),
                Some(before) => guarded.deps == [before.head] && guarded.actor == before.actor,
            };
            if !follows || guarded.seq != seq || !guarded.other_actors.is_empty() {
                return Err(RejectCode::SequenceGap);
            }
            if guarded.start_op != before + 1 {
                return Err(RejectCode::StartOperation);
            }
            let (number, through, actor) = (epoch.number, epoch.through, guarded.actor);
            let (head, operations) = (guarded.hash, before + guarded.operations);
            facts = Some(EpochFacts { number, through, actor, changes: seq, head, operations });
        }
        let facts = facts.filter(|facts| facts.number > 0).ok_or(RejectCode::Malformed)?;
        if !epoch.map.is_into(facts.actor, facts.operations) {
            return Err(RejectCode::OperationRange);
        }
        document::fold(None, &epoch.changes).map_err(|_| RejectCode::Malformed)?;
        Ok(facts)
    }
}

/// How edits of the epoch before are said in the new one.
#[derive(Debug)]
pub struct Passage {
    /// Which ids became which.
    pub map: Map,
    /// The head of the new epoch: what they are made upon.
    pub head: Hash,
    /// The document as the device that made them knew it; without it, what follows a deleted element has no place.
    pub before: Option<State>,
}

impl Passage {
    /// From one epoch to the next, and on over those between.
    pub fn through(epochs: &[Epoch], before: Option<State>) -> Option<Self> {
        let (last, earlier) = epochs.split_last()?;
        let head = guard::inspect(last.changes.last()?).ok()?.hash;
        let mut map = earlier.first().map_or_else(|| last.map.clone(), |first| first.map.clone());
        for next in epochs.iter().skip(1) {
            map = map.then(&next.map);
        }
        Some(Self { map, head, before })
    }
}

/// Devices' actors that wrote in these changes.
pub fn actors<'a>(changes: impl IntoIterator<Item = &'a [u8]>) -> BTreeSet<Actor> {
    changes.into_iter().filter_map(|bytes| Some(guard::inspect(bytes).ok()?.actor)).collect()
}
