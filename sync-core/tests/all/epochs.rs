//! Epochs: a document that began anew shows the same, and what was written upon the old one is said in the new one as it was
//! meant.

use proptest::prelude::*;
use sync_core::check::{Checked, Push};
use sync_core::code::RejectCode;
use sync_core::document::{Document, Expand, Op};
use sync_core::epoch::{self, Epoch, EpochError, EpochFacts, Passage, State};
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::id::{Actor, DeviceId};
use sync_core::limits::EPOCH_OPERATIONS_MAX;
use sync_core::path;
use sync_core::quarantine::{self, Left, Outgoing, Stored};
use sync_core::value::{Path, Value};
use sync_core::wire::PushAnswer;

use crate::cases::{SPACE, actor, cases, device, doc};
use crate::edits;
use crate::reauthor::{History, hash, load, looks, put, renewed, sealed};
use crate::rng::Rng;
use crate::server::Server;

/// Of device 9, the owner's, which has not written yet.
fn owner() -> Actor {
    Actor::new(device(9), [77; 4])
}

fn begin(changes: &[Vec<u8>], rng: &mut Rng) -> Epoch {
    let epoch = epoch::start(1, 0, changes, owner(), &mut || rng.next()).unwrap();
    assert_eq!(Epoch::decode(&epoch.encode()).as_ref(), Some(&epoch));
    let EpochFacts { changes, .. } = Epoch::check(device(9), &epoch.encode()).unwrap();
    assert_eq!(changes, epoch.changes.len() as u64);
    epoch
}

fn stored(bytes: &[u8], state: quarantine::State) -> Stored {
    Stored { hash: hash(bytes), bytes: bytes.to_vec(), state, copies: Vec::new() }
}

/// Says anew what a device wrote on its own: `settled` is what it knew of the epoch before.
fn carried(epoch: &Epoch, settled: &[Vec<u8>], own: &[Vec<u8>], rng: &mut Rng) -> Vec<Outgoing> {
    let old = settled.iter().map(|bytes| stored(bytes, quarantine::State::Settled));
    let old: Vec<Stored> = old.chain(own.iter().map(|bytes| stored(bytes, quarantine::State::Own))).collect();
    let before = State::of(old.iter().map(|change| change.bytes.as_slice()));
    let passage = Passage::through(std::slice::from_ref(epoch), before).unwrap();
    quarantine::carry(&old, &epoch.changes, passage, renewed(200), &mut || rng.next()).unwrap()
}

fn made(outgoing: &[Outgoing]) -> Vec<Vec<u8>> {
    outgoing.iter().filter_map(|out| Some(out.made.as_ref()?.bytes.clone())).collect()
}

