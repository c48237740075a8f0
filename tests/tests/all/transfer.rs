//! A space goes through files from one database to another, and phones go on where they were.

use std::path::Path;

use sync_client_ffi::{Client, Doc, DocId, SpaceId, Value};
use sync_core::feed::ItemKind;
use sync_server::auth::keys::Keys;
use sync_server::store::inspect::LogRow;
use sync_server::transfer::{self, Imported, TransferError};
use sync_server::{Config, Storage, open_storage, verify};
use sync_tests::counted::{new_doc, write};
use sync_tests::rig::{PATIENCE, Rig, device, token};

/// Folds early, and lets go of everything that was folded.
fn eager(config: &mut Config) {
    config.compaction.enabled = false;
    config.compaction.tail_changes_max = 5;
    config.compaction.pause_ms = 0;
    config.compaction.retention_days = 0;
}

/// Two phones of Ann's that wrote a space with everything in it: compacted documents with and without a tail, one that has few
/// changes, one that was begun anew, deleted ones that were and were not purged, changes that were refused. One of them has something unsent.
fn stage(rig: &Rig) -> (Client, Client, Vec<DocId>) {
    let (ann, late) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    let docs: Vec<Doc> = (0..5).map(|_| new_doc(&ann)).collect();
    for doc in &docs[..4] {
        write(doc, 12, "words ");
    }
    write(&docs[4], 2, "words ");
    ann.sync_once(PATIENCE).unwrap();
    late.sync_once(PATIENCE).unwrap();
    // What the other phone writes offline into what is deleted meanwhile is refused.
    write(&late.open_doc(space, docs[2].id()).unwrap(), 2, "words ");
    write(&late.open_doc(space, docs[0].id()).unwrap(), 2, "words ");
    ann.delete(space, docs[2].id()).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    let round = rig.compact();
    assert!(round.folded == 3 && round.dropped == 3 && round.purged == 1, "{round:?}");
    late.sync_once(PATIENCE).unwrap();
    write(&docs[1], 3, "words ");
    ann.delete(space, docs[3].id()).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    assert!(!late.refused(space).unwrap().is_empty() || !late.quarantine(space).unwrap().is_empty());
    let renewed = new_doc(&ann);
    write(&renewed, 12, "words ");
    ann.sync_once(PATIENCE).unwrap();
    // With its second request it says that it has what the first one brought.
    for phone in [&late, &late, &ann] {
        phone.sync_once(PATIENCE).unwrap();
    }
    assert_eq!(renewed.start_epoch().unwrap(), 1);
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(renewed.epoch().unwrap(), 1, "{:?}", ann.quarantine(space).unwrap());
    write(&renewed, 2, "words ");
    ann.sync_once(PATIENCE).unwrap();
    write(&late.open_doc(space, docs[4].id()).unwrap(), 1, "words ");
    let excluded = excluded(rig, &ann);
    (ann, late, docs.iter().chain([&renewed, &excluded]).map(Doc::id).collect())
}

/// A document of which one change is excluded behind a snapshot that stands in for others, with changes upon that.
fn excluded(rig: &Rig, ann: &Client) -> Doc {
    let doc = new_doc(ann);
    write(&doc, 6, "words ");
    ann.sync_once(PATIENCE).unwrap();
    rig.compact();
    write(&doc, 1, "bad ");
    let bad = doc.heads().unwrap()[0];
    write(&doc, 2, "upon it ");
    doc.edit(|edit| _ = edit.put("title", "stays")).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    rig.exclude(ann.personal_space(), doc.id(), bad);
    ann.sync_once(PATIENCE).unwrap();
    write(&doc, 4, "words ");
    ann.sync_once(PATIENCE).unwrap();
    rig.compact();
    doc
}

async fn open(config: &Config, keys: &Path) -> (Storage, Keys) {
    let keys = Keys::open(keys).unwrap();
    (open_storage(config, &keys).await.unwrap(), keys)
}

async fn export(config: &Config, keys: &Path, space: SpaceId, file: &Path) {
    let (storage, keys) = open(config, keys).await;
    let how = (crate::worker(), &config.compaction);
    transfer::export(&storage, &keys.receipts, space, how, file, &mut |_| {}).await.unwrap();
    storage.store.close().await.unwrap();
}

async fn import(config: &Config, keys: &Path, file: &Path) -> Result<Imported, TransferError> {
    let (storage, keys) = open(config, keys).await;
    let how = (crate::worker(), &config.compaction);
    let done = transfer::import(&*storage.registry, &keys.receipts, how, file, Some("ann"), &mut |_| {}).await;
    storage.store.close().await.unwrap();
    done
}

