//! A document of 259,778 keystrokes, as long as the paper whose trace others measure with: its snapshot, and what opening it costs
//! a phone, whether the phone got it as a snapshot or wrote it itself.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sync_client_ffi::{Client, DocId, SpaceId, Value};
use sync_tests::rig::{Rig, Seeded, device};

use crate::{Figure, quantiles};

const KEYSTROKES: u64 = 259_778;
/// Of which so many of a thousand delete: what is left then is as long as the paper.
const DELETED: u64 = 297;
const OPENINGS: usize = 7;
const PROSE: &str = include_str!("../../LICENSE-APACHE");
const PATIENCE: Duration = Duration::from_mins(5);

pub fn measure() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::with(|config| {
        config.compaction.enabled = false;
        (config.compaction.tail_changes_max, config.compaction.pause_ms) = (1, 0);
        config.compaction.retention_days = 0;
    });
    let open = |number: u8| {
        let client = Client::builder(folder.path().join(format!("phone-{number}"))).server(rig.url());
        client.token(rig.token("ann", device(number))).live(false).open().expect("a phone")
    };
    let (author, space) = (open(1), SpaceId::personal("ann"));
    let doc = author.create(space, "papers").expect("a document");
    doc.edit(|edit| _ = edit.put("text", Value::Text(String::new()))).expect("an edit");
    let began = Instant::now();
    write(&doc);
    let written = began.elapsed().as_secs_f64();
    author.sync_once(PATIENCE).expect("an exchange");
    rig.compact();
    let reader = open(2);
    reader.sync_once(PATIENCE).expect("a cold start");
    let held = reader.open_doc(space, doc.id()).expect("the document");
    assert_eq!(held.text("text").expect("text"), doc.text("text").expect("text"));
    let characters = doc.length("text").expect("a length").unwrap_or(0);
    let snapshot = snapshot_bytes(&folder.path().join("phone-2"));
    let id = doc.id();
    drop((doc, held, author, reader));
    let by_snapshot = open_apart(&folder.path().join("phone-2"), space, id);
    let by_changes = open_apart(&folder.path().join("phone-1"), space, id);
    vec![
        Figure::note(
            "259,778 keystrokes into one document on disk, characters left",
            format!("{:.0} µs each, {characters}", written * 1e6 / KEYSTROKES as f64),
        ),
        Figure::against("its snapshot", format!("{:.0} KB", snapshot as f64 / 1e3), "<= 150 KB", snapshot <= 150_000),
        Figure::against(
            "opening it from a snapshot, in a process of its own, median / worst",
            format!("{:.0} / {:.0} ms", by_snapshot.0, by_snapshot.1),
            "< 400 ms",
            by_snapshot.0 < 400.0,
        ),
        Figure::against(
            "resident memory at its highest meanwhile",
            format!("{:.0} MiB", by_snapshot.2),
            "< 64 MiB",
            by_snapshot.2 < 64.0,
        ),
        Figure::note(
            "the same where it was written, from changes, median / worst; memory",
            format!("{:.0} / {:.0} ms; {:.0} MiB", by_changes.0, by_changes.1, by_changes.2),
        ),
    ]
}

/// Types a text from its beginning to its end, with what was typed wrongly taken back and passages put in later.
fn write(doc: &sync_client_ffi::Doc) {
    let prose: Vec<char> = PROSE.chars().collect();
    let mut random = Seeded::new("paper");
    let (mut length, mut cursor) = (0u64, 0u64);
    for stroke in 0..KEYSTROKES {
        if random.below(1_000) < DELETED && cursor > 0 {
            cursor -= 1;
            length -= 1;
            doc.edit(|edit| _ = edit.splice("text", cursor, 1, "")).expect("an edit");
        } else {
            let letter = prose[(stroke as usize) % prose.len()].to_string();
            doc.edit(|edit| _ = edit.splice("text", cursor, 0, letter)).expect("an edit");
            cursor += 1;
            length += 1;
        }
        if random.below(400) == 0 {
            cursor = if random.below(3) == 0 { random.below(length + 1) } else { length };
        }
    }
}

fn snapshot_bytes(store: &Path) -> u64 {
    let connection = rusqlite::Connection::open(store).expect("a store");
    connection
        .query_row("SELECT COALESCE(SUM(LENGTH(bytes)), 0) FROM snapshot_parts", (), |row| row.get(0))
        .expect("bytes")
}

/// Median and worst of some openings in milliseconds, and the highest memory of one in MiB.
fn open_apart(store: &Path, space: SpaceId, doc: DocId) -> (f64, f64, f64) {
    let program = std::env::current_exe().expect("this program");
    let (mut times, mut memory) = (Vec::new(), 0f64);
    for _ in 0..OPENINGS {
        let child =
            Command::new(&program).arg("open-doc").arg(store).args([space.to_string(), doc.to_string()]).output();
        let told = String::from_utf8(child.expect("another process").stdout).expect("two numbers");
        let mut numbers = told.split_whitespace().map(|number| number.parse::<f64>().expect("a number"));
        times.push(numbers.next().expect("milliseconds"));
        memory = memory.max(numbers.next().expect("MiB"));
    }
    let (median, worst) = quantiles(times);
    (median, worst, memory)
}

/// What the other process does: opens the document and reads its length.
pub fn open(store: &Path, space: &str, doc: &str) {
    let client = Client::builder(store).open().expect("the store");
    let (space, doc) = (space.parse().expect("a space"), doc.parse().expect("a document"));
    let before = high_mib();
    let began = Instant::now();
    let doc = client.open_doc(space, doc).expect("the document");
    let length = doc.length("text").expect("a length");
    let ms = began.elapsed().as_secs_f64() * 1e3;
    assert!(length.is_some_and(|length| length > 0));
    println!("{ms} {}", high_mib() - before);
}

fn high_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process's status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its highest memory");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("KiB");
    kib / 1024.0
}
