//! Names of what is in a document, which hold wherever it is moved.

use automerge::{Cursor, ObjId, ObjType, Prop, ReadDoc};

use crate::document::read::{self, View};
use crate::id::Actor;
use crate::limits::NESTING_DEPTH_MAX;
use crate::value::Value;

/// The operation that made an object, an element or a value; no actor: the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) counter: u64,
    pub(super) actor: Option<Actor>,
}

/// An element of a list or a character of a text, by the operation that made what it shows, with where it is one: automerge must not be asked for it elsewhere, as what
/// was deleted before its list was is not put back with the list. Or a value elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) id: Id,
    pub(super) of: Option<Id>,
}

/// A value that was there, and what was in it by identity, in the order in which it is read.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) value: Value,
    pub(super) ids: Vec<Name>,
}

/// What was on both sides of what is gone. What is put back lies in front of what is left of the old in the document's own
/// order, so by that alone things that went one after the other would come back the other way round.
#[derive(Debug, Clone)]
pub(super) struct Between {
    pub(super) left: Option<Name>,
    pub(super) right: Option<Name>,
}

impl Between {
    pub(super) fn read(doc: &impl ReadDoc, list: &ObjId, at: usize, count: usize) -> Option<Self> {
        let left = at.checked_sub(1).map(|left| Name::of_element(doc, list, left));
        let right = (at + count < doc.length(list)).then(|| Name::of_element(doc, list, at + count));
        // A side that has no name is not the same as no side.
        if matches!(left, Some(None)) || matches!(right, Some(None)) {
            return None;
        }
        Some(Self { left: left.flatten(), right: right.flatten() })
    }

    pub(super) fn sides(&mut self) -> impl Iterator<Item = &mut Name> {
        self.left.iter_mut().chain(&mut self.right)
    }

    /// Where it goes: behind the one, in front of the other, and with others' new things in between where the old would be.
    pub(super) fn index(&self, doc: &impl ReadDoc, list: &ObjId, gone: Name) -> usize {
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

impl Id {
    pub(super) fn of(id: &ObjId) -> Option<Self> {
        match id {
            ObjId::Root => Some(Self { counter: 0, actor: None }),
            ObjId::Id(counter, actor, _) => {
                Some(Self { counter: *counter, actor: Some(Actor::from_slice(actor.to_bytes()).ok()?) })
            }
        }
    }

    pub(super) fn object(self) -> ObjId {
        match self.actor {
            None => ObjId::Root,
            // Where the actor stands in a document is looked up.
            Some(actor) => ObjId::Id(self.counter, actor.into(), usize::MAX),
        }
    }
}

impl Name {
    pub(super) fn of_value(id: &ObjId) -> Option<Self> {
        Some(Self { id: Id::of(id)?, of: None })
    }

    pub(super) fn of_element(doc: &impl ReadDoc, list: &ObjId, index: usize) -> Option<Self> {
        let cursor = doc.get_cursor(list, index, None).ok()?.to_string();
        let (counter, actor) = cursor.split_once('@')?;
        let actor = automerge::ActorId::try_from(actor).ok()?;
        let id = Id { counter: counter.parse().ok()?, actor: Some(Actor::from_slice(actor.to_bytes()).ok()?) };
        Some(Self { id, of: Some(Id::of(list)?) })
    }

    /// Where an element is, or where the next one behind it is that is still there.
    pub(super) fn anchor(self, doc: &impl ReadDoc, list: &ObjId) -> Option<usize> {
        if self.of != Some(Id::of(list)?) {
            return None;
        }
        let actor = automerge::ActorId::from(self.id.actor?);
        let cursor = Cursor::try_from(format!("{}@{actor}", self.id.counter)).ok()?;
        doc.get_cursor_position(list, &cursor, None).ok()
    }

    /// Where an element is; `None` if it is there no longer.
    pub(super) fn index(self, doc: &impl ReadDoc, list: &ObjId) -> Option<usize> {
        let index = self.anchor(doc, list)?;
        (index < doc.length(list) && Self::of_element(doc, list, index)? == self).then_some(index)
    }
}

/// Something that was written by nobody whom we know.
pub(super) struct Nameless;

impl Kept {
    /// The value at a place, if there is any; an error where something in it has no name.
    pub(super) fn read(doc: &impl ReadDoc, object: &ObjId, prop: impl Into<Prop>) -> Result<Option<Self>, Nameless> {
        let Some((value, id)) = doc.get(object, prop.into()).map_err(|_| Nameless)? else { return Ok(None) };
        Self::of(doc, &value, &id).map(Some).ok_or(Nameless)
    }

    fn of(doc: &impl ReadDoc, value: &automerge::Value<'_>, id: &ObjId) -> Option<Self> {
        let mut ids = Vec::new();
        let value = match value {
            automerge::Value::Scalar(value) => {
                ids.push(Name::of_value(id)?);
                read::scalar(value)
            }
            automerge::Value::Object(kind) => {
                name(doc, id, *kind, 0, &mut ids)?;
                View::now(doc).of_object(id, *kind)
            }
        };
        Some(Self { value, ids })
    }

    pub(super) fn bytes(&self) -> usize {
        value_bytes(&self.value) + self.ids.len() * size_of::<Name>()
    }
}

/// Names an object and all that is in it, in one order for equal values.
pub(super) fn name(doc: &impl ReadDoc, id: &ObjId, kind: ObjType, depth: usize, ids: &mut Vec<Name>) -> Option<()> {
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

pub(super) fn characters(doc: &impl ReadDoc, text: &ObjId, at: usize, count: usize) -> Option<Vec<Name>> {
    (at..at + count).map(|index| Name::of_element(doc, text, index)).collect()
}

/// About how many bytes a value takes in memory.
pub(super) fn value_bytes(value: &Value) -> usize {
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
