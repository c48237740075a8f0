//! Documents without what was refused.

use proptest::prelude::*;
use sync_core::code::RejectCode;
use sync_core::document::{Document, Op};
use sync_core::quarantine::{Left, State, Stored, again, rebuild};
use sync_core::reauthor::Why;
use sync_core::value::Value;

use crate::cases::{actor, cases};
use crate::edits;
use crate::reauthor::{History, accepted, hash, load, put, renewed, sealed};
use crate::rng::Rng;

fn stored(bytes: &[u8], state: State) -> Stored {
    Stored { hash: hash(bytes), bytes: bytes.to_vec(), state, copies: Vec::new() }
}

/// A counter that each of three own changes counts, and of which the middle one is refused.
fn counting() -> Vec<Stored> {
    let mut rng = Rng(3);
    let begin = vec![put("n", Value::Counter(0)), put("list", Value::List(vec![]))];
    let base = sealed(&mut Document::new(actor(9)), begin, &mut rng);
    let mut document = load(renewed(1), std::slice::from_ref(&base));
    let mut changes = vec![stored(&base, State::Settled)];
    for at in 0..3i64 {
        let ops = vec![Op::Increment { path: "n".into(), by: 1 }, put(&format!("k{at}"), at)];
        changes.push(stored(&sealed(&mut document, ops, &mut rng), State::Own));
    }
    changes
}

fn document(changes: &[Stored]) -> Document {
    let held: Vec<Vec<u8>> = changes
        .iter()
        .filter(|change| matches!(change.state, State::Settled | State::Own))
        .map(|change| change.bytes.clone())
        .collect();
    accepted(&held);
    load(renewed(7), &held)
}

/// Brings the changes to where a store has them behind a rebuild.
fn settle(changes: &mut Vec<Stored>, outgoing: Vec<sync_core::quarantine::Outgoing>) {
    for out in outgoing {
        changes[out.index].state = State::Out;
        if let Some(made) = out.made {
            changes[out.index].copies.push((made.hash, made.indices.clone()));
            changes.push(stored(&made.bytes, State::Own));
        }
    }
}