proptest! {
    #![proptest_config(cases(300))]

    /// Whatever the history, the content is the same: values, marks, counters.
    #[test]
    fn the_content_is_the_same(seed: u64, merged: bool) {
        let mut rng = Rng(seed);
        let history = History::random(&mut rng, merged);
        let all: Vec<Vec<u8>> = history.settled().into_iter().chain(history.own.iter().cloned()).collect();
        let before = load(actor(3), &all);
        let after = load(actor(3), &begin(&all, &mut rng).changes);
        prop_assert_eq!(looks(&before), looks(&after));
    }

    /// Of an epoch that holds all of it, what was written concurrently means the same as it did: every document, and every
    /// edit upon it.
    #[test]
    fn what_was_written_on_the_old_epoch_means_the_same(seed: u64) {
        let mut rng = Rng(seed);
        // One actor wrote all that is settled, so that no two values are in conflict and the winner is the same.
        let mut base = Document::new(actor(9));
        let mut settled = vec![sealed(&mut base, edits::beginning(), &mut rng)];
        for _ in 0..rng.below(5) {
            let op = edits::op(&base.get(Path::root()).unwrap(), &mut rng);
            base.edit(vec![op], &mut || rng.next()).unwrap();
            settled.extend(base.seal(&mut || rng.next()).map(|sealed| sealed.bytes));
        }
        let mut phone = load(renewed(1), &settled);
        let mut own = Vec::new();
        for _ in 0..=rng.below(5) {
            let op = edits::op(&phone.get(Path::root()).unwrap(), &mut rng);
            phone.edit(vec![op], &mut || rng.next()).unwrap();
            own.extend(phone.seal(&mut || rng.next()).map(|sealed| sealed.bytes));
        }
        let epoch = begin(&settled, &mut rng);
        let outgoing = carried(&epoch, &settled, &own, &mut rng);
        let all: Vec<Vec<u8>> = epoch.changes.iter().cloned().chain(made(&outgoing)).collect();
        prop_assert_eq!(looks(&load(actor(3), &all)), looks(&phone));
        prop_assert!(outgoing.iter().all(|out| out.left.is_nothing()), "{:?}", outgoing);
    }

    /// Nothing is lost: each operation is said anew or is kept.
    #[test]
    fn each_operation_is_said_or_kept(seed: u64, merged: bool) {
        let mut rng = Rng(seed);
        let history = History::random(&mut rng, merged);
        let epoch = begin(&history.settled(), &mut rng);
        for out in carried(&epoch, &history.settled(), &history.own, &mut rng) {
            let operations = sync_core::guard::inspect(&history.own[out.index - history.settled().len()]).unwrap().operations;
            let said = out.made.map_or(0, |made| made.indices.len());
            let Left::Operations(left) = out.left else { panic!("a whole change was left") };
            prop_assert_eq!((said + left.len()) as u64, operations);
        }
    }

    #[test]
    fn bytes_that_are_none_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Epoch::check(device(9), &bytes).is_err());
    }
}

fn splice(at: u64, delete: u64, insert: &str) -> Op {
    Op::Splice { path: path!["text"], at, delete, insert: insert.to_owned() }
}

#[test]
fn an_insertion_behind_what_was_deleted_stays_where_it_was() {
    let mut rng = Rng(1);
    let mut owner_doc = Document::new(actor(9));
    let first = sealed(
        &mut owner_doc,
        vec![put("text", Value::Text("one two three".into())), put("n", Value::Counter(1))],
        &mut rng,
    );
    let mut phone = load(renewed(1), std::slice::from_ref(&first));
    let increment = Op::Increment { path: path!["n"], by: 5 };
    let own = [sealed(&mut phone, vec![splice(7, 0, "!"), increment], &mut rng)];
    // Meanwhile the word is deleted, and the sleeper's edit stands behind it.
    let deleted = sealed(&mut owner_doc, vec![splice(3, 4, "")], &mut rng);
    let epoch = begin(&[first.clone(), deleted], &mut rng);
    let outgoing = carried(&epoch, &[first], &own, &mut rng);
    let all: Vec<Vec<u8>> = epoch.changes.iter().cloned().chain(made(&outgoing)).collect();
    let now = load(actor(3), &all);
    assert_eq!(now.get(path!["text"]), Some(Value::Text("one! three".into())));
    assert_eq!(now.get(path!["n"]), Some(Value::Counter(6)));
    assert!(outgoing[0].left.is_nothing());
}

