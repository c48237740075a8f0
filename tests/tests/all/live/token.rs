//! Tokens run out and are renewed.

use std::time::{Duration, Instant};

use sync_client_ffi::Status;
use sync_tests::rig::{PATIENCE, Rig, device};
use sync_tests::seen::Seen;

use super::{Pair, append, count, counts, exchange_until, shows, statuses};

const SHORT: Duration = Duration::from_secs(3);

#[test]
fn a_token_is_renewed_on_the_open_connection() {
    let rig = Rig::start();
    let issued = Instant::now();
    let token = rig.token_for("ann", device(1), SHORT);
    let ann = rig.builder("ann", 1).server(rig.url()).token(token).open().unwrap();
    let wanted = Seen::default();
    let (told, renewing, fresh) = (wanted.clone(), ann.clone(), rig.token("ann", device(1)));
    // The server warns long before such a short one runs out.
    let subscription = ann.on_token_wanted(move || {
        renewing.set_token(fresh.as_str());
        told.see(());
    });
    let pair = Pair::of(ann, rig.phone("ann", 2));
    wanted.wait(|wanted| (!wanted.is_empty()).then_some(()));
    let exchanged = exchange_until(issued + SHORT + Duration::from_millis(500), &pair);
    assert!(counts(&pair.same, exchanged));
    assert_eq!(pair.ann.traffic().connections, 1, "the connection outlived its first token");
    assert_eq!(pair.ann.traffic().requests, 0);
    drop(subscription);
}

#[test]
fn without_a_new_token_edits_go_on_offline_until_there_is_one() {
    let rig = Rig::start();
    let token = rig.token_for("ann", device(1), SHORT);
    let ann = rig.builder("ann", 1).server(rig.url()).token(token).open().unwrap();
    let (seen, statuses) = statuses(&ann);
    let pair = Pair::of(ann, rig.phone("ann", 2));
    seen.wait_for(0, &Status::NeedsAuth);
    append(&pair.doc, "offline");
    count(&pair.doc, 1);
    // Who begins to listen late hears of it all the same.
    let wanted = Seen::default();
    let told = wanted.clone();
    let subscription = pair.ann.on_token_wanted(move || told.see(()));
    wanted.wait(|wanted| (!wanted.is_empty()).then_some(()));
    pair.ann.set_token(rig.token("ann", device(1)));
    assert!(shows(&pair.same, "offline"));
    assert!(counts(&pair.same, 1));
    pair.ann.sync_once(PATIENCE).unwrap();
    assert_eq!(pair.ann.status(), Status::Idle);
    drop((subscription, statuses));
}

#[test]
fn the_token_of_another_device_is_not_used() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    pair.ann.stop();
    pair.ann.set_token(rig.token("ann", device(9)));
    let (seen, subscription) = statuses(&pair.ann);
    pair.ann.start().unwrap();
    seen.wait_for(0, &Status::NeedsAuth);
    append(&pair.doc, "mine");
    pair.ann.set_token(rig.token("ann", device(1)));
    assert!(shows(&pair.same, "mine"));
    drop(subscription);
}
