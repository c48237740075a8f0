//! Every frame, in the bytes that shipped: a phone that is never updated again must understand them.

use std::fmt::Debug;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::batch::Batch;
use sync_core::code::RejectCode;
use sync_core::document::{Document, Expand, Op};
use sync_core::feed::{Body, ChangeId, FeedHead, Item, ItemKind, Run};
use sync_core::heal::{LostEntries, TakenBack};
use sync_core::id::Hash;
use sync_core::log::{Cursor, Entry, Header, Receipt, ReceiptKey, Verdict};
use sync_core::value::Value;
use sync_core::wire::{
    Bytes, Entries, ErrorCode, ErrorResponse, HandedBack, HealRequest, HealResponse, ItemResult, ItemStatus, Page,
    PageEntry, Pull, PullAnswer, PushAnswer, Runs, SCHEMA, Snapshot, SnapshotPart, SnapshotWish, SyncRequest,
    SyncResponse, Times, VersionResponse, decode, decode_json, encode, encode_json,
};

use crate::cases::{SPACE, actor, device, doc};
use crate::live_frames;

/// A frame of any type, with its two forms.
pub struct Frame {
    pub name: &'static str,
    pub is_request: bool,
    pub msgpack: Vec<u8>,
    pub json: Vec<u8>,
    /// Reads msgpack or JSON, and writes as msgpack what was understood.
    pub read: fn(&[u8], bool) -> Option<Vec<u8>>,
}

pub fn frame<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    name: &'static str,
    is_request: bool,
    value: &T,
) -> Frame {
    let (msgpack, json) = (encode(value).unwrap(), encode_json(value).unwrap());
    assert_eq!(&decode::<T>(&msgpack).unwrap(), value);
    assert_eq!(&decode_json::<T>(&json).unwrap(), value);
    let read = |bytes: &[u8], json: bool| {
        let value: Option<T> = if json { decode_json(bytes).ok() } else { decode(bytes).ok() };
        value.map(|value| encode(&value).unwrap())
    };
    Frame { name, is_request, msgpack, json, read }
}

/// Real changes of two devices, the same ones each time.
pub fn changes() -> Vec<Item> {
    let mut ann = Document::new(actor(1));
    let mut items = Vec::new();
    let mut seal = |document: &mut Document, time: u64| {
        let sealed = document.seal(&mut || time).unwrap();
        items.push(Item::change(doc(1), sealed.hash, sealed.bytes.clone()));
        sealed.bytes
    };
    let text = Op::Put { path: "text".into(), value: Value::Text("Grüße".into()) };
    ann.edit(vec![text, Op::Put { path: "hits".into(), value: Value::Counter(1) }], &mut || 0x0102_0304).unwrap();
    let first = seal(&mut ann, 0x0102_0304);
    let (mut bob, _) = Document::load(actor(2), None, &[&first]).unwrap();
    ann.edit(vec![Op::Splice { path: "text".into(), at: 5, delete: 0, insert: ", Welt".into() }], &mut || 0).unwrap();
    seal(&mut ann, 0);
    bob.edit(vec![Op::Increment { path: "hits".into(), by: 2 }], &mut || u64::from(u32::MAX)).unwrap();
    let third = seal(&mut bob, u64::from(u32::MAX));
    ann.apply(&[third]).unwrap();
    let mark = Op::Mark {
        path: "text".into(),
        start: 0,
        end: 5,
        name: "bold".into(),
        value: true.into(),
        expand: Expand::After,
    };
    ann.edit(vec![mark], &mut || 7).unwrap();
    seal(&mut ann, 7);
    items
}

fn run() -> Run {
    let mut items = vec![Item::create(doc(1), "notes".to_owned())];
    let [first, second, _, fourth] = <[Item; 4]>::try_from(changes()).unwrap();
    items.extend([first.clone(), second, fourth]);
    // What the strip codec cannot hold, or would hash differently, travels as it is.
    items.push(Item::change(doc(2), Hash([3; 32]), b"no change".to_vec()));
    items.push(Item { hash: Hash([4; 32]), ..first });
    let code = RejectCode::TooLarge;
    items.push(Item { doc: doc(2), hash: Hash([5; 32]), body: Body::Void { kind: ItemKind::Change, code } });
    items.push(Item::delete(doc(1)));
    Run { device: device(1), base: FeedHead { n: 300, chain: Hash([6; 32]) }, items }
}

