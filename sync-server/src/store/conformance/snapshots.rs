//! What compaction needs of a store: tails are counted, snapshots adopted only where they fit, payloads dropped only where
//! something stands in for them, and pages say so.

use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::limits::{HEADER_BYTES, SNAPSHOT_INLINE_BYTES_MAX, SNAPSHOT_PART_BYTES_MAX};
use sync_core::wire::PageEntry;
use uuid::Uuid;

use super::author::{Author, create, delete, new_doc, new_space, random, structure};
use super::{commit, everything, page, space, taken};
use crate::store::snapshots::{Amount, DocumentState, NewSnapshot, Range, Reader, Snapshots, StoredSnapshot};
use crate::store::{PageAnswer, PageRequest, Store};

/// All of it.
pub async fn snapshots<S: Store + Snapshots>(store: &S) {
    tails_and_adoption(store).await;
    pages_with_snapshots(store).await;
    deletion_purges(store).await;
    repeated_structures(store).await;
    horizons(store).await;
    one_compactor_a_space(store).await;
}

async fn state(store: &impl Snapshots, space: SpaceId, doc: DocId) -> DocumentState {
    store.document_state(space, doc).await.expect("a look").expect("the document")
}

/// Pushes so many changes of a document, of so many bytes each; gives the hashes.
async fn write<S: Store>(
    store: &S,
    space: SpaceId,
    author: &mut Author,
    doc: DocId,
    from: u64,
    count: u64,
    bytes: usize,
) -> Vec<Hash> {
    let (mut candidates, mut hashes) = (Vec::new(), Vec::new());
    let mut deps = if from > 1 { vec![author.change(doc, from - 1, 1, &[]).hash] } else { Vec::new() };
    for seq in from..from + count {
        let change = author.change_of(doc, seq, seq, &deps, bytes);
        deps = vec![change.hash];
        hashes.push(change.hash);
        candidates.push(change);
    }
    let push = author.push(candidates);
    taken(commit(store, space, push).await);
    hashes
}

/// What a snapshot with these bytes up to that change would be.
fn snapshot(seq: u64, newest: Hash, bytes: &[u8], changes: u64, payload_bytes: u64) -> StoredSnapshot {
    StoredSnapshot {
        seq,
        hash: Hash::of(&[bytes]),
        size: bytes.len() as u64,
        heads: vec![newest],
        changes,
        payload_bytes,
        below_seq: 0,
        dropped_seq: 0,
    }
}

async fn put(store: &impl Snapshots, space: SpaceId, doc: DocId, bytes: &[u8]) {
    let hash = Hash::of(&[bytes]);
    for (part, piece) in (0..).zip(bytes.chunks(SNAPSHOT_PART_BYTES_MAX)) {
        store.put_snapshot_part(space, doc, hash, part, piece.to_vec()).await.expect("a part");
    }
}

/// Where a structure stands in the log before, its next copy says so; what is no structure is never asked about.
async fn repeated_structures<S: Store + Snapshots>(store: &S) {
    let (space, mut ann) = space(store).await;
    let (doc, other) = (new_doc(), new_doc());
    let brought = structure(doc, 1, None);
    let change = ann.change(doc, 1, 2, &[brought.hash]);
    let elsewhere = structure(other, 1, None);
    let push = ann.push(vec![create(doc), create(other), elsewhere, brought.clone(), change, brought]);
    taken(commit(store, space, push).await);
    let changes = store.changes_at(space, &[3, 4, 5, 6]).await.expect("changes");
    assert_eq!(changes.iter().map(|change| change.repeats).collect::<Vec<_>>(), [false, false, false, true]);
}

