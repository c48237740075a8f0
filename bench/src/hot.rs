//! What one keystroke costs on its way through the server's frames and checks, without sockets and without a database.

use std::hint::black_box;
use std::time::Instant;

use sync_core::check::Push;
use sync_core::document::{Document, Op};
use sync_core::feed::{ChangeId, FeedHead, Item, ItemKind, Run};
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::log::{Cursor, Entry, Header, ReceiptKey, Verdict};
use sync_core::value::Value;
use sync_core::wire::{
    Entries, ItemResult, ItemStatus, LiveRequest, LiveResponse, Page, PageEntry, PullAnswer, PushAnswer, decode, encode,
};

use crate::Figure;

const KEYSTROKES: u64 = 2_000;
const PASSES: usize = 15;

pub fn measure() -> Vec<Figure> {
    let (space, device) = (SpaceId::from_random([1; 16]), DeviceId::from_random([2; 16]));
    let runs = keystrokes(space, device);
    let frames: Vec<Vec<u8>> =
        runs.iter().enumerate().map(|(id, run)| encode(&request(id as u64, space, run)).expect("a frame")).collect();
    let key = ReceiptKey::new([7; 32]);
    let mut cursor = Cursor::start(space);
    let pages: Vec<LiveResponse> = runs.iter().map(|run| page(space, run, &key, &mut cursor)).collect();
    let answers: Vec<LiveResponse> = runs.iter().enumerate().map(|(id, run)| answer(id as u64, space, run)).collect();
    let page_frames: Vec<Vec<u8>> = pages.iter().map(|page| encode(page).expect("a frame")).collect();

    let decoding = each(&frames, |frame| decode::<LiveRequest>(frame).expect("a request"));
    let checking = each(&runs, |run| {
        // The copy that the server gets from the decoder is made here as well; it costs little beside the check.
        let push = Push::check(String::new(), run.clone());
        assert_eq!(push.candidates.len(), 1);
        push
    });
    let linking = each(&pages, |page| receipt(space, page, &key));
    let showing = each(&pages, |page| encode(page).expect("a frame"));
    let answering = each(&answers, |answer| encode(answer).expect("a frame"));
    let asking = each(&runs, |run| encode(&request(1, space, run)).expect("a frame"));
    let reading = each(&page_frames, |frame| LiveResponse::read(frame).expect("a frame"));
    let bytes = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).sum::<usize>() / frames.len();
    let taken = decoding + checking;
    vec![
        Figure::against(
            "one keystroke at the server: its frame read and unpacked + checked",
            format!("{decoding:.1} + {checking:.1} = {taken:.1} µs"),
            "≤ 12 µs",
            taken <= 12.0,
        ),
        Figure::against("its page written for the readers", format!("{showing:.1} µs"), "≤ 5 µs", showing <= 5.0),
        Figure::note("its answer written / its link and receipt", format!("{answering:.1} / {linking:.1} µs")),
        Figure::note("at the phones: its frame written / its page read", format!("{asking:.1} / {reading:.1} µs")),
        Figure::note("bytes of the push / of the page", format!("{} / {}", bytes(&frames), bytes(&page_frames))),
    ]
}

/// Microseconds that `work` takes for one of them, in the fastest of several passes: others on the machine only add.
fn each<T, R>(subjects: &[T], work: impl Fn(&T) -> R) -> f64 {
    let pass = |_| {
        let began = Instant::now();
        for subject in subjects {
            black_box(work(black_box(subject)));
        }
        began.elapsed().as_secs_f64() * 1e6 / subjects.len() as f64
    };
    (0..PASSES).map(pass).fold(f64::MAX, f64::min)
}

/// A text typed at its end, each keystroke a change and a run of its own.
fn keystrokes(space: SpaceId, device: DeviceId) -> Vec<Run> {
    let doc = DocId::from_bytes([3; 16]);
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 16
    };
    let mut document = Document::new(Actor::new(device, [0; 4]));
    let text = Op::Put { path: "text".into(), value: Value::Text(String::new()) };
    document.edit(vec![text], &mut random).expect("a text");
    document.seal(&mut random).expect("a change");
    let mut base = FeedHead::start(space, device);
    let run = |at| {
        let letter = char::from(b'a' + (at % 26) as u8).to_string();
        let key = Op::Splice { path: "text".into(), at, delete: 0, insert: letter };
        document.edit(vec![key], &mut random).expect("a keystroke");
        let sealed = document.seal(&mut random).expect("a change");
        let run = Run { device, base, items: vec![Item::change(doc, sealed.hash, sealed.bytes)] };
        base = run.end();
        run
    };
    (0..KEYSTROKES).map(run).collect()
}

fn request(id: u64, space: SpaceId, run: &Run) -> LiveRequest {
    LiveRequest::Sync { id, space, push: Some(run.clone()), pull: None, subscribe: false, snapshot: None }
}

fn page(space: SpaceId, run: &Run, key: &ReceiptKey, cursor: &mut Cursor) -> LiveResponse {
    let item = &run.items[0];
    let header = header(run);
    *cursor = cursor.next(&header);
    let entry = PageEntry::whole(Entry { header, body: Some(item.body.clone()) });
    let receipt = key.sign(space, cursor);
    LiveResponse::Page {
        space,
        page: Page {
            entries: Entries(vec![entry]),
            next: *cursor,
            more: false,
            receipt,
            version: None,
            snapshots: Vec::new(),
            times: None,
        },
    }
}

fn header(run: &Run) -> Header {
    let item = &run.items[0];
    let id = ChangeId { device: run.device, n: run.base.n + 1 };
    Header { id, kind: ItemKind::Change, doc: item.doc, hash: item.hash, verdict: Verdict::Applied }
}

fn answer(id: u64, space: SpaceId, run: &Run) -> LiveResponse {
    let results = vec![ItemResult { seq: run.base.n + 1, status: ItemStatus::Applied, code: None }];
    let cursor = Cursor { seq: run.base.n + 1, chain: run.base.chain };
    let own = Page {
        entries: Entries(vec![PageEntry::own(&header(run))]),
        next: cursor,
        more: false,
        receipt: sync_core::log::Receipt::from_hash(run.base.chain),
        version: None,
        snapshots: Vec::new(),
        times: None,
    };
    let push = PushAnswer::Taken { acked: run.end(), results, need: Vec::new() };
    LiveResponse::Answer { id, space, push: Some(push), pull: Some(PullAnswer::Page(own)), snapshot: None }
}

/// What the server hashes for an entry of its log.
fn receipt(space: SpaceId, page: &LiveResponse, key: &ReceiptKey) -> Option<Hash> {
    let LiveResponse::Page { page, .. } = page else { return None };
    let entry = &page.entries.0[0];
    let header = Header { id: entry.id, kind: entry.kind, doc: entry.doc, hash: entry.hash?, verdict: entry.verdict };
    let next = page.next.next(&header);
    Some(*key.sign(space, &next).as_hash())
}
