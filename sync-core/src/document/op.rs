//! Operations on a document, as apps give them and the journal keeps them.

use serde::{Deserialize, Serialize};

use crate::limits::{JOURNAL_BYTES_MAX, JOURNAL_OPERATIONS_MAX};
use crate::value::{Path, Step, Value};

/// Whether text inserted at the edge of a mark belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expand {
    /// At neither edge (a link).
    None,
    /// At the start.
    Before,
    /// At the end (bold).
    After,
    /// At both.
    Both,
}

/// One operation. An edit is one or more of them on one document, taken together or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Sets a key of a map, or replaces an element of a list.
    Put {
        /// The place.
        path: Path,
        /// What to set; maps, lists and texts within it become objects of their own.
        value: Value,
    },
    /// Inserts elements into a list, before the index that ends the path.
    Insert {
        /// The place.
        path: Path,
        /// What to insert.
        values: Vec<Value>,
    },
    /// Removes a key of a map, or an element of a list.
    Delete {
        /// The place.
        path: Path,
    },
    /// Replaces a part of a text. Positions count Unicode characters.
    Splice {
        /// The text.
        path: Path,
        /// Where.
        at: u64,
        /// How many characters go.
        delete: u64,
        /// What comes in their place.
        insert: String,
    },
    /// Marks a part of a text, or with the value null unmarks it.
    Mark {
        /// The text.
        path: Path,
        /// The first character.
        start: u64,
        /// The character behind the last.
        end: u64,
        /// The mark's name, for example `bold`.
        name: String,
        /// The mark's value; a scalar.
        value: Value,
        /// What happens at its edges.
        expand: Expand,
    },
    /// Adds to a counter.
    Increment {
        /// The counter.
        path: Path,
        /// How much, may be negative.
        by: i64,
    },
}

impl Op {
    /// The place that it works on.
    pub fn path(&self) -> &Path {
        match self {
            Self::Put { path, .. }
            | Self::Insert { path, .. }
            | Self::Delete { path }
            | Self::Splice { path, .. }
            | Self::Mark { path, .. }
            | Self::Increment { path, .. } => path,
        }
    }

    /// How many automerge operations it makes, at the most.
    pub fn cost(&self) -> u64 {
        match self {
            Self::Put { value, .. } => cost(value),
            Self::Insert { values, .. } => values.iter().map(cost).sum(),
            Self::Delete { .. } | Self::Increment { .. } => 1,
            Self::Splice { delete, insert, .. } => delete.saturating_add(insert.chars().count() as u64),
            Self::Mark { .. } => 2,
        }
    }

    /// Bytes that it brings into the document.
    pub fn bytes(&self) -> usize {
        self.name_bytes()
            + match self {
                Self::Put { value, .. } | Self::Mark { value, .. } => bytes(value),
                Self::Insert { values, .. } => values.iter().map(bytes).sum(),
                Self::Splice { insert, .. } => insert.len(),
                Self::Delete { .. } | Self::Increment { .. } => 8,
            }
    }

    /// The key or the mark's name, which the operation carries with it. Objects further up are named by short ids.
    fn name_bytes(&self) -> usize {
        match self {
            Self::Mark { name, .. } => name.len(),
            Self::Put { path, .. } | Self::Delete { path } | Self::Increment { path, .. } => match path.0.last() {
                Some(Step::Key(key)) => key.len(),
                _ => 0,
            },
            Self::Insert { .. } | Self::Splice { .. } => 0,
        }
    }

    /// The largest single string, byte value or key in it, which no seal can split; texts can be.
    pub(super) fn value_bytes_max(&self) -> usize {
        let mut largest = self.name_bytes();
        let mut stack: Vec<&Value> = match self {
            Self::Put { value, .. } | Self::Mark { value, .. } => vec![value],
            Self::Insert { values, .. } => values.iter().collect(),
            Self::Delete { .. } | Self::Splice { .. } | Self::Increment { .. } => Vec::new(),
        };
        while let Some(value) = stack.pop() {
            match value {
                Value::Map(map) => {
                    largest = map.keys().map(String::len).fold(largest, usize::max);
                    stack.extend(map.values());
                }
                Value::List(list) => stack.extend(list),
                Value::Str(text) => largest = largest.max(text.len()),
                Value::Bytes(bytes) => largest = largest.max(bytes.len()),
                _ => {}
            }
        }
        largest
    }

    /// The same in pieces that each fit a change, however much the operation brings.
    pub(super) fn pieces(self) -> Vec<Self> {
        let mut out = Vec::new();
        if fits(self.cost(), self.bytes()) {
            out.push(self);
            return out;
        }
        match self {
            Self::Splice { path, at, delete, insert } => splice_pieces(&path, at, delete, &insert, &mut out),
            Self::Put { path, value } => put_pieces(path, value, &mut out),
            Self::Insert { path, values } => insert_pieces(&path, values, &mut out),
            small => out.push(small),
        }
        out
    }
}

