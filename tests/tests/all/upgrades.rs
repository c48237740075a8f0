//! Stores that earlier versions of the client wrote, opened by this one. `tests/fixtures/client/README.md` says what they are.

use std::path::{Path, PathBuf};

use sync_client_ffi::{Client, ClientError, EditState, RejectCode};

/// What each of them holds was written by device 1 of Ann's but for what device 2 added.
fn opens(store: &Path) {
    // Whoever it belongs to, the store says itself.
    let phone = Client::builder(store).open().unwrap();
    assert_eq!(phone.user(), "ann");
    let space = phone.personal_space();
    assert!(phone.has_access(space).unwrap());

    let list = |collection| -> Vec<String> {
        let page = phone.document_page(space, Some(collection), None, 10).unwrap();
        assert_eq!(page.next, None);
        let title = |info: &sync_client_ffi::DocumentInfo| {
            let doc = phone.open_doc(space, info.id).unwrap();
            doc.json("title").unwrap().unwrap()
        };
        page.documents.iter().map(title).collect()
    };
    assert_eq!(list("notes"), ["\"shared\"", "\"fresh\""]);
    assert_eq!(list("tasks"), ["\"of the other\""]);

    let notes = phone.documents(space, Some("notes")).unwrap();
    let shared = phone.open_doc(space, notes[0].id).unwrap();
    let whole =
        r#"{"body":"toast and butter, and jam","items":["milk","salt"],"likes":15,"title":"shared","unsent":1}"#;
    assert_eq!(shared.json(sync_client_ffi::path![]).unwrap().unwrap(), whole);
    assert_eq!(shared.edits().unwrap(), 4);
    let states: Vec<EditState> = (1..=4).map(|edit| shared.edit_state(edit).unwrap()).collect();
    assert!(
        matches!(
            states[..],
            [EditState::Durable { .. }, EditState::Durable { .. }, EditState::Local, EditState::Local]
        ),
        "{states:?}"
    );
    let fresh = phone.open_doc(space, notes[1].id).unwrap();
    assert_eq!(fresh.text("body").unwrap().unwrap(), "typed");

    let quarantine = phone.quarantine(space).unwrap();
    let [refused] = quarantine[..] else { panic!("{quarantine:?}") };
    assert_eq!(refused.reason, sync_client_ffi::Reason::Refused(RejectCode::DocumentDeleted));
    assert!(matches!(phone.open_doc(space, refused.doc), Err(ClientError::NoDocument(_) | ClientError::Deleted(_))));
    let pending = phone.pending(space).unwrap();
    assert_eq!(pending.journal_edits, 0, "what the kill left open is sealed");
    assert!(pending.outbox_changes >= 4, "{pending:?}");

    // And it goes on.
    shared.edit(|edit| _ = edit.put("title", "goes on")).unwrap();
    assert_eq!(list("notes"), ["\"goes on\"", "\"fresh\""]);
}

#[test]
fn a_store_of_each_version_before_is_brought_to_this_one() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let migrations = std::fs::read_dir(root.join("../migrations/client")).unwrap().count();
    assert!(migrations > 1);
    for version in 1..migrations {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let fixture = root.join(format!("fixtures/client/v{version}.db"));
        std::fs::copy(&fixture, &store).unwrap_or_else(|error| panic!("{}: {error}", fixture.display()));
        for _ in 0..2 {
            println!("version {version}");
            std::fs::copy(&fixture, &store).unwrap();
            opens(&store);
        }
    }
}
