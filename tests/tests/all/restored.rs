//! A store that was restored from a backup, or copied from another device.

use std::path::Path;

use sync_client_ffi::{Client, ClientError, Status, SyncError, Trouble};
use sync_tests::rig::{PATIENCE, Rig, device};

fn open(rig: &Rig, store: &Path, marker: &Path) -> Client {
    open_as(1, rig, store, marker)
}

fn open_as(number: u8, rig: &Rig, store: &Path, marker: &Path) -> Client {
    let token = rig.token("ann", device(number));
    Client::builder(store).server(rig.url()).token(token).marker(marker).open().unwrap()
}

/// Whether it is synchronised; where it is not, it says so in every way, and is read and edited all the same.
fn synchronises(phone: &Client) -> bool {
    let space = phone.personal_space();
    if !phone.is_restored() {
        phone.sync_once(PATIENCE).unwrap();
        return true;
    }
    assert_eq!(phone.status(), Status::Error(Trouble::RolledBack));
    assert_eq!(phone.sync_once(PATIENCE), Err(SyncError::Trouble(Trouble::RolledBack)));
    assert!(matches!(phone.start(), Err(ClientError::Restored)));
    assert_eq!(phone.traffic().requests, 0);
    let before = phone.documents(space, None).unwrap().len();
    phone.create(space, "notes").unwrap();
    assert_eq!(phone.documents(space, None).unwrap().len(), before + 1);
    false
}

#[test]
fn a_marker_that_no_backup_holds_tells_a_restored_store_from_its_own() {
    let rig = Rig::start();
    let (store, marker) = (rig.folder().join("store"), rig.folder().join("no-backup").join("marker"));
    for _ in 0..3 {
        let phone = open(&rig, &store, &marker);
        assert!(synchronises(&phone));
        phone.create(phone.personal_space(), "notes").unwrap();
    }
    let backup = rig.folder().join("backup");
    std::fs::copy(&store, &backup).unwrap();

    // On another device, where there is no marker.
    let elsewhere = rig.folder().join("elsewhere").join("marker");
    let copied = rig.folder().join("copied");
    std::fs::copy(&backup, &copied).unwrap();
    for _ in 0..2 {
        assert!(!synchronises(&open(&rig, &copied, &elsewhere)));
    }
    assert!(!elsewhere.exists(), "it goes on being known");

    // On the same device, where the marker is another installation's.
    let again = rig.folder().join("again");
    assert!(synchronises(&open_as(3, &rig, &again, &rig.folder().join("again.marker"))));
    assert!(!synchronises(&open(&rig, &backup, &rig.folder().join("again.marker"))));

    // Without the option nobody looks, and the store that stayed is none the worse.
    assert!(synchronises(&open(&rig, &store, &marker)));
}

#[test]
fn a_store_from_before_the_marker_gets_one_and_a_backup_of_that_time_is_known() {
    let rig = Rig::start();
    let (store, marker) = (rig.folder().join("store"), rig.folder().join("marker"));
    let phone = Client::builder(&store).identity("ann", device(1)).open().unwrap();
    phone.create(phone.personal_space(), "notes").unwrap();
    drop(phone);
    let backup = rig.folder().join("backup");
    std::fs::copy(&store, &backup).unwrap();
    assert!(synchronises(&open(&rig, &store, &marker)));
    assert!(!synchronises(&open(&rig, &backup, &marker)));
    // A new store of the same app, after the old one was wiped.
    std::fs::remove_file(&store).unwrap();
    assert!(synchronises(&open_as(2, &rig, &store, &marker)));
    assert!(synchronises(&open_as(2, &rig, &store, &marker)));
}
