//! Spaces as a whole: what is deleted is gone for good, what is filled is seen when it is whole.

use sync_core::ledger::Role;
use sync_core::log::Cursor;

use super::author::{create, delete, new_doc, new_space, new_user};
use super::{commit, everything, space, taken};
use crate::store::StoreError;
use crate::store::lifecycle::{Lifecycle, NotFilled};
use crate::store::snapshots::{Reader, Snapshots};
use crate::store::spaces::{Refusal, Spaces};
use crate::store::{Store, inspect::Inspect};

/// All of it.
pub async fn lifecycle<S: Store + Lifecycle + Snapshots + Spaces + Inspect>(store: &S) {
    a_deleted_space_is_gone_for_good(store).await;
    only_owners_delete(store).await;
    only_empty_spaces_are_filled(store).await;
    deletions_are_told(store).await;
}

async fn a_deleted_space_is_gone_for_good<S: Store + Lifecycle + Snapshots + Inspect>(store: &S) {
    let (space, mut author) = space(store).await;
    let reader = new_user();
    store.set_role(space, &reader, Some(Role::Reader)).await.expect("a member");
    let doc = new_doc();
    let change = author.change(doc, 1, 1, &[]);
    let push = author.push(vec![create(doc), change]);
    taken(commit(store, space, push).await);
    let mut former = store.delete_space(space, Some(&author.user), 5_000).await.expect("an answer").expect("an owner");
    former.sort_unstable();
    let mut members = vec![author.user.clone(), reader.clone()];
    members.sort_unstable();
    assert_eq!(former, members);
    for user in &members {
        assert_eq!(store.role(space, user).await.expect("an answer"), None);
        assert!(store.lost_by_deletion(space, user).await.expect("an answer"));
    }
    assert!(!store.lost_by_deletion(space, &new_user()).await.expect("an answer"), "strangers learn nothing");
    let gone = |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::DeletedSpace)), "{result:?}");
    let push = author.push(vec![delete(doc)]);
    gone(store.commit(space, vec![push]).await.map(|_| ()));
    gone(store.page(space, everything(author.device)).await.map(|_| ()));
    gone(store.version(space).await.map(|_| ()));
    gone(store.places(space, vec![1]).await.map(|_| ()));
    gone(store.set_role(space, &author.user, Some(Role::Owner)).await);
    assert!(store.heads(&[space]).await.expect("heads").is_empty());
    assert_eq!(store.begin_filling(space).await.expect("an answer"), Err(NotFilled::Deleted));
    assert_eq!(store.delete_space(space, None, 6_000).await.expect("an answer"), Err(Refusal::NotFound), "it is done");
    // Its rows go, and the tombstone stays.
    assert!(store.spaces_deleted_since(5_000, 10_000).await.expect("spaces").contains(&space));
    assert!(!store.spaces_deleted_since(5_001, 10_000).await.expect("spaces").contains(&space));
    assert!(store.unpurged_spaces(4_999, 10_000).await.expect("spaces").iter().all(|id| *id != space));
    assert!(store.unpurged_spaces(5_000, 10_000).await.expect("spaces").contains(&space));
    let mut steps = 0;
    while store.clear_closed(space, 1).await.expect("a step") > 0 {
        steps += 1;
    }
    assert_eq!(steps, 2, "a row of each kind at a time");
    store.space_purged(space, 7_000).await.expect("a note");
    let tombstone = store.deleted_space(space).await.expect("an answer").expect("a tombstone");
    assert_eq!((tombstone.deleted_ms, tombstone.purged_ms), (5_000, Some(7_000)));
    assert!(!store.unpurged_spaces(u64::MAX, 10_000).await.expect("spaces").contains(&space));
    assert!(store.log_rows(space, 0, 10).await.expect("rows").is_empty());
    assert!(store.document_state(space, doc).await.expect("an answer").is_none());
    gone(store.version(space).await.map(|_| ()));
    assert!(store.lost_by_deletion(space, &author.user).await.expect("an answer"));
}

async fn only_owners_delete<S: Store + Lifecycle>(store: &S) {
    let (space, author) = space(store).await;
    let writer = new_user();
    store.set_role(space, &writer, Some(Role::Writer)).await.expect("a member");
    let refused = store.delete_space(space, Some(&writer), 1).await.expect("an answer");
    assert_eq!(refused, Err(Refusal::Forbidden));
    assert_eq!(store.delete_space(space, Some(&new_user()), 1).await.expect("an answer"), Err(Refusal::NotFound));
    assert_eq!(store.delete_space(new_space(), None, 1).await.expect("an answer"), Err(Refusal::NotFound));
    assert_eq!(store.role(space, &author.user).await.expect("an answer"), Some(Role::Owner));
    let cleared = store.clear_closed(space, 10).await;
    assert!(matches!(cleared, Err(StoreError::Fault(_))), "an open space is not cleared");
    // The operator asks nobody.
    let former = store.delete_space(space, None, 1).await.expect("an answer").expect("the operator");
    assert_eq!(former.len(), 2);
}

async fn only_empty_spaces_are_filled<S: Store + Lifecycle>(store: &S) {
    let (taken_space, mut author) = space(store).await;
    let push = author.push(vec![create(new_doc())]);
    taken(commit(store, taken_space, push).await);
    assert_eq!(store.begin_filling(taken_space).await.expect("an answer"), Err(NotFilled::Taken));
    store.version(taken_space).await.expect("it is open still");
    // One that its members have entered already stays theirs.
    let (empty, mut author) = space(store).await;
    store.begin_filling(empty).await.expect("an answer").expect("it is empty");
    let push = author.push(vec![create(new_doc())]);
    assert!(matches!(store.commit(empty, vec![push]).await, Err(StoreError::Busy)), "come again");
    assert!(matches!(store.version(empty).await, Err(StoreError::Busy)));
    let elsewhere = Cursor { seq: 1, ..Cursor::start(empty) };
    assert!(!store.open_filled(empty, elsewhere, None).await.expect("an answer"), "its log does not end there");
    assert!(store.open_filled(empty, Cursor::start(empty), None).await.expect("an answer"));
    assert_eq!(store.version(empty).await.expect("it is open").head, Cursor::start(empty));
    assert_eq!(store.role(empty, &author.user).await.expect("an answer"), Some(Role::Owner));
    assert!(!store.open_filled(empty, Cursor::start(empty), None).await.expect("an answer"), "it was closed before");
}

async fn deletions_are_told<S: Store + Lifecycle + Snapshots>(store: &S) {
    let (space, mut author) = space(store).await;
    let (doc, other) = (new_doc(), new_doc());
    let push = author.push(vec![create(doc), create(other), delete(doc)]);
    taken(commit(store, space, push).await);
    assert_eq!(store.deletion(space, other).await.expect("an answer"), None, "it is there");
    let there = Reader { space, device: author.device, seq: 3, seen_ms: 90 };
    store.note_readers(&[there]).await.expect("a note");
    let told = store.deletion(space, doc).await.expect("an answer").expect("it was deleted");
    assert!(told.seq == 3 && told.deleted_ms > 0 && !told.purged && told.purged_ms.is_none(), "{told:?}");
    assert_eq!(told.readers.len(), 1);
    assert_eq!((told.readers[0].device, told.readers[0].seq, told.readers[0].seen_ms), (author.device, 3, 90));
    store.document_purged(space, doc, 123_000).await.expect("a note");
    store.document_purged(space, doc, 124_000).await.expect("a note");
    let told = store.deletion(space, doc).await.expect("an answer").expect("it was deleted");
    assert!(told.purged && told.purged_ms == Some(123_000), "{told:?}");
}
