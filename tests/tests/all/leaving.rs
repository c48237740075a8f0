//! Leaving: stores that are kept or wiped at a logout, spaces that are removed and come back, and exports of everything.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sync_client_ffi::{
    Client, ClientError, Doc, ExportError, ExportReport, Leave, OpenError, Removal, SpaceId, Status, SyncError,
    Trouble, Value,
};
use sync_core::document::Document;
use sync_core::ledger::Role;
use sync_tests::rig::{PATIENCE, Rig, device};

fn note(phone: &Client, space: SpaceId, title: &str) -> Doc {
    let doc = phone.create(space, "notes").unwrap();
    put(&doc, title);
    doc
}

fn put(doc: &Doc, title: &str) -> u64 {
    doc.edit(|edit| {
        edit.put("title", title);
    })
    .unwrap()
}

fn title(doc: &Doc) -> Option<Value> {
    doc.get("title").unwrap()
}

fn offline(path: &Path) -> Result<Client, OpenError> {
    Client::builder(path).identity("ann", device(1)).open()
}

/// What is in the folder of a store, but for the store's own name.
fn beside(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let all = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut found: Vec<String> = all
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|found| found.strip_prefix(name).map(str::to_owned))
        .collect();
    found.sort();
    found
}

#[test]
fn a_logout_keeps_or_wipes_and_says_what_is_unsent() {
    let rig = Rig::start();
    let path = rig.folder().join("ann-1.sqlite");
    let phone = rig.phone("ann", 1);
    let space = phone.personal_space();
    let doc = note(&phone, space, "unsent");

    // Nothing has happened: it goes on, also in the background.
    assert!(matches!(phone.leave(Leave::WipeWhenSent), Err(ClientError::Unsent { edits: 1, changes: 1 })));
    put(&doc, "more");
    assert!(matches!(offline(&path), Err(OpenError::Locked { .. })));

    // Kept: the file is free, and everything is in it; the old handles say so.
    phone.leave(Leave::Keep).unwrap();
    assert!(matches!(doc.get("title"), Err(ClientError::Left)));
    assert!(matches!(phone.create(space, "notes"), Err(ClientError::Left)));
    assert!(matches!(phone.add_space(space), Err(ClientError::Left)));
    assert!(matches!(phone.start(), Err(ClientError::Left)));
    assert!(matches!(phone.refused(space), Err(ClientError::Left)));
    assert!(matches!(phone.leave(Leave::WipeNow), Err(ClientError::Left)));
    assert_eq!(phone.sync_once(PATIENCE), Err(SyncError::Left));
    let again = rig.phone("ann", 1);
    assert_eq!(title(&again.open_doc(space, doc.id()).unwrap()), Some("more".into()));

    // While it synchronises, everything gets there, and then it may go.
    again.start().unwrap();
    put(&again.open_doc(space, doc.id()).unwrap(), "sent");
    assert!(again.wait_acknowledged(space, PATIENCE));
    again.leave(Leave::WipeWhenSent).unwrap();
    assert_eq!(beside(&path), [] as [String; 0]);
    drop((again, phone, doc));

    // A new store of another device has what was sent.
    let fresh = rig.phone("ann", 3);
    fresh.sync_once(PATIENCE).unwrap();
    assert_eq!(fresh.documents(space, None).unwrap().len(), 1);
}

#[test]
fn who_cannot_leave_goes_on_synchronising() {
    let mut rig = Rig::start();
    let phone = rig.phone("ann", 1);
    let space = phone.personal_space();
    rig.stop();
    phone.start().unwrap();
    let doc = note(&phone, space, "waits");
    assert!(matches!(phone.leave(Leave::WipeWhenSent), Err(ClientError::Unsent { .. })));
    rig.restart();
    phone.network_changed(true);
    assert!(phone.wait_acknowledged(space, PATIENCE));
    assert_eq!(title(&doc), Some("waits".into()));
}

#[test]
fn a_wipe_takes_unsent_work_and_damaged_copies_and_a_kill_in_it_leaves_no_half_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let phone = offline(&path).unwrap();
    let space = phone.personal_space();
    note(&phone, space, "secret");
    std::fs::write(folder.path().join("store.damaged-1"), b"secret").unwrap();
    std::fs::write(folder.path().join("store.damaged-1-wal"), b"secret").unwrap();
    // The log as it is before the wipe: what a kill between the two deletions may leave.
    let log = std::fs::read(folder.path().join("store-wal")).unwrap();
    assert!(!log.is_empty());
    phone.leave(Leave::WipeNow).unwrap();
    assert_eq!(beside(&path), [] as [String; 0]);

    std::fs::write(folder.path().join("store-wal"), &log).unwrap();
    std::fs::write(folder.path().join("store.lock"), b"").unwrap();
    let fresh = Client::builder(&path).identity("ben", device(2)).open().unwrap();
    assert_eq!(fresh.user(), "ben");
    assert!(fresh.documents(fresh.personal_space(), None).unwrap().is_empty());
    note(&fresh, fresh.personal_space(), "new");
    drop(fresh);
    let again = Client::builder(&path).open().unwrap();
    assert_eq!(again.documents(again.personal_space(), None).unwrap().len(), 1);
}

