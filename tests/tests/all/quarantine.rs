//! Refused changes: out of their documents at once, what was made upon them made anew, and kept until the app or the server
//! thinks better of it.

use std::path::{Path, PathBuf};

use sync_client_ffi::{
    Client, ClientError, Doc, DocId, EditState, EventKind, Quarantined, Reason, RejectCode, SpaceId, Value,
};
use sync_core::limits::DOCUMENT_OPERATIONS_MAX;
use sync_tests::rig::{PATIENCE, Rig, device};
use sync_tests::seen::Seen;

const QUOTA: RejectCode = RejectCode::DocumentOperationsQuota;

/// Makes the server believe that a document has all but `room` of the operations that it may have.
fn leave_room(rig: &Rig, doc: DocId, room: u64) {
    let server = rusqlite::Connection::open(rig.folder().join("server").join("rejoin.sqlite")).unwrap();
    server.busy_timeout(PATIENCE).unwrap();
    let sql = "UPDATE documents SET operations = ?1 WHERE doc_id = ?2";
    let operations = DOCUMENT_OPERATIONS_MAX - room;
    assert_eq!(server.execute(sql, rusqlite::params![operations, doc.as_bytes()]).unwrap(), 1);
}

/// A document that two phones have, with a counter.
fn shared_document(rig: &Rig) -> (Client, Client, SpaceId, Doc) {
    let (phone, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = phone.personal_space();
    let doc = phone.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("n", Value::Counter(0)).put("text", Value::Text("text".into()));
    })
    .unwrap();
    phone.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    (phone, other, space, doc)
}

/// One edit in a change of its own.
fn change(doc: &Doc, edit: impl FnOnce(&mut sync_client_ffi::Edit)) -> u64 {
    let number = doc.edit(edit).unwrap();
    doc.seal().unwrap();
    number
}

/// Three changes, of which the middle one is larger than there is room for.
fn three(doc: &Doc) -> [u64; 3] {
    [
        change(doc, |edit| {
            edit.increment("n", 1);
        }),
        change(doc, |edit| {
            edit.increment("n", 10).put("large", Value::Text("x".repeat(100)));
        }),
        change(doc, |edit| {
            edit.increment("n", 1).put("after", "all").splice("large", 100, 0, "y");
        }),
    ]
}

fn look(doc: &Doc) -> (i64, Option<String>, bool) {
    let Some(Value::Counter(n)) = doc.get("n").unwrap() else { panic!("a counter") };
    (n, doc.text("large").unwrap(), doc.get("after").unwrap().is_some())
}

fn kept(phone: &Client, space: SpaceId) -> Vec<(Reason, bool)> {
    phone.quarantine(space).unwrap().into_iter().map(|kept| (kept.reason, kept.whole)).collect()
}

fn crash_image(store: &Path, image: &Path) -> PathBuf {
    for suffix in ["", "-wal"] {
        let from = PathBuf::from(format!("{}{suffix}", store.display()));
        if from.exists() {
            std::fs::copy(from, format!("{}{suffix}", image.display())).unwrap();
        }
    }
    image.to_owned()
}

#[test]
fn a_change_refused_in_the_middle_goes_and_what_makes_sense_without_it_stays() {
    let rig = Rig::start();
    let (phone, other, space, doc) = shared_document(&rig);
    let told = Seen::default();
    let telling = told.clone();
    let subscription = doc.observe(move |event| telling.see(matches!(event.kind, EventKind::LookAgain)));
    leave_room(&rig, doc.id(), 20);
    let edits = three(&doc);
    assert_eq!(look(&doc), (12, Some(format!("{}y", "x".repeat(100))), true));
    phone.sync_once(PATIENCE).unwrap();

    told.wait_for(0, &true);
    assert_eq!(look(&doc), (2, None, true));
    let same = other.open_doc(space, doc.id()).unwrap();
    other.sync_once(PATIENCE).unwrap();
    assert_eq!(look(&same), look(&doc), "the other phone has what was made anew");
    // Of the last change the one letter is left, which was typed upon the large text.
    assert_eq!(
        kept(&phone, space),
        [(Reason::Refused(QUOTA), true), (Reason::Refused(RejectCode::DependencyRefused), false)]
    );
    let states: Vec<EditState> = edits.iter().map(|edit| doc.edit_state(*edit).unwrap()).collect();
    assert!(matches!(
        states[..],
        [EditState::Durable { .. }, EditState::Rejected { code: QUOTA }, EditState::Durable { .. }]
    ));
    let export = phone.export_quarantined(space, phone.quarantine(space).unwrap()[1].id()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&export.json).unwrap();
    assert_eq!(json["kept"], serde_json::json!([2]));
    assert_eq!(json["change"]["ops"].as_array().unwrap().len(), 3);
    assert!(export.bytes.is_some());

    // Whatever is on disk now is the same after a kill.
    let store = rig.folder().join("ann-1.sqlite");
    let image = crash_image(&store, &rig.folder().join("image"));
    let survivor = Client::builder(&image).identity("ann", device(1)).open().unwrap();
    assert_eq!(look(&survivor.open_doc(space, doc.id()).unwrap()), (2, None, true));
    assert_eq!(kept(&survivor, space).len(), 2);

    // There is room again: the next exchange offers it by itself, with what was made upon it.
    leave_room(&rig, doc.id(), 10_000);
    phone.sync_once(PATIENCE).unwrap();
    assert_eq!(kept(&phone, space), []);
    let whole = (12, Some(format!("{}y", "x".repeat(100))), true);
    assert_eq!(look(&doc), whole);
    other.sync_once(PATIENCE).unwrap();
    assert_eq!(look(&same), whole);
    assert!(edits.iter().all(|edit| matches!(doc.edit_state(*edit).unwrap(), EditState::Durable { .. })));
    assert_eq!(phone.pending(space).unwrap().outbox_changes, 0);
    // And goes on being written to.
    change(&doc, |edit| {
        edit.increment("n", 1);
    });
    phone.sync_once(PATIENCE).unwrap();
    assert_eq!(kept(&phone, space), []);
    drop(subscription);
}