/// Tails grow with pushes and shrink with folding; a snapshot that no longer fits is not adopted, and its parts go.
async fn tails_and_adoption<S: Store + Snapshots>(store: &S) {
    let (space, mut ann) = space(store).await;
    let doc = new_doc();
    let push = ann.push(vec![create(doc)]);
    taken(commit(store, space, push).await);
    assert_eq!(state(store, space, doc).await.tail, Some(Amount::default()), "a creation is no change");
    let hashes = write(store, space, &mut ann, doc, 1, 5, 100).await;
    let before = state(store, space, doc).await;
    assert_eq!(before.tail, Some(Amount { changes: 5, bytes: 500 }));
    assert_eq!((before.snapshot.as_ref(), before.deleted, before.head_seq), (None, false, 6));

    for few in [false, true] {
        let range = Range { after: 2, through: 5, few };
        let found = store.changes_in(space, doc, range, 10).await.expect("changes");
        assert_eq!(found, [(3, 100), (4, 100), (5, 100)]);
        let found = store.changes_in(space, doc, Range { through: u64::MAX, ..range }, 2).await.expect("changes");
        assert_eq!(found, [(3, 100), (4, 100)]);
    }
    let changes = store.changes_at(space, &[3, 5]).await.expect("changes");
    assert_eq!(changes.iter().map(|change| change.hash).collect::<Vec<_>>(), [hashes[1], hashes[3]]);
    assert_eq!(changes[1].deps, [hashes[2]]);
    assert!(changes.iter().all(|change| change.bytes.as_ref().is_some_and(|bytes| bytes.len() == 100)));

    let bytes = vec![7; SNAPSHOT_PART_BYTES_MAX + 10];
    put(store, space, doc, &bytes).await;
    let fits = NewSnapshot {
        doc,
        from: None,
        snapshot: snapshot(5, hashes[3], &bytes, 4, 400),
        newest: hashes[3],
        folded: Amount { changes: 4, bytes: 400 },
    };
    let adopt = async |new: NewSnapshot| store.adopt_snapshot(space, new).await.expect("an answer");
    assert!(!adopt(NewSnapshot { newest: hashes[0], ..fits.clone() }).await, "another change stands there");
    assert!(!adopt(NewSnapshot { from: Some(hashes[0]), ..fits.clone() }).await, "it has no such snapshot");
    assert_eq!(state(store, space, doc).await, before, "nothing happened");
    assert!(adopt(fits.clone()).await);
    assert!(!adopt(fits.clone()).await, "it has one now");
    let after = state(store, space, doc).await;
    assert_eq!(after.tail, Some(Amount { changes: 1, bytes: 100 }));
    assert_eq!(after.snapshot.as_ref(), Some(&fits.snapshot));

    let hash = fits.snapshot.hash;
    let second = store.snapshot_part(space, doc, hash, 1).await.expect("a part");
    assert_eq!(second.as_deref(), Some(&bytes[SNAPSHOT_PART_BYTES_MAX..]));
    assert_eq!(store.snapshot_part(space, doc, hash, 2).await.expect("an answer"), None);
    // Parts that nobody refers to: what a killed compactor left, and what another one replaced.
    put(store, space, doc, b"never adopted").await;
    assert_eq!(store.clear_parts(space, doc, 100).await.expect("a number"), 1);
    put(store, space, doc, b"newer").await;
    let newer = NewSnapshot {
        from: Some(hash),
        snapshot: snapshot(6, hashes[4], b"newer", 5, 500),
        newest: hashes[4],
        folded: Amount { changes: 1, bytes: 100 },
        ..fits
    };
    store.note_unfolded(space, doc, "it broke", 77).await.expect("a note");
    store.note_unfolded(space, doc, "it broke again", 99).await.expect("a note");
    assert_eq!(state(store, space, doc).await.unfolded, Some((2, 99)));
    assert!(adopt(newer.clone()).await);
    assert_eq!(store.clear_parts(space, doc, 1).await.expect("a number"), 1, "no more at once than asked for");
    assert_eq!(store.clear_parts(space, doc, 100).await.expect("a number"), 1);
    assert_eq!(store.clear_parts(space, doc, 100).await.expect("a number"), 0);
    let now = state(store, space, doc).await;
    assert_eq!((now.tail, now.unfolded), (Some(Amount::default()), None));
    assert!(store.snapshot_part(space, doc, newer.snapshot.hash, 0).await.expect("a part").is_some());

    let mut seen = Vec::new();
    let mut place = None;
    loop {
        let some = store.documents_after(place, 7).await.expect("documents");
        let Some(last) = some.last() else { break };
        place = Some((last.space, last.doc));
        assert!(some.len() <= 7);
        seen.extend(some);
    }
    assert!(seen.is_sorted_by_key(|state| (state.space, state.doc)));
    assert_eq!(seen.iter().filter(|state| state.doc == doc).collect::<Vec<_>>(), [&now]);
}

