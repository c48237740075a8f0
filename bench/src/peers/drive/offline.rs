//! Typed without a network, then sent; then a fresh phone takes it.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Order, acknowledged, arrived, length, mark, text_of};

/// More keystrokes than this are typed into a store on a memory disk.
const STROKES_MAX: usize = 20_000;

pub fn run(order: &Order) -> Value {
    let strokes = std::fs::read(order.text("strokes_file")).expect("strokes");
    let strokes: Vec<(u64, u64, String)> = serde_json::from_slice(&strokes).expect("strokes");
    let proxy = order.counted();
    let stores = if strokes.len() > STROKES_MAX { order.in_memory.path() } else { order.stores.path() };
    let writer = order.phone_on(stores, proxy.address(), "typed", 1);
    let doc = text_of(&writer);
    let began = Instant::now();
    for (at, delete, insert) in &strokes {
        doc.edit(|edit| _ = edit.splice("text", *at, *delete, insert.as_str())).expect("a keystroke");
    }
    let edit_us = began.elapsed().as_secs_f64() * 1e6 / strokes.len() as f64;
    mark("upload");
    let began = Instant::now();
    writer.start().expect("a live session");
    acknowledged(&writer);
    let up_ms = began.elapsed().as_secs_f64() * 1e3;
    writer.stop();
    let up = proxy.traffic();
    mark("uploaded");
    let began = Instant::now();
    let reader = order.phone_by(proxy.address(), "typed", 2);
    reader.start().expect("a live session");
    let same = arrived(&reader, &writer, &doc);
    assert_eq!(length(&same), length(&doc), "all of it");
    let fresh_ms = began.elapsed().as_secs_f64() * 1e3;
    let all = proxy.traffic();
    assert_eq!(same.text("text").expect("text"), doc.text("text").expect("text"));
    mark("fresh");
    reader.stop();
    json!({
        "edit_us": edit_us, "up_ms": up_ms, "fresh_ms": fresh_ms, "bytes_up": up.up,
        "bytes_down": all.down - up.down, "bytes": all.up + all.down, "id": { "user": "typed", "doc": doc.id().to_string() },
    })
}
