//! The live connection: what one writes, the others see at once.

use std::time::Instant;

use sync_client_ffi::{Client, Doc, SpaceId, Status, Value};
use sync_tests::rig::{PATIENCE, Rig};
use sync_tests::seen::Seen;

mod blocked;
mod crowd;
mod edits;
mod faces;
mod hostile;
mod lists;
mod network;
mod observers;
mod presence;
mod restart;
mod token;
mod undoing;

/// Two phones of one user that share a document and are live.
struct Pair {
    ann: Client,
    other: Client,
    space: SpaceId,
    /// The document, as each has it.
    doc: Doc,
    same: Doc,
}

impl Pair {
    /// With an empty text `body` and a counter `count`.
    fn start(rig: &Rig) -> Self {
        Self::of(rig.phone("ann", 1), rig.phone("ann", 2))
    }

    fn of(ann: Client, other: Client) -> Self {
        let space = ann.personal_space();
        ann.start().unwrap();
        other.start().unwrap();
        let doc = ann.create(space, "notes").unwrap();
        doc.edit(|edit| {
            edit.put("body", Value::Text(String::new())).put("count", Value::Counter(0));
        })
        .unwrap();
        doc.seal().unwrap();
        assert!(other.wait_for(space, ann.device(), ann.feed(space).unwrap().n, PATIENCE));
        let same = other.open_doc(space, doc.id()).unwrap();
        // Everything is exchanged, and both follow the log.
        for phone in [&ann, &other] {
            phone.sync_once(PATIENCE).unwrap();
        }
        Self { ann, other, space, doc, same }
    }
}

/// Types behind what is there.
fn append(doc: &Doc, text: &str) {
    let end = doc.length("body").unwrap().unwrap();
    doc.edit(|edit| {
        edit.splice("body", end, 0, text);
    })
    .unwrap();
}

fn count(doc: &Doc, by: i64) {
    doc.edit(|edit| {
        edit.increment("count", by);
    })
    .unwrap();
}

/// Waits until a document shows that text.
fn shows(doc: &Doc, text: &str) -> bool {
    doc.wait_until(PATIENCE, |doc| doc.text("body").unwrap().as_deref() == Some(text))
}

fn counts(doc: &Doc, count: i64) -> bool {
    doc.wait_until(PATIENCE, |doc| doc.get("count").unwrap() == Some(Value::Counter(count)))
}

/// Statuses from now on.
fn statuses(phone: &Client) -> (Seen<Status>, sync_client_ffi::Subscription) {
    let seen = Seen::default();
    let told = seen.clone();
    (seen, phone.on_status(move |status| told.see(status)))
}

/// Works until a moment has come, and does not wait for it: something is exchanged all the time.
fn exchange_until(moment: Instant, pair: &Pair) -> i64 {
    let mut exchanged = 0;
    while Instant::now() < moment {
        count(&pair.doc, 1);
        exchanged += 1;
        assert!(pair.ann.wait_acknowledged(pair.space, PATIENCE));
    }
    exchanged
}
