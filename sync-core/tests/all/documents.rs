//! Documents: every operation, failed edits, seals, replay, poisonous changes.

use std::collections::BTreeMap;

use automerge::legacy::{Key, ObjectId, Op as LegacyOp, OpId, OpType, SortedVec};
use automerge::{ActorId, Change, ExpandedChange, ScalarValue};
use proptest::prelude::*;
use serde_bytes::ByteBuf;
use sync_core::document::{Document, DocumentError, EditError, Expand, Op, Sealed};
use sync_core::guard;
use sync_core::id::Hash;
use sync_core::limits::{JOURNAL_INCREMENTS_MAX, JOURNAL_OPERATIONS_MAX, NESTING_DEPTH_MAX};
use sync_core::path;
use sync_core::value::{Path, Value};

use crate::cases::{actor, cases};
use crate::edits;
use crate::rng::Rng;

fn put(path: impl Into<Path>, value: impl Into<Value>) -> Op {
    Op::Put { path: path.into(), value: value.into() }
}

fn splice(at: u64, delete: u64, insert: &str) -> Op {
    Op::Splice { path: "text".into(), at, delete, insert: insert.into() }
}

fn begun(number: u8) -> Document {
    let mut document = Document::new(actor(number));
    document.edit(edits::beginning(), &mut || 1).unwrap();
    document
}

fn root(document: &Document) -> Value {
    document.get(Path::root()).unwrap()
}

#[test]
fn every_operation_does_what_it_says() {
    let list = |values: Vec<Value>| Value::List(values);
    let mark = |value: Value, end| Op::Mark {
        path: "text".into(),
        start: 0,
        end,
        name: "bold".into(),
        value,
        expand: Expand::After,
    };
    let table: Vec<(Op, Path, Option<Value>)> = vec![
        (put("a", Value::Null), "a".into(), Some(Value::Null)),
        (put("a", true), "a".into(), Some(Value::Bool(true))),
        (put("a", -5i64), "a".into(), Some(Value::Int(-5))),
        (put("a", u64::MAX), "a".into(), Some(Value::Uint(u64::MAX))),
        (put("a", 0.5), "a".into(), Some(Value::Float(0.5))),
        (put("a", "str"), "a".into(), Some(Value::Str("str".into()))),
        (put("a", Value::Bytes(ByteBuf::from([1, 2]))), "a".into(), Some(Value::Bytes(ByteBuf::from([1, 2])))),
        (put("a", Value::Counter(9)), "a".into(), Some(Value::Counter(9))),
        (put("a", Value::Timestamp(-1)), "a".into(), Some(Value::Timestamp(-1))),
        (put("a", Value::Text("grüß".into())), "a".into(), Some(Value::Text("grüß".into()))),
        (put("a", list(vec![1i64.into(), list(vec![])])), path!["a", 1], Some(list(vec![]))),
        (put(path!["map", "inner", "k"], 1i64), path!["map", "inner", "k"], Some(Value::Int(1))),
        (put(path!["list", 0], "new"), path!["list", 0], Some("new".into())),
        (put(path!["list", 1], Value::Text("t".into())), path!["list", 1], Some(Value::Text("t".into()))),
        (
            Op::Insert { path: path!["list", 3], values: vec![true.into(), list(vec![2i64.into()])] },
            path!["list", 4],
            Some(list(vec![2i64.into()])),
        ),
        (Op::Insert { path: path!["list", 0], values: vec!["first".into()] }, path!["list", 0], Some("first".into())),
        (Op::Delete { path: path!["map", "inner"] }, path!["map", "inner"], None),
        (Op::Delete { path: path!["list", 0] }, path!["list", 0], Some("two".into())),
        (splice(0, 4, "Grüße und"), "text".into(), Some(Value::Text("Grüße und text".into()))),
        (splice(9, 0, "👩‍👧"), "text".into(), Some(Value::Text("some text👩‍👧".into()))),
        (splice(0, 9, ""), "text".into(), Some(Value::Text(String::new()))),
        (splice(3, 0, ""), "text".into(), Some(Value::Text("some text".into()))),
        (mark(true.into(), 4), "text".into(), Some(Value::Text("some text".into()))),
        (mark(Value::Null, 4), "text".into(), Some(Value::Text("some text".into()))),
        (mark(true.into(), 0), "text".into(), Some(Value::Text("some text".into()))),
        (Op::Increment { path: "hits".into(), by: -7 }, "hits".into(), Some(Value::Counter(-7))),
        (Op::Increment { path: path!["list", 2], by: 2 }, path!["list", 2], Some(Value::Counter(5))),
    ];
    for (op, path, expected) in table {
        let mut document = begun(1);
        let said = format!("{op:?}");
        document.edit(vec![op], &mut || 2).unwrap();
        assert_eq!(document.get(&path), expected, "{said}");
        let sealed = document.seal(&mut || 3).unwrap();
        assert_eq!((sealed.edits, document.is_open()), (2, false), "{said}");
        let guarded = guard::inspect(&sealed.bytes).unwrap();
        guard::verify(&sealed.bytes, &guarded).unwrap();
        let (loaded, _) = Document::load(actor(2), None, &[&sealed.bytes]).unwrap();
        assert_eq!(root(&loaded), root(&document), "{said}");
        let (loaded, _) = Document::load(actor(2), Some(&document.save().unwrap()), &[] as &[Vec<u8>]).unwrap();
        assert_eq!(root(&loaded), root(&document), "{said}");
        assert_eq!(loaded.change_bytes(sealed.hash), Some(sealed.bytes), "{said}: its feed comes back byte for byte");
    }
}

