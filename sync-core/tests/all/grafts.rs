//! Documents without an excluded change: the same on every replica, whenever it heard of the exclusion.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sync_core::check::Push;
use sync_core::code::RejectCode;
use sync_core::document::{Document, DocumentError, FoldError, Op, changes_beyond, fold};
use sync_core::epoch;
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::graft::{GraftError, Grafts};
use sync_core::guard;
use sync_core::hostile;
use sync_core::id::{Actor, Hash};
use sync_core::limits::DOCUMENT_EXCLUSIONS_MAX;
use sync_core::path;
use sync_core::value::{Path, Value};
use sync_core::wire::{ItemStatus, PushAnswer};

use crate::cases::{SPACE, actor, cases, device, doc};
use crate::edits;
use crate::reauthor::{hash, load, put, sealed};
use crate::rng::Rng;
use crate::server::Server;

#[derive(Clone)]
enum Entry {
    Change(Vec<u8>),
    Exclude(Hash),
}

/// A phone, or the server, which writes nothing.
struct Replica {
    actor: Actor,
    /// Changes as they were sealed, each behind what it was made upon.
    sealed: Vec<Vec<u8>>,
    unsent: Vec<Vec<u8>>,
    grafts: Grafts,
    read: usize,
    document: Document,
}

impl Replica {
    fn new(number: u8) -> Self {
        let actor = actor(number);
        let (sealed, unsent) = (Vec::new(), Vec::new());
        Self { actor, sealed, unsent, grafts: Grafts::default(), read: 0, document: Document::new(actor) }
    }

    fn write(&mut self, ops: Vec<Op>, rng: &mut Rng) {
        let bytes = sealed(&mut self.document, ops, rng);
        self.sealed.push(bytes.clone());
        self.unsent.push(bytes);
    }

    fn edit(&mut self, rng: &mut Rng) {
        for _ in 0..=rng.below(3) {
            let op = edits::op(&self.document.get(Path::root()).unwrap(), rng);
            self.document.edit(vec![op], &mut || rng.next()).unwrap();
        }
        let bytes = self.document.seal(&mut || rng.next()).unwrap().bytes;
        self.sealed.push(bytes.clone());
        self.unsent.push(bytes);
    }

    fn push(&mut self, log: &mut Vec<Entry>) {
        log.extend(self.unsent.drain(..).map(Entry::Change));
    }

    /// Reads the log up to a place.
    fn pull(&mut self, log: &[Entry], through: usize) {
        for entry in &log[self.read..through.max(self.read)] {
            match entry {
                Entry::Change(bytes) if self.sealed.contains(bytes) => {}
                Entry::Change(bytes) => {
                    // What the server is asked for each dependency, and all that it knows.
                    let known: BTreeSet<Hash> = self.sealed.iter().map(|bytes| hash(bytes)).collect();
                    let deps = guard::inspect(bytes).unwrap().deps;
                    assert!(deps.iter().all(|dep| known.contains(&self.grafts.sealed(*dep))));
                    self.grafts.stand(bytes).unwrap();
                    self.sealed.push(bytes.clone());
                }
                Entry::Exclude(hash) => {
                    self.grafts.exclude(*hash, &self.sealed).unwrap();
                }
            }
        }
        self.read = through.max(self.read);
        self.document = load(self.actor, &self.standing());
    }

