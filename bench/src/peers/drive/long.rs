//! A long document is edited, and receives edits from elsewhere: what an edit costs, and how long the app's thread stands still.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sync_client_ffi::{DocId, SyncError};

use super::{Order, PATIENCE, acknowledged, insert, length};

const REMOTE_MAX: u64 = 100;
const REMOTE_INTERVAL: Duration = Duration::from_millis(50);
/// How often the app's thread touches the document meanwhile: as often as a screen is drawn, and more.
const TOUCH: Duration = Duration::from_millis(2);

pub fn run(order: &Order) -> Value {
    let id: DocId = order.told["id"]["doc"].as_str().and_then(|id| id.parse().ok()).expect("a document");
    let user = order.told["id"]["user"].as_str().expect("a user");
    let open = |role: u8| {
        let client = order.phone(user, role);
        let fetched: Result<_, SyncError> = client.sync_once(PATIENCE);
        fetched.expect("an exchange");
        client.start().expect("a live session");
        client
    };
    let began = Instant::now();
    let client = open(3);
    let doc = client.open_doc(client.personal_space(), id).expect("the document");
    let end = length(&doc);
    let open_ms = began.elapsed().as_secs_f64() * 1e3;
    let edits = order.number("edits");
    let mut times = Vec::new();
    for at in end..end + edits {
        let from = Instant::now();
        insert(&doc, at, "x");
        times.push(from.elapsed().as_secs_f64() * 1e6);
    }
    acknowledged(&client);
    let other = open(4);
    let same = other.open_doc(other.personal_space(), id).expect("the document");
    let remote = edits.min(REMOTE_MAX);
    let wanted = length(&same) + remote;
    let done = AtomicBool::new(false);
    let mut stalls = std::thread::scope(|scope| {
        let app = scope.spawn(|| {
            let mut stalls = Vec::new();
            while !done.load(Ordering::Acquire) {
                let from = Instant::now();
                length(&doc);
                stalls.push(from.elapsed().as_secs_f64() * 1e3);
                std::thread::sleep(TOUCH);
            }
            stalls
        });
        for _ in 0..remote {
            insert(&same, length(&same), "y");
            std::thread::sleep(REMOTE_INTERVAL);
        }
        let arrived = doc.wait_until(PATIENCE, |doc| length(doc) >= wanted);
        done.store(true, Ordering::Release);
        assert!(arrived, "what was written elsewhere arrives");
        app.join().expect("the app's thread")
    });
    client.stop();
    other.stop();
    // One for each remote edit: the longest of them are those in which something was applied.
    stalls.sort_by(|a, b| b.total_cmp(a));
    stalls.truncate(remote as usize);
    json!({ "open_ms": open_ms, "edits_us": times, "stalls_ms": stalls })
}