fn impossible() -> Vec<Op> {
    vec![
        put(path!["nothing", "here"], 1i64),
        put(path!["list", "key"], 1i64),
        put(path!["map", 0], 1i64),
        put(path!["list", 99], 1i64),
        put(Path::root(), 1i64),
        put(path!["text", 0], "x"),
        Op::Insert { path: path!["list", 4], values: vec![1i64.into()] },
        Op::Insert { path: path!["map", "inner"], values: vec![1i64.into()] },
        Op::Delete { path: "nothing".into() },
        Op::Delete { path: path!["list", 3] },
        splice(10, 0, "x"),
        splice(0, 10, "x"),
        splice(u64::MAX, u64::MAX, "x"),
        Op::Splice { path: "list".into(), at: 0, delete: 0, insert: "x".into() },
        Op::Mark { path: "text".into(), start: 5, end: 4, name: "b".into(), value: true.into(), expand: Expand::Both },
        Op::Mark { path: "text".into(), start: 0, end: 99, name: "b".into(), value: true.into(), expand: Expand::Both },
        Op::Mark {
            path: "text".into(),
            start: 0,
            end: 1,
            name: "b".into(),
            value: Value::List(vec![]),
            expand: Expand::Both,
        },
        Op::Increment { path: "text".into(), by: 1 },
        Op::Increment { path: "nothing".into(), by: 1 },
    ]
}

#[test]
fn a_failed_edit_leaves_no_trace() {
    for wrong in impossible() {
        let mut document = begun(1);
        let mut twin = begun(1);
        let before = root(&document);
        let edit = vec![put("a", 1i64), put("b", Value::Text("b".into())), wrong.clone(), put("c", 2i64)];
        let error = document.edit(edit, &mut || 2).unwrap_err();
        assert!(!document.is_lost() && document.is_open(), "{wrong:?}: {error}");
        assert_eq!(root(&document), before, "{wrong:?}");
        for side in [&mut document, &mut twin] {
            side.edit(vec![put("d", 3i64), splice(0, 1, "S")], &mut || 2).unwrap();
        }
        assert_eq!(document.seal(&mut || 3), twin.seal(&mut || 3), "{wrong:?}: the same bytes as without it");
        // On a sealed document too.
        let heads = document.heads();
        document.edit(vec![put("e", 1i64), wrong.clone()], &mut || 2).unwrap_err();
        assert_eq!((document.heads(), document.is_open(), document.seal(&mut || 4)), (heads, false, None), "{wrong:?}");
    }
    let mut document = begun(1);
    assert_eq!(document.edit(vec![], &mut || 2).unwrap_err(), EditError::Empty);
}

