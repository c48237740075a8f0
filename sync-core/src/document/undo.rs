//! Undoing edits, by the identity of what they touched: it is found wherever others' edits have moved it meanwhile, and left
//! alone where they have replaced it. An undo is a new edit, and what undoes it is the redo.

use std::collections::BTreeMap;

use automerge::{Cursor, ObjId, ObjType, Prop, ReadDoc};

use super::history::Marked;
use super::op::{Expand, Op};
use super::patch::{self, Patch};
use super::read::{self, View};
use super::write::EditError;
use super::{Body, Document, Edited, Random, Sealed};
use crate::id::Actor;
use crate::limits::{EDIT_OPERATIONS_MAX, NESTING_DEPTH_MAX};
use crate::value::{Path, Step, Value};

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

/// The operation that made an object, an element or a value; no actor: the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    counter: u64,
    actor: Option<Actor>,
}

/// An element of a list or a character of a text, by the operation that made what it shows, with where it is one: automerge must not be asked for it elsewhere, as what
/// was deleted before its list was is not put back with the list. Or a value elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    id: Id,
    of: Option<Id>,
}

/// A value that was there, and what was in it by identity, in the order in which it is read.
#[derive(Debug, Clone)]
struct Kept {
    value: Value,
    ids: Vec<Name>,
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

/// What was on both sides of what is gone. What is put back lies in front of what is left of the old in the document's own
/// order, so by that alone things that went one after the other would come back the other way round.
#[derive(Debug, Clone)]
struct Between {
    left: Option<Name>,
    right: Option<Name>,
}

impl Between {
    fn read(doc: &impl ReadDoc, list: &ObjId, at: usize, count: usize) -> Option<Self> {
        let left = at.checked_sub(1).map(|left| Name::of_element(doc, list, left));
        let right = (at + count < doc.length(list)).then(|| Name::of_element(doc, list, at + count));
        // A side that has no name is not the same as no side.
        if matches!(left, Some(None)) || matches!(right, Some(None)) {
            return None;
        }
        Some(Self { left: left.flatten(), right: right.flatten() })
    }

    fn sides(&mut self) -> impl Iterator<Item = &mut Name> {
        self.left.iter_mut().chain(&mut self.right)
    }

    /// Where it goes: behind the one, in front of the other, and with others' new things in between where the old would be.
    fn index(&self, doc: &impl ReadDoc, list: &ObjId, gone: Name) -> usize {
        let length = doc.length(list);
        let left = self.left.and_then(|left| left.index(doc, list));
        let right = self.right.and_then(|right| right.index(doc, list));
        let (low, high) = (left.map_or(0, |left| left + 1), right.unwrap_or(length));
        match gone.anchor(doc, list).map(|index| index.min(length)) {
            Some(index) if low <= high => index.clamp(low, high),
            Some(index) => index,
            None if left.is_some() || self.left.is_none() => low,
            None => high,
        }
    }
}

#[derive(Debug, Clone)]
enum Place {
    Key(String),
    Element(Name),
}

impl Id {
    fn of(id: &ObjId) -> Option<Self> {
        match id {
            ObjId::Root => Some(Self { counter: 0, actor: None }),
            ObjId::Id(counter, actor, _) => {
                Some(Self { counter: *counter, actor: Some(Actor::from_slice(actor.to_bytes()).ok()?) })
            }
        }
    }

    fn object(self) -> ObjId {
        match self.actor {
            None => ObjId::Root,
            // Where the actor stands in a document is looked up.
            Some(actor) => ObjId::Id(self.counter, actor.into(), usize::MAX),
        }
    }
}

impl Name {
    fn of_value(id: &ObjId) -> Option<Self> {
        Some(Self { id: Id::of(id)?, of: None })
    }

    fn of_element(doc: &impl ReadDoc, list: &ObjId, index: usize) -> Option<Self> {
        let cursor = doc.get_cursor(list, index, None).ok()?.to_string();
        let (counter, actor) = cursor.split_once('@')?;
        let actor = automerge::ActorId::try_from(actor).ok()?;
        let id = Id { counter: counter.parse().ok()?, actor: Some(Actor::from_slice(actor.to_bytes()).ok()?) };
        Some(Self { id, of: Some(Id::of(list)?) })
    }

    /// Where an element is, or where the next one behind it is that is still there.
    fn anchor(self, doc: &impl ReadDoc, list: &ObjId) -> Option<usize> {
        if self.of != Some(Id::of(list)?) {
            return None;
        }
        let actor = automerge::ActorId::from(self.id.actor?);
        let cursor = Cursor::try_from(format!("{}@{actor}", self.id.counter)).ok()?;
        doc.get_cursor_position(list, &cursor, None).ok()
    }

