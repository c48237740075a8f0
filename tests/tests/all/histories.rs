//! What documents were, and elements that move within lists.

use std::collections::BTreeMap;

use sync_client_ffi::{Client, ClientError, Doc, Expand, Hash, SpaceId, Value, path};
use sync_core::document::EditError;
use sync_core::limits::HISTORY_MAX;
use sync_tests::rig::{PATIENCE, Rig, Seeded};

fn items(doc: &Doc) -> Vec<String> {
    let Some(Value::List(items)) = doc.get("items").unwrap() else { panic!("a list") };
    items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// Two phones of one user, and a document with that list on both.
fn pair(rig: &Rig, list: Vec<Value>) -> (Client, Client, SpaceId, Doc, Doc) {
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    let doc = ann.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("items", Value::List(list));
    })
    .unwrap();
    ann.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    let same = other.open_doc(space, doc.id()).unwrap();
    (ann, other, space, doc, same)
}

fn exchange(phones: [&Client; 2]) {
    for phone in [phones[0], phones[1], phones[0]] {
        phone.sync_once(PATIENCE).unwrap();
    }
}

fn letters(text: &str) -> Vec<Value> {
    text.chars().map(|letter| Value::from(letter.to_string())).collect()
}

#[test]
fn an_element_moves_to_the_index_that_was_said() {
    let rig = Rig::start();
    let (ann, other, _, doc, same) = pair(&rig, letters("abcde"));
    let mut model: Vec<String> = items(&doc);
    let mut random = Seeded::new("moves");
    for _ in 0..100 {
        let moves: Vec<(u64, u64)> = (0..=random.below(2)).map(|_| (random.below(5), random.below(5))).collect();
        for (from, to) in &moves {
            let moved = model.remove(*from as usize);
            model.insert(*to as usize, moved);
        }
        // Moves see what came before them in the edit.
        doc.edit(|edit| {
            if random.below(2) == 0 {
                edit.put("touched", 1);
            }
            for (from, to) in &moves {
                edit.move_element("items", *from, *to);
            }
        })
        .unwrap();
        assert_eq!(items(&doc), model, "{moves:?}");
    }
    exchange([&ann, &other]);
    assert_eq!(items(&same), model);

    let edits = doc.edits().unwrap();
    let nowhere = doc.edit(|edit| {
        edit.move_element("items", 2, 2);
    });
    assert_eq!((nowhere.unwrap(), doc.edits().unwrap()), (edits, edits), "nothing is written");
    for (list, from, to) in [("items", 5, 0), ("items", 0, 5), ("touched", 0, 1), ("missing", 0, 0)] {
        let refused = doc.edit(|edit| {
            edit.put("not", "this").move_element(list, from, to);
        });
        let expected = matches!(
            refused,
            Err(ClientError::Edit(EditError::OutOfRange { .. } | EditError::NotFound { expected: "list", .. }))
        );
        assert!(expected, "{refused:?}");
        assert_eq!((doc.get("not").unwrap(), items(&doc)), (None, model.clone()));
    }
}

#[test]
fn what_moves_takes_along_what_is_in_it_and_its_marks() {
    let rig = Rig::start();
    let inner = |text: &str| {
        let fields = [("text".to_owned(), Value::Text(text.into())), ("count".to_owned(), Value::Counter(3))];
        Value::Map(BTreeMap::from(fields))
    };
    let (ann, other, _, doc, same) = pair(&rig, vec![inner("first"), inner("bold words"), "x".into()]);
    doc.edit(|edit| {
        edit.mark(path!["items", 1, "text"], 0..4, "bold", true, Expand::After)
            .increment(path!["items", 1, "count"], 2)
            .move_element("items", 1, 2);
    })
    .unwrap();
    assert_eq!(doc.get(path!["items", 2, "count"]).unwrap(), Some(Value::Counter(5)));
    assert_eq!(doc.text(path!["items", 2, "text"]).unwrap().as_deref(), Some("bold words"));
    exchange([&ann, &other]);
    assert_eq!(same.get("items").unwrap(), doc.get("items").unwrap());
    let saved = same.canonical_save().unwrap();
    let actor = sync_core::id::Actor::new(sync_tests::rig::device(9), [0; 4]);
    let loaded = sync_core::document::Document::load(actor, Some(&saved), &[] as &[Vec<u8>]).unwrap().0;
    let marks = loaded.marks(path!["items", 2, "text"]).unwrap();
    assert_eq!(marks.len(), 1);
    assert_eq!((marks[0].start, marks[0].end, marks[0].name.as_str()), (0, 4, "bold"));
}