/// A space of two phones, with a document of each.
fn shared(rig: &Rig) -> (Client, Client, SpaceId, Doc, Doc) {
    let (ann, ben) = (rig.phone("ann", 1), rig.phone("ben", 2));
    let space = SpaceId::from_random([7; 16]);
    for (phone, name) in [(&ann, "ann"), (&ben, "ben")] {
        rig.set_role(space, name, Some(Role::Writer));
        phone.add_space(space).unwrap();
    }
    let anns = note(&ann, space, "ann's");
    ann.sync_once(PATIENCE).unwrap();
    ben.sync_once(PATIENCE).unwrap();
    let bens = note(&ben, space, "ben's");
    put(&ben.open_doc(space, anns.id()).unwrap(), "both");
    ben.sync_once(PATIENCE).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    (ann, ben, space, anns, bens)
}

#[test]
fn a_space_is_removed_and_comes_back_whole() {
    let rig = Rig::start();
    let (ann, ben, space, anns, bens) = shared(&rig);
    for live in [false, true] {
        if live {
            ben.start().unwrap();
        }
        let (version, last) = (ann.version(space).unwrap(), ben.feed(space).unwrap().n);
        ben.remove_space(space, Removal::WhenSent).unwrap();
        assert!(matches!(bens.get("title"), Err(ClientError::NoSpace)));
        assert!(matches!(ben.documents(space, None), Err(ClientError::NoSpace)));
        assert!(matches!(ben.remove_space(space, Removal::Now), Err(ClientError::NoSpace)));
        // Elsewhere the phone goes on.
        note(&ben, ben.personal_space(), "own");
        ben.sync_once(PATIENCE).unwrap();

        ben.add_space(space).unwrap();
        assert!(ben.documents(space, None).unwrap().is_empty(), "it is read from the server again");
        ben.sync_once(PATIENCE).unwrap();
        assert_eq!(ben.version(space).unwrap(), version);
        assert_eq!(ben.feed(space).unwrap().n, last, "a feed goes on where it was");
        for doc in [&anns, &bens] {
            let here = ben.open_doc(space, doc.id()).unwrap();
            let there = ann.open_doc(space, doc.id()).unwrap();
            assert_eq!(here.canonical_save().unwrap(), there.canonical_save().unwrap());
        }
        // And it writes on.
        let here = ben.open_doc(space, bens.id()).unwrap();
        let edit = put(&here, if live { "live" } else { "again" });
        assert_eq!(edit, 1, "edits count anew");
        assert!(!here.edit_state(edit).unwrap().is_decided() || live);
        ben.sync_once(PATIENCE).unwrap();
        assert!(here.wait_for_edit(edit, PATIENCE).unwrap().is_decided());
        ann.sync_once(PATIENCE).unwrap();
        assert_eq!(title(&ann.open_doc(space, bens.id()).unwrap()), title(&here));
        assert_eq!(ben.quarantine(space).unwrap(), []);
    }
    // What is asked for again is so only once.
    let before = ben.traffic().bytes_received;
    ben.sync_once(PATIENCE).unwrap();
    assert!(ben.traffic().bytes_received - before < 2_000);
}

#[test]
fn unsent_work_keeps_a_space_unless_it_may_go() {
    let rig = Rig::start();
    let (ann, ben, space, _, bens) = shared(&rig);
    assert!(matches!(ben.remove_space(ben.personal_space(), Removal::Now), Err(ClientError::PersonalSpace)));
    put(&bens, "never sent");
    assert!(matches!(ben.remove_space(space, Removal::WhenSent), Err(ClientError::Unsent { edits: 1, changes: 0 })));
    assert_eq!(title(&bens), Some("never sent".into()));
    bens.seal().unwrap();
    let last = ben.feed(space).unwrap().n;
    ben.remove_space(space, Removal::Now).unwrap();

    // Also after a restart, its feed goes on behind what never came.
    drop((bens, ben));
    let ben = rig.phone("ben", 2);
    assert!(matches!(ben.documents(space, None), Err(ClientError::NoSpace)));
    ben.add_space(space).unwrap();
    ben.sync_once(PATIENCE).unwrap();
    let docs = ben.documents(space, None).unwrap();
    assert_eq!(docs.len(), 2);
    let bens = ben.open_doc(space, docs[1].id).unwrap();
    assert_eq!(title(&bens), Some("ben's".into()));
    assert_eq!(ben.feed(space).unwrap().n, last);
    put(&bens, "after");
    ben.sync_once(PATIENCE).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(title(&ann.open_doc(space, bens.id()).unwrap()), Some("after".into()));
    assert_eq!(ann.version(space).unwrap(), ben.version(space).unwrap());
}