#[test]
fn a_failed_edit_behind_a_long_journal_leaves_no_trace() {
    let mut document = begun(1);
    let mut twin = begun(1);
    for side in [&mut document, &mut twin] {
        for at in 0..3_000 {
            assert!(side.edit(vec![splice(at, 0, "x")], &mut || 2).unwrap().sealed.is_empty());
        }
    }
    let wrong = vec![splice(0, 5, ""), put("a", 1i64), Op::Increment { path: "text".into(), by: 1 }];
    document.edit(wrong, &mut || 2).unwrap_err();
    assert_eq!(root(&document), root(&twin));
    let sealed = document.seal(&mut || 3).unwrap();
    assert_eq!(sealed.edits, 3_001);
    assert_eq!(Some(sealed), twin.seal(&mut || 3));
}

#[test]
fn a_failed_edit_that_was_sealed_in_part_sends_the_document_back_to_the_disk() {
    let mut document = begun(1);
    let wrong = vec![splice(0, 0, &"x".repeat(10_000)), Op::Increment { path: "text".into(), by: 1 }];
    document.edit(wrong, &mut || 2).unwrap_err();
    assert!(document.is_lost());
    assert_eq!(document.edit(vec![put("a", 1i64)], &mut || 2).unwrap_err(), EditError::Lost);
    assert_eq!(document.save().unwrap_err(), DocumentError::Lost);
    assert_eq!(document.apply(&[] as &[Vec<u8>]).unwrap_err(), DocumentError::Lost);
    assert_eq!((document.get(Path::root()), document.seal(&mut || 3)), (None, None));
}

#[test]
fn a_long_journal_seals_itself() {
    let mut document = Document::new(actor(1));
    document.edit(vec![put("text", Value::Text(String::new()))], &mut || 1).unwrap();
    let mut sealed: Vec<Sealed> = Vec::new();
    for at in 0..JOURNAL_OPERATIONS_MAX {
        sealed.extend(document.edit(vec![splice(at, 0, "x")], &mut || 2).unwrap().sealed);
    }
    assert_eq!(sealed.iter().map(|sealed| sealed.operations).collect::<Vec<_>>(), [JOURNAL_OPERATIONS_MAX, 1]);
    assert_eq!(sealed.iter().map(|sealed| sealed.edits).sum::<u64>(), JOURNAL_OPERATIONS_MAX + 1, "each edit once");
    assert!(!document.is_open());
    assert_eq!(document.length("text"), Some(JOURNAL_OPERATIONS_MAX));
}

#[test]
fn counters_seal_early() {
    let mut document = begun(1);
    document.seal(&mut || 1);
    let mut sealed: Vec<Sealed> = Vec::new();
    let count = 3 * JOURNAL_INCREMENTS_MAX + 10;
    for _ in 0..count {
        sealed.extend(document.edit(vec![Op::Increment { path: "hits".into(), by: 1 }], &mut || 2).unwrap().sealed);
    }
    sealed.extend(document.seal(&mut || 3));
    assert!(sealed.iter().all(|sealed| sealed.operations <= JOURNAL_INCREMENTS_MAX));
    assert_eq!(sealed.iter().map(|sealed| sealed.edits).sum::<u64>(), count);
    assert_eq!(document.get("hits"), Some(Value::Counter(count as i64)));
}

