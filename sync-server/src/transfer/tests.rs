//! A space through a file, and files that were altered.

use std::path::Path;
use std::sync::Arc;

use sync_core::check::Push;
use sync_core::document::{Document, Op};
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::id::{Actor, DeviceId};
use sync_core::ledger::Role;
use sync_core::value::Value;

use super::archive::{Found, Reader, Writer};
use super::*;
use crate::compaction::Workshop;
use crate::config::Compaction;
use crate::store::inspect::LogRow;
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::{Storage, verify};

const SPACE: SpaceId = SpaceId::from_bytes([3; 16]);
const DEVICE: DeviceId = DeviceId::from_bytes([1; 16]);

fn doc(number: u8) -> DocId {
    DocId::from_bytes([number; 16])
}

fn receipts() -> sync_core::log::ReceiptKey {
    sync_core::log::ReceiptKey::new([5; 32])
}

fn storage(folder: &Path) -> (Storage, Arc<SqliteStore>) {
    let store = Arc::new(SqliteStore::open(folder, &SqliteOptions::default()).unwrap());
    let storage = Storage { store: store.clone(), registry: store.clone(), inspect: store.clone() };
    (storage, store)
}

/// Changes of a document, of a letter each.
fn changes(of: u8, count: u64) -> Vec<Item> {
    let mut document = Document::new(Actor::new(DEVICE, [0; 4]));
    let mut items = Vec::new();
    for at in 0..count {
        let op = match at {
            0 => Op::Put { path: "text".into(), value: Value::Text(String::new()) },
            _ => Op::Splice { path: "text".into(), at: at - 1, delete: 0, insert: "x".into() },
        };
        document.edit(vec![op], &mut || at).unwrap();
        let sealed = document.seal(&mut || at).unwrap();
        items.push(Item::change(doc(of), sealed.hash, sealed.bytes));
    }
    items
}

/// A document with fifty changes, one without any, one that was deleted, and a change that was refused.
async fn stage(folder: &Path) -> Storage {
    let (storage, store) = storage(folder);
    storage.store.set_role(SPACE, "ann", Some(Role::Owner)).await.unwrap();
    let mut items = vec![Item::create(doc(1), "notes/../of ann".to_owned())];
    items.extend(changes(1, 50));
    items.push(Item::create(doc(2), "notes".to_owned()));
    items.push(Item::create(doc(4), "notes".to_owned()));
    items.extend(changes(4, 5));
    items.push(Item::delete(doc(4)));
    items.extend(changes(9, 1));
    let run = Run { device: DEVICE, base: FeedHead::start(SPACE, DEVICE), items };
    let committed = store_commit(&*store, Push::check("ann".to_owned(), run)).await;
    assert_eq!(committed, 60);
    storage
}

async fn store_commit(store: &dyn crate::store::Store, push: Push) -> u64 {
    store.commit(SPACE, vec![push]).await.unwrap().head.seq
}

fn here() -> (Workshop, Compaction) {
    (Workshop::Here, Compaction::default())
}

async fn exported(storage: &Storage, path: &Path) -> (Manifest, Progress) {
    let (workshop, config) = here();
    export(storage, &receipts(), SPACE, (workshop, &config), path, &mut |_| {}).await.unwrap()
}

async fn imported(storage: &Storage, path: &Path) -> Result<Imported, TransferError> {
    let (workshop, config) = here();
    import(&*storage.registry, &receipts(), (workshop, &config), path, Some("ann"), &mut |_| {}).await
}

async fn checked(path: &Path) -> Result<Imported, TransferError> {
    let (workshop, config) = here();
    check(&receipts(), (workshop, &config), path, &mut |_| {}).await
}

/// The log, but for what is gone of deleted documents.
async fn log(storage: &Storage) -> Vec<LogRow> {
    let mut rows = storage.inspect.log_rows(SPACE, 0, 10_000).await.unwrap();
    for row in rows.iter_mut().filter(|row| row.header.kind == ItemKind::Change && row.folded) {
        row.payload = None;
    }
    rows
}

