//! Local edits at the end of a document of 100,000 keystrokes: in memory, and durable on the phone's disk.

use std::time::Instant;

use sync_client_ffi::{Client, DeviceId, Op, Value};
use sync_core::document::Document;
use sync_core::id::Actor;

use crate::{Figure, quantiles};

const KEYSTROKES: u64 = 100_000;
const MEASURED: usize = 2_000;

fn key(at: u64) -> Op {
    let letter = char::from(b'a' + (at % 26) as u8);
    Op::Splice { path: "text".into(), at, delete: 0, insert: letter.to_string() }
}

pub fn measure() -> Vec<Figure> {
    let device = DeviceId::from_random([1; 16]);
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state
    };
    let mut document = Document::new(Actor::new(device, [0; 4]));
    let text = Op::Put { path: "text".into(), value: Value::Text(String::new()) };
    document.edit(vec![text], &mut random).expect("a text");
    let mut memory = Vec::with_capacity(MEASURED);
    for at in 0..KEYSTROKES + MEASURED as u64 {
        let began = Instant::now();
        document.edit(vec![key(at)], &mut random).expect("a keystroke");
        if at >= KEYSTROKES {
            memory.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }

    let folder = tempfile::tempdir().expect("a folder");
    let phone = Client::builder(folder.path().join("phone")).identity("ann", device).open().expect("a phone");
    let doc = phone.create(phone.personal_space(), "notes").expect("a document");
    doc.edit(|edit| {
        edit.put("text", Value::Text(String::new()));
    })
    .expect("a text");
    // The same history in bigger edits: the disk is not what is measured here.
    for first in (0..KEYSTROKES).step_by(100) {
        doc.edit(|edit| {
            for at in first..first + 100 {
                edit.op(key(at));
            }
        })
        .expect("keystrokes");
    }
    let mut durable = Vec::with_capacity(MEASURED);
    for at in KEYSTROKES..KEYSTROKES + MEASURED as u64 {
        let began = Instant::now();
        doc.edit(|edit| {
            edit.op(key(at));
        })
        .expect("a keystroke");
        durable.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let ((memory, memory_worst), (durable, durable_worst)) = (quantiles(memory), quantiles(durable));
    vec![
        Figure::against(
            "edit at the end of 100,000 keystrokes, without the disk, median / p99",
            format!("{memory:.0} / {memory_worst:.0} µs"),
            "median < 150 µs",
            memory < 150.0,
        ),
        Figure::note(
            "the same through the client, on disk, median / p99",
            format!("{durable:.0} / {durable_worst:.0} µs"),
        ),
        Figure::note("of which the journal and its fsync", format!("{:.0} µs", durable - memory)),
    ]
}