/// Which entries of a page carry something.
fn carries(entries: &[PageEntry]) -> Vec<bool> {
    entries.iter().map(|entry| entry.body.is_some()).collect()
}

/// A reader that takes snapshots gets them where payloads are gone, and from the beginning where they are shorter.
async fn pages_with_snapshots<S: Store + Snapshots>(store: &S) {
    let (space, mut ann) = space(store).await;
    let (folded, plain) = (new_doc(), new_doc());
    let push = ann.push(vec![create(folded), create(plain)]);
    taken(commit(store, space, push).await);
    let hashes = write(store, space, &mut ann, folded, 1, 4, 1_000).await;
    write(store, space, &mut ann, plain, 1, 1, 1_000).await;
    write(store, space, &mut ann, folded, 5, 1, 1_000).await;
    // 1, 2 creations; 3 to 6 covered; 7 of the other document; 8 behind the snapshot.
    let bytes = vec![9; 2_000];
    put(store, space, folded, &bytes).await;
    let new = NewSnapshot {
        doc: folded,
        from: None,
        snapshot: snapshot(6, hashes[3], &bytes, 4, 4_000),
        newest: hashes[3],
        folded: Amount { changes: 4, bytes: 4_000 },
    };
    assert!(store.adopt_snapshot(space, new.clone()).await.expect("an answer"));
    assert!(bytes.len() as u64 + 4 * HEADER_BYTES < 4_000);

    let stranger = DeviceId::from_random(random());
    let wants = |base: Option<u64>| PageRequest { snapshots: base, ..everything(stranger) };
    let whole = page(store, space, wants(None)).await;
    assert!(whole.snapshots.is_empty() && whole.entries.iter().all(|entry| entry.body.is_some()));
    assert!(page(store, space, wants(Some(1))).await.snapshots.is_empty(), "all payloads are there still");
    let shorter = page(store, space, wants(Some(0))).await;
    assert_eq!(carries(&shorter.entries), [true, true, false, false, false, false, true, true]);
    assert_eq!(super::chained(space, &shorter.entries), shorter.next, "hashes are there");
    let [snapshot] = &shorter.snapshots[..] else { panic!("{:?}", shorter.snapshots) };
    assert_eq!((snapshot.doc, snapshot.seq, snapshot.hash), (folded, 6, new.snapshot.hash));
    assert_eq!(snapshot.bytes.as_ref().map(|bytes| &bytes.0), Some(&bytes));
    assert_eq!(shorter.payload_bytes, 2 * 5 + 2_000 + 2 * 1_000);

    // It comes with the entry that it ends in, and counts as that entry's.
    let first = page(store, space, PageRequest { bytes_max: 2_009, ..wants(Some(0)) }).await;
    assert_eq!((first.entries.len(), first.snapshots.len()), (5, 0));
    let second = PageRequest { since: Some(first.next), bytes_max: 2_009, ..wants(Some(0)) };
    let second = page(store, space, second).await;
    assert_eq!((second.entries.len(), second.snapshots.len()), (1, 1));
    let small = page(store, space, PageRequest { bytes_max: 1_999, ..wants(Some(0)) }).await;
    assert!(small.snapshots.iter().all(|snapshot| snapshot.bytes.is_none()), "too large for the page, it is fetched");
    let own = PageRequest { own: false, ..wants(Some(0)) };
    let own = page(store, space, PageRequest { reader: ann.device, ..own }).await;
    assert!(own.entries.iter().all(|entry| entry.body.is_none()) && own.snapshots.len() == 1);

    let covered = store.drop_payloads(space, folded, 7, &[3]).await;
    assert!(covered.is_err(), "the snapshot ends at 6");
    store.drop_payloads(space, folded, 6, &[3, 4, 8]).await.expect("payloads go");
    let now = state(store, space, folded).await.snapshot.expect("a snapshot");
    assert_eq!((now.below_seq, now.dropped_seq), (6, 0));
    for (base, count) in [(0, 1), (5, 1), (6, 0), (8, 0)] {
        let since = page(store, space, PageRequest { changes_max: 6, ..wants(Some(0)) }).await.next;
        let since = if base < 6 { None } else { Some(since) };
        let read = page(store, space, PageRequest { since, ..wants(Some(base)) }).await;
        assert_eq!(read.snapshots.len(), count, "from {base}");
        assert!(read.entries.last().is_some_and(|entry| entry.body.is_some()), "what is behind it stays");
    }
    let old = store.page(space, wants(None)).await.expect("an answer");
    assert!(matches!(old, PageAnswer::Folded), "who takes no snapshots cannot go on: {old:?}");
    store.drop_payloads(space, folded, 6, &[5, 6]).await.expect("payloads go");
    store.payloads_dropped(space, folded, 100).await.expect("a note");
    assert_eq!(state(store, space, folded).await.snapshot.map(|snapshot| snapshot.dropped_seq), Some(6));
    let gone = store.changes_at(space, &[3, 4, 5, 6, 8]).await.expect("changes");
    assert_eq!(
        gone.iter().map(|change| change.bytes.is_some()).collect::<Vec<_>>(),
        [false, false, false, false, true]
    );

    // A large one is only offered.
    let large = vec![1; SNAPSHOT_INLINE_BYTES_MAX + 1];
    put(store, space, folded, &large).await;
    let newest = ann.change(folded, 5, 1, &[]).hash;
    let new = NewSnapshot {
        from: Some(new.snapshot.hash),
        snapshot: self::snapshot(8, newest, &large, 5, 5_000),
        newest,
        folded: Amount { changes: 1, bytes: 1_000 },
        ..new
    };
    assert!(store.adopt_snapshot(space, new).await.expect("an answer"));
    let now = state(store, space, folded).await.snapshot.expect("a snapshot");
    assert_eq!((now.below_seq, now.dropped_seq), (6, 6), "adopting says nothing of payloads");
    let offered = page(store, space, wants(Some(0))).await;
    assert!(offered.snapshots.len() == 1 && offered.snapshots[0].bytes.is_none(), "{:?}", offered.snapshots);
}

