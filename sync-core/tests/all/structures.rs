//! Structures: the same bytes wherever they are made, taken from anybody, in effect once; and nobody else can write as their author.

use proptest::prelude::*;
use sync_core::batch::{Budget, Replica};
use sync_core::check::{Checked, Push};
use sync_core::code::RejectCode;
use sync_core::document::{Document, Op, fold};
use sync_core::feed::{Item, Run};
use sync_core::guard;
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::limits::{DOCUMENT_ACTORS_OF_DEVICE_MAX, DOCUMENT_STRUCTURES_MAX, SCHEMA_VERSIONS_MAX};
use sync_core::path;
use sync_core::quarantine::{Left, State, Stored, again, rebuild};
use sync_core::structure::{Mark, Schema, SchemaError, Version, is_repeatable, is_structure};
use sync_core::value::{Path, Value};
use sync_core::wire::{ItemStatus, PushAnswer};

use crate::cases::{SPACE, actor, cases, device, doc};
use crate::reauthor::{accepted, hash, load, put, renewed, sealed};
use crate::rng::Rng;
use crate::server::Server;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn version(operations: Vec<Op>) -> Version {
    Version { operations, writers_from: 0 }
}

/// A note: the second version adds a counter, and a list within a map of the first.
fn note(versions: usize) -> Schema {
    let first = vec![put("title", ""), put("body", text("")), put("about", Value::Map([].into()))];
    let list = Op::Put { path: path!["about", "tags"], value: Value::List(vec![]) };
    let all = [version(first), version(vec![put("likes", Value::Counter(0)), list]), version(Vec::new())];
    Schema::new("notes", &all[..versions]).unwrap()
}

fn bytes(schema: &Schema) -> Vec<Vec<u8>> {
    schema.structures().iter().map(|structure| structure.bytes.clone()).collect()
}

fn push(number: u8, server: &Server, items: Vec<Item>) -> Push {
    let device = device(number);
    Push::check("writer".to_owned(), Run { device, base: server.acked(device), items })
}

