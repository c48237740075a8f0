//! Changes made anew: what holds is said once, as it was meant, and in a form that servers and automerge take.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sync_core::check::Push;
use sync_core::document::{Document, Expand, Marked, Op, Sealed};
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::guard;
use sync_core::id::{Actor, DeviceId, Hash};
use sync_core::path;
use sync_core::reauthor::{Made, Reauthor, Upon, Why};
use sync_core::value::{Path, Value};
use sync_core::wire::{ItemStatus, PushAnswer};

use crate::cases::{SPACE, actor, cases, device, doc};
use crate::edits;
use crate::rng::Rng;
use crate::server::Server;

/// Of device 5, behind the one that it writes under at first and in front of every other device's that is greater.
pub fn renewed(number: u8) -> Actor {
    Actor::new(device(5), [number; 4])
}

/// A document with a history: what one device began and another went on with beside this one.
pub struct History {
    pub base: Vec<Vec<u8>>,
    pub others: Vec<Vec<u8>>,
    pub own: Vec<Vec<u8>>,
    pub document: Document,
}

pub fn put(key: &str, value: impl Into<Value>) -> Op {
    Op::Put { path: key.into(), value: value.into() }
}

pub fn sealed(document: &mut Document, ops: Vec<Op>, rng: &mut Rng) -> Vec<u8> {
    let edited = document.edit(ops, &mut || rng.next()).unwrap();
    assert!(edited.sealed.is_empty());
    let Sealed { bytes, .. } = document.seal(&mut || rng.next()).unwrap();
    bytes
}

pub fn load(actor: Actor, changes: &[Vec<u8>]) -> Document {
    let (document, applied) = Document::load(actor, None, changes).unwrap();
    assert_eq!(applied.left_out, []);
    document
}

fn wrote(document: &mut Document, count: usize, rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for _ in 0..count {
        for _ in 0..=rng.below(3) {
            let op = edits::op(&document.get(Path::root()).unwrap(), rng);
            document.edit(vec![op], &mut || rng.next()).unwrap();
        }
        all.push(document.seal(&mut || rng.next()).unwrap().bytes);
    }
    all
}

impl History {
    /// `merged`: whether this device took in what the other wrote half-way.
    pub fn random(rng: &mut Rng, merged: bool) -> Self {
        let base = vec![sealed(&mut Document::new(actor(9)), edits::beginning(), rng)];
        let mut document = load(renewed(1), &base);
        let mut other = load(actor(2), &base);
        let mut own = wrote(&mut document, 1 + rng.below(4), rng);
        let mut others = wrote(&mut other, rng.below(4), rng);
        if merged {
            document.apply(&others).unwrap();
            own.extend(wrote(&mut document, 1 + rng.below(4), rng));
        }
        others.extend(wrote(&mut other, rng.below(3), rng));
        assert_eq!(document.apply(&others).unwrap().left_out, []);
        Self { base, others, own, document }
    }

    pub fn settled(&self) -> Vec<Vec<u8>> {
        self.base.iter().chain(&self.others).cloned().collect()
    }
}

pub fn hash(bytes: &[u8]) -> Hash {
    guard::inspect(bytes).unwrap().hash
}

fn operations(bytes: &[u8]) -> u64 {
    guard::inspect(bytes).unwrap().operations
}

/// What a server makes of changes, each by the device of its actor.
pub fn accepted(changes: &[Vec<u8>]) {
    let mut server = Server::new(SPACE);
    let push = |server: &mut Server, device: DeviceId, item: Item| {
        let run = Run { device, base: server.acked(device), items: vec![item] };
        match server.push(Push::check("writer".to_owned(), run)) {
            PushAnswer::Taken { results, need, .. } => {
                assert_eq!(need, []);
                assert_eq!(results[0].status, ItemStatus::Applied, "{:?}", results[0].code);
            }
            other => panic!("{other:?}"),
        }
    };
    push(&mut server, device(9), Item::create(doc(1), "notes".to_owned()));
    for bytes in changes {
        let guarded = guard::inspect(bytes).unwrap();
        push(&mut server, guarded.actor.device(), Item::change(doc(1), guarded.hash, bytes.clone()));
    }
    assert_ne!(server.acked(device(9)), FeedHead::start(SPACE, device(9)));
}

fn reauthor(number: u8, held: &[Vec<u8>]) -> Reauthor {
    Reauthor::new(renewed(number), held.iter().map(Vec::as_slice)).unwrap()
}