    /// Where an element is; `None` if it is there no longer.
    fn index(self, doc: &impl ReadDoc, list: &ObjId) -> Option<usize> {
        let index = self.anchor(doc, list)?;
        (index < doc.length(list) && Self::of_element(doc, list, index)? == self).then_some(index)
    }
}

impl Kept {
    fn read(doc: &impl ReadDoc, object: &ObjId, prop: impl Into<Prop>) -> Option<Option<Self>> {
        let prop = prop.into();
        let Some((value, id)) = doc.get(object, prop).ok()? else { return Some(None) };
        let mut ids = Vec::new();
        let value = match value {
            automerge::Value::Scalar(value) => {
                ids.push(Name::of_value(&id)?);
                read::scalar(&value)
            }
            automerge::Value::Object(kind) => {
                name(doc, &id, kind, 0, &mut ids)?;
                View::now(doc).of_object(&id, kind)
            }
        };
        Some(Some(Self { value, ids }))
    }

    fn bytes(&self) -> usize {
        value_bytes(&self.value) + self.ids.len() * size_of::<Name>()
    }
}

/// Names an object and all that is in it, in one order for equal values.
fn name(doc: &impl ReadDoc, id: &ObjId, kind: ObjType, depth: usize, ids: &mut Vec<Name>) -> Option<()> {
    if depth > NESTING_DEPTH_MAX {
        return None;
    }
    ids.push(Name::of_value(id)?);
    let within = |value: &automerge::ValueRef<'_>, id: ObjId, ids: &mut Vec<Name>| match value {
        automerge::ValueRef::Object(kind) => name(doc, &id, *kind, depth + 1, ids),
        automerge::ValueRef::Scalar(_) => {
            ids.push(Name::of_value(&id)?);
            Some(())
        }
    };
    match kind {
        ObjType::Map | ObjType::Table => doc.map_range(id, ..).try_for_each(|item| within(&item.value, item.id(), ids)),
        ObjType::List => doc.list_range(id, ..).try_for_each(|item| {
            ids.push(Name::of_element(doc, id, item.index)?);
            within(&item.value, item.id(), ids)
        }),
        ObjType::Text => {
            ids.extend(characters(doc, id, 0, doc.length(id))?);
            Some(())
        }
    }
}

fn characters(doc: &impl ReadDoc, text: &ObjId, at: usize, count: usize) -> Option<Vec<Name>> {
    (at..at + count).map(|index| Name::of_element(doc, text, index)).collect()
}

/// What has to be known before an operation is written.
pub(super) struct Noted(Option<Before>);

enum Before {
    Key { object: ObjId, key: String, before: Option<Kept> },
    Element { list: ObjId, index: usize, before: Kept },
    Inserts { list: ObjId, index: usize, count: usize },
    Splice { text: ObjId, at: usize, typed: usize, erased: String, characters: Vec<Name>, between: Between },
    Known(Vec<Inverse>),
}

/// Looks at what an operation is about to change.
pub(super) fn before(doc: &impl ReadDoc, op: &Op) -> Noted {
    Noted(look(doc, op))
}

fn look(doc: &impl ReadDoc, op: &Op) -> Option<Before> {
    let of_place = |path: &Path| {
        let (step, above) = path.0.split_last()?;
        Some((read::object(doc, above)?.0, step.clone()))
    };
    Some(match op {
        Op::Put { path, .. } => match of_place(path)? {
            (object, Step::Key(key)) => {
                let before = Kept::read(doc, &object, key.as_str())?;
                Before::Key { object, key, before }
            }
            (list, Step::Index(index)) => {
                let index = usize::try_from(index).ok()?;
                let before = Kept::read(doc, &list, index)??;
                Before::Element { list, index, before }
            }
        },
        Op::Delete { path } => match of_place(path)? {
            (object, Step::Key(key)) => {
                let before = Kept::read(doc, &object, key.as_str())?;
                let object = Id::of(&object)?;
                Before::Known(vec![Inverse::Key { object, key, wrote: None, before }])
            }
            (list, Step::Index(index)) => {
                let index = usize::try_from(index).ok()?;
                let before = Kept::read(doc, &list, index)??;
                let element = Name::of_element(doc, &list, index)?;
                let between = Between::read(doc, &list, index, 1)?;
                Before::Known(vec![Inverse::Removed { list: Id::of(&list)?, element, between, before }])
            }
        },
        Op::Insert { path, values } => {
            let (list, Step::Index(index)) = of_place(path)? else { return None };
            Before::Inserts { list, index: usize::try_from(index).ok()?, count: values.len() }
        }
        Op::Splice { path, at, delete, insert } => {
            let (text, _) = read::object(doc, &path.0)?;
            let (at, count) = (usize::try_from(*at).ok()?, usize::try_from(*delete).ok()?);
            let characters = characters(doc, &text, at, count)?;
            let erased =
                if count == 0 { String::new() } else { doc.text(&text).ok()?.chars().skip(at).take(count).collect() };
            let between = Between::read(doc, &text, at, count)?;
            Before::Splice { text, at, typed: insert.chars().count(), erased, characters, between }
        }
        Op::Mark { path, start, end, name, expand, .. } => {
            let (text, _) = read::object(doc, &path.0)?;
            let marks = super::history::marks(doc, path)?;
            let id = Id::of(&text)?;
            let part = |(from, to, before): (u64, u64, Value)| {
                let first = Name::of_element(doc, &text, from as usize)?;
                let last = Name::of_element(doc, &text, to as usize - 1)?;
                Some(Inverse::Marked { text: id, first, last, name: name.clone(), before, expand: *expand })
            };
            Before::Known(parts(&marks, name, *start, *end).into_iter().map(part).collect::<Option<_>>()?)
        }
        Op::Increment { path, by } => {
            let (object, step) = of_place(path)?;
            let (prop, place): (Prop, Place) = match step {
                Step::Key(key) => (key.as_str().into(), Place::Key(key)),
                Step::Index(index) => {
                    let index = usize::try_from(index).ok()?;
                    (index.into(), Place::Element(Name::of_element(doc, &object, index)?))
                }
            };
            let (_, counter) = doc.get(&object, prop).ok()??;
            let (object, counter) = (Id::of(&object)?, Id::of(&counter)?);
            Before::Known(vec![Inverse::Counted { object, place, counter, by: *by }])
        }
    })
}

