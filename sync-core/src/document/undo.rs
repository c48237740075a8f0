//! Undoing edits, by the identity of what they touched: it is found wherever others' edits have moved it meanwhile, and left
//! alone where they have replaced it. An undo is a new edit, and what undoes it is the redo.

use std::collections::BTreeMap;

use automerge::{ObjId, Prop, ReadDoc};

use super::op::{Expand, Op};
use super::patch::{self, Patch};
use super::write::EditError;
use super::{Body, Document, Edited, Random, Sealed};
use crate::limits::EDIT_OPERATIONS_MAX;
use crate::value::{Path, Value};

mod name;
mod record;

use name::{Between, Id, Kept, Name, characters, value_bytes};
pub(super) use record::{Recorder, before};

/// What undoes one edit.
#[derive(Debug, Clone, Default)]
pub struct UndoStep {
    /// In the order in which it was done; it is undone from the back.
    inverses: Vec<Inverse>,
}

/// What an undo did.
#[derive(Debug)]
pub struct Undone {
    /// The operations of the edit that it came to; none if there was nothing left to undo.
    pub ops: Vec<Op>,
    /// As of any edit.
    pub edited: Edited,
    /// What undoes it; `None` where that is more than can be undone.
    pub redo: Option<UndoStep>,
    /// What is called otherwise now, for all other steps of this document.
    pub renames: Renames,
}

/// What was put back has another identity than before.
#[derive(Debug, Clone, Default)]
pub struct Renames {
    /// Objects and other values.
    values: BTreeMap<Id, Id>,
    /// Elements and characters.
    elements: BTreeMap<Id, Name>,
}

#[derive(Debug, Clone)]
enum Inverse {
    /// A key was set, or removed (then it was not written).
    Key { object: Id, key: String, wrote: Option<Id>, before: Option<Kept> },
    /// An element was replaced.
    Element { list: Id, element: Name, wrote: Id, before: Kept },
    /// Elements came in.
    Inserted { list: Id, elements: Vec<Name> },
    /// An element was removed.
    Removed { list: Id, element: Name, between: Between, before: Kept },
    /// Characters were typed.
    Typed { text: Id, characters: Vec<Name> },
    /// Characters were removed.
    Erased { text: Id, erased: String, characters: Vec<Name>, between: Between },
    /// A part of a text was marked, that from one character to another was so before.
    Marked { text: Id, first: Name, last: Name, name: String, before: Value, expand: Expand },
    /// A counter moved, at a key or of an element.
    Counted { object: Id, place: Place, counter: Id, by: i64 },
}

#[derive(Debug, Clone)]
enum Place {
    Key(String),
    Element(Name),
}

/// An operation that undoes, and whose identity in the document has to be learnt when it is written.
struct Doing {
    op: Op,
    refill: Option<Refill>,
}

/// What was put back, and how what is in it was called.
struct Refill {
    object: Id,
    at: RefillAt,
    ids: Vec<Name>,
}

enum RefillAt {
    Key(String),
    /// An element that is there has another value.
    Element(usize),
    /// A new element; its own name comes first.
    New(usize),
    Characters(usize),
}

impl Refill {
    fn read(&self, doc: &impl ReadDoc) -> Option<Vec<Name>> {
        let object = self.object.object();
        match &self.at {
            RefillAt::Key(key) => Some(Kept::read(doc, &object, key.as_str()).ok()??.ids),
            RefillAt::Element(index) => Some(Kept::read(doc, &object, *index).ok()??.ids),
            RefillAt::New(index) => {
                let mut ids = vec![Name::of_element(doc, &object, *index)?];
                ids.extend(Kept::read(doc, &object, *index).ok()??.ids);
                Some(ids)
            }
            RefillAt::Characters(at) => characters(doc, &object, *at, self.ids.len()),
        }
    }
}

impl Renames {
    fn learn(&mut self, refill: &Refill, named: &[Name]) {
        if named.len() != refill.ids.len() {
            return;
        }
        for (old, new) in refill.ids.iter().zip(named) {
            if old.of.is_none() {
                self.values.insert(old.id, new.id);
            } else {
                self.elements.insert(old.id, *new);
            }
        }
        // An element that is replaced is called as what is there now.
        if let (RefillAt::Element(_), Some(old), Some(new)) = (&refill.at, refill.ids.first(), named.first()) {
            self.elements.insert(old.id, Name { id: new.id, of: Some(refill.object) });
        }
    }
}

fn path_of(doc: &impl ReadDoc, object: &ObjId) -> Option<Path> {
    let path = doc.parents(object).ok()?.visible_path()?;
    Some(Path(path.iter().map(|(_, prop)| patch::step(prop)).collect()))
}

