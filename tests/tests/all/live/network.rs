//! The network changes, and the app comes and goes.

use std::time::Instant;

use sync_client_ffi::Status;
use sync_core::limits::{LIVE_PING_INTERVAL_MS, LIVE_PROBE_TIMEOUT_MS};
use sync_tests::proxy::Proxy;
use sync_tests::rig::{PATIENCE, Rig};

use super::{Pair, append, count, counts, shows, statuses};

#[test]
fn a_connection_of_a_network_that_was_is_replaced() {
    let rig = Rig::start();
    let proxy = Proxy::start(rig.address());
    let pair = Pair::of(rig.phone("ann", 1), rig.phone_by("ann", 2, &proxy.url()));
    let began = Instant::now();
    proxy.lose();
    append(&pair.doc, "hello");
    count(&pair.same, 1);
    pair.other.network_changed(true);
    assert!(shows(&pair.same, "hello"));
    assert!(counts(&pair.doc, 1));
    let took = began.elapsed().as_millis() as u64;
    // Three missed heartbeats would take longer.
    assert!(took >= LIVE_PROBE_TIMEOUT_MS, "{took} ms: what became of the old connection?");
    assert!(took < LIVE_PING_INTERVAL_MS / 2 + 3 * LIVE_PROBE_TIMEOUT_MS, "{took} ms");
    assert_eq!(pair.other.traffic().connections, 2);
    assert_eq!(pair.other.traffic().requests, 0);
}

#[test]
fn a_connection_that_is_sound_outlives_a_change_of_the_network() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    for round in 1..=3 {
        pair.other.network_changed(true);
        count(&pair.doc, 1);
        assert!(counts(&pair.same, round));
    }
    assert_eq!(pair.other.traffic().connections, 1);
}

#[test]
fn without_a_network_nothing_is_tried() {
    let rig = Rig::start();
    let proxy = Proxy::start(rig.address());
    let phone = rig.phone_by("ann", 1, &proxy.url());
    let (seen, subscription) = statuses(&phone);
    phone.network_changed(false);
    phone.start().unwrap();
    seen.wait_for(0, &Status::Offline);
    let asked = proxy.asked();
    let space = phone.personal_space();
    phone.create(space, "notes").unwrap();
    phone.network_changed(true);
    assert!(phone.wait_acknowledged(space, PATIENCE));
    assert!(proxy.asked() <= asked + 1);
    drop(subscription);
}

#[test]
fn in_the_background_what_is_pending_is_sent_and_then_nothing_is_open() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let (seen, subscription) = statuses(&pair.ann);
    append(&pair.doc, "last words");
    pair.ann.set_foreground(false);
    seen.wait_for(0, &Status::Asleep);
    assert_eq!(pair.ann.pending(pair.space).unwrap().outbox_changes, 0, "sent before it fell asleep");
    assert!(shows(&pair.same, "last words"));

    // What happens meanwhile comes when it is called for, and then it sleeps again.
    append(&pair.same, "!");
    assert!(pair.other.wait_acknowledged(pair.space, PATIENCE));
    assert_eq!(pair.doc.text("body").unwrap().as_deref(), Some("last words"));
    pair.ann.sync_once(PATIENCE).unwrap();
    assert_eq!(pair.doc.text("body").unwrap().as_deref(), Some("last words!"));
    assert_eq!(pair.ann.status(), Status::Asleep);

    let before = seen.count();
    pair.ann.set_foreground(true);
    seen.wait_for(before, &Status::Idle);
    append(&pair.same, "!");
    assert!(shows(&pair.doc, "last words!!"));
    assert_eq!(pair.ann.traffic().requests, 0);
    drop(subscription);
}

#[test]
fn an_app_that_starts_in_the_background_opens_nothing() {
    let rig = Rig::start();
    let proxy = Proxy::start(rig.address());
    let phone = rig.phone_by("ann", 1, &proxy.url());
    let (seen, subscription) = statuses(&phone);
    phone.set_foreground(false);
    phone.start().unwrap();
    seen.wait_for(0, &Status::Asleep);
    let before = proxy.asked();
    phone.set_foreground(true);
    proxy.wait_asked(before + 1);
    seen.wait_for(0, &Status::Idle);
    drop(subscription);
}

#[test]
fn one_exchange_is_made_in_the_background_and_without_a_network_as_well() {
    let rig = Rig::start();
    let phone = rig.phone("ann", 1);
    let space = phone.personal_space();
    phone.set_foreground(false);
    phone.network_changed(false);
    phone.create(space, "notes").unwrap();
    phone.sync_once(PATIENCE).unwrap();
    assert_eq!(phone.pending(space).unwrap().outbox_changes, 0);
}
