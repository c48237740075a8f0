//! Server and phones are killed in the middle of handing back.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sync_client_ffi::{Client, DocId, SpaceId, Value};
use sync_tests::rig::{PATIENCE, Seeded, device, token};

use super::disaster::{Disaster, Embedded};
use super::phone;

const KILLS: usize = 12;
/// More than one page holds: 24 changes of 400 KB that do not compress.
const PASTES: usize = 24;
const PASTE_BYTES: usize = 400_000;

/// Documents of one paste each, as the server loses them, and who holds them: a writer that is gone, and a reader.
fn lost_pastes(disaster: &mut dyn Disaster, folder: &Path) -> (SpaceId, Vec<DocId>) {
    let (writer, reader) = (phone(disaster.server(), folder, 1), phone(disaster.server(), folder, 2));
    let space = writer.personal_space();
    writer.sync_once(PATIENCE).unwrap();
    reader.sync_once(PATIENCE).unwrap();
    disaster.back_up();
    let mut random = Seeded::new("pastes");
    let docs = (0..PASTES).map(|_| {
        let doc = writer.create(space, "pictures").unwrap();
        let bytes: Vec<u8> = (0..PASTE_BYTES).map(|_| random.below(256) as u8).collect();
        doc.edit(|edit| {
            edit.put("picture", Value::Bytes(bytes.into()));
        })
        .unwrap();
        doc.id()
    });
    let docs = docs.collect();
    writer.sync_once(PATIENCE).unwrap();
    reader.sync_once(PATIENCE).unwrap();
    disaster.restore();
    (space, docs)
}

fn all_are_there(disaster: &mut dyn Disaster, folder: &Path, space: SpaceId, docs: &[DocId]) {
    let fresh = phone(disaster.server(), folder, 9);
    fresh.sync_once(PATIENCE).unwrap();
    assert_eq!(fresh.log_position(space).unwrap(), 2 * PASTES as u64);
    for doc in docs {
        match fresh.open_doc(space, *doc).unwrap().get("picture").unwrap() {
            Some(Value::Bytes(bytes)) => assert_eq!(bytes.len(), PASTE_BYTES),
            other => panic!("{doc}: {other:?}"),
        }
    }
}

fn spin(time: Duration) {
    let moment = Instant::now();
    while moment.elapsed() < time {
        std::hint::spin_loop();
    }
}

pub fn the_server_is_killed_while_it_takes_back(disaster: &mut dyn Disaster) {
    let folder = tempfile::tempdir().unwrap();
    let (space, docs) = lost_pastes(disaster, folder.path());
    let reader: Client = phone(disaster.server(), folder.path(), 2);
    let mut random = Seeded::new("the server is killed");
    let done = AtomicBool::new(false);
    let mut kills = 0;
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| {
            // It tries again as often as it takes.
            while reader.sync_once(PATIENCE).is_err() {}
            done.store(true, Ordering::Release);
        });
        while kills < KILLS && !done.load(Ordering::Acquire) {
            spin(Duration::from_micros(random.below(150_000)));
            disaster.server().kill();
            disaster.server().restart();
            reader.network_changed(true);
            kills += 1;
        }
        syncing.join().unwrap();
    });
    println!("{kills} kills");
    assert!(kills > 1);
    all_are_there(disaster, folder.path(), space, &docs);
}

#[test]
fn a_server_on_sqlite_may_be_killed_while_it_takes_back() {
    the_server_is_killed_while_it_takes_back(&mut Embedded::start());
}

#[test]
fn a_phone_may_be_killed_while_it_hands_back() {
    let (folder, mut disaster) = (tempfile::tempdir().unwrap(), Embedded::start());
    let (space, docs) = lost_pastes(&mut disaster, folder.path());
    let (store, url) = (folder.path().join("phone-2"), disaster.server().url());
    let token = token(disaster.server().data(), "ann", device(2));
    let mut random = Seeded::new("the phone is killed");
    let mut cut_short = 0;
    for _ in 0..KILLS {
        let mut child = crate::child("sync", &store, &url, &token);
        spin(Duration::from_micros(random.below(120_000)));
        child.kill().unwrap();
        cut_short += u32::from(!child.wait().unwrap().success());
    }
    println!("{cut_short} exchanges were cut short");
    assert!(cut_short > 1);
    assert!(crate::child("sync", &store, &url, &token).wait().unwrap().success());
    all_are_there(&mut disaster, folder.path(), space, &docs);
}