#[test]
fn nesting_is_refused_where_it_is_made() {
    let nested = |depth: usize| (0..depth).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    let mut document = Document::new(actor(1));
    // The root is the first level.
    document.edit(vec![put("deep", nested(NESTING_DEPTH_MAX - 1))], &mut || 1).unwrap();
    assert_eq!(document.get("deep"), Some(nested(NESTING_DEPTH_MAX - 1)));
    let sealed = document.seal(&mut || 1).unwrap();
    guard::verify(&sealed.bytes, &guard::inspect(&sealed.bytes).unwrap()).unwrap();
    for depth in [NESTING_DEPTH_MAX, 10_000] {
        // Taken apart by hand, as dropping it would overflow the stack as well.
        let mut value = nested(depth);
        let edit = vec![Op::Put { path: "more".into(), value: value.clone() }];
        assert_eq!(document.edit(edit, &mut || 1).unwrap_err(), EditError::TooDeep);
        while let Value::List(mut list) = value {
            value = list.pop().unwrap();
        }
    }
    let mut path = Path::from("deep");
    for _ in 0..NESTING_DEPTH_MAX - 1 {
        path = path.join(0u64);
    }
    document.edit(vec![put(path.clone(), 1i64)], &mut || 1).unwrap();
    assert_eq!(document.edit(vec![put(path, Value::List(vec![]))], &mut || 1).unwrap_err(), EditError::TooDeep);
}

/// A change by hand, upon others.
fn by_hand(number: u8, seq: u64, start_op: u64, deps: &[Hash], obj: ObjectId, key: Key) -> Vec<u8> {
    let op = LegacyOp { action: OpType::Put(ScalarValue::Int(1)), obj, key, pred: SortedVec::new(), insert: false };
    let expanded = ExpandedChange {
        operations: vec![op],
        actor_id: ActorId::from(actor(number)),
        hash: None,
        seq,
        start_op: start_op.try_into().unwrap(),
        time: 0,
        message: None,
        deps: deps.iter().map(|&hash| hash.into()).collect(),
        extra_bytes: Vec::new(),
        author: None,
    };
    Change::from(expanded).raw_bytes().to_vec()
}

fn hash(bytes: &[u8]) -> Hash {
    guard::inspect(bytes).unwrap().hash
}

#[test]
fn one_poisonous_change_is_left_out_with_what_was_made_upon_it() {
    let mut author = begun(1);
    let base = author.seal(&mut || 1).unwrap();
    let next = 1 + base.operations;
    let key = || Key::Map("k".into());
    let missing = ObjectId::Id(OpId::new(1_000, &ActorId::from(actor(1))));
    let poisons = [
        ("object that is not there", by_hand(7, 1, next, &[base.hash], missing, key())),
        ("sequence gap", by_hand(7, 5, next, &[base.hash], ObjectId::Root, key())),
    ];
    for (what, poison) in poisons {
        let upon = by_hand(8, 1, next + 1, &[hash(&poison)], ObjectId::Root, Key::Map("upon".into()));
        let upon_that = by_hand(9, 1, next + 2, &[hash(&upon)], ObjectId::Root, Key::Map("that".into()));
        let orphan = by_hand(10, 1, next, &[Hash([1; 32])], ObjectId::Root, Key::Map("orphan".into()));
        let good = by_hand(11, 1, next, &[base.hash], ObjectId::Root, Key::Map("good".into()));
        let better = by_hand(11, 2, next + 1, &[hash(&good)], ObjectId::Root, Key::Map("better".into()));
        let batch = [&base.bytes, &poison, &upon, &good, &upon_that, &orphan, &better];
        let mut document = Document::new(actor(2));
        let mut left_out = document.apply(&batch).unwrap().left_out;
        left_out.sort_unstable();
        let mut expected = [&poison, &upon, &upon_that, &orphan].map(|bytes| hash(bytes));
        expected.sort_unstable();
        assert_eq!(left_out, expected, "{what}");
        assert_eq!(document.heads(), [hash(&better)], "{what}");
        assert_eq!((document.get("good"), document.get("upon")), (Some(1i64.into()), None), "{what}");
        let (loaded, _) = Document::load(actor(3), Some(&document.save().unwrap()), &[] as &[Vec<u8>]).unwrap();
        assert_eq!(root(&loaded), root(&document), "{what}: it can be loaded again");
        // Once more, with nothing new in it.
        assert_eq!(document.apply(&[&good, &better]).unwrap().left_out, []);
    }
}

