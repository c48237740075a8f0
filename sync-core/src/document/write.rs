//! Writing operations into an open automerge transaction.

use automerge::marks::{ExpandMark, Mark};
use automerge::transaction::Transactable;
use automerge::{AutomergeError, ObjId, ObjType, ScalarValue};

use super::op::{Expand, Op};
use super::read;
use crate::limits::{EDIT_OPERATIONS_MAX, NESTING_DEPTH_MAX};
use crate::value::{Path, Step, Value};

/// An edit that was not made. The document is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It has no operations.
    #[error("the edit has no operations")]
    Empty,
    /// It has more operations than one edit may have.
    #[error("the edit has {operations} operations, at most {EDIT_OPERATIONS_MAX} are allowed: split it")]
    TooLarge {
        /// How many it has.
        operations: u64,
    },
    /// A single string or byte value is too large to travel in one change.
    #[error("a value of {bytes} bytes is too large for one property: use a text, or split it")]
    ValueTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It nests objects deeper than a document may.
    #[error("objects may be nested at most {NESTING_DEPTH_MAX} deep")]
    TooDeep,
    /// Nothing, or something of another type, is at the path.
    #[error("there is no {expected} at {path}")]
    NotFound {
        /// What the operation works on.
        expected: &'static str,
        /// Where it was looked for.
        path: Path,
    },
    /// The index lies behind the end.
    #[error("index {index} is beyond the end of {path}, which has {length}")]
    OutOfRange {
        /// The list or text.
        path: Path,
        /// The index asked for.
        index: u64,
        /// How many elements or characters there are.
        length: u64,
    },
    /// automerge refused the operation.
    #[error("the operation at {path} is not possible")]
    Refused {
        /// Where.
        path: Path,
    },
    /// The document must be loaded again before it can be edited.
    #[error("the document must be loaded again")]
    Lost,
}

/// Applies one operation; on an error the transaction may hold a part of it.
pub(super) fn write(tx: &mut impl Transactable, op: &Op) -> Result<(), EditError> {
    let path = op.path();
    let refused = |_: AutomergeError| EditError::Refused { path: path.clone() };
    match op {
        Op::Put { value, .. } => {
            let (object, step) = place(tx, path)?;
            put(tx, &object, step, value).map_err(refused)
        }
        Op::Insert { values, .. } => {
            let (object, step) = place(tx, path)?;
            let (Step::Index(first), ObjType::List) = (step, object.1) else {
                return Err(EditError::NotFound { expected: "list", path: path.clone() });
            };
            for (value, index) in values.iter().zip(*first as usize..) {
                insert(tx, &object.0, index, value).map_err(refused)?;
            }
            Ok(())
        }
        Op::Delete { .. } => {
            let (object, step) = place(tx, path)?;
            if read::value(tx, path).is_none() {
                return Err(EditError::NotFound { expected: "value", path: path.clone() });
            }
            match step {
                Step::Key(key) => tx.delete(&object.0, key.as_str()),
                Step::Index(index) => tx.delete(&object.0, *index as usize),
            }
            .map_err(refused)
        }
        Op::Splice { at, delete, insert, .. } => {
            let text = text(tx, path, at.saturating_add(*delete))?;
            let delete = isize::try_from(*delete).unwrap_or(isize::MAX);
            tx.splice_text(&text, *at as usize, delete, insert).map_err(refused)
        }
        Op::Mark { start, end, name, value, expand, .. } => {
            let text = text(tx, path, *end)?;
            if start > end {
                return Err(EditError::OutOfRange { path: path.clone(), index: *start, length: *end });
            }
            let expand = match expand {
                Expand::None => ExpandMark::None,
                Expand::Before => ExpandMark::Before,
                Expand::After => ExpandMark::After,
                Expand::Both => ExpandMark::Both,
            };
            let Some(value) = scalar(value) else {
                return Err(EditError::Refused { path: path.clone() });
            };
            if value.is_null() {
                tx.unmark(&text, name, *start as usize, *end as usize, expand).map_err(refused)
            } else {
                let mark = Mark::new(name.clone(), value, *start as usize, *end as usize);
                tx.mark(&text, mark, expand).map_err(refused)
            }
        }
        Op::Increment { by, .. } => {
            let (object, step) = place(tx, path)?;
            if !matches!(read::value(tx, path), Some(Value::Counter(_))) {
                return Err(EditError::NotFound { expected: "counter", path: path.clone() });
            }
            match step {
                Step::Key(key) => tx.increment(&object.0, key.as_str(), *by),
                Step::Index(index) => tx.increment(&object.0, *index as usize, *by),
            }
            .map_err(refused)
        }
    }
}