fn results(answer: PushAnswer) -> Vec<Result<(), RejectCode>> {
    let PushAnswer::Taken { results, need, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(need, []);
    results
        .into_iter()
        .map(|result| if result.status == ItemStatus::Applied { Ok(()) } else { Err(result.code.unwrap()) })
        .collect()
}

fn item(bytes: &[u8]) -> Item {
    Item::change(doc(1), hash(bytes), bytes.to_vec())
}

fn create() -> Item {
    Item::create(doc(1), "notes".to_owned())
}

/// Old phones hold these bytes: another encoding would make other objects, and shadow theirs.
#[test]
fn the_bytes_are_those_that_shipped() {
    let hashes: Vec<String> = note(3).structures().iter().map(|structure| structure.hash.to_string()).collect();
    assert_eq!(
        hashes,
        [
            "cc6dfdcb00f1952af4047e194086f7d022a93f96686e5fab1de76ccc75e063be",
            "f284190be13452bb79b592a956e16775d793346cbfaf50e3e1b2e4796443e9da",
            "71f28f165f4f7e4a6dea622e7d1b91ff90fbdc110afe4ee25ff3fc92de278d8f",
        ]
    );
    let space = SpaceId::from_bytes([7; 16]);
    assert_eq!(DocId::named(space, "settings", "app").to_string(), "b1052dbb-17d1-8b67-9cf5-5d49f86ceeaf");
}

#[test]
fn a_schema_is_the_same_however_long_it_has_become() {
    let (one, three) = (note(1), note(3));
    assert_eq!(one.structures()[0], three.structures()[0]);
    for structure in three.structures() {
        assert!(is_structure(&structure.bytes));
        assert_eq!(structure.hash, hash(&structure.bytes));
    }
    let (document, applied) = Document::load(actor(1), None, &bytes(&three)).unwrap();
    assert_eq!(applied.left_out, []);
    assert_eq!(document.schema_version(), 3);
    assert_eq!(document.get(path!["about", "tags"]), Some(Value::List(vec![])));
    assert_eq!(three.missing(&document).len(), 0);
    let (document, _) = Document::load(actor(1), None, &bytes(&one)).unwrap();
    assert_eq!(three.missing(&document).iter().map(|structure| structure.mark.version).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn what_cannot_be_is_no_schema() {
    let two = |writers_from| [version(Vec::new()), Version { operations: Vec::new(), writers_from }];
    assert_eq!(Schema::new("", &two(0)), Err(SchemaError::Collection));
    assert_eq!(Schema::new("notes", &[]), Err(SchemaError::Versions));
    let many = vec![Version::default(); usize::from(SCHEMA_VERSIONS_MAX) + 1];
    assert_eq!(Schema::new("notes", &many), Err(SchemaError::Versions));
    assert_eq!(Schema::new("notes", &two(3)), Err(SchemaError::Writers { version: 2, writers_from: 3 }));
    let missing = version(vec![Op::Increment { path: "n".into(), by: 1 }]);
    assert!(matches!(Schema::new("notes", &[missing]), Err(SchemaError::Operation { version: 1, .. })));
    let large = version(vec![put("body", text(&"x".repeat(100_000)))]);
    assert_eq!(Schema::new("notes", &[large]), Err(SchemaError::TooLarge { version: 1 }));
    // Who may write is never asked for less.
    let schema = Schema::new("notes", &[two(1)[1].clone(), two(0)[1].clone()]).unwrap();
    assert_eq!(schema.structures()[1].mark, Mark { version: 2, writers_from: 1 });
}

#[test]
fn everybody_may_bring_it_and_it_takes_effect_once() {
    let schema = note(2);
    let mut server = Server::new(SPACE);
    let items: Vec<Item> = [create()].into_iter().chain(bytes(&schema).iter().map(|bytes| item(bytes))).collect();
    for number in 1..=3 {
        let mut rng = Rng(number.into());
        let mut items = items.clone();
        let mut document = load(actor(number), &bytes(&schema));
        items.push(item(&sealed(&mut document, vec![Op::Increment { path: "likes".into(), by: 1 }], &mut rng)));
        let push = push(number, &server, items);
        assert_eq!(results(server.push(push)), [Ok(()); 4]);
    }
    let operations: u64 =
        [bytes(&schema)].iter().flatten().map(|bytes| guard::inspect(bytes).unwrap().operations).sum();
    let changes: Vec<Vec<u8>> =
        server.log.iter().filter(|entry| entry.change.is_some()).filter_map(|entry| entry.payload.clone()).collect();
    assert_eq!(changes.len(), 9, "everybody's feed has everything");
    let (document, applied) = Document::load(actor(9), None, &changes).unwrap();
    assert_eq!((applied.left_out, document.get("likes")), (vec![], Some(Value::Counter(3))));
    assert_eq!(server.facts(doc(1)), (operations + 3, 5), "counted once");
}

/// Its author cannot be chosen, so nobody writes in its name, and nobody can make another change of it.
#[test]
fn a_forged_structure_is_refused() {
    let schema = note(2);
    let check = |bytes: &[u8]| {
        let item = Item::change(doc(1), hash_of(bytes), bytes.to_vec());
        let start = Server::new(SPACE).acked(device(1));
        let push = Push::check("writer".to_owned(), Run { device: device(1), base: start, items: vec![item] });
        push.candidates[0].checked.clone()
    };
    for good in bytes(&schema) {
        assert!(matches!(check(&good), Checked::Change(..)));
        let author = guard::inspect(&good).unwrap().actor;
        assert!(author.is_structure());
        let mut refused = 0;
        let expanded = automerge::Change::try_from(good.as_slice()).unwrap().decode();
        let forge = |change: &dyn Fn(&mut automerge::ExpandedChange)| {
            let mut forged = expanded.clone();
            change(&mut forged);
            automerge::Change::from(forged).raw_bytes().to_vec()
        };
        let forged = [
            forge(&|change| change.time += 1),
            forge(&|change| change.time = 1 << 16 | 7),
            forge(&|change| drop(change.operations.pop())),
            forge(&|change| {
                change.deps.push(automerge::ChangeHash([7; 32]));
                change.deps.sort();
            }),
            forge(&|change| {
                let mut actor = *author.as_bytes();
                actor[19] ^= 1;
                change.actor_id = automerge::ActorId::from(actor.as_slice());
            }),
            // A device whose id looks like a structure's author gains nothing.
            forge(&|change| change.seq = 2),
        ];
        for bytes in forged {
            if bytes != good {
                refused += 1;
                assert!(matches!(check(&bytes), Checked::Refused(_)), "{:?}", check(&bytes));
            }
        }
        assert_eq!(refused, 6);
    }
    let pretender = DeviceId::from_slice(&guard::inspect(&bytes(&schema)[0]).unwrap().actor.as_bytes()[..16]).unwrap();
    let mut document = Document::new(Actor::new(pretender, [1; 4]));
    document.edit(vec![put("a", 1)], &mut || 1).unwrap();
    let sealed = document.seal(&mut || 1).unwrap();
    let run = Run {
        device: pretender,
        base: Server::new(SPACE).acked(pretender),
        items: vec![Item::change(doc(1), sealed.hash, sealed.bytes)],
    };
    let push = Push::check("writer".to_owned(), run);
    assert_eq!(push.candidates[0].checked, Checked::Refused(RejectCode::ForgedActor));
}

fn hash_of(bytes: &[u8]) -> Hash {
    automerge::Change::try_from(bytes).unwrap().hash().into()
}

/// They do not use up the actors of the device that brings them, and there are bounds all the same.
#[test]
fn structures_have_a_quota_of_their_own() {
    let mut server = Server::new(SPACE);
    let first = push(1, &server, vec![create()]);
    server.push(first);
    for number in 0..=DOCUMENT_STRUCTURES_MAX {
        let schema = Schema::new("notes", &[version(vec![put(&format!("k{number}"), 1)])]).unwrap();
        let next = push(1, &server, vec![item(&schema.structures()[0].bytes)]);
        let expected = if number < DOCUMENT_STRUCTURES_MAX { Ok(()) } else { Err(RejectCode::DocumentActorsQuota) };
        assert_eq!(results(server.push(next)), [expected]);
    }
    for number in 0..=DOCUMENT_ACTORS_OF_DEVICE_MAX {
        let mut document = Document::new(Actor::new(device(1), [number as u8; 4]));
        let next = push(1, &server, vec![item(&sealed(&mut document, vec![put("a", 1)], &mut Rng(number)))]);
        let fits = number < DOCUMENT_ACTORS_OF_DEVICE_MAX;
        assert_eq!(results(server.push(next))[0].is_ok(), fits);
    }
}

/// What was made upon a structure must not depend on whose copy the app's hook looked at.
#[test]
fn what_a_hook_does_not_want_is_taken_where_it_is_already() {
    let schema = note(1);
    let mut server = Server::new(SPACE);
    let unwanted = |server: &Server| {
        let mut push = push(1, server, vec![item(&schema.structures()[0].bytes)]);
        let Checked::Change(facts, bytes) = push.candidates[0].checked.clone() else { panic!("a change") };
        push.candidates[0].checked = Checked::Unwanted(facts, bytes);
        push
    };
    let first = push(1, &server, vec![create()]);
    server.push(first);
    let next = unwanted(&server);
    assert_eq!(results(server.push(next)), [Err(RejectCode::Validation)]);
    let other = push(2, &server, vec![item(&schema.structures()[0].bytes)]);
    assert_eq!(results(server.push(other)), [Ok(())]);
    let next = unwanted(&server);
    assert_eq!(results(server.push(next)), [Ok(())]);
}

#[test]
fn an_upgrade_replaces_nothing_that_was_written() {
    let old = Schema::new("notes", &[version(vec![put("a", 1)])]).unwrap();
    let new = Schema::new("notes", &[version(vec![put("a", 1)]), version(vec![put("b", "first"), put("c", "first")])]);
    let mut rng = Rng(1);
    let mut document = load(actor(1), &bytes(&old));
    for _ in 0..3 {
        sealed(&mut document, vec![put("a", 2), put("b", "written")], &mut rng);
    }
    let new = new.unwrap();
    let missing: Vec<&[u8]> = new.missing(&document).iter().map(|structure| structure.bytes.as_slice()).collect();
    document.apply(&missing).unwrap();
    let get = |key: &str| document.get(key).unwrap().as_str().map(str::to_owned);
    assert_eq!((get("b").as_deref(), get("c").as_deref()), (Some("written"), Some("first")));
    assert_eq!(document.schema_version(), 2);
}

#[test]
fn a_snapshot_knows_its_structures() {
    let schema = note(3);
    let mut document = load(actor(1), &bytes(&schema));
    sealed(&mut document, vec![put("title", "x")], &mut Rng(1));
    let snapshot = document.save().unwrap();
    let none: [&[u8]; 0] = [];
    let (loaded, _) = Document::load(actor(2), Some(&snapshot), &none).unwrap();
    assert_eq!(loaded.structures().collect::<Vec<_>>(), document.structures().collect::<Vec<_>>());
    assert_eq!(loaded.schema_version(), 3);
    assert_eq!(loaded.copy().unwrap().schema_version(), 3);
    // One that comes again changes nothing, be it in front of a snapshot or in one fold with it.
    let all: Vec<Vec<u8>> = bytes(&schema).into_iter().chain(bytes(&schema)).collect();
    assert_eq!(fold(Some(&snapshot), &all).unwrap().heads, document.heads());
    // Nobody made it: the history names no device.
    let authors: Vec<bool> = document.history(10).iter().map(|revision| revision.actor.is_some()).collect();
    assert_eq!(authors, [true, false, false, false]);
    assert_eq!(Document::new(actor(1)).schema_version(), 0);
}

#[test]
fn a_version_that_comes_back_keeps_what_a_schema_brought_since() {
    let mut rng = Rng(2);
    let mut document = load(actor(1), &bytes(&note(1)));
    sealed(&mut document, vec![put("title", "before")], &mut rng);
    let before = document.heads();
    document.apply(&bytes(&note(2))).unwrap();
    sealed(&mut document, vec![put("title", "after"), Op::Increment { path: "likes".into(), by: 5 }], &mut rng);
    let ops = document.restoring(Path::root(), &before).unwrap();
    document.edit(ops, &mut || 1).unwrap();
    assert_eq!(document.get("title").unwrap().as_str(), Some("before"));
    assert_eq!(document.get("likes"), Some(Value::Counter(0)), "the counter that the schema brought is there");
    assert_eq!(document.get(path!["about", "tags"]), Some(Value::List(vec![])));
}

#[test]
fn what_two_devices_may_do_at_once() {
    assert!(is_repeatable(&put("a", "text")) && is_repeatable(&Op::Delete { path: "a".into() }));
    for value in [Value::Map([].into()), Value::List(vec![]), text(""), Value::Counter(0)] {
        assert!(!is_repeatable(&put("a", value)));
    }
    assert!(!is_repeatable(&Op::Increment { path: "a".into(), by: 1 }));
}

fn stored(bytes: &[u8], state: State) -> Stored {
    Stored { hash: hash(bytes), bytes: bytes.to_vec(), state, copies: Vec::new() }
}

/// Two structures and an edit that needs the second one.
fn three(structures: State, edit: State) -> Vec<Stored> {
    let schema = bytes(&note(2));
    let mut document = load(actor(1), &schema);
    let counted = sealed(&mut document, vec![Op::Increment { path: "likes".into(), by: 1 }], &mut Rng(3));
    vec![stored(&schema[0], structures), stored(&schema[1], structures), stored(&counted, edit)]
}

#[test]
fn what_is_unsent_is_sent_again_as_it_is() {
    let changes = three(State::Unsent, State::Unsent);
    let outgoing = rebuild(&changes, renewed(1), true, &mut || 5).unwrap();
    let mut made: Vec<(usize, Vec<u8>)> =
        outgoing.iter().map(|out| (out.index, out.made.clone().expect("made again").bytes)).collect();
    made.sort();
    assert_eq!((&made[0].1, &made[1].1), (&changes[0].bytes, &changes[1].bytes));
    assert_ne!(made[2].1, changes[2].bytes, "an edit is made anew");
    assert!(outgoing.iter().all(|out| out.left.is_nothing()));
    let all: Vec<Vec<u8>> = made.into_iter().map(|(_, bytes)| bytes).collect();
    accepted(&all);
    assert_eq!(load(actor(7), &all).get("likes"), Some(Value::Counter(1)));
}

#[test]
fn what_somebody_else_has_brought_holds() {
    // The other device's copies came behind the edit.
    for state in [State::Unsent, State::Refused(RejectCode::Validation)] {
        let mut changes = three(state, State::Own);
        let others: Vec<Stored> = changes[..2].iter().map(|change| stored(&change.bytes, State::Settled)).collect();
        changes.extend(others);
        let outgoing = rebuild(&changes, renewed(1), true, &mut || 5).unwrap();
        assert_eq!(outgoing.iter().map(|out| out.index).collect::<Vec<_>>(), [0, 1], "the edit stays as it is");
        assert!(outgoing.iter().all(|out| out.made.is_none() && out.left.is_nothing()));
    }
}

#[test]
fn what_was_refused_is_offered_again_as_it_is() {
    let refused = State::Refused(RejectCode::NotAWriter);
    let mut changes = three(refused, refused);
    let outgoing = rebuild(&changes, renewed(1), true, &mut || 5).unwrap();
    assert_eq!(outgoing.len(), 3);
    assert!(outgoing.iter().all(|out| out.made.is_none() && out.left == Left::Whole));
    for change in &mut changes {
        change.state = State::Out;
    }
    let second = again(&changes, renewed(1), 1, None, true, &mut || 5).unwrap();
    assert!(second.change.is_none() && !second.left_out.is_empty(), "the first one is still out");
    for index in 0..3 {
        let made = again(&changes, renewed(1), index, None, true, &mut || 5).unwrap();
        let change = made.change.expect("made again");
        assert_eq!(change.bytes == changes[index].bytes, index < 2);
        changes[index].copies.push((change.hash, change.indices));
        changes.push(stored(&change.bytes, State::Own));
        assert_eq!(made.left_out, []);
    }
    let held: Vec<Vec<u8>> = changes[3..].iter().map(|change| change.bytes.clone()).collect();
    accepted(&held);
    assert_eq!(load(actor(7), &held).get("likes"), Some(Value::Counter(1)));
    // And refused once more.
    changes[3..].iter_mut().for_each(|change| change.state = refused);
    let outgoing = rebuild(&changes, renewed(2), true, &mut || 5).unwrap();
    assert!(outgoing.iter().all(|out| out.made.is_none() && out.left == Left::Whole));
}

/// One phone's own edits: what is in its text, its list and its counter.
fn write(replica: &mut Replica, doc: DocId, number: u8, rng: &mut Rng) -> (String, i64) {
    let (mut typed, mut counted) = (String::new(), 0);
    for _ in 0..=rng.below(5) {
        let word = format!("{number}{}", rng.below(10));
        let mut ops = vec![
            Op::Splice { path: "body".into(), at: 0, delete: 0, insert: word.clone() },
            Op::Insert { path: path!["about", "tags", 0], values: vec![Value::Str(word.clone())] },
        ];
        if rng.chance(50) {
            ops.push(Op::Increment { path: "likes".into(), by: number.into() });
            counted += i64::from(number);
        }
        typed.insert_str(0, &word);
        replica.edit(doc, ops, &mut || rng.next()).unwrap();
    }
    (typed, counted)
}

proptest! {
    #![proptest_config(cases(60))]

    /// Phones make the same document offline, some of them with an older app that is updated later, and write in it.
    #[test]
    fn what_is_made_on_several_phones_is_one(seed: u64) {
        let mut rng = Rng(seed);
        let day = DocId::named(SPACE, "notes", "2026-11-27");
        let mut replicas: Vec<Replica> = (1..=3).map(|at| Replica::new(SPACE, device(at), [at; 4])).collect();
        let (mut typed, mut counted) = (Vec::new(), 0);
        for (replica, number) in replicas.iter_mut().zip(1..) {
            replica.create(day, "notes").unwrap();
            for versions in 1 + rng.below(2)..=3 {
                replica.upgrade(day, &note(versions)).unwrap();
            }
            let (word, count) = write(replica, day, number, &mut rng);
            typed.push(word);
            counted += count;
        }
        for _ in 0..20 {
            let (from, to) = (rng.below(3), rng.below(3));
            if from != to {
                let budget = Budget { bytes_max: 1 + rng.below(3000), changes_max: 1 + rng.below(9) };
                while let Some(batch) = replicas[from].next_batch(replicas[to].heads(), budget) {
                    let received = replicas[to].receive(batch).unwrap();
                    prop_assert_eq!(received.refused, []);
                    prop_assert_eq!(received.left_out, []);
                }
            }
        }
        for at in [0, 1, 2, 0, 1] {
            let budget = Budget { bytes_max: 1 << 20, changes_max: 1000 };
            while let Some(batch) = replicas[at].next_batch(replicas[(at + 1) % 3].heads(), budget) {
                replicas[(at + 1) % 3].receive(batch).unwrap();
            }
        }
        let saved: Vec<Vec<u8>> =
            replicas.iter().map(|replica| replica.document(day).unwrap().canonical_save().unwrap()).collect();
        prop_assert!(saved.iter().all(|bytes| *bytes == saved[0]));
        let document = replicas[0].document(day).unwrap();
        prop_assert_eq!(document.get("likes"), Some(Value::Counter(counted)));
        let body = document.text("body").unwrap();
        prop_assert_eq!(body.len(), typed.iter().map(String::len).sum::<usize>());
        // Words at the same place may stand between each other's; each phone's are in their order.
        let words: Vec<&str> = body.as_bytes().chunks(2).map(|word| std::str::from_utf8(word).unwrap()).collect();
        for (own, number) in typed.iter().zip(1..) {
            let number = format!("{number}");
            let found: String = words.iter().filter(|word| word.starts_with(&number)).copied().collect();
            prop_assert_eq!(&found, own);
        }
        prop_assert_eq!(document.length(path!["about", "tags"]), Some(body.len() as u64 / 2));
        prop_assert_eq!(document.schema_version(), 3);
        prop_assert!(document.structures().count() == 3);
    }
}
