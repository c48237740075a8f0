//! A server that is restored from an old backup while its phones go on: what they hold of it comes back.

use std::path::Path;
use std::time::Instant;

use sync_client_ffi::{Client, DocId, SpaceId, SyncError, Value};
use sync_tests::rig::{PATIENCE, Seeded, ServerProcess, device, token};

pub(crate) mod disaster;
mod kills;
mod live;
mod needs_own_postgres;

use disaster::{Disaster, Embedded};

/// Commits that the server loses.
const COMMITS: usize = 1_000;
const PHONES: u8 = 5;

pub(crate) fn phone(server: &ServerProcess, folder: &Path, number: u8) -> Client {
    let token = token(server.data(), "ann", device(number));
    Client::builder(folder.join(format!("phone-{number}"))).server(server.url()).token(token).open().unwrap()
}

fn increment(phone: &Client, space: SpaceId, doc: DocId) {
    let doc = phone.open_doc(space, doc).unwrap();
    doc.edit(|edit| {
        edit.increment("count", 1);
    })
    .unwrap();
    doc.seal().unwrap();
}

fn count(phone: &Client, space: SpaceId, doc: DocId) -> i64 {
    match phone.open_doc(space, doc).unwrap().get("count").unwrap() {
        Some(Value::Counter(count)) => count,
        other => panic!("{other:?}"),
    }
}

/// A document with a counter, on the server.
fn counter(phone: &Client) -> (SpaceId, DocId) {
    let space = phone.personal_space();
    let doc = phone.create(space, "counters").unwrap();
    doc.edit(|edit| {
        edit.put("count", Value::Counter(0));
    })
    .unwrap();
    phone.sync_once(PATIENCE).unwrap();
    (space, doc.id())
}

/// Five phones, a backup, a thousand commits, and the backup comes back; one phone is gone for good.
fn a_thousand_commits_come_back(disaster: &mut dyn Disaster, others_wrote_meanwhile: bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut phones: Vec<Client> = (1..=PHONES).map(|number| phone(disaster.server(), folder.path(), number)).collect();
    let (space, doc) = counter(&phones[0]);
    for phone in &phones {
        phone.sync_once(PATIENCE).unwrap();
    }
    let kept = phones[0].log_position(space).unwrap();
    disaster.back_up();

    let mut random = Seeded::new("a thousand commits");
    for _ in 0..COMMITS {
        let phone = &phones[random.below(PHONES.into()) as usize];
        increment(phone, space, doc);
        phone.sync_once(PATIENCE).unwrap();
    }
    for phone in &phones {
        phone.sync_once(PATIENCE).unwrap();
        assert_eq!(phone.log_position(space).unwrap(), kept + COMMITS as u64);
    }
    let of_gone = phones[PHONES as usize - 1].acknowledged(space).unwrap().n;
    assert!(of_gone > 0);
    drop(phones.pop());

    disaster.restore();
    let mut total = COMMITS as i64;
    if others_wrote_meanwhile {
        let new = phone(disaster.server(), folder.path(), 9);
        new.sync_once(PATIENCE).unwrap();
        for _ in 0..7 {
            increment(&new, space, doc);
            new.sync_once(PATIENCE).unwrap();
            total += 1;
        }
        assert_eq!(new.log_position(space).unwrap(), kept + 7);
    }
    for phone in &phones {
        increment(phone, space, doc);
        total += 1;
    }
    for (at, phone) in phones.iter().enumerate() {
        let began = Instant::now();
        phone.sync_once(PATIENCE).unwrap();
        println!("phone {at}: {:?}", began.elapsed());
        // The first of them brings back what all had read.
        let there = phone.log_position(space).unwrap();
        assert!(there > kept + COMMITS as u64, "{there} after phone {at}");
    }
    let fresh = phone(disaster.server(), folder.path(), 8);
    for phone in phones.iter().chain([&fresh]) {
        phone.sync_once(PATIENCE).unwrap();
        assert_eq!(count(phone, space, doc), total, "each of them once");
        assert_eq!(phone.log_position(space).unwrap(), kept + total as u64);
        assert_eq!(phone.pending(space).unwrap().outbox_changes, 0);
        assert!(phone.refused(space).unwrap().is_empty());
        let (one, other) = (phones[0].open_doc(space, doc).unwrap(), phone.open_doc(space, doc).unwrap());
        assert_eq!(one.canonical_save().unwrap(), other.canonical_save().unwrap());
    }
    let version = fresh.version(space).unwrap();
    assert_eq!(version.get(device(PHONES)), of_gone, "also those of the phone that is gone");
    disaster.is_sound(space);
}

#[test]
fn a_thousand_commits_come_back_on_sqlite() {
    a_thousand_commits_come_back(&mut Embedded::start(), false);
}

#[test]
fn a_thousand_commits_come_back_behind_what_was_written_since_on_sqlite() {
    a_thousand_commits_come_back(&mut Embedded::start(), true);
}

/// A phone may have heard that the server took a change, and not have read the log so far: then its place in the log is still there.
#[test]
fn what_was_acknowledged_and_not_read_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut disaster = Embedded::start();
    let writer = phone(disaster.server(), folder.path(), 1);
    let (space, doc) = counter(&writer);
    for _ in 0..150 {
        increment(&writer, space, doc);
    }
    writer.sync_once(PATIENCE).unwrap();
    disaster.back_up();
    let slow = phone(disaster.server(), folder.path(), 2);
    slow.create(space, "notes").unwrap();
    let report = slow.sync_once_within(PATIENCE, 3_000).unwrap();
    assert!(report.more && slow.acknowledged(space).unwrap().n == 1, "{report:?}");
    assert!((1..150).contains(&slow.log_position(space).unwrap()), "{}", slow.log_position(space).unwrap());
    disaster.restore();
    slow.sync_once(PATIENCE).unwrap();
    let fresh = phone(disaster.server(), folder.path(), 9);
    fresh.sync_once(PATIENCE).unwrap();
    assert_eq!(fresh.documents(space, None).unwrap().len(), 2);
    assert_eq!(fresh.log_position(space).unwrap(), slow.log_position(space).unwrap());
}

/// A key that was lost with the database proves nothing: each device keeps and sends what it wrote itself.
#[test]
fn with_other_keys_each_device_brings_back_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut disaster = Embedded::start();
    let phones: Vec<Client> = (1..=3).map(|number| phone(disaster.server(), folder.path(), number)).collect();
    let (space, doc) = counter(&phones[0]);
    disaster.back_up();
    for phone in phones.iter().cycle().take(30) {
        phone.sync_once(PATIENCE).unwrap();
        increment(phone, space, doc);
        phone.sync_once(PATIENCE).unwrap();
    }
    disaster.restore();
    disaster.forget_receipts();
    let outcomes: Vec<Result<_, SyncError>> = (0..40).map(|at| phones[at % 3].sync_once(PATIENCE)).collect();
    // Made upon each other in turn, so each waits for the one before: it takes rounds, but nobody is needed who is gone.
    for phone in &phones {
        assert_eq!(phone.pending(space).unwrap().outbox_changes, 0, "{outcomes:?}");
        assert_eq!(count(phone, space, doc), 30);
    }
    let fresh = phone(disaster.server(), folder.path(), 9);
    fresh.sync_once(PATIENCE).unwrap();
    assert_eq!(count(&fresh, space, doc), 30);
}
