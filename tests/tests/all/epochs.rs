//! Epochs: a document is begun anew under phones that write, sleep and come later, and nobody loses anything.

use std::collections::BTreeSet;

use sync_client_ffi::{Client, ClientError, Doc, DocId, Value, path};
use sync_core::code::RejectCode;
use sync_server::Config;
use sync_server::store::Store;
use sync_server::store::snapshots::{Range, Snapshots};
use sync_server::store::sqlite::{SqliteOptions, SqliteStore};
use sync_tests::rig::{PATIENCE, Rig};

/// Folds early; no reader is waited for.
fn eager(config: &mut Config) {
    config.compaction.enabled = false;
    config.compaction.tail_changes_max = 5;
    config.compaction.pause_ms = 0;
    config.compaction.active_days = 0;
}

fn new_doc(phone: &Client) -> Doc {
    let doc = phone.create(phone.personal_space(), "notes").unwrap();
    doc.edit(|edit| {
        edit.put("body", Value::Text("the quick brown fox".into())).put("count", Value::Counter(0));
    })
    .unwrap();
    doc.seal().unwrap();
    doc
}

/// Text that is typed and deleted again: history, and no content.
fn churn(doc: &Doc, changes: u64) {
    for _ in 0..changes {
        doc.edit(|edit| {
            edit.splice("body", 0, 0, "some words that do not stay ").increment("count", 1);
        })
        .unwrap();
        doc.edit(|edit| {
            edit.splice("body", 0, 28, "");
        })
        .unwrap();
        doc.seal().unwrap();
    }
}

fn insert(doc: &Doc, before: &str, text: &str) {
    let body = doc.text("body").unwrap().unwrap();
    let at = body.find(before).unwrap() as u64;
    doc.edit(|edit| {
        edit.splice("body", at, 0, text).increment("count", 100);
    })
    .unwrap();
}

#[track_caller]
fn equal(one: &Client, other: &Client, doc: DocId) {
    let space = one.personal_space();
    let (one, other) = (one.open_doc(space, doc).unwrap(), other.open_doc(space, doc).unwrap());
    assert_eq!(one.json("").unwrap(), other.json("").unwrap());
    assert_eq!(one.heads().unwrap(), other.heads().unwrap());
    assert_eq!(one.canonical_save().unwrap(), other.canonical_save().unwrap());
}

fn sync(phones: &[&Client]) {
    for _ in 0..3 {
        for phone in phones {
            phone.sync_once(PATIENCE).unwrap();
        }
    }
}

/// Changes of a document on the server, the bytes that are left of them, and its epoch's place in the log.
fn on_server(rig: &Rig, phone: &Client, doc: DocId) -> (u64, u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(rig.data(), &SqliteOptions::default()).unwrap();
        let space = phone.personal_space();
        let state = store.document_state(space, doc).await.unwrap().unwrap();
        let range = Range { after: 0, through: u64::MAX, few: true };
        let left = store.changes_in(space, doc, range, usize::MAX).await.unwrap();
        let epoch = store.changes_at(space, &[state.epoch_seq.max(1)]).await.unwrap().remove(0);
        let epoch = if state.epoch_seq > 0 { epoch.bytes.map_or(0, |bytes| bytes.len() as u64) } else { 0 };
        let snapshot = state.snapshot.map_or(0, |snapshot| snapshot.size);
        store.close().await.unwrap();
        (left.iter().map(|(_, bytes)| bytes).sum::<u64>() + epoch + snapshot, state.epoch_seq)
    })
}

#[test]
fn a_document_begins_anew_under_phones_that_write_sleep_and_come_later() {
    let rig = Rig::with(eager);
    let (ann, live, sleeper) = (rig.phone("ann", 1), rig.phone("ann", 2), rig.phone("ann", 3));
    let space = ann.personal_space();
    let doc = new_doc(&ann);
    churn(&doc, 40);
    sync(&[&ann, &live, &sleeper]);
    let (of_live, of_sleeper) = (live.open_doc(space, doc.id()).unwrap(), sleeper.open_doc(space, doc.id()).unwrap());
    // The sleeper writes offline, in several changes, and the last into its journal.
    insert(&of_sleeper, "brown", "very ");
    of_sleeper.seal().unwrap();
    insert(&of_sleeper, "fox", "old ");
    // What it wrote behind is deleted meanwhile.
    churn(&doc, 20);
    let at = doc.text("body").unwrap().unwrap().find("quick ").unwrap() as u64;
    doc.edit(|edit| {
        edit.splice("body", at, 6, "");
    })
    .unwrap();
    sync(&[&ann, &live]);
    let (before, _) = on_server(&rig, &ann, doc.id());
    let heads = doc.heads().unwrap();

    assert_eq!(doc.start_epoch().unwrap(), 1);
    // In flight on both sides of it: upon the old epoch, and not sent yet.
    insert(&doc, "fox", "red ");
    insert(&of_live, "the", "behold ");
    sync(&[&ann, &live]);
    assert_eq!((doc.epoch().unwrap(), of_live.epoch().unwrap()), (1, 1));
    assert_eq!(doc.text("body").unwrap().unwrap(), "behold the brown red fox");
    assert_eq!(doc.get("count").unwrap(), Some(Value::Counter(260)));
    equal(&ann, &live, doc.id());
    assert!(matches!(doc.json_at("", &heads), Err(ClientError::NoChange(_))), "its history is gone");
    rig.compact();
    let (after, _) = on_server(&rig, &ann, doc.id());
    println!("a document of 24 characters on the server: {before} bytes before, {after} after its epoch");
    assert!(after * 10 < before, "{before} became {after}");

    let fresh = rig.phone("ann", 4);
    sync(&[&sleeper, &fresh, &ann, &live]);
    let body = of_sleeper.text("body").unwrap().unwrap();
    assert!(["old red", "red old"].map(|both| format!("behold the very brown {both} fox")).contains(&body), "{body}");
    assert_eq!(doc.get("count").unwrap(), Some(Value::Counter(460)));
    for phone in [&live, &sleeper, &fresh] {
        equal(&ann, phone, doc.id());
        assert!(phone.quarantine(space).unwrap().is_empty());
    }
    // Life goes on, folding too, and the next epoch.
    for (round, (phone, of)) in [(&sleeper, &of_sleeper), (&ann, &doc)].into_iter().enumerate() {
        churn(of, 8);
        sync(&[phone, &ann, &live, &sleeper, &fresh]);
        rig.compact();
        assert_eq!(of.start_epoch().unwrap(), round as u64 + 2);
        sync(&[phone, &ann, &live, &sleeper, &fresh]);
        for other in [&live, &sleeper, &fresh] {
            equal(&ann, other, doc.id());
            assert_eq!(other.open_doc(space, doc.id()).unwrap().epoch().unwrap(), round as u64 + 2);
        }
    }
    churn(&doc, 8);
    sync(&[&ann]);
    rig.compact();
    let last = rig.phone("ann", 5);
    sync(&[&last]);
    equal(&ann, &last, doc.id());
}

