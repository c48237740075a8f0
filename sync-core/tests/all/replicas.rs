//! Replicas without a server: whatever the transport does to batches, they end up equal.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sync_core::batch::{Arrival, Batch, Budget, ITEM_BYTES, Replica, ReplicaError, plan};
use sync_core::code::RejectCode;
use sync_core::document::Op;
use sync_core::feed::{Body, ChangeId};
use sync_core::id::{DocId, Hash};
use sync_core::value::{Path, Value};
use sync_core::version::{FeedHeads, VersionVector};
use sync_core::wire::{decode, decode_json, encode, encode_json};

use crate::cases::{SPACE, cases, device, doc};
use crate::edits;
use crate::rng::Rng;

struct World {
    replicas: Vec<Replica>,
    hits: u64,
    rng: Rng,
}

impl World {
    fn new(seed: u64, count: u8) -> Self {
        let mut replicas: Vec<Replica> = (1..=count).map(|at| Replica::new(SPACE, device(at), [at; 4])).collect();
        let mut rng = Rng(seed);
        for number in 0..3 {
            replicas[0].create(doc(number), "notes").unwrap();
            replicas[0].edit(doc(number), edits::beginning(), &mut || rng.next()).unwrap();
        }
        let mut world = Self { replicas, hits: 0, rng };
        for to in 1..world.replicas.len() {
            world.sync(0, to);
        }
        world
    }

    fn edit(&mut self) {
        let rng = &mut self.rng;
        let replica = rng.below(self.replicas.len());
        let replica = &mut self.replicas[replica];
        let known: Vec<DocId> = replica.documents().map(|(doc, _)| doc).collect();
        if known.is_empty() || rng.chance(4) {
            let doc = DocId::mint(rng.next() >> 16, [rng.next() as u8; 10]);
            let collection = *rng.pick(&["notes", "lists"]);
            replica.create(doc, collection).unwrap();
            return;
        }
        let doc = *rng.pick(&known);
        if doc != crate::cases::doc(0) && rng.chance(2) {
            replica.delete(doc).unwrap();
            assert_eq!(replica.edit(doc, edits::beginning(), &mut || 1).unwrap_err(), ReplicaError::Deleted);
            return;
        }
        // The first document is for counting: nobody writes over its counter.
        let op = if doc == crate::cases::doc(0) {
            self.hits += 1;
            Op::Increment { path: "hits".into(), by: 1 }
        } else {
            let root = replica.document(doc).unwrap().get(Path::root()).unwrap();
            edits::op(&root, rng)
        };
        replica.edit(doc, vec![op], &mut || rng.next()).unwrap();
    }

    /// Through bytes and back.
    fn carried(&mut self, batch: &Batch, budget: Budget) -> Batch {
        if self.rng.chance(30) {
            return decode_json(&encode_json(batch).unwrap()).unwrap();
        }
        let bytes = encode(batch).unwrap();
        let items: usize = batch.runs.0.iter().map(|run| run.items.len()).sum();
        assert!(items == 1 || bytes.len() <= budget.bytes_max + 64, "{} bytes in {budget:?}", bytes.len());
        decode(&bytes).unwrap()
    }

    /// Everything that one lacks of the other.
    fn sync(&mut self, from: usize, to: usize) {
        let budget = Budget { bytes_max: 1 + self.rng.below(4000), changes_max: 1 + self.rng.below(20) };
        while let Some(batch) = self.replicas[from].next_batch(self.replicas[to].heads(), budget) {
            let batch = self.carried(&batch, budget);
            let received = self.replicas[to].receive(batch).unwrap();
            assert!(received.taken > 0, "each batch brings something");
            assert_eq!(received.gaps, [], "and in order");
        }
    }

    /// Batches that were lost, came twice, or overtook each other.
    fn sync_badly(&mut self, from: usize, to: usize) {
        let budget = Budget { bytes_max: 1 + self.rng.below(900), changes_max: 1 + self.rng.below(6) };
        let mut batches: Vec<Batch> = self.replicas[from].batches(self.replicas[to].heads(), budget).collect();
        for _ in 0..self.rng.below(6) {
            if batches.is_empty() {
                return;
            }
            let at = self.rng.below(batches.len());
            match self.rng.below(3) {
                0 => drop(batches.remove(at)),
                1 => batches.push(batches[at].clone()),
                _ => batches.swap(0, at),
            }
        }
        for batch in batches {
            let batch = self.carried(&batch, budget);
            let before = self.replicas[to].vector();
            let received = self.replicas[to].receive(batch).unwrap();
            assert_eq!(received.left_out, []);
            assert_eq!(self.replicas[to].vector() > before, received.taken > 0);
        }
    }

    fn pair(&mut self) -> (usize, usize) {
        let from = self.rng.below(self.replicas.len());
        let to = (from + 1 + self.rng.below(self.replicas.len() - 1)) % self.replicas.len();
        (from, to)
    }
}