fn page() -> Page {
    let header = |of: u8, n, kind, hash, verdict| Header {
        id: ChangeId { device: device(of), n },
        kind,
        doc: doc(1),
        hash,
        verdict,
    };
    let whole = |of: u8, n, item: Item| {
        let header = header(of, n, item.kind(), item.hash, Verdict::Applied);
        PageEntry::whole(Entry { header, body: Some(item.body) })
    };
    let [first, second, third, fourth] = <[Item; 4]>::try_from(changes()).unwrap();
    let refused = |code| Verdict::Rejected(code);
    let entries = vec![
        whole(1, 1, Item::create(doc(1), "notes".to_owned())),
        whole(1, 2, first),
        PageEntry::own(&header(3, 9, ItemKind::Change, Hash([1; 32]), Verdict::Applied)),
        whole(1, 3, second),
        whole(2, 77, third),
        PageEntry::whole(Entry {
            header: header(2, 78, ItemKind::Change, Hash([2; 32]), refused(RejectCode::DependencyRefused)),
            body: None,
        }),
        whole(1, 4, fourth),
        PageEntry::own(&header(3, 10, ItemKind::Delete, Hash([1; 32]), refused(RejectCode::NotAWriter))),
        whole(2, 79, Item::delete(doc(1))),
    ];
    let next = Cursor { seq: 70_000, chain: Hash([7; 32]) };
    let receipt = ReceiptKey::new([1; 32]).sign(SPACE, &next);
    let heads =
        [(device(1), FeedHead { n: 4, chain: Hash([8; 32]) }), (device(2), FeedHead { n: 79, chain: Hash([9; 32]) })];
    Page {
        entries: Entries(entries),
        next,
        more: false,
        receipt,
        version: Some(heads.into_iter().collect()),
        snapshots: Vec::new(),
        times: None,
    }
}

fn snapshot() -> Snapshot {
    let heads = vec![Hash([5; 32]), Hash([6; 32])];
    Snapshot {
        doc: doc(1),
        seq: 69_999,
        hash: Hash([4; 32]),
        size: 3,
        heads,
        bytes: Some(Bytes(b"\x85\x6f\x4a".to_vec())),
        grafts: None,
    }
}

/// A page whose payloads are left out: its entries have their hashes, and a snapshot stands in for them.
fn folded() -> Page {
    let mut page = page();
    for entry in &mut page.entries.0 {
        if entry.kind == ItemKind::Change && entry.hash.is_some() {
            entry.body = None;
        }
    }
    Page { snapshots: vec![snapshot(), Snapshot { bytes: None, size: 1 << 20, ..snapshot() }], version: None, ..page }
}

/// A page that excludes a change, and a snapshot without it.
fn excluded() -> Page {
    let mut page = page();
    let of = Header::exclusion(ChangeId { device: device(2), n: 77 }, doc(1), Hash([3; 32]));
    page.entries.0.truncate(5);
    page.entries.0.push(PageEntry::whole(Entry { header: of, body: None }));
    let grafts = Some(Bytes(b"\x01\x00\x00\x00".to_vec()));
    Page { snapshots: vec![Snapshot { grafts, ..snapshot() }], version: None, ..page }
}

/// A page that says when its entries were taken: some together, one by a clock that went back.
pub fn timed() -> Page {
    let mut times: Vec<u64> = (0..page().entries.0.len() as u64).map(|at| 1_790_000_000 + at / 4 * 7).collect();
    times[6] = 1_789_999_999;
    Page { times: Some(Times(times)), ..page() }
}

/// A run in which a document begins anew, and one that cannot be sent any more.
fn epochs() -> Run {
    let code = RejectCode::EpochPassed;
    let items = vec![
        Item::epoch(doc(1), b"what it begins with".to_vec()),
        Item { doc: doc(2), hash: Hash([5; 32]), body: Body::Void { kind: ItemKind::Epoch, code } },
    ];
    Run { items, ..run() }
}

/// A page with epochs: of others, of the reader, and refused ones.
fn begun() -> Page {
    let item = Item::epoch(doc(1), b"what it begins with".to_vec());
    let entry = |of: u8, n, kind, verdict, body: Option<Body>| PageEntry {
        id: ChangeId { device: device(of), n },
        kind,
        doc: doc(1),
        verdict,
        hash: Some(item.hash),
        body,
    };
    let refused = Verdict::Rejected;
    let entries = vec![
        entry(1, 5, ItemKind::Epoch, Verdict::Applied, Some(item.body.clone())),
        PageEntry { hash: None, ..entry(3, 6, ItemKind::Epoch, Verdict::Applied, None) },
        entry(1, 6, ItemKind::Change, refused(RejectCode::EpochPassed), None),
        entry(1, 7, ItemKind::Epoch, refused(RejectCode::EpochEarly), None),
        entry(2, 7, ItemKind::Epoch, refused(RejectCode::NotAnOwner), None),
    ];
    Page { entries: Entries(entries), version: None, ..page() }
}

