//! The calls that `bench/python_costs.py` times through Python, in Rust: same store, same documents, same order.

use std::path::Path;
use std::time::Instant;

use sync_client_ffi::{Client, DeviceId, Doc, Path as Place, Value};

use crate::quantiles;

const FIELDS: u64 = 100;
/// Calls of one kind in a round; kinds take turns, so that a noisy moment is nobody's alone.
const CALLS: usize = 200;
const ROUNDS: usize = 10;

/// Prints a line a call: its name and the median in microseconds.
pub fn print(store: &Path) {
    let client = Client::builder(store).identity("ann", DeviceId::from_random([1; 16])).open().expect("a new store");
    let create = || client.create(client.personal_space(), "notes").expect("a document");
    let (edited, typed, wide) = (create(), create(), create());
    put(&typed, "text", Value::Text(String::new()));
    for field in 0..FIELDS {
        put(&wide, &format!("field{field}"), Value::Str(format!("value {field}")));
    }
    let mut at = 0;
    let mut type_one = || {
        typed
            .edit(|edit| {
                edit.splice("text", at, 0, "a");
            })
            .expect("a keystroke");
        at += 1;
    };
    let mut block = || {
        edited
            .edit(|edit| {
                edit.put("a", 1).put("b", "two").put("c", true);
            })
            .expect("an edit");
    };
    let mut calls: [(&str, &mut dyn FnMut()); 4] = [
        ("put", &mut || put(&edited, "title", Value::Str("Groceries".into()))),
        ("splice", &mut type_one),
        ("block of 3", &mut block),
        ("json of 100 fields", &mut || {
            let whole = wide.get(Place::root()).expect("a read").expect("a document");
            assert!(whole.to_json().to_string().len() > 1_000);
        }),
    ];
    let mut times = calls.each_ref().map(|_| Vec::with_capacity(CALLS * ROUNDS));
    for _ in 0..ROUNDS {
        for ((_, call), times) in calls.iter_mut().zip(&mut times) {
            for _ in 0..CALLS {
                let began = Instant::now();
                call();
                times.push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    for ((name, _), times) in calls.iter().zip(times) {
        println!("{name}\t{}", quantiles(times).0);
    }
}

fn put(doc: &Doc, key: &str, value: Value) {
    doc.edit(|edit| {
        edit.put(key, value);
    })
    .expect("an edit");
}
