//! Access to a space is taken away and given back, while phones are at work there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use sync_client_ffi::{
    Client, ClientError, Doc, DocId, EditState, Quarantined, Reason, SpaceId, SyncError, Trouble, Value,
};
use sync_core::ledger::Role;
use sync_core::wire::account::{
    self, AcceptInviteRequest, CreateSpaceRequest, InviteRequest, InviteResponse, SpaceOfCaller,
};
use sync_core::wire::{self, SCHEMA};
use sync_tests::rig::{PATIENCE, Rig, Seeded, device};
use sync_tests::seen::Seen;

fn frame<T: Serialize>(frame: &T) -> Vec<u8> {
    wire::encode(frame).unwrap()
}

fn make(rig: &Rig, owner: &str) -> SpaceId {
    let wanted = CreateSpaceRequest { schema: SCHEMA, name: "Household".to_owned() };
    let made = rig.ask(owner, "POST", "/v1/spaces", &frame(&wanted));
    assert_eq!(made.status, 201);
    wire::decode::<SpaceOfCaller>(&made.body).unwrap().space
}

/// Lets somebody in by an invitation, as a writer.
fn join(rig: &Rig, owner: &str, space: SpaceId, user: &str) {
    let wanted = InviteRequest { schema: SCHEMA, role: account::Role::Writer, expires_in: None };
    let made = rig.ask(owner, "POST", &format!("/v1/spaces/{space}/invites"), &frame(&wanted));
    let token = wire::decode::<InviteResponse>(&made.body).unwrap().token;
    let joined = rig.ask(user, "POST", "/v1/invites/accept", &frame(&AcceptInviteRequest { schema: SCHEMA, token }));
    assert_eq!(joined.status, 200);
}

fn remove(rig: &Rig, owner: &str, space: SpaceId, user: &str) {
    assert_eq!(rig.ask(owner, "DELETE", &format!("/v1/spaces/{space}/members/{user}"), &[]).status, 204);
}

/// Ann's and Ben's phones in a space that Ann has made, with a document that both have.
struct Household {
    ann: Client,
    ben: Client,
    space: SpaceId,
    doc: DocId,
}

impl Household {
    fn of(rig: &Rig) -> Self {
        let (ann, ben) = (rig.phone("ann", 1), rig.phone("ben", 2));
        let space = make(rig, "ann");
        join(rig, "ann", space, "ben");
        for phone in [&ann, &ben] {
            phone.add_space(space).unwrap();
        }
        let doc = ann.create(space, "notes").unwrap();
        doc.edit(|edit| {
            edit.put("count", Value::Counter(0));
        })
        .unwrap();
        ann.sync_once(PATIENCE).unwrap();
        ben.sync_once(PATIENCE).unwrap();
        Self { ann, ben, space, doc: doc.id() }
    }
}

fn count(doc: &Doc) -> Result<u64, ClientError> {
    doc.edit(|edit| {
        edit.increment("count", 1);
    })
}

fn counted(doc: &Doc) -> Option<Value> {
    doc.get("count").unwrap()
}

/// Every way of changing something there is refused, and everything can still be read.
fn is_read_only(phone: &Client, space: SpaceId, doc: DocId, holds: i64) {
    let of_space = |error| matches!(error, Some(ClientError::NoAccess(of)) if of == space);
    assert!(!phone.has_access(space).unwrap());
    let doc = phone.open_doc(space, doc).unwrap();
    assert!(of_space(count(&doc).err()));
    assert!(of_space(phone.create(space, "notes").err()));
    assert!(of_space(phone.delete(space, doc.id()).err()));
    assert_eq!(counted(&doc), Some(Value::Counter(holds)));
    assert!(!phone.documents(space, None).unwrap().is_empty());
}

/// Changes `first..=last` of a phone wait for access.
fn waiting(phone: &Client, space: SpaceId, first: u64, last: u64) {
    let quarantine = phone.quarantine(space).unwrap();
    assert_eq!(quarantine.iter().map(|kept| kept.n).collect::<Vec<_>>(), (first..=last).collect::<Vec<_>>());
    assert!(quarantine.iter().all(|kept| kept.waits && kept.reason == Reason::NoAccess), "{quarantine:?}");
}

/// What a kill would leave on disk now: the files as they are, while the client goes on.
fn crash_image(store: &Path, image: &Path) -> PathBuf {
    for suffix in ["", "-wal"] {
        let from = PathBuf::from(format!("{}{suffix}", store.display()));
        if from.exists() {
            std::fs::copy(from, format!("{}{suffix}", image.display())).unwrap();
        }
    }
    image.to_owned()
}