/// A range in parts, each with the value that a mark had there; null where there was none.
fn parts(marks: &[Marked], name: &str, start: u64, end: u64) -> Vec<(u64, u64, Value)> {
    let (mut parts, mut at) = (Vec::new(), start);
    let mut here: Vec<&Marked> =
        marks.iter().filter(|mark| mark.name == name && mark.start < end && mark.end > start).collect();
    here.sort_by_key(|mark| mark.start);
    for mark in here {
        let (from, to) = (mark.start.max(at), mark.end.min(end));
        if from > at {
            parts.push((at, from, Value::Null));
        }
        if to > from {
            parts.push((from, to, mark.value.clone()));
            at = to;
        }
    }
    if at < end {
        parts.push((at, end, Value::Null));
    }
    parts
}

impl Noted {
    /// What undoes the operation, now that it is written; `None` if that cannot be said.
    fn after(self, doc: &impl ReadDoc) -> Option<Vec<Inverse>> {
        let wrote = |object: &ObjId, prop: Prop| Id::of(&doc.get(object, prop).ok()??.1);
        Some(match self.0? {
            Before::Known(inverses) => inverses,
            Before::Key { object, key, before } => {
                let wrote = Some(wrote(&object, key.as_str().into())?);
                vec![Inverse::Key { object: Id::of(&object)?, key, wrote, before }]
            }
            Before::Element { list, index, before } => {
                let (element, wrote) = (Name::of_element(doc, &list, index)?, wrote(&list, index.into())?);
                vec![Inverse::Element { list: Id::of(&list)?, element, wrote, before }]
            }
            Before::Inserts { list, index, count } => {
                vec![Inverse::Inserted { list: Id::of(&list)?, elements: characters(doc, &list, index, count)? }]
            }
            Before::Splice { text, at, typed, erased, characters: gone, between } => {
                let id = Id::of(&text)?;
                let mut inverses = Vec::new();
                if !gone.is_empty() {
                    inverses.push(Inverse::Erased { text: id, erased, characters: gone, between });
                }
                if typed > 0 {
                    inverses.push(Inverse::Typed { text: id, characters: characters(doc, &text, at, typed)? });
                }
                inverses
            }
        })
    }
}

/// Collects what undoes an edit while it is written.
#[derive(Default)]
pub(super) struct Recorder {
    inverses: Vec<Inverse>,
    lost: bool,
}

impl Recorder {
    pub(super) fn took(&mut self, noted: Noted, doc: &impl ReadDoc) {
        match noted.after(doc) {
            Some(inverses) => self.inverses.extend(inverses),
            None => self.lost = true,
        }
    }

    pub(super) fn step(self) -> Option<UndoStep> {
        (!self.lost).then_some(UndoStep { inverses: self.inverses })
    }
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
            RefillAt::Key(key) => Some(Kept::read(doc, &object, key.as_str())??.ids),
            RefillAt::Element(index) => Some(Kept::read(doc, &object, *index)??.ids),
            RefillAt::New(index) => {
                let mut ids = vec![Name::of_element(doc, &object, *index)?];
                ids.extend(Kept::read(doc, &object, *index)??.ids);
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
            if now.as_ref().map(|now| Id::of(now)) != wrote.map(Some) {
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
                before.iter_mut().for_each(|before| all(&mut before.ids));
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

/// About how many bytes a value takes in memory.
fn value_bytes(value: &Value) -> usize {
    let mut total = 0;
    let mut stack = vec![value];
    while let Some(value) = stack.pop() {
        total += size_of::<Value>();
        match value {
            Value::Map(map) => stack.extend(map.iter().map(|(key, value)| {
                total += key.len() + size_of::<String>();
                value
            })),
            Value::List(list) => stack.extend(list),
            Value::Str(text) | Value::Text(text) => total += text.len(),
            Value::Bytes(bytes) => total += bytes.len(),
            _ => {}
        }
    }
    total
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
