//! Hostile change chunks for tests and fuzzing: small bytes with valid checksums that hurt whoever trusts them.

use automerge::legacy::{ElementId, Key, MarkData, ObjectId, Op, OpId, OpType, SortedVec};
use automerge::{ActorId, ExpandedChange, ObjType};

use crate::chunk::{MAGIC, TYPE_AT};
use crate::guard::{self, Guarded};
use crate::id::{Actor, Hash};
use crate::leb128;
use crate::strip::frame;

/// A change of about a hundred bytes that claims to put null under one key that many times: ten million of them cost
/// automerge 94 s and 4.4 GiB.
pub fn huge_claim(actor: Actor, operations: u64) -> Vec<u8> {
    repeated_key(actor, "k", operations)
}

/// One key, said once and repeated by a run length: automerge copies it for each operation.
pub fn repeated_key(actor: Actor, key: &str, operations: u64) -> Vec<u8> {
    let run = |value: &[u8]| [signed(operations.cast_signed()), value.to_vec()].concat();
    let mut text = Vec::new();
    leb128::write(&mut text, key.len() as u64);
    text.extend_from_slice(key.as_bytes());
    let mut falses = Vec::new();
    leb128::write(&mut falses, operations);
    // Key, insert, action (put), type of value (null), number of predecessors.
    columns(actor, &[(0x15, run(&text)), (0x34, falses), (0x42, run(&[1])), (0x56, run(&[0])), (0x70, run(&[0]))])
}

/// A first change of `actor` with these columns and a valid checksum.
pub fn columns(actor: Actor, columns: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut data = data(actor, &[], 1, 1);
    leb128::write(&mut data, columns.len() as u64);
    for (spec, bytes) in columns {
        leb128::write(&mut data, *spec);
        leb128::write(&mut data, bytes.len() as u64);
    }
    data.extend(columns.iter().flat_map(|(_, bytes)| bytes));
    framed(&data)
}

/// A change without operations, upon any changes whatever.
pub fn header(actor: Actor, deps: &[Hash], seq: u64, start_op: u64) -> Vec<u8> {
    let mut data = data(actor, deps, seq, start_op);
    data.push(0);
    framed(&data)
}

/// A chunk's data up to its columns: no time, no message, no other actors.
fn data(actor: Actor, deps: &[Hash], seq: u64, start_op: u64) -> Vec<u8> {
    let mut data = Vec::new();
    leb128::write(&mut data, deps.len() as u64);
    data.extend(deps.iter().flat_map(|dep| dep.0));
    data.push(actor.as_bytes().len() as u8);
    data.extend_from_slice(actor.as_bytes());
    leb128::write(&mut data, seq);
    leb128::write(&mut data, start_op);
    data.extend_from_slice(&[0, 0, 0]);
    data
}

/// Any bytes whatever in a change chunk's frame with a valid checksum.
pub fn framed(data: &[u8]) -> Vec<u8> {
    frame(data).0
}

/// A compressed change around bytes that the caller has deflated: 255 KiB inflate to 772 MiB.
pub fn compressed(deflated: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[0; 4]);
    bytes.push(2);
    leb128::write(&mut bytes, deflated.len() as u64);
    bytes.extend_from_slice(deflated);
    rechecksum(&mut bytes);
    bytes
}

/// One change that makes a map in the root, a map in that map, and so on.
pub fn nested(actor: Actor, depth: usize) -> Vec<u8> {
    let author = ActorId::from(actor);
    let operations = (0..depth as u64)
        .map(|at| Op {
            action: OpType::Make(ObjType::Map),
            obj: if at == 0 { ObjectId::Root } else { ObjectId::Id(OpId::new(at, &author)) },
            key: Key::Map("m".into()),
            pred: SortedVec::new(),
            insert: false,
        })
        .collect();
    change(actor, operations)
}

/// The author of a change goes on: so many maps more, in what its last operation made.
pub fn deeper(before: &[u8], levels: u64) -> Vec<u8> {
    let before = guard::inspect(before).expect("a change to go on from");
    let (author, last) = (ActorId::from(before.actor), before.max_op());
    let make = |at| Op {
        action: OpType::Make(ObjType::Map),
        obj: ObjectId::Id(OpId::new(last + at, &author)),
        key: Key::Map("m".into()),
        pred: SortedVec::new(),
        insert: false,
    };
    next(&before, (0..levels).map(make).collect())
}

