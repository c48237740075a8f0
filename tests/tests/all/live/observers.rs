//! Observers: small steps, each once and in order, and not more often than a screen can show.

use std::time::Instant;

use sync_client_ffi::{Action, ClientError, Doc, EditState, EventKind, Origin, Patched, Subscription, path};
use sync_core::limits::{APPLY_INTERVAL_MS, OBSERVER_QUEUE_MAX};
use sync_tests::rig::{PATIENCE, Rig, Seeded};
use sync_tests::seen::Seen;

use super::{Pair, append, count, counts, shows};

fn watch(doc: &Doc) -> (Seen<EventKind>, Subscription) {
    let seen = Seen::default();
    let told = seen.clone();
    (seen, doc.observe(move |event| told.see(event.kind.clone())))
}

/// Plays steps on a text; `None` where they say to look again.
fn play(events: &[(Instant, EventKind)]) -> Option<String> {
    let mut text: Vec<char> = Vec::new();
    for (_, event) in events {
        let EventKind::Patches(steps) = event else { return None };
        for Patched { patch, .. } in steps.iter().filter(|step| step.patch.path == path!["body"]) {
            match &patch.action {
                Action::InsertText { at, text: new } => {
                    text.splice(*at as usize..*at as usize, new.chars());
                }
                Action::Remove { at, count } => {
                    text.drain(*at as usize..(at + count) as usize);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    Some(text.into_iter().collect())
}

#[test]
fn rapid_edits_come_in_frames_and_every_step_once_and_in_order() {
    const EDITS: usize = 400;
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let (there, remote) = watch(&pair.same);
    let (here, local) = watch(&pair.doc);
    let mut random = Seeded::new("frames");
    for number in 0..EDITS {
        let length = pair.doc.length("body").unwrap().unwrap();
        let at = random.below(length + 1);
        let delete = random.below(3).min(length - at);
        pair.doc
            .edit(|edit| {
                edit.splice("body", at, delete, format!("{number},"));
            })
            .unwrap();
    }
    let text = pair.doc.text("body").unwrap().unwrap();
    assert!(shows(&pair.same, &text));
    for (seen, origin) in [(there, Origin::Remote), (here, Origin::Local)] {
        seen.wait(|events| (play(events)? == text).then_some(()));
        seen.wait(|events| {
            let steps = events.iter().flat_map(|(_, event)| match event {
                EventKind::Patches(steps) => steps.as_slice(),
                _ => &[],
            });
            assert!(steps.clone().all(|step| step.origin == origin));
            // So many frames fit between the first and the last of them; the first does not wait for one.
            let span = events.last().unwrap().0.duration_since(events[0].0);
            let frames = span.as_millis() as usize / APPLY_INTERVAL_MS as usize + 2;
            assert!(events.len() <= frames, "{} batches in {span:?}", events.len());
            assert!(events.len() < EDITS, "{} batches", events.len());
            Some(())
        });
    }
    drop((remote, local));
}

#[test]
fn an_event_says_how_far_of_the_log_the_document_is() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let seen = Seen::default();
    let told = seen.clone();
    let subscription = pair.same.observe(move |event| told.see(event.through));
    for _ in 0..5 {
        append(&pair.doc, "x");
        let edit = pair.doc.edits().unwrap();
        assert!(pair.ann.wait_acknowledged(pair.space, PATIENCE));
        let EditState::Durable { seq } = pair.doc.edit_state(edit).unwrap() else { panic!("not durable") };
        seen.wait(|events| events.iter().any(|(_, through)| *through >= seq).then_some(()));
    }
    drop(subscription);
}

#[test]
fn documents_that_come_and_go_elsewhere_are_told() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let seen = Seen::default();
    let (told, reader, space) = (seen.clone(), pair.other.clone(), pair.space);
    let subscription = pair.other.on_documents(space, move || told.see(reader.documents(space, None).unwrap().len()));
    let doc = pair.ann.create(space, "notes").unwrap();
    seen.wait_for(0, &2);
    let before = seen.count();
    pair.ann.delete(space, doc.id()).unwrap();
    seen.wait_for(before, &1);
    drop(subscription);
}

#[test]
fn steps_of_both_sides_come_in_the_order_in_which_they_took_effect() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let (seen, subscription) = watch(&pair.same);
    for round in 0..100 {
        append(&pair.doc, &format!("a{round} "));
        append(&pair.same, &format!("b{round} "));
    }
    for phone in [&pair.ann, &pair.other, &pair.ann] {
        phone.sync_once(PATIENCE).unwrap();
    }
    let text = pair.doc.text("body").unwrap().unwrap();
    assert!(shows(&pair.same, &text));
    seen.wait(|events| (play(events)? == text).then_some(()));
    let origins = |origin: Origin| {
        seen.wait(|events| {
            let of = |event: &EventKind| match event {
                EventKind::Patches(steps) => steps.iter().filter(|step| step.origin == origin).count(),
                _ => 0,
            };
            Some(events.iter().map(|(_, event)| of(event)).sum::<usize>())
        })
    };
    assert_eq!(origins(Origin::Local), 100);
    assert!(origins(Origin::Remote) > 0);
    drop(subscription);
}

#[test]
fn an_observer_that_lags_behind_is_told_to_look_again() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let (seen, gate) = (Seen::default(), std::sync::Arc::new(std::sync::Barrier::new(2)));
    let (told, held) = (seen.clone(), gate.clone());
    let subscription = pair.same.observe(move |event| {
        let first = told.count() == 0;
        told.see(event.kind.clone());
        if first {
            held.wait();
        }
    });
    append(&pair.doc, "first");
    seen.wait(|events| (!events.is_empty()).then_some(()));
    // It is busy with the first while more happens than is kept for it.
    for _ in 0..=OBSERVER_QUEUE_MAX {
        pair.same
            .edit(|edit| {
                edit.splice("body", 0, 0, "x");
            })
            .unwrap();
    }
    gate.wait();
    seen.wait_for(0, &EventKind::LookAgain);
    let text = pair.same.text("body").unwrap().unwrap();
    assert_eq!(text.len(), "first".len() + OBSERVER_QUEUE_MAX + 1);
    // And from there on it follows again.
    let before = seen.count();
    append(&pair.doc, "last");
    seen.wait_from(before, |events| {
        events.iter().any(|(_, event)| matches!(event, EventKind::Patches(_))).then_some(())
    });
    drop(subscription);
}