/// What the documentation says of edits at the same time is so.
#[test]
fn at_the_same_time_edits_of_what_moves_are_lost_deletions_do_not_reach_it_and_two_moves_double_it() {
    let rig = Rig::start();
    let (ann, other, _, doc, same) = pair(&rig, vec![Value::Text("a".into()), "b".into(), "c".into()]);
    doc.edit(|edit| {
        edit.move_element("items", 0, 2);
    })
    .unwrap();
    same.edit(|edit| {
        edit.splice(path!["items", 0], 1, 0, " lost").delete(path!["items", 1]);
    })
    .unwrap();
    exchange([&ann, &other]);
    assert_eq!(items(&doc), ["c", "a"]);
    assert_eq!(items(&same), ["c", "a"]);

    doc.edit(|edit| {
        edit.move_element("items", 0, 1);
    })
    .unwrap();
    same.edit(|edit| {
        edit.move_element("items", 0, 1);
    })
    .unwrap();
    exchange([&ann, &other]);
    let twice = items(&doc);
    assert_eq!(twice.iter().filter(|item| *item == "c").count(), 2);
    assert_eq!(items(&same), twice);
    same.edit(|edit| {
        edit.delete(path!["items", 0]);
    })
    .unwrap();
    let gone = twice[0].clone();
    doc.edit(|edit| {
        edit.move_element("items", 0, 2);
    })
    .unwrap();
    exchange([&ann, &other]);
    assert_eq!(items(&doc).last(), Some(&gone), "it was moved away in time");
    assert_eq!(items(&doc), items(&same));
}

