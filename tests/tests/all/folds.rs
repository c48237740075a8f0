//! A phone's own folding: old changes become one snapshot in its store, and everything goes on as if they were there.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use sync_client_ffi::{Client, Doc, DocId, EditState, Reason, RejectCode, SyncError, Trouble, Value};
use sync_core::ledger::Role;
use sync_tests::counted::new_doc;
use sync_tests::rig::{PATIENCE, Rig, Seeded};

/// Entries of the log that the phones here keep one by one, and changes that are worth folding.
const KEPT: u64 = 20;
const WORTH: u64 = 8;

fn phone(rig: &Rig, number: u8) -> Client {
    let token = rig.token("ann", sync_tests::rig::device(number));
    let phone = rig.builder("ann", number).server(rig.url()).token(token).live(false).open().unwrap();
    phone.fold_sooner(KEPT, WORTH);
    phone
}

fn store(rig: &Rig, number: u8) -> PathBuf {
    rig.folder().join(format!("ann-{number}.sqlite"))
}

/// What a store holds one by one of a document.
fn rows(store: &Path, doc: DocId) -> u64 {
    let connection = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT COUNT(*) FROM items WHERE doc_id = ?1 AND kind = 2";
    connection.query_row(sql, [doc.as_bytes()], |row| row.get(0)).unwrap()
}

/// Types somewhere and counts, in changes of their own.
fn write(doc: &Doc, changes: u64, random: &mut Seeded) {
    for _ in 0..changes {
        let length = doc.length("body").unwrap().unwrap();
        let at = random.below(length + 1);
        let letter = char::from(b'a' + random.below(26) as u8).to_string();
        doc.edit(|edit| _ = edit.splice("body", at, 0, letter).increment("count", 1)).unwrap();
        doc.seal().unwrap();
    }
}

fn sync(phones: &[&Client]) {
    for _ in 0..2 {
        for phone in phones {
            phone.sync_once(PATIENCE).unwrap();
        }
    }
}

