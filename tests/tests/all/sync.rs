//! Phones and a server: what one writes, the others hold.

use std::sync::mpsc;
use std::time::Duration;

use sync_client_ffi::{
    Client, ClientError, DocId, EditState, EventKind, Origin, RejectCode, SpaceId, Status, SyncError, Value, path,
};
use sync_core::ledger::Role;
use sync_tests::rig::{PATIENCE, Rig, ServerProcess, device, token};

#[test]
fn an_edit_reaches_the_other_phone_once() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    let doc = ann.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("title", "groceries").put("body", Value::Text(String::new())).put("visits", Value::Counter(0));
    })
    .unwrap();
    for character in "milk, bread".chars() {
        let at = doc.length("body").unwrap().unwrap();
        doc.edit(|edit| {
            edit.splice("body", at, 0, character.to_string()).increment("visits", 1);
        })
        .unwrap();
    }
    let last = doc.edits().unwrap();
    assert_eq!(doc.edit_state(last).unwrap(), EditState::Local);
    ann.sync_once(PATIENCE).unwrap();
    assert!(matches!(doc.edit_state(last).unwrap(), EditState::Durable { .. }));
    assert_eq!(ann.status(), Status::Idle);

    other.sync_once(PATIENCE).unwrap();
    let listed = other.documents(space, Some("notes")).unwrap();
    assert_eq!(listed.len(), 1);
    assert!(other.documents(space, Some("elsewhere")).unwrap().is_empty());
    let same = other.open_doc(space, listed[0].id).unwrap();
    assert_eq!(same.text("body").unwrap().as_deref(), Some("milk, bread"));
    assert_eq!(same.get("visits").unwrap(), Some(Value::Counter(11)));
    assert_eq!(same.heads().unwrap(), doc.heads().unwrap());
    assert_eq!(same.canonical_save().unwrap(), doc.canonical_save().unwrap());
    assert_eq!(other.version(space).unwrap(), ann.version(space).unwrap());

    // A further exchange has nothing to say.
    let quiet = ann.sync_once(PATIENCE).unwrap();
    assert_eq!(quiet.traffic.requests, 1);
    assert!(quiet.traffic.bytes_sent + quiet.traffic.bytes_received < 600, "{quiet:?}");
}

#[test]
fn concurrent_edits_converge_and_observers_follow() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    let doc = ann.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("body", Value::Text("shared: ".into())).put("count", Value::Counter(0));
    })
    .unwrap();
    ann.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    let same = other.open_doc(space, doc.id()).unwrap();

    let (sender, events) = mpsc::sync_channel(1024);
    let subscription = same.observe(move |event| sender.send(event.clone()).unwrap());
    for round in 0..20 {
        for phone_doc in [&doc, &same] {
            let end = phone_doc.length("body").unwrap().unwrap();
            phone_doc
                .edit(|edit| {
                    edit.splice("body", end, 0, format!("{round} ")).increment("count", 1);
                })
                .unwrap();
        }
        if round % 3 == 0 {
            ann.sync_once(PATIENCE).unwrap();
            other.sync_once(PATIENCE).unwrap();
        }
    }
    for phone in [&ann, &other, &ann, &other] {
        phone.sync_once(PATIENCE).unwrap();
    }
    assert_eq!(doc.heads().unwrap(), same.heads().unwrap());
    assert_eq!(doc.get(path![]).unwrap(), same.get(path![]).unwrap());
    assert_eq!(doc.get("count").unwrap(), Some(Value::Counter(40)));
    assert_eq!(doc.canonical_save().unwrap(), same.canonical_save().unwrap());

    // Played on a copy of what it first saw, the patches give the text.
    let text = same.text("body").unwrap().unwrap();
    let mut shown: Vec<char> = "shared: ".chars().collect();
    let mut remote = 0;
    while shown.iter().collect::<String>() != text {
        let event = events.recv_timeout(PATIENCE).expect("an event that leads to the text");
        let EventKind::Patches(steps) = event.kind else { panic!("{event:?}") };
        for step in steps.into_iter().filter(|step| step.patch.path == path!["body"]) {
            remote += u32::from(step.origin == Origin::Remote);
            match step.patch.action {
                sync_client_ffi::Action::InsertText { at, text } => {
                    shown.splice(at as usize..at as usize, text.chars());
                }
                sync_client_ffi::Action::Remove { at, count } => {
                    shown.drain(at as usize..(at + count) as usize);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(remote > 0);
    drop(subscription);
}

#[test]
fn the_background_session_exchanges_by_itself() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    ann.start().unwrap();
    let doc = ann.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("title", "hello");
    })
    .unwrap();
    assert!(ann.wait_acknowledged(space, PATIENCE));
    let feed = ann.feed(space).unwrap();
    other.start().unwrap();
    assert!(other.wait_for(space, device(1), feed.n, PATIENCE));
    let same = other.open_doc(space, doc.id()).unwrap();
    assert_eq!(same.get("title").unwrap(), Some(Value::Str("hello".into())));
    other.sync_once(PATIENCE).unwrap();
    ann.stop();
    other.stop();
}