/// The author of a change goes on: counts up, under a key, what no counter is.
pub fn misplaced_increment(before: &[u8], key: &str, pred: u64) -> Vec<u8> {
    let before = guard::inspect(before).expect("a change to go on from");
    let author = ActorId::from(before.actor);
    let op = Op {
        action: OpType::Increment(1),
        obj: ObjectId::Root,
        key: Key::Map(key.into()),
        pred: SortedVec::from(vec![OpId::new(pred, &author)]),
        insert: false,
    };
    next(&before, vec![op])
}

/// The author of a change goes on with any operations whatever.
fn next(before: &Guarded, operations: Vec<Op>) -> Vec<u8> {
    let expanded = ExpandedChange {
        operations,
        actor_id: before.actor.into(),
        hash: None,
        seq: before.seq + 1,
        start_op: std::num::NonZeroU64::MIN.saturating_add(before.max_op()),
        time: 0,
        message: None,
        deps: vec![before.hash.into()],
        extra_bytes: Vec::new(),
        author: None,
    };
    automerge::Change::from(expanded).raw_bytes().to_vec()
}

/// One change that lays so many overlapping marks over one letter.
pub fn marks(actor: Actor, count: u64) -> Vec<u8> {
    let author = ActorId::from(actor);
    let id = |counter| OpId::new(counter, &author);
    let op = |action, obj, key, insert| Op { action, obj, key, pred: SortedVec::new(), insert };
    let insert = |action, key| op(action, ObjectId::Id(id(1)), key, true);
    let mut operations = vec![
        op(OpType::Make(ObjType::Text), ObjectId::Root, Key::Map("text".into()), false),
        insert(OpType::Put("x".into()), Key::head()),
    ];
    for number in 0..count {
        let name = number.to_string().as_str().into();
        let begin = OpType::MarkBegin(MarkData { name, value: true.into(), expand: false });
        operations.push(insert(begin, Key::head()));
        operations.push(insert(OpType::MarkEnd(false), Key::Seq(ElementId::Id(id(2)))));
    }
    change(actor, operations)
}

/// A first change of `actor` with any operations whatever, in automerge's own encoding.
pub fn change(actor: Actor, operations: Vec<Op>) -> Vec<u8> {
    let expanded = ExpandedChange {
        operations,
        actor_id: actor.into(),
        hash: None,
        seq: 1,
        start_op: std::num::NonZeroU64::MIN,
        time: 0,
        message: None,
        deps: Vec::new(),
        extra_bytes: Vec::new(),
        author: None,
    };
    automerge::Change::from(expanded).raw_bytes().to_vec()
}

/// The same change under another author.
pub fn forged(change: &automerge::Change, actor: Actor) -> Vec<u8> {
    let mut expanded = change.decode();
    let (author, forger) = (expanded.actor_id.clone(), ActorId::from(actor));
    let rename = |id: &mut OpId| {
        if id.1 == author {
            id.1 = forger.clone();
        }
    };
    for op in &mut expanded.operations {
        if let ObjectId::Id(id) = &mut op.obj {
            rename(id);
        }
        if let Key::Seq(ElementId::Id(id)) = &mut op.key {
            rename(id);
        }
        let mut pred: Vec<OpId> = op.pred.iter().cloned().collect();
        pred.iter_mut().for_each(rename);
        op.pred = pred.into();
    }
    expanded.actor_id = forger;
    automerge::Change::from(expanded).raw_bytes().to_vec()
}

/// All but the last bytes.
pub fn truncated(bytes: &[u8], missing: usize) -> Vec<u8> {
    bytes[..bytes.len().saturating_sub(missing)].to_vec()
}

/// With a checksum that is not the hash's.
pub fn bad_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.get_mut(MAGIC.len()) {
        *byte ^= 1;
    }
    bytes
}

/// Makes the checksum valid again after a mutation; does nothing to what is too short to have one.
pub fn rechecksum(bytes: &mut [u8]) {
    if bytes.len() > TYPE_AT {
        let hash = Hash::of(&[&bytes[TYPE_AT..]]);
        bytes[MAGIC.len()..TYPE_AT].copy_from_slice(&hash.0[..4]);
    }
}

/// Signed LEB128.
pub fn signed(mut value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    while !(-0x40..0x40).contains(&value) {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8 & 0x7f);
    out
}
