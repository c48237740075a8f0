//! Something on the way does not let live connections through.

use std::time::Duration;

use sync_tests::proxy::{Proxy, Upgrades};
use sync_tests::rig::{PATIENCE, Rig};

use super::{Pair, append, shows};

fn falls_back_and_returns(upgrades: Upgrades) {
    let rig = Rig::start();
    let (one, two) = (Proxy::start(rig.address()), Proxy::start(rig.address()));
    for proxy in [&one, &two] {
        proxy.set_upgrades(upgrades);
    }
    let pair = Pair::of(rig.phone_by("ann", 1, &one.url()), rig.phone_by("ann", 2, &two.url()));
    append(&pair.doc, "by requests");
    assert!(pair.ann.wait_acknowledged(pair.space, PATIENCE));
    pair.other.sync_once(PATIENCE).unwrap();
    assert!(shows(&pair.same, "by requests"));
    for phone in [&pair.ann, &pair.other] {
        let traffic = phone.traffic();
        assert!(traffic.requests > 0 && traffic.connections == 0, "{traffic:?}");
    }
    for (proxy, phone) in [(&one, &pair.ann), (&two, &pair.other)] {
        proxy.set_upgrades(Upgrades::Pass);
        phone.network_changed(true);
        phone.sync_once(PATIENCE).unwrap();
    }
    // They may have been in the middle of a request; from the live connection on there are no more.
    let live = || [&pair.ann, &pair.other].iter().all(|phone| phone.traffic().connections > 0);
    let mut typed = String::from("by requests");
    while !live() {
        typed.push('.');
        append(&pair.doc, ".");
        pair.ann.sync_once(PATIENCE).unwrap();
        pair.other.sync_once(PATIENCE).unwrap();
    }
    let requests = || [&pair.ann, &pair.other].map(|phone| phone.traffic().requests);
    for phone in [&pair.ann, &pair.other] {
        phone.sync_once(PATIENCE).unwrap();
    }
    let before = requests();
    append(&pair.doc, "live");
    typed.push_str("live");
    assert!(shows(&pair.same, &typed));
    assert_eq!(requests(), before);
}

#[test]
fn where_upgrades_are_forbidden_requests_are_made_until_they_are_not() {
    falls_back_and_returns(Upgrades::Forbidden);
}

#[test]
fn where_upgrades_are_swallowed_requests_are_made_until_they_are_not() {
    falls_back_and_returns(Upgrades::Swallowed);
}

#[test]
fn a_blocked_client_tries_again_of_itself() {
    let rig = Rig::start();
    let proxy = Proxy::start(rig.address());
    proxy.set_upgrades(Upgrades::Forbidden);
    let phone = rig.phone_by("ann", 1, &proxy.url());
    phone.start().unwrap();
    proxy.wait_asked(1);
    phone.sync_once(PATIENCE).unwrap();
    proxy.set_upgrades(Upgrades::Pass);
    proxy.wait_asked(2);
    phone.sync_once(Duration::from_secs(30)).unwrap();
}