#[test]
fn a_held_document_stays_as_it_is_until_it_merges() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    let doc = ann.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("n", 1i64);
    })
    .unwrap();
    ann.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    let same = other.open_doc(space, doc.id()).unwrap();
    let hold = same.hold().unwrap();
    for n in 2..4i64 {
        doc.edit(|edit| {
            edit.put("n", n);
        })
        .unwrap();
        ann.sync_once(PATIENCE).unwrap();
        other.sync_once(PATIENCE).unwrap();
        assert_eq!(same.get("n").unwrap(), Some(Value::Int(n - 1)));
        hold.merge().unwrap();
        assert_eq!(same.get("n").unwrap(), Some(Value::Int(n)));
    }
    doc.edit(|edit| {
        edit.put("n", 9i64);
    })
    .unwrap();
    ann.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    drop(hold);
    assert_eq!(same.get("n").unwrap(), Some(Value::Int(9)));
}

#[test]
fn a_deleted_document_is_deleted_everywhere_and_later_edits_are_kept_aside() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    let doc = ann.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("n", 1i64);
    })
    .unwrap();
    ann.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    let same = other.open_doc(space, doc.id()).unwrap();
    let second = other.create(space, "notes").unwrap();
    ann.delete(space, doc.id()).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    same.edit(|edit| {
        edit.put("n", 2i64);
    })
    .unwrap();
    second
        .edit(|edit| {
            edit.put("n", 3i64);
        })
        .unwrap();
    other.sync_once(PATIENCE).unwrap();
    assert!(matches!(same.get("n"), Err(ClientError::Deleted(_))));
    let refused = other.refused(space).unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].doc, refused[0].code), (doc.id(), RejectCode::DocumentDeleted));
    // The refused change held up nothing behind it.
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(ann.open_doc(space, second.id()).unwrap().get("n").unwrap(), Some(Value::Int(3)));
    assert!(matches!(ann.open_doc(space, doc.id()).err(), Some(ClientError::Deleted(_))));
}

#[test]
fn what_is_typed_upon_a_change_that_is_refused_meanwhile_is_kept_aside_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("server");
    let server = ServerProcess::start(env!("CARGO_BIN_EXE_child").as_ref(), &data);
    let token = token(&data, "ben", device(2));
    let ben = Client::builder(folder.path().join("ben")).server(server.url()).token(token).open().unwrap();
    let space = SpaceId::from_random([9; 16]);
    server.set_role(space, "ben", Some(Role::Writer));
    ben.add_space(space).unwrap();
    let doc = ben.create(space, "notes").unwrap();
    let put = |value: i64| {
        doc.edit(|edit| {
            edit.put("n", value);
        })
        .unwrap()
    };
    put(1);
    ben.sync_once(PATIENCE).unwrap();

    server.set_role(space, "ben", Some(Role::Reader));
    server.freeze();
    ben.start().unwrap();
    let sent = put(2);
    while doc.edit_state(sent).unwrap() != EditState::Sent {
        std::thread::yield_now();
    }
    // The request is under way; this stays in the journal, upon what will be refused.
    let upon = put(3);
    server.thaw();
    ben.sync_once(PATIENCE).unwrap();
    ben.stop();
    assert_eq!(doc.edit_state(sent).unwrap(), EditState::Rejected { code: RejectCode::NotAWriter });
    assert_eq!(doc.edit_state(upon).unwrap(), EditState::Rejected { code: RejectCode::NotAWriter });
    assert_eq!(doc.get("n").unwrap(), Some(Value::Int(1)), "the document is as it is everywhere");
    // The second one once for what it was made upon, and once for itself.
    assert_eq!(ben.refused(space).unwrap().len(), 3);
    assert_eq!(ben.quarantine(space).unwrap().len(), 2);

    // With the right back, edits go through again, under a new actor.
    server.set_role(space, "ben", Some(Role::Writer));
    let again = put(4);
    ben.sync_once(PATIENCE).unwrap();
    assert!(matches!(doc.edit_state(again).unwrap(), EditState::Durable { .. }));
    assert_eq!(doc.get("n").unwrap(), Some(Value::Int(4)), "what is offered again replaces nothing newer");
    assert_eq!(ben.quarantine(space).unwrap().len(), 2);
}

