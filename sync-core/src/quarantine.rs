//! A document without what was refused, and without what is unsent of a feed that cannot go on: which changes hold, which of
//! the device's own are made anew at once, and what is left of them for the quarantine.
//!
//! A structure is never made anew: it is the same under any circumstances, so it is sent again as it is. Where the document has it
//! from another device too, it holds whatever became of this device's copy.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::RejectCode;
use crate::document::{Document, Random};
use crate::epoch::Passage;
use crate::guard;
use crate::id::{Actor, Hash};
use crate::reauthor::{LeftOut, Made, MadeChange, NoChange, Reauthor, Upon, Why};
use crate::structure::is_structure;

/// A change of the document, as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its hash.
    pub hash: Hash,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How it stands.
    pub state: State,
    /// Changes in which operations of it were made anew, and which operations.
    pub copies: Vec<(Hash, Vec<u32>)>,
}

/// How a change stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Others wrote it, or the server has taken it.
    Settled,
    /// This device wrote it, and nothing is known against it.
    Own,
    /// This device wrote it, and it cannot be sent as it is.
    Unsent,
    /// The server has refused it just now.
    Refused(RejectCode),
    /// It was taken out of the document before.
    Out,
}

/// A change that goes out of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Which of the changes that were given.
    pub index: usize,
    /// Why.
    pub code: RejectCode,
    /// The change that says it now, if there is one.
    pub made: Option<MadeChange>,
    /// What is not said any more, ascending: for the quarantine.
    pub left: Left,
}

/// What is left of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// All of it.
    Whole,
    /// Some operations, or none.
    Operations(Vec<LeftOut>),
}

impl Left {
    /// Whether there is nothing that somebody could miss.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Operations(left) if left.iter().all(|left| left.why == Why::Moot))
    }
}

/// Takes out of a document what was refused or cannot be sent, and makes anew, under `author`, what the device made upon that;
/// what was refused for its own sake is not. The changes are in an order in which each follows what it was made upon. With
/// `stands` false the document itself was refused: then nothing is made anew.
pub fn rebuild(changes: &[Stored], author: Actor, stands: bool, random: Random<'_>) -> Result<Vec<Outgoing>, NoChange> {
    let Sorted { held, out, unreadable, repeated } = sort(changes, stands);
    let mut maker = Maker::new(changes, author, &held)?;
    let mut outgoing = Vec::new();
    for Repeated { index, first } in repeated {
        let code = match changes[index].state {
            State::Refused(code) => code,
            State::Settled | State::Own | State::Unsent | State::Out => RejectCode::DependencyRefused,
        };
        let made = if first { Some(same(&changes[index])?) } else { None };
        outgoing.push(Outgoing { index, code, made, left: Left::Operations(Vec::new()) });
    }
    for index in unreadable {
        let code = match changes[index].state {
            State::Refused(code) => code,
            State::Own | State::Unsent => RejectCode::Malformed,
            State::Settled | State::Out => continue,
        };
        outgoing.push(Outgoing { index, code, made: None, left: Left::Whole });
    }
    for (index, upon_gone) in out {
        let change = &changes[index];
        let code = match change.state {
            State::Refused(code) => code,
            State::Settled | State::Own | State::Unsent | State::Out => RejectCode::DependencyRefused,
        };
        // Made upon nothing that is known to be refused, it would only be refused again.
        let again = match change.state {
            State::Refused(code) => code == RejectCode::DependencyRefused && upon_gone && !is_structure(&change.bytes),
            State::Own | State::Unsent => !is_structure(&change.bytes),
            State::Settled => false,
            State::Out => {
                maker.knows(change)?;
                continue;
            }
        };
        if !again || !stands {
            maker.knows(change)?;
            if change.state != State::Settled {
                outgoing.push(Outgoing { index, code, made: None, left: Left::Whole });
            }
            continue;
        }
        let Made { change: made, left_out, .. } = maker.make(change, Upon::Same, None, false, random)?;
        outgoing.push(Outgoing { index, code, made, left: Left::Operations(left_out) });
    }
    Ok(outgoing)
}

