//! Phones that come late: new ones, and those that slept past the horizon.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_client_ffi::{EventKind, Value};
use sync_tests::rig::{PATIENCE, Rig, Seeded, device};

use super::{eager, equal, keeping, new_doc, noise, write};

#[test]
fn a_device_that_slept_past_the_horizon_keeps_its_edits_and_pushes_them() {
    for journal in [false, true] {
        let rig = Rig::with(eager);
        let (ann, sleeper) = (rig.phone("ann", 1), rig.phone("ann", 2));
        let space = ann.personal_space();
        let docs = [new_doc(&ann), new_doc(&ann), new_doc(&ann)];
        for doc in &docs {
            write(doc, 3, "before ");
        }
        ann.sync_once(PATIENCE).unwrap();
        sleeper.sync_once(PATIENCE).unwrap();
        let open: Vec<_> = docs.iter().map(|doc| sleeper.open_doc(space, doc.id()).unwrap()).collect();
        let events = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&events);
        let observed = open[0].observe(move |event| {
            assert!(matches!(event.kind, EventKind::Patches(_) | EventKind::LookAgain), "{event:?}");
            heard.fetch_add(1, Ordering::Relaxed);
        });
        // Offline, one change in each of the first two; what is typed last may still be in the journal.
        for doc in &open[..2] {
            doc.edit(|edit| {
                edit.splice("body", 0, 0, "offline ").increment("count", 100);
            })
            .unwrap();
            if !journal {
                doc.seal().unwrap();
            }
        }
        for doc in &docs {
            write(doc, 20, "meanwhile ");
        }
        ann.sync_once(PATIENCE).unwrap();
        assert_eq!(rig.compact().dropped, 3);
        let before = sleeper.version(space).unwrap();
        sleeper.sync_once(PATIENCE).unwrap();
        assert_ne!(sleeper.version(space).unwrap(), before);
        ann.sync_once(PATIENCE).unwrap();
        for (at, doc) in docs.iter().enumerate() {
            equal(&ann, &sleeper, doc.id());
            let count = if at < 2 { 123 } else { 23 };
            assert_eq!(open[at].get("count").unwrap(), Some(Value::Counter(count)));
        }
        assert!(events.load(Ordering::Relaxed) > 0, "its observer was told");
        drop(observed);
        assert!(sleeper.refused(space).unwrap().is_empty());
        assert_eq!(sleeper.version(space).unwrap(), ann.version(space).unwrap());

        // Its store is read again from the disk.
        let sleeper_id = sleeper.device();
        drop((open, sleeper));
        let token = rig.token("ann", sleeper_id);
        let again = rig.builder("ann", 2).server(rig.url()).token(token).open().unwrap();
        for doc in &docs {
            equal(&ann, &again, doc.id());
        }
        write(&again.open_doc(space, docs[2].id()).unwrap(), 2, "awake ");
        again.sync_once(PATIENCE).unwrap();
        ann.sync_once(PATIENCE).unwrap();
        equal(&ann, &again, docs[2].id());
    }
}

#[test]
fn a_large_snapshot_comes_in_parts_and_goes_on_where_it_was_broken_off() {
    let rig = Rig::with(keeping);
    let ann = rig.phone("ann", 1);
    let space = ann.personal_space();
    let mut random = Seeded::new("a large snapshot");
    let (doc, small) = (new_doc(&ann), new_doc(&ann));
    for _ in 0..12 {
        write(&doc, 1, &noise(&mut random, 10_000));
    }
    // Written over again and again: what it was is in the history, and the snapshot is shorter than all of it.
    for _ in 0..60 {
        write(&small, 1, "x");
    }
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(rig.compact().folded, 2);

    let fresh = rig.phone("ann", 2);
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds < 100, "no progress");
        match fresh.sync_once_within(PATIENCE, 100 << 10) {
            Ok(report) if report.more => {
                let traffic = report.traffic;
                assert!(traffic.bytes_sent + traffic.bytes_received <= 100 << 10);
                // Nothing is seen of it before all of it is here, and its version says so.
                if fresh.version(space).unwrap().is_empty() {
                    assert!(fresh.documents(space, None).unwrap().is_empty());
                }
            }
            Ok(_) => break,
            Err(error) => panic!("round {rounds}: {error}"),
        }
    }
    assert!(rounds >= 3, "{rounds} rounds");
    for doc in [doc.id(), small.id()] {
        equal(&ann, &fresh, doc);
    }
    assert_eq!(fresh.version(space).unwrap(), ann.version(space).unwrap());
}

