//! Lists of documents and what becomes of edits: pages, and observers that hear of what comes, changes, goes and is saved.

use std::collections::BTreeSet;
use std::time::Duration;

use sync_client_ffi::{
    CollectionChanges, CollectionNews, Doc, DocId, EditChange, EditNews, EditState, RejectCode, Subscription, Value,
};
use sync_core::ledger::Role;
use sync_core::limits::DOCUMENT_PAGE_MAX;
use sync_tests::rig::{PATIENCE, Rig};
use sync_tests::seen::Seen;

use super::{Client, Pair, SpaceId, append, count};

fn hear(phone: &Client, space: SpaceId, collection: Option<&str>) -> (Seen<CollectionNews>, Subscription) {
    let seen = Seen::default();
    let told = seen.clone();
    (seen, phone.on_collection(space, collection, move |event| told.see(event.news.clone())))
}

/// All that was told in it, taken together; `None` if somebody was to look again.
fn changes(seen: &[(std::time::Instant, CollectionNews)]) -> Option<[BTreeSet<DocId>; 3]> {
    let mut all: [BTreeSet<DocId>; 3] = Default::default();
    for (_, news) in seen {
        let CollectionNews::Changed(CollectionChanges { added, changed, removed }) = news else { return None };
        for (all, some) in all.iter_mut().zip([added, changed, removed]) {
            all.extend(some);
        }
    }
    Some(all)
}

#[test]
fn a_long_list_is_read_page_by_page_and_arrives_on_the_other_phone() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    let made: Vec<DocId> =
        (0..50).map(|number| ann.create(space, if number % 2 == 0 { "even" } else { "odd" }).unwrap().id()).collect();
    ann.delete(space, made[4]).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    let all: Vec<DocId> = made.iter().copied().filter(|doc| *doc != made[4]).collect();
    let even: Vec<DocId> = made.iter().copied().step_by(2).filter(|doc| *doc != made[4]).collect();
    for phone in [&ann, &other] {
        for (collection, expected) in [(None, &all), (Some("even"), &even), (Some("none"), &Vec::new())] {
            for limit in [1, 7, expected.len().max(1), usize::MAX] {
                let (mut listed, mut after, mut pages) = (Vec::new(), None, 0);
                loop {
                    let page = phone.document_page(space, collection, after, limit).unwrap();
                    assert!(page.documents.len() <= limit);
                    assert!(page.documents.iter().all(|info| collection.is_none_or(|name| name == info.collection)));
                    listed.extend(page.documents.iter().map(|info| info.id));
                    pages += 1;
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                    assert_eq!(after, listed.last().copied());
                }
                assert_eq!(&listed, expected);
                assert_eq!(pages, expected.len().div_ceil(limit.min(DOCUMENT_PAGE_MAX)).max(1));
            }
            let plain = phone.documents(space, collection).unwrap();
            assert_eq!(&plain.iter().map(|info| info.id).collect::<Vec<_>>(), expected);
        }
    }
    assert_eq!(ann.document_page(space, None, None, 0).unwrap().documents.len(), 1, "no page is empty");
}

#[test]
fn a_page_has_a_bound_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let phone =
        Client::builder(folder.path().join("store")).identity("ann", sync_tests::rig::device(1)).open().unwrap();
    let space = phone.personal_space();
    for _ in 0..=DOCUMENT_PAGE_MAX {
        phone.create(space, "many").unwrap();
    }
    let page = phone.document_page(space, None, None, usize::MAX).unwrap();
    assert_eq!(page.documents.len(), DOCUMENT_PAGE_MAX);
    let rest = phone.document_page(space, Some("many"), page.next, usize::MAX).unwrap();
    assert_eq!((rest.documents.len(), rest.next), (1, None));
}

#[test]
fn what_comes_changes_and_goes_is_heard_of_here_and_there_by_collection() {
    let rig = Rig::start();
    let Pair { ann, other, space, doc, same } = Pair::start(&rig);
    let open = ann.create(space, "notes").unwrap();
    assert!(other.wait_for(space, ann.device(), ann.feed(space).unwrap().n, PATIENCE));
    let mut subscriptions = Vec::new();
    let mut observe = |phone, collection| {
        let (seen, subscription) = hear(phone, space, collection);
        subscriptions.push(subscription);
        seen
    };
    let notes = [observe(&ann, Some("notes")), observe(&other, Some("notes")), observe(&other, None)];
    let lists = [observe(&ann, Some("lists")), observe(&other, Some("lists"))];

    // One that is open there, one that is not, one that is new, one in another collection, one that goes.
    append(&doc, "a");
    count(&same, 1);
    open.edit(|edit| {
        edit.put("title", "closed there");
    })
    .unwrap();
    let fresh = ann.create(space, "notes").unwrap();
    fresh
        .edit(|edit| {
            edit.put("title", "new");
        })
        .unwrap();
    let list = ann.create(space, "lists").unwrap();
    let gone = ann.create(space, "notes").unwrap();
    ann.delete(space, gone.id()).unwrap();
    for seen in &notes {
        seen.wait(|seen| {
            let [added, changed, removed] = changes(seen).expect("nobody has to look again");
            let all = added.contains(&fresh.id())
                && [doc.id(), open.id()].iter().all(|doc| changed.contains(doc))
                && removed.contains(&gone.id());
            all.then_some(())
        });
    }
    for seen in &lists {
        seen.wait(|seen| {
            let [added, changed, removed] = changes(seen).expect("nobody has to look again");
            assert!(changed.is_empty() && removed.is_empty());
            (added == BTreeSet::from([list.id()])).then_some(())
        });
    }
    for seen in &notes[..2] {
        seen.wait(|seen| (!changes(seen)?[0].contains(&list.id())).then_some(()));
    }
    // What is told as changed shows so.
    assert_eq!(other.open_doc(space, open.id()).unwrap().get("title").unwrap(), Some(Value::from("closed there")));
    // Once nobody listens, nobody is told.
    drop(subscriptions);
    let before = notes[0].count();
    append(&doc, "b");
    assert!(ann.wait_acknowledged(space, PATIENCE));
    assert_eq!(notes[0].count(), before);
}

