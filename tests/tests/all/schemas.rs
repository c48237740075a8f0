//! Schemas: phones that make the same thing offline have one, old and new versions of an app write side by side, and documents are
//! brought to a newer version once, whoever is first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sync_client_ffi::{
    Client, ClientError, Doc, EventKind, Op, RejectCode, Schema, SchemaState, SchemaVersion, SpaceId, SyncError, Value,
    path,
};
use sync_core::ledger::Role;
use sync_server::auth::keys::Keys;
use sync_server::{Config, open_storage, verify};
use sync_tests::rig::{PATIENCE, Rig, device};
use sync_tests::seen::Seen;

/// The first version of a note, as every app declares it.
fn first() -> SchemaVersion {
    SchemaVersion::new(|new| {
        new.put("title", "").put("body", Value::Text(String::new())).put("tags", Value::List(vec![]));
    })
}

/// What the second version brings: a counter, and a name in the place of the title.
fn second() -> SchemaVersion {
    SchemaVersion::new(|new| {
        new.put("likes", Value::Counter(0));
    })
    .migrate(|before, edit| {
        if let Some(Value::Str(title)) = before.get("title") {
            edit.put("name", format!("{title}!"));
        }
        Ok(())
    })
}

fn old() -> Schema {
    Schema::new("notes").version(first())
}

fn new() -> Schema {
    old().version(second())
}

fn phone(rig: &Rig, number: u8, schema: Schema) -> Client {
    let token = rig.token("ann", device(number));
    rig.builder("ann", number).server(rig.url()).token(token).schema(schema).open().unwrap()
}

fn exchange(phones: &[&Client]) {
    for _ in 0..2 {
        for phone in phones {
            phone.sync_once(PATIENCE).unwrap();
        }
    }
}

fn state(version: u16, declared: u16, may_write: bool) -> SchemaState {
    SchemaState { version, declared, may_write }
}

/// All have the same document, and nothing is in quarantine.
#[track_caller]
fn equal(phones: &[&Client], space: SpaceId, doc: &Doc) {
    let saved: Vec<Vec<u8>> = phones
        .iter()
        .map(|phone| {
            assert_eq!(phone.quarantine(space).unwrap(), []);
            phone.open_doc(space, doc.id()).unwrap().canonical_save().unwrap()
        })
        .collect();
    assert!(saved.iter().all(|bytes| *bytes == saved[0]));
}

fn type_in(doc: &Doc, text: &str) {
    doc.edit(|edit| {
        edit.splice("body", 0, 0, text).insert(path!["tags", 0], vec![text.into()]);
    })
    .unwrap();
}

#[test]
fn a_document_that_three_phones_make_offline_is_one() {
    let mut rig = Rig::with(|config| {
        config.compaction.enabled = false;
        config.compaction.tail_changes_max = 3;
        config.compaction.pause_ms = 0;
        config.compaction.retention_days = 0;
    });
    let phones: Vec<Client> = (1..=3).map(|number| phone(&rig, number, new())).collect();
    let space = phones[0].personal_space();
    let docs: Vec<Doc> =
        phones.iter().map(|phone| phone.open_or_create(space, "notes", "2026-11-27").unwrap()).collect();
    assert!(docs.iter().all(|doc| doc.id() == docs[0].id()));
    for (doc, text) in docs.iter().zip(["one", "two", "six"]) {
        assert_eq!(doc.schema().unwrap(), state(2, 2, true));
        type_in(doc, text);
        doc.edit(|edit| {
            edit.increment("likes", 1);
        })
        .unwrap();
    }
    exchange(&phones[..2].iter().collect::<Vec<_>>());
    // The third one comes when the others' changes are folded and gone.
    assert_eq!(rig.compact().dropped, 1);
    let all: Vec<&Client> = phones.iter().collect();
    exchange(&all);
    equal(&all, space, &docs[0]);
    let body = docs[2].text("body").unwrap().unwrap();
    assert!(body.len() == 9 && ["one", "two", "six"].iter().all(|text| body.contains(text)), "{body}");
    assert_eq!(docs[1].length("tags").unwrap(), Some(3));
    assert_eq!(docs[0].get("likes").unwrap(), Some(Value::Counter(3)));
    assert_eq!(phones[0].documents(space, Some("notes")).unwrap().len(), 1);
    assert_eq!(phones[1].open_or_create(space, "notes", "2026-11-27").unwrap().edits().unwrap(), 2, "it is opened");
    assert_ne!(phones[1].open_or_create(space, "notes", "2026-11-28").unwrap().id(), docs[0].id());
    assert!(matches!(phones[1].open_or_create(space, "notes", ""), Err(ClientError::BadName(_))));

    // The third one's copies of the structures are folded behind a snapshot that has them already.
    type_in(&docs[2], "more");
    exchange(&all);
    assert_eq!(rig.compact().dropped, 1, "the heads are those of the log");
    let fresh = phone(&rig, 4, new());
    fresh.sync_once(PATIENCE).unwrap();
    equal(&[&fresh, all[0]], space, &docs[0]);
    assert_eq!(fresh.open_doc(space, docs[0].id()).unwrap().schema().unwrap(), state(2, 2, true));
    sound(&mut rig, space);

    // What is deleted is so for good.
    phones[0].delete(space, docs[0].id()).unwrap();
    assert!(matches!(phones[0].open_or_create(space, "notes", "2026-11-27"), Err(ClientError::Deleted(_))));
}