#[test]
fn the_refused_change_goes_and_those_behind_it_are_made_anew() {
    for refused_too in [false, true] {
        let mut changes = counting();
        changes[2].state = State::Refused(RejectCode::Validation);
        if refused_too {
            changes[3].state = State::Refused(RejectCode::DependencyRefused);
        }
        let outgoing = rebuild(&changes, renewed(7), true, &mut || 5).unwrap();
        assert_eq!(outgoing.iter().map(|out| out.index).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((outgoing[0].code, &outgoing[0].left), (RejectCode::Validation, &Left::Whole));
        assert!(outgoing[1].left.is_nothing() && outgoing[1].made.is_some());
        settle(&mut changes, outgoing);
        let shown = document(&changes);
        assert_eq!(
            (shown.get("n"), shown.get("k1"), shown.get("k2")),
            (Some(Value::Counter(2)), None, Some(2i64.into()))
        );
        // Once more comes to nothing.
        assert_eq!(rebuild(&changes, renewed(8), true, &mut || 6).unwrap(), []);
        let made = again(&changes, renewed(7), 2, None, true, &mut || 7).unwrap();
        changes.push(stored(&made.change.unwrap().bytes, State::Own));
        assert_eq!(document(&changes).get("n"), Some(Value::Counter(3)));
    }
}

#[test]
fn what_was_made_anew_and_refused_then_is_made_anew_again_from_there() {
    let mut changes = counting();
    changes[1].state = State::Refused(RejectCode::Validation);
    let outgoing = rebuild(&changes, renewed(7), true, &mut || 5).unwrap();
    settle(&mut changes, outgoing);
    // Of the two copies the first is refused.
    changes[4].state = State::Refused(RejectCode::Validation);
    let outgoing = rebuild(&changes, renewed(8), true, &mut || 6).unwrap();
    settle(&mut changes, outgoing);
    let shown = document(&changes);
    assert_eq!((shown.get("n"), shown.get("k2")), (Some(Value::Counter(1)), Some(2i64.into())));
    for (index, count) in [(1, 2), (4, 3)] {
        let made = again(&changes, renewed(8), index, None, true, &mut || 7).unwrap();
        changes.push(stored(&made.change.unwrap().bytes, State::Own));
        assert_eq!(document(&changes).get("n"), Some(Value::Counter(count)));
    }
}

#[test]
fn a_change_refused_for_a_dependency_that_is_not_known_to_be_refused_is_kept_and_not_made_anew_for_ever() {
    let mut changes = counting();
    changes[1].state = State::Refused(RejectCode::DependencyRefused);
    let outgoing = rebuild(&changes, renewed(7), true, &mut || 5).unwrap();
    assert_eq!((outgoing[0].made.clone(), &outgoing[0].left), (None, &Left::Whole));
    assert_eq!(outgoing.len(), 3);
}

#[test]
fn where_the_document_itself_was_refused_everything_is_kept() {
    let mut changes = counting();
    changes[1].state = State::Refused(RejectCode::UnknownDocument);
    let outgoing = rebuild(&changes, renewed(7), false, &mut || 5).unwrap();
    assert!(outgoing.iter().all(|out| out.made.is_none() && out.left == Left::Whole));
    assert_eq!(outgoing.len(), 3);
}

#[test]
fn what_was_written_since_is_replaced_only_where_somebody_says_so() {
    let mut rng = Rng(3);
    let begin = vec![put("k", 1i64), put("m", Value::Map([("inner".to_owned(), 1i64.into())].into()))];
    let base = sealed(&mut Document::new(actor(9)), begin, &mut rng);
    let mut writing = load(renewed(1), std::slice::from_ref(&base));
    let inner = |value: i64| Op::Put { path: sync_core::path!["m", "inner"], value: value.into() };
    let refused = sealed(&mut writing, vec![put("k", 2i64), put("k", 3i64), put("new", 4i64), inner(5)], &mut rng);
    let mut changes = vec![stored(&base, State::Settled), stored(&refused, State::Refused(RejectCode::Validation))];
    let outgoing = rebuild(&changes, renewed(7), true, &mut || 5).unwrap();
    settle(&mut changes, outgoing);
    // Nothing was written since.
    let made = again(&changes, renewed(7), 1, None, true, &mut || 6).unwrap();
    assert_eq!(made.left_out, []);
    // The key was.
    let later = sealed(&mut load(renewed(8), std::slice::from_ref(&base)), vec![put("k", 9i64)], &mut rng);
    changes.push(stored(&later, State::Own));
    let made = again(&changes, renewed(7), 1, None, true, &mut || 6).unwrap();
    let left: Vec<(u32, Why)> = made.left_out.iter().map(|left| (left.index, left.why)).collect();
    assert_eq!(left, [(0, Why::Replaced), (1, Why::Replaced)]);
    changes.push(stored(&made.change.unwrap().bytes, State::Own));
    let shown = document(&changes);
    assert_eq!((shown.get("k"), shown.get("new")), (Some(9i64.into()), Some(4i64.into())));
    let made = again(&changes, renewed(7), 1, Some(&[0, 1]), false, &mut || 7).unwrap();
    changes.push(stored(&made.change.unwrap().bytes, State::Own));
    assert_eq!(document(&changes).get("k"), Some(3i64.into()));
}

proptest! {
    #![proptest_config(cases(200))]

    /// A phone that was rolled back: its unsent changes are made anew beside whatever its feed was written on with elsewhere.
    #[test]
    fn unsent_changes_are_made_anew_beside_what_another_life_wrote(seed: u64, merged: bool) {
        let mut rng = Rng(seed);
        let history = History::random(&mut rng, merged);
        // The other life: the same actor, from the same state, with other edits.
        let mut elsewhere = load(renewed(1), &history.base);
        let mut theirs = history.settled();
        for _ in 0..rng.below(4) {
            let op = edits::op(&elsewhere.get(sync_core::value::Path::root()).unwrap(), &mut rng);
            theirs.push(sealed(&mut elsewhere, vec![op], &mut rng));
        }
        let mut changes: Vec<Stored> = history.base.iter().map(|bytes| stored(bytes, State::Settled)).collect();
        changes.extend(history.own.iter().map(|bytes| stored(bytes, State::Unsent)));
        changes.extend(theirs[history.base.len()..].iter().map(|bytes| stored(bytes, State::Settled)));
        let outgoing = rebuild(&changes, renewed(7), true, &mut || rng.next()).unwrap();
        prop_assert_eq!(outgoing.len(), history.own.len());
        prop_assert!(outgoing.iter().all(|out| out.left.is_nothing()));
        settle(&mut changes, outgoing);
        document(&changes);
        prop_assert_eq!(rebuild(&changes, renewed(8), true, &mut || rng.next()).unwrap(), vec![]);
    }
}
