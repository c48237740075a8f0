//! What a phone pays: opening a store of 2,000 documents, an edit and a read through the face that other languages see.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use sync_client_ffi::ffi::{OpenOptions, RejoinClient};
use sync_client_ffi::{Client, DeviceId, Value};

use crate::{Figure, quantiles};

const DOCUMENTS: u64 = 2_000;
const OPENINGS: usize = 15;
const FIELDS: u64 = 100;
const MEASURED: usize = 2_000;

fn device() -> DeviceId {
    DeviceId::from_random([1; 16])
}

pub fn measure() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("phone");
    fill(&store);
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..OPENINGS {
        let (ms, mib) = open_apart(&store);
        times.push(ms);
        memory.push(mib);
    }
    let ((open, open_worst), (mib, _)) = (quantiles(times), quantiles(memory));
    let mut figures = vec![
        Figure::against(
            "opening a store with 2,000 documents, in a process of its own, median / worst",
            format!("{open:.1} / {open_worst:.1} ms"),
            "< 50 ms",
            open < 50.0,
        ),
        Figure::against("resident memory that it adds", format!("{mib:.1} MiB"), "< 16 MiB", mib < 16.0),
    ];
    figures.extend(through_the_face(&folder.path().join("face")));
    figures
}

fn fill(store: &Path) {
    let client = Client::builder(store).identity("ann", device()).open().expect("a store");
    for number in 0..DOCUMENTS {
        let doc = client.create(client.personal_space(), "notes").expect("a document");
        doc.edit(|edit| {
            edit.put("title", format!("Note {number}")).put("body", Value::Text("x".repeat(900)));
        })
        .expect("an edit");
        doc.seal().expect("a change");
    }
}

/// Opens the store in another process, which says what it took: milliseconds and MiB.
fn open_apart(store: &Path) -> (f64, f64) {
    let program = std::env::current_exe().expect("this program");
    let told = Command::new(program).arg("open").arg(store).output().expect("another process");
    let told = String::from_utf8(told.stdout).expect("two numbers");
    let mut numbers = told.split_whitespace().map(|number| number.parse().expect("a number"));
    (numbers.next().expect("milliseconds"), numbers.next().expect("MiB"))
}

/// What the other process does.
pub fn open(store: &Path) {
    let before = resident_mib();
    let began = Instant::now();
    let client = Client::builder(store).open().expect("the store");
    let ms = began.elapsed().as_secs_f64() * 1e3;
    println!("{ms} {}", resident_mib() - before);
    drop(client);
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process's status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its resident memory");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("KiB");
    kib / 1024.0
}

fn through_the_face(store: &Path) -> Vec<Figure> {
    let path = store.display().to_string();
    let options = OpenOptions { user: Some("ann".into()), device: Some(device()), ..OpenOptions::at(path) };
    let client = RejoinClient::open_blocking(options).expect("a store");
    let space = client.personal_space().expect("a space");
    let doc = client.create_document(space, "notes".into()).expect("a document");
    for field in 0..FIELDS {
        let value = format!("value {field}");
        doc.put(&format!("/field{field}"), sync_client_ffi::ffi::FfiValue::Str { value }).expect("a field");
    }
    let mut reads = Vec::with_capacity(MEASURED);
    for _ in 0..MEASURED {
        let began = Instant::now();
        let json = doc.json("").expect("a read").expect("a document");
        reads.push(began.elapsed().as_secs_f64() * 1e6);
        assert!(json.len() > FIELDS as usize * 10);
    }
    let (read, read_worst) = quantiles(reads);
    vec![Figure::against(
        "a document of 100 fields as JSON, median / p99",
        format!("{read:.0} / {read_worst:.0} µs"),
        "≤ 200 µs",
        read <= 200.0,
    )]
}
