//! The phone's store: what a kill leaves behind, and files that are not what they should be.

use std::fs;
use std::path::{Path, PathBuf};

use sync_client_ffi::{Client, ClientError, DeviceId, OpenError, Value, path};
use sync_tests::rig::{PATIENCE, Rig, Seeded, device};

fn open(path: &Path) -> Result<Client, OpenError> {
    Client::builder(path).identity("ann", device(1)).open()
}

/// What a kill would leave on disk now: the files as they are, while the client goes on.
fn crash_image(store: &Path, image: &Path) {
    for suffix in ["", "-wal"] {
        let from = PathBuf::from(format!("{}{suffix}", store.display()));
        if from.exists() {
            fs::copy(from, format!("{}{suffix}", image.display())).unwrap();
        }
    }
}

#[test]
fn every_edit_is_on_disk_when_the_call_returns() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let phone = open(&store).unwrap();
    let space = phone.personal_space();
    let doc = phone.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("text", Value::Text(String::new())).put("count", Value::Counter(0));
    })
    .unwrap();
    let mut random = Seeded::new("journal");
    for number in 0..400u64 {
        let length = doc.length("text").unwrap().unwrap();
        let at = random.below(length + 1);
        let delete = random.below(3).min(length - at);
        doc.edit(|edit| {
            edit.splice("text", at, delete, format!("{number},")).increment("count", 1);
        })
        .unwrap();
        if random.below(40) == 0 {
            doc.seal().unwrap();
        }
        if random.below(10) == 0 {
            let image = folder.path().join(format!("image-{number}"));
            crash_image(&store, &image);
            let survivor = open(&image).unwrap();
            let same = survivor.open_doc(space, doc.id()).unwrap();
            assert_eq!(same.get(path![]).unwrap(), doc.get(path![]).unwrap(), "after edit {number}");
            assert_eq!(same.edits().unwrap(), doc.edits().unwrap());
            assert_eq!(survivor.pending(space).unwrap().journal_edits, 0, "the journal is sealed on opening");
        }
    }
}

#[test]
fn a_journal_is_replayed_under_changes_that_arrived_behind_it() {
    let rig = Rig::start();
    let ann = rig.phone("ann", 1);
    let space = ann.personal_space();
    let doc = ann.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("text", Value::Text("base".into()));
    })
    .unwrap();
    ann.sync_once(PATIENCE).unwrap();
    let store = rig.folder().join("ann-2.sqlite");
    let other = rig.phone("ann", 2);
    other.sync_once(PATIENCE).unwrap();
    let same = other.open_doc(space, doc.id()).unwrap();
    let hold = same.hold().unwrap();
    doc.edit(|edit| {
        edit.splice("text", 0, 4, "BASE");
    })
    .unwrap();
    ann.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    // The remote change is stored but not shown; the edit is made upon what is shown, and stays in the journal.
    same.edit(|edit| {
        edit.splice("text", 4, 0, " and more");
    })
    .unwrap();
    let image = rig.folder().join("image");
    crash_image(&store, &image);
    let survivor = Client::builder(&image).server(rig.url()).token(rig.token("ann", device(2))).open().unwrap();
    let survived = survivor.open_doc(space, doc.id()).unwrap();
    assert_eq!(survived.text("text").unwrap().as_deref(), Some("BASE and more"));
    survivor.sync_once(PATIENCE).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(doc.text("text").unwrap().as_deref(), Some("BASE and more"));
    assert_eq!(doc.heads().unwrap(), survived.heads().unwrap());
    drop(hold);
}

#[test]
fn changes_never_overtake_each_other_across_documents() {
    let folder = tempfile::tempdir().unwrap();
    let phone = open(&folder.path().join("store")).unwrap();
    let space = phone.personal_space();
    let (one, two) = (phone.create(space, "a").unwrap(), phone.create(space, "b").unwrap());
    let put = |doc: &sync_client_ffi::Doc, value: i64| {
        doc.edit(|edit| {
            edit.put("n", value);
        })
        .unwrap();
    };
    put(&one, 1);
    put(&two, 1);
    put(&two, 2);
    assert_eq!(phone.feed(space).unwrap().n, 2, "both journals are open");
    put(&one, 2);
    assert_eq!(phone.feed(space).unwrap().n, 3, "what came before the second document is sealed in front of it");
    put(&one, 3);
    two.seal().unwrap();
    assert_eq!(phone.feed(space).unwrap().n, 4);
    one.seal().unwrap();
    assert_eq!(phone.feed(space).unwrap().n, 5);
}

