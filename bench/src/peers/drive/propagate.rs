//! One phone types, another shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Order, PATIENCE, insert, length, live_reader, live_writer};

pub fn run(order: &Order) -> Value {
    let (writer, doc) = live_writer(order, "w1");
    let (reader, same) = live_reader(order, "w1", 2, &writer, &doc);
    let (edits, warm_up) = (order.number("edits"), order.number("warm_up") as usize);
    let interval = Duration::from_millis(order.number("interval_ms"));
    let (began, seen) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut seen: Vec<Instant> = Vec::new();
            let shown = AtomicU64::new(0);
            while (seen.len() as u64) < edits {
                let more = same.wait_until(PATIENCE, |doc| {
                    shown.store(length(doc), Ordering::Relaxed);
                    shown.load(Ordering::Relaxed) > seen.len() as u64
                });
                assert!(more, "what was written arrives");
                seen.resize(shown.load(Ordering::Relaxed) as usize, Instant::now());
            }
            seen
        });
        let start = Instant::now();
        let mut began = Vec::new();
        for at in 0..edits {
            std::thread::sleep((interval * at as u32).saturating_sub(start.elapsed()));
            began.push(Instant::now());
            insert(&doc, at, "x");
        }
        (began, reading.join().expect("the reader"))
    });
    writer.stop();
    reader.stop();
    let times: Vec<f64> = began.iter().zip(&seen).map(|(from, to)| (*to - *from).as_secs_f64() * 1e3).collect();
    json!({ "latencies_ms": times[warm_up..] })
}
