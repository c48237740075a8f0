//! Many documents in a space each, with a writer, a reader and one change in flight: by the library, and by bare connections.

use std::sync::Barrier;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Order, PATIENCE, acknowledged, insert, length, live_reader, live_writer, mark};
use crate::live::script::Kind;
use crate::live::throughput::{deliver, open_pairs};

/// The library's phones, two for each document. The next edit is made when the reader shows the last one and the server has it.
pub fn run(order: &Order) -> Value {
    let pairs: Vec<_> = (0..order.number("pairs"))
        .map(|number| {
            let user = format!("w2-{number}");
            let (writer, doc) = live_writer(order, &user);
            let (reader, same) = live_reader(order, &user, 2, &writer, &doc);
            (writer, doc, reader, same)
        })
        .collect();
    let (warm_up, measured) = (order.seconds("warm_up_s"), order.seconds("seconds"));
    let start = Barrier::new(pairs.len() + 1);
    let (times, took) = std::thread::scope(|scope| {
        let work: Vec<_> = pairs
            .iter()
            .map(|(writer, doc, _, same)| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let from = Instant::now() + warm_up;
                    let until = from + measured;
                    let mut times = Vec::new();
                    for at in 0.. {
                        let began = Instant::now();
                        if began >= until {
                            break;
                        }
                        insert(doc, at, "x");
                        assert!(same.wait_until(PATIENCE, |doc| length(doc) > at), "it arrives");
                        let took = began.elapsed();
                        acknowledged(writer);
                        if Instant::now() >= from && Instant::now() < until {
                            times.push(took.as_secs_f64() * 1e3);
                        }
                    }
                    times
                })
            })
            .collect();
        start.wait();
        let from = Instant::now() + warm_up;
        std::thread::sleep(warm_up);
        mark("begin");
        let until = from + measured;
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        let took = from.elapsed();
        mark("end");
        let times: Vec<f64> = work.into_iter().flat_map(|work| work.join().expect("a pair")).collect();
        (times, took)
    });
    for (writer, _, reader, _) in &pairs {
        writer.stop();
        reader.stop();
    }
    json!({ "delivered": times.len(), "seconds": took.as_secs_f64(), "latencies_ms": times })
}

/// Bare connections that send changes made before, and follow the log: nothing but the server's work and little load.
pub fn by_wire(order: &Order) -> Value {
    let (warm_up, measured) = (order.seconds("warm_up_s"), order.seconds("seconds"));
    let pairs = order.number("pairs") as usize;
    // More than can be delivered in the time.
    let changes = (100.0 + 60_000.0 * (warm_up + measured).as_secs_f64() / pairs as f64) as usize;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (times, seconds) = runtime.block_on(async {
        let pairs = open_pairs(order.address, &order.data, pairs, changes.min(20_000), Kind::Keystroke).await;
        deliver(pairs, warm_up, measured, mark).await
    });
    json!({ "delivered": times.len(), "seconds": seconds, "latencies_ms": times })
}
