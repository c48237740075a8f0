//! Reading a document: bounded in depth, since a recursion over hostile nesting would overflow the stack.

use automerge::iter::{ListRange, MapRange, MapRangeItem};
use automerge::{ChangeHash, ObjId, ObjType, Prop, ROOT, ReadDoc, ScalarValue, ScalarValueRef, ValueRef};
use serde_bytes::ByteBuf;

use super::history::Marked;
use super::json;
use crate::limits::NESTING_DEPTH_MAX;
use crate::value::{Path, Step, Value};

/// A scalar in our words.
pub(super) fn scalar(value: &ScalarValue) -> Value {
    match value {
        ScalarValue::Bytes(bytes) => Value::Bytes(ByteBuf::from(bytes.clone())),
        ScalarValue::Str(text) => Value::Str(text.to_string()),
        ScalarValue::Int(value) => Value::Int(*value),
        ScalarValue::Uint(value) => Value::Uint(*value),
        ScalarValue::F64(value) => Value::Float(*value),
        ScalarValue::Counter(counter) => Value::Counter(counter.into()),
        ScalarValue::Timestamp(ms) => Value::Timestamp(*ms),
        ScalarValue::Boolean(value) => Value::Bool(*value),
        // A type of a later automerge: shown as nothing, kept as it is.
        ScalarValue::Null | ScalarValue::Unknown { .. } => Value::Null,
    }
}

pub(super) fn scalar_ref(value: &ScalarValueRef<'_>) -> Value {
    match value {
        ScalarValueRef::Bytes(bytes) => Value::Bytes(ByteBuf::from(bytes.to_vec())),
        ScalarValueRef::Str(text) => Value::Str(text.to_string()),
        ScalarValueRef::Int(value) => Value::Int(*value),
        ScalarValueRef::Uint(value) => Value::Uint(*value),
        ScalarValueRef::F64(value) => Value::Float(*value),
        ScalarValueRef::Counter(value) => Value::Counter(*value),
        ScalarValueRef::Timestamp(ms) => Value::Timestamp(*ms),
        ScalarValueRef::Boolean(value) => Value::Bool(*value),
        ScalarValueRef::Null | ScalarValueRef::Unknown { .. } => Value::Null,
    }
}

/// A value without what is in it.
pub(super) fn shallow(value: &automerge::Value<'_>) -> Value {
    match value {
        automerge::Value::Scalar(value) => scalar(value),
        automerge::Value::Object(kind) => empty(*kind),
    }
}

fn empty(kind: ObjType) -> Value {
    match kind {
        ObjType::Map | ObjType::Table => Value::Map(std::collections::BTreeMap::new()),
        ObjType::List => Value::List(Vec::new()),
        ObjType::Text => Value::Text(String::new()),
    }
}

/// A document as it is, or as it was at some heads.
pub(super) struct View<'d, D> {
    doc: &'d D,
    heads: Option<&'d [ChangeHash]>,
}

impl<'d, D: ReadDoc> View<'d, D> {
    pub(super) fn now(doc: &'d D) -> Self {
        Self { doc, heads: None }
    }

    pub(super) fn at(doc: &'d D, heads: &'d [ChangeHash]) -> Self {
        Self { doc, heads: Some(heads) }
    }

    /// The object at a path; `None` if there is none.
    pub(super) fn object(&self, path: &[Step]) -> Option<(ObjId, ObjType)> {
        let mut at = (ROOT, ObjType::Map);
        for step in path {
            at = match self.get(&at, step)? {
                (automerge::Value::Object(kind), id) => (id, kind),
                (automerge::Value::Scalar(_), _) => return None,
            };
        }
        Some(at)
    }

    pub(super) fn get(&self, (id, kind): &(ObjId, ObjType), step: &Step) -> Option<(automerge::Value<'d>, ObjId)> {
        let prop: Prop = match (step, kind) {
            (Step::Key(key), ObjType::Map | ObjType::Table) => key.as_str().into(),
            (Step::Index(index), ObjType::List) => usize::try_from(*index).ok()?.into(),
            _ => return None,
        };
        match self.heads {
            None => self.doc.get(id, prop),
            Some(heads) => self.doc.get_at(id, prop, heads),
        }
        .ok()
        .flatten()
    }

    pub(super) fn text(&self, id: &ObjId) -> String {
        match self.heads {
            None => self.doc.text(id),
            Some(heads) => self.doc.text_at(id, heads),
        }
        .unwrap_or_default()
    }

