//! The server is killed under many live connections.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use sync_client_ffi::{Client, Doc, Status, Subscription, Value};
use sync_tests::rig::{PATIENCE, ServerProcess, device, token};
use sync_tests::seen::Seen;

use super::{count, counts};

const USERS: usize = 20;
const DEVICES: u8 = 10;
/// That prepare them.
const THREADS: usize = 4;

struct Member {
    phone: Client,
    doc: Doc,
    seen: Seen<Status>,
    _subscription: Subscription,
}

/// The devices of one user, live, with a counter that they share.
fn circle(folder: &Path, server: &ServerProcess, user: usize) -> Vec<Member> {
    let name = format!("user{user}");
    let phones: Vec<Client> = (1..=DEVICES)
        .map(|number| {
            let token = token(server.data(), &name, device(number));
            let path = folder.join(format!("{name}-{number}"));
            Client::builder(path).server(server.url()).token(token).open().unwrap()
        })
        .collect();
    let space = phones[0].personal_space();
    let first = phones[0].create(space, "counters").unwrap();
    first
        .edit(|edit| {
            edit.put("count", Value::Counter(0));
        })
        .unwrap();
    first.seal().unwrap();
    for phone in &phones {
        phone.start().unwrap();
    }
    let member = |phone: Client| {
        assert!(phone.wait_for(space, device(1), 2, PATIENCE));
        let doc = phone.open_doc(space, first.id()).unwrap();
        let (seen, subscription) = super::statuses(&phone);
        Member { phone, doc, seen, _subscription: subscription }
    };
    phones.into_iter().map(member).collect()
}

#[test]
fn a_killed_server_gets_everybody_back_spread_out_and_with_nothing_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("server");
    let mut server = ServerProcess::start(env!("CARGO_BIN_EXE_child").as_ref(), &data);
    let crowd: Vec<Vec<Member>> = std::thread::scope(|scope| {
        let (folder, server) = (folder.path(), &server);
        let some = move |first: usize| {
            let users = (first..USERS).step_by(THREADS);
            users.map(|user| circle(folder, server, user)).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || some(first))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let everybody = || crowd.iter().flatten();
    // Some edits are acknowledged, some are on their way, and some are made while the server is away.
    for member in everybody() {
        count(&member.doc, 1);
    }
    for member in everybody() {
        assert!(member.phone.wait_acknowledged(member.phone.personal_space(), PATIENCE));
    }
    for member in everybody().step_by(3) {
        count(&member.doc, 10);
    }
    let before: Vec<usize> = everybody().map(|member| member.seen.count()).collect();
    server.kill();
    for member in everybody() {
        count(&member.doc, 100);
    }
    server.restart();
    let back: Vec<Instant> = everybody()
        .zip(before)
        .map(|(member, before)| {
            let is_back = |status: &Status| matches!(status, Status::Syncing | Status::Idle);
            member.seen.wait_from(before, |seen| {
                let gone = seen.iter().position(|(_, status)| *status == Status::Offline)?;
                seen[gone..].iter().find(|(_, status)| is_back(status)).map(|(at, _)| *at)
            })
        })
        .collect();
    // Counted in every second that begins with one of them.
    let within =
        |from: &Instant| back.iter().filter(|at| **at >= *from && **at < *from + Duration::from_secs(1)).count();
    let busiest = back.iter().map(within).max().unwrap();
    let first = back.iter().min().unwrap();
    let spread = back.iter().max().unwrap().duration_since(*first);
    println!("{} connections came back within {spread:?}, at most {busiest} in a second", back.len());
    assert!(busiest < back.len() * 2 / 3, "{busiest} of {} came back in the same second", back.len());

    let tens = (0..USERS * usize::from(DEVICES)).step_by(3).fold(BTreeMap::new(), |mut tens, member| {
        *tens.entry(member / usize::from(DEVICES)).or_insert(0i64) += 10;
        tens
    });
    for (user, members) in crowd.iter().enumerate() {
        let expected = 101 * i64::from(DEVICES) + tens.get(&user).copied().unwrap_or_default();
        let space = members[0].phone.personal_space();
        for member in members {
            assert!(member.phone.wait_acknowledged(space, PATIENCE));
            assert!(counts(&member.doc, expected), "{:?}, not {expected}", member.doc.get("count"));
            // Who met the server in the moment of its death took it for blocked, and has made requests meanwhile.
            while member.phone.traffic().connections < 2 {
                member.phone.sync_once(PATIENCE).unwrap();
            }
            assert!(member.phone.refused(space).unwrap().is_empty());
        }
        for member in members {
            assert_eq!(member.doc.heads().unwrap(), members[0].doc.heads().unwrap());
        }
    }
}
