//! `sync-server verify`: beside a server that runs it finds nothing, and in a database that was altered it says where.

use std::path::Path;
use std::process::Output;

use rusqlite::Connection;
use sync_core::id::SpaceId;
use sync_server::store::Store;
use sync_server::store::sqlite::{FILE, SqliteOptions, SqliteStore};
use sync_server::verify;

use crate::binary::binary;
use crate::world::{Phone, World, typing};

async fn run(data: &Path, arguments: &[&str]) -> Output {
    let mut command = binary(data, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Two spaces that two devices wrote: twelve entries in the first, of which the last deletes what the device wrote.
async fn stage() -> (World, Phone) {
    let world = World::new().await;
    let (mut ann, mut bob) = (world.phone("ann"), world.phone("bob"));
    let mut items = typing(ann.device, 10);
    items.push(sync_core::feed::Item::delete(items[0].doc));
    let push = ann.push(items);
    ann.sync(&push).await;
    let push = bob.push(typing(bob.device, 3));
    bob.sync(&push).await;
    (world, ann)
}

#[tokio::test]
async fn what_a_server_wrote_is_sound_while_it_runs() {
    let (world, mut ann) = stage().await;
    let output = run(world.folder.path(), &["verify"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output), "2 spaces with 16 entries: 0 of them are damaged\n");
    // It may be at work meanwhile.
    let data = world.folder.path().to_owned();
    let verifying = tokio::task::spawn_blocking(move || {
        (0..2).map(|_| binary(&data, &["verify"]).output().unwrap()).collect::<Vec<_>>()
    });
    while !verifying.is_finished() {
        let push = ann.push(typing(ann.device, 3));
        ann.sync(&push).await;
    }
    for output in verifying.await.unwrap() {
        assert!(output.status.success(), "{output:?}");
    }
}

#[tokio::test]
async fn what_was_altered_is_named_with_its_place() {
    let (world, ann) = stage().await;
    let space = ann.space;
    let whole = world.folder.path().join("whole.sqlite");
    let database = world.folder.path().join(FILE);
    let of_ann = |table: &str| format!("{table} WHERE space_id = x'{}'", hex(space));
    let set = |table: &str, set: &str, and: &str| {
        format!("UPDATE {table} SET {set} WHERE space_id = x'{}' {and}", hex(space))
    };
    let cases = [
        (set("log", "hash = zeroblob(32)", "AND seq = 4"), "entry 4: the log's chain breaks"),
        (set("log", "chain = zeroblob(32)", "AND seq = 7"), "entry 7: the log's chain breaks"),
        (set("log", "verdict = 23", "AND seq = 3"), "entry 3: the log's chain breaks"),
        (set("log", "n = 40", "AND seq = 12"), "entry 12: item 40 of device"),
        (format!("DELETE FROM {} AND seq = 5", of_ann("log")), "entry 5: missing; the next in the log is 6"),
        (format!("DELETE FROM {} AND seq = 12", of_ann("log")), "its log ends at entry 12, but it does at 11"),
        // What a change of a deleted document carried may be gone; the name of its collection stays.
        (format!("DELETE FROM {} AND seq = 1", of_ann("payloads")), "entry 1: its payload is missing"),
        (set("payloads", "bytes = zeroblob(50)", "AND seq = 6"), "entry 6: its payload is not what its hash says"),
        (
            set("payloads", "bytes = CAST('others' AS BLOB)", "AND seq = 1"),
            "entry 1: its payload is not what its hash says",
        ),
        (set("log", "max_op = 99", "AND seq = 8"), "entry 8: what the row says of its change"),
        (set("feeds", "n = 5", ""), "the row of feed of device"),
        (format!("DELETE FROM {}", of_ann("feeds")), "is missing"),
        (set("documents", "operations = 3", ""), "the row of document"),
        (set("documents", "deleted_seq = NULL", ""), "the row of document"),
        (format!("DELETE FROM {}", of_ann("documents")), "is missing"),
        (set("actors", "seq = 3", ""), "the row of actor"),
        (set("actors", "actor = zeroblob(20)", ""), "has nothing in the log"),
        (set("spaces", "head_seq = 11", ""), "its log ends at entry 11, but it does at 12"),
        (set("spaces", "documents_total = 2", ""), "counts 2 documents, its log 1"),
    ];
    Connection::open(&database).unwrap().execute("VACUUM INTO ?1", [whole.to_str().unwrap()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (damage, expected) in &cases {
        std::fs::copy(&whole, folder.path().join(FILE)).unwrap();
        let connection = Connection::open(folder.path().join(FILE)).unwrap();
        assert_eq!(connection.execute(damage, []).unwrap(), 1, "{damage}");
        drop(connection);
        let store = SqliteStore::open(folder.path(), &SqliteOptions::default()).unwrap();
        let found = verify::space(&store, space, &mut |_| {}).await.unwrap();
        let named = found.findings.iter().any(|finding| finding.to_string().contains(expected));
        assert!(named, "{damage}: {:?}", found.findings);
        let other = verify::space(&store, SpaceId::personal("bob"), &mut |_| {}).await.unwrap();
        assert_eq!((other.findings, other.more), (Vec::new(), 0), "the other space is sound");
        store.close().await.unwrap();
    }
    // The last of them, by the command.
    let output = run(folder.path(), &["verify"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let expected =
        format!("{space} the space counts 2 documents, its log 1\n2 spaces with 16 entries: 1 of them are damaged\n");
    assert_eq!(said(&output), expected);
}

fn hex(space: SpaceId) -> String {
    space.to_string().replace('-', "")
}
