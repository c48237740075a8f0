//! Random edits that are possible in a document as it is.

use std::collections::BTreeMap;

use serde_bytes::ByteBuf;
use sync_core::document::{Expand, Op};
use sync_core::value::{Path, Value};

use crate::rng::Rng;

/// Something in a document that an edit can work on.
enum Place {
    Map(Path, Vec<String>),
    List(Path, usize),
    Text(Path, usize),
    Counter(Path),
}

fn places(path: &Path, value: &Value, out: &mut Vec<Place>) {
    match value {
        Value::Map(map) => {
            out.push(Place::Map(path.clone(), map.keys().cloned().collect()));
            for (key, value) in map {
                places(&path.join(key.as_str()), value, out);
            }
        }
        Value::List(list) => {
            out.push(Place::List(path.clone(), list.len()));
            list.iter().enumerate().for_each(|(index, value)| places(&path.join(index), value, out));
        }
        Value::Text(text) => out.push(Place::Text(path.clone(), text.chars().count())),
        Value::Counter(_) => out.push(Place::Counter(path.clone())),
        _ => {}
    }
}

pub fn scalar(rng: &mut Rng) -> Value {
    match rng.below(9) {
        0 => Value::Null,
        1 => Value::Bool(rng.chance(50)),
        2 => Value::Int(rng.next().cast_signed()),
        3 => Value::Uint(rng.next()),
        4 => Value::Float(rng.below(1000) as f64 / 8.0),
        5 => Value::Bytes(ByteBuf::from(vec![rng.next() as u8; rng.below(20)])),
        6 => Value::Counter(rng.below(100) as i64),
        7 => Value::Timestamp(rng.below(1 << 40) as i64),
        _ => Value::Str(words(rng)),
    }
}

pub fn words(rng: &mut Rng) -> String {
    (0..rng.below(4)).map(|_| *rng.pick(&["milk", " ", "Grüße", "👩‍👧", "e\u{301}", "\n"])).collect()
}

/// A value with at most `depth` levels of objects.
pub fn value(rng: &mut Rng, depth: usize) -> Value {
    match rng.below(if depth == 0 { 4 } else { 7 }) {
        0..4 => scalar(rng),
        4 => Value::Text(words(rng)),
        5 => Value::List((0..rng.below(4)).map(|_| value(rng, depth - 1)).collect()),
        _ => Value::Map((0..rng.below(4)).map(|at| (format!("k{at}"), value(rng, depth - 1))).collect()),
    }
}

/// One operation that is possible where the root holds `root`.
pub fn op(root: &Value, rng: &mut Rng) -> Op {
    let mut all = Vec::new();
    places(&Path::root(), root, &mut all);
    let place = all.swap_remove(rng.below(all.len()));
    match place {
        Place::Counter(path) => Op::Increment { path, by: rng.below(9) as i64 - 4 },
        Place::Map(path, keys) if !keys.is_empty() && rng.chance(20) => {
            Op::Delete { path: path.join(rng.pick(&keys).as_str()) }
        }
        Place::Map(path, _) => Op::Put { path: path.join(format!("k{}", rng.below(5))), value: value(rng, 2) },
        Place::List(path, length) if length > 0 && rng.chance(25) => Op::Delete { path: path.join(rng.below(length)) },
        Place::List(path, length) if length > 0 && rng.chance(30) => {
            Op::Put { path: path.join(rng.below(length)), value: value(rng, 1) }
        }
        Place::List(path, length) => Op::Insert {
            path: path.join(rng.below(length + 1)),
            values: (0..=rng.below(3)).map(|_| value(rng, 1)).collect(),
        },
        Place::Text(path, length) => {
            let at = rng.below(length + 1);
            let count = rng.below((length - at).min(6) + 1) as u64;
            let at = at as u64;
            if rng.chance(15) {
                let value = if rng.chance(30) { Value::Null } else { Value::Bool(true) };
                let expand = *rng.pick(&[Expand::None, Expand::Before, Expand::After, Expand::Both]);
                return Op::Mark { path, start: at, end: at + count, name: "bold".into(), value, expand };
            }
            let insert = if rng.chance(20) { String::new() } else { words(rng) };
            Op::Splice { path, at, delete: if rng.chance(50) { count } else { 0 }, insert }
        }
    }
}

/// A document's beginning with something of each kind in it.
pub fn beginning() -> Vec<Op> {
    let put = |key: &str, value| Op::Put { path: key.into(), value };
    vec![
        put("text", Value::Text("some text".into())),
        put("list", Value::List(vec![1i64.into(), "two".into(), Value::Counter(3)])),
        put("map", Value::Map(BTreeMap::from([("inner".to_owned(), Value::Map(BTreeMap::new()))]))),
        put("hits", Value::Counter(0)),
    ]
}