/// The object above the last step, and that step, which must fit the object.
fn place<'p>(tx: &impl Transactable, path: &'p Path) -> Result<((ObjId, ObjType), &'p Step), EditError> {
    let missing = |expected| EditError::NotFound { expected, path: path.clone() };
    let (step, above) = path.0.split_last().ok_or_else(|| missing("property"))?;
    let object = read::object(tx, above).ok_or_else(|| missing("object"))?;
    match (step, object.1) {
        (Step::Key(_), ObjType::Map | ObjType::Table) => Ok((object, step)),
        (Step::Index(index), ObjType::List) => {
            let length = tx.length(&object.0) as u64;
            if *index > length {
                return Err(EditError::OutOfRange { path: Path(above.to_vec()), index: *index, length });
            }
            Ok((object, step))
        }
        _ => Err(missing("property")),
    }
}

fn text(tx: &impl Transactable, path: &Path, end: u64) -> Result<ObjId, EditError> {
    match read::object(tx, &path.0) {
        Some((id, ObjType::Text)) => {
            let length = tx.length(&id) as u64;
            if end > length {
                return Err(EditError::OutOfRange { path: path.clone(), index: end, length });
            }
            Ok(id)
        }
        _ => Err(EditError::NotFound { expected: "text", path: path.clone() }),
    }
}

fn scalar(value: &Value) -> Option<ScalarValue> {
    Some(match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::Boolean(*value),
        Value::Int(value) => ScalarValue::Int(*value),
        Value::Uint(value) => ScalarValue::Uint(*value),
        Value::Float(value) => ScalarValue::F64(*value),
        Value::Str(text) => ScalarValue::Str(text.as_str().into()),
        Value::Bytes(bytes) => ScalarValue::Bytes(bytes.to_vec()),
        Value::Counter(value) => ScalarValue::counter(*value),
        Value::Timestamp(ms) => ScalarValue::Timestamp(*ms),
        Value::Map(_) | Value::List(_) | Value::Text(_) => return None,
    })
}

fn kind(value: &Value) -> ObjType {
    match value {
        Value::List(_) => ObjType::List,
        Value::Text(_) => ObjType::Text,
        _ => ObjType::Map,
    }
}

fn put(
    tx: &mut impl Transactable,
    object: &(ObjId, ObjType),
    step: &Step,
    value: &Value,
) -> Result<(), AutomergeError> {
    let prop: automerge::Prop = match step {
        Step::Key(key) => key.as_str().into(),
        Step::Index(index) => (*index as usize).into(),
    };
    if let Some(scalar) = scalar(value) {
        return tx.put(&object.0, prop, scalar);
    }
    let made = tx.put_object(&object.0, prop, kind(value))?;
    fill(tx, &made, value)
}

fn insert(tx: &mut impl Transactable, list: &ObjId, index: usize, value: &Value) -> Result<(), AutomergeError> {
    if let Some(scalar) = scalar(value) {
        return tx.insert(list, index, scalar);
    }
    let made = tx.insert_object(list, index, kind(value))?;
    fill(tx, &made, value)
}

/// Recursion is bounded by [`NESTING_DEPTH_MAX`], which every edit is checked against first.
fn fill(tx: &mut impl Transactable, made: &ObjId, value: &Value) -> Result<(), AutomergeError> {
    match value {
        Value::Text(text) if !text.is_empty() => tx.splice_text(made, 0, 0, text),
        Value::List(values) => values.iter().enumerate().try_for_each(|(index, value)| insert(tx, made, index, value)),
        Value::Map(map) => {
            let object = (made.clone(), ObjType::Map);
            map.iter().try_for_each(|(key, value)| put(tx, &object, &Step::Key(key.clone()), value))
        }
        _ => Ok(()),
    }
}