#[test]
fn a_store_belongs_to_one_process_and_one_identity() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    assert!(matches!(Client::builder(&store).open(), Err(OpenError::NoIdentity)));
    assert!(matches!(Client::builder(&store).token("rubbish").open(), Err(OpenError::BadToken)));
    let phone = open(&store).unwrap();
    assert!(matches!(open(&store), Err(OpenError::Locked { .. })));
    drop(phone);
    let other = Client::builder(&store).identity("ben", device(1)).open();
    assert!(matches!(other, Err(OpenError::OtherIdentity { user, .. }) if user == "ann"));
    let other: DeviceId = device(2);
    assert!(matches!(Client::builder(&store).identity("ann", other).open(), Err(OpenError::OtherIdentity { .. })));
    assert_eq!(Client::builder(&store).open().unwrap().user(), "ann");
    assert!(matches!(
        Client::builder(folder.path().join("new")).server("ftp://x").open(),
        Err(OpenError::BadAddress { .. })
    ));
}

#[test]
fn foreign_newer_and_damaged_files_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let phone = open(&store).unwrap();
    let space = phone.personal_space();
    let ids: Vec<_> = (0..200)
        .map(|number| {
            let doc = phone.create(space, "notes").unwrap();
            doc.edit(|edit| {
                edit.put("text", format!("note {number}"));
            })
            .unwrap();
            doc.id()
        })
        .collect();
    drop(phone);
    let sound = fs::read(&store).unwrap();

    let foreign = folder.path().join("foreign");
    let letter = b"Dear diary, this is not a database, however long it may be, and nobody should touch it. ".repeat(3);
    fs::write(&foreign, &letter).unwrap();
    assert!(matches!(open(&foreign), Err(OpenError::NotAStore { .. })));
    assert_eq!(fs::read(&foreign).unwrap(), letter);

    // A database of somebody else's that has neither a version nor a name.
    let nameless = folder.path().join("nameless");
    let mut bytes = sound.clone();
    bytes[60..64].fill(0);
    bytes[68..72].fill(0);
    fs::write(&nameless, &bytes).unwrap();
    assert!(matches!(open(&nameless), Err(OpenError::NotAStore { .. })));
    assert_eq!(fs::read(&nameless).unwrap(), bytes);

    let newer = folder.path().join("newer");
    let mut bytes = sound.clone();
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
    fs::write(&newer, &bytes).unwrap();
    assert!(matches!(open(&newer), Err(OpenError::Newer { found: 99, .. })));
    assert_eq!(fs::read(&newer).unwrap(), bytes);

    let cut = folder.path().join("cut");
    fs::write(&cut, &sound[..sound.len() / 2]).unwrap();
    let damaged: Result<Client, OpenError> = open(&cut).and_then(|phone| match phone.open_doc(space, ids[150]) {
        Err(ClientError::Corrupt) => Err(OpenError::Corrupt { copy: cut.clone() }),
        other => panic!("half a file is no store: {:?}", other.err()),
    });
    assert!(matches!(damaged, Err(OpenError::Corrupt { .. })), "{:?}", damaged.err());
    assert!(fs::read(&cut).unwrap().starts_with(&sound[..100]));

    // Zeros over a part of the file, as a dying disk leaves them.
    let holed = folder.path().join("holed");
    let mut bytes = sound.clone();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0);
    fs::write(&holed, &bytes).unwrap();
    let (copy, saved) = Client::repair(&holed).unwrap();
    assert_eq!(fs::read(&copy).unwrap(), bytes, "the damaged file is kept as it was");
    assert!(saved > 100, "{saved} rows");
    let repaired = open(&holed).unwrap();
    let readable = ids.iter().filter(|id| repaired.open_doc(space, **id).is_ok()).count();
    assert!(readable > 50, "{readable} documents");
}

#[test]
fn a_full_disk_fails_the_edit_and_leaves_the_document_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let phone = open(&folder.path().join("store")).unwrap();
    let space = phone.personal_space();
    let doc = phone.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("text", Value::Text("before".into()));
    })
    .unwrap();
    phone.limit_store_pages(4).unwrap();
    let mut shown = doc.get(path![]).unwrap();
    let mut edits = doc.edits().unwrap();
    let mut failures = 0;
    for _ in 0..200 {
        let made = doc.edit(|edit| {
            edit.splice("text", 0, 0, "0123456789".repeat(100));
        });
        match made {
            Ok(_) => {
                shown = doc.get(path![]).unwrap();
                edits += 1;
            }
            Err(ClientError::DiskFull) => failures += 1,
            Err(other) => panic!("{other}"),
        }
        assert_eq!(doc.get(path![]).unwrap(), shown);
        assert_eq!(doc.edits().unwrap(), edits);
    }
    assert!(failures > 100, "{failures} failures");
    phone.limit_store_pages(0).unwrap();
    doc.edit(|edit| {
        edit.put("after", true);
    })
    .unwrap();
    assert_eq!(doc.get("after").unwrap(), Some(Value::Bool(true)));
}