#[test]
fn a_sleeper_passes_over_two_epochs_and_keeps_what_has_no_place() {
    let rig = Rig::with(eager);
    let (ann, sleeper) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    let doc = new_doc(&ann);
    doc.edit(|edit| {
        edit.put("gone", Value::List(vec![Value::Str("a".into())]));
    })
    .unwrap();
    sync(&[&ann, &sleeper]);
    let of_sleeper = sleeper.open_doc(space, doc.id()).unwrap();
    insert(&of_sleeper, "quick", "not so ");
    of_sleeper.seal().unwrap();
    of_sleeper
        .edit(|edit| {
            edit.insert(path!["gone", 0], [Value::Str("kept".into())]);
        })
        .unwrap();
    doc.edit(|edit| {
        edit.delete("gone");
    })
    .unwrap();
    for number in 1..=2 {
        sync(&[&ann]);
        assert_eq!(doc.start_epoch().unwrap(), number);
        sync(&[&ann]);
        rig.compact();
        insert(&doc, "fox", "red ");
    }
    sync(&[&ann, &sleeper]);
    equal(&ann, &sleeper, doc.id());
    assert_eq!(doc.text("body").unwrap().unwrap(), "the not so quick brown red red fox");
    let kept = sleeper.quarantine(space).unwrap();
    assert_eq!(kept.len(), 1);
    let exported = sleeper.export_quarantined(space, kept[0].id()).unwrap();
    assert!(exported.json.contains("kept") && exported.json.contains("epoch_passed"), "{}", exported.json);
    // The store is read again from the disk.
    let id = sleeper.device();
    drop((of_sleeper, sleeper));
    let again = rig.builder("ann", 2).server(rig.url()).token(rig.token("ann", id)).open().unwrap();
    equal(&ann, &again, doc.id());
}

#[test]
fn who_may_and_when() {
    let rig = Rig::with(|config| {
        eager(config);
        config.compaction.active_days = 30;
    });
    let (ann, behind, bob) = (rig.phone("ann", 1), rig.phone("ann", 2), rig.phone("bob", 3));
    let space = ann.personal_space();
    let doc = new_doc(&ann);
    assert!(matches!(doc.start_epoch(), Err(ClientError::Unsettled(_))), "nothing of it is on the server");
    rig.set_role(space, "bob", Some(sync_core::ledger::Role::Writer));
    bob.add_space(space).unwrap();
    sync(&[&ann, &behind, &bob]);
    // A writer is no owner, and nothing happens.
    bob.open_doc(space, doc.id()).unwrap().start_epoch().unwrap();
    sync(&[&bob, &ann]);
    let codes = |phone: &Client| -> BTreeSet<RejectCode> {
        phone.refused(space).unwrap().iter().map(|refused| refused.code).collect()
    };
    assert_eq!(codes(&bob), BTreeSet::from([RejectCode::NotAnOwner]));
    // An active device has not read so far.
    churn(&doc, 1);
    sync(&[&ann]);
    doc.start_epoch().unwrap();
    sync(&[&ann]);
    assert_eq!((codes(&ann), doc.epoch().unwrap()), (BTreeSet::from([RejectCode::EpochEarly]), 0));
    sync(&[&behind, &bob]);
    doc.start_epoch().unwrap();
    sync(&[&ann, &behind, &bob]);
    assert_eq!(doc.epoch().unwrap(), 1);
    for phone in [&behind, &bob] {
        assert_eq!(phone.open_doc(space, doc.id()).unwrap().json("").unwrap(), doc.json("").unwrap());
    }
}