#[test]
fn access_that_is_lost_for_good_is_no_trouble_once_the_space_is_removed() {
    let rig = Rig::start();
    let (_ann, ben, space, anns, _) = shared(&rig);
    rig.set_role(space, "ben", None);
    put(&ben.open_doc(space, anns.id()).unwrap(), "never sent");
    assert_eq!(ben.sync_once(PATIENCE).unwrap_err(), SyncError::Trouble(Trouble::NoAccess));
    assert_eq!(ben.status(), Status::Error(Trouble::NoAccess));
    assert!(matches!(ben.remove_space(space, Removal::WhenSent), Err(ClientError::Unsent { .. })));
    ben.remove_space(space, Removal::Now).unwrap();
    assert_ne!(ben.status(), Status::Error(Trouble::NoAccess));
    ben.sync_once(PATIENCE).unwrap();
    assert_eq!(ben.status(), Status::Idle);
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_export_has_everything_and_is_there_as_a_whole_or_not_at_all() {
    let rig = Rig::start();
    let (_ann, ben, space, anns, bens) = shared(&rig);
    let personal = ben.personal_space();
    let own = note(&ben, personal, "not \"sealed\"");
    let gone = note(&ben, space, "deleted");
    ben.delete(space, gone.id()).unwrap();
    ben.sync_once(PATIENCE).unwrap();
    // Refused, and out of its document.
    rig.set_role(space, "ben", Some(Role::Reader));
    put(&bens, "refused");
    ben.sync_once(PATIENCE).unwrap();
    assert_eq!(ben.quarantine(space).unwrap().len(), 1);
    put(&own, "last");

    let folder = rig.folder().join("exports/all");
    let partial: PathBuf = rig.folder().join("exports/all.rejoin-partial");
    // What a kill has left.
    std::fs::create_dir_all(partial.join("old")).unwrap();
    let mut told = Vec::new();
    let stopped = ben.export(&folder, |progress| {
        told.push((progress.documents, progress.total));
        assert!(partial.join("index.json").exists() && !folder.exists());
        assert!(matches!(ben.export("elsewhere", |_| ControlFlow::Continue(())), Err(ExportError::Busy)));
        if told.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped, Err(ExportError::Stopped)), "{stopped:?}");
    assert_eq!(told, [(1, 3), (2, 3)]);
    assert!(!folder.exists() && !partial.exists());

    let report = ben.export(&folder, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(report, ExportReport { spaces: 2, documents: 3, damaged: 0, quarantined: 1 });
    assert!(!partial.exists() && !folder.join("old").exists());
    assert!(matches!(ben.export(&folder, |_| ControlFlow::Continue(())), Err(ExportError::Exists { .. })));

    let index = json(&folder.join("index.json"));
    assert_eq!((&index["format"], &index["user"]), (&1.into(), &"ben".into()));
    let spaces = index["spaces"].as_array().unwrap();
    assert_eq!(spaces.len(), 2);
    let mut seen = Vec::new();
    for listed in spaces.iter().flat_map(|space| space["documents"].as_array().unwrap()) {
        assert_eq!(listed["collection"], "notes");
        let file = |kind: &str| folder.join(listed[kind].as_str().unwrap());
        let exported = json(&file("json"));
        // As any automerge library would load it.
        let actor = sync_core::id::Actor::new(device(9), [0; 4]);
        let saved = std::fs::read(file("automerge")).unwrap();
        let loaded = Document::load(actor, Some(&saved), &[] as &[Vec<u8>]).unwrap().0;
        assert_eq!(loaded.get(sync_core::value::Path::root()).unwrap().to_json(), exported);
        seen.push((listed["document"].as_str().unwrap().to_owned(), exported["title"].as_str().unwrap().to_owned()));
    }
    seen.sort();
    let mut expected = [(anns.id(), "both"), (bens.id(), "ben's"), (own.id(), "last")]
        .map(|(doc, title)| (doc.to_string(), title.to_owned()));
    expected.sort();
    assert_eq!(seen, expected);

    let of_space = spaces.iter().find(|listed| listed["space"] == space.to_string()).unwrap();
    let [refused] = of_space["quarantine"].as_array().unwrap().as_slice() else { panic!("one") };
    assert_eq!((&refused["reason"], &refused["waits"]), (&"no_access".into(), &false.into()));
    assert_eq!(refused["document"], bens.id().to_string());
    let bytes = std::fs::read(folder.join(refused["change"].as_str().unwrap())).unwrap();
    assert!(sync_core::guard::inspect(&bytes).is_ok(), "the change as it was made");
}