/// What a device hands back, and what it is told.
fn heal_frames() -> Vec<Frame> {
    let base = Cursor { seq: 68_991, chain: Hash([1; 32]) };
    let own = |entry: PageEntry| entry.resolve(|_| Some(Hash([9; 32]))).unwrap();
    let entries = page().entries.0.into_iter().map(own).collect();
    let receipt = page().receipt;
    let lost = LostEntries { base, entries, receipt };
    let none = LostEntries { base, entries: Vec::new(), receipt };
    let request = |places, lost| HealRequest { schema: SCHEMA, space: SPACE, places, lost };
    let head = Cursor { seq: 69_000, chain: Hash([2; 32]) };
    let told = |places, receipt, taken| HealResponse { schema: SCHEMA, head, places, receipt, taken };
    let taken = TakenBack { taken: 1_000, known: 8, left: 1 };
    vec![
        frame("heal_request_places", true, &request(vec![70_000, 69_999, 1], None)),
        frame("heal_request_lost", true, &request(Vec::new(), Some(HandedBack { lost, prove: false }))),
        frame("heal_request_prove", true, &request(Vec::new(), Some(HandedBack { lost: none, prove: true }))),
        frame("heal_response_places", false, &told(vec![base, head], None, None)),
        frame("heal_response_receipt", false, &told(Vec::new(), Some(receipt), None)),
        frame("heal_response_taken", false, &told(Vec::new(), Some(receipt), Some(taken))),
    ]
}

/// All frames.
pub fn frames() -> Vec<Frame> {
    let acked = FeedHead { n: 7, chain: Hash([7; 32]) };
    let cursor = Cursor { seq: 70_000, chain: Hash([1; 32]) };
    let request = |push, pull| SyncRequest { schema: SCHEMA, space: SPACE, push, pull, snapshot: None };
    let response = |push, pull| SyncResponse { schema: SCHEMA, push, pull, snapshot: None };
    let pull = Pull { since: Some(cursor), bytes_max: Some(65_536), own: true, version: true, snapshots: None };
    let first = Pull { since: None, bytes_max: None, own: false, version: false, snapshots: None };
    let result = |seq, status, code| ItemResult { seq, status, code };
    let results = vec![
        result(1, ItemStatus::Duplicate, None),
        result(2, ItemStatus::Duplicate, Some(RejectCode::TooDeep)),
        result(300, ItemStatus::Applied, None),
        result(301, ItemStatus::Rejected, Some(RejectCode::DocumentDeleted)),
    ];
    let taken = PushAnswer::Taken { acked, results: results.clone(), need: Vec::new() };
    let need = PushAnswer::Taken { acked, results, need: vec![Hash([2; 32]), Hash([3; 32])] };
    let empty = Page { entries: Entries::default(), version: None, more: true, ..page() };
    let mut second = run();
    (second.base, second.items) = (run().end(), vec![Item::create(doc(3), "lists".to_owned())]);
    let other =
        Run { device: device(2), base: FeedHead::start(SPACE, device(2)), items: vec![changes().swap_remove(2)] };
    let runs = Runs(vec![run(), other, second]);
    let error = |code, retry_after_ms| ErrorResponse {
        code,
        message: "The server is busy. Try again.".to_owned(),
        request_id: "0193b7e2".to_owned(),
        retry_after_ms,
        update_url: None,
    };
    let wishing = SyncRequest {
        snapshot: Some(SnapshotWish { doc: doc(1), hash: Hash([4; 32]), offset: 70_000, bytes_max: Some(65_536) }),
        ..request(None, Some(Pull { snapshots: Some(300), ..first.clone() }))
    };
    let parted = SyncResponse {
        snapshot: Some(SnapshotPart {
            snapshot: Snapshot { bytes: None, ..snapshot() },
            offset: 70_000,
            bytes: Bytes(b"\x00\xff".to_vec()),
        }),
        ..response(None, None)
    };
    let refused = |seq, code| result(seq, ItemStatus::Rejected, Some(code));
    let codes = [RejectCode::EpochPassed, RejectCode::EpochEarly, RejectCode::NotAnOwner];
    let results = (300..).zip(codes).map(|(seq, code)| refused(seq, code)).collect();
    let begun_answer = PushAnswer::Taken { acked, results, need: Vec::new() };
    let mut frames = vec![
        frame("sync_request_both", true, &request(Some(run()), Some(pull.clone()))),
        frame("sync_request_push", true, &request(Some(Run { items: Vec::new(), ..run() }), None)),
        frame("sync_request_pull", true, &request(None, Some(first))),
        frame("sync_request_neither", true, &request(None, None)),
        frame("batch", true, &Batch { schema: SCHEMA, space: SPACE, runs }),
        frame("sync_response_page", false, &response(Some(taken), Some(PullAnswer::Page(page())))),
        frame("sync_response_need", false, &response(Some(need), Some(PullAnswer::Page(empty)))),
        frame("sync_response_behind", false, &response(Some(PushAnswer::Behind { acked }), None)),
        frame("sync_response_gap", false, &response(Some(PushAnswer::Gap { acked }), None)),
        frame("sync_response_forked", false, &response(Some(PushAnswer::Forked { acked }), None)),
        frame("sync_response_diverged", false, &response(None, Some(PullAnswer::Diverged { head: cursor }))),
        frame("sync_request_snapshots", true, &wishing),
        frame("sync_response_exclusion", false, &response(None, Some(PullAnswer::Page(excluded())))),
        frame("sync_request_epoch", true, &request(Some(epochs()), None)),
        frame("sync_response_epoch", false, &response(Some(begun_answer), Some(PullAnswer::Page(begun())))),
        frame("sync_response_times", false, &response(None, Some(PullAnswer::Page(timed())))),
        frame("sync_response_snapshots", false, &response(None, Some(PullAnswer::Page(folded())))),
        frame("sync_response_snapshot_part", false, &parted),
        frame(
            "version_response",
            false,
            &VersionResponse {
                schema: SCHEMA,
                space: SPACE,
                head: cursor,
                acked,
                device: device(1),
                version: page().version.unwrap(),
            },
        ),
        frame("error_response_busy", false, &error(ErrorCode::Busy, Some(1500))),
        frame("error_response_rate_limited", false, &error(ErrorCode::RateLimited, Some(41_237))),
        frame("error_response_internal", false, &error(ErrorCode::Internal, None)),
    ];
    frames.extend(heal_frames());
    frames.extend(live_frames::frames(run(), page()));
    frames
}

