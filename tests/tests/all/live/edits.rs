//! Edits on their way from phone to phone.

use sync_client_ffi::{Client, EventKind, Origin, SpaceId, Status, Value};
use sync_core::ledger::Role;
use sync_tests::proxy::Proxy;
use sync_tests::rig::{PATIENCE, Rig, ServerProcess, device, token};
use sync_tests::seen::Seen;

use super::{Pair, append, count, counts, shows, statuses};

#[test]
fn an_edit_is_seen_over_the_live_connection_and_nobody_asks_for_it() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let events = Seen::default();
    let told = events.clone();
    let subscription = pair.same.observe(move |event| told.see(event.kind.clone()));
    append(&pair.doc, "hello");
    let origin = events.wait(|events| {
        events.iter().find_map(|(_, kind)| match kind {
            EventKind::Patches(steps) => Some(steps[0].origin),
            _ => None,
        })
    });
    assert_eq!(origin, Origin::Remote);
    assert_eq!(pair.same.text("body").unwrap().as_deref(), Some("hello"));
    append(&pair.same, " back");
    assert!(shows(&pair.doc, "hello back"));
    for phone in [&pair.ann, &pair.other] {
        phone.sync_once(PATIENCE).unwrap();
        assert_eq!(phone.status(), Status::Idle);
        let traffic = phone.traffic();
        assert_eq!((traffic.requests, traffic.connections), (0, 1), "{traffic:?}");
        assert!(traffic.frames_received > 0 && traffic.bytes_received > 0, "{traffic:?}");
    }
    assert_eq!(pair.doc.heads().unwrap(), pair.same.heads().unwrap());
    drop(subscription);
}

#[test]
fn a_client_that_wants_none_opens_no_live_connection() {
    let rig = Rig::start();
    let token = rig.token("ann", device(1));
    let phone = rig.builder("ann", 1).server(rig.url()).token(token).live(false).open().unwrap();
    phone.start().unwrap();
    let space = phone.personal_space();
    phone.create(space, "notes").unwrap();
    assert!(phone.wait_acknowledged(space, PATIENCE));
    assert_eq!(phone.traffic().connections, 0);
}

#[test]
fn keystrokes_are_sent_one_by_one_when_idle_and_together_when_busy() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("server");
    let server = ServerProcess::start(env!("CARGO_BIN_EXE_child").as_ref(), &data);
    let phone = |number: u8| {
        let token = token(&data, "ann", device(number));
        Client::builder(folder.path().join(number.to_string())).server(server.url()).token(token).open().unwrap()
    };
    let pair = Pair::of(phone(1), phone(2));
    let feed = || pair.ann.feed(pair.space).unwrap().n;
    for key in 1..=5 {
        let before = feed();
        append(&pair.doc, "k");
        assert!(pair.ann.wait_acknowledged(pair.space, PATIENCE));
        assert_eq!(feed(), before + 1, "keystroke {key} is a change of its own");
    }
    // The answer to the first one does not come, so the others wait for each other.
    let before = feed();
    server.freeze();
    for _ in 0..200 {
        append(&pair.doc, "k");
    }
    server.thaw();
    assert!(pair.ann.wait_acknowledged(pair.space, PATIENCE));
    assert!(feed() - before <= 20, "{} changes of 200 keystrokes", feed() - before);
    assert!(shows(&pair.same, &"k".repeat(205)));
    assert_eq!(pair.ann.traffic().requests, 0);
}

#[test]
fn many_spaces_share_one_connection() {
    const SPACES: u8 = 20;
    let rig = Rig::start();
    let (ann, ben) = (rig.phone("ann", 1), rig.phone("ben", 2));
    let spaces: Vec<SpaceId> = (1..=SPACES).map(|number| SpaceId::from_random([number; 16])).collect();
    for space in &spaces {
        for (user, phone) in [("ann", &ann), ("ben", &ben)] {
            rig.set_role(*space, user, Some(Role::Writer));
            phone.add_space(*space).unwrap();
        }
    }
    ann.start().unwrap();
    ben.start().unwrap();
    let docs: Vec<_> = spaces.iter().map(|space| ann.create(*space, "notes").unwrap()).collect();
    for doc in &docs {
        doc.edit(|edit| {
            edit.put("count", Value::Counter(0));
        })
        .unwrap();
        doc.seal().unwrap();
    }
    let same: Vec<_> = spaces
        .iter()
        .zip(&docs)
        .map(|(space, doc)| {
            assert!(ben.wait_for(*space, device(1), 2, PATIENCE));
            ben.open_doc(*space, doc.id()).unwrap()
        })
        .collect();
    for round in 1..=3 {
        for doc in docs.iter().chain(&same) {
            count(doc, 1);
        }
        for doc in docs.iter().chain(&same) {
            assert!(counts(doc, 2 * round), "round {round}");
        }
    }
    for phone in [&ann, &ben] {
        let traffic = phone.traffic();
        assert_eq!((traffic.requests, traffic.connections), (0, 1), "{traffic:?}");
    }
}

#[test]
fn a_reader_that_was_stalled_gets_everything() {
    let rig = Rig::start();
    let proxy = Proxy::start(rig.address());
    let pair = Pair::of(rig.phone("ann", 1), rig.phone_by("ann", 2, &proxy.url()));
    proxy.stall();
    // More than a connection's queue and the buffers of two sockets hold.
    let paste = "What a long text this is, and it does not compress, does it? ";
    for number in 0..400 {
        append(&pair.doc, &format!("{number} {}", paste.repeat(50)));
        if number % 20 == 0 {
            assert!(pair.ann.wait_acknowledged(pair.space, PATIENCE));
        }
    }
    assert!(pair.ann.wait_acknowledged(pair.space, PATIENCE));
    proxy.resume();
    let text = pair.doc.text("body").unwrap().unwrap();
    assert!(text.len() > 1 << 20);
    assert!(shows(&pair.same, &text));
    assert_eq!(pair.same.heads().unwrap(), pair.doc.heads().unwrap());
}

#[test]
fn status_tells_when_the_server_is_there() {
    let mut rig = Rig::start();
    let phone = rig.phone("ann", 1);
    let (seen, subscription) = statuses(&phone);
    phone.start().unwrap();
    seen.wait_for(0, &Status::Idle);
    let before = seen.count();
    rig.stop();
    seen.wait_for(before, &Status::Offline);
    drop(subscription);
}
