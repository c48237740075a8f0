//! The worker dies at any moment, and so does the server: every document loads, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sync_client_ffi::{Client, Value};
use sync_server::Config;
use sync_server::compaction::{Round, Workshop};
use sync_server::store::sqlite::FILE;
use sync_tests::rig::{PATIENCE, Rig, Seeded, ServerProcess, device, token};

use super::{eager, equal, new_doc, noise, stored, write};

const WORKER_KILLS: u64 = 50;
/// Rounds in which that many are reached: a worker that is done before it is to die was not killed.
const WORKER_ROUNDS_MAX: u64 = 400;
const SERVER_KILLS: usize = 50;
const POSTGRES_KILLS: usize = 20;

/// This package's worker, killed after so many microseconds.
fn dying(after_us: u64) -> Workshop {
    let worker = [env!("CARGO_BIN_EXE_child"), "compaction-worker", "1073741824"];
    let delay = format!("{}.{:06}", after_us / 1_000_000, after_us % 1_000_000);
    let arguments = ["-s", "KILL", &delay].into_iter().chain(worker).map(str::to_owned).collect();
    Workshop::Program { program: "timeout".into(), arguments }
}

#[test]
fn fifty_kills_of_the_worker_lose_nothing() {
    let mut rig = Rig::with(eager);
    let ann = rig.phone("ann", 1);
    let mut random = Seeded::new("kills of the worker");
    let mut docs: Vec<_> = (0..4).map(|_| new_doc(&ann)).collect();
    let (mut killed, mut folded) = (0, 0);
    let mut rounds = 0;
    while killed < WORKER_KILLS {
        assert!(rounds < WORKER_ROUNDS_MAX, "{killed} of {WORKER_KILLS} after {rounds} rounds");
        // One over which a worker died often is left alone for a while.
        if rounds % 4 == 3 {
            docs.push(new_doc(&ann));
        }
        for doc in &docs[docs.len() - 4..] {
            write(doc, 6, &noise(&mut random, 50));
        }
        ann.sync_once(PATIENCE).unwrap();
        rig.fold_in(dying(1 + random.below(40_000)));
        rig.restart();
        let round = rig.compact();
        killed += round.unfolded;
        folded += round.folded;
        rounds += 1;
        if rounds % 20 == 0 {
            let fresh = rig.phone("ann", 10 + (rounds / 20) as u8);
            fresh.sync_once(PATIENCE).unwrap();
            for doc in &docs {
                equal(&ann, &fresh, doc.id());
            }
        }
    }
    println!("in {rounds} rounds {killed} times a worker died over a document, {folded} times one was folded");
    // A worker that is let live folds what is left, whatever was over it before; later, where it is suspected by now.
    rig.fold_in(crate::worker());
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
    rig.fold_in(crate::worker());
    rig.restart();
    assert_eq!(rig.compact(), Round { folded: 2, dropped: 2, ..Round::default() });
    let fresh = rig.phone("ann", 2);
    fresh.sync_once(PATIENCE).unwrap();
    for doc in &docs {
        equal(&ann, &fresh, doc.id());
    }
}

/// Two phones write into some documents, and the server that folds them dies at one moment after the other. Whoever comes in between
/// can load what there is, and in the end everybody has everything, once.
///
/// `freed` ends the leases of the dead one, as a minute does, and says whether it had any: it died while it went round.
fn kills_of_a_server_lose_nothing(
    name: &str,
    kills: usize,
    change: impl FnOnce(&mut Config),
    freed: impl Fn(&Config) -> u64,
) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data: folder.path().join("server"), ..Config::default() };
    eager(&mut config);
    // Whoever comes in between is no device that comes back.
    config.compaction.active_days = 0;
    config.listen.set_port(0);
    config.compaction.enabled = true;
    config.compaction.every_ms = 20;
    change(&mut config);
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
                std::thread::park_timeout(std::time::Duration::from_millis(4));
            }
            increments
        }));
    }
    let count = |phone: &Client| -> i64 {
        let of = |doc: &sync_client_ffi::Doc| match phone.open_doc(space, doc.id()).unwrap().get("count").unwrap() {
            Some(Value::Counter(count)) => count,
            other => panic!("{other:?}"),
        };
        docs.iter().map(of).sum()
    };
    let mut random = Seeded::new(name);
    let (mut seen, mut snapshots, mut amid) = (0, 0, 0);
    for kill in 0..kills {
        // Some way into the work, at no particular moment of it.
        let busy = &phones[kill % phones.len()];
        let acked = busy.acknowledged(space).unwrap().n;
        let more = 1 + random.below(15);
        assert!(busy.wait_for(space, busy.device(), acked + more, PATIENCE), "no progress, kill {kill}");
        spin(random.below(25_000));
        server.kill();
        amid += freed(&config);
        let acknowledged: Vec<u64> = phones.iter().map(|phone| phone.acknowledged(space).unwrap().n).collect();
        server.restart();
        for (phone, acknowledged) in phones.iter().zip(acknowledged) {
            let held = server.acked(space, &token(&config.data, "ann", phone.device()));
            assert!(held >= acknowledged, "kill {kill}: {held} of {acknowledged} acknowledged changes are held");
            phone.network_changed(true);
        }
        if kill % 10 == 9 {
            let late = phone(100 + kill as u8);
            late.sync_once(PATIENCE).unwrap();
            let now = count(&late);
            assert!(now >= seen, "{now} of {seen} that were there before");
            seen = now;
            let store = rusqlite::Connection::open(folder.path().join(format!("{}", 100 + kill))).unwrap();
            snapshots += store.query_row("SELECT COUNT(*) FROM snapshots", [], |row| row.get::<_, u64>(0)).unwrap();
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
        assert_eq!(count(phone), increments);
        for doc in &docs {
            equal(&phones[0], phone, doc.id());
        }
        assert!(phone.refused(space).unwrap().is_empty());
    }
    assert!(snapshots > 0, "nobody got a snapshot");
    assert!(amid > 0, "it never died while it went round");
    println!(
        "{kills} kills, {amid} amid a round; {increments} increments, {snapshots} snapshots for those who came in between"
    );
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

fn spin(micros: u64) {
    let moment = std::time::Instant::now();
    while moment.elapsed().as_micros() < u128::from(micros) {
        std::hint::spin_loop();
    }
}

#[test]
fn fifty_kills_of_a_server_that_compacts_lose_nothing() {
    let freed = |config: &Config| {
        let database = rusqlite::Connection::open(config.data.join(FILE)).unwrap();
        database.execute("DELETE FROM compactors WHERE until_ms > ?1", [now_ms()]).unwrap() as u64
    };
    kills_of_a_server_lose_nothing("kills of a server that compacts", SERVER_KILLS, |_| {}, freed);
}

mod needs_postgres {
    use std::net::{Ipv4Addr, SocketAddr};

    use sync_server::Config;
    use sync_tests::nodes::migrate;
    use sync_tests::services;
    use sync_tests::services::daemon::free_port;

    #[test]
    fn kills_of_a_server_that_compacts_lose_nothing_on_postgres() {
        let database = services::database();
        let change = |config: &mut Config| {
            config.database.url = Some(database.url().to_owned().into());
            config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            migrate(&config.database);
        };
        let freed = |_: &Config| {
            let held = database.ask(&format!("SELECT count(*) FROM compactors WHERE until_ms > {}", super::now_ms()));
            database.ask("DELETE FROM compactors");
            held.trim().parse().unwrap()
        };
        super::kills_of_a_server_lose_nothing("kills on Postgres", super::POSTGRES_KILLS, change, freed);
    }
}