#[test]
fn a_snapshot_that_is_replaced_while_it_comes_is_taken_anew() {
    let rig = Rig::with(eager);
    let ann = rig.phone("ann", 1);
    let space = ann.personal_space();
    let mut random = Seeded::new("a replaced snapshot");
    let (doc, other) = (new_doc(&ann), new_doc(&ann));
    for _ in 0..10 {
        write(&doc, 1, &noise(&mut random, 10_000));
    }
    write(&other, 10, "other ");
    ann.sync_once(PATIENCE).unwrap();
    rig.compact();
    let fresh = rig.phone("ann", 2);
    let report = fresh.sync_once_within(PATIENCE, 60 << 10).unwrap();
    assert!(report.more);
    // The server goes on, and so does the log.
    for _ in 0..2 {
        write(&doc, 6, &noise(&mut random, 100));
        write(&other, 6, "other ");
        ann.sync_once(PATIENCE).unwrap();
        assert_eq!(rig.compact().folded, 2);
        fresh.sync_once_within(PATIENCE, 60 << 10).unwrap();
    }
    // Half-way it is closed and opened again.
    let id = fresh.device();
    drop(fresh);
    let fresh = rig.builder("ann", 2).server(rig.url()).token(rig.token("ann", id)).open().unwrap();
    fresh.sync_once(PATIENCE).unwrap();
    for doc in [doc.id(), other.id()] {
        equal(&ann, &fresh, doc);
    }
    assert_eq!(fresh.version(space).unwrap(), ann.version(space).unwrap());
}

#[test]
fn live_phones_catch_up_by_snapshots_and_follow_on() {
    let rig = Rig::with(eager);
    let (ann, sleeper) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    let mut random = Seeded::new("live snapshots");
    let (doc, large) = (new_doc(&ann), new_doc(&ann));
    write(&doc, 2, "before ");
    ann.sync_once(PATIENCE).unwrap();
    sleeper.sync_once(PATIENCE).unwrap();
    let same = sleeper.open_doc(space, doc.id()).unwrap();
    let texts = Arc::new(Mutex::new(Vec::new()));
    let (seen, watched) = (Arc::clone(&texts), same.clone());
    let observed = same.observe(move |_| seen.lock().unwrap().push(watched.text("body").unwrap().unwrap()));
    write(&doc, 10, "meanwhile ");
    for _ in 0..10 {
        write(&large, 1, &noise(&mut random, 10_000));
    }
    ann.sync_once(PATIENCE).unwrap();
    rig.compact();
    ann.start().unwrap();
    let fresh = rig.phone("ann", 3);
    for phone in [&sleeper, &fresh] {
        phone.start().unwrap();
        phone.sync_once(PATIENCE).unwrap();
    }
    write(&doc, 5, "live ");
    let n = ann.feed(space).unwrap().n;
    for phone in [&sleeper, &fresh] {
        assert!(phone.wait_for(space, device(1), n, PATIENCE), "it follows on");
        for doc in [&doc, &large] {
            wait_until(|| {
                let heads = phone.open_doc(space, doc.id()).and_then(|same| same.heads());
                heads.is_ok_and(|heads| heads == doc.heads().unwrap())
            });
            equal(&ann, phone, doc.id());
        }
    }
    drop(observed);
    let texts = texts.lock().unwrap();
    assert!(texts.last().is_some_and(|text| text.ends_with("live live live live live ")), "{texts:?}");
    for phone in [&ann, &sleeper, &fresh] {
        phone.stop();
    }
}

/// Waits for what follows an event by a moment.
fn wait_until(holds: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it does not come");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn a_new_device_takes_what_is_shorter() {
    let rig = Rig::with(keeping);
    let ann = rig.phone("ann", 1);
    let space = ann.personal_space();
    let mut random = Seeded::new("shorter");
    let (written_over, plain) = (new_doc(&ann), new_doc(&ann));
    // What was written and deleted again is in the payloads, and in the snapshot only as far as automerge keeps it.
    for _ in 0..30 {
        let text = noise(&mut random, 3);
        write(&written_over, 1, &text);
    }
    write(&plain, 1, &noise(&mut random, 1_000));
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(rig.compact().folded, 1);
    let fresh = rig.phone("ann", 2);
    let report = fresh.sync_once(PATIENCE).unwrap();
    for doc in [written_over.id(), plain.id()] {
        equal(&ann, &fresh, doc);
    }
    assert_eq!(fresh.version(space).unwrap(), ann.version(space).unwrap());
    println!("{} bytes", report.traffic.bytes_received);
}
