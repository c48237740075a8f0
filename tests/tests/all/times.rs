//! When the server took a document's changes: everybody is told the same, and nobody before it has.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use sync_client_ffi::{Client, Doc, DocId, Hash, path};
use sync_server::Config;
use sync_tests::counted::{new_doc, write};
use sync_tests::rig::{PATIENCE, Rig};

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The times of a document's versions, as far as there are any.
fn times(doc: &Doc) -> BTreeMap<Hash, Option<u64>> {
    doc.history(usize::MAX).unwrap().into_iter().map(|entry| (entry.revision.hash, entry.taken_ms)).collect()
}

fn times_on(phone: &Client, doc: DocId) -> BTreeMap<Hash, Option<u64>> {
    times(&phone.open_doc(phone.personal_space(), doc).unwrap())
}

#[track_caller]
fn all_between(times: &BTreeMap<Hash, Option<u64>>, from: u64, to: u64) {
    for taken in times.values() {
        let taken = taken.expect("a time");
        assert!(taken % 1_000 == 0 && (from..=to).contains(&(taken / 1_000)), "{taken} is not in {from}..={to}");
    }
}

/// Own and others' changes have one time on every phone, before and after the store is read again.
fn told_to_everybody(phone: impl Fn(u8) -> Client) {
    let begun = now_s();
    let (one, other) = (phone(1), phone(2));
    let doc = new_doc(&one);
    write(&doc, 5, "typed offline ");
    assert!(times(&doc).values().all(Option::is_none), "the server has taken none");
    one.sync_once(PATIENCE).unwrap();
    let of_one = times(&doc);
    assert_eq!(of_one.len(), 6);
    all_between(&of_one, begun, now_s());
    other.sync_once(PATIENCE).unwrap();
    assert_eq!(times_on(&other, doc.id()), of_one);
    // A part of each: the newest of it is nowhere but here.
    let same = other.open_doc(other.personal_space(), doc.id()).unwrap();
    write(&same, 2, "by the other ");
    let newest = times(&same);
    assert_eq!(newest.values().filter(|taken| taken.is_none()).count(), 2);
    assert!(of_one.iter().all(|(hash, taken)| newest[hash] == *taken));
    for phone in [&other, &one] {
        phone.sync_once(PATIENCE).unwrap();
    }
    let both = times(&doc);
    assert_eq!((both.len(), times(&same)), (8, both.clone()));
    all_between(&both, begun, now_s());
}

/// The same on live connections.
fn told_live(phone: impl Fn(u8) -> Client) {
    let begun = now_s();
    let (one, other) = (phone(3), phone(4));
    let doc = new_doc(&one);
    let space = one.personal_space();
    one.sync_once(PATIENCE).unwrap();
    other.sync_once(PATIENCE).unwrap();
    for phone in [&one, &other] {
        phone.start().unwrap();
    }
    write(&doc, 4, "live ");
    let written = one.feed(space).unwrap().n;
    for phone in [&other, &one] {
        assert!(phone.wait_for(space, one.device(), written, PATIENCE));
    }
    // The author's own come back to it without what they carry.
    assert!(doc.wait_until(PATIENCE, |doc| times(doc).values().all(Option::is_some)));
    let of_one = times(&doc);
    assert_eq!((of_one.len(), times_on(&other, doc.id())), (5, of_one.clone()));
    all_between(&of_one, begun, now_s());
}

#[test]
fn versions_have_the_servers_time_on_every_phone() {
    let rig = Rig::start();
    told_to_everybody(|number| rig.phone("ann", number));
    told_live(|number| rig.phone("ann", number));
}

mod needs_postgres_and_needs_redis {
    use sync_tests::nodes::Nodes;
    use sync_tests::services;

    #[test]
    fn versions_have_the_servers_time_on_postgres() {
        let (database, redis) = (services::database(), services::redis());
        let nodes = Nodes::start(env!("CARGO_BIN_EXE_child").as_ref(), 2, database.url(), &redis.url);
        // Phones at different nodes: what is live goes over Redis.
        let phone = |number: u8| nodes.phone("ann", number, usize::from(number % 2));
        super::told_to_everybody(phone);
        super::told_live(phone);
    }
}

#[test]
fn folded_changes_keep_their_times_and_so_do_those_that_a_snapshot_stands_in_for() {
    let rig = Rig::with(|config: &mut Config| {
        config.compaction.enabled = false;
        config.compaction.tail_changes_max = 5;
        config.compaction.pause_ms = 0;
        config.compaction.retention_days = 0;
    });
    let begun = now_s();
    let (one, sleeper) = (rig.phone("ann", 1), rig.phone("ann", 2));
    one.fold_sooner(10, 8);
    let (doc, other) = (new_doc(&one), new_doc(&one));
    write(&doc, 20, "old ");
    one.sync_once(PATIENCE).unwrap();
    sleeper.sync_once(PATIENCE).unwrap();
    let before = times(&doc);
    write(&doc, 20, "newer ");
    write(&other, 30, "elsewhere ");
    drop((doc.clone(), other.clone()));
    one.sync_once(PATIENCE).unwrap();
    one.sync_once(PATIENCE).unwrap();
    let whole = times(&doc);
    assert_eq!(whole.len(), 41);
    all_between(&whole, begun, now_s());
    assert!(before.iter().all(|(hash, taken)| whole[hash] == *taken));
    // The server has snapshots alone by now.
    assert!(rig.compact().dropped >= 1);
    let fresh = rig.phone("ann", 3);
    for phone in [&fresh, &sleeper] {
        phone.sync_once(PATIENCE).unwrap();
        assert_eq!(times_on(phone, doc.id()), whole);
    }
    let rows = |number: u8| {
        let store = rusqlite::Connection::open(rig.folder().join(format!("ann-{number}.sqlite"))).unwrap();
        let sql = "SELECT COUNT(*) FROM items WHERE doc_id = ?1 AND kind = 2";
        store.query_row(sql, [doc.id().as_bytes()], |row| row.get::<_, u64>(0)).unwrap()
    };
    assert!(rows(1) < 41, "it has folded some");
    assert_eq!(rows(3), 0, "it came as a snapshot");
    // The store is read again from the disk; and what is deleted leaves nothing.
    let id = fresh.device();
    drop(fresh);
    let again = rig.builder("ann", 3).server(rig.url()).token(rig.token("ann", id)).open().unwrap();
    assert_eq!(times_on(&again, doc.id()), whole);
    assert_eq!(
        again.open_doc(again.personal_space(), doc.id()).unwrap().json(path![]).unwrap(),
        doc.json(path![]).unwrap()
    );
    again.delete(again.personal_space(), doc.id()).unwrap();
    again.sync_once(PATIENCE).unwrap();
    let store = rusqlite::Connection::open(rig.folder().join("ann-3.sqlite")).unwrap();
    let sql = "SELECT COUNT(*) FROM times WHERE doc_id = ?1";
    assert_eq!(store.query_row(sql, [doc.id().as_bytes()], |row| row.get::<_, u64>(0)).unwrap(), 0);
}