/// The log, but for what is gone of deleted documents; and whether all that is stored beside it follows from it.
async fn log(config: &Config, keys: &Path, space: SpaceId) -> Vec<LogRow> {
    let (storage, _) = open(config, keys).await;
    let report = verify::space(&*storage.inspect, space, &mut |_| {}).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let mut rows = storage.inspect.log_rows(space, 0, 10_000).await.unwrap();
    storage.store.close().await.unwrap();
    for row in rows.iter_mut().filter(|row| row.header.kind == ItemKind::Change && row.folded) {
        row.payload = None;
    }
    rows
}

/// The same, but for what snapshots stand in for in the one and not in the other.
fn same(one: &[LogRow], other: &[LogRow]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert_eq!((one.header, one.at, &one.facts), (other.header, other.at, &other.facts));
        assert!(one.payload == other.payload || one.folded || other.folded, "{one:?} {other:?}");
        assert_eq!(one.received_ms, other.received_ms);
    }
}

#[track_caller]
fn equal(one: &Client, other: &Client, doc: DocId) {
    let space = one.personal_space();
    let (one, other) = (one.open_doc(space, doc).unwrap(), other.open_doc(space, doc).unwrap());
    assert_eq!(one.heads().unwrap(), other.heads().unwrap());
    assert_eq!(one.canonical_save().unwrap(), other.canonical_save().unwrap());
}

/// Through that database, if there is one, into another server's, where the phones go on.
fn goes_on_elsewhere(between: Option<&Config>) {
    let rig = Rig::with(eager);
    let (ann, late, docs) = stage(&rig);
    let space = ann.personal_space();
    let (place, was) = (ann.log_position(space).unwrap(), ann.version(space).unwrap());
    let keys = rig.data().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let source = Config { data: keys.clone(), ..Config::default() };
    let target = Config { data: rig.folder().join("elsewhere"), keys: Some(keys.clone()), ..Config::default() };
    runtime.block_on(async {
        // Beside the server, which runs.
        let mut file = rig.folder().join("space.rejoin");
        export(&source, &keys, space, &file).await;
        let theirs = log(&source, &keys, space).await;
        if let Some(between) = between {
            let done = import(between, &keys, &file).await.unwrap();
            assert!(done.same_receipts);
            same(&log(between, &keys, space).await, &theirs);
            let (storage, _) = open(between, &keys).await;
            assert_eq!(storage.store.version(space).await.unwrap().head, done.manifest.head);
            storage.store.close().await.unwrap();
            file = rig.folder().join("again.rejoin");
            export(between, &keys, space, &file).await;
        }
        import(&target, &keys, &file).await.unwrap();
        same(&log(&target, &keys, space).await, &theirs);
        assert!(matches!(import(&target, &keys, &file).await, Err(TransferError::NotFilled(_))));
    });
    drop((ann, late));

    let elsewhere = Rig::with(|config| {
        eager(config);
        config.data.clone_from(&target.data);
        config.keys = Some(keys.clone());
    });
    let again = |number: u8| {
        let token = token(&keys, "ann", device(number));
        let store = rig.folder().join(format!("ann-{number}.sqlite"));
        Client::builder(store).server(elsewhere.url()).token(token).open().unwrap()
    };
    let (ann, late) = (again(1), again(2));
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!((ann.log_position(space).unwrap(), ann.version(space).unwrap()), (place, was), "there is nothing new");
    // What was not sent to the first server goes to the second, and both write on.
    late.sync_once(PATIENCE).unwrap();
    write(&ann.open_doc(space, docs[0]).unwrap(), 3, "words ");
    ann.sync_once(PATIENCE).unwrap();
    late.sync_once(PATIENCE).unwrap();
    let fresh = again(3);
    fresh.sync_once(PATIENCE).unwrap();
    for doc in [docs[0], docs[1], docs[4], docs[6]] {
        equal(&ann, &late, doc);
        equal(&ann, &fresh, doc);
    }
    let counted = fresh.open_doc(space, docs[4]).unwrap().get("count").unwrap();
    assert_eq!(counted, Some(Value::Counter(3)), "what was unsent is there");
    // It is compacted as any other.
    let round = elsewhere.compact();
    assert!(round.folded >= 2 && round.purged == 2, "{round:?}");
    let later = again(4);
    later.sync_once(PATIENCE).unwrap();
    equal(&ann, &later, docs[1]);
}

#[test]
fn phones_go_on_at_another_server_where_their_space_was_imported() {
    goes_on_elsewhere(None);
}

mod needs_postgres {
    use super::*;
    use sync_server::config::Database;
    use sync_server::store::postgres::migrate;
    use sync_tests::services;

    #[test]
    fn a_space_goes_from_sqlite_to_postgres_and_back() {
        let database = services::database();
        let database_config = Database { url: Some(database.url().to_owned().into()), ..Database::default() };
        tokio::runtime::Runtime::new().unwrap().block_on(migrate(&database_config)).unwrap();
        let between = Config { database: database_config, ..Config::default() };
        goes_on_elsewhere(Some(&between));
    }
}