#[test]
fn only_a_sealed_document_takes_changes() {
    let mut document = begun(1);
    assert_eq!(document.apply(&[b"x"]).unwrap_err(), DocumentError::Unsealed);
    assert_eq!(document.save().unwrap_err(), DocumentError::Unsealed);
    assert_eq!(document.canonical_save().unwrap_err(), DocumentError::Unsealed);
    assert_eq!(document.copy().unwrap_err(), DocumentError::Unsealed);
    assert!(document.is_open(), "and its edits are still there");
    document.seal(&mut || 1).unwrap();
    assert_eq!(document.apply(&[b"x"]).unwrap().left_out.len(), 1);
    assert_eq!(Document::load(actor(1), Some(b"x"), &[] as &[Vec<u8>]).unwrap_err(), DocumentError::Snapshot);
}

proptest! {
    #![proptest_config(cases(200))]

    /// What a crash left in the journal, replayed on its base, is the change that would have been sealed.
    #[test]
    fn replay_gives_the_same_change(seed: u64, base in 0usize..12, journal in 1usize..20) {
        let mut rng = Rng(seed);
        let mut document = begun(1);
        let mut changes = vec![document.seal(&mut || 1).unwrap().bytes];
        for _ in 0..base {
            let op = edits::op(&root(&document), &mut rng);
            document.edit(vec![op], &mut || 2).unwrap();
            changes.push(document.seal(&mut || rng.next()).unwrap().bytes);
        }
        let mut written = Vec::new();
        for _ in 0..journal {
            let op = edits::op(&root(&document), &mut rng);
            written.push(op.clone());
            document.edit(vec![op], &mut || 2).unwrap();
        }
        let (mut again, _) = Document::load(actor(1), None, &changes).unwrap();
        for op in written {
            again.edit(vec![op], &mut || 2).unwrap();
        }
        prop_assert_eq!(root(&again), root(&document));
        prop_assert_eq!(again.seal(&mut || 5), document.seal(&mut || 5));
    }

    #[test]
    fn canonical_bytes_do_not_depend_on_the_order(seed: u64, count in 1usize..8) {
        let mut rng = Rng(seed);
        let mut first = begun(1);
        let base = first.seal(&mut || 1).unwrap().bytes;
        let mut branches: Vec<Vec<Vec<u8>>> = Vec::new();
        for number in 0..count as u8 {
            let (mut branch, _) = Document::load(actor(10 + number), None, &[&base]).unwrap();
            let mut changes = Vec::new();
            for _ in 0..=rng.below(3) {
                let op = edits::op(&root(&branch), &mut rng);
                branch.edit(vec![op], &mut || 2).unwrap();
                changes.push(branch.seal(&mut || rng.next()).unwrap().bytes);
            }
            branches.push(changes);
        }
        let mut seen: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
        for number in 0..3 {
            let mut left: Vec<_> = branches.iter().map(|branch| branch.iter()).collect();
            let (mut document, _) = Document::load(actor(100 + number), None, &[&base]).unwrap();
            while !left.is_empty() {
                let at = rng.below(left.len());
                match left[at].next() {
                    Some(bytes) => assert_eq!(document.apply(&[bytes]).unwrap().left_out, []),
                    None => drop(left.remove(at)),
                }
            }
            seen.insert(document.canonical_save().unwrap(), root(&document));
        }
        prop_assert_eq!(seen.len(), 1);
    }
}

