//! Batches between two replicas: forks, gaps, what comes too early, what is hostile, and deletion.

use sync_core::batch::{Batch, BatchError, Budget, Replica, ReplicaError};
use sync_core::code::RejectCode;
use sync_core::document::Op;
use sync_core::feed::{Body, ChangeId, FeedHead, Item, ItemKind, Run};
use sync_core::hostile;
use sync_core::id::{Hash, SpaceId};
use sync_core::limits::{PARKED_BYTES_MAX, PARKED_CHANGES_MAX};
use sync_core::value::{Path, Value};
use sync_core::version::FeedHeads;
use sync_core::wire::{Runs, SCHEMA};

use crate::cases::{SPACE, actor, device, doc};

fn replica(number: u8) -> Replica {
    Replica::new(SPACE, device(number), [number; 4])
}

fn put(replica: &mut Replica, key: &str, value: impl Into<Value>) {
    let op = Op::Put { path: key.into(), value: value.into() };
    replica.edit(doc(1), vec![op], &mut || 7).unwrap();
}

fn one_by_one(from: &Replica) -> Vec<Batch> {
    from.batches(&FeedHeads::default(), Budget { bytes_max: 0, changes_max: 1 }).collect()
}

fn whole(from: &Replica, to: &Replica) -> Batch {
    from.next_batch(to.heads(), Budget::default()).unwrap()
}

fn batch(runs: Vec<Run>) -> Batch {
    Batch { schema: SCHEMA, space: SPACE, runs: Runs(runs) }
}

/// A batch of the whole feed of a device that does not keep to the rules.
fn feed(number: u8, items: Vec<Item>) -> Batch {
    batch(vec![Run { device: device(number), base: FeedHead::start(SPACE, device(number)), items }])
}

fn change(bytes: Vec<u8>) -> Item {
    let hash = automerge::Change::from_bytes(bytes.clone()).map_or(Hash([3; 32]), |change| change.hash().into());
    Item::change(doc(1), hash, bytes)
}

#[test]
fn a_fork_names_the_device_and_nothing_is_taken() {
    let mut phone = replica(1);
    phone.create(doc(1), "notes").unwrap();
    let mut restored = replica(1);
    restored.receive(whole(&phone, &restored)).unwrap();
    put(&mut phone, "a", 1i64);
    put(&mut restored, "b", 2i64);

    let mut other = replica(2);
    other.create(doc(2), "notes").unwrap();
    other.receive(whole(&phone, &other)).unwrap();
    let before = other.heads().clone();
    // A sender that knows the other's heads leaves the forked feed out; one that does not is refused as a whole.
    assert_eq!(restored.forks(other.heads()), [device(1)]);
    assert_eq!(other.forks(restored.heads()), [device(1)]);
    assert!(restored.next_batch(other.heads(), Budget::default()).is_none());
    put(&mut restored, "c", 3i64);
    let forked = Err(BatchError::Forked { device: device(1) });
    assert_eq!(other.receive(whole(&restored, &replica(9))).map(|_| ()), forked);
    assert_eq!(other.heads(), &before);
    assert_eq!(other.document(doc(1)).unwrap().get("b"), None);
    // The rest goes on.
    assert_eq!(restored.receive(whole(&other, &restored)).unwrap().taken, 1);
    assert_eq!(
        restored.document(doc(2)).unwrap().get(Path::root()),
        Some(Value::Map(std::collections::BTreeMap::new()))
    );
    // And the phone hears it of its own feed.
    let mut phone_batch = whole(&restored, &replica(9));
    phone_batch.runs.0.retain(|run| run.device == device(1));
    assert_eq!(phone.receive(phone_batch).map(|_| ()), forked);
}

#[test]
fn an_altered_item_shows_as_a_fork_or_a_refusal() {
    let mut phone = replica(1);
    phone.create(doc(1), "notes").unwrap();
    put(&mut phone, "a", 1i64);
    put(&mut phone, "b", 2i64);
    let mut other = replica(2);
    other.receive(whole(&phone, &other)).unwrap();
    for at in 0..3 {
        let mut altered = whole(&phone, &replica(9));
        altered.runs.0[0].items[at].hash.0[0] ^= 1;
        assert_eq!(other.receive(altered.clone()).unwrap_err(), BatchError::Forked { device: device(1) });
        let mut altered = whole(&phone, &replica(9));
        altered.runs.0[0].base.chain.0[0] ^= 1;
        assert_eq!(other.receive(altered).unwrap_err(), BatchError::Forked { device: device(1) });
    }
    // Bytes that are not those of the declared hash have no effect, even where the chain is right.
    let mut altered = whole(&phone, &replica(9));
    let Body::Change { bytes } = &mut altered.runs.0[0].items[1].body else { panic!() };
    *bytes.last_mut().unwrap() ^= 1;
    let refused = replica(3).receive(altered).unwrap().refused;
    assert_eq!(refused[0], (ChangeId { device: device(1), n: 2 }, RejectCode::HashMismatch));
}