#[test]
fn what_is_unsent_when_access_is_lost_waits_for_its_return() {
    let rig = Rig::start();
    let Household { ann, ben, space, doc } = Household::of(&rig);
    let told = Seen::default();
    let telling = told.clone();
    let subscription = ben.on_access(space, move || telling.see(()));

    let shared = ben.open_doc(space, doc).unwrap();
    count(&shared).unwrap();
    let large = ben.create(space, "notes").unwrap();
    // So that it shows whether it is sent: nothing makes it short.
    let mut random = Seeded::new("access");
    let paste: String = (0..40_000).map(|_| char::from(b'!' + random.below(90) as u8)).collect();
    large
        .edit(|edit| {
            edit.put("text", Value::Text(paste));
        })
        .unwrap();
    remove(&rig, "ann", space, "ben");
    // Not known here yet, so it is an edit like any other.
    count(&shared).unwrap();
    let before = rig.folder().join("before");
    let store = rig.folder().join("ben-2.sqlite");
    crash_image(&store, &before);

    ben.start().unwrap();
    told.wait(|told| (!told.is_empty()).then_some(()));
    is_read_only(&ben, space, doc, 2);
    let last = ben.feed(space).unwrap().n;
    waiting(&ben, space, 1, last);
    assert_eq!(ben.pending(space).unwrap().outbox_changes, last, "none of it is given up");
    // Elsewhere the phone goes on.
    let personal = ben.personal_space();
    let own = ben.create(personal, "notes").unwrap();
    assert!(ben.wait_acknowledged(personal, PATIENCE));
    ben.stop();

    // Asked again, it asks, and sends nothing of it.
    let sent = ben.traffic().bytes_sent;
    assert_eq!(ben.sync_once(PATIENCE).unwrap_err(), SyncError::Trouble(Trouble::NoAccess));
    assert!(ben.traffic().bytes_sent - sent < 2_000, "{} bytes", ben.traffic().bytes_sent - sent);

    // A kill before it was known, or after, and a start with no network.
    let after = crash_image(&store, &rig.folder().join("after"));
    drop((shared, large, own, subscription, ben));
    let open =
        |path: &Path, url: &str| Client::builder(path).server(url).token(rig.token("ben", device(2))).open().unwrap();
    for path in [&after, &store] {
        let offline = open(path, "http://127.0.0.1:9");
        is_read_only(&offline, space, doc, 2);
        waiting(&offline, space, 1, last);
    }
    let unaware = open(&before, &rig.url());
    assert!(unaware.has_access(space).unwrap());
    assert_eq!(unaware.quarantine(space).unwrap(), []);
    // It knows nothing of what was written elsewhere since, either: that is told first where that space is asked first.
    for _ in 0..10 {
        match unaware.sync_once(PATIENCE).unwrap_err() {
            SyncError::Trouble(Trouble::NoAccess) => {}
            SyncError::NeedsDevice(other) => unaware.set_token(rig.token("ben", other)),
            other => panic!("{other:?}"),
        }
        if !unaware.has_access(space).unwrap() {
            break;
        }
    }
    is_read_only(&unaware, space, doc, 2);
    waiting(&unaware, space, 1, last);

    // Back in: what waits is sent as it is, from whichever is first; the other one, of the same moment, finds it there.
    join(&rig, "ann", space, "ben");
    drop(unaware);
    for path in [&store, &after] {
        let ben = open(path, &rig.url());
        let told = Seen::default();
        let telling = told.clone();
        let subscription = ben.on_access(space, move || telling.see(()));
        ben.sync_once(PATIENCE).unwrap();
        told.wait(|told| (!told.is_empty()).then_some(()));
        assert!(ben.has_access(space).unwrap());
        assert_eq!(ben.quarantine(space).unwrap(), []);
        assert_eq!(ben.pending(space).unwrap().outbox_changes, 0);
        assert_eq!(ben.feed(space).unwrap().n, last, "nothing was made anew");
        drop(subscription);
    }
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(counted(&ann.open_doc(space, doc).unwrap()), Some(Value::Counter(2)), "each once");
    assert_eq!(ann.documents(space, None).unwrap().len(), 2);
    assert_eq!(ann.version(space).unwrap(), open(&store, &rig.url()).version(space).unwrap());
}

