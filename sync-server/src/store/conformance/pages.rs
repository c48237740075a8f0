//! Reading the log: pages, budgets, and places that it does not hold.

use sync_core::id::{DeviceId, Hash};
use sync_core::log::Cursor;

use super::author::{Author, create, new_doc, random};
use super::{commit, everything, page, space, taken};
use crate::store::{LogPage, PageAnswer, PageRequest, Store};

/// Pages follow each other without a hole, stay within their budget where they can, and leave out what the reader has.
pub async fn pages_and_budgets(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let mut bob = Author::new(space, &ann.user);
    let doc = new_doc();
    let mut candidates = vec![create(doc)];
    let mut deps = Vec::new();
    for seq in 1..=5 {
        let change = ann.change_of(doc, seq, seq, &deps, 1_000);
        deps = vec![change.hash];
        candidates.push(change);
    }
    let push = ann.push(candidates);
    taken(commit(store, space, push).await);
    let push = bob.push(vec![create(new_doc())]);
    taken(commit(store, space, push).await);
    let stranger = DeviceId::from_random(random());

    // "notes" takes five bytes, each change a thousand, and "notes" five again.
    for (bytes_max, sizes) in [(1, vec![1; 7]), (2_005, vec![3, 2, 2]), (3_005, vec![4, 3]), (usize::MAX, vec![7])] {
        let mut request = PageRequest { bytes_max, ..everything(stranger) };
        let mut got = Vec::new();
        for (at, &size) in sizes.iter().enumerate() {
            let LogPage { entries, next, more, version, payload_bytes, .. } = page(store, space, request.clone()).await;
            assert_eq!(entries.len(), size, "page {at} at {bytes_max} bytes");
            assert!(payload_bytes <= bytes_max || entries.len() == 1);
            assert_eq!(more, at + 1 < sizes.len());
            assert_eq!(version.is_some(), !more, "the version comes with the last page");
            got.extend(entries);
            assert_eq!(super::chained(space, &got), next);
            request.since = Some(next);
        }
        let last = page(store, space, request).await;
        assert!(last.entries.is_empty() && !last.more, "nothing follows the end");
    }

    let few = page(store, space, PageRequest { changes_max: 2, ..everything(stranger) }).await;
    assert_eq!((few.entries.len(), few.more), (2, true));
    let own = page(store, space, PageRequest { own: false, version: false, ..everything(ann.device) }).await;
    let carry: Vec<bool> = own.entries.iter().map(|entry| entry.body.is_some() && entry.hash.is_some()).collect();
    assert_eq!(carry, [false, false, false, false, false, false, true], "only bob's");
    assert!(own.version.is_none(), "nobody asked for it");
    assert!(page(store, space, everything(ann.device)).await.entries.iter().all(|entry| entry.body.is_some()));
}

/// Pages say when their entries were received: those of one commit together, as the commit was told.
pub async fn times(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let mut told = Vec::new();
    for count in [2, 1, 3] {
        let push = ann.push((0..count).map(|_| create(new_doc())).collect());
        let committed = store.commit(space, vec![push]).await.expect("a commit");
        assert_eq!(committed.entries.len(), count);
        told.extend(std::iter::repeat_n(committed.received_ms, count));
    }
    let now_ms = crate::Clock::default().now_ms();
    assert!(told.iter().all(|at| at.abs_diff(now_ms) < 60 * 60 * 1_000), "{told:?} is not about {now_ms}");
    for reader in [ann.device, DeviceId::from_random(random())] {
        let own = PageRequest { own: false, ..everything(reader) };
        assert_eq!(page(store, space, own).await.received_ms, told);
    }
    let first = page(store, space, PageRequest { changes_max: 3, ..everything(ann.device) }).await;
    assert_eq!(first.received_ms, told[..3]);
    let rest = page(store, space, PageRequest { since: Some(first.next), ..everything(ann.device) }).await;
    assert_eq!(rest.received_ms, told[3..]);
}

/// A place that the log does not hold is told from one where nothing is new.
pub async fn diverged_cursors(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let push = ann.push(vec![create(new_doc()), create(new_doc())]);
    taken(commit(store, space, push).await);
    let whole = page(store, space, everything(ann.device)).await;
    let head = whole.next;
    let elsewhere = Hash::of(&[b"elsewhere"]);
    let wrong = [
        Cursor { seq: 3, chain: head.chain },
        Cursor { seq: u64::MAX, chain: head.chain },
        Cursor { seq: 2, chain: elsewhere },
        Cursor { seq: 1, chain: elsewhere },
        Cursor { seq: 0, chain: elsewhere },
    ];
    for cursor in wrong {
        let request = PageRequest { since: Some(cursor), ..everything(ann.device) };
        match store.page(space, request).await.expect("an answer") {
            PageAnswer::Diverged { head: told } => assert_eq!(told, head),
            other => panic!("{cursor:?} is not in the log, but {other:?}"),
        }
    }
    for since in [Cursor::start(space), head] {
        let page = page(store, space, PageRequest { since: Some(since), ..everything(ann.device) }).await;
        assert_eq!(page.entries.len() as u64, head.seq - since.seq);
    }
}