/// The server's rows follow from its log.
fn sound(rig: &mut Rig, space: SpaceId) {
    rig.stop();
    let config = Config { data: rig.data().to_owned(), ..Config::default() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let report = runtime.block_on(async {
        let keys = Keys::open(config.keys_folder()).unwrap();
        let storage = open_storage(&config, &keys).await.unwrap();
        let report = verify::space(&*storage.inspect, space, &mut |_| {}).await.unwrap();
        storage.store.close().await.unwrap();
        report
    });
    assert_eq!(report.findings, []);
    rig.restart();
}

#[test]
fn old_and_new_apps_write_side_by_side() {
    let rig = Rig::start();
    let (older, newer) = (phone(&rig, 1, old()), phone(&rig, 2, new()));
    let space = older.personal_space();
    let doc = older.create(space, "notes").unwrap();
    type_in(&doc, "old");
    doc.edit(|edit| {
        edit.put("title", "Milk");
    })
    .unwrap();
    exchange(&[&older, &newer]);
    let seen = newer.open_doc(space, doc.id()).unwrap();
    assert_eq!(seen.schema().unwrap(), state(1, 2, true), "reading changes nothing");
    assert_eq!(newer.feed(space).unwrap().n, 0);
    assert_eq!(seen.get("likes").unwrap(), None);

    // Observers hear of what an upgrade brings.
    let heard = Seen::default();
    let telling = heard.clone();
    let subscription = seen.observe(move |event| {
        if let EventKind::Patches(steps) = &event.kind {
            for step in steps {
                telling.see(step.patch.path.to_string());
            }
        }
    });
    let undo = seen.undoable().unwrap();
    assert_eq!(seen.upgrade().unwrap(), state(2, 2, true));
    let counted = seen
        .edit(|edit| {
            edit.increment("likes", 1);
        })
        .unwrap();
    assert_eq!(counted, 2, "the migration was the first edit");
    heard.wait(|paths| paths.iter().filter(|(_, path)| path.contains("likes")).nth(1).map(|_| ()));
    drop(subscription);
    assert!(undo.undo().unwrap().is_some());
    assert_eq!(seen.get("likes").unwrap(), Some(Value::Counter(0)));
    assert_eq!(undo.undo().unwrap(), None, "neither the structure nor the migration");
    assert!(undo.redo().unwrap().is_some());
    assert_eq!(seen.get("name").unwrap(), Some("Milk!".into()));

    // Meanwhile the old one goes on, and later, too.
    type_in(&doc, "meanwhile ");
    exchange(&[&older, &newer]);
    assert_eq!(doc.schema().unwrap(), state(2, 1, true));
    type_in(&doc, "and on ");
    doc.edit(|edit| {
        edit.put("title", "Bread");
    })
    .unwrap();
    exchange(&[&older, &newer]);
    equal(&[&older, &newer], space, &doc);
    assert_eq!(seen.text("body").unwrap().as_deref(), Some("and on meanwhile old"));
    assert_eq!(seen.get("likes").unwrap(), Some(Value::Counter(1)));
    assert_eq!(seen.get("name").unwrap(), Some("Milk!".into()), "a migration is made once");

    // The app of a phone is updated: what it had is upgraded by its next edit.
    let second = older.create(space, "notes").unwrap();
    type_in(&second, "before the update");
    let id = second.id();
    drop((doc, second, older));
    let updated = phone(&rig, 1, new());
    let second = updated.open_doc(space, id).unwrap();
    assert_eq!(second.schema().unwrap().version, 1);
    type_in(&second, "");
    assert_eq!(second.schema().unwrap(), state(2, 2, true));
    assert_eq!(second.get("name").unwrap(), Some("!".into()));
    exchange(&[&updated, &newer]);
    equal(&[&updated, &newer], space, &second);
}

#[test]
fn an_app_that_is_too_old_reads_and_does_not_write() {
    let rig = Rig::start();
    let (older, none) = (phone(&rig, 1, old()), rig.phone("ann", 3));
    let strict = old().version(second().writers_from(2));
    let newer = phone(&rig, 2, strict);
    let space = older.personal_space();
    let doc = older.create(space, "notes").unwrap();
    type_in(&doc, "old");
    let undo = doc.undoable().unwrap();
    type_in(&doc, "x");
    exchange(&[&older, &newer, &none]);
    newer.open_doc(space, doc.id()).unwrap().upgrade().unwrap();
    // Written before it knows: it is merged.
    type_in(&doc, "meanwhile ");
    exchange(&[&newer, &older, &none]);
    let plain = none.open_doc(space, doc.id()).unwrap();
    for doc in [&doc, &plain] {
        assert!(!doc.schema().unwrap().may_write);
        let refused = doc.edit(|edit| {
            edit.put("title", "no");
        });
        let Err(ClientError::NewerSchema { version: 2, writers_from: 2, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(doc.text("body").unwrap().as_deref(), Some("meanwhile xold"));
    }
    assert!(matches!(undo.undo(), Err(ClientError::NewerSchema { .. })));
    assert!(matches!(doc.restore(path![], &[]), Err(ClientError::NewerSchema { .. })));
    exchange(&[&newer, &older]);
    equal(&[&newer, &older, &none], space, &doc);
}

#[test]
fn two_phones_migrate_at_once() {
    let rig = Rig::start();
    let older = phone(&rig, 3, old());
    let space = older.personal_space();
    let doc = older.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("title", "Milk");
    })
    .unwrap();
    let phones = [phone(&rig, 1, new()), phone(&rig, 2, new())];
    exchange(&[&older, &phones[0], &phones[1]]);
    for phone in &phones {
        let doc = phone.open_doc(space, doc.id()).unwrap();
        doc.edit(|edit| {
            edit.increment("likes", 2);
        })
        .unwrap();
    }
    exchange(&[&phones[0], &phones[1], &older]);
    equal(&[&phones[0], &phones[1], &older], space, &doc);
    assert_eq!(doc.get("likes").unwrap(), Some(Value::Counter(4)), "one counter, and both count");
    assert_eq!(doc.get("name").unwrap(), Some("Milk!".into()));
    assert_eq!(phones[0].open_doc(space, doc.id()).unwrap().edits().unwrap(), 2);
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let rig = Rig::start();
    let older = phone(&rig, 1, old());
    let space = older.personal_space();
    let id = older.create(space, "notes").unwrap().id();
    drop(older);
    let sound = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&sound);
    let version = SchemaVersion::new(|_| {}).migrate(move |_, edit| {
        edit.put("half", 1i64);
        if asked.load(Ordering::Relaxed) { Ok(()) } else { Err("not today".to_owned()) }
    });
    let updated = phone(&rig, 1, old().version(version));
    let doc = updated.open_doc(space, id).unwrap();
    let before = (doc.heads().unwrap(), updated.feed(space).unwrap());
    for result in [doc.upgrade().map(|_| 0), doc.edit(|edit| _ = edit.put("title", "x"))] {
        let Err(ClientError::Migration { version: 2, why, .. }) = result else { panic!("{result:?}") };
        assert_eq!(why, "not today");
    }
    assert_eq!((doc.heads().unwrap(), updated.feed(space).unwrap()), before);
    sound.store(true, Ordering::Relaxed);
    assert_eq!(doc.upgrade().unwrap(), state(2, 2, true));
    assert_eq!(doc.get("half").unwrap(), Some(1i64.into()));
    drop((doc, updated));

    // What would be there twice is no migration's affair.
    let twice = SchemaVersion::new(|_| {}).migrate(|_, edit| {
        edit.put("list", Value::List(vec![]));
        Ok(())
    });
    let wrong = phone(&rig, 1, old().version(SchemaVersion::new(|_| {})).version(twice));
    let doc = wrong.open_doc(space, id).unwrap();
    assert!(matches!(doc.upgrade(), Err(ClientError::Migration { version: 3, .. })));
}

