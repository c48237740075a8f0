//! Server and phones die while an epoch begins: either it has begun for everybody or for nobody, and nothing is lost.

use std::time::{Duration, Instant};

use sync_client_ffi::{Client, ClientError, Reason, RejectCode, Value};
use sync_tests::rig::{PATIENCE, Rig, Seeded};

use super::super::healing::disaster::{Disaster, Embedded};
use super::super::healing::phone;
use super::{churn, eager, equal, insert, new_doc, sync};

const KILLS: u64 = 12;

fn spin(time: Duration) {
    let moment = Instant::now();
    while moment.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// The server dies while a new epoch is pushed to it.
pub(super) fn the_server_is_killed_under_a_new_epoch(disaster: &mut dyn Disaster) {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (phone(disaster.server(), folder.path(), 1), phone(disaster.server(), folder.path(), 2));
    let space = one.personal_space();
    let doc = new_doc(&one);
    sync(&[&one, &other]);
    let of_other = other.open_doc(space, doc.id()).unwrap();
    let mut random = Seeded::new("the server is killed under a new epoch");
    let (mut early, mut cut) = (0, 0);
    for kill in 1..=KILLS {
        churn(&doc, 2);
        sync(&[&one, &other]);
        assert_eq!(doc.start_epoch().unwrap(), kill);
        insert(&of_other, "fox", "red ");
        std::thread::scope(|scope| {
            // It fails, or the push was through before.
            let pushing = scope.spawn(|| one.sync_once(PATIENCE).is_err());
            spin(Duration::from_micros(random.below(15_000)));
            disaster.server().kill();
            disaster.server().restart();
            one.network_changed(true);
            cut += u64::from(pushing.join().unwrap());
        });
        sync(&[&one, &other, &one]);
        if doc.epoch().unwrap() < kill {
            // Who has read how far is not on disk at once, so the server that comes back may think that the other one has not.
            for refused in one.quarantine(space).unwrap() {
                assert_eq!(refused.reason, Reason::Refused(RejectCode::EpochEarly));
                one.drop_quarantined(space, refused.id()).unwrap();
            }
            assert_eq!(doc.start_epoch().unwrap(), kill);
            sync(&[&one, &other, &one]);
            early += 1;
        }
        assert_eq!((doc.epoch().unwrap(), of_other.epoch().unwrap()), (kill, kill));
        equal(&one, &other, doc.id());
    }
    println!("{KILLS} kills, {cut} of them cut an exchange short, {early} epochs were refused as too early");
    assert!(early < KILLS);
    let fresh = phone(disaster.server(), folder.path(), 9);
    fresh.sync_once(PATIENCE).unwrap();
    equal(&one, &fresh, doc.id());
    // Each round counts 2 and 100, once.
    assert_eq!(doc.get("count").unwrap(), Some(Value::Counter(102 * KILLS as i64)));
    assert_eq!(doc.text("body").unwrap().unwrap().matches("red ").count(), KILLS as usize);
    for phone in [&one, &other, &fresh] {
        assert!(phone.quarantine(space).unwrap().is_empty());
    }
    drop((one, other, fresh));
    disaster.is_sound(space);
}

#[test]
fn a_server_on_sqlite_is_killed_under_a_new_epoch() {
    the_server_is_killed_under_a_new_epoch(&mut Embedded::start());
}

#[test]
fn phones_are_killed_while_they_start_an_epoch_and_while_they_take_one() {
    let rig = Rig::with(eager);
    let stores = [1, 2].map(|number| rig.folder().join(format!("ann-{number}.sqlite")));
    let tokens = [1, 2].map(|number| rig.token("ann", sync_tests::rig::device(number)));
    let open = |number: usize| -> Client {
        let (store, token) = (&stores[number - 1], tokens[number - 1].as_str());
        Client::builder(store).server(rig.url()).token(token).live(false).open().unwrap()
    };
    let killed = |number: usize, command: &str, micros: u64| {
        let mut child = crate::child(command, &stores[number - 1], &rig.url(), &tokens[number - 1]);
        spin(Duration::from_micros(micros));
        child.kill().unwrap();
        u64::from(!child.wait().unwrap().success())
    };
    let (one, other) = (open(1), open(2));
    let space = one.personal_space();
    let id = new_doc(&one).id();
    sync(&[&one, &other]);
    drop((one, other));
    let mut random = Seeded::new("phones are killed over an epoch");
    let (mut starting, mut taking, mut begun) = (0, 0, 0);
    for round in 1..=KILLS {
        let (one, other) = (open(1), open(2));
        sync(&[&one, &other]);
        churn(&one.open_doc(space, id).unwrap(), 2);
        sync(&[&one, &other]);
        // Upon the old epoch, and never sent before the new one is here.
        insert(&other.open_doc(space, id).unwrap(), "fox", "red ");
        drop((one, other));
        starting += killed(1, "epoch", random.below(60_000));
        // What it had begun goes on; where it had not, the next one does.
        let one = open(1);
        sync(&[&one]);
        let doc = one.open_doc(space, id).unwrap();
        if doc.epoch().unwrap() == begun {
            match doc.start_epoch() {
                Ok(number) => assert_eq!(number, begun + 1),
                Err(error) => panic!("round {round}: {error}"),
            }
            sync(&[&one]);
        }
        assert_eq!(doc.epoch().unwrap(), begun + 1, "round {round}");
        begun += 1;
        taking += killed(2, "sync", random.below(60_000));
        let other = open(2);
        sync(&[&other, &one]);
        equal(&one, &other, id);
        let count = Some(Value::Counter(102 * round as i64));
        assert_eq!(one.open_doc(space, id).unwrap().get("count").unwrap(), count);
        assert!(matches!(other.quarantine(space), Ok(kept) if kept.is_empty()));
    }
    println!("{starting} were killed while they started an epoch, {taking} while they took one, of {KILLS} each");
    assert!(starting > 1 && taking > 1);
    let fresh = rig.phone("ann", 3);
    fresh.sync_once(PATIENCE).unwrap();
    equal(&open(1), &fresh, id);
    assert!(!matches!(fresh.open_doc(space, id).unwrap().start_epoch(), Err(ClientError::Unsettled(_))));
}
