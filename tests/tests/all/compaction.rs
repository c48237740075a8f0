//! Compaction and what phones see of it: documents are folded, payloads go, and whoever comes later has everything.

use sync_client_ffi::{Client, DocId, SpaceId, Value};
use sync_server::Config;
use sync_server::compaction::Round;
use sync_server::store::Store;
use sync_server::store::snapshots::{DocumentState, Range, Snapshots};
use sync_server::store::sqlite::{SqliteOptions, SqliteStore};
use sync_tests::counted::{new_doc, write};
use sync_tests::rig::{PATIENCE, Rig, Seeded};

mod catching_up;
mod killed;

/// Folds early, and lets go of everything that was folded.
fn eager(config: &mut Config) {
    config.compaction.enabled = false;
    config.compaction.tail_changes_max = 5;
    config.compaction.pause_ms = 0;
    config.compaction.retention_days = 0;
}

/// Folds early, and keeps payloads.
fn keeping(config: &mut Config) {
    eager(config);
    config.compaction.retention_days = 90;
    config.compaction.active_days = 0;
}

/// Text that does not compress.
fn noise(random: &mut Seeded, characters: usize) -> String {
    (0..characters).map(|_| char::from_u32(0x4e00 + random.below(20_000) as u32).unwrap()).collect()
}

/// Both have the same document.
#[track_caller]
fn equal(one: &Client, other: &Client, doc: DocId) {
    let space = one.personal_space();
    let (one, other) = (one.open_doc(space, doc).unwrap(), other.open_doc(space, doc).unwrap());
    assert_eq!(one.heads().unwrap(), other.heads().unwrap());
    assert_eq!(one.canonical_save().unwrap(), other.canonical_save().unwrap());
}

/// What the server's store has of a document, and the payload bytes that are left of it.
fn stored(rig: &Rig, space: SpaceId, doc: DocId) -> (DocumentState, u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(rig.data(), &SqliteOptions::default()).unwrap();
        let state = store.document_state(space, doc).await.unwrap().unwrap();
        let range = Range { after: 0, through: u64::MAX, few: true };
        let left = store.changes_in(space, doc, range, usize::MAX).await.unwrap();
        store.close().await.unwrap();
        (state, left.iter().map(|(_, bytes)| bytes).sum())
    })
}

#[test]
fn documents_are_folded_and_their_payloads_go_but_nothing_is_lost() {
    let rig = Rig::with(eager);
    let ann = rig.phone("ann", 1);
    let space = ann.personal_space();
    let (doc, short) = (new_doc(&ann), new_doc(&ann));
    write(&doc, 40, "some words ");
    write(&short, 2, "short");
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(rig.compact(), Round { folded: 1, dropped: 1, ..Round::default() });
    assert_eq!(rig.compact(), Round::default(), "nothing is left to do");
    let (state, left) = stored(&rig, space, doc.id());
    let snapshot = state.snapshot.expect("a snapshot");
    assert_eq!((snapshot.changes, left), (41, 0));
    assert!(stored(&rig, space, short.id()).0.snapshot.is_none(), "it has not grown");
    // What grows on is tail.
    write(&doc, 4, "more ");
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(rig.compact(), Round::default(), "the tail is short");
    let (state, left) = stored(&rig, space, doc.id());
    let tail = state.tail.expect("it is counted");
    assert_eq!((tail.changes, tail.bytes), (4, left));
    let kept = state.snapshot.expect("a snapshot").size + left;
    assert!(kept * 2 <= 3 * snapshot.size + 2 * tail.bytes, "{kept} bytes for a snapshot of {}", snapshot.size);

    let fresh = rig.phone("ann", 2);
    fresh.sync_once(PATIENCE).unwrap();
    for doc in [doc.id(), short.id()] {
        equal(&ann, &fresh, doc);
    }
    assert_eq!(fresh.version(space).unwrap(), ann.version(space).unwrap());
    assert_eq!(fresh.log_position(space).unwrap(), ann.log_position(space).unwrap());
    // It folds on from what it has, and so does the one that never saw a snapshot.
    let same = fresh.open_doc(space, doc.id()).unwrap();
    write(&same, 3, "from the other ");
    fresh.sync_once(PATIENCE).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(rig.compact(), Round { folded: 1, dropped: 1, ..Round::default() });
    let third = rig.phone("ann", 3);
    third.sync_once(PATIENCE).unwrap();
    for phone in [&fresh, &third] {
        equal(&ann, phone, doc.id());
    }
    assert_eq!(doc.get("count").unwrap(), Some(Value::Counter(47)));
}

#[test]
fn what_was_deleted_is_purged_and_those_who_come_later_do_not_miss_it() {
    let rig = Rig::with(eager);
    let ann = rig.phone("ann", 1);
    let space = ann.personal_space();
    let (doc, other) = (new_doc(&ann), new_doc(&ann));
    write(&doc, 10, "secret ");
    write(&other, 3, "kept ");
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(rig.compact().folded, 1);
    let late = rig.phone("ann", 2);
    late.sync_once(PATIENCE).unwrap();
    let id = doc.id();
    write(&doc, 3, "secret ");
    ann.delete(space, id).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(rig.compact(), Round { purged: 1, ..Round::default() });
    let (state, left) = stored(&rig, space, id);
    assert!(state.deleted && state.purged && state.snapshot.is_none() && left == 0, "{state:?}");
    assert_eq!(rig.compact(), Round::default());
    let fresh = rig.phone("ann", 3);
    for phone in [&late, &fresh] {
        phone.sync_once(PATIENCE).unwrap();
        assert_eq!(phone.documents(space, None).unwrap().len(), 1);
        equal(&ann, phone, other.id());
        assert_eq!(phone.version(space).unwrap(), ann.version(space).unwrap());
    }
}

#[test]
fn a_server_that_was_restarted_goes_on() {
    let mut rig = Rig::with(keeping);
    let ann = rig.phone("ann", 1);
    let doc = new_doc(&ann);
    for round in 1..=3 {
        write(&doc, 6, "again ");
        ann.sync_once(PATIENCE).unwrap();
        rig.restart();
        assert_eq!(rig.compact().folded, 1, "round {round}");
    }
    let (state, left) = stored(&rig, ann.personal_space(), doc.id());
    let snapshot = state.snapshot.expect("a snapshot");
    assert_eq!((snapshot.changes, snapshot.below_seq, left), (19, 0, snapshot.payload_bytes), "payloads are kept");
    let fresh = rig.phone("ann", 2);
    fresh.sync_once(PATIENCE).unwrap();
    equal(&ann, &fresh, doc.id());
}