/// The operations that undo something, as the document is now; none where others have made it pointless.
fn undoing(doc: &impl ReadDoc, inverse: &Inverse) -> Option<Vec<Doing>> {
    let plain = |op| Doing { op, refill: None };
    Some(match inverse {
        Inverse::Key { object, key, wrote, before } => {
            let id = object.object();
            let path = path_of(doc, &id)?.join(key.as_str());
            let now = doc.get(&id, key.as_str()).ok()?.map(|(_, now)| now);
            if now.as_ref().map(Id::of) != wrote.map(Some) {
                return None;
            }
            match before {
                None => now.map(|_| plain(Op::Delete { path })).into_iter().collect(),
                Some(Kept { value, ids }) => {
                    let refill = Refill { object: *object, at: RefillAt::Key(key.clone()), ids: ids.clone() };
                    vec![Doing { op: Op::Put { path, value: value.clone() }, refill: Some(refill) }]
                }
            }
        }
        Inverse::Element { list, element, wrote, before } => {
            let id = list.object();
            let path = path_of(doc, &id)?;
            let index = element.index(doc, &id)?;
            if Id::of(&doc.get(&id, index).ok()??.1)? != *wrote {
                return None;
            }
            let refill = Refill { object: *list, at: RefillAt::Element(index), ids: before.ids.clone() };
            let op = Op::Put { path: path.join(index), value: before.value.clone() };
            vec![Doing { op, refill: Some(refill) }]
        }
        Inverse::Inserted { list, elements } => {
            let id = list.object();
            let path = path_of(doc, &id)?;
            let mut there: Vec<usize> = elements.iter().filter_map(|element| element.index(doc, &id)).collect();
            there.sort_unstable();
            there.into_iter().rev().map(|index| plain(Op::Delete { path: path.join(index) })).collect()
        }
        Inverse::Removed { list, element, between, before } => {
            let id = list.object();
            let path = path_of(doc, &id)?;
            let index = between.index(doc, &id, *element);
            let ids = std::iter::once(*element).chain(before.ids.iter().copied()).collect();
            let refill = Refill { object: *list, at: RefillAt::New(index), ids };
            let op = Op::Insert { path: path.join(index), values: vec![before.value.clone()] };
            vec![Doing { op, refill: Some(refill) }]
        }
        Inverse::Typed { text, characters } => {
            let id = text.object();
            let path = path_of(doc, &id)?;
            let mut there: Vec<u64> =
                characters.iter().filter_map(|character| character.index(doc, &id)).map(|at| at as u64).collect();
            there.sort_unstable();
            let mut runs: Vec<(u64, u64)> = Vec::new();
            for at in there {
                match runs.last_mut() {
                    Some((from, count)) if *from + *count == at => *count += 1,
                    _ => runs.push((at, 1)),
                }
            }
            let op = |(at, delete)| plain(Op::Splice { path: path.clone(), at, delete, insert: String::new() });
            runs.into_iter().rev().map(op).collect()
        }
        Inverse::Erased { text, erased, characters, between } => {
            let id = text.object();
            let path = path_of(doc, &id)?;
            let at = between.index(doc, &id, *characters.first()?);
            let refill = Refill { object: *text, at: RefillAt::Characters(at), ids: characters.clone() };
            let op = Op::Splice { path, at: at as u64, delete: 0, insert: erased.clone() };
            vec![Doing { op, refill: Some(refill) }]
        }
        Inverse::Marked { text, first, last, name, before, expand } => {
            let id = text.object();
            let path = path_of(doc, &id)?;
            let start = first.anchor(doc, &id)? as u64;
            let end = last.anchor(doc, &id)? as u64 + u64::from(last.index(doc, &id).is_some());
            if start >= end {
                return None;
            }
            let (name, value, expand) = (name.clone(), before.clone(), *expand);
            vec![plain(Op::Mark { path, start, end, name, value, expand })]
        }
        Inverse::Counted { object, place, counter, by } => {
            let id = object.object();
            let path = path_of(doc, &id)?;
            let (prop, path): (Prop, Path) = match place {
                Place::Key(key) => (key.as_str().into(), path.join(key.as_str())),
                Place::Element(element) => {
                    let index = element.index(doc, &id)?;
                    (index.into(), path.join(index))
                }
            };
            if Id::of(&doc.get(&id, prop).ok()??.1)? != *counter {
                return None;
            }
            vec![plain(Op::Increment { path, by: by.checked_neg()? })]
        }
    })
}

