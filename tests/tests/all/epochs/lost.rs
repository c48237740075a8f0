//! A server that lost an epoch gets it back from phones, and its database is sound then.

use std::path::Path;

use sync_client_ffi::{Client, Doc, Value};
use sync_tests::rig::PATIENCE;

use super::super::healing::disaster::{Disaster, Embedded};
use super::super::healing::phone;
use super::{churn, equal, insert, new_doc, sync};

/// Two phones with a document, and a server that is backed up then.
fn backed_up(disaster: &mut dyn Disaster, folder: &Path) -> (Client, Client, Doc, Doc) {
    let (one, other) = (phone(disaster.server(), folder, 1), phone(disaster.server(), folder, 2));
    let doc = new_doc(&one);
    churn(&doc, 4);
    sync(&[&one, &other]);
    let of_other = other.open_doc(one.personal_space(), doc.id()).unwrap();
    disaster.back_up();
    (one, other, doc, of_other)
}

/// It begins anew everywhere, and goes on.
fn begins_anew(one: &Client, other: &Client, doc: &Doc, of_other: &Doc) {
    assert_eq!(doc.start_epoch().unwrap(), 1);
    sync(&[one, other]);
    assert_eq!((doc.epoch().unwrap(), of_other.epoch().unwrap()), (1, 1));
    insert(of_other, "fox", "red ");
    sync(&[one, other]);
}

pub(super) fn an_epoch_comes_back(disaster: &mut dyn Disaster) {
    let folder = tempfile::tempdir().unwrap();
    let (one, other, doc, of_other) = backed_up(disaster, folder.path());
    let space = one.personal_space();
    begins_anew(&one, &other, &doc, &of_other);
    let place = one.log_position(space).unwrap();
    disaster.restore();
    // The one that did not begin it comes first.
    for phone in [&other, &one, &other] {
        phone.sync_once(PATIENCE).unwrap();
        assert_eq!(phone.log_position(space).unwrap(), place);
    }
    let fresh = phone(disaster.server(), folder.path(), 3);
    fresh.sync_once(PATIENCE).unwrap();
    for phone in [&other, &fresh] {
        equal(&one, phone, doc.id());
        assert_eq!(phone.open_doc(space, doc.id()).unwrap().epoch().unwrap(), 1);
        assert!(phone.quarantine(space).unwrap().is_empty());
    }
    // Life goes on.
    insert(&fresh.open_doc(space, doc.id()).unwrap(), "red", "very ");
    sync(&[&fresh, &one, &other]);
    equal(&one, &other, doc.id());
    assert_eq!(doc.text("body").unwrap().unwrap(), "the quick brown very red fox");
    assert_eq!(doc.get("count").unwrap(), Some(Value::Counter(204)));
    drop((one, other, fresh));
    disaster.is_sound(space);
}

#[test]
fn an_epoch_that_a_server_on_sqlite_lost_comes_back() {
    an_epoch_comes_back(&mut Embedded::start());
}
