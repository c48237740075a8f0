//! Frames come back as they were sent, and bytes that are no frame get an error: no panic, no memory beyond the bounds.

use std::panic::catch_unwind;

use proptest::prelude::*;
use serde_json::Value as Json;
use sync_core::batch::Batch;
use sync_core::code::RejectCode;
use sync_core::feed::{Body, ChangeId, FeedHead, Item, ItemKind, Run};
use sync_core::hostile;
use sync_core::id::{DocId, Hash};
use sync_core::limits::{BODY_BYTES_MAX, INFLATED_BYTES_MAX, PAGE_CHANGES_MAX, PAGE_INFLATED_BYTES_MAX};
use sync_core::log::{Header, Verdict};
use sync_core::wire::{
    Entries, FrameError, PageEntry, Runs, SCHEMA, SyncRequest, SyncResponse, decode, decode_json, encode, encode_json,
};

use crate::cases::{SPACE, actor, cases, device, doc};
use crate::golden::{Frame, changes, frames};
use crate::rng::Rng;

fn hash(rng: &mut Rng) -> Hash {
    Hash::of(&[&rng.next().to_be_bytes()])
}

fn some_doc(rng: &mut Rng) -> DocId {
    DocId::mint(rng.below(3) as u64, [rng.below(90) as u8; 10])
}

fn item(real: &[Item], rng: &mut Rng) -> Item {
    let doc = some_doc(rng);
    let mut item = match rng.below(8) {
        0 => Item::create(doc, "x".repeat(rng.below(9))),
        1 => Item::delete(doc),
        2 => Item::change(doc, hash(rng), (0..rng.below(60)).map(|_| rng.next() as u8).collect()),
        3 => {
            let kind = *rng.pick(&[ItemKind::Create, ItemKind::Change, ItemKind::Delete]);
            Item { doc, hash: hash(rng), body: Body::Void { kind, code: *rng.pick(RejectCode::ALL) } }
        }
        _ => Item { doc, ..rng.pick(real).clone() },
    };
    if rng.chance(10) {
        item.hash = hash(rng);
    }
    item
}

fn run(real: &[Item], rng: &mut Rng) -> Run {
    let base = FeedHead { n: rng.next() >> rng.below(64), chain: hash(rng) };
    Run { device: device(rng.below(4) as u8), base, items: (0..=rng.below(12)).map(|_| item(real, rng)).collect() }
}

fn entry(real: &[Item], rng: &mut Rng) -> PageEntry {
    let item = item(real, rng);
    let id = ChangeId { device: device(rng.below(80) as u8), n: (rng.next() >> rng.below(64)).min(u64::MAX - 1) };
    let (kind, doc) = (item.kind(), item.doc);
    let applied = Verdict::Applied;
    match item.body {
        Body::Void { code, .. } => {
            let hash = rng.chance(50).then_some(item.hash);
            PageEntry { id, kind, doc, verdict: Verdict::Rejected(code), hash, body: None }
        }
        _ if rng.chance(20) => PageEntry::own(&Header { id, kind, doc, hash: item.hash, verdict: applied }),
        body => PageEntry { id, kind, doc, verdict: applied, hash: Some(item.hash), body: Some(body) },
    }
}

/// The kinds of live frames, which stand around their fields.
const LIVE: [&str; 12] = [
    "hello",
    "sync",
    "unsubscribe",
    "presence",
    "token",
    "ping",
    "answer",
    "refused",
    "beat",
    "renewed",
    "token_expires",
    "pong",
];