#[test]
fn a_map_leads_over_several_epochs() {
    let mut rng = Rng(2);
    let mut first = Document::new(actor(9));
    let old = [sealed(&mut first, vec![put("text", Value::Text("abc".into()))], &mut rng)];
    let mut phone = load(renewed(1), &old);
    let own = [sealed(&mut phone, vec![splice(2, 0, "-")], &mut rng)];
    let one = begin(&old, &mut rng);
    let mut between = load(actor(4), &one.changes);
    let further = sealed(&mut between, vec![splice(0, 1, "A")], &mut rng);
    let changes: Vec<Vec<u8>> = one.changes.iter().cloned().chain([further]).collect();
    let two = epoch::start(2, 9, &changes, Actor::new(device(9), [78; 4]), &mut || rng.next()).unwrap();
    let kept: Vec<Stored> = vec![stored(&old[0], quarantine::State::Settled), stored(&own[0], quarantine::State::Own)];
    let before = State::of(kept.iter().map(|change| change.bytes.as_slice()));
    let passage = Passage::through(&[one, two.clone()], before).unwrap();
    let outgoing = quarantine::carry(&kept, &two.changes, passage, renewed(200), &mut || rng.next()).unwrap();
    let all: Vec<Vec<u8>> = two.changes.into_iter().chain(made(&outgoing)).collect();
    assert_eq!(load(actor(3), &all).get(path!["text"]), Some(Value::Text("Ab-c".into())));
}

#[test]
fn it_takes_as_much_as_the_content() {
    let mut rng = Rng(3);
    let mut document = Document::new(actor(9));
    let mut changes = vec![sealed(&mut document, vec![put("text", Value::Text(String::new()))], &mut rng)];
    for round in 0..400 {
        let typed = sealed(&mut document, vec![splice(0, u64::from(round > 0) * 50, &"x".repeat(50))], &mut rng);
        changes.push(typed);
    }
    let mark = Op::Mark {
        path: path!["text"],
        start: 3,
        end: 9,
        name: "bold".into(),
        value: Value::Bool(true),
        expand: Expand::After,
    };
    changes.push(sealed(&mut document, vec![mark], &mut rng));
    let bytes = begin(&changes, &mut rng).encode().len();
    let before: usize = changes.iter().map(Vec::len).sum();
    assert!(bytes < 400 && before > 50_000, "{before} bytes became {bytes}");
}

