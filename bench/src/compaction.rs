//! Compaction in the background: what pushes wait while 10,000 documents are folded and their payloads dropped.

use std::time::Instant;

use sync_client_ffi::SpaceId;
use sync_core::document::{Document, Op};
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::id::{Actor, DocId};
use sync_core::limits::PAGE_CHANGES_MAX;
use sync_core::wire::{PushAnswer, SCHEMA, SyncRequest, SyncResponse};
use sync_server::Config;
use sync_tests::rig::{ServerProcess, device, token};

use crate::cold::documents;
use crate::{Figure, quantiles};

const DOCUMENTS: u64 = 10_000;
const WRITERS: u8 = 4;
/// Changes of each writer, one after the other.
const PUSHES: u64 = 1_000;

pub fn measure() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let program = std::env::current_exe().expect("this program");
    let mut config = Config { data: folder.path().join("server"), ..Config::default() };
    config.listen.set_port(0);
    config.compaction.enabled = false;
    // Every document is due, and all its payloads may go.
    config.compaction.tail_changes_max = 10;
    config.compaction.retention_days = 0;
    let server = ServerProcess::configured(&program, &config);
    fill(&server);
    let (without_median, without) = foreground(&server, 10);
    drop(server);
    config.compaction.enabled = true;
    config.compaction.every_ms = 1;
    let server = ServerProcess::configured(&program, &config);
    let (with_median, with) = foreground(&server, 20);
    vec![
        Figure::note(
            "4 writers, one change a push, without compaction, median / p99",
            format!("{without_median:.1} / {without:.1} ms"),
        ),
        Figure::against(
            "the same while 10,000 documents are folded, and the p99 times",
            format!("{with_median:.1} / {with:.1} ms, {:.2}", with / without),
            "p99 <= 1.3 times",
            with <= 1.3 * without,
        ),
    ]
}

fn fill(server: &ServerProcess) {
    let space = SpaceId::personal("ann");
    let token = token(server.data(), "ann", device(1));
    let mut head = FeedHead::start(space, device(1));
    for part in documents(DOCUMENTS).chunks(PAGE_CHANGES_MAX) {
        let run = Run { device: device(1), base: head, items: part.to_vec() };
        head = run.end();
        let request = SyncRequest { schema: SCHEMA, space, push: Some(run), pull: None, snapshot: None };
        let answer: SyncResponse = server.post(&token, &request).expect("an answer");
        assert!(matches!(answer.push, Some(PushAnswer::Taken { acked, .. }) if acked == head));
    }
}

/// Writers with devices from that number on, each in a space of its own; the median and the p99 of their pushes.
fn foreground(server: &ServerProcess, first: u8) -> (f64, f64) {
    let measured = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(server, first + writer))).collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect()
    });
    quantiles(measured)
}

/// Milliseconds of each push.
fn write(server: &ServerProcess, number: u8) -> Vec<f64> {
    let user = format!("writer-{number}");
    let space = SpaceId::personal(&user);
    let token = token(server.data(), &user, device(number));
    let doc = DocId::mint(1_800_000_000_000, [number; 10]);
    let mut document = Document::new(Actor::new(device(number), [0; 4]));
    let mut state = u64::from(number);
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 16
    };
    let mut head = FeedHead::start(space, device(number));
    let mut times = Vec::new();
    for push in 0..PUSHES {
        let op = Op::Put { path: "count".into(), value: (push as i64).into() };
        document.edit(vec![op], &mut random).expect("an edit");
        let sealed = document.seal(&mut random).expect("a change");
        let mut items = vec![Item::change(doc, sealed.hash, sealed.bytes)];
        if push == 0 {
            items.insert(0, Item::create(doc, "notes".into()));
        }
        let run = Run { device: device(number), base: head, items };
        head = run.end();
        let request = SyncRequest { schema: SCHEMA, space, push: Some(run), pull: None, snapshot: None };
        let began = Instant::now();
        let answer: SyncResponse = server.post(&token, &request).expect("an answer");
        times.push(began.elapsed().as_secs_f64() * 1e3);
        assert!(matches!(answer.push, Some(PushAnswer::Taken { acked, .. }) if acked == head));
    }
    times
}