#[test]
fn what_comes_too_early_waits_and_is_not_counted() {
    let (mut ann, mut bob, mut carl) = (replica(1), replica(2), replica(3));
    ann.create(doc(1), "notes").unwrap();
    put(&mut ann, "a", 1i64);
    bob.receive(whole(&ann, &bob)).unwrap();
    put(&mut bob, "b", 2i64);
    put(&mut bob, "c", 3i64);
    let of_ann: Vec<Batch> = one_by_one(&ann);
    let of_bob: Vec<Batch> = one_by_one(&bob).split_off(2);

    let received = carl.receive(of_bob[1].clone()).unwrap();
    assert_eq!((received.taken, received.gaps), (0, vec![device(2)]), "it begins in the middle of Bob's feed");
    let received = carl.receive(of_bob[0].clone()).unwrap();
    assert_eq!((received.taken, received.gaps, carl.parked()), (0, vec![], 1), "it was made upon Ann's");
    // What follows on something that waits waits with it.
    let received = carl.receive(of_bob[1].clone()).unwrap();
    assert_eq!((received.taken, received.gaps, carl.parked()), (0, vec![], 2));
    assert!(carl.vector().is_empty(), "only what is applied counts");
    let received = carl.receive(of_ann[1].clone()).unwrap();
    assert_eq!((received.taken, received.gaps), (0, vec![device(1)]));
    let received = carl.receive(of_ann[0].clone()).unwrap();
    assert_eq!((received.taken, carl.parked()), (1, 2));
    let received = carl.receive(of_ann[1].clone()).unwrap();
    assert_eq!((received.taken, carl.parked()), (3, 0), "and all that waited came with it");
    assert_eq!(received.patches.len(), 1);
    assert_eq!(carl.heads(), bob.heads());
    // And once more, all of it: nothing happens.
    for batch in of_bob.iter().chain(&of_ann) {
        let received = carl.receive(batch.clone()).unwrap();
        assert_eq!((received.taken, received.duplicates, received.patches.len()), (0, 1, 0));
    }
}

#[test]
fn parking_is_bounded() {
    let mut hoarder = replica(1);
    let creates = |count: u64, salt: u8| -> Vec<Item> {
        // Deletions of a document that nobody has created wait for ever.
        (0..count).map(|_| Item::delete(doc(salt))).collect()
    };
    hoarder.receive(feed(7, creates(PARKED_CHANGES_MAX as u64 - 10, 7))).unwrap();
    hoarder.receive(feed(8, creates(500, 8))).unwrap();
    assert_eq!(hoarder.parked(), PARKED_CHANGES_MAX);
    // Large ones are bounded by their bytes.
    let mut author = replica(5);
    author.create(doc(5), "notes").unwrap();
    for at in 0..(PARKED_BYTES_MAX / 300_000 + 10) {
        let value = Value::Bytes(serde_bytes::ByteBuf::from(vec![at as u8; 300_000]));
        author.edit(doc(5), vec![Op::Put { path: "bytes".into(), value }], &mut || 7).unwrap();
    }
    let mut orphans = whole(&author, &replica(9));
    let mut hoarder = replica(1);
    // Without the creation ahead of it, and chained as if there had never been one.
    let items = orphans.runs.0.remove(0).items.split_off(1);
    hoarder.receive(feed(5, items)).unwrap();
    assert!(hoarder.parked() > 10 && hoarder.parked() <= PARKED_BYTES_MAX / 300_000, "{}", hoarder.parked());
    // And an honest feed still comes through.
    let mut honest = replica(2);
    honest.create(doc(1), "notes").unwrap();
    put(&mut honest, "a", 1i64);
    assert_eq!(hoarder.receive(whole(&honest, &hoarder)).unwrap().taken, 2);
}

#[test]
fn hostile_items_consume_their_place_and_nothing_else() {
    let create = || Item::create(doc(1), "notes".to_owned());
    let mut honest = replica(2);
    honest.create(doc(1), "notes").unwrap();
    put(&mut honest, "a", 1i64);
    let real = whole(&honest, &replica(9)).runs.0[0].items[1].clone();
    let Body::Change { bytes: real } = real.body else { panic!() };
    let table = [
        ("claims ten million operations", hostile::huge_claim(actor(7), 10_000_000), RejectCode::TooManyOperations),
        ("deeply nested", hostile::nested(actor(7), 65), RejectCode::TooDeep),
        ("somebody else's", real.clone(), RejectCode::ForgedActor),
        ("wrong checksum", hostile::bad_checksum(&real), RejectCode::HashMismatch),
        ("no change at all", b"hello".to_vec(), RejectCode::Malformed),
    ];
    for (what, bytes, code) in table {
        let mut victim = replica(1);
        let good = hostile::nested(actor(7), 2);
        let batch = feed(7, vec![create(), change(bytes), change(good), Item::create(doc(4), "after".into())]);
        let received = victim.receive(batch).unwrap();
        assert_eq!(received.refused, [(ChangeId { device: device(7), n: 2 }, code)], "{what}");
        assert_eq!((received.taken, received.left_out.len()), (4, 0), "{what}");
        assert!(victim.document(doc(1)).unwrap().get("m").is_some(), "{what}: what is behind it is applied");
        // Its bytes are not handed on, and others come to the same state.
        let mut next = replica(3);
        next.receive(whole(&victim, &next)).unwrap();
        assert_eq!(next.heads(), victim.heads(), "{what}");
        assert_eq!(next.document(doc(1)).unwrap().heads(), victim.document(doc(1)).unwrap().heads(), "{what}");
    }
}