#[test]
fn a_phone_that_types_when_it_is_removed_knows_of_each_edit() {
    // Nobody looks by itself in time: the removal is heard of.
    let rig = Rig::with(|config| config.live.heartbeat_ms = 60_000);
    let Household { ann, ben, space, doc } = Household::of(&rig);
    let shared = ben.open_doc(space, doc).unwrap();
    let told = Seen::default();
    let telling = told.clone();
    let subscription = ben.on_access(space, move || telling.see(()));
    ann.start().unwrap();
    ben.start().unwrap();
    count(&shared).unwrap();
    assert!(ben.wait_acknowledged(space, PATIENCE));

    let typing = std::thread::spawn({
        let shared = shared.clone();
        move || {
            let mut edits = Vec::new();
            loop {
                match count(&shared) {
                    Ok(edit) => edits.push(edit),
                    Err(ClientError::NoAccess(_)) => return edits,
                    Err(other) => panic!("{other}"),
                }
                std::thread::yield_now();
            }
        }
    });
    assert!(ann.wait_for(space, ben.device(), 3, PATIENCE));
    remove(&rig, "ann", space, "ben");
    told.wait(|told| (!told.is_empty()).then_some(()));
    let edits = typing.join().unwrap();
    assert!(!ben.has_access(space).unwrap());

    // Whichever way the server said no, the app is told the same.
    let quarantine = ben.quarantine(space).unwrap();
    assert!(quarantine.iter().all(|kept: &Quarantined| kept.reason == Reason::NoAccess && kept.doc == doc));
    join(&rig, "ann", space, "ben");
    ben.add_space(space).unwrap();
    wait_for_access(&ben, space);
    assert!(ben.wait_acknowledged(space, PATIENCE));
    // Each is there: also what was under way when the right ended and was refused, and what was typed upon that.
    let taken = 1 + edits.len() as i64;
    for edit in &edits {
        let state = shared.wait_for_edit(*edit, PATIENCE).unwrap();
        assert!(matches!(state, EditState::Durable { .. }), "{state:?}");
    }
    assert_eq!(ben.quarantine(space).unwrap(), []);
    assert!(shared.wait_until(PATIENCE, |doc| counted(doc) == Some(Value::Counter(taken))));
    let same = ann.open_doc(space, doc).unwrap();
    assert!(same.wait_until(PATIENCE, |doc| counted(doc) == Some(Value::Counter(taken))), "each once");
    drop(subscription);
}

/// Waits until there is access again, as an app would that shows it.
fn wait_for_access(phone: &Client, space: SpaceId) {
    let seen = Seen::default();
    let telling = seen.clone();
    let subscription = phone.on_access(space, move || telling.see(()));
    loop {
        let from = seen.count();
        if phone.has_access(space).unwrap() {
            break;
        }
        seen.wait_from(from, |more| (!more.is_empty()).then_some(()));
    }
    drop(subscription);
}

#[test]
fn who_may_no_longer_write_is_told_as_who_may_no_longer_enter() {
    let rig = Rig::start();
    let Household { ben, space, doc, .. } = Household::of(&rig);
    let told = Seen::default();
    let telling = told.clone();
    let subscription = ben.on_access(space, move || telling.see(()));
    rig.set_role(space, "ben", Some(Role::Reader));
    let shared = ben.open_doc(space, doc).unwrap();
    count(&shared).unwrap();
    ben.sync_once(PATIENCE).unwrap();
    told.wait(|told| (!told.is_empty()).then_some(()));
    assert_eq!(
        ben.quarantine(space).unwrap(),
        [Quarantined { n: 1, device: ben.device(), doc, reason: Reason::NoAccess, waits: false, whole: true }]
    );
    assert!(ben.has_access(space).unwrap(), "who may read may enter");
    drop(subscription);
}

#[test]
fn a_full_disk_keeps_nobody_from_knowing() {
    let rig = Rig::start();
    let Household { ben, space, doc, .. } = Household::of(&rig);
    let shared = ben.open_doc(space, doc).unwrap();
    count(&shared).unwrap();
    remove(&rig, "ann", space, "ben");
    let told = Seen::default();
    let telling = told.clone();
    let subscription = ben.on_access(space, move || telling.see(()));
    shared.seal().unwrap();
    ben.limit_store_pages(1).unwrap();
    while ben.create(ben.personal_space(), "notes").is_ok() {}
    ben.sync_once(Duration::from_secs(5)).unwrap_err();
    told.wait(|told| (!told.is_empty()).then_some(()));
    is_read_only(&ben, space, doc, 1);
    ben.limit_store_pages(0).unwrap();
    waiting(&ben, space, 1, 1);
    drop(subscription);
}