/// A field that nobody knows, in each object of the frame in turn.
fn with_unknown_field(json: &Json, out: &mut Vec<Json>, rebuild: &dyn Fn(Json) -> Json) {
    match json {
        Json::Object(map) => {
            // An object of one key may be a variant, whose one key is its name.
            let variants = ["taken", "behind", "gap", "forked", "page", "diverged", "rejected"];
            let is_variant = |(key, value): (&String, &Json)| {
                variants.contains(&key.as_str()) || (LIVE.contains(&key.as_str()) && value.is_object())
            };
            if !map.iter().all(is_variant) || map.is_empty() {
                let mut more = map.clone();
                more.insert("of_tomorrow".to_owned(), Json::from(1));
                out.push(rebuild(Json::Object(more)));
            }
            for (key, value) in map {
                with_unknown_field(value, out, &|changed| {
                    let mut map = map.clone();
                    map.insert(key.clone(), changed);
                    rebuild(Json::Object(map))
                });
            }
        }
        Json::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                with_unknown_field(value, out, &|changed| {
                    let mut list = list.clone();
                    list[index] = changed;
                    rebuild(Json::Array(list))
                });
            }
        }
        _ => {}
    }
}

#[test]
fn an_unknown_field_is_refused_on_requests_and_ignored_on_responses() {
    for frame in frames() {
        let json: Json = serde_json::from_slice(&frame.json).unwrap();
        let mut extended = Vec::new();
        with_unknown_field(&json, &mut extended, &|json| json);
        assert!(!extended.is_empty());
        for json in extended {
            let understood = (frame.read)(&serde_json::to_vec(&json).unwrap(), true);
            let expected = (!frame.is_request).then_some(&frame.msgpack);
            assert_eq!(understood.as_ref(), expected, "{}: {json}", frame.name);
        }
        if frame.name.starts_with("live_") {
            // A kind and nothing else beside it.
            continue;
        }
        // The same in msgpack, where all frames are maps of a few fields.
        let mut msgpack = frame.msgpack.clone();
        assert_eq!(msgpack[0] & 0xf0, 0x80, "{}", frame.name);
        msgpack[0] += 1;
        msgpack.extend(b"\xa7unknown\x01");
        let expected = (!frame.is_request).then_some(&frame.msgpack);
        assert_eq!((frame.read)(&msgpack, false).as_ref(), expected, "{}", frame.name);
    }
}

fn read(frame: &Frame, bytes: &[u8], json: bool) -> Option<Vec<u8>> {
    catch_unwind(|| (frame.read)(bytes, json)).unwrap_or_else(|_| panic!("{} panics on {bytes:x?}", frame.name))
}