#[test]
fn sequence_and_start_follow_on() {
    let start_twice = vec![
        Item::create(doc(1), "notes".to_owned()),
        change(hostile::nested(actor(7), 1)),
        // Another first change of the same actor.
        change(hostile::nested(actor(7), 2)),
    ];
    let received = replica(1).receive(feed(7, start_twice)).unwrap();
    assert_eq!(received.refused, [(ChangeId { device: device(7), n: 3 }, RejectCode::SequenceGap)]);
    let twice = vec![
        Item::create(doc(1), "notes".to_owned()),
        change(hostile::nested(actor(7), 1)),
        change(hostile::nested(actor(7), 1)),
    ];
    let received = replica(1).receive(feed(7, twice)).unwrap();
    assert_eq!(received.refused, [(ChangeId { device: device(7), n: 3 }, RejectCode::SequenceGap)]);
}

#[test]
fn a_void_item_only_consumes_its_place() {
    let hash = Hash([6; 32]);
    let void = Item { doc: doc(1), hash, body: Body::Void { kind: ItemKind::Change, code: RejectCode::TooLarge } };
    let mut there = replica(1);
    let received = there.receive(feed(7, vec![void, Item::create(doc(1), "notes".into())])).unwrap();
    assert_eq!(received.refused, [(ChangeId { device: device(7), n: 1 }, RejectCode::TooLarge)]);
    assert_eq!(there.documents().collect::<Vec<_>>(), [(doc(1), "notes")]);
}

#[test]
fn deletion_wins_whatever_came_first() {
    let (mut ann, mut bob) = (replica(1), replica(2));
    ann.create(doc(1), "notes").unwrap();
    bob.receive(whole(&ann, &bob)).unwrap();
    put(&mut ann, "late", 1i64);
    bob.delete(doc(1)).unwrap();
    let to_bob = whole(&ann, &bob);
    let received = ann.receive(whole(&bob, &ann)).unwrap();
    assert_eq!(received.deleted.into_iter().collect::<Vec<_>>(), [doc(1)]);
    let received = bob.receive(to_bob).unwrap();
    assert_eq!(received.refused, [(ChangeId { device: device(1), n: 2 }, RejectCode::DocumentDeleted)]);
    assert_eq!(ann.vector(), bob.vector());
    for replica in [&mut ann, &mut bob] {
        assert!(replica.is_deleted(doc(1)) && replica.document(doc(1)).is_none());
        assert_eq!(replica.create(doc(1), "notes"), Err(ReplicaError::Deleted), "it does not come back");
    }
    // Nor does it for a third one, however the feeds are put together.
    let mut carl = replica(3);
    carl.receive(whole(&ann, &carl)).unwrap();
    assert!(carl.is_deleted(doc(1)));
    assert_eq!(carl.documents().count(), 0);
}

#[test]
fn the_device_hears_what_it_cannot_do() {
    let mut there = replica(1);
    assert_eq!(there.create(doc(1), ""), Err(ReplicaError::Collection));
    assert_eq!(there.create(doc(1), &"x".repeat(256)), Err(ReplicaError::Collection));
    assert_eq!(there.edit(doc(1), vec![], &mut || 0), Err(ReplicaError::UnknownDocument));
    assert_eq!(there.delete(doc(1)), Err(ReplicaError::UnknownDocument));
    there.create(doc(1), "notes").unwrap();
    assert_eq!(there.create(doc(1), "notes"), Err(ReplicaError::Exists));
    let before = there.heads().clone();
    let long = Op::Put { path: "text".into(), value: Value::Text("x".repeat(50_000)) };
    let wrong = Op::Increment { path: "text".into(), by: 1 };
    assert!(matches!(there.edit(doc(1), vec![long, wrong], &mut || 0), Err(ReplicaError::Edit(_))));
    assert_eq!(there.heads(), &before);
    assert_eq!(there.document(doc(1)).unwrap().get("text"), None, "not even the part that was a change already");
    put(&mut there, "a", 1i64);
    assert_eq!(there.document(doc(1)).unwrap().get("a"), Some(1i64.into()));

    let mut batch = whole(&there, &replica(9));
    batch.schema = 2;
    assert_eq!(replica(2).receive(batch.clone()).unwrap_err(), BatchError::Schema { schema: 2 });
    batch.schema = SCHEMA;
    let elsewhere = SpaceId::from_bytes([1; 16]);
    let mut stranger = Replica::new(elsewhere, device(2), [2; 4]);
    assert_eq!(stranger.receive(batch).unwrap_err(), BatchError::OtherSpace { space: SPACE });
}
