//! The seed: what it makes is what a device would have pushed, and doing it twice does nothing.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::document::Document;
use sync_core::feed::{Body, ItemKind};
use sync_core::id::{Actor, DeviceId, DocId, SpaceId};
use sync_core::ledger::Role;
use sync_core::limits::{PAGE_BYTES_MAX, PAGE_CHANGES_MAX};
use sync_core::log::Verdict;
use sync_core::wire::{PageEntry, Pull, PullAnswer, SCHEMA, SyncRequest};
use sync_server::seed::{Amounts, SeedError, Seeded, seed};
use sync_server::store::sqlite::{SqliteOptions, SqliteStore};
use sync_server::store::{PageAnswer, PageRequest, Store};
use tokio::sync::Notify;

use crate::world::World;

const AMOUNTS: Amounts = Amounts { users: 6, spaces: 3, documents: 14, changes: 9, seed: 7 };

async fn fill(store: &dyn Store, amounts: &Amounts) -> Seeded {
    seed(store, amounts, |_| {}).await.unwrap()
}

async fn page_of(store: &dyn Store, space: SpaceId) -> PageAnswer {
    let reader = DeviceId::from_random([9; 16]);
    let request = PageRequest {
        since: None,
        bytes_max: PAGE_BYTES_MAX,
        changes_max: PAGE_CHANGES_MAX,
        reader,
        own: true,
        version: false,
        snapshots: None,
    };
    store.page(space, request).await.unwrap()
}

#[tokio::test]
async fn what_it_makes_is_applied_merges_and_is_not_made_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path(), &SqliteOptions::default()).unwrap();
    let mut told = Vec::new();
    let seeded = seed(&store, &AMOUNTS, |progress| told.push((progress.space, progress.documents))).await.unwrap();
    assert_eq!(told.len(), 3 * 14);
    assert_eq!(told.last(), Some(&(3, 14)));
    assert_eq!((seeded.users.len(), seeded.spaces.len()), (6, 3));
    assert_eq!((seeded.applied, seeded.duplicates), (3 * (14 * (1 + 9) + 1), 0), "14 created, one of them deleted");

    for space in &seeded.spaces {
        assert_eq!((space.documents, space.deleted), (14, 1));
        for (user, role) in &space.members {
            assert_eq!(store.role(space.id, user).await.unwrap(), Some(*role));
        }
        let PageAnswer::Page(page) = page_of(&store, space.id).await else { panic!("no page") };
        assert!(!page.more, "one page holds it all");
        let entries = page.entries;
        assert!(entries.iter().all(|entry| entry.verdict == Verdict::Applied));
        let kinds = |kind| entries.iter().filter(|entry| entry.kind == kind).count();
        assert_eq!((kinds(ItemKind::Create), kinds(ItemKind::Change), kinds(ItemKind::Delete)), (14, 14 * 9, 1));
        let devices: BTreeSet<DeviceId> = entries.iter().map(|entry| entry.id.device).collect();
        assert!(devices.len() >= 2, "several devices wrote");
        assert!(merges(&entries), "some edits were concurrent, and all of them came together");
    }

    let again = fill(&store, &AMOUNTS).await;
    assert_eq!((again.applied, again.duplicates), (0, seeded.applied));
    assert_eq!((&again.users, &again.spaces), (&seeded.users, &seeded.spaces));
    for more in [Amounts { seed: 8, ..AMOUNTS }, Amounts { changes: 10, ..AMOUNTS }] {
        let more = fill(&store, &more).await;
        assert_eq!(more.duplicates, 0);
        assert!(more.spaces.iter().all(|space| seeded.spaces.iter().all(|other| other.id != space.id)));
    }
    let spaces = store.spaces_of("ann").await.unwrap();
    assert!(spaces.len() > 3 && spaces.iter().all(|(_, role)| *role >= Role::Reader));
}

/// Whether every document can be put together from its changes, at least one of them out of concurrent ones.
fn merges(entries: &[PageEntry]) -> bool {
    let mut changes: BTreeMap<DocId, Vec<Vec<u8>>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.kind == ItemKind::Change) {
        // The store has thrown away what a deleted document held.
        let Some(Body::Change { bytes }) = &entry.body else { continue };
        changes.entry(entry.doc).or_default().push(bytes.clone());
    }
    let reader = Actor::new(DeviceId::from_random([9; 16]), [0; 4]);
    let heads = changes.values().map(|changes| {
        let (document, applied) = Document::load(reader, None, changes).unwrap();
        assert!(applied.left_out.is_empty());
        document.heads().len()
    });
    heads.max() > Some(1)
}

#[tokio::test]
async fn one_that_was_stopped_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path(), &SqliteOptions::default()).unwrap();
    let all = {
        let other = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(other.path(), &SqliteOptions::default()).unwrap();
        fill(&store, &AMOUNTS).await
    };
    let stop = Notify::new();
    tokio::select! {
        biased;
        () = stop.notified() => {}
        _ = seed(&store, &AMOUNTS, |progress| if progress.space == 2 { stop.notify_one() }) => panic!("not stopped"),
    }
    let completed = fill(&store, &AMOUNTS).await;
    assert!(completed.applied > 0 && completed.duplicates > 0);
    assert_eq!(completed.applied + completed.duplicates, all.applied);
    assert_eq!(completed.spaces, all.spaces);
}

#[tokio::test]
async fn a_phone_gets_it_from_a_server_that_runs_beside() {
    let world = World::new().await;
    let beside = SqliteStore::open(world.folder.path(), &SqliteOptions::default()).unwrap();
    let seeded = fill(&beside, &AMOUNTS).await;
    let phone = world.phone(&seeded.spaces[0].members[1].0);
    let pull = Some(Pull { since: None, bytes_max: None, own: true, version: true, snapshots: None });
    let request = SyncRequest { schema: SCHEMA, space: seeded.spaces[0].id, push: None, pull, snapshot: None };
    let Some(PullAnswer::Page(page)) = phone.sync(&request).await.pull else { panic!("no page") };
    let PageAnswer::Page(expected) = page_of(&beside, seeded.spaces[0].id).await else { panic!("no page") };
    assert_eq!((page.next, page.more), (expected.next, false));
}

#[tokio::test]
async fn amounts_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path(), &SqliteOptions::default()).unwrap();
    for amounts in
        [Amounts { users: 0, ..AMOUNTS }, Amounts { changes: 0, ..AMOUNTS }, Amounts { documents: u32::MAX, ..AMOUNTS }]
    {
        assert!(matches!(seed(&store, &amounts, |_| {}).await, Err(SeedError::Amount { .. })));
    }
}