/// The values, and the marks on the texts among them.
pub fn looks(document: &Document) -> (Option<Value>, Vec<(Path, Marked)>) {
    let root = document.get(Path::root());
    let (mut ahead, mut marks) = (vec![(Path::root(), root.clone().unwrap())], Vec::new());
    while let Some((path, value)) = ahead.pop() {
        match value {
            Value::Text(_) => {
                let marked = document.marks(path.clone()).into_iter().flatten();
                marks.extend(marked.map(|mark| (path.clone(), mark)));
            }
            Value::Map(map) => ahead.extend(map.into_iter().map(|(key, value)| (path.join(key.as_str()), value))),
            Value::List(list) => {
                ahead.extend(list.into_iter().enumerate().map(|(at, value)| (path.join(at), value)));
            }
            _ => {}
        }
    }
    (root, marks)
}

proptest! {
    #![proptest_config(cases(300))]

    /// A branch under another actor is the same branch: nothing moves, whatever was written beside it.
    #[test]
    fn a_branch_made_anew_shows_what_it_showed(seed: u64, merged: bool) {
        let mut rng = Rng(seed);
        let history = History::random(&mut rng, merged);
        let mut all = history.settled();
        let mut reauthor = reauthor(7, &all);
        for bytes in &history.own {
            let Made { change, left_out, held } = reauthor.make(bytes, Upon::Same, None, &mut || rng.next()).unwrap();
            prop_assert_eq!((left_out, held), (vec![], 0));
            if let Some(change) = change {
                prop_assert_eq!(change.indices.len() as u64, operations(bytes));
                all.push(change.bytes);
            } else {
                prop_assert_eq!(operations(bytes), 0);
            }
        }
        accepted(&all);
        let again = load(renewed(7), &all);
        prop_assert_eq!(looks(&again), looks(&history.document));
        // Whatever order it comes in, and as a snapshot.
        prop_assert_eq!(Document::load(actor(3), Some(&again.save().unwrap()), &[] as &[Vec<u8>]).unwrap().0.canonical_save().unwrap(),
            load(actor(3), &all).canonical_save().unwrap());
        // Made anew twice, there is nothing left to make.
        let mut twice = Reauthor::new(renewed(8), all.iter().map(Vec::as_slice)).unwrap();
        for bytes in &all {
            let made = twice.make(bytes, Upon::Same, None, &mut || rng.next()).unwrap();
            prop_assert_eq!(made.change, None);
        }
    }

    /// Without one of its changes a branch still is one that everybody takes, every operation is there or accounted for, and
    /// nothing is left out that does not stand upon what is gone.
    #[test]
    fn what_stands_upon_a_refused_change_is_left_out_and_nothing_else(seed: u64, merged: bool) {
        let mut rng = Rng(seed);
        let history = History::random(&mut rng, merged);
        let mut all = history.settled();
        let refused = rng.below(history.own.len());
        all.extend(history.own[..refused].iter().cloned());
        let mut reauthor = reauthor(7, &all);
        reauthor.gone(&history.own[refused]).unwrap();
        let mut left = Vec::new();
        for bytes in &history.own[refused + 1..] {
            let Made { change, left_out, held } = reauthor.make(bytes, Upon::Same, None, &mut || rng.next()).unwrap();
            prop_assert_eq!(held, 0);
            let kept = change.as_ref().map_or(0, |change| change.indices.len());
            let indices: BTreeSet<u32> = left_out.iter().map(|left| left.index)
                .chain(change.iter().flat_map(|change| change.indices.iter().copied())).collect();
            prop_assert_eq!(indices.len(), kept + left_out.len());
            prop_assert_eq!(indices.len() as u64, operations(bytes));
            prop_assert!(left_out.iter().all(|left| !matches!(left.why, Why::Refused(_))), "{:?}", left_out);
            all.extend(change.map(|change| change.bytes));
            left.push((bytes, left_out));
        }
        accepted(&all);
        let rebuilt = load(renewed(7), &all);
        prop_assert!(rebuilt.save().is_ok());

        // What was refused, and then what was left out, upon everything: nothing is missing in the end.
        let first = reauthor.make(&history.own[refused], Upon::Everything, None, &mut || rng.next()).unwrap();
        all.extend(first.change.map(|change| change.bytes));
        for (bytes, left_out) in left {
            let only: Vec<u32> = left_out.iter().filter(|left| left.why != Why::Moot).map(|left| left.index).collect();
            if only.is_empty() {
                continue;
            }
            let made = reauthor.make(bytes, Upon::Everything, Some(&only), &mut || rng.next()).unwrap();
            prop_assert!(made.left_out.iter().all(|left| left.why == Why::Moot), "{:?}", made.left_out);
            all.extend(made.change.map(|change| change.bytes));
        }
        accepted(&all);
        load(renewed(7), &all);
    }

    /// A journal that came back: what was sent of it before is not made again; and what only looks like it is.
    #[test]
    fn what_came_back_of_a_journal_that_was_sent_is_said_once(seed: u64, same: bool, further in 0..3usize) {
        let mut rng = Rng(seed);
        let base = vec![sealed(&mut Document::new(actor(9)), edits::beginning(), &mut rng)];
        let (mut sent, mut back) = (load(renewed(1), &base), load(renewed(1), &base));
        let (mark, other) = (rng.next(), rng.next());
        for _ in 0..=rng.below(6) {
            let op = edits::op(&sent.get(Path::root()).unwrap(), &mut rng);
            sent.edit(vec![op.clone()], &mut || mark).unwrap();
            back.edit(vec![op], &mut || if same { mark } else { other }).unwrap();
        }
        let ours = back.seal(&mut || rng.next()).unwrap();
        for at in 0..further {
            sent.edit(vec![put(&format!("further{at}"), 1i64)], &mut || mark).unwrap();
        }
        let theirs = sent.seal(&mut || rng.next()).unwrap();
        let behind = sealed(&mut back, vec![put("behind", 1i64)], &mut rng);
        prop_assert_eq!(ours.hash == theirs.hash, same && further == 0);

        let mut all: Vec<Vec<u8>> = base.into_iter().chain([theirs.bytes]).collect();
        let mut reauthor = reauthor(7, &all);
        let journal = reauthor.make(&ours.bytes, Upon::Same, None, &mut || rng.next()).unwrap();
        prop_assert_eq!(&journal.left_out, &vec![]);
        prop_assert_eq!(u64::from(journal.held), if same { ours.operations } else { 0 });
        prop_assert_eq!(journal.change.is_none(), same || ours.operations == 0);
        let behind = reauthor.make(&behind, Upon::Same, None, &mut || rng.next()).unwrap();
        prop_assert_eq!((&behind.left_out, behind.held), (&vec![], 0));
        all.extend(journal.change.into_iter().chain(behind.change).map(|change| change.bytes));
        accepted(&all);
        let merged = load(renewed(7), &all);
        prop_assert_eq!(merged.get("behind"), Some(1i64.into()));
        for at in 0..further {
            prop_assert_eq!(merged.get(format!("further{at}").as_str()), Some(1i64.into()));
        }
        if same {
            sent.edit(vec![put("behind", 1i64)], &mut || 1).unwrap();
            prop_assert_eq!(merged.get(Path::root()), sent.get(Path::root()));
        }
    }
}