    /// The marks on a text.
    pub(super) fn marks(&self, text: &ObjId) -> Option<Vec<Marked>> {
        let marks = match self.heads {
            None => self.doc.marks(text),
            Some(heads) => self.doc.marks_at(text, heads),
        };
        let marked = |mark: &automerge::marks::Mark| Marked {
            start: mark.start as u64,
            end: mark.end as u64,
            name: mark.name().to_owned(),
            value: scalar(mark.value()),
        };
        Some(marks.ok()?.iter().map(marked).collect())
    }

    // One pass over a whole object: a lookup for each key or index costs many times that.

    pub(super) fn fields(&self, id: &ObjId) -> MapRange<'d> {
        match self.heads {
            None => self.doc.map_range(id, ..),
            Some(heads) => self.doc.map_range_at(id, .., heads),
        }
    }

    pub(super) fn items(&self, id: &ObjId) -> ListRange<'d> {
        match self.heads {
            None => self.doc.list_range(id, ..),
            Some(heads) => self.doc.list_range_at(id, .., heads),
        }
    }

    /// The value at a path with all that is in it; `None` if nothing is there.
    pub(super) fn value(&self, path: &Path) -> Option<Value> {
        Some(match self.find(path)? {
            Found::Scalar(value) => value,
            Found::Object(id, kind) => self.deep(&id, kind, path.0.len()),
        })
    }

    /// The same as JSON text, without a tree of values in between: bytes become base64 text, counters and timestamps numbers,
    /// what is not a number in JSON `null`.
    pub(super) fn json(&self, path: &Path) -> Option<String> {
        let mut out = Vec::new();
        match self.find(path)? {
            Found::Scalar(value) => json::write(&mut out, &value.to_json()),
            Found::Object(id, kind) => self.write(&mut out, &id, kind, path.0.len()),
        }
        String::from_utf8(out).ok()
    }

    fn find(&self, path: &Path) -> Option<Found> {
        let Some((last, above)) = path.0.split_last() else { return Some(Found::Object(ROOT, ObjType::Map)) };
        let parent = self.object(above)?;
        Some(match self.get(&parent, last)? {
            (automerge::Value::Scalar(value), _) => Found::Scalar(scalar(&value)),
            (automerge::Value::Object(kind), id) => Found::Object(id, kind),
        })
    }

    /// An object with all that is in it.
    pub(super) fn of_object(&self, id: &ObjId, kind: ObjType) -> Value {
        self.deep(id, kind, 0)
    }

    fn deep(&self, id: &ObjId, kind: ObjType, depth: usize) -> Value {
        if depth > NESTING_DEPTH_MAX {
            return empty(kind);
        }
        let entry = |value: ValueRef<'_>, id: &dyn Fn() -> ObjId| match value {
            ValueRef::Scalar(value) => scalar_ref(&value),
            ValueRef::Object(kind) => self.deep(&id(), kind, depth + 1),
        };
        match kind {
            ObjType::Text => Value::Text(self.text(id)),
            ObjType::List => Value::List(self.items(id).map(|item| entry(item.value.clone(), &|| item.id())).collect()),
            ObjType::Map | ObjType::Table => {
                let field = |item: MapRangeItem<'_>| {
                    let value = entry(item.value.clone(), &|| item.id());
                    (item.key.into_owned(), value)
                };
                Value::Map(self.fields(id).map(field).collect())
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>, id: &ObjId, kind: ObjType, depth: usize) {
        if depth > NESTING_DEPTH_MAX {
            return json::write(out, &empty(kind).to_json());
        }
        let entry = |out: &mut Vec<u8>, value: &ValueRef<'_>, id: &dyn Fn() -> ObjId| match value {
            ValueRef::Scalar(value) => json::scalar(out, value),
            ValueRef::Object(kind) => self.write(out, &id(), *kind, depth + 1),
        };
        match kind {
            ObjType::Text => json::write(out, &self.text(id)),
            ObjType::List => {
                out.push(b'[');
                for (place, item) in self.items(id).enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    entry(out, &item.value, &|| item.id());
                }
                out.push(b']');
            }
            ObjType::Map | ObjType::Table => {
                out.push(b'{');
                for (place, item) in self.fields(id).enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    json::write(out, &item.key);
                    out.push(b':');
                    entry(out, &item.value, &|| item.id());
                }
                out.push(b'}');
            }
        }
    }
}

enum Found {
    Scalar(Value),
    Object(ObjId, ObjType),
}

/// The object at a path; `None` if there is none.
pub(super) fn object(doc: &impl ReadDoc, path: &[Step]) -> Option<(ObjId, ObjType)> {
    View::now(doc).object(path)
}

/// The value at a path with all that is in it; `None` if nothing is there.
pub(super) fn value(doc: &impl ReadDoc, path: &Path) -> Option<Value> {
    View::now(doc).value(path)
}
