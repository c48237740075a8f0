//! Fills the server with documents; has a fresh phone take them all.

use std::time::Instant;

use serde_json::{Value, json};
use sync_client_ffi::DeviceId;

use super::{Order, PATIENCE, acknowledged, insert, length, mark, text_of};

/// Every part of every text is a change of its own: a round over all documents, sent before the next.
pub fn fill(order: &Order) -> Value {
    let texts = std::fs::read(order.text("texts_file")).expect("texts");
    let texts: Vec<Vec<String>> = serde_json::from_slice(&texts).expect("texts");
    let writer = order.phone("w4", 1);
    writer.start().expect("a live session");
    let began = Instant::now();
    let docs: Vec<_> = texts.iter().map(|_| text_of(&writer)).collect();
    let rounds = texts.first().map_or(0, Vec::len);
    for round in 0..rounds {
        for (doc, text) in docs.iter().zip(&texts) {
            insert(doc, text[..round].iter().map(|part| part.chars().count() as u64).sum(), &text[round]);
        }
        acknowledged(&writer);
    }
    let fill_s = began.elapsed().as_secs_f64();
    let head = writer.feed(writer.personal_space()).expect("the feed");
    writer.stop();
    json!({ "fill_s": fill_s, "ids": { "device": writer.device().to_string(), "n": head.n } })
}

/// `held_s`: everything is on the phone's disk. `cold_s`: every document has been opened and read as well.
pub fn run(order: &Order) -> Value {
    let device: DeviceId = order.told["ids"]["device"].as_str().and_then(|id| id.parse().ok()).expect("a device");
    let n = order.told["ids"]["n"].as_u64().expect("a number");
    let proxy = order.counted();
    mark("begin");
    let began = Instant::now();
    let reader = order.phone_by(proxy.address(), "w4", 2);
    reader.start().expect("a live session");
    let space = reader.personal_space();
    assert!(reader.wait_for(space, device, n, PATIENCE), "everything arrives");
    let held_s = began.elapsed().as_secs_f64();
    let documents = reader.documents(space, None).expect("documents");
    assert_eq!(documents.len() as u64, order.number("documents"));
    for document in documents {
        let doc = reader.open_doc(space, document.id).expect("the document");
        assert_eq!(length(&doc), order.number("length"), "all of it");
    }
    let cold_s = began.elapsed().as_secs_f64();
    let traffic = proxy.traffic();
    mark("end");
    reader.stop();
    json!({ "held_s": held_s, "cold_s": cold_s, "bytes_down": traffic.down, "bytes": traffic.up + traffic.down })
}