/// Makes a change that is out of the document, or `only` some of its operations, anew upon everything that holds. With `gently`
/// nothing is replaced that was written since.
pub fn again(
    changes: &[Stored],
    author: Actor,
    index: usize,
    only: Option<&[u32]>,
    gently: bool,
    random: Random<'_>,
) -> Result<Made, NoChange> {
    let Sorted { held, out, .. } = sort(changes, true);
    if is_structure(&changes[index].bytes) {
        return structure_again(changes, &held, index);
    }
    let mut maker = Maker::new(changes, author, &held)?;
    for (at, _) in out {
        maker.knows(&changes[at])?;
    }
    maker.make(&changes[index], Upon::Everything, only, gently, random)
}

/// A structure that is not held and whose predecessor is holds again as it is.
fn structure_again(changes: &[Stored], held: &[usize], index: usize) -> Result<Made, NoChange> {
    let change = &changes[index];
    let guarded = guard::inspect(&change.bytes).map_err(NoChange)?;
    let holds = |hash: Hash| held.iter().any(|at| changes[*at].hash == hash);
    let operations = guarded.operations as u32;
    if holds(change.hash) {
        return Ok(Made { change: None, left_out: Vec::new(), held: operations });
    }
    if guarded.deps.iter().all(|dep| holds(*dep)) {
        return Ok(Made { change: Some(same(change)?), left_out: Vec::new(), held: 0 });
    }
    let why = Why::Refused(RejectCode::DependencyRefused);
    // One without operations is in quarantine as a whole: its place there is kept by one that does not exist.
    let left_out = (0..operations.max(1)).map(|index| LeftOut { index, why }).collect();
    Ok(Made { change: None, left_out, held: 0 })
}

fn same(change: &Stored) -> Result<MadeChange, NoChange> {
    let operations = guard::inspect(&change.bytes).map_err(NoChange)?.operations as u32;
    Ok(MadeChange { hash: change.hash, bytes: change.bytes.clone(), indices: (0..operations).collect() })
}

/// A structure that goes out of the feed, and holds.
struct Repeated {
    index: usize,
    /// Whether it has to be sent again: nobody else's copy holds.
    first: bool,
}

/// What this device made upon an epoch that is over and the server has not taken, made anew upon the present one, which
/// consists of the changes `epoch`. `changes` are those of the epoch before, in an order in which each follows what it was made
/// upon.
pub fn carry(
    changes: &[Stored],
    epoch: &[impl AsRef<[u8]>],
    passage: Passage,
    author: Actor,
    random: Random<'_>,
) -> Result<Vec<Outgoing>, NoChange> {
    let bytes: Vec<&[u8]> = epoch.iter().map(AsRef::as_ref).collect();
    let mut reauthor = Reauthor::new(author, bytes.iter().copied())?;
    reauthor.pass(passage);
    let (document, _) = Document::load(author, None, &bytes).map_err(|_| NoChange(RejectCode::Malformed))?;
    let by_hash = changes.iter().map(|change| (change.hash, change.bytes.as_slice())).collect();
    let mut maker = Maker { reauthor, document, by_hash };
    let mut outgoing = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        match change.state {
            State::Settled => continue,
            State::Own | State::Unsent | State::Refused(RejectCode::EpochPassed | RejectCode::DependencyRefused) => {}
            State::Refused(_) | State::Out => {
                maker.knows(change)?;
                continue;
            }
        }
        let code = RejectCode::EpochPassed;
        if deps(change).is_none() {
            outgoing.push(Outgoing { index, code, made: None, left: Left::Whole });
            continue;
        }
        for (copy, indices) in &change.copies {
            if let Some(bytes) = maker.by_hash.get(copy) {
                maker.reauthor.became(&change.bytes, bytes, indices)?;
            }
        }
        let Made { change: made, left_out, .. } = maker.make(change, Upon::Same, None, false, random)?;
        outgoing.push(Outgoing { index, code, made, left: Left::Operations(left_out) });
    }
    Ok(outgoing)
}

struct Sorted {
    held: Vec<usize>,
    /// Own copies of structures that hold all the same.
    repeated: Vec<Repeated>,
    /// What does not hold, and whether it was made upon something that does not either.
    out: Vec<(usize, bool)>,
    unreadable: Vec<usize>,
}

/// What a change was made upon; `None` where the disk did not keep what it was given.
fn deps(change: &Stored) -> Option<Vec<Hash>> {
    let guarded = guard::inspect(&change.bytes).ok().filter(|guarded| guarded.hash == change.hash)?;
    // Of others' changes nothing more is asked.
    let own = change.state != State::Settled;
    (!own || guard::verify(&change.bytes, &guarded).is_ok()).then_some(guarded.deps)
}