fn hear_edits(doc: &Doc) -> (Seen<EditNews>, Subscription) {
    let seen = Seen::default();
    let told = seen.clone();
    (seen, doc.on_edits(move |event| told.see(event.news.clone())))
}

/// The states that an edit was told to be in, in order.
fn path_of(seen: &[(std::time::Instant, EditNews)], edit: u64) -> Vec<EditState> {
    let all = seen.iter().flat_map(|(_, news)| match news {
        EditNews::Changed(changes) => changes.as_slice(),
        EditNews::LookAgain => panic!("too much for so few edits"),
    });
    all.filter(|EditChange { first, last, .. }| (*first..=*last).contains(&edit)).map(|change| change.state).collect()
}

#[test]
fn each_edit_is_heard_of_on_its_way_into_the_log() {
    let rig = Rig::start();
    let Pair { ann, other, space, doc, .. } = Pair::start(&rig);
    let elsewhere = ann.create(space, "notes").unwrap();
    let before = doc.edits().unwrap();
    let (seen, subscription) = hear_edits(&doc);
    for number in 0..20 {
        append(&doc, "a");
        elsewhere
            .edit(|edit| {
                edit.put("number", number);
            })
            .unwrap();
        if number % 7 == 0 {
            assert!(ann.wait_acknowledged(space, PATIENCE));
        }
    }
    let last = doc.edits().unwrap();
    assert_eq!(last, before + 20);
    let state = doc.wait_for_edit(last, PATIENCE).unwrap();
    assert!(matches!(state, EditState::Durable { .. }), "{state:?}");
    seen.wait(|seen| path_of(seen, last).last().is_some_and(|state| state.is_decided()).then_some(()));
    seen.wait(|seen| {
        for edit in before + 1..=last {
            let path = path_of(seen, edit);
            assert_eq!(path[..2], [EditState::Local, EditState::Sent], "edit {edit}");
            assert_eq!(path[2..], [doc.edit_state(edit).unwrap()], "edit {edit}");
        }
        assert!(path_of(seen, before).is_empty(), "what was before is not told");
        Some(())
    });
    // What others write is no edit of this device.
    let heard = seen.count();
    let theirs = other.open_doc(space, doc.id()).unwrap();
    append(&theirs, "b");
    assert!(ann.wait_for(space, other.device(), other.feed(space).unwrap().n, PATIENCE));
    assert!(doc.wait_until(PATIENCE, |doc| doc.text("body").unwrap().unwrap().ends_with('b')));
    assert_eq!(seen.count(), heard);
    drop(subscription);
}

#[test]
fn a_refused_edit_is_heard_of_and_waited_for() {
    let rig = Rig::start();
    let ann = rig.phone("ann", 1);
    let ben = rig.phone("ben", 2);
    let space = SpaceId::from_random([7; 16]);
    rig.set_role(space, "ann", Some(Role::Owner));
    rig.set_role(space, "ben", Some(Role::Writer));
    for phone in [&ann, &ben] {
        phone.add_space(space).unwrap();
    }
    let id = ann.create(space, "notes").unwrap().id();
    ann.sync_once(PATIENCE).unwrap();
    ben.sync_once(PATIENCE).unwrap();
    rig.set_role(space, "ben", Some(Role::Reader));
    let doc = ben.open_doc(space, id).unwrap();
    let (seen, subscription) = hear_edits(&doc);
    let edit = doc
        .edit(|edit| {
            edit.put("title", "mine");
        })
        .unwrap();
    // Nobody sends it yet.
    assert_eq!(doc.wait_for_edit(edit, Duration::from_millis(1)).unwrap(), EditState::Local);
    ben.sync_once(PATIENCE).unwrap();
    let refused = EditState::Rejected { code: RejectCode::NotAWriter };
    assert_eq!(doc.wait_for_edit(edit, PATIENCE).unwrap(), refused);
    seen.wait(|seen| (path_of(seen, edit) == [EditState::Local, EditState::Sent, refused]).then_some(()));
    drop(subscription);
}