    /// The changes as they stand.
    fn standing(&self) -> Vec<Vec<u8>> {
        let mut grafts = self.grafts.clone();
        let standing = self.sealed.iter().map(|bytes| {
            let standing = grafts.stand(bytes).unwrap();
            let now = standing.bytes.unwrap_or_else(|| bytes.clone());
            assert_eq!(hash(&now), standing.hash);
            assert_eq!(standing.hash, self.grafts.now(hash(bytes)));
            // What the log noted of it holds.
            let (was, is) = (guard::inspect(bytes).unwrap(), guard::inspect(&now).unwrap());
            assert_eq!(
                (was.actor, was.seq, was.start_op, was.operations),
                (is.actor, is.seq, is.start_op, is.operations)
            );
            now
        });
        let standing = standing.collect();
        assert_eq!(grafts, self.grafts, "nothing new is learnt from what was told");
        standing
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn every_replica_comes_to_the_same_document(seed: u64) {
        let mut rng = Rng(seed);
        let mut log = Vec::new();
        let mut phones = [1, 2, 3].map(Replica::new);
        phones[0].write(edits::beginning(), &mut rng);
        phones[0].push(&mut log);
        let mut server = Replica::new(8);
        for phone in &mut phones {
            phone.pull(&log, 1);
        }
        let mut excluded = BTreeSet::new();
        for _ in 0..20 {
            let phone = rng.below(3);
            match rng.below(10) {
                0..4 => phones[phone].edit(&mut rng),
                4..6 => phones[phone].push(&mut log),
                6..9 => {
                    let through = phones[phone].read + rng.below(log.len() - phones[phone].read + 1);
                    phones[phone].pull(&log, through);
                }
                _ => {
                    server.pull(&log, log.len());
                    let of = hash(&server.sealed[rng.below(server.sealed.len())]);
                    if excluded.insert(of) {
                        log.push(Entry::Exclude(of));
                    }
                }
            }
        }
        for phone in &mut phones {
            phone.push(&mut log);
        }
        // One that comes late, and one that had the documents folded on the way.
        let mut late = Replica::new(9);
        for replica in phones.iter_mut().chain([&mut server, &mut late]) {
            replica.pull(&log, log.len());
            prop_assert_eq!(Grafts::decode(&replica.grafts.encode()).unwrap(), replica.grafts.clone());
        }
        let heads = server.document.heads();
        let bytes = server.document.canonical_save().unwrap();
        for replica in phones.iter().chain([&late]) {
            prop_assert_eq!(replica.document.heads(), heads.clone());
            prop_assert_eq!(replica.document.canonical_save().unwrap(), bytes.clone());
        }
        // An epoch begins with how things stand.
        prop_assert!(epoch::start(1, 0, &server.standing(), actor(200), &mut || rng.next()).is_ok());
        // What was folded before an exclusion can be grafted as well.
        let folded = fold(None, &server.standing()).unwrap();
        prop_assert_eq!(folded.heads, heads);
        let stand = changes_beyond(&folded.bytes, &[]).unwrap();
        let stand: Vec<Vec<u8>> = stand.into_iter().map(|(_, bytes)| bytes).collect();
        let of = hash(&server.sealed[rng.below(server.sealed.len())]);
        if excluded.insert(of) {
            let mut from_folded = server.grafts.clone();
            let after = from_folded.exclude(of, &stand).unwrap();
            let hashes: BTreeSet<Hash> = after.iter().map(|standing| standing.hash).collect();
            let direct = server.grafts.exclude(of, &server.sealed).unwrap();
            prop_assert_eq!(hashes, direct.iter().map(|standing| standing.hash).collect::<BTreeSet<_>>());
            prop_assert_eq!(from_folded, server.grafts.clone());
        }
    }
}

fn three() -> (Vec<Vec<u8>>, Rng) {
    let mut rng = Rng(7);
    let mut first = Document::new(actor(1));
    let begin = vec![put("n", Value::Counter(0)), put("text", Value::Text("ab".into())), put("title", "old")];
    let base = sealed(&mut first, begin, &mut rng);
    let splice = |at, insert: &str| Op::Splice { path: "text".into(), at, delete: 0, insert: insert.into() };
    let increment = |by| Op::Increment { path: "n".into(), by };
    let bad = vec![put("map", Value::Map([("in".to_owned(), 1i64.into())].into())), splice(2, "BAD"), increment(100)];
    let bad = sealed(&mut first, [bad, vec![put("title", "bad"), put("own", Value::Counter(1))]].concat(), &mut rng);
    let mut second = load(actor(2), &[base.clone(), bad.clone()]);
    let upon = vec![
        Op::Put { path: path!["map", "in"], value: 2i64.into() },
        splice(0, "x"),
        splice(6, "lost"),
        increment(1),
        put("title", "new"),
        Op::Increment { path: "own".into(), by: 1 },
        put("kept", true),
    ];
    let upon = sealed(&mut second, upon, &mut rng);
    (vec![base, bad, upon], rng)
}

#[test]
fn what_refers_to_nothing_of_it_stays() {
    let (changes, mut rng) = three();
    let mut grafts = Grafts::default();
    let standing = grafts.exclude(hash(&changes[1]), &changes).unwrap();
    assert_eq!(standing[0].bytes, None);
    let stand: Vec<Vec<u8>> =
        standing.iter().zip(&changes).map(|(to, was)| to.bytes.clone().unwrap_or_else(|| was.clone())).collect();
    let mut shown = load(actor(1), &stand);
    let expected =
        [("n", Value::Counter(1)), ("text", Value::Text("xab".into())), ("title", "new".into()), ("kept", true.into())];
    let expected = expected.map(|(key, value)| (key.to_owned(), value));
    assert_eq!(shown.get(Path::root()), Some(Value::Map(expected.into())));
    for bytes in &stand {
        guard::verify(bytes, &guard::inspect(bytes).unwrap()).unwrap();
    }
    // It is computed; no device may push it.
    let mut server = Server::new(SPACE);
    push(&mut server, 1, Item::create(doc(1), "notes".to_owned())).unwrap();
    push(&mut server, 1, Item::change(doc(1), hash(&stand[0]), stand[0].clone())).unwrap();
    let refused = push(&mut server, 1, Item::change(doc(1), hash(&stand[1]), stand[1].clone()));
    assert_eq!(refused, Err(Some(RejectCode::Malformed)));
    epoch::start(1, 0, &stand, actor(9), &mut || rng.next()).unwrap();
    // Its author goes on under the same actor.
    let next = sealed(&mut shown, vec![put("next", 1i64)], &mut rng);
    assert_eq!(guard::inspect(&next).unwrap().seq, 3);
    assert_eq!(grafts.stand(&next).unwrap().bytes, None);
    guard::verify(&next, &guard::inspect(&next).unwrap()).unwrap();
}

#[test]
fn a_change_is_excluded_once_and_only_so_many_are() {
    let (changes, _) = three();
    let mut grafts = Grafts::default();
    grafts.exclude(hash(&changes[1]), &changes).unwrap();
    assert_eq!(grafts.exclude(hash(&changes[1]), &changes), Err(GraftError::Excluded));
    // Nor under the hash by which what stands in its place is known.
    let place = grafts.now(hash(&changes[1]));
    assert_ne!(place, hash(&changes[1]));
    assert_eq!(grafts.exclude(place, &changes), Err(GraftError::Excluded));
    for number in 1..DOCUMENT_EXCLUSIONS_MAX {
        grafts.exclude(Hash([number as u8; 32]), &changes[..0]).unwrap();
    }
    assert_eq!(grafts.exclude(hash(&changes[2]), &changes), Err(GraftError::TooMany));
}

#[test]
fn damaged_bytes_are_refused() {
    let (changes, _) = three();
    let mut grafts = Grafts::default();
    grafts.exclude(hash(&changes[1]), &changes).unwrap();
    let bytes = grafts.encode();
    for length in 0..bytes.len() {
        assert_eq!(Grafts::decode(&bytes[..length]), Err(GraftError::Stored));
    }
    assert_eq!(Grafts::decode(&[bytes, vec![0]].concat()), Err(GraftError::Stored));
}

/// Maps in maps, each change within the limit and all together beyond it; and what others wrote upon that.
fn too_deep() -> (Vec<Vec<u8>>, usize) {
    let mut rng = Rng(5);
    let first = hostile::nested(actor(1), 60);
    let second = hostile::deeper(&first, 4);
    let aside = sealed(&mut load(actor(2), &[first.clone(), second.clone()]), vec![put("aside", 1i64)], &mut rng);
    let bad = hostile::deeper(&second, 1);
    for bytes in [&first, &second, &bad] {
        guard::verify(bytes, &guard::inspect(bytes).unwrap()).unwrap();
    }
    // Who does not look takes it: what is written upon it has its hash among what it was made upon.
    let upon = hostile::deeper(&bad, 1);
    (vec![first, second, aside, bad, upon], 3)
}

#[test]
fn what_is_nested_too_deep_by_several_changes_is_named_and_left_out_until_it_is_excluded() {
    let (changes, bad) = too_deep();
    assert_eq!(fold(None, &changes), Err(FoldError::Change(hash(&changes[bad]))));
    // Behind a snapshot as well.
    let folded = fold(None, &changes[..2]).unwrap();
    assert_eq!(fold(Some(&folded.bytes), &changes[2..]), Err(FoldError::Change(hash(&changes[bad]))));
    // A phone that meets it first shows the rest.
    let (shown, applied) = Document::load(actor(3), None, &changes).unwrap();
    let left_out: BTreeSet<Hash> = changes[bad..].iter().map(|bytes| hash(bytes)).collect();
    assert_eq!(applied.left_out.into_iter().collect::<BTreeSet<_>>(), left_out);
    assert_eq!(shown.get("aside"), Some(1i64.into()));
    // Without it the document folds, with everything that others wrote.
    let mut grafts = Grafts::default();
    let standing = grafts.exclude(hash(&changes[bad]), &changes).unwrap();
    let stand: Vec<Vec<u8>> =
        standing.iter().zip(&changes).map(|(to, was)| to.bytes.clone().unwrap_or_else(|| was.clone())).collect();
    let folded = fold(None, &stand).unwrap();
    let (opened, applied) = Document::load(actor(3), Some(&folded.bytes), &[] as &[&[u8]]).unwrap();
    assert_eq!((opened.get(Path::root()), applied.left_out), (shown.get(Path::root()), vec![]));
}

#[test]
fn what_cannot_be_read_or_has_lost_what_it_was_made_upon_is_not_named_as_breaking_the_document() {
    let (changes, _) = too_deep();
    assert_eq!(fold(None, &changes[1..2]), Err(FoldError::Unreadable(hash(&changes[1]))));
    let torn = &changes[0][..40];
    assert_eq!(fold(None, &[torn]), Err(FoldError::Unreadable(Hash::of(&[torn]))));
}

/// What becomes of an item of a device's feed that follows what the server has of it.
fn push(server: &mut Server, number: u8, item: Item) -> Result<ItemStatus, Option<RejectCode>> {
    let base = server.acked(device(number));
    let push = Push::check("writer".to_owned(), Run { device: device(number), base, items: vec![item] });
    match server.push(push) {
        PushAnswer::Taken { mut results, need, .. } if need.is_empty() => {
            let result = results.remove(0);
            if result.code.is_some() { Err(result.code) } else { Ok(result.status) }
        }
        _ => Err(None),
    }
}

#[test]
fn a_server_takes_what_was_written_with_and_without_knowledge_of_an_exclusion() {
    let (changes, mut rng) = three();
    let mut server = Server::new(SPACE);
    let change = |bytes: &Vec<u8>| Item::change(doc(1), hash(bytes), bytes.clone());
    assert_eq!(server.acked(device(1)), FeedHead::start(SPACE, device(1)));
    push(&mut server, 1, Item::create(doc(1), "notes".to_owned())).unwrap();
    for (number, bytes) in [1, 1, 2].into_iter().zip(&changes) {
        push(&mut server, number, change(bytes)).unwrap();
    }
    let mut grafts = Grafts::default();
    let standing = grafts.exclude(hash(&changes[1]), &changes).unwrap();
    let mut stand: Vec<Vec<u8>> =
        standing.iter().zip(&changes).map(|(to, was)| to.bytes.clone().unwrap_or_else(|| was.clone())).collect();
    server.grafts.insert(doc(1), grafts);
    // Its author has not heard of it, and neither has the other one.
    let mut old = load(actor(1), &changes);
    let splice = Op::Splice { path: "text".into(), at: 1, delete: 0, insert: "typed".into() };
    let unaware = sealed(&mut old, vec![splice, put("map", 3i64)], &mut rng);
    assert_eq!(push(&mut server, 1, change(&unaware)), Ok(ItemStatus::Applied));
    // One that has writes upon how that stands, though it never stood so on the device that wrote it.
    stand.push(server.grafts[&doc(1)].clone().stand(&unaware).unwrap().bytes.unwrap());
    let mut new = load(actor(2), &stand);
    let aware = sealed(&mut new, vec![put("aware", true)], &mut rng);
    assert_eq!(push(&mut server, 2, change(&aware)), Ok(ItemStatus::Applied));
    assert_eq!(server.grafts[&doc(1)].now(hash(&aware)), hash(&aware));
    let shown = load(actor(3), &[stand, vec![aware.clone()]].concat());
    assert_eq!(shown.get("text"), Some(Value::Text("xtypedab".into())));
    assert_eq!((shown.get("map"), shown.get("aware")), (Some(3i64.into()), Some(true.into())));
    // What stands under no hash that is known is asked for still.
    let nowhere = hostile::header(actor(4), &[Hash([7; 32])], 1, 2);
    assert_eq!(push(&mut server, 4, change(&nowhere)), Err(None));
}

/// automerge applies an increment of another place's value, and cannot write down what it has then.
#[test]
fn what_counts_up_a_value_of_another_place_breaks_the_document_and_is_named() {
    let mut rng = Rng(5);
    let mut ann = Document::new(actor(1));
    let base = sealed(&mut ann, vec![put("n", Value::Counter(0)), put("text", "x")], &mut rng);
    let counted = sealed(&mut ann, vec![Op::Increment { path: "n".into(), by: 1 }], &mut rng);
    for (key, pred, breaks) in
        [("n", 1, false), ("text", 2, false), ("n", 2, true), ("text", 3, true), ("other", 1, true)]
    {
        let bad = hostile::misplaced_increment(&counted, key, pred);
        guard::verify(&bad, &guard::inspect(&bad).unwrap()).unwrap();
        let changes = [base.clone(), counted.clone(), bad.clone()];
        let (shown, applied) = Document::load(actor(3), None, &changes).unwrap();
        assert_eq!(applied.left_out, []);
        if !breaks {
            assert_eq!(changes_beyond(&fold(None, &changes).unwrap().bytes, &[]).unwrap().len(), 3);
            continue;
        }
        assert_eq!(fold(None, &changes), Err(FoldError::Change(hash(&bad))));
        assert_eq!(shown.canonical_save(), Err(DocumentError::Broken));
        // What is written upon it stands, once it is excluded.
        let mut bob = load(actor(2), &changes);
        let upon = sealed(&mut bob, vec![put("upon", true), Op::Increment { path: "n".into(), by: 2 }], &mut rng);
        let all = [changes.to_vec(), vec![upon]].concat();
        let mut grafts = Grafts::default();
        let standing = grafts.exclude(hash(&bad), &all).unwrap();
        let stand: Vec<Vec<u8>> =
            standing.iter().zip(&all).map(|(to, was)| to.bytes.clone().unwrap_or_else(|| was.clone())).collect();
        fold(None, &stand).unwrap();
        let shown = load(actor(3), &stand);
        shown.canonical_save().unwrap();
        assert_eq!((shown.get("n"), shown.get("upon")), (Some(Value::Counter(3)), Some(true.into())));
    }
}