#[test]
fn a_document_that_was_closed_while_others_changed_it_is_looked_at_again() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let (seen, subscription) = watch(&pair.same);
    pair.other.stop();
    // An edit that the disk does not take closes the document; it is read again when somebody wants to see it.
    pair.other.limit_store_pages(1).unwrap();
    let full = pair.same.edit(|edit| {
        edit.splice("body", 0, 0, "x".repeat(100_000));
    });
    assert!(matches!(full, Err(ClientError::DiskFull)), "{full:?}");
    pair.other.limit_store_pages(0).unwrap();
    pair.other.start().unwrap();
    let before = seen.count();
    count(&pair.doc, 1);
    seen.wait_from(before, |events| events.iter().any(|(_, event)| *event == EventKind::LookAgain).then_some(()));
    assert!(counts(&pair.same, 1));
    drop(subscription);
}

#[test]
fn a_large_document_stays_usable_while_another_types_into_it() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    append(&pair.doc, &"All work and no play makes a large text. ".repeat(2_500));
    let mut text = pair.doc.text("body").unwrap().unwrap();
    assert!(text.len() > 100_000 && shows(&pair.same, &text));
    let (seen, subscription) = watch(&pair.same);
    let began = Instant::now();
    for number in 0..100 {
        let typed = format!("{number} ");
        append(&pair.doc, &typed);
        text.push_str(&typed);
        // Reading and writing never wait for what is taken in.
        assert!(pair.same.length("body").unwrap().is_some());
    }
    let typed = began.elapsed();
    assert!(shows(&pair.same, &text));
    println!("100 edits typed in {typed:?}, all seen after {:?}, {} batches", began.elapsed(), seen.count());
    drop(subscription);
}