#[test]
fn what_is_typed_into_a_document_that_is_deleted_meanwhile_is_kept_aside() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("server");
    let server = ServerProcess::start(env!("CARGO_BIN_EXE_child").as_ref(), &data);
    let phone = |number: u8| {
        let token = token(&data, "ann", device(number));
        Client::builder(folder.path().join(number.to_string())).server(server.url()).token(token).open().unwrap()
    };
    let (ann, other) = (phone(1), phone(2));
    let space = ann.personal_space();
    let (doomed, kept) = (ann.create(space, "notes").unwrap(), ann.create(space, "notes").unwrap());
    ann.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    ann.delete(space, doomed.id()).unwrap();
    ann.sync_once(PATIENCE).unwrap();

    let put = |doc: DocId, value: i64| {
        let doc = other.open_doc(space, doc).unwrap();
        let edit = doc.edit(|edit| {
            edit.put("n", value);
        });
        (doc.clone(), edit.unwrap())
    };
    server.freeze();
    other.start().unwrap();
    let (sound, sent) = put(kept.id(), 1);
    while sound.edit_state(sent).unwrap() != EditState::Sent {
        std::thread::yield_now();
    }
    // The answer that is under way brings the deletion; this stands in the journal when it comes.
    put(doomed.id(), 2);
    server.thaw();
    other.sync_once(PATIENCE).unwrap();
    other.stop();
    assert!(matches!(sound.edit_state(sent).unwrap(), EditState::Durable { .. }));
    let refused = other.refused(space).unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].doc, refused[0].code), (doomed.id(), RejectCode::DocumentDeleted));
    assert!(matches!(other.open_doc(space, doomed.id()).err(), Some(ClientError::Deleted(_))));
    // The outbox goes on, and the store opens again.
    let (_, edit) = put(kept.id(), 3);
    other.sync_once(PATIENCE).unwrap();
    assert!(matches!(sound.edit_state(edit).unwrap(), EditState::Durable { .. }));
    drop((other, sound));
    assert_eq!(phone(2).open_doc(space, kept.id()).unwrap().get("n").unwrap(), Some(Value::Int(3)));
}

#[test]
fn many_documents_and_pages_arrive_whole() {
    let rig = Rig::start();
    let ann = rig.phone("ann", 1);
    let space = ann.personal_space();
    for number in 0..300i64 {
        let doc = ann.create(space, "many").unwrap();
        doc.edit(|edit| {
            edit.put("number", number).put("text", Value::Text("x".repeat(200)));
        })
        .unwrap();
    }
    let big = ann.create(space, "big").unwrap();
    let paste: String =
        (0..150_000u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 13) as u8 % 26)).collect();
    big.edit(|edit| {
        edit.put("text", Value::Text(paste.clone()));
    })
    .unwrap();
    ann.sync_once(PATIENCE).unwrap();
    let other = rig.phone("ann", 2);
    other.sync_once(PATIENCE).unwrap();
    assert_eq!(other.documents(space, Some("many")).unwrap().len(), 300);
    for (number, info) in (0i64..).zip(other.documents(space, Some("many")).unwrap()) {
        assert_eq!(other.open_doc(space, info.id).unwrap().get("number").unwrap(), Some(Value::Int(number)));
    }
    assert_eq!(other.open_doc(space, big.id()).unwrap().text("text").unwrap(), Some(paste));
    assert_eq!(other.version(space).unwrap(), ann.version(space).unwrap());
}

#[test]
fn without_a_server_or_a_right_token_edits_go_on() {
    let rig = Rig::start();
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = rig.folder().join("lonely.sqlite");
    let token = rig.token("ann", device(1));
    let phone =
        sync_client_ffi::Client::builder(&path).server(format!("http://{nowhere}")).token(token).open().unwrap();
    let space = phone.personal_space();
    let doc = phone.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("n", 1i64);
    })
    .unwrap();
    assert_eq!(phone.sync_once(Duration::from_millis(700)), Err(SyncError::Offline));
    drop((phone, doc));

    // A token of another server is refused, and replaced.
    let elsewhere = Rig::start();
    let wrong = elsewhere.token("ann", device(1));
    let phone = sync_client_ffi::Client::builder(&path).server(rig.url()).token(wrong).open().unwrap();
    assert_eq!(phone.sync_once(PATIENCE), Err(SyncError::NeedsAuth));
    assert_eq!(phone.pending(space).unwrap().outbox_changes, 2);
    phone.set_token(rig.token("ann", device(1)));
    phone.sync_once(PATIENCE).unwrap();
    assert_eq!(phone.pending(space).unwrap().outbox_changes, 0);
}

#[test]
fn spaces_of_others_are_closed() {
    let rig = Rig::start();
    let (ann, ben) = (rig.phone("ann", 1), rig.phone("ben", 2));
    ann.sync_once(PATIENCE).unwrap();
    ben.add_space(ann.personal_space()).unwrap();
    let doc = ben.create(ann.personal_space(), "notes").unwrap();
    doc.edit(|edit| {
        edit.put("n", 1i64);
    })
    .unwrap();
    let mine = ben.create(ben.personal_space(), "notes").unwrap();
    mine.edit(|edit| {
        edit.put("n", 1i64);
    })
    .unwrap();
    assert!(matches!(ben.sync_once(PATIENCE), Err(SyncError::Trouble(_))));
    // One closed space does not hold up the others, and loses nothing.
    assert_eq!(ben.pending(ben.personal_space()).unwrap().outbox_changes, 0);
    assert_eq!(ben.pending(ann.personal_space()).unwrap().outbox_changes, 2);
    ann.sync_once(PATIENCE).unwrap();
    assert!(ann.documents(ann.personal_space(), None).unwrap().is_empty());
}
