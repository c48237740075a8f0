//! Epochs: a document is begun anew under phones that write, sleep and come later, and nobody loses anything.

use std::collections::BTreeSet;
use std::path::Path;

use sync_client_ffi::{Client, ClientError, Doc, DocId, Value, path};
use sync_core::code::RejectCode;
use sync_server::Config;
use sync_server::store::Store;
use sync_server::store::snapshots::{Range, Snapshots};
use sync_server::store::sqlite::{SqliteOptions, SqliteStore};
use sync_tests::rig::{PATIENCE, Rig, Seeded, ServerProcess, device, token};

mod killed;
mod lost;
mod needs_own_postgres;

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

/// A server that is put back to before an epoch is handed that back, and what was written upon it.
#[test]
fn an_epoch_that_a_server_lost_comes_back() {
    let mut rig = Rig::with(eager);
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let doc = new_doc(&ann);
    churn(&doc, 5);
    insert(&doc, "brown", "very ");
    sync(&[&ann, &other]);
    let backup = rig.folder().join("backup");
    std::fs::create_dir(&backup).unwrap();
    rig.stop();
    copy(rig.data(), &backup);
    rig.restart();
    assert_eq!(doc.start_epoch().unwrap(), 1);
    sync(&[&ann, &other]);
    let of_other = other.open_doc(other.personal_space(), doc.id()).unwrap();
    insert(&of_other, "fox", "new ");
    sync(&[&other, &ann]);
    let (heads, place) = (doc.heads().unwrap(), ann.log_position(ann.personal_space()).unwrap());
    rig.stop();
    copy(&backup, rig.data());
    rig.restart();
    sync(&[&other, &ann]);
    assert_eq!(ann.log_position(ann.personal_space()).unwrap(), place);
    assert_eq!((doc.epoch().unwrap(), doc.heads().unwrap()), (1, heads));
    let fresh = rig.phone("ann", 3);
    fresh.sync_once(PATIENCE).unwrap();
    equal(&ann, &other, doc.id());
    equal(&ann, &fresh, doc.id());
    assert_eq!(doc.text("body").unwrap().unwrap(), "the quick very brown new fox");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let findings = runtime.block_on(async {
        let store = SqliteStore::open(rig.data(), &SqliteOptions::default()).unwrap();
        sync_server::verify::space(&store, ann.personal_space(), &mut |_| {}).await.unwrap().findings
    });
    assert_eq!(findings, []);
}

/// The files of a folder take the place of those in another one.
fn copy(from: &Path, to: &Path) {
    let files = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    for file in files(to) {
        std::fs::remove_file(file).unwrap();
    }
    for file in files(from) {
        std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// Epochs on live connections, one after the other, while both type and the server is killed again and again.
#[test]
fn epochs_begin_over_live_connections_to_a_server_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data: folder.path().join("server"), ..Config::default() };
    eager(&mut config);
    config.listen.set_port(0);
    let mut server = ServerProcess::configured(env!("CARGO_BIN_EXE_child").as_ref(), &config);
    let phone = |number: u8| {
        let token = token(&config.data, "ann", device(number));
        Client::builder(folder.path().join(format!("{number}"))).server(server.url()).token(token).open().unwrap()
    };
    let (ann, other, fresh) = (phone(1), phone(2), phone(3));
    let space = ann.personal_space();
    let doc = new_doc(&ann);
    sync(&[&ann, &other]);
    let of_other = other.open_doc(space, doc.id()).unwrap();
    for phone in [&ann, &other] {
        phone.start().unwrap();
    }
    let mut random = Seeded::new("epochs");
    let (mut written, mut tried) = (0, 0);
    for round in 1..=6 {
        while doc.epoch().unwrap() < round {
            tried += 1;
            assert!(tried < 200, "no epoch {round} begins");
            for doc in [&doc, &of_other] {
                doc.edit(|edit| _ = edit.splice("body", 0, 0, "x").increment("count", 1)).unwrap();
                written += 1;
            }
            let kills = random.below(2) == 0;
            // Only what is on the server, and read by all, can begin anew.
            ann.sync_once(PATIENCE).unwrap();
            other.sync_once(PATIENCE).unwrap();
            ann.sync_once(PATIENCE).unwrap();
            match doc.start_epoch() {
                Ok(_) | Err(ClientError::Unsettled(_)) => {}
                Err(error) => panic!("{error}"),
            }
            if kills {
                std::thread::park_timeout(std::time::Duration::from_micros(random.below(20_000)));
                server.kill();
                server.restart();
                ann.network_changed(true);
                other.network_changed(true);
            }
            ann.sync_once(PATIENCE).unwrap();
        }
    }
    for phone in [&ann, &other] {
        phone.stop();
    }
    sync(&[&ann, &other, &fresh]);
    println!("6 epochs begun, {tried} tries");
    equal(&ann, &other, doc.id());
    equal(&ann, &fresh, doc.id());
    assert_eq!(doc.get("count").unwrap(), Some(Value::Counter(written)));
    assert_eq!(doc.text("body").unwrap().unwrap(), format!("{}the quick brown fox", "x".repeat(written as usize)));
}