/// Of a deleted document nothing but headers is read, and nothing is left.
async fn deletion_purges<S: Store + Snapshots>(store: &S) {
    let (space, mut ann) = space(store).await;
    let doc = new_doc();
    let push = ann.push(vec![create(doc)]);
    taken(commit(store, space, push).await);
    let hashes = write(store, space, &mut ann, doc, 1, 3, 100).await;
    put(store, space, doc, b"folded").await;
    let new = NewSnapshot {
        doc,
        from: None,
        snapshot: snapshot(4, hashes[2], b"folded", 3, 300),
        newest: hashes[2],
        folded: Amount { changes: 3, bytes: 300 },
    };
    store.forget_snapshot(space, doc).await.expect("an answer");
    assert!(store.adopt_snapshot(space, new.clone()).await.expect("an answer"));
    store.forget_snapshot(space, doc).await.expect("an answer");
    store.document_purged(space, doc, 1_000).await.expect("an answer");
    assert!(state(store, space, doc).await.snapshot.is_some(), "it was not deleted");
    assert!(!state(store, space, doc).await.purged);

    let push = ann.push(vec![delete(doc)]);
    taken(commit(store, space, push).await);
    let newer = NewSnapshot { from: Some(new.snapshot.hash), ..new };
    assert!(!store.adopt_snapshot(space, newer).await.expect("an answer"), "it was deleted");
    store.forget_snapshot(space, doc).await.expect("it goes");
    assert_eq!(store.clear_parts(space, doc, 100).await.expect("a number"), 1);
    store.drop_payloads(space, doc, 5, &[2, 3, 4]).await.expect("payloads go");
    store.document_purged(space, doc, 1_000).await.expect("a note");
    let gone = state(store, space, doc).await;
    assert!(gone.deleted && gone.purged && gone.snapshot.is_none());
    for snapshots in [None, Some(0)] {
        let stranger = DeviceId::from_random(random());
        let read = page(store, space, PageRequest { snapshots, ..everything(stranger) }).await;
        assert_eq!(carries(&read.entries), [true, false, false, false, true]);
        assert_eq!(super::chained(space, &read.entries), read.next);
        assert!(read.snapshots.is_empty());
    }
}

