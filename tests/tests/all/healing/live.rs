//! A live connection that finds the server restored leads to the same.

use sync_client_ffi::{Client, Status};
use sync_tests::rig::PATIENCE;

use super::disaster::{Disaster, Embedded};
use super::{count, counter, increment, phone};

#[test]
fn phones_on_live_connections_hand_back_what_the_server_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut disaster = Embedded::start();
    let phones: Vec<Client> = (1..=3).map(|number| phone(disaster.server(), folder.path(), number)).collect();
    let (space, doc) = counter(&phones[0]);
    for phone in &phones {
        phone.start().unwrap();
        assert!(phone.wait_for(space, phones[0].device(), 2, PATIENCE));
    }
    disaster.back_up();
    for _ in 0..20 {
        for phone in &phones {
            increment(phone, space, doc);
            assert!(phone.wait_acknowledged(space, PATIENCE));
        }
    }
    // The first is gone; the others have what it wrote.
    let last = phones[0].feed(space).unwrap().n;
    for phone in &phones[1..] {
        assert!(phone.wait_for(space, phones[0].device(), last, PATIENCE));
    }
    phones[0].stop();
    disaster.restore();
    for phone in &phones[1..] {
        phone.network_changed(true);
        increment(phone, space, doc);
    }
    for phone in &phones[1..] {
        assert!(phone.wait_acknowledged(space, PATIENCE));
        phone.sync_once(PATIENCE).unwrap();
        assert!(!matches!(phone.status(), Status::Error(_)), "{:?}", phone.status());
        assert!(phone.open_doc(space, doc).unwrap().wait_until(PATIENCE, |_| count(phone, space, doc) == 62));
    }
    let fresh = super::phone(disaster.server(), folder.path(), 9);
    fresh.sync_once(PATIENCE).unwrap();
    assert_eq!(count(&fresh, space, doc), 62);
    assert_eq!(fresh.log_position(space).unwrap(), 64);
}
