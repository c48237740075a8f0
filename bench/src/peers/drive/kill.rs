//! Writes while the server is killed, and reads afterwards what it has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sync_client_ffi::{DocId, EditState};

use super::{Order, PATIENCE, acknowledged, insert, length, mark, text_of};

/// A look at whether the server is dead.
const LOOK: Duration = Duration::from_millis(100);

/// One phone with all documents; an edit counts when the server has said that it is durable.
pub fn load(order: &Order) -> Value {
    let user = order.text("name");
    let writer = order.phone(&user, 1);
    writer.start().expect("a live session");
    let docs: Vec<_> = (0..order.number("documents")).map(|_| text_of(&writer)).collect();
    acknowledged(&writer);
    let interval = Duration::from_millis(order.number("interval_ms"));
    let running = AtomicBool::new(true);
    let counts = std::thread::scope(|scope| {
        let work: Vec<_> = docs
            .iter()
            .map(|doc| {
                let running = &running;
                scope.spawn(move || {
                    let mut count = 0;
                    loop {
                        let began = Instant::now();
                        let edit = insert(doc, count, "x");
                        loop {
                            let state = doc.wait_for_edit(edit, LOOK).expect("its state");
                            assert!(!matches!(state, EditState::Rejected { .. }), "nothing is refused");
                            if state.is_decided() {
                                count += 1;
                                break;
                            }
                            if !running.load(Ordering::Acquire) {
                                return count;
                            }
                        }
                        std::thread::sleep(interval.saturating_sub(began.elapsed()));
                        if !running.load(Ordering::Acquire) {
                            return count;
                        }
                    }
                })
            })
            .collect();
        mark("loading");
        mark("dead");
        running.store(false, Ordering::Release);
        work.into_iter().map(|work| work.join().expect("a writer")).collect::<Vec<u64>>()
    });
    writer.stop();
    let told = docs.iter().zip(counts).map(|(doc, count)| json!({ "id": doc.id().to_string(), "count": count }));
    json!({ "acknowledged": told.collect::<Vec<_>>() })
}

/// By a phone that has none of it.
pub fn lengths(order: &Order) -> Value {
    let reader = order.phone(&order.text("name"), 2);
    reader.sync_once(PATIENCE).expect("an exchange");
    let ids: Vec<String> = serde_json::from_value(order.told["ids"].clone()).expect("documents");
    let length_of = |id: &String| {
        let id: DocId = id.parse().expect("a document");
        reader.open_doc(reader.personal_space(), id).map_or(0, |doc| length(&doc))
    };
    json!({ "lengths": ids.iter().map(length_of).collect::<Vec<_>>() })
}