/// A map of 100 fields of all kinds, with what is in it.
fn hundred(document: &mut Document) {
    let mut fields = BTreeMap::new();
    for number in 0..100i64 {
        let value = match number % 10 {
            0 => Value::Str(format!("a \"quoted\" word\n{number}")),
            1 => Value::Int(-number),
            2 => Value::Uint(u64::MAX),
            3 => Value::Float(if number == 3 { f64::NAN } else { 0.1 }),
            4 => Value::Bytes(ByteBuf::from([1, 2, 3])),
            5 => Value::Counter(number),
            6 => Value::Timestamp(number),
            7 => Value::List(vec![Value::Null, true.into(), Value::Text("grüße".into())]),
            8 => Value::Map(BTreeMap::from([("~/".into(), Value::List(vec![])), (String::new(), "x".into())])),
            _ => Value::Text(format!("text {number}")),
        };
        fields.insert(format!("field {number}"), value);
    }
    let puts = fields.into_iter().map(|(key, value)| put(key, value)).collect();
    document.edit(puts, &mut || 1).unwrap();
}

#[test]
fn json_is_what_the_values_are_also_after_edits_conflicts_and_deletions() {
    let mut document = begun(1);
    hundred(&mut document);
    let base = document.seal(&mut || 1).unwrap().bytes;
    let mut other = Document::load(actor(2), None, std::slice::from_ref(&base)).unwrap().0;
    for (number, document) in [(1i64, &mut document), (2, &mut other)] {
        let ops = vec![
            put("field 0", number),
            Op::Increment { path: "field 5".into(), by: number },
            Op::Delete { path: path!["field 7", 0] },
            Op::Insert { path: path!["field 7", 2], values: vec![number.into(), Value::Map(BTreeMap::new())] },
            Op::Splice { path: "field 9".into(), at: 0, delete: 2, insert: number.to_string() },
            Op::Delete { path: format!("field {}", 10 + number).into() },
        ];
        document.edit(ops, &mut || 2).unwrap();
    }
    let theirs = other.seal(&mut || 3).unwrap().bytes;
    let open = document.json(Path::root()).unwrap();
    document.seal(&mut || 3).unwrap();
    assert_eq!(document.json(Path::root()).unwrap(), open);
    document.apply(&[theirs]).unwrap();

    let json = |document: &Document, path: Path| document.get(&path).map(|value| value.to_json().to_string());
    let Value::Map(fields) = root(&document) else { panic!("a map") };
    for (key, value) in &fields {
        assert_eq!(document.get(key.as_str()).as_ref().map(Value::to_json), Some(value.to_json()), "{key}");
        assert_eq!(document.json(key.as_str()), json(&document, key.as_str().into()), "{key}");
    }
    assert_eq!(fields["field 5"], Value::Counter(8));
    for path in [Path::root(), path!["field 7", 1], path!["field 8", ""], path!["field 7", 99], path!["field 0", "x"]] {
        assert_eq!(document.json(&path), json(&document, path));
    }
}

/// `cargo test --release -p sync-core -- --ignored --nocapture json_of_a_hundred_fields` says how long it takes.
#[test]
#[ignore = "measures; only the release build says anything"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn json_of_a_hundred_fields() {
    let mut document = begun(1);
    hundred(&mut document);
    for _ in 0..2 {
        for (name, read) in [
            (
                "json",
                &(|document: &Document| document.json(Path::root()).unwrap().len()) as &dyn Fn(&Document) -> usize,
            ),
            ("values", &|document| root(document).to_json().to_string().len()),
        ] {
            let began = std::time::Instant::now();
            let bytes: usize = (0..1000).map(|_| read(&document)).sum();
            println!("{name}: {:?} each, {} bytes", began.elapsed() / 1000, bytes / 1000);
        }
        document.seal(&mut || 2);
    }
}
