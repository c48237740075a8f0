//! Who is in a space.

use std::time::{Duration, Instant};

use sync_client_ffi::{Client, ClientError, PeerInfo, SpaceId, Subscription};
use sync_tests::proxy::Proxy;
use sync_tests::rig::{Rig, device};
use sync_tests::seen::Seen;

use super::Pair;

const TTL: Duration = Duration::from_secs(30);

fn watch(phone: &Client, space: SpaceId) -> (Seen<Vec<PeerInfo>>, Subscription) {
    let seen = Seen::default();
    let told = seen.clone();
    (seen, phone.on_presence(space, move |peers| told.see(peers.to_vec())))
}

fn peer(number: u8, data: &[u8]) -> PeerInfo {
    PeerInfo { user: "ann".into(), device: device(number), data: data.to_vec() }
}

#[test]
fn others_see_who_comes_changes_and_leaves() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let (seen, subscription) = watch(&pair.other, pair.space);
    pair.ann.set_presence(pair.space, b"line 1".to_vec(), TTL).unwrap();
    seen.wait_for(0, &vec![peer(1, b"line 1")]);
    assert_eq!(pair.other.peers(pair.space), [peer(1, b"line 1")]);
    pair.ann.set_presence(pair.space, b"line 2".to_vec(), TTL).unwrap();
    seen.wait_for(0, &vec![peer(1, b"line 2")]);

    // Who comes later hears of those who are there.
    let third = rig.phone("ann", 3);
    let (late, watching) = watch(&third, pair.space);
    third.start().unwrap();
    late.wait_for(0, &vec![peer(1, b"line 2")]);

    let before = seen.count();
    pair.ann.clear_presence(pair.space).unwrap();
    seen.wait_for(before, &Vec::new());
    assert!(pair.other.peers(pair.space).is_empty());
    assert!(pair.ann.peers(pair.space).is_empty(), "nobody is a peer of itself");
    drop((subscription, watching));
}

#[test]
fn who_stops_has_left_and_who_comes_back_is_there_again() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let (seen, subscription) = watch(&pair.other, pair.space);
    pair.ann.set_presence(pair.space, b"here".to_vec(), TTL).unwrap();
    seen.wait_for(0, &vec![peer(1, b"here")]);
    let before = seen.count();
    pair.ann.stop();
    seen.wait_for(before, &Vec::new());
    let before = seen.count();
    pair.ann.start().unwrap();
    seen.wait_for(before, &vec![peer(1, b"here")]);
    drop(subscription);
}

#[test]
fn who_vanishes_is_gone_when_its_time_is_up_and_not_before() {
    let ttl = Duration::from_secs(2);
    let rig = Rig::start();
    let proxy = Proxy::start(rig.address());
    let pair = Pair::of(rig.phone_by("ann", 1, &proxy.url()), rig.phone("ann", 2));
    let (seen, subscription) = watch(&pair.other, pair.space);
    let began = Instant::now();
    pair.ann.set_presence(pair.space, b"here".to_vec(), ttl).unwrap();
    seen.wait_for(0, &vec![peer(1, b"here")]);
    // As long as it is there, it says so in time.
    seen_for(&pair.other, pair.space, began + 2 * ttl);
    let lost = Instant::now();
    proxy.lose();
    let before = seen.count();
    let gone = seen.wait_for(before, &Vec::new());
    let took = gone.duration_since(lost);
    // It was shown again half its time ago at the most, or not much longer.
    assert!(took >= ttl / 4, "{took:?}");
    assert!(took < 3 * ttl, "{took:?}");
    assert!(pair.other.peers(pair.space).is_empty());
    drop(subscription);
}

fn seen_for(phone: &Client, space: SpaceId, until: Instant) {
    while Instant::now() < until {
        assert_eq!(phone.peers(space).len(), 1, "shown all the time");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_shown_is_bounded() {
    let rig = Rig::start();
    let pair = Pair::start(&rig);
    let large = pair.ann.set_presence(pair.space, vec![0; 4097], TTL);
    assert!(matches!(large, Err(ClientError::PresenceTooLarge { bytes: 4097, max: 4096 })));
    let elsewhere = pair.ann.set_presence(SpaceId::from_random([1; 16]), Vec::new(), TTL);
    assert!(matches!(elsewhere, Err(ClientError::NoSpace)));
    // A cursor that moves faster than anybody can see: what comes last is shown.
    let (seen, subscription) = watch(&pair.other, pair.space);
    for place in 0..500u32 {
        pair.ann.set_presence(pair.space, place.to_be_bytes().to_vec(), TTL).unwrap();
    }
    seen.wait_for(0, &vec![peer(1, &499u32.to_be_bytes())]);
    assert!(seen.count() < 100, "{} messages", seen.count());
    drop(subscription);
}