#[test]
fn every_truncation_and_every_wrong_byte() {
    for frame in frames() {
        for (bytes, json) in [(&frame.msgpack, false), (&frame.json, true)] {
            for end in 0..bytes.len() {
                assert_eq!(read(&frame, &bytes[..end], json), None, "{} cut at {end}", frame.name);
            }
            assert_eq!(read(&frame, &[bytes.as_slice(), &[0]].concat(), json), None, "{}: trailing", frame.name);
            let mut mutated = bytes.clone();
            for at in 0..bytes.len() {
                for mask in [1, 0x80, 0xff] {
                    mutated[at] ^= mask;
                    read(&frame, &mutated, json);
                    mutated[at] ^= mask;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn whatever_is_sent_arrives(seed: u64, count in 0usize..12) {
        let mut rng = Rng(seed);
        let real = changes();
        let push = SyncRequest { schema: SCHEMA, space: SPACE, push: Some(run(&real, &mut rng)), pull: None, snapshot: None };
        prop_assert_eq!(&decode::<SyncRequest>(&encode(&push).unwrap()).unwrap(), &push);
        prop_assert_eq!(&decode_json::<SyncRequest>(&encode_json(&push).unwrap()).unwrap(), &push);
        let mut runs: Vec<Run> = (0..count).map(|_| run(&real, &mut rng)).collect();
        for at in 1..runs.len() {
            if rng.chance(50) {
                (runs[at].device, runs[at].base) = (runs[at - 1].device, runs[at - 1].end());
            }
        }
        let batch = Batch { schema: SCHEMA, space: SPACE, runs: Runs(runs) };
        prop_assert_eq!(&decode::<Batch>(&encode(&batch).unwrap()).unwrap(), &batch);
        prop_assert_eq!(&decode_json::<Batch>(&encode_json(&batch).unwrap()).unwrap(), &batch);
        let entries = Entries((0..count * 3).map(|_| entry(&real, &mut rng)).collect());
        prop_assert_eq!(&decode::<Entries>(&encode(&entries).unwrap()).unwrap(), &entries);
        prop_assert_eq!(&decode_json::<Entries>(&encode_json(&entries).unwrap()).unwrap(), &entries);
    }
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn mutated_frames_get_an_error_or_a_frame(seed: u64, json: bool, garbage in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut rng = Rng(seed);
        // Made once: they take longer than reading them.
        thread_local!(static FRAMES: Vec<Frame> = frames());
        FRAMES.with(|frames| {
            let frame = rng.pick(frames);
            let mut bytes = if json { frame.json.clone() } else { frame.msgpack.clone() };
            for _ in 0..=rng.below(4) {
                let at = rng.below(bytes.len());
                match rng.below(5) {
                    0 => bytes[at] = rng.next() as u8,
                    1 => bytes.insert(at, rng.next() as u8),
                    2 => drop(bytes.splice(at..at, garbage.iter().copied())),
                    3 => bytes.truncate(at + 1),
                    _ => {
                        let from = rng.below(bytes.len());
                        bytes[at] = bytes[from];
                    }
                }
            }
            read(frame, &bytes, json);
            read(frame, &garbage, json);
        });
    }
}

#[test]
fn an_own_entry_is_put_together_again() {
    let id = ChangeId { device: device(1), n: 4 };
    let header = Header { id, kind: ItemKind::Change, doc: doc(1), hash: Hash([1; 32]), verdict: Verdict::Applied };
    let entry = PageEntry::own(&header);
    assert_eq!(entry.clone().resolve(|_| None), None);
    assert_eq!(entry.resolve(|asked| (asked == id).then_some(Hash([1; 32]))).unwrap().header, header);
}

/// A push whose packed body is what the test says.
fn with_body(body: &[u8]) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Packed<'a> {
        device: sync_core::id::DeviceId,
        base: FeedHead,
        body: &'a serde_bytes::Bytes,
    }
    #[derive(serde::Serialize)]
    struct Request<'a> {
        schema: u16,
        space: sync_core::id::SpaceId,
        push: Packed<'a>,
    }
    let base = FeedHead::start(SPACE, device(1));
    let push = Packed { device: device(1), base, body: serde_bytes::Bytes::new(body) };
    encode(&Request { schema: SCHEMA, space: SPACE, push }).unwrap()
}

fn leb128(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn squeezed(claimed: u64, raw: &[u8]) -> Vec<u8> {
    [vec![1], leb128(claimed), zstd::bulk::compress(raw, 3).unwrap()].concat()
}

/// Changes that name the same dependency thousands of times, each in one byte.
fn references(bytes_max: usize) -> Vec<u8> {
    let mut raw = Vec::new();
    let first = [&[1, 0][..], &[7; 16], &[30, 0], actor(1).as_bytes(), &[0, 1, 0]].concat();
    raw.extend(first);
    while raw.len() + 4_200 < bytes_max {
        raw.extend([1, 1, 30, 0]);
        raw.extend(leb128(4_097));
        raw.extend([1; 4_097]);
        raw.extend([1, 0]);
    }
    raw
}

/// Small bodies that would become large, or that claim to.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let zeros = vec![0; INFLATED_BYTES_MAX];
    let deletes: Vec<u8> = (0..=PAGE_CHANGES_MAX)
        .flat_map(|at| if at == 0 { [&[3, 0][..], &[7; 16]].concat() } else { vec![3, 1] })
        .collect();
    let real = references(PAGE_INFLATED_BYTES_MAX);
    vec![
        ("claims 64 MiB", with_body(&squeezed(INFLATED_BYTES_MAX as u64, &zeros))),
        ("claims little, holds 64 MiB", with_body(&squeezed(1 << 10, &zeros))),
        ("claims what is allowed, holds more", with_body(&squeezed(PAGE_INFLATED_BYTES_MAX as u64, &zeros))),
        ("claims everything", with_body(&squeezed(u64::MAX, &zeros))),
        ("above the ratio", with_body(&squeezed(1 << 20, &zeros[..1 << 20]))),
        ("one item too many", with_body(&squeezed(deletes.len() as u64, &deletes))),
        ("references as they are", with_body(&[&[0][..], &real].concat())),
        ("references squeezed", with_body(&squeezed(real.len() as u64, &real))),
        (
            "a length of 4 GiB",
            [&with_body(b"x")[..], &[]].concat().iter().map(|&byte| if byte == 0xc4 { 0xc6 } else { byte }).collect(),
        ),
    ]
}

#[test]
fn bombs_are_refused() {
    for (what, bytes) in bombs() {
        assert!(decode::<SyncRequest>(&bytes).is_err(), "{what}");
    }
    // A few references, and the same items, one less, are no bombs.
    let few = decode::<SyncRequest>(&with_body(&[&[0][..], &references(20_000)].concat())).unwrap();
    assert_eq!(few.push.unwrap().items.len(), 5);
    let deletes: Vec<Item> = (0..PAGE_CHANGES_MAX).map(|_| Item::delete(doc(7))).collect();
    let push = Run { device: device(1), base: FeedHead::start(SPACE, device(1)), items: deletes };
    let request = SyncRequest { schema: SCHEMA, space: SPACE, push: Some(push), pull: None, snapshot: None };
    assert_eq!(decode::<SyncRequest>(&encode(&request).unwrap()).unwrap(), request);
    let large = vec![b' '; BODY_BYTES_MAX + 1];
    assert!(matches!(decode::<SyncRequest>(&large), Err(FrameError::TooLarge { .. })));
    assert!(matches!(decode_json::<SyncResponse>(&large), Err(FrameError::TooLarge { .. })));
    // Deep nesting of what nobody asked for.
    let deep = [&b"{\"of_tomorrow\":"[..], &vec![b'['; 100_000]].concat();
    assert!(decode_json::<SyncResponse>(&deep).is_err());
    let deep = [&b"\x81\xa7unknown"[..], &vec![0x91; 100_000]].concat();
    assert!(decode::<SyncResponse>(&deep).is_err());
}

/// What passes the codec is no more than a change by its form: what it holds is the guard's business.
#[test]
fn hostile_changes_travel() {
    for bytes in [hostile::huge_claim(actor(1), 90_000), hostile::nested(actor(1), 100)] {
        let hash = automerge_hash(&bytes);
        let run = Run {
            device: device(1),
            base: FeedHead::start(SPACE, device(1)),
            items: vec![Item::change(doc(1), hash, bytes)],
        };
        assert_eq!(decode::<Run>(&encode(&run).unwrap()).unwrap(), run);
    }
}

fn automerge_hash(bytes: &[u8]) -> Hash {
    sync_core::chunk::Chunk::read(bytes).unwrap().hash()
}

const MEMORY: &str = "frames::memory_of_hostile_frames";

#[test]
fn bombs_cost_little_memory() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", MEMORY, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "runs in a process of its own, which the test above starts"]
fn memory_of_hostile_frames() {
    let peak_kib = || -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
    };
    let bombs = bombs();
    let Some(before) = peak_kib() else { return };
    for (what, bytes) in bombs {
        assert!(decode::<SyncRequest>(&bytes).is_err(), "{what}");
        let more = peak_kib().unwrap() - before;
        assert!(more < 64 << 10, "{what}: {more} KiB");
    }
}