#[test]
fn the_history_names_each_change_once_newest_first_and_shows_each_state() {
    let rig = Rig::start();
    let (ann, other, _, doc, same) = pair(&rig, letters("a"));
    let mut states: Vec<(Vec<Hash>, String)> = vec![(doc.heads().unwrap(), doc.json(path!()).unwrap().unwrap())];
    for round in 0..6i64 {
        // Branches that meet again.
        for (phone, doc) in [(1i64, &doc), (2, &same)] {
            doc.edit(|edit| {
                edit.put("round", round * phone).insert(path!["items", 0], letters("xy"));
            })
            .unwrap();
            states.push((doc.heads().unwrap(), doc.json(path!()).unwrap().unwrap()));
        }
        exchange([&ann, &other]);
        states.push((doc.heads().unwrap(), doc.json(path!()).unwrap().unwrap()));
        assert_eq!(doc.heads().unwrap(), same.heads().unwrap());
    }
    for (doc, device) in [(&doc, ann.device()), (&same, other.device())] {
        let history = doc.history(usize::MAX).unwrap();
        assert_eq!(history.len(), 1 + 6 * 2);
        let places: BTreeMap<Hash, usize> =
            history.iter().enumerate().map(|(place, entry)| (entry.revision.hash, place)).collect();
        assert_eq!(places.len(), history.len());
        for (place, entry) in history.iter().enumerate() {
            let behind = entry.revision.deps.iter().map(|dep| places[dep]);
            assert!(behind.clone().all(|dep| dep > place), "{place}: {:?}", behind.collect::<Vec<_>>());
            let author = entry.revision.actor.unwrap().device();
            assert_eq!(entry.own, author == device);
            assert!([ann.device(), other.device()].contains(&author));
            // A put of a number, and two elements.
            assert_eq!(entry.revision.operations, if place + 1 == history.len() { 2 } else { 3 });
        }
        assert_eq!(history.iter().filter(|entry| entry.own).count(), if device == ann.device() { 7 } else { 6 });
        for (heads, json) in &states {
            assert_eq!(doc.json_at(path!(), heads).unwrap().as_ref(), Some(json));
        }
        for limit in [0, 1, 5] {
            assert_eq!(doc.history(limit).unwrap(), history[..limit]);
        }
        // The first change, as its author saw it.
        let first = history.last().unwrap().revision.hash;
        assert_eq!(doc.json_at("items", &[first]).unwrap().as_deref(), Some(r#"["a"]"#));
        assert_eq!(doc.json_at("round", &[first]).unwrap(), None);
        let unknown = Hash([9; 32]);
        assert!(matches!(doc.json_at("round", &[first, unknown]), Err(ClientError::NoChange(hash)) if hash == unknown));
    }
}

#[test]
fn a_long_history_is_bounded_and_what_is_open_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let phone =
        Client::builder(folder.path().join("store")).identity("ann", sync_tests::rig::device(1)).open().unwrap();
    let doc = phone.create(phone.personal_space(), "notes").unwrap();
    assert_eq!(doc.history(10).unwrap(), []);
    for number in 0..=HISTORY_MAX as i64 {
        doc.edit(|edit| {
            edit.put("number", number);
        })
        .unwrap();
        doc.seal().unwrap();
    }
    doc.edit(|edit| {
        edit.put("number", "open");
    })
    .unwrap();
    let history = doc.history(usize::MAX).unwrap();
    assert_eq!(history.len(), HISTORY_MAX);
    assert_eq!(doc.json_at("number", &[history[0].revision.hash]).unwrap().as_deref(), Some(r#""open""#));
    assert_eq!(doc.json_at("number", &[history[7].revision.hash]).unwrap(), Some((HISTORY_MAX - 6).to_string()));
}

#[test]
fn a_version_is_restored_for_everybody_and_that_is_undone_like_any_edit() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    let doc = ann.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("body", Value::Text("milk and bread".into())).put("likes", Value::Counter(1));
    })
    .unwrap();
    let then = doc.heads().unwrap();
    ann.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    let theirs = other.open_doc(space, doc.id()).unwrap();
    let undo = doc.undoable().unwrap();
    doc.edit(|edit| {
        edit.splice("body", 0, 9, "oats, ").increment("likes", 4).put("new", true);
    })
    .unwrap();
    // Meanwhile, elsewhere, in what is kept.
    theirs.edit(|edit| _ = edit.splice("body", 14, 0, " rolls")).unwrap();

    let number = doc.restore(path!(), &then).unwrap();
    assert_eq!(number, Some(doc.edits().unwrap()));
    assert_eq!(doc.json(path!()).unwrap().unwrap(), r#"{"body":"milk and bread","likes":1}"#);
    assert_eq!(doc.restore(path!(), &then).unwrap(), None);
    let unknown = Hash([9; 32]);
    assert!(matches!(doc.restore(path!(), &[unknown]), Err(ClientError::NoChange(hash)) if hash == unknown));

    for phone in [&ann, &other, &ann] {
        phone.sync_once(PATIENCE).unwrap();
    }
    let both = r#"{"body":"milk and bread rolls","likes":1}"#;
    for doc in [&doc, &theirs] {
        assert_eq!(doc.json(path!()).unwrap().unwrap(), both);
    }
    undo.undo().unwrap().unwrap();
    assert_eq!(doc.json(path!()).unwrap().unwrap(), r#"{"body":"oats, bread rolls","likes":5,"new":true}"#);
}
