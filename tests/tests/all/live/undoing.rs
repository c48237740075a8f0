//! Undo on phones: what this device edited goes back and comes again, while others work on the same.

use sync_client_ffi::{Client, ClientError, Doc, EditState, EventKind, Origin, Value, path};
use sync_core::limits::{UNDO_BYTES_MAX, UNDO_STEPS_MAX};
use sync_tests::rig::{PATIENCE, Rig, device};
use sync_tests::seen::Seen;

use super::{Pair, append, shows};

fn put(doc: &Doc, key: &str, value: impl Into<Value>) {
    let value = value.into();
    doc.edit(|edit| {
        edit.put(key, value);
    })
    .unwrap();
}

#[test]
fn an_undo_is_an_edit_that_everybody_sees_and_survives_a_restart() {
    let rig = Rig::start();
    let Pair { ann, other, space, doc, same } = Pair::start(&rig);
    put(&doc, "title", "before");
    let undo = doc.undoable().unwrap();
    assert_eq!(undo.undo().unwrap(), None, "what was before is not kept");
    append(&doc, "ours");
    put(&doc, "title", "ours");
    assert!(shows(&same, "ours"));
    append(&same, " theirs");
    assert!(shows(&doc, "ours theirs"));

    let seen = Seen::default();
    let told = seen.clone();
    let subscription = doc.observe(move |event| told.see(event.kind.clone()));
    let edits = doc.edits().unwrap();
    assert_eq!(undo.undo().unwrap(), Some(edits + 1));
    assert_eq!(doc.get("title").unwrap(), Some("before".into()));
    assert_eq!(undo.undo().unwrap(), Some(edits + 2));
    assert_eq!((undo.undo_steps(), undo.redo_steps()), (0, 2));
    assert!(shows(&doc, " theirs") && shows(&same, " theirs"));
    assert!(same.wait_until(PATIENCE, |doc| doc.get("title").unwrap() == Some("before".into())));
    assert!(matches!(doc.wait_for_edit(edits + 2, PATIENCE).unwrap(), EditState::Durable { .. }));
    seen.wait(|seen| {
        let steps = seen.iter().flat_map(|(_, kind)| match kind {
            EventKind::Patches(steps) => steps.as_slice(),
            other => panic!("{other:?}"),
        });
        let own: Vec<_> =
            steps.filter(|step| step.origin == Origin::Local).map(|step| step.patch.path.clone()).collect();
        (own == [path!["title"], path!["body"]]).then_some(())
    });
    drop(subscription);

    // Redone behind what others have written since.
    append(&same, "!");
    assert!(shows(&doc, " theirs!"));
    undo.redo().unwrap().unwrap();
    assert!(shows(&same, "ours theirs!"));
    put(&doc, "other", 1);
    assert_eq!(undo.redo().unwrap(), None, "an edit ends what can be done again");

    // A kill behind an undo: the journal has it.
    ann.stop();
    undo.undo().unwrap().unwrap();
    undo.undo().unwrap().unwrap();
    let shown = doc.get(path!()).unwrap();
    let id = doc.id();
    let image = rig.folder().join("image");
    for suffix in ["", "-wal"] {
        let mut copy = image.clone().into_os_string();
        copy.push(suffix);
        std::fs::copy(rig.folder().join(format!("ann-1.sqlite{suffix}")), copy).unwrap();
    }
    let again = Client::builder(&image).open().unwrap();
    assert_eq!(again.open_doc(space, id).unwrap().get(path!()).unwrap(), shown);
    ann.start().unwrap();
    assert!(shows(&same, " theirs!"));
    drop(other);
}

fn alone(folder: &tempfile::TempDir) -> (Client, Doc) {
    let phone = Client::builder(folder.path().join("store")).identity("ann", device(1)).open().unwrap();
    let doc = phone.create(phone.personal_space(), "notes").unwrap();
    put(&doc, "body", Value::Text(String::new()));
    (phone, doc)
}

#[test]
fn a_group_is_undone_together_and_what_is_kept_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let (_phone, doc) = alone(&folder);
    let undo = doc.undoable().unwrap();
    let text = || doc.text("body").unwrap().unwrap();
    for word in ["one ", "two "] {
        undo.begin_group();
        word.chars().for_each(|letter| append(&doc, &letter.to_string()));
    }
    undo.end_group();
    append(&doc, "x");
    append(&doc, "y");
    let mut shown = Vec::new();
    while undo.undo().unwrap().is_some() {
        shown.push(text());
    }
    assert_eq!(shown, ["one two x", "one two ", "one ", ""]);
    while undo.redo().unwrap().is_some() {}
    assert_eq!(text(), "one two xy");

    // Another handle shares the list; without any it is gone.
    let more = doc.undoable().unwrap();
    drop(undo);
    assert_eq!(more.undo_steps(), 4);
    drop(more);
    let undo = doc.undoable().unwrap();
    assert_eq!(undo.undo_steps(), 0);

    for number in 0..UNDO_STEPS_MAX as i64 + 50 {
        put(&doc, "number", number);
    }
    assert_eq!(undo.undo_steps(), UNDO_STEPS_MAX);
    let mut undone = 0;
    while undo.undo().unwrap().is_some() {
        undone += 1;
    }
    assert_eq!((undone, doc.get("number").unwrap()), (UNDO_STEPS_MAX, Some(Value::Int(49))));
    for number in 0..40 {
        put(&doc, "large", format!("{number}").repeat(UNDO_BYTES_MAX / 16));
    }
    assert!(undo.undo_steps() < 17, "{} steps", undo.undo_steps());
    assert!(undo.undo().unwrap().is_some());
}

#[test]
fn what_the_disk_does_not_take_can_be_undone_later() {
    let folder = tempfile::tempdir().unwrap();
    let (phone, doc) = alone(&folder);
    let undo = doc.undoable().unwrap();
    put(&doc, "title", "x".repeat(100_000));
    doc.seal().unwrap();
    phone.limit_store_pages(1).unwrap();
    while doc
        .edit(|edit| {
            edit.put("fill", Value::Str("y".repeat(1000)));
        })
        .is_ok()
    {}
    let steps = undo.undo_steps();
    let shown = doc.get("title").unwrap();
    while undo.undo().is_ok_and(|undone| undone.is_some()) {}
    let left = undo.undo_steps();
    assert!(matches!(undo.undo(), Err(ClientError::DiskFull)) || left == 0, "{left} of {steps}");
    phone.limit_store_pages(0).unwrap();
    while undo.undo().unwrap().is_some() {}
    assert_eq!(doc.get("title").unwrap(), None);
    assert!(shown.is_some());
    // The handle keeps nothing open.
    drop((doc, phone));
    assert!(matches!(undo.undo(), Err(ClientError::Left)));
    Client::builder(folder.path().join("store")).open().unwrap();
}