fn push(server: &mut Server, user: &str, device: DeviceId, item: Item) -> Option<RejectCode> {
    let run = Run { device, base: server.acked(device), items: vec![item] };
    match server.push(Push::check(user.to_owned(), run)) {
        PushAnswer::Taken { results, need, .. } => {
            assert_eq!(need, []);
            results[0].code
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_server_takes_one_where_nothing_moved_and_then_nothing_of_before() {
    let mut rng = Rng(4);
    let mut server = Server::new(SPACE);
    let mut document = Document::new(actor(9));
    let first = sealed(&mut document, vec![put("a", 1)], &mut rng);
    let of = |bytes: &[u8]| Item::change(doc(1), hash(bytes), bytes.to_vec());
    assert_eq!(push(&mut server, "owner", device(9), Item::create(doc(1), "notes".into())), None);
    assert_eq!(push(&mut server, "owner", device(9), of(&first)), None);
    let changes = std::slice::from_ref(&first);
    let made =
        |through, rng: &mut Rng| epoch::start(1, through, changes, owner(), &mut || rng.next()).unwrap().encode();
    let early = Item::epoch(doc(1), made(1, &mut rng));
    assert_eq!(push(&mut server, "owner", device(9), early), Some(RejectCode::EpochEarly));
    let bytes = made(2, &mut rng);
    let foreign = Item::epoch(doc(1), bytes.clone());
    assert_eq!(push(&mut server, "writer", device(5), foreign.clone()), Some(RejectCode::ForgedActor));
    assert_eq!(push(&mut server, "writer", device(9), foreign), Some(RejectCode::NotAnOwner));
    assert_eq!(push(&mut server, "owner", device(9), Item::epoch(doc(1), bytes.clone())), None);
    assert_eq!(
        push(&mut server, "owner", device(9), Item::epoch(doc(1), bytes.clone())),
        Some(RejectCode::EpochPassed)
    );
    // Upon the old one: refused, and so is what follows it; upon the new one: taken.
    let mut phone = load(renewed(1), changes);
    let late = sealed(&mut phone, vec![put("b", 2)], &mut rng);
    let later = sealed(&mut phone, vec![put("b", 3)], &mut rng);
    assert_eq!(push(&mut server, "writer", device(5), of(&late)), Some(RejectCode::EpochPassed));
    assert_eq!(push(&mut server, "writer", device(5), of(&later)), Some(RejectCode::EpochPassed));
    let epoch = Epoch::decode(&bytes).unwrap();
    let outgoing = carried(&epoch, changes, &[late, later], &mut rng);
    for out in outgoing {
        assert_eq!(push(&mut server, "writer", device(5), of(&out.made.unwrap().bytes)), None);
    }
}

/// The bytes of an epoch with that many ids in one stretch of its map, all of them leading on from its first operation.
fn mapping(epoch: &Epoch, count: u64) -> Vec<u8> {
    fn number(out: &mut Vec<u8>, mut value: u64) {
        while value > 0x7f {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    let mut out = Vec::new();
    number(&mut out, epoch.number);
    number(&mut out, epoch.through);
    number(&mut out, epoch.changes.len() as u64);
    for change in &epoch.changes {
        number(&mut out, change.len() as u64);
        out.extend_from_slice(change);
    }
    out.extend_from_slice(owner().as_bytes());
    number(&mut out, 1);
    out.extend_from_slice(actor(5).as_bytes());
    // One stretch, which begins at 1 and leads to 1: a signed step of 1.
    for value in [1, 1, count, 2] {
        number(&mut out, value);
    }
    out
}

/// Whoever passes over two epochs walks their maps, and whoever takes one in builds what it says.
#[test]
fn one_that_says_more_than_it_has_is_refused_before_anything_is_made_of_it() {
    let mut rng = Rng(5);
    let mut document = Document::new(actor(9));
    let first = sealed(&mut document, vec![put("a", 1)], &mut rng);
    let epoch = begin(&[first], &mut rng);
    let operations = Epoch::check(device(9), &epoch.encode()).unwrap().operations;
    assert!(Epoch::check(device(9), &mapping(&epoch, operations)).is_ok());
    assert_eq!(Epoch::check(device(9), &mapping(&epoch, operations + 1)), Err(RejectCode::OperationRange));
    for count in [EPOCH_OPERATIONS_MAX + 1, 1 << 40, u64::MAX] {
        assert_eq!(Epoch::decode(&mapping(&epoch, count)), None);
        assert_eq!(Epoch::check(device(9), &mapping(&epoch, count)), Err(RejectCode::Malformed));
    }
}

#[test]
fn a_document_with_more_than_an_epoch_takes_keeps_its_history() {
    let mut rng = Rng(6);
    let mut document = Document::new(actor(9));
    let mut changes = vec![sealed(&mut document, vec![put("text", Value::Text(String::new()))], &mut rng)];
    let piece = "x".repeat(4_000);
    for round in 0..=EPOCH_OPERATIONS_MAX / 4_000 {
        changes.push(sealed(&mut document, vec![splice(round * 4_000, 0, &piece)], &mut rng));
    }
    let made = epoch::start(1, 0, &changes, owner(), &mut || rng.next());
    assert_eq!(made, Err(EpochError::TooLarge));
}

#[test]
fn of_several_in_one_push_the_first_is_looked_at() {
    let mut rng = Rng(7);
    let mut document = Document::new(actor(9));
    let first = sealed(&mut document, vec![put("a", 1)], &mut rng);
    let bytes = begin(&[first], &mut rng).encode();
    let items = vec![Item::epoch(doc(1), bytes.clone()), Item::epoch(doc(2), bytes)];
    let run = Run { device: device(9), base: FeedHead::start(SPACE, device(9)), items };
    let push = Push::check("owner".into(), run);
    assert!(matches!(push.candidates[0].checked, Checked::Epoch(..)));
    assert!(matches!(push.candidates[1].checked, Checked::Refused(RejectCode::EpochEarly)));
}
