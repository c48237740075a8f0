//! A cold start: 2,000 documents of 1 KiB with 20 changes each, to a fresh client.

use std::path::Path;
use std::time::{Duration, Instant};

use sync_client_ffi::{Client, SpaceId, Value};
use sync_core::document::{Document, Op};
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::id::{Actor, DocId};
use sync_core::limits::PAGE_CHANGES_MAX;
use sync_core::wire::{PushAnswer, SCHEMA, SyncRequest, SyncResponse};
use sync_examples::proxy::Proxy;
use sync_tests::rig::{ServerProcess, device, token};

use crate::{Figure, quantiles};

const DOCUMENTS: u64 = 2_000;
const CHANGES: u64 = 20;
const REPEATS: usize = 5;
const PROSE: &str = include_str!("../../LICENSE-APACHE");

/// What a cold start came to.
pub struct ColdStart {
    pub median_s: f64,
    pub worst_s: f64,
    /// The server's resident memory at its highest.
    pub peak_mib: f64,
    /// Bytes that came down, with HTTP.
    pub bytes: u64,
    /// Bytes that the changes hold.
    pub payload_bytes: usize,
    pub uploaded_s: f64,
    pub uploaded_per_s: f64,
}

pub fn measure() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let program = std::env::current_exe().expect("this program");
    let mut server = ServerProcess::start(&program, &folder.path().join("server"));
    let cold = cold_start(&mut server, folder.path());
    vec![
        Figure::against(
            "2,000 documents of 1 KiB, 20 changes each, to a fresh client, median / worst",
            format!("{:.2} / {:.2} s", cold.median_s, cold.worst_s),
            "< 2 s",
            cold.median_s < 2.0,
        ),
        Figure::against(
            "the server's peak resident memory meanwhile",
            format!("{:.0} MiB", cold.peak_mib),
            "< 64 MiB",
            cold.peak_mib < 64.0,
        ),
        Figure::note(
            "bytes down, and what the changes hold",
            format!("{:.2} of {:.2} MB", cold.bytes as f64 / 1e6, cold.payload_bytes as f64 / 1e6),
        ),
        Figure::note("upload of the same", format!("{:.2} s, {:.0} items/s", cold.uploaded_s, cold.uploaded_per_s)),
    ]
}

/// Fills an empty server, starts it again, and has fresh clients take everything, one after the other.
pub fn cold_start(server: &mut ServerProcess, folder: &Path) -> ColdStart {
    let space = SpaceId::personal("ann");
    let data = server.data().to_owned();
    let token_of = |number: u8| token(&data, "ann", device(number));
    let items = documents(DOCUMENTS);
    let (count, payload_bytes) = (items.len(), items.iter().map(Item::payload_bytes).sum::<usize>());
    let mut head = FeedHead::start(space, device(1));
    let began = Instant::now();
    for part in items.chunks(PAGE_CHANGES_MAX) {
        let run = Run { device: device(1), base: head, items: part.to_vec() };
        head = run.end();
        let request = SyncRequest { schema: SCHEMA, space, push: Some(run), pull: None, snapshot: None };
        let answer: SyncResponse = server.post(&token_of(1), &request).expect("an answer");
        assert!(matches!(answer.push, Some(PushAnswer::Taken { acked, .. }) if acked == head));
    }
    let uploaded_s = began.elapsed().as_secs_f64();
    // A server that has just started, so that its memory is that of the reading.
    server.kill();
    server.restart();
    let proxy = Proxy::start(server.address()).expect("a proxy");
    let clients = tempfile::tempdir_in(folder).expect("a folder");
    let (mut times, mut bytes) = (Vec::new(), 0);
    for number in 0..REPEATS {
        let client = Client::builder(clients.path().join(format!("reader-{number}")));
        let client = client.server(format!("http://{}", proxy.address())).token(token_of(100 + number as u8));
        let client = client.open().expect("a phone");
        let before = proxy.traffic();
        let began = Instant::now();
        client.sync_once(Duration::from_mins(2)).expect("a cold start");
        times.push(began.elapsed().as_secs_f64());
        bytes = proxy.traffic().down - before.down;
        assert_eq!(client.documents(space, None).expect("documents").len(), DOCUMENTS as usize);
    }
    let peak_mib = server.peak_memory_kib() as f64 / 1024.0;
    let (median_s, worst_s) = quantiles(times);
    let uploaded_per_s = count as f64 / uploaded_s;
    ColdStart { median_s, worst_s, peak_mib, bytes, payload_bytes, uploaded_s, uploaded_per_s }
}

/// So many documents of 1 KiB, each written in 20 changes.
pub fn documents(count: u64) -> Vec<Item> {
    let prose: Vec<char> = PROSE.chars().collect();
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 16
    };
    let mut items = Vec::new();
    for number in 0..count {
        let mut seed = [0; 10];
        seed[..8].copy_from_slice(&random().to_le_bytes());
        let id = DocId::mint(1_700_000_000_000 + number, seed);
        items.push(Item::create(id, "notes".into()));
        let mut document = Document::new(Actor::new(device(1), [0; 4]));
        let mut length = 0;
        for change in 0..CHANGES {
            let mut ops = Vec::new();
            if change == 0 {
                ops.push(Op::Put { path: "text".into(), value: Value::Text(String::new()) });
            }
            let from = (random() as usize) % (prose.len() - 64);
            let insert: String = prose[from..from + 51].iter().collect();
            ops.push(Op::Splice { path: "text".into(), at: length, delete: 0, insert });
            length += 51;
            document.edit(ops, &mut random).expect("an edit");
            let sealed = document.seal(&mut random).expect("a change");
            items.push(Item::change(id, sealed.hash, sealed.bytes));
        }
    }
    items
}