#[test]
fn two_lives_that_count_alike_count_twice() {
    let mut rng = Rng(1);
    let mut all = vec![sealed(&mut Document::new(actor(9)), vec![put("n", Value::Counter(0))], &mut rng)];
    let count = || vec![Op::Increment { path: "n".into(), by: 1 }];
    let [theirs, ours] = [1, 2].map(|_| sealed(&mut load(renewed(1), &all), count(), &mut rng));
    all.push(theirs);
    let made = reauthor(7, &all).make(&ours, Upon::Same, None, &mut || 7).unwrap();
    all.push(made.change.unwrap().bytes);
    accepted(&all);
    assert_eq!(load(renewed(7), &all).get("n"), Some(Value::Counter(2)));
}

/// Two changes upon a beginning, of which the first is refused.
fn second_of(beginning: Vec<Op>, first: Vec<Op>, second: Vec<Op>) -> (Document, Made, Vec<Vec<u8>>, Vec<u8>, Reauthor) {
    let mut rng = Rng(1);
    let mut all = vec![sealed(&mut Document::new(actor(9)), beginning, &mut rng)];
    let mut document = load(renewed(1), &all);
    let (first, second) = (sealed(&mut document, first, &mut rng), sealed(&mut document, second, &mut rng));
    let mut reauthor = reauthor(7, &all);
    reauthor.gone(&first).unwrap();
    let made = reauthor.make(&second, Upon::Same, None, &mut || 7).unwrap();
    all.extend(made.change.iter().map(|change| change.bytes.clone()));
    accepted(&all);
    (load(renewed(7), &all), made, all, first, reauthor)
}

fn why(made: &Made) -> Vec<Why> {
    made.left_out.iter().map(|left| left.why).collect()
}

fn splice(at: u64, delete: u64, insert: &str) -> Op {
    Op::Splice { path: "text".into(), at, delete, insert: insert.into() }
}

#[test]
fn a_key_that_was_set_twice_has_the_second_value_and_no_conflict() {
    let (mut document, made, _, _, _) =
        second_of(vec![put("k", 1i64)], vec![put("k", 2i64)], vec![put("k", 3i64), put("other", 4i64)]);
    assert_eq!(why(&made), []);
    assert_eq!(document.get("k"), Some(3i64.into()));
    document.edit(vec![Op::Delete { path: "k".into() }], &mut || 1).unwrap();
    assert_eq!(document.get("k"), None, "the first value is replaced, not hidden");
    // And what is removed is what was there before.
    let (document, made, _, _, _) =
        second_of(vec![put("k", 1i64)], vec![put("k", 2i64)], vec![Op::Delete { path: "k".into() }]);
    assert_eq!((why(&made), document.get("k")), (vec![], None));
}

