//! One phone types, another shows it: from the call of the edit to where the other can read it, everything durable on the
//! way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use sync_client_ffi::{Client, Doc, Value};

use super::server::Server;
use super::throughput::device;
use crate::{Figure, floor, quantiles};

const EDITS: usize = 1_000;
const WARM_UP: usize = 100;
const INTERVAL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(20);
/// The writer's journal, the change in its feed, the server's commit, the reader's store.
const FSYNCS: f64 = 4.0;

/// The text was seen to have that length.
struct Seen {
    length: u64,
    at: Instant,
    by_observer: bool,
}

pub fn measure() -> Vec<Figure> {
    let (fsync, fsync_worst) = floor::fsyncs();
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let phone = |number: u8| {
        let client = Client::builder(folder.path().join(number.to_string()));
        let client = client.server(format!("http://{}", server.address()));
        client.token(server.token("ann", device(0, number))).open().expect("a phone")
    };
    let (writer, reader) = (phone(1), phone(2));
    let space = writer.personal_space();
    let doc = writer.create(space, "notes").expect("a document");
    doc.edit(|edit| {
        edit.put("text", Value::Text(String::new()));
    })
    .expect("a text");
    writer.sync_once(PATIENCE).expect("the writer reaches the server");
    reader.sync_once(PATIENCE).expect("the reader reaches the server");
    let same = reader.open_doc(space, doc.id()).expect("the document");
    writer.start().expect("the writer is live");
    reader.start().expect("the reader is live");

    let (seen, sightings) = channel();
    let watched = same.clone();
    let told = seen.clone();
    let observing = same.observe(move |_| look(&watched, true, &told));
    let done = AtomicBool::new(false);
    let began = std::thread::scope(|scope| {
        scope.spawn(|| watch(&reader, &writer, &same, &seen, &done));
        let began = type_text(&doc);
        // What was typed last arrives as well.
        let last = writer.wait_acknowledged(space, PATIENCE).then(|| writer.feed(space).expect("the feed").n);
        let arrived = last.is_some_and(|n| reader.wait_for(space, writer.device(), n, PATIENCE));
        done.store(true, Ordering::Release);
        assert!(arrived, "everything arrives");
        began
    });
    let until = Instant::now() + PATIENCE;
    while same.length("text").expect("its text") < Some(EDITS as u64) {
        assert!(Instant::now() < until, "what arrived is shown");
        // It never arrives; but the wait ends also when something was merged, and that is what is waited for.
        reader.wait_for(space, writer.device(), u64::MAX, INTERVAL);
    }
    drop(observing);
    reader.stop();
    writer.stop();
    let changes = writer.feed(space).expect("the feed").n;
    drop(seen);
    let sightings: Vec<Seen> = sightings.try_iter().collect();
    // A state that shows an edit shows all before it.
    let first = |number: usize, counts: &dyn Fn(&Seen) -> bool| {
        let shows = |seen: &&Seen| counts(seen) && seen.length > number as u64;
        let at = sightings.iter().filter(shows).map(|seen| seen.at).min()?;
        Some((at - began[number]).as_secs_f64() * 1e3)
    };
    let measured = |counts: &dyn Fn(&Seen) -> bool| {
        let times: Vec<f64> = (WARM_UP..EDITS).filter_map(|number| first(number, counts)).collect();
        assert!(times.len() * 100 >= (EDITS - WARM_UP) * 99, "nearly every edit was seen");
        quantiles(times)
    };
    let (readable, readable_worst) = measured(&|_| true);
    let (told, told_worst) = measured(&|seen| seen.by_observer);
    let floor = FSYNCS * fsync / 1e3;
    vec![
        Figure::against(
            "100 edits/s, from the call of an edit to readable on the other phone, median / p99",
            format!("{readable:.2} / {readable_worst:.2} ms"),
            "< 3 / < 15 ms",
            readable < 3.0 && readable_worst < 15.0,
        ),
        Figure::note("to its observer, median / p99", format!("{told:.2} / {told_worst:.2} ms")),
        Figure::note(
            "of which 4 fsyncs one after the other (journal, feed, server, reader's store)",
            format!(
                "4 × {fsync:.0} µs = {:.0} % of the median; p99 of one {fsync_worst:.0} µs",
                100.0 * floor / readable
            ),
        ),
        Figure::note("changes that the edits became", format!("{changes} of {}", EDITS + 2)),
    ]
}

/// Types at a steady pace; answers when each edit was called.
fn type_text(doc: &Doc) -> Vec<Instant> {
    let start = Instant::now();
    let mut began = Vec::with_capacity(EDITS);
    for number in 0..EDITS {
        std::thread::sleep((INTERVAL * number as u32).saturating_sub(start.elapsed()));
        began.push(Instant::now());
        doc.edit(|edit| {
            edit.splice("text", number as u64, 0, "x");
        })
        .expect("a keystroke");
    }
    began
}

/// Looks at the text whenever a change has arrived.
fn watch(reader: &Client, writer: &Client, doc: &Doc, seen: &Sender<Seen>, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        let here = reader.version(doc.space()).expect("what is here").get(writer.device());
        if reader.wait_for(doc.space(), writer.device(), here + 1, INTERVAL) {
            look(doc, false, seen);
        }
    }
}

fn look(doc: &Doc, by_observer: bool, seen: &Sender<Seen>) {
    let length = doc.length("text").expect("the store").unwrap_or_default();
    // After the last look nobody listens.
    seen.send(Seen { length, at: Instant::now(), by_observer }).ok();
}