/// The horizon is where all active devices are, or where all is older than the retention; it never goes back.
async fn horizons<S: Store + Snapshots>(store: &S) {
    let (space, mut ann) = space(store).await;
    let doc = new_doc();
    let push = ann.push(vec![create(doc)]);
    taken(commit(store, space, push).await);
    write(store, space, &mut ann, doc, 1, 9, 10).await;
    let horizon = async |active: u64, older: u64| store.move_horizon(space, active, older).await.expect("a place");
    assert_eq!(horizon(0, 0).await, 0, "nobody said where it is");
    let reader = |seq, seen_ms| Reader { space, device: DeviceId::from_random(random()), seq, seen_ms };
    let (quick, slow, gone) = (reader(8, 2_000), reader(5, 2_000), reader(1, 1_000));
    store.note_readers(&[quick, slow, gone]).await.expect("a note");
    assert_eq!(horizon(1_500, 0).await, 5, "whoever is active holds it back");
    assert_eq!(horizon(500, 0).await, 5, "it does not go back");
    store.note_readers(&[Reader { seq: 9, ..slow }]).await.expect("a note");
    assert_eq!(horizon(1_500, 0).await, 8);
    store.note_readers(&[Reader { seq: 1 << 40, ..quick }, Reader { seq: 1 << 40, ..slow }]).await.expect("a note");
    assert_eq!(horizon(1_500, 0).await, 10, "nor beyond the log");
    assert_eq!(state(store, space, doc).await.horizon_seq, 10);

    let (space, mut ben) = self::space(store).await;
    let push = ben.push(vec![create(new_doc()), create(new_doc())]);
    taken(commit(store, space, push).await);
    let horizon = async |older: u64| store.move_horizon(space, 0, older).await.expect("a place");
    assert_eq!(horizon(1_000).await, 0, "it is younger");
    assert_eq!(horizon(1 << 50).await, 2, "all of it is older");
    assert!(store.move_horizon(new_space(), 0, 0).await.is_err(), "no such space");
}

/// A lease is one node's until it ends.
async fn one_compactor_a_space<S: Store + Snapshots>(store: &S) {
    let space = new_space();
    let (one, other) = (Uuid::from_bytes(random()), Uuid::from_bytes(random()));
    let lease = async |node, for_ms| store.lease_space(space, node, for_ms).await.expect("an answer");
    assert!(lease(one, 600_000).await);
    assert!(!lease(other, 600_000).await, "another node has it");
    assert!(lease(one, 0).await, "it is renewed, or given back");
    assert!(lease(other, 600_000).await);
    assert!(!lease(one, 600_000).await);
}
