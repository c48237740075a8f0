//! The worker dies at any moment, and so does the server: every document loads, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sync_client_ffi::{Client, Value};
use sync_server::Config;
use sync_server::compaction::{Round, Workshop};
use sync_tests::rig::{PATIENCE, Rig, Seeded, ServerProcess, device, token};

use super::{eager, equal, new_doc, noise, stored, write};

const WORKER_KILLS: u64 = 50;
const SERVER_KILLS: usize = 50;

/// This package's worker, killed after so many microseconds.
fn dying(after_us: u64) -> Workshop {
    let worker = [env!("CARGO_BIN_EXE_child"), "compaction-worker", "1073741824"];
    let delay = format!("{}.{:06}", after_us / 1_000_000, after_us % 1_000_000);
    let arguments = ["-s", "KILL", &delay].into_iter().chain(worker).map(str::to_owned).collect();
    Workshop::Program { program: "timeout".into(), arguments }
}

fn living() -> Workshop {
    let arguments = ["compaction-worker", "1073741824"].map(str::to_owned).to_vec();
    Workshop::Program { program: env!("CARGO_BIN_EXE_child").into(), arguments }
}

#[test]
fn fifty_kills_of_the_worker_lose_nothing() {
    let mut rig = Rig::with(eager);
    let ann = rig.phone("ann", 1);
    let mut random = Seeded::new("kills of the worker");
    let docs: Vec<_> = (0..4).map(|_| new_doc(&ann)).collect();
    let (mut killed, mut folded) = (0, 0);
    for kill in 0..WORKER_KILLS {
        for doc in &docs {
            write(doc, 6, &noise(&mut random, 50));
        }
        ann.sync_once(PATIENCE).unwrap();
        rig.fold_in(dying(1 + random.below(40_000)));
        rig.restart();
        let round = rig.compact();
        killed += round.unfolded;
        folded += round.folded;
        if kill % 10 == 9 {
            let fresh = rig.phone("ann", 10 + kill as u8);
            fresh.sync_once(PATIENCE).unwrap();
            for doc in &docs {
                equal(&ann, &fresh, doc.id());
            }
        }
    }
    assert!(killed > 0, "none was killed in the midst of its work");
    println!("{killed} times a worker died over a document, {folded} times one was folded");
    // A worker that is let live folds what is left, whatever was over it before; later, where it is suspected by now.
    rig.fold_in(living());
    rig.restart();
    rig.compact();
    let fresh = rig.phone("ann", 2);
    fresh.sync_once(PATIENCE).unwrap();
    for doc in &docs {
        equal(&ann, &fresh, doc.id());
    }
    assert_eq!(fresh.version(ann.personal_space()).unwrap(), ann.version(ann.personal_space()).unwrap());
}

#[test]
fn a_worker_that_needs_more_memory_than_it_may_take_costs_nobody_anything() {
    let mut rig = Rig::with(eager);
    // Too little to begin with, so that no document fits.
    let arguments = ["compaction-worker", "1048576"].map(str::to_owned).to_vec();
    rig.fold_in(Workshop::Program { program: env!("CARGO_BIN_EXE_child").into(), arguments });
    rig.restart();
    let ann = rig.phone("ann", 1);
    let docs = [new_doc(&ann), new_doc(&ann)];
    for doc in &docs {
        write(doc, 10, &"words ".repeat(100));
    }
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(rig.compact(), Round { unfolded: 2, ..Round::default() });
    let (state, left) = stored(&rig, ann.personal_space(), docs[0].id());
    assert!(state.snapshot.is_none() && left > 0 && state.unfolded.is_some_and(|(failures, _)| failures == 1));
    rig.fold_in(living());
    rig.restart();
    assert_eq!(rig.compact(), Round { folded: 2, dropped: 2, ..Round::default() });
    let fresh = rig.phone("ann", 2);
    fresh.sync_once(PATIENCE).unwrap();
    for doc in &docs {
        equal(&ann, &fresh, doc.id());
    }
}

#[test]
fn kills_of_a_server_that_compacts_lose_nothing() {
    lose_nothing(Config::default());
}

mod needs_postgres {
    use super::*;
    use sync_tests::{nodes, services};

    #[test]
    fn kills_of_a_server_that_compacts_in_postgres_lose_nothing() {
        let (database, mut config) = (services::database(), Config::default());
        config.database.url = Some(database.url().to_owned().into());
        nodes::migrate(&config.database);
        lose_nothing(config);
    }
}

/// Two phones type while the server compacts all the time and is killed.
fn lose_nothing(config: Config) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data: folder.path().join("server"), ..config };
    eager(&mut config);
    config.listen.set_port(0);
    config.compaction.enabled = true;
    config.compaction.every_ms = 20;
    let mut server = ServerProcess::configured(env!("CARGO_BIN_EXE_child").as_ref(), &config);
    let url = server.url();
    let phone = |number: u8| {
        let token = token(&config.data, "ann", device(number));
        Client::builder(folder.path().join(format!("{number}"))).server(url.as_str()).token(token).open().unwrap()
    };
    let phones = [phone(1), phone(2)];
    let space = phones[0].personal_space();
    let docs: Vec<_> = (0..3).map(|_| new_doc(&phones[0])).collect();
    phones[0].sync_once(PATIENCE).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut typing = Vec::new();
    for phone in &phones {
        phone.sync_once(PATIENCE).unwrap();
        phone.start().unwrap();
        let (phone, stop) = (phone.clone(), stop.clone());
        let ids: Vec<_> = docs.iter().map(sync_client_ffi::Doc::id).collect();
        typing.push(std::thread::spawn(move || {
            let mut increments = 0i64;
            while !stop.load(Ordering::Relaxed) {
                let doc = phone.open_doc(space, ids[increments as usize % ids.len()]).unwrap();
                doc.edit(|edit| {
                    edit.increment("count", 1);
                })
                .unwrap();
                doc.seal().unwrap();
                increments += 1;
                std::thread::park_timeout(std::time::Duration::from_millis(2));
            }
            increments
        }));
    }
    let mut random = Seeded::new("kills of a server that compacts");
    for kill in 0..SERVER_KILLS {
        let busy = &phones[kill % phones.len()];
        let acked = busy.acknowledged(space).unwrap().n;
        assert!(
            busy.wait_for(space, busy.device(), acked + 10 + random.below(30), PATIENCE),
            "no progress, kill {kill}"
        );
        server.kill();
        server.restart();
        for phone in &phones {
            phone.network_changed(true);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let increments: i64 = typing.into_iter().map(|thread| thread.join().unwrap()).sum();
    for phone in &phones {
        phone.sync_once(PATIENCE).unwrap();
        phone.stop();
    }
    let fresh = phone(99);
    for phone in phones.iter().chain([&fresh]) {
        phone.sync_once(PATIENCE).unwrap();
        let counts: i64 = docs
            .iter()
            .map(|doc| match phone.open_doc(space, doc.id()).unwrap().get("count").unwrap() {
                Some(Value::Counter(count)) => count,
                other => panic!("{other:?}"),
            })
            .sum();
        assert_eq!(counts, increments);
        for doc in &docs {
            equal(&phones[0], phone, doc.id());
        }
        assert!(phone.refused(space).unwrap().is_empty());
    }
    println!("{SERVER_KILLS} kills, {increments} increments");
}