async fn is_sound(storage: &Storage) {
    let report = verify::space(&*storage.inspect, SPACE, &mut |_| {}).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[tokio::test]
async fn a_space_goes_through_a_file_and_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let source = stage(&folder.path().join("source")).await;
    let file = folder.path().join("space.rejoin");
    let (manifest, counts) = exported(&source, &file).await;
    assert_eq!((manifest.head.seq, counts), (60, Progress { entries: 60, documents: 1 }));
    let (workshop, config) = here();
    let again = export(&source, &receipts(), SPACE, (workshop, &config), &file, &mut |_| {}).await;
    assert!(matches!(again, Err(TransferError::Exists(_))));
    assert_eq!(checked(&file).await.unwrap().counts, counts);

    let (target, _) = storage(&folder.path().join("target"));
    let done = imported(&target, &file).await.unwrap();
    assert_eq!((&done.manifest, done.counts, done.same_receipts), (&manifest, counts, true));
    assert_eq!(log(&target).await, log(&source).await);
    is_sound(&target).await;
    assert_eq!(target.store.role(SPACE, "ann").await.unwrap(), Some(Role::Owner));
    let theirs = source.inspect.derived(SPACE).await.unwrap();
    assert_eq!(target.inspect.derived(SPACE).await.unwrap(), theirs);

    // It can be exported again from there, and no space is filled twice.
    let copy = folder.path().join("copy.rejoin");
    assert_eq!(exported(&target, &copy).await.1, counts);
    assert!(matches!(imported(&target, &copy).await, Err(TransferError::NotFilled(NotFilled::Taken))));
    assert_eq!(log(&target).await.len(), 60);
}

#[tokio::test]
async fn others_read_the_files_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let source = stage(&folder.path().join("source")).await;
    let file = folder.path().join("space.rejoin");
    exported(&source, &file).await;
    let files = files(&std::fs::read(&file).unwrap());
    let named = |name: String| &files.iter().find(|(path, _)| *path == name).expect("a file").1;
    let place = format!("documents/notes%2F%2E%2E%2Fof%20ann/{}", doc(1));
    let mut loaded = automerge::AutoCommit::load(named(format!("{place}.automerge"))).unwrap();
    assert_eq!(loaded.get_changes(&[]).len(), 50);
    let json: serde_json::Value = serde_json::from_slice(named(format!("{place}.json"))).unwrap();
    assert_eq!(json, serde_json::json!({ "text": "x".repeat(49) }));
    let tombstone: serde_json::Value =
        serde_json::from_slice(named(format!("tombstones/notes/{}.json", doc(4)))).unwrap();
    assert_eq!(tombstone, serde_json::json!({ "deleted_seq": 59 }));
    let without_changes = format!("documents/notes/{}.automerge", doc(2));
    assert!(files.iter().all(|(path, _)| *path != without_changes), "the log says that it is there");
}

fn files(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut reader, mut files) = (Reader::new(bytes).unwrap(), Vec::new());
    while let Some(Found { path, length }) = reader.next().unwrap() {
        files.push((path, reader.take(length).unwrap()));
    }
    files
}

/// An archive of these files, with an end that fits them.
fn packed(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    for (path, bytes) in files {
        if path == END {
            let mut end: End = match serde_json::from_slice(bytes) {
                Ok(end) => end,
                Err(_) => continue,
            };
            end.sha256 = writer.digest();
            writer.add(END, &serde_json::to_vec(&end).unwrap()).unwrap();
        } else {
            writer.add(path, bytes).unwrap();
        }
    }
    writer.end().unwrap()
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn random(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % below.max(1) as u64) as usize
}

