//! Reading a document: bounded in depth, since a recursion over hostile nesting would overflow the stack.

use automerge::{ObjId, ObjType, ROOT, ReadDoc, ScalarValue};
use serde_bytes::ByteBuf;

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

/// The object at a path; `None` if there is none.
pub(super) fn object(doc: &impl ReadDoc, path: &[Step]) -> Option<(ObjId, ObjType)> {
    let mut at = (ROOT, ObjType::Map);
    for step in path {
        at = match get(doc, &at, step)? {
            (automerge::Value::Object(kind), id) => (id, kind),
            (automerge::Value::Scalar(_), _) => return None,
        };
    }
    Some(at)
}

fn get<'d>(doc: &'d impl ReadDoc, (id, kind): &(ObjId, ObjType), step: &Step) -> Option<(automerge::Value<'d>, ObjId)> {
    match (step, kind) {
        (Step::Key(key), ObjType::Map | ObjType::Table) => doc.get(id, key.as_str()).ok().flatten(),
        (Step::Index(index), ObjType::List) => doc.get(id, usize::try_from(*index).ok()?).ok().flatten(),
        _ => None,
    }
}

/// The value at a path with all that is in it; `None` if nothing is there.
pub(super) fn value(doc: &impl ReadDoc, path: &Path) -> Option<Value> {
    let Some((last, above)) = path.0.split_last() else {
        return Some(deep(doc, &ROOT, ObjType::Map, 0));
    };
    let parent = object(doc, above)?;
    let found = get(doc, &parent, last)?;
    Some(entry(doc, found, path.0.len()))
}

fn entry(doc: &impl ReadDoc, (value, id): (automerge::Value<'_>, ObjId), depth: usize) -> Value {
    match value {
        automerge::Value::Scalar(value) => scalar(&value),
        automerge::Value::Object(kind) => deep(doc, &id, kind, depth),
    }
}

fn deep(doc: &impl ReadDoc, id: &ObjId, kind: ObjType, depth: usize) -> Value {
    if depth > NESTING_DEPTH_MAX {
        return empty(kind);
    }
    match kind {
        ObjType::Text => Value::Text(doc.text(id).unwrap_or_default()),
        ObjType::List => {
            let length = doc.length(id);
            let items = (0..length).filter_map(|index| doc.get(id, index).ok().flatten());
            Value::List(items.map(|found| entry(doc, found, depth + 1)).collect())
        }
        ObjType::Map | ObjType::Table => {
            let keys: Vec<String> = doc.keys(id).collect();
            let pairs = keys.into_iter().filter_map(|key| {
                let found = doc.get(id, key.as_str()).ok().flatten()?;
                Some((key, entry(doc, found, depth + 1)))
            });
            Value::Map(pairs.collect())
        }
    }
}
