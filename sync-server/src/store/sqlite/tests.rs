//! The embedded store conforms, survives being closed, and recovers from a full disk.

use std::sync::Arc;
use std::time::Duration;

use sync_core::check::{Candidate, Checked, Push};
use sync_core::feed::{FeedHead, ItemKind, create_hash};
use sync_core::id::{DeviceId, DocId, SpaceId};

use super::super::registry::Registry;
use super::super::{Store, StoreError, conformance};
use super::{FILE, MigrateError, SqliteOptions, SqliteStore, migrate, schema, threads};

/// Tables of what belongs to a user; all others belong to a space.
const OF_USERS: [&str; 8] =
    ["audit", "devices", "flagged", "idempotency", "last_seen", "made_spaces", "sessions", "users"];

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(folder.path(), &SqliteOptions::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    conformance::all(Arc::clone(&store) as Arc<dyn Store>).await;
    conformance::registry(Arc::clone(&store) as Arc<dyn Registry>).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn its_registry_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::registry(Arc::new(open(&folder))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_exclusions() {
    let folder = tempfile::tempdir().unwrap();
    conformance::exclusions(&open(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_epochs() {
    let folder = tempfile::tempdir().unwrap();
    conformance::epochs(&open(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    conformance::snapshots(&open(&folder)).await;
    conformance::lifecycle(&open(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_are_shared() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    conformance::sharing::sharing(&store).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn remembers_after_it_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let memory = conformance::remember(&store).await;
    store.close().await.unwrap();
    assert!(!folder.path().join(format!("{FILE}-wal")).exists(), "one file is left");
    conformance::recall(&open(&folder), memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_acknowledges_nothing_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    conformance::remember(&store).await;
    let limit = |pages: &'static str| {
        store.write(move |connection| {
            connection.query_row(pages, [], |_| Ok(()))?;
            Ok(())
        })
    };
    // SQLite never goes below what the file has already, so every page from here on is one too many.
    conformance::full(&store, async || limit("PRAGMA max_page_count = 1").await.unwrap()).await;
    limit("PRAGMA max_page_count = 1000000").await.unwrap();
    conformance::all(Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_panics_loses_its_own_answer_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let panicked = store.write::<()>(|_| panic!("on purpose")).await;
    assert!(matches!(panicked, Err(StoreError::Unavailable(_))));
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_fault_in_one_space_is_not_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let users = ["ann", "bob", "cleo"];
    for user in users {
        store.ensure_personal(user).await.unwrap();
    }
    store.close().await.unwrap();
    let mut database = schema::connect(&folder.path().join(FILE), Duration::from_secs(5)).unwrap();
    let broken = SpaceId::personal("bob");
    let spoil = "UPDATE spaces SET head_chain = x'00' WHERE space_id = ?1";
    database.execute(spoil, [broken.as_bytes()]).unwrap();
    let group = |user: &str| {
        let (space, device) = (SpaceId::personal(user), DeviceId::from_bytes([7; 16]));
        let (doc, base) = (DocId::from_bytes([8; 16]), FeedHead::start(space, device));
        let hash = create_hash(doc, "notes");
        let links = vec![base.next(ItemKind::Create, doc, hash).chain];
        let candidates =
            vec![Candidate { kind: ItemKind::Create, doc, hash, checked: Checked::Create("notes".into()) }];
        (space, vec![Push { user: user.to_owned(), device, base, links, candidates, active_since_ms: 0 }])
    };
    let unknown = (SpaceId::from_bytes([9; 16]), group("ann").1);
    let groups = vec![group("ann"), group("bob"), unknown, group("cleo")];
    let results = threads::commit_all(&mut database, groups).unwrap();
    let [Ok(ann), Err(StoreError::Fault(_)), Err(StoreError::UnknownSpace), Ok(cleo)] = &results[..] else {
        panic!("{results:?}");
    };
    assert_eq!((ann.head.seq, cleo.head.seq), (1, 1));
    let count: i64 = database.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 2, "each once");
}

#[test]
fn migrating_twice_does_nothing_the_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = migrate(folder.path()).unwrap();
    assert!(!first.applied.is_empty());
    let second = migrate(folder.path()).unwrap();
    assert!(second.applied.is_empty());
    assert_eq!(second.version, first.version);
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    foreign.execute_batch("CREATE TABLE theirs (id INTEGER)").unwrap();
    assert!(matches!(migrate(folder.path()), Err(MigrateError::Foreign(0))));
    let mode: String = foreign.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete", "not even its journal mode");
}

#[test]
fn every_key_begins_with_its_space_or_its_user() {
    let folder = tempfile::tempdir().unwrap();
    migrate(folder.path()).unwrap();
    let database = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    let mut tables =
        database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'refinery%'").unwrap();
    let names: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        let key = "SELECT name FROM pragma_table_info(?1) WHERE pk = 1";
        let first: String = database.query_row(key, [&name], |row| row.get(0)).unwrap();
        let leads = match name.as_str() {
            of_user if OF_USERS.contains(&of_user) => "user_id",
            // Of the deployment itself.
            "app_versions" => "platform",
            // The directory that says which user an address is, and what is counted before there is a user.
            "accounts" => "email",
            "sign_in_failures" => "identity",
            "grants" => "grant_id",
            _ => "space_id",
        };
        assert_eq!(first, leads, "{name}");
        let foreign = "SELECT count(*) FROM pragma_foreign_key_list(?1)";
        let foreign: i64 = database.query_row(foreign, [&name], |row| row.get(0)).unwrap();
        assert_eq!(foreign, 0, "{name}");
    }
}

#[tokio::test]
async fn the_audit_log_is_append_only() {
    use super::super::audit::{Audit, AuditFilter, AuditId, AuditRow};
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let now_ms = crate::Clock::default().now_ms();
    let row = AuditRow {
        user: "ann".to_owned(),
        at_ms: now_ms,
        id: AuditId([1; 16]),
        kind: "signin.done".to_owned(),
        device: None,
        space: None,
        address: None,
        request_id: None,
        detail: None,
    };
    let old = AuditRow { at_ms: now_ms - 366 * 86_400_000, ..row.clone() };
    store.append_audit(vec![row.clone(), old]).await.unwrap();
    let database = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    for forbidden in
        ["UPDATE audit SET kind = 'log_out'", "DELETE FROM audit", "DELETE FROM audit WHERE user_id = 'ann'"]
    {
        let error = database.execute(forbidden, []).unwrap_err();
        assert!(error.to_string().contains("append-only"), "{forbidden}: {error}");
    }
    let replace = "INSERT OR REPLACE INTO audit (user_id, at_ms, id, kind) VALUES ('ann', ?1, ?2, 'log_out')";
    assert_eq!(database.execute(replace, rusqlite::params![now_ms, [1u8; 16]]).unwrap(), 0);
    let year_ago = (now_ms - 365 * 86_400_000) as i64;
    assert_eq!(database.execute("DELETE FROM audit WHERE at_ms < ?1", [year_ago]).unwrap(), 1, "what is old may go");
    let left = store.read_audit(AuditFilter { limit: 10, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(left, [row]);
}