#[test]
fn what_was_typed_upon_a_refused_text_is_left_out_and_what_was_typed_beside_it_is_not() {
    let beginning = vec![put("text", Value::Text("abc".into())), put("n", Value::Counter(1))];
    let first = vec![splice(3, 0, "def"), put("list", Value::List(vec![1i64.into()]))];
    let count = Op::Increment { path: "n".into(), by: 5 };
    let insert = Op::Insert { path: path!["list", 1], values: vec![2i64.into()] };
    // Behind "def", in front of "a", away with the "d".
    let second = vec![splice(6, 0, "!"), splice(0, 0, "_"), splice(4, 1, ""), count, insert];
    let (document, made, mut all, first, mut reauthor) = second_of(beginning, first, second);
    assert_eq!(why(&made), [Why::Element, Why::Moot, Why::Object]);
    assert_eq!(document.text("text").unwrap(), "_abc");
    assert_eq!(document.get("n"), Some(Value::Counter(6)));
    let again = reauthor.make(&first, Upon::Everything, None, &mut || 8).unwrap();
    assert_eq!(why(&again), []);
    all.push(again.change.unwrap().bytes);
    accepted(&all);
    assert_eq!(load(renewed(7), &all).text("text").unwrap(), "_abcdef");
}

#[test]
fn increments_of_a_counter_that_is_gone_are_left_out() {
    let counter = |value| put("n", Value::Counter(value));
    let (document, made, _, _, _) =
        second_of(vec![counter(1)], vec![counter(100)], vec![Op::Increment { path: "n".into(), by: 5 }]);
    assert_eq!((why(&made), made.change), (vec![Why::Value], None));
    assert_eq!(document.get("n"), Some(Value::Counter(1)));
}

#[test]
fn what_was_typed_at_the_edge_of_a_refused_mark_stays() {
    for expand in [Expand::None, Expand::Before, Expand::After, Expand::Both] {
        let mark = |start, end| Op::Mark {
            path: "text".into(),
            start,
            end,
            name: "bold".into(),
            value: Value::Bool(true),
            expand,
        };
        for at in 0..=4 {
            let (document, made, _, _, _) =
                second_of(vec![put("text", Value::Text("abcd".into()))], vec![mark(1, 3)], vec![splice(at, 0, "xy")]);
            assert_eq!(why(&made), [], "{expand:?} at {at}");
            let mut expected = "abcd".to_owned();
            expected.insert_str(at as usize, "xy");
            assert_eq!(document.text("text").unwrap(), expected);
            assert_eq!(document.marks("text").unwrap(), []);
        }
        // A mark across characters that are gone goes with both its ends.
        let (document, made, _, _, _) = second_of(
            vec![put("text", Value::Text("ab".into()))],
            vec![splice(1, 0, "12")],
            vec![mark(0, 2), splice(0, 0, "x")],
        );
        assert_eq!(document.text("text").unwrap(), "xab");
        assert!(why(&made).is_empty() || why(&made) == [Why::Element, Why::Element]);
    }
}

#[test]
fn bytes_that_are_no_change_are_an_error() {
    let mut reauthor = reauthor(1, &[]);
    assert!(reauthor.make(b"", Upon::Same, None, &mut || 1).is_err());
    assert!(reauthor.gone(&[0; 40]).is_err());
    let bytes = sealed(&mut Document::new(actor(9)), edits::beginning(), &mut Rng(1));
    for cut in 0..bytes.len() {
        assert!(reauthor.make(&bytes[..cut], Upon::Same, None, &mut || 1).is_err());
    }
    assert!(Reauthor::new(renewed(1), [&bytes[..20]]).is_err());
}

#[test]
fn a_change_made_upon_one_that_nobody_knows_is_made_upon_what_there_is() {
    let mut rng = Rng(1);
    let base = vec![sealed(&mut Document::new(actor(9)), edits::beginning(), &mut rng)];
    let mut document = load(renewed(1), &base);
    sealed(&mut document, vec![put("a", 1i64)], &mut rng);
    let second = sealed(&mut document, vec![put("b", 2i64), put("a", 3i64)], &mut rng);
    let mut reauthor = reauthor(7, &base);
    let made = reauthor.make(&second, Upon::Same, None, &mut || 7).unwrap();
    assert_eq!(why(&made), []);
    let all: Vec<Vec<u8>> = base.into_iter().chain(made.change.map(|change| change.bytes)).collect();
    accepted(&all);
    let document = load(renewed(7), &all);
    assert_eq!((document.get("a"), document.get("b")), (Some(3i64.into()), Some(2i64.into())));
    assert_eq!(hash(&all[1]), document.heads()[0]);
}