fn path(name: &str, form: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.{form}"))
}

#[test]
fn frames_keep_their_bytes() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for frame in frames() {
        for (form, bytes, is_json) in [("msgpack", &frame.msgpack, false), ("json", &frame.json, true)] {
            let path = path(frame.name, form);
            if update {
                std::fs::write(&path, bytes).unwrap();
            }
            let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(
                (frame.read)(&golden, is_json).as_ref(),
                Some(&frame.msgpack),
                "{} means something else",
                path.display()
            );
            assert!(&golden == bytes, "{} is written in other bytes now", path.display());
        }
    }
}

/// As a phone of before read pages.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct PageOfBefore {
    entries: Entries,
    next: Cursor,
    more: bool,
    receipt: Receipt,
}

#[derive(serde::Deserialize)]
struct ResponseOfBefore {
    pull: AnswerOfBefore,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnswerOfBefore {
    Page(PageOfBefore),
}

#[test]
fn times_are_passed_over_by_phones_of_before_and_missed_by_nobody() {
    for is_json in [false, true] {
        let form = if is_json { "json" } else { "msgpack" };
        let [with, without] =
            ["sync_response_times", "sync_response_page"].map(|name| std::fs::read(path(name, form)).unwrap());
        let before: ResponseOfBefore = if is_json { decode_json(&with) } else { decode(&with) }.unwrap();
        let AnswerOfBefore::Page(read) = before.pull;
        let Page { entries, next, more, receipt, .. } = timed();
        assert_eq!(read, PageOfBefore { entries, next, more, receipt });
        // And what a server of before says has none.
        let now: SyncResponse = if is_json { decode_json(&without) } else { decode(&without) }.unwrap();
        let Some(PullAnswer::Page(read)) = now.pull else { panic!("a page") };
        assert_eq!(read, page());
        assert_eq!(read.times, None);
    }
}

#[test]
fn codes_keep_their_names() {
    let codes: Vec<String> = RejectCode::ALL.iter().map(|code| format!("{} {code}\n", code.number())).collect();
    let path = path("reject_codes", "txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, codes.concat()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), codes.concat());
    for code in RejectCode::ALL {
        assert_eq!(decode_json::<RejectCode>(format!("\"{code}\"").as_bytes()).unwrap(), *code);
        assert_eq!(RejectCode::from_number(code.number()), Some(*code));
    }
    assert_eq!(decode_json::<ErrorCode>(b"\"of_tomorrow\"").unwrap(), ErrorCode::Unknown);
}
