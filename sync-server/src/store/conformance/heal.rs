//! Taking back what a log lost, and where a log stands.

use sync_core::check::Candidate;
use sync_core::code::RejectCode;
use sync_core::feed::{ChangeId, FeedHead};
use sync_core::heal::{Lost, TakenBack};
use sync_core::id::DeviceId;
use sync_core::log::{Cursor, Header, Verdict};
use sync_core::wire::PushAnswer;

use super::author::{Author, create, new_doc, new_space, refused};
use super::{commit, duplicate, everything, page, space, taken};
use crate::store::{Healed, Store, StoreError};

/// Items of a device as a log once had them, from its `n`-th on.
fn lost(device: DeviceId, n: u64, items: &[(Candidate, Verdict)]) -> Vec<Lost> {
    let one = |(n, (candidate, verdict)): (u64, &(Candidate, Verdict))| {
        let Candidate { kind, doc, hash, checked } = candidate.clone();
        Lost::new(Header { id: ChangeId { device, n }, kind, doc, hash, verdict: *verdict }, checked)
    };
    (n..).zip(items).map(one).collect()
}

/// What comes back is as if it had never been lost: its author's feed goes on, its retry is a duplicate, others build on it.
pub async fn taking_back(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let doc = new_doc();
    let first = ann.change(doc, 1, 1, &[]);
    let after_first = first.hash;
    let too_deep = refused(doc, RejectCode::TooDeep);
    let second = ann.change(doc, 2, 2, &[after_first]);
    let after_second = second.hash;
    let no = Verdict::Rejected(RejectCode::TooDeep);
    let applied = Verdict::Applied;
    let items = [(create(doc), applied), (first, applied), (too_deep, no), (second, applied)];
    let all = lost(ann.device, 1, &items);

    let in_front = store.take_back(space, all[1..].to_vec()).await.expect("an answer");
    assert_eq!(in_front.became, TakenBack { taken: 0, known: 0, left: 3 }, "a feed has no gaps");
    assert_eq!(in_front.committed.head, Cursor::start(space));

    let half = store.take_back(space, all[..2].to_vec()).await.expect("an answer");
    assert_eq!(half.became, TakenBack { taken: 2, known: 0, left: 0 });
    let Healed { committed, became } = store.take_back(space, all.clone()).await.expect("an answer");
    assert_eq!(became, TakenBack { taken: 2, known: 2, left: 0 });
    assert_eq!((committed.before, committed.entries.len()), (half.committed.head, 2));
    let again = store.take_back(space, all).await.expect("an answer");
    assert_eq!(again.became, TakenBack { taken: 0, known: 4, left: 0 });
    assert_eq!(again.committed.head, committed.head);

    let whole = page(store, space, everything(DeviceId::from_bytes([0; 16]))).await;
    assert_eq!(super::chained(space, &whole.entries), committed.head);
    let verdicts: Vec<Verdict> = whole.entries.iter().map(|entry| entry.verdict).collect();
    assert_eq!(verdicts, [applied, applied, no, applied]);
    let carry: Vec<bool> = whole.entries.iter().map(|entry| entry.body.is_some()).collect();
    assert_eq!(carry, [true, true, false, true]);

    let push = ann.push(items.iter().map(|(candidate, _)| candidate.clone()).collect());
    let (acked, results, _) = taken(commit(store, space, push).await);
    assert_eq!(acked, ann.head);
    assert_eq!(results[1], duplicate(super::applied(2)));
    assert_eq!(results[2], duplicate(super::rejected(3, RejectCode::TooDeep)));
    let third = ann.change(doc, 3, 3, &[after_second]);
    let push = ann.push(vec![third]);
    assert_eq!(taken(commit(store, space, push).await).1, [super::applied(5)]);
    let mut bob = Author::new(space, &ann.user);
    let push = bob.push(vec![bob.change(doc, 1, 3, &[after_second])]);
    assert_eq!(taken(commit(store, space, push).await).1, [super::applied(6)]);

    let nowhere = store.take_back(new_space(), lost(ann.device, 1, &items)).await;
    assert!(matches!(nowhere, Err(StoreError::UnknownSpace)), "{nowhere:?}");
}

/// Where the log has grown since, what comes back goes to its end; nobody's role is asked for.
pub async fn taking_back_into_a_log_that_grew(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    let doc = new_doc();
    let push = ann.push(vec![create(doc)]);
    taken(commit(store, space, push).await);
    let stranger = Author::new(space, "somebody who is no member any more");
    let items = [(stranger.change(doc, 1, 1, &[]), Verdict::Applied)];
    let Healed { committed, became } =
        store.take_back(space, lost(stranger.device, 1, &items)).await.expect("an answer");
    assert_eq!((became.taken, committed.head.seq), (1, 2));
    let missing = [(stranger.change(doc, 2, 2, &[sync_core::id::Hash([7; 32])]), Verdict::Applied)];
    let left = store.take_back(space, lost(stranger.device, 2, &missing)).await.expect("an answer");
    assert_eq!(left.became, TakenBack { taken: 0, known: 0, left: 1 }, "what it was made upon is missing");
    let version = store.version(space).await.expect("a version");
    assert_eq!(version.feeds.get(stranger.device).map(|head| head.n), Some(1));
    let base = FeedHead { n: 5, chain: ann.head.chain };
    let mut late = ann.push(vec![create(new_doc())]);
    late.base = base;
    assert!(matches!(commit(store, space, late).await, PushAnswer::Gap { .. }));
}

/// The chain's values at places that the log has, and no others.
pub async fn places(store: &dyn Store) {
    let (space, mut ann) = space(store).await;
    assert_eq!(store.places(space, vec![1]).await.expect("places"), (Cursor::start(space), Vec::new()));
    let push = ann.push((0..5).map(|_| create(new_doc())).collect());
    taken(commit(store, space, push).await);
    let entries = page(store, space, everything(ann.device)).await.entries;
    let (head, found) = store.places(space, vec![0, 2, 4, 5, 6, u64::MAX]).await.expect("places");
    assert_eq!(head, super::chained(space, &entries));
    let expected: Vec<Cursor> = [2, 4, 5].iter().map(|end| super::chained(space, &entries[..*end])).collect();
    assert_eq!(found, expected);
    assert!(matches!(store.places(new_space(), vec![1]).await, Err(StoreError::UnknownSpace)));
}