/// Structures that hold because of one of their copies, and whether that is one which needs not be sent again.
fn structures(changes: &[Stored], stands: bool) -> BTreeMap<Hash, bool> {
    let mut found = BTreeMap::new();
    for change in changes {
        let stays = matches!(change.state, State::Settled | State::Own);
        if (stays || (stands && change.state == State::Unsent)) && is_structure(&change.bytes) {
            *found.entry(change.hash).or_insert(false) |= stays;
        }
    }
    found
}

fn sort(changes: &[Stored], stands: bool) -> Sorted {
    let (mut holds, mut gone) = (BTreeSet::new(), BTreeSet::new());
    let mut sorted = Sorted { held: Vec::new(), repeated: Vec::new(), out: Vec::new(), unreadable: Vec::new() };
    let structures = structures(changes, stands);
    for (index, change) in changes.iter().enumerate() {
        let Some(deps) = deps(change) else {
            gone.insert(change.hash);
            sorted.unreadable.push(index);
            continue;
        };
        let upon_gone = deps.iter().any(|dep| gone.contains(dep) && !holds.contains(dep));
        if let Some(stays) = structures.get(&change.hash).filter(|_| !upon_gone) {
            let first = holds.insert(change.hash);
            if first {
                sorted.held.push(index);
            }
            if matches!(change.state, State::Unsent | State::Refused(_)) {
                sorted.repeated.push(Repeated { index, first: first && !stays });
            }
            continue;
        }
        if matches!(change.state, State::Settled | State::Own) && !upon_gone {
            if holds.insert(change.hash) {
                sorted.held.push(index);
            }
        } else {
            gone.insert(change.hash);
            sorted.out.push((index, upon_gone));
        }
    }
    sorted
}

struct Maker<'a> {
    reauthor: Reauthor,
    document: Document,
    by_hash: BTreeMap<Hash, &'a [u8]>,
}

impl<'a> Maker<'a> {
    fn new(changes: &'a [Stored], author: Actor, held: &[usize]) -> Result<Self, NoChange> {
        let bytes: Vec<&[u8]> = held.iter().map(|index| changes[*index].bytes.as_slice()).collect();
        let reauthor = Reauthor::new(author, bytes.iter().copied())?;
        let (document, _) = Document::load(author, None, &bytes).map_err(|_| NoChange(RejectCode::Malformed))?;
        let by_hash = changes.iter().map(|change| (change.hash, change.bytes.as_slice())).collect();
        Ok(Self { reauthor, document, by_hash })
    }

    /// A change that does not hold, with what became of it before.
    fn knows(&mut self, change: &Stored) -> Result<(), NoChange> {
        if self.reauthor.holds(change.hash) {
            return Ok(());
        }
        self.reauthor.gone(&change.bytes)?;
        // A structure's copy is the structure.
        for (copy, indices) in change.copies.iter().filter(|(copy, _)| *copy != change.hash) {
            if let Some(bytes) = self.by_hash.get(copy) {
                self.reauthor.became(&change.bytes, bytes, indices)?;
            }
        }
        Ok(())
    }

    fn make(
        &mut self,
        change: &Stored,
        upon: Upon,
        only: Option<&[u32]>,
        gently: bool,
        random: Random<'_>,
    ) -> Result<Made, NoChange> {
        let document = gently.then_some(&self.document);
        let mut made = self.reauthor.make_unless(&change.bytes, upon, only, document, random)?;
        let Some(new) = &made.change else { return Ok(made) };
        // Nothing goes out that this device could not take itself.
        if self.document.apply(&[&new.bytes]).is_ok_and(|applied| applied.left_out.is_empty()) {
            return Ok(made);
        }
        let why = Why::Refused(RejectCode::Malformed);
        made.left_out.extend(new.indices.iter().map(|index| LeftOut { index: *index, why }));
        made.left_out.sort_unstable_by_key(|left| left.index);
        made.change = None;
        Ok(made)
    }
}

/// A change's operations as JSON text, for people to read.
pub fn describe(bytes: &[u8]) -> String {
    let change = guard::inspect(bytes).and_then(|guarded| guard::verify(bytes, &guarded));
    let text = change.ok().and_then(|change| serde_json::to_string(&change.decode()).ok());
    text.unwrap_or_else(|| "null".to_owned())
}