#[tokio::test]
async fn an_altered_file_fills_nothing_or_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let source = stage(&folder.path().join("source")).await;
    let file = folder.path().join("space.rejoin");
    exported(&source, &file).await;
    let whole = files(&std::fs::read(&file).unwrap());
    let expected = log(&source).await;
    let (mut target, _) = storage(&folder.path().join("target"));
    let altered = folder.path().join("altered.rejoin");
    let (mut state, mut refused) = (7, 0);
    for round in 0..400 {
        let mut files = whole.clone();
        match random(&mut state, 10) {
            0 => {
                let at = random(&mut state, files.len());
                files.remove(at);
            }
            1 => {
                let (one, other) = (random(&mut state, files.len()), random(&mut state, files.len()));
                files.swap(one, other);
            }
            2 => {
                let at = random(&mut state, files.len());
                files.push(files[at].clone());
            }
            3 => {
                let (one, other) = (random(&mut state, files.len()), random(&mut state, files.len()));
                files[one].1 = files[other].1.clone();
            }
            4 => {
                let at = random(&mut state, files.len());
                let length = random(&mut state, files[at].1.len());
                files[at].1.truncate(length);
            }
            _ => {
                let at = random(&mut state, files.len());
                let bytes = &mut files[at].1;
                if !bytes.is_empty() {
                    let byte = random(&mut state, bytes.len());
                    bytes[byte] ^= 1 << random(&mut state, 8);
                }
            }
        }
        std::fs::write(&altered, packed(&files)).unwrap();
        match imported(&target, &altered).await {
            Ok(_) => {
                // What people read, times, and what the manifest says of where it comes from are not what the log says.
                let headers =
                    |rows: Vec<LogRow>| rows.into_iter().map(|row| (row.header, row.payload)).collect::<Vec<_>>();
                assert_eq!(headers(log(&target).await), headers(expected.clone()));
                is_sound(&target).await;
                assert!(checked(&altered).await.is_ok(), "what is taken passes the check");
                // The next one begins where there is nothing.
                target = storage(&folder.path().join(format!("target-{round}"))).0;
            }
            Err(TransferError::Damaged(_) | TransferError::Version(_)) => {
                refused += 1;
                assert!(checked(&altered).await.is_err(), "what is not taken does not pass the check");
                // It may have come to nothing before the space was known.
                let left = target.store.version(SPACE).await;
                assert!(left.is_err() || left.is_ok_and(|version| version.head.seq == 0), "something is visible");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 200, "{refused} of 400");
}

#[tokio::test]
async fn what_a_broken_import_left_is_cleared_and_the_later_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let source = stage(&folder.path().join("source")).await;
    let file = folder.path().join("space.rejoin");
    exported(&source, &file).await;
    let (target, _) = storage(&folder.path().join("target"));
    // One that ended after its first entries, as a kill ends it.
    target.registry.begin_filling(SPACE).await.unwrap().unwrap();
    let line = sync_core::log::Header {
        id: ChangeId { device: DEVICE, n: 1 },
        kind: ItemKind::Create,
        doc: doc(1),
        hash: sync_core::feed::create_hash(doc(1), "x"),
        verdict: Verdict::Applied,
    };
    let body = Some(sync_core::feed::Body::Create { collection: "x".to_owned() });
    let lost = sync_core::heal::Lost::check(line, body).unwrap().unwrap();
    let base = Cursor::start(SPACE);
    assert_eq!(target.registry.clear_closed(SPACE, 10).await.unwrap(), 0, "there is nothing yet");
    let filling = crate::store::lifecycle::Filling { base, entries: vec![lost], received_ms: vec![1] };
    let head = target.registry.fill(SPACE, filling.clone()).await.unwrap().unwrap();
    assert_eq!(head, base.next(&line));
    // A second one that is late in clearing takes nothing of it away.
    assert_eq!(target.registry.clear_closed(SPACE, 10).await.unwrap(), 0);
    assert!(matches!(target.store.version(SPACE).await, Err(StoreError::Busy)), "nobody sees it");
    imported(&target, &file).await.unwrap();
    assert_eq!(log(&target).await, log(&source).await);
    // The first one cannot go on.
    assert_eq!(target.registry.fill(SPACE, filling).await.unwrap(), None);
    assert!(!target.registry.open_filled(SPACE, head, None).await.unwrap());
    is_sound(&target).await;
}