fn count(doc: &Doc) -> i64 {
    match doc.get("count").unwrap() {
        Some(Value::Counter(count)) => count,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn equal(phones: &[&Client], doc: DocId) {
    let of = |phone: &Client| {
        let doc = phone.open_doc(phone.personal_space(), doc).unwrap();
        (doc.heads().unwrap(), doc.canonical_save().unwrap())
    };
    for phone in &phones[1..] {
        assert_eq!(of(phone), of(phones[0]));
    }
}

#[test]
fn a_folded_store_holds_what_it_held_and_goes_on() {
    let rig = Rig::start();
    let (one, two) = (phone(&rig, 1), phone(&rig, 2));
    // Folds nothing.
    let whole = rig.phone("ann", 3);
    let mut random = Seeded::new("folds");
    let doc = new_doc(&one);
    let space = one.personal_space();
    sync(&[&one, &two]);
    let of_two = two.open_doc(space, doc.id()).unwrap();
    for _ in 0..12 {
        write(&doc, 5, &mut random);
        write(&of_two, 5, &mut random);
        sync(&[&one, &two]);
    }
    for number in [1, 2] {
        let left = rows(&store(&rig, number), doc.id());
        assert!(left <= KEPT + WORTH, "{left} of 121 changes are left in store {number}");
    }
    whole.sync_once(PATIENCE).unwrap();
    assert_eq!(rows(&store(&rig, 3), doc.id()), 121);
    equal(&[&whole, &one, &two], doc.id());
    assert_eq!(count(&doc), 120);
    assert_eq!(doc.history(1_000).unwrap().len(), 121, "who wrote what is in the snapshot too");
    assert!(matches!(doc.edit_state(1).unwrap(), EditState::Durable { .. }));
    let last = doc.edits().unwrap();
    assert_eq!(last, 61);
    assert!(matches!(doc.edit_state(last).unwrap(), EditState::Durable { .. }));

    // Opened again, with an edit in the journal and one that is not sent.
    drop((doc, one));
    let one = phone(&rig, 1);
    let doc = one.open_doc(space, of_two.id()).unwrap();
    write(&doc, 1, &mut random);
    doc.edit(|edit| _ = edit.increment("count", 1)).unwrap();
    drop((doc, one));
    let one = phone(&rig, 1);
    let doc = one.open_doc(space, of_two.id()).unwrap();
    assert_eq!(count(&doc), 122);
    assert_eq!(doc.edits().unwrap(), 63);
    write(&of_two, 30, &mut random);
    sync(&[&two, &one, &two, &whole]);
    equal(&[&whole, &one, &two], doc.id());
    assert_eq!(count(&doc), 152);
}

/// A document that is held shows what it showed, whatever becomes old meanwhile.
#[test]
fn what_is_held_is_not_folded() {
    let rig = Rig::start();
    let (one, two) = (phone(&rig, 1), phone(&rig, 2));
    let mut random = Seeded::new("held");
    let doc = new_doc(&one);
    let space = one.personal_space();
    sync(&[&one, &two]);
    let (held, hold) = two.open_doc_held(space, doc.id()).unwrap();
    let mut versions = Vec::new();
    for round in 1..=8 {
        write(&doc, 10, &mut random);
        sync(&[&one, &two]);
        versions.push((round * 10, two.version(space).unwrap()));
    }
    assert_eq!(rows(&store(&rig, 2), doc.id()), 81, "nothing of it may go");
    for (expected, version) in versions {
        hold.merge_through(&version).unwrap();
        assert_eq!(count(&held), expected);
    }
    drop(hold);
    write(&doc, KEPT, &mut random);
    sync(&[&one, &two]);
    assert!(rows(&store(&rig, 2), doc.id()) <= KEPT + WORTH);
    equal(&[&one, &two], doc.id());
}

/// A change that is refused stands upon folded ones: it goes out, and what was made upon it is made anew.
#[test]
fn a_folded_document_is_rebuilt() {
    let rig = Rig::start();
    let (one, bob) = (phone(&rig, 1), rig.phone("bob", 9));
    let mut random = Seeded::new("rebuilt");
    let doc = new_doc(&one);
    let space = one.personal_space();
    rig.set_role(space, "bob", Some(Role::Writer));
    bob.stop();
    bob.fold_sooner(KEPT, WORTH);
    bob.add_space(space).unwrap();
    one.sync_once(PATIENCE).unwrap();
    bob.sync_once(PATIENCE).unwrap();
    let of_bob = bob.open_doc(space, doc.id()).unwrap();
    write(&of_bob, 40, &mut random);
    write(&doc, 40, &mut random);
    for phone in [&one, &bob, &one, &bob] {
        phone.sync_once(PATIENCE).unwrap();
    }
    assert!(rows(&rig.folder().join("bob-9.sqlite"), doc.id()) <= KEPT + WORTH);
    rig.set_role(space, "bob", Some(Role::Reader));
    write(&of_bob, 3, &mut random);
    bob.sync_once(PATIENCE).unwrap();
    let refused = bob.quarantine(space).unwrap();
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(refused.iter().all(|entry| entry.reason == Reason::NoAccess), "{refused:?}");
    assert_eq!(count(&of_bob), 80);
    let same = |phone: &Client| phone.open_doc(space, doc.id()).unwrap().canonical_save().unwrap();
    assert_eq!(same(&bob), same(&one));
    // Let in again, they are offered again and arrive.
    rig.set_role(space, "bob", Some(Role::Writer));
    for entry in &refused {
        // Where it was not done by itself before.
        bob.apply_quarantined(space, entry.id()).ok();
    }
    for phone in [&bob, &one, &bob] {
        phone.sync_once(PATIENCE).unwrap();
    }
    assert_eq!(count(&doc), 83);
    assert_eq!(same(&bob), same(&one));
}

/// What became of each edit is told as before, also around one that was refused.
#[test]
fn a_refused_edit_among_folded_ones_is_told_as_refused() {
    let rig = Rig::start();
    let (one, bob) = (phone(&rig, 1), rig.phone("bob", 9));
    let mut random = Seeded::new("among");
    let doc = new_doc(&one);
    let space = one.personal_space();
    rig.set_role(space, "bob", Some(Role::Writer));
    bob.stop();
    bob.fold_sooner(KEPT, WORTH);
    bob.add_space(space).unwrap();
    one.sync_once(PATIENCE).unwrap();
    bob.sync_once(PATIENCE).unwrap();
    let of_bob = bob.open_doc(space, doc.id()).unwrap();
    write(&of_bob, 5, &mut random);
    bob.sync_once(PATIENCE).unwrap();
    rig.set_role(space, "bob", Some(Role::Reader));
    of_bob.edit(|edit| _ = edit.put("refused", 1)).unwrap();
    bob.sync_once(PATIENCE).unwrap();
    rig.set_role(space, "bob", Some(Role::Writer));
    let refused = bob.quarantine(space).unwrap();
    assert_eq!(refused.len(), 1);
    bob.drop_quarantined(space, refused[0].id()).unwrap();
    write(&of_bob, 40, &mut random);
    for _ in 0..3 {
        bob.sync_once(PATIENCE).unwrap();
    }
    assert!(rows(&rig.folder().join("bob-9.sqlite"), doc.id()) <= KEPT + WORTH + 2);
    let durable = |edit| matches!(of_bob.edit_state(edit).unwrap(), EditState::Durable { .. });
    assert!((1..=5).all(durable) && (7..=46).all(durable));
    let told = of_bob.edit_state(6).unwrap();
    assert!(matches!(told, EditState::Rejected { code: RejectCode::NotAWriter }), "{told:?}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// Two phones with a document that both have folded, a server whose backup is older than their last `lost` changes, and what the
/// first one has then.
fn lose(lost: u64, behind_kept: bool) -> (Rig, Client, Doc) {
    let mut rig = Rig::start();
    let (one, two) = (phone(&rig, 1), phone(&rig, 2));
    let mut random = Seeded::new("lost");
    let doc = new_doc(&one);
    let space = one.personal_space();
    sync(&[&one, &two]);
    let of_two = two.open_doc(space, doc.id()).unwrap();
    let write_all = |random: &mut Seeded| {
        write(&doc, 60, random);
        write(&of_two, 60, random);
        sync(&[&one, &two]);
    };
    if !behind_kept {
        write_all(&mut random);
    }
    let (data, backup) = (rig.data().to_owned(), rig.folder().join("backup"));
    rig.stop();
    copy(&data, &backup);
    rig.restart();
    if behind_kept {
        write_all(&mut random);
    }
    write(&of_two, lost, &mut random);
    sync(&[&two, &one]);
    assert!(rows(&store(&rig, 1), doc.id()) <= KEPT + WORTH);
    assert_eq!(count(&doc), 120 + lost as i64);
    rig.stop();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    rig.restart();
    // The author of what was lost is gone for good.
    drop((of_two, two));
    (rig, one, doc)
}

/// What phones keep one by one is handed back to a server that lost it.
#[test]
fn a_server_gets_back_what_it_lost_from_folded_stores() {
    let (rig, one, doc) = lose(KEPT / 2, false);
    let report = one.sync_once(PATIENCE).unwrap();
    assert!(!report.more && report.traffic.requests < 20, "{report:?}");
    let fresh = rig.phone("ann", 4);
    fresh.sync_once(PATIENCE).unwrap();
    assert_eq!(count(&fresh.open_doc(one.personal_space(), doc.id()).unwrap()), 130);
    equal(&[&one, &fresh], doc.id());
}

/// What is older than what they keep cannot be handed back. The phone says so, and keeps everything.
#[test]
fn what_a_server_lost_of_what_is_folded_stays_on_the_phone() {
    let (_rig, one, doc) = lose(KEPT / 2, true);
    let lost = |answer| assert!(matches!(answer, Err(SyncError::Trouble(Trouble::ServerLostData))), "{answer:?}");
    lost(one.sync_once(PATIENCE));
    let before = one.traffic();
    doc.edit(|edit| _ = edit.increment("count", 1)).unwrap();
    lost(one.sync_once(PATIENCE));
    assert!(one.traffic().since(&before).requests < 50, "it does not ask for ever");
    assert_eq!(count(&doc), 131);
    assert_eq!(one.pending(one.personal_space()).unwrap().outbox_changes, 1);
}