/// Half of what seals a journal, so that a piece always fits behind a seal.
const PIECE_OPERATIONS_MAX: u64 = JOURNAL_OPERATIONS_MAX / 2;
/// The same in bytes; a single value may have more and is a piece of its own.
const PIECE_BYTES_MAX: usize = JOURNAL_BYTES_MAX / 2;

fn fits(cost: u64, bytes: usize) -> bool {
    cost <= PIECE_OPERATIONS_MAX && bytes <= PIECE_BYTES_MAX
}

fn cost(value: &Value) -> u64 {
    let mut total = 0u64;
    let mut stack = vec![value];
    while let Some(value) = stack.pop() {
        total = total.saturating_add(1);
        match value {
            Value::Map(map) => stack.extend(map.values()),
            Value::List(list) => stack.extend(list),
            Value::Text(text) => total = total.saturating_add(text.chars().count() as u64),
            _ => {}
        }
    }
    total
}

fn bytes(value: &Value) -> usize {
    let mut total = 0usize;
    let mut stack = vec![value];
    while let Some(value) = stack.pop() {
        total += match value {
            Value::Map(map) => {
                stack.extend(map.values());
                map.keys().map(String::len).sum()
            }
            Value::List(list) => {
                stack.extend(list);
                0
            }
            Value::Text(text) | Value::Str(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 8,
        };
    }
    total
}

fn splice_pieces(path: &Path, at: u64, mut delete: u64, insert: &str, out: &mut Vec<Op>) {
    while delete > 0 {
        let part = delete.min(PIECE_OPERATIONS_MAX);
        out.push(Op::Splice { path: path.clone(), at, delete: part, insert: String::new() });
        delete -= part;
    }
    let mut at = at;
    let mut part = String::new();
    let mut characters = 0;
    let mut flush = |part: &mut String, characters: &mut u64| {
        if *characters > 0 {
            out.push(Op::Splice { path: path.clone(), at, delete: 0, insert: std::mem::take(part) });
            at += std::mem::take(characters);
        }
    };
    for character in insert.chars() {
        part.push(character);
        characters += 1;
        if characters == PIECE_OPERATIONS_MAX {
            flush(&mut part, &mut characters);
        }
    }
    flush(&mut part, &mut characters);
}

/// Sets an empty object, then fills it.
fn put_pieces(path: Path, value: Value, out: &mut Vec<Op>) {
    if fits(cost(&value), bytes(&value)) {
        out.push(Op::Put { path, value });
    } else {
        out.push(Op::Put { path: path.clone(), value: empty(&value) });
        fill_pieces(path, value, out);
    }
}

/// The object without what is in it; a scalar as it is.
fn empty(value: &Value) -> Value {
    match value {
        Value::Text(_) => Value::Text(String::new()),
        Value::List(_) => Value::List(Vec::new()),
        Value::Map(_) => Value::Map(std::collections::BTreeMap::new()),
        scalar => scalar.clone(),
    }
}

fn fill_pieces(path: Path, value: Value, out: &mut Vec<Op>) {
    match value {
        Value::Text(text) => splice_pieces(&path, 0, 0, &text, out),
        Value::List(values) => insert_pieces(&path.join(0u64), values, out),
        Value::Map(map) => map.into_iter().for_each(|(key, value)| put_pieces(path.join(key), value, out)),
        _ => {}
    }
}

fn insert_pieces(path: &Path, values: Vec<Value>, out: &mut Vec<Op>) {
    let Some((Step::Index(first), list)) = path.0.split_last() else {
        out.push(Op::Insert { path: path.clone(), values });
        return;
    };
    let place = |index: u64| Path(list.to_vec()).join(index);
    let mut index = *first;
    let mut part = Vec::new();
    let (mut part_cost, mut part_bytes) = (0, 0);
    for value in values {
        let (value_cost, value_bytes) = (cost(&value), bytes(&value));
        if !part.is_empty() && !fits(part_cost + value_cost, part_bytes + value_bytes) {
            let full = std::mem::take(&mut part);
            let count = full.len() as u64;
            out.push(Op::Insert { path: place(index), values: full });
            index += count;
            (part_cost, part_bytes) = (0, 0);
        }
        if fits(value_cost, value_bytes) {
            part_cost += value_cost;
            part_bytes += value_bytes;
            part.push(value);
        } else if matches!(value, Value::Map(_) | Value::List(_) | Value::Text(_)) {
            out.push(Op::Insert { path: place(index), values: vec![empty(&value)] });
            fill_pieces(place(index), value, out);
            index += 1;
        } else {
            out.push(Op::Insert { path: place(index), values: vec![value] });
            index += 1;
        }
    }
    if !part.is_empty() {
        out.push(Op::Insert { path: place(index), values: part });
    }
}

/// Operations as the journal keeps them: msgpack without field names.
pub fn encode_ops(ops: &[Op]) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec(ops)
}

/// Reads what [`encode_ops`] wrote.
pub fn decode_ops(bytes: &[u8]) -> Result<Vec<Op>, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}
