//! The server is killed in the middle of its work, again and again: nothing acknowledged is lost, nothing counts twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sync_client_ffi::{Client, Value};
use sync_tests::rig::{PATIENCE, Seeded, ServerProcess, device, token};

const KILLS: usize = 50;
const PHONES: u8 = 3;

#[test]
fn fifty_kills_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("server");
    let mut server = ServerProcess::start(env!("CARGO_BIN_EXE_child").as_ref(), &data);
    let phone = |number: u8| {
        let token = token(&data, "ann", device(number));
        Client::builder(folder.path().join(format!("{number}"))).server(server.url()).token(token).open().unwrap()
    };
    let phones: Vec<Client> = (1..=PHONES).map(phone).collect();
    let space = phones[0].personal_space();
    let doc = phones[0].create(space, "counters").unwrap();
    doc.edit(|edit| {
        edit.put("count", Value::Counter(0));
    })
    .unwrap();
    phones[0].sync_once(PATIENCE).unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let mut typing = Vec::new();
    for phone in &phones {
        phone.sync_once(PATIENCE).unwrap();
        phone.start().unwrap();
        let (phone, stop, id) = (phone.clone(), stop.clone(), doc.id());
        typing.push(std::thread::spawn(move || {
            let doc = phone.open_doc(space, id).unwrap();
            let mut increments = 0i64;
            while !stop.load(Ordering::Relaxed) {
                doc.edit(|edit| {
                    edit.increment("count", 1);
                })
                .unwrap();
                increments += 1;
                if increments % 8 == 0 {
                    doc.seal().unwrap();
                }
            }
            increments
        }));
    }

    let mut random = Seeded::new("kills");
    for kill in 0..KILLS {
        // Some way into the work, at no particular moment of it.
        let busy = &phones[kill % phones.len()];
        let acked = busy.acknowledged(space).unwrap().n;
        assert!(busy.wait_for(space, busy.device(), acked + 1 + random.below(4), PATIENCE), "no progress, kill {kill}");
        let moment = Instant::now();
        while moment.elapsed().as_micros() < u128::from(random.below(8_000)) {
            std::hint::spin_loop();
        }
        server.kill();
        let acknowledged: Vec<u64> = phones.iter().map(|phone| phone.acknowledged(space).unwrap().n).collect();
        server.restart();
        for (phone, acknowledged) in phones.iter().zip(acknowledged) {
            let held = server.acked(space, &token(&data, "ann", phone.device()));
            assert!(
                held >= acknowledged,
                "kill {kill}: the server holds {held} of {acknowledged} acknowledged changes"
            );
            phone.network_changed(true);
        }
    }

    stop.store(true, Ordering::Relaxed);
    let increments: i64 = typing.into_iter().map(|thread| thread.join().unwrap()).sum();
    for phone in &phones {
        phone.sync_once(PATIENCE).unwrap();
        phone.stop();
    }
    let fresh = Client::builder(folder.path().join("fresh"))
        .server(server.url())
        .token(token(&data, "ann", device(99)))
        .open()
        .unwrap();
    for phone in phones.iter().chain([&fresh]) {
        phone.sync_once(PATIENCE).unwrap();
        let doc = phone.open_doc(space, doc.id()).unwrap();
        assert_eq!(doc.get("count").unwrap(), Some(Value::Counter(increments)));
        assert!(phone.refused(space).unwrap().is_empty());
        assert_eq!(doc.heads().unwrap(), phones[0].open_doc(space, doc.id()).unwrap().heads().unwrap());
    }
    println!("{KILLS} kills, {increments} increments, {} changes", fresh.log_position(space).unwrap());
}
