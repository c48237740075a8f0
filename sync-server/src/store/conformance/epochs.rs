//! Epochs: taken only where nothing moved and nobody is behind; then nothing of before counts, and its payloads may go.

use sync_core::check::{Candidate, Checked};
use sync_core::code::RejectCode;
use sync_core::epoch::EpochFacts;
use sync_core::feed::ItemKind;
use sync_core::id::{Actor, DocId, Hash};

use super::author::{Author, create, new_doc, random};
use super::{applied, commit, everything, page, rejected, space, taken};
use crate::store::Store;
use crate::store::snapshots::{Range, Reader, Snapshots};

fn epoch(author: &Author, doc: DocId, number: u64, through: u64) -> Candidate {
    let actor = Actor::new(author.device, [number as u8; 4]);
    let head = Hash::of(&[b"epoch", doc.as_bytes(), &number.to_be_bytes()]);
    let facts = EpochFacts { number, through, actor, changes: 2, head, operations: 7 };
    Candidate { kind: ItemKind::Epoch, doc, hash: Hash::of(&[&random()]), checked: Checked::Epoch(facts, vec![5; 100]) }
}

/// All of it.
pub async fn epochs<S: Store + Snapshots>(store: &S) {
    let (space, mut owner) = space(store).await;
    let (doc, mut other) = (new_doc(), Author::new(space, &owner.user));
    let first = owner.change(doc, 1, 1, &[]);
    let second = other.change(doc, 1, 2, &[first.hash]);
    let push = owner.push(vec![create(doc), first.clone()]);
    taken(commit(store, space, push).await);
    let push = other.push(vec![second.clone()]);
    taken(commit(store, space, push).await);

    // The document has moved on; then another device has not read what it did not write.
    let push = owner.push(vec![epoch(&owner, doc, 1, 2)]);
    assert_eq!(taken(commit(store, space, push).await).1, [rejected(4, RejectCode::EpochEarly)]);
    let note = |device, seq| [Reader { space, device, seq, seen_ms: 1_000 }];
    let asleep = Author::new(space, &owner.user).device;
    store.note_readers(&note(asleep, 2)).await.expect("a note");
    store.note_readers(&note(other.device, 2)).await.expect("a note");
    let push = owner.push(vec![epoch(&owner, doc, 1, 4)]);
    assert_eq!(taken(commit(store, space, push).await).1, [rejected(5, RejectCode::EpochEarly)]);
    // Nobody waits for one that was not here lately; and the author of the last change has it.
    store.note_readers(&note(asleep, 3)).await.expect("a note");
    let began = epoch(&owner, doc, 1, 5);
    let Checked::Epoch(facts, _) = began.checked.clone() else { unreachable!("it is an epoch") };
    let push = owner.push(vec![began]);
    assert_eq!(taken(commit(store, space, push).await).1, [applied(6)]);

    // Of the epoch before nothing is taken, and what follows is none the worse for it.
    let late = other.change(doc, 2, 3, &[second.hash]);
    let later = other.change(doc, 3, 4, &[late.hash]);
    let mut fresh = Author::new(space, &owner.user);
    let upon = fresh.change(doc, 1, 8, &[facts.head]);
    let push = other.push(vec![late, later]);
    let passed = |seq| rejected(seq, RejectCode::EpochPassed);
    assert_eq!(taken(commit(store, space, push).await).1, [passed(7), passed(8)]);
    let push = fresh.push(vec![upon.clone(), fresh.change(doc, 2, 9, &[upon.hash])]);
    assert_eq!(taken(commit(store, space, push).await).1, [applied(9), applied(10)]);
    // Its author goes on upon what it began with, and again it may be too late.
    let mut own = owner.change(doc, 3, 8, &[facts.head]);
    if let Checked::Change(of, _) = &mut own.checked {
        of.actor = facts.actor;
    }
    let push = owner.push(vec![own, epoch(&owner, doc, 1, 10), epoch(&owner, doc, 2, 10)]);
    let codes = taken(commit(store, space, push).await).1;
    assert_eq!(codes, [applied(11), passed(12), rejected(13, RejectCode::EpochEarly)]);

    let state = store.document_state(space, doc).await.expect("a look").expect("the document");
    assert_eq!((state.epoch_seq, state.epoch_cleared), (6, false));
    assert_eq!(state.tail.map(|tail| tail.changes), Some(3));
    // Nobody is given what was before, and all else as ever.
    let read = page(store, space, everything(asleep)).await;
    let carries: Vec<bool> = read.entries.iter().map(|entry| entry.body.is_some()).collect();
    assert_eq!(carries[..3], [true, false, false]);
    assert!(carries[5] && carries[8] && carries[9] && carries[10]);
    let before = Range { after: 0, through: 5, few: true };
    let found = store.changes_in(space, doc, before, 10).await.expect("changes");
    let seqs: Vec<u64> = found.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, [2, 3]);
    store.drop_payloads(space, doc, 5, &seqs).await.expect("payloads that go");
    assert!(store.drop_payloads(space, doc, 9, &[9]).await.is_err(), "nothing stands in for it");
    store.epoch_cleared(space, doc, 6).await.expect("a note");
    let gone = store.changes_at(space, &seqs).await.expect("changes");
    assert!(gone.iter().all(|change| change.bytes.is_none()));
    assert!(store.document_state(space, doc).await.expect("a look").is_some_and(|state| state.epoch_cleared));
}