#[test]
fn what_is_refused_again_and_again_is_offered_ever_more_seldom_and_applied_when_the_app_says_so() {
    let rig = Rig::start();
    let (phone, _, space, doc) = shared_document(&rig);
    leave_room(&rig, doc.id(), 5);
    let edit = change(&doc, |edit| {
        edit.put("large", Value::Text("x".repeat(50)));
    });
    phone.sync_once(PATIENCE).unwrap();
    let first = phone.quarantine(space).unwrap();
    phone.sync_once(PATIENCE).unwrap();
    let second = phone.quarantine(space).unwrap();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert!(second[0].n > first[0].n, "offered once more");
    for _ in 0..3 {
        phone.sync_once(PATIENCE).unwrap();
        assert_eq!(phone.quarantine(space).unwrap(), second, "not again so soon");
    }
    assert_eq!(doc.edit_state(edit).unwrap(), EditState::Rejected { code: QUOTA });
    assert!(matches!(
        phone.apply_quarantined(space, first[0].id()),
        Err(ClientError::NotInQuarantine(id)) if id == first[0].id()
    ));
    leave_room(&rig, doc.id(), 1_000);
    assert!(phone.apply_quarantined(space, second[0].id()).unwrap());
    assert_eq!(doc.text("large").unwrap().map(|text| text.len()), Some(50), "at once");
    phone.sync_once(PATIENCE).unwrap();
    assert!(matches!(doc.edit_state(edit).unwrap(), EditState::Durable { .. }));
    assert_eq!(phone.quarantine(space).unwrap(), []);
}

#[test]
fn what_is_dropped_is_gone_but_its_place_and_its_reason() {
    let rig = Rig::start();
    let (phone, _, space, doc) = shared_document(&rig);
    leave_room(&rig, doc.id(), 20);
    three(&doc);
    phone.sync_once(PATIENCE).unwrap();
    let [large, letter]: [Quarantined; 2] = phone.quarantine(space).unwrap().try_into().unwrap();
    phone.drop_quarantined(space, large.id()).unwrap();
    assert_eq!(phone.quarantine(space).unwrap(), [letter]);
    let refused = phone.refused(space).unwrap();
    assert!(refused.iter().any(|refused| refused.n == large.n && refused.code == QUOTA));
    // What was made upon it makes no sense without it, and stays.
    assert!(!phone.apply_quarantined(space, letter.id()).unwrap());
    assert_eq!(phone.quarantine(space).unwrap(), [letter]);
    leave_room(&rig, doc.id(), 1_000);
    phone.sync_once(PATIENCE).unwrap();
    assert_eq!(look(&doc), (2, None, true));
    // In a document that is deleted there is nothing to apply anything to.
    phone.delete(space, doc.id()).unwrap();
    assert!(matches!(phone.apply_quarantined(space, letter.id()), Err(ClientError::Deleted(_))));
    phone.drop_quarantined(space, letter.id()).unwrap();
    phone.sync_once(PATIENCE).unwrap();
    assert_eq!(phone.quarantine(space).unwrap(), []);
}

#[test]
fn a_change_that_the_disk_did_not_keep_is_refused_and_holds_nothing_up() {
    let rig = Rig::start();
    let (phone, other, space, doc) = shared_document(&rig);
    three(&doc);
    let damaged = phone.feed(space).unwrap().n - 1;
    let id = doc.id();
    drop((doc, phone));
    let store = rig.folder().join("ann-1.sqlite");
    let damage = rusqlite::Connection::open(&store).unwrap();
    let sql = "UPDATE items SET payload = zeroblob(length(payload)) WHERE n = ?1";
    assert_eq!(damage.execute(sql, [damaged]).unwrap(), 1);
    damage.close().unwrap();
    let token = rig.token("ann", device(1));
    let phone = Client::builder(&store).server(rig.url()).token(token).open().unwrap();
    phone.sync_once(PATIENCE).unwrap();
    let doc = phone.open_doc(space, id).unwrap();
    assert_eq!(look(&doc), (2, None, true));
    assert_eq!(phone.quarantine(space).unwrap().len(), 2);
    other.sync_once(PATIENCE).unwrap();
    assert_eq!(look(&other.open_doc(space, id).unwrap()), (2, None, true));
}

#[test]
fn what_was_written_into_a_document_that_others_deleted_is_kept_and_not_offered_again() {
    let rig = Rig::start();
    let (phone, other, space, doc) = shared_document(&rig);
    other.delete(space, doc.id()).unwrap();
    other.sync_once(PATIENCE).unwrap();
    three(&doc);
    phone.sync_once(PATIENCE).unwrap();
    let deleted = RejectCode::DocumentDeleted;
    let kept_now = kept(&phone, space);
    assert_eq!(kept_now.len(), 3, "{kept_now:?}");
    assert!(kept_now.iter().all(|(reason, _)| *reason == Reason::Refused(deleted)), "{kept_now:?}");
    let feed = phone.feed(space).unwrap();
    phone.sync_once(PATIENCE).unwrap();
    assert_eq!(phone.feed(space).unwrap(), feed);
}