#[test]
fn a_migration_meets_what_was_typed_while_it_ran() {
    let rig = Rig::start();
    let older = phone(&rig, 1, old());
    let space = older.personal_space();
    let id = older.create(space, "notes").unwrap().id();
    drop(older);
    let ran = Arc::new(AtomicU64::new(0));
    let (begun, go_on) = (Seen::default(), Seen::default());
    let (counting, telling, waiting) = (Arc::clone(&ran), begun.clone(), go_on.clone());
    let slow = SchemaVersion::new(|_| {}).migrate(move |before, edit| {
        if counting.fetch_add(1, Ordering::Relaxed) == 0 {
            telling.see(());
            waiting.wait(|told| (!told.is_empty()).then_some(()));
        }
        edit.put("length", before.length("body").unwrap_or(0));
        Ok(())
    });
    // The same app without the migration is another phone, whose edit comes meanwhile.
    let updated = phone(&rig, 1, old().version(slow));
    let other = phone(&rig, 2, old());
    exchange(&[&updated, &other]);
    type_in(&other.open_doc(space, id).unwrap(), "four");
    other.sync_once(PATIENCE).unwrap();
    let doc = updated.open_doc(space, id).unwrap();
    let upgrading = std::thread::spawn({
        let doc = doc.clone();
        move || doc.upgrade().unwrap()
    });
    begun.wait(|told| (!told.is_empty()).then_some(()));
    updated.sync_once(PATIENCE).unwrap();
    assert_eq!(doc.text("body").unwrap().as_deref(), Some("four"));
    go_on.see(());
    assert_eq!(upgrading.join().unwrap(), state(2, 2, true));
    assert_eq!(ran.load(Ordering::Relaxed), 2);
    assert_eq!(doc.get("length").unwrap(), Some(4u64.into()));
    exchange(&[&updated, &other]);
    equal(&[&updated, &other], space, &doc);
}

