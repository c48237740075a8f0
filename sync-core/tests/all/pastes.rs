//! What is too large for one change is split into several, each of which every replica takes.

use sync_core::document::{Document, EditError, Expand, Op, Sealed};
use sync_core::guard;
use sync_core::limits::{CHANGE_BYTES_MAX, CHANGE_OPERATIONS_MAX, EDIT_OPERATIONS_MAX, JOURNAL_OPERATIONS_MAX};
use sync_core::path;
use sync_core::value::{Path, Value};

use crate::cases::actor;

/// Edits, and checks that others take what comes of it.
fn edited(ops: Vec<Op>) -> (Document, Vec<Sealed>) {
    let mut document = Document::new(actor(1));
    let mut sealed = document.edit(ops, &mut || 1).unwrap().sealed;
    sealed.extend(document.seal(&mut || 2));
    assert_eq!(sealed.iter().map(|sealed| sealed.edits).sum::<u64>(), 1);
    assert_eq!(sealed.last().unwrap().edits, 1, "the edit ends in its last change");
    for sealed in &sealed {
        let guarded = guard::inspect(&sealed.bytes).unwrap();
        guard::verify(&sealed.bytes, &guarded).unwrap();
        assert!(sealed.bytes.len() <= CHANGE_BYTES_MAX && sealed.operations <= CHANGE_OPERATIONS_MAX);
        assert!(sealed.operations <= JOURNAL_OPERATIONS_MAX, "{} operations", sealed.operations);
    }
    let bytes: Vec<&Vec<u8>> = sealed.iter().map(|sealed| &sealed.bytes).collect();
    let (other, applied) = Document::load(actor(2), None, &bytes).unwrap();
    assert_eq!(applied.left_out, []);
    assert!(other.get(Path::root()) == document.get(Path::root()));
    (document, sealed)
}

fn put(key: &str, value: Value) -> Op {
    Op::Put { path: key.into(), value }
}

#[test]
fn a_million_characters() {
    let text: String = "Grüße, 世界! ".chars().cycle().take(EDIT_OPERATIONS_MAX as usize - 1).collect();
    let insert = Op::Splice { path: "text".into(), at: 0, delete: 0, insert: text.clone() };
    let (mut document, sealed) = edited(vec![put("text", Value::Text(String::new())), insert]);
    assert!(document.text("text") == Some(text));
    assert!((240..500).contains(&sealed.len()), "{} changes", sealed.len());
    // And all of it away again.
    let delete = Op::Splice { path: "text".into(), at: 0, delete: EDIT_OPERATIONS_MAX - 1, insert: String::new() };
    document.edit(vec![delete], &mut || 3).unwrap();
    assert_eq!(document.text("text").as_deref(), Some(""));
    let more =
        Op::Splice { path: "text".into(), at: 0, delete: 0, insert: "x".repeat(EDIT_OPERATIONS_MAX as usize + 1) };
    let operations = EDIT_OPERATIONS_MAX + 1;
    assert_eq!(document.edit(vec![more], &mut || 3).unwrap_err(), EditError::TooLarge { operations });
}

#[test]
fn large_structures() {
    let numbers: Vec<Value> = (0..30_000i64).map(Value::from).collect();
    let lists: Vec<Value> = (0..20).map(|_| Value::List(numbers[..3_000].to_vec())).collect();
    let map = Value::Map((0..9_000i64).map(|key| (key.to_string(), key.into())).collect());
    let texts = Value::List(vec![Value::Text("x".repeat(9_000)), Value::Text("y".repeat(9_000))]);
    for value in [Value::List(numbers), Value::List(lists), map, texts] {
        let (document, _) = edited(vec![put("value", value.clone())]);
        assert!(document.get("value") == Some(value));
    }
}

/// A few operations, but many bytes.
#[test]
fn large_values() {
    let large = |at: u8| Value::Bytes(serde_bytes::ByteBuf::from(vec![at; 400_000]));
    let list = Value::List((0..8).map(large).collect());
    let map = Value::Map((0..8).map(|at| (format!("k{at}"), large(at))).collect());
    let small = Value::List((0..1_000).map(|_| Value::Str("x".repeat(3_000))).collect());
    let keys = Value::Map((0..8).map(|at| (format!("{at}").repeat(200_000), Value::Null)).collect());
    for value in [list, map, small, keys] {
        let (document, _) = edited(vec![put("value", value.clone())]);
        assert!(document.get("value") == Some(value));
    }
    let values: Vec<Value> = (0..8).map(large).collect();
    let (document, _) = edited(vec![put("list", Value::List(vec![])), Op::Insert { path: path!["list", 0], values }]);
    assert_eq!(document.length("list"), Some(8));
    let puts = (0..8).map(|at| put(&format!("k{at}"), large(at))).collect();
    edited(puts);
    let long_keys = (0..8).map(|at| put(&format!("{at}").repeat(300_000), Value::Null)).collect();
    edited(long_keys);
}

#[test]
fn one_value_that_no_change_could_hold() {
    let too_large = |ops: Vec<Op>| {
        let mut document = Document::new(actor(1));
        document.edit(vec![put("text", Value::Text("x".into()))], &mut || 1).unwrap();
        matches!(document.edit(ops, &mut || 1), Err(EditError::ValueTooLarge { .. }))
    };
    let long = "x".repeat(600_000);
    assert!(too_large(vec![put("k", Value::Str(long.clone()))]));
    assert!(too_large(vec![put("k", Value::List(vec![Value::Str(long.clone())]))]));
    assert!(too_large(vec![put(&long, Value::Null)]));
    assert!(too_large(vec![put("k", Value::Map([(long.clone(), Value::Null)].into()))]));
    let mark = Op::Mark { path: "text".into(), start: 0, end: 1, name: long, value: true.into(), expand: Expand::None };
    assert!(too_large(vec![mark]));
}