impl Inverse {
    fn rename(&mut self, Renames { values, elements }: &Renames) {
        let id = |id: &mut Id| {
            if let Some(new) = values.get(id) {
                *id = *new;
            }
        };
        let one = |name: &mut Name| {
            if name.of.is_none() {
                id(&mut name.id);
            } else if let Some(new) = elements.get(&name.id) {
                *name = *new;
            }
        };
        let all = |names: &mut Vec<Name>| names.iter_mut().for_each(one);
        match self {
            Self::Key { object, wrote, before, .. } => {
                id(object);
                wrote.iter_mut().for_each(id);
                if let Some(before) = before {
                    all(&mut before.ids);
                }
            }
            Self::Element { list, element, wrote, before } => {
                [list, wrote].into_iter().for_each(id);
                one(element);
                all(&mut before.ids);
            }
            Self::Inserted { list, elements } => {
                id(list);
                all(elements);
            }
            Self::Removed { list, element, between, before } => {
                id(list);
                one(element);
                between.sides().for_each(one);
                all(&mut before.ids);
            }
            Self::Erased { text, characters, between, .. } => {
                id(text);
                between.sides().for_each(one);
                all(characters);
            }
            Self::Typed { text, characters } => {
                id(text);
                all(characters);
            }
            Self::Marked { text, first, last, .. } => {
                id(text);
                [first, last].into_iter().for_each(one);
            }
            Self::Counted { object, place, counter, .. } => {
                [object, counter].into_iter().for_each(id);
                if let Place::Element(element) = place {
                    one(element);
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Key { key, before, .. } => key.len() + before.as_ref().map_or(0, Kept::bytes),
                Self::Element { before, .. } | Self::Removed { before, .. } => before.bytes(),
                Self::Inserted { elements, .. } => elements.len() * size_of::<Name>(),
                Self::Typed { characters, .. } => characters.len() * size_of::<Name>(),
                Self::Erased { erased, characters, .. } => erased.len() + characters.len() * size_of::<Name>(),
                Self::Marked { name, before, .. } => name.len() + value_bytes(before),
                Self::Counted { .. } => 0,
            }
    }
}

macro_rules! shown {
    ($self:expr, $doc:ident => $made:expr) => {
        match &$self.body {
            Body::Sealed($doc) => $made,
            Body::Open(transaction) => {
                let $doc = &**transaction;
                $made
            }
            Body::Lost => None,
        }
    };
}

impl UndoStep {
    /// Whether there is nothing to undo, as of a text that was replaced by nothing where nothing was.
    pub fn is_empty(&self) -> bool {
        self.inverses.is_empty()
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.inverses.iter().map(Inverse::bytes).sum()
    }

    /// What was put back by another step is called so now.
    pub fn rename(&mut self, renames: &Renames) {
        self.inverses.iter_mut().for_each(|inverse| inverse.rename(renames));
    }

    /// The edit behind this one is undone with it.
    pub fn join(&mut self, next: Self) {
        self.inverses.extend(next.inverses);
    }
}

impl Document {
    /// Like [`edit`](Self::edit), and gives what undoes it; `None` for an edit that cannot be undone.
    pub fn edit_recorded(&mut self, ops: Vec<Op>, random: Random<'_>) -> Result<(Edited, Option<UndoStep>), EditError> {
        let mut recorder = Recorder::default();
        let edited = self.edit_noting(ops, random, Some(&mut recorder))?;
        Ok((edited, recorder.step()))
    }

    /// Undoes an edit, as far as others have not made that pointless, by a new one: all of it, or nothing.
    pub fn undo(&mut self, step: &UndoStep, random: Random<'_>) -> Result<Undone, EditError> {
        if self.is_lost() {
            return Err(EditError::Lost);
        }
        let kept = self.journal.ops.len();
        let (mut recorder, mut renames) = (Recorder::default(), Renames::default());
        let (mut ops, mut sealed): (Vec<Op>, Vec<Sealed>) = (Vec::new(), Vec::new());
        let mut patches: Vec<Patch> = Vec::new();
        let mut cost = 0u64;
        for inverse in step.inverses.iter().rev() {
            let mut inverse = inverse.clone();
            inverse.rename(&renames);
            let doings = shown!(self, doc => undoing(doc, &inverse)).unwrap_or_default();
            for Doing { op, refill } in doings {
                cost = cost.saturating_add(op.cost());
                let too_large = cost > EDIT_OPERATIONS_MAX;
                let checked = self.check(std::slice::from_ref(&op));
                if let Err(error) = if too_large { Err(EditError::TooLarge { operations: cost }) } else { checked } {
                    if !ops.is_empty() {
                        self.take_back(if sealed.is_empty() { Some(kept) } else { None });
                    }
                    return Err(error);
                }
                patches.extend(patch::of_op(&op));
                for piece in op.clone().pieces() {
                    self.write_piece(piece, kept, &mut sealed, random, Some(&mut recorder))?;
                }
                ops.push(op);
                if let Some(refill) = refill
                    && let Some(named) = shown!(self, doc => refill.read(doc))
                {
                    renames.learn(&refill, &named);
                }
            }
        }
        if !ops.is_empty() {
            self.end_edit(&mut sealed, random);
        }
        Ok(Undone { ops, edited: Edited { sealed, patches }, redo: recorder.step(), renames })
    }
}