#[test]
fn what_was_refused_comes_again_as_it_was() {
    let rig = Rig::start();
    let (ann, ben) = (phone(&rig, 1, new()), {
        let token = rig.token("ben", device(2));
        rig.builder("ben", 2).server(rig.url()).token(token).schema(new()).open().unwrap()
    });
    let space = SpaceId::from_bytes([77; 16]);
    rig.set_role(space, "ann", Some(Role::Owner));
    rig.set_role(space, "ben", Some(Role::Reader));
    ann.add_space(space).unwrap();
    ben.add_space(space).unwrap();
    let (a, b) =
        (ann.open_or_create(space, "notes", "shared").unwrap(), ben.open_or_create(space, "notes", "shared").unwrap());
    type_in(&b, "ben");
    b.seal().unwrap();
    ben.sync_once(PATIENCE).unwrap();
    let kept = ben.refused(space).unwrap();
    assert_eq!(kept.len(), 4, "the document, two structures and an edit");
    assert!(kept.iter().all(|kept| kept.code == RejectCode::NotAWriter));
    type_in(&a, "ann");
    ann.sync_once(PATIENCE).unwrap();
    rig.set_role(space, "ben", Some(Role::Writer));
    ben.sync_once(PATIENCE).unwrap();
    for kept in ben.quarantine(space).unwrap() {
        ben.apply_quarantined(space, sync_client_ffi::ChangeId { device: kept.device, n: kept.n }).unwrap();
    }
    exchange(&[&ben, &ann]);
    equal(&[&ann, &ben], space, &a);
    let body = a.text("body").unwrap().unwrap();
    assert!(body.len() == 6 && body.contains("ben") && body.contains("ann"), "{body}");
}

/// A phone that was restored from a backup writes anew what it had not sent, and its structures are the same.
#[test]
fn a_restored_phone_keeps_its_structures() {
    let rig = Rig::start();
    let marker = rig.folder().join("marker");
    let open = || {
        let token = rig.token("ann", device(1));
        rig.builder("ann", 1).server(rig.url()).token(token).schema(new()).marker(&marker).open().unwrap()
    };
    let lost = open();
    let space = lost.personal_space();
    let id = {
        let doc = lost.open_or_create(space, "notes", "day").unwrap();
        type_in(&doc, "unsent");
        doc.id()
    };
    drop(lost);
    let other = phone(&rig, 2, new());
    type_in(&other.open_or_create(space, "notes", "day").unwrap(), "sent");
    other.sync_once(PATIENCE).unwrap();
    std::fs::remove_file(&marker).unwrap();
    let restored = open();
    assert!(restored.is_restored());
    for _ in 0..4 {
        match restored.sync_once(PATIENCE) {
            Ok(_) => {}
            Err(SyncError::NeedsDevice(device)) => restored.set_token(rig.token("ann", device)),
            Err(error) => panic!("{error:?}"),
        }
    }
    other.sync_once(PATIENCE).unwrap();
    let doc = restored.open_doc(space, id).unwrap();
    equal(&[&restored, &other], space, &doc);
    let body = doc.text("body").unwrap().unwrap();
    assert!(body.len() == 10 && body.contains("unsent"), "{body}");
    assert_eq!(doc.schema().unwrap(), state(2, 2, true));
}

#[test]
fn a_document_held_at_ones_own_edits_has_its_structure() {
    let rig = Rig::start();
    let phone = phone(&rig, 1, new());
    let space = phone.personal_space();
    let id = phone.create(space, "notes").unwrap().id();
    let before = phone.feed(space).unwrap();
    let (doc, hold) = phone.open_doc_held(space, id).unwrap();
    assert_eq!(doc.schema().unwrap(), state(2, 2, true));
    doc.edit(|edit| {
        edit.op(Op::Increment { path: "likes".into(), by: 1 });
    })
    .unwrap();
    doc.seal().unwrap();
    drop(hold);
    assert_eq!(phone.feed(space).unwrap().n, before.n + 1, "it was not brought again");
}