/// What a replica shows: of each document its collection, heads, value and canonical bytes.
fn shown(replica: &Replica) -> BTreeMap<DocId, (String, Vec<Hash>, Value, Vec<u8>)> {
    let one = |(doc, collection): (DocId, &str)| {
        let document = replica.document(doc).unwrap();
        let value = document.get(Path::root()).unwrap();
        (doc, (collection.to_owned(), document.heads(), value, document.canonical_save().unwrap()))
    };
    replica.documents().map(one).collect()
}

/// Items stand behind what they were made upon, and the documents hold exactly what the vector counts.
fn check(replica: &Replica) {
    let mut seen: BTreeSet<(DocId, Hash)> = BTreeSet::new();
    let mut vector = VersionVector::default();
    for (id, item) in replica.items() {
        assert_eq!(id.n, vector.get(id.device) + 1);
        vector.advance(id.device, id.n);
        if let Body::Change { bytes } = &item.body {
            let change = automerge::Change::from_bytes(bytes.clone()).unwrap();
            assert!(change.deps().iter().all(|dep| seen.contains(&(item.doc, Hash(dep.0)))), "cause before effect");
            seen.insert((item.doc, item.hash));
            if let Some(document) = replica.document(item.doc) {
                assert_eq!(document.change_bytes(item.hash).as_ref(), Some(bytes), "counted is applied");
            }
        }
    }
    assert_eq!(vector, replica.vector());
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn replicas_converge(seed: u64, count in 2u8..5, steps in 1usize..60) {
        let mut world = World::new(seed, count);
        for _ in 0..steps {
            if world.rng.chance(75) {
                world.edit();
            } else {
                let (from, to) = world.pair();
                if world.rng.chance(50) {
                    world.sync(from, to);
                } else {
                    world.sync_badly(from, to);
                }
            }
        }
        world.replicas.iter().for_each(check);
        let last = world.replicas.len() - 1;
        (0..last).for_each(|from| world.sync(from, last));
        (0..last).for_each(|to| world.sync(last, to));

        let expected = shown(&world.replicas[0]);
        prop_assert_eq!(expected[&doc(0)].2.clone(), {
            let Value::Map(mut map) = expected[&doc(0)].2.clone() else { panic!() };
            map.insert("hits".to_owned(), Value::Counter(world.hits as i64));
            Value::Map(map)
        });
        for replica in &world.replicas {
            check(replica);
            prop_assert_eq!(replica.heads(), world.replicas[0].heads());
            prop_assert_eq!(replica.parked(), 0);
            prop_assert_eq!(&shown(replica), &expected);
            prop_assert!(replica.next_batch(world.replicas[0].heads(), Budget::default()).is_none());
        }
        // A new device gets the same from any of them, and so does one that reads its own batches from a disk.
        let mut fresh = Replica::new(SPACE, device(1), [1; 4]);
        for batch in world.replicas[last].batches(&FeedHeads::default(), Budget::default()) {
            let received = fresh.receive(batch).unwrap();
            prop_assert!(received.refused.iter().all(|(_, code)| *code == RejectCode::DocumentDeleted));
        }
        prop_assert_eq!(shown(&fresh), expected);
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn plans_are_bounded_and_complete(seed: u64, count in 0usize..60, bytes_max in 0usize..2000, changes_max in 0usize..9) {
        let mut rng = Rng(seed);
        let budget = Budget { bytes_max, changes_max };
        let mut vector = VersionVector::default();
        let arrivals: Vec<Arrival> = (0..count)
            .map(|_| {
                let device = device(rng.below(4) as u8);
                vector.advance(device, vector.get(device) + 1);
                Arrival { id: ChangeId { device, n: vector.get(device) }, payload_bytes: rng.below(700) }
            })
            .collect();
        let mut have: VersionVector = (0..4).map(|at| (device(at), rng.below(12) as u64)).collect();
        let wanted: Vec<Arrival> = arrivals.iter().copied().filter(|arrival| !have.contains(arrival.id)).collect();
        let mut sent = Vec::new();
        let mut at = 0;
        loop {
            let planned = plan(arrivals[at..].iter().copied(), &have, budget);
            at += planned.passed;
            let mut batch = Vec::new();
            for range in &planned.ranges {
                prop_assert_eq!(range.after, have.get(range.device));
                have.advance(range.device, range.through);
                batch.extend((range.after + 1..=range.through).map(|n| ChangeId { device: range.device, n }));
            }
            let cost = |id: &ChangeId| arrivals.iter().find(|arrival| arrival.id == *id).unwrap().payload_bytes + ITEM_BYTES;
            let within = batch.len() <= changes_max && batch.iter().map(cost).sum::<usize>() <= bytes_max;
            prop_assert!(batch.len() <= 1 || within, "bounded, but one item always fits");
            sent.extend(batch);
            if !planned.more {
                break;
            }
            prop_assert!(!planned.ranges.is_empty(), "progress");
        }
        prop_assert_eq!(at, arrivals.len());
        prop_assert_eq!(sent, wanted.iter().map(|arrival| arrival.id).collect::<Vec<_>>(), "in order of arrival");
    }
}
