//! Who hears what, and when the bus is told that somebody wants to.

use std::sync::Mutex as StdMutex;
use std::time::Duration;

use futures_util::FutureExt;
use serde_bytes::ByteBuf;
use sync_core::id::{DeviceId, Hash};
use sync_core::limits::{PRESENCE_BYTES_MAX, PRESENCE_PEERS_MAX};
use sync_core::log::Receipt;
use sync_core::wire::{Entries, LiveResponse};

use super::mailbox::{First, Outgoing};
use super::*;
use crate::bus::Notice;
use crate::bus::memory::MemoryBus;

const SPACE: SpaceId = SpaceId::from_bytes([1; 16]);
const OTHER: SpaceId = SpaceId::from_bytes([2; 16]);

/// Writes down what it is asked to join and to leave.
#[derive(Default)]
struct Register {
    bus: MemoryBus,
    told: StdMutex<Vec<(bool, SpaceId)>>,
}

impl Bus for Register {
    fn listen(&self, listener: Weak<dyn Listener>) {
        self.bus.listen(listener);
    }

    fn join(&self, space: SpaceId) {
        self.told.lock().unwrap().push((true, space));
        self.bus.join(space);
    }

    fn leave(&self, space: SpaceId) {
        self.told.lock().unwrap().push((false, space));
        self.bus.leave(space);
    }

    fn publish(&self, message: BusMessage) {
        self.bus.publish(message);
    }
}

fn device(number: u16) -> DeviceId {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    DeviceId::from_bytes(bytes)
}

fn at(seq: u64) -> Cursor {
    Cursor { seq, chain: Hash::of(&[&seq.to_be_bytes()]) }
}

fn notice(space: SpaceId, seq: u64) -> BusMessage {
    let (receipt, entries) = (Receipt::from_hash(Hash([0; 32])), Some(Entries::default()));
    BusMessage::Log(Notice {
        space,
        from: at(seq - 1),
        next: at(seq),
        receipt,
        entries,
        received_ms: Some(seq * 1_000),
    })
}

fn presence(space: SpaceId, device: DeviceId, session: u64, data: Option<&[u8]>) -> Presence {
    let (user, data) = ("ann".to_owned(), data.map(ByteBuf::from));
    Presence { space, session, user, device, data, ttl_ms: 60_000 }
}

/// A connection that follows a space from its beginning.
fn follower(fanout: &Fanout, space: SpaceId, number: u16) -> Arc<Mailbox> {
    let mailbox = Arc::new(Mailbox::new("ann", device(number)));
    assert!(mailbox.follow(space, 1));
    fanout.join(space, u64::from(number), &mailbox);
    let first = First { next: at(0), more: false, wish: Wish::default() };
    mailbox.followed(space, first, LiveResponse::Pong { nonce: 0 }, 0);
    assert!(next(&mailbox).is_some() && next(&mailbox).is_none());
    mailbox
}

fn next(mailbox: &Mailbox) -> Option<Outgoing> {
    mailbox.take().now_or_never()
}

#[test]
fn followers_of_a_space_hear_of_it_and_nobody_else() {
    let bus = Arc::new(MemoryBus::new());
    let fanout = Fanout::new(Arc::clone(&bus) as Arc<dyn Bus>, Arc::default());
    let (one, two, other) = (follower(&fanout, SPACE, 1), follower(&fanout, SPACE, 2), follower(&fanout, OTHER, 3));
    bus.publish(notice(SPACE, 1));
    let Some(Outgoing::Page(first)) = next(&one) else { panic!("no page") };
    let Some(Outgoing::Page(second)) = next(&two) else { panic!("no page") };
    let (first, second) = (first.frame(device(1)).unwrap(), second.frame(device(2)).unwrap());
    assert_eq!(first.as_ptr(), second.as_ptr(), "encoded once for both");
    assert!(next(&other).is_none());
    fanout.leave(SPACE, 1);
    bus.publish(notice(SPACE, 2));
    assert!(next(&one).is_none());
    assert!(matches!(next(&two), Some(Outgoing::Page(parcel)) if parcel.next() == at(2)));
}

#[test]
fn the_bus_is_joined_by_the_first_and_left_with_the_last() {
    let bus = Arc::new(Register::default());
    let fanout = Fanout::new(Arc::clone(&bus) as Arc<dyn Bus>, Arc::default());
    let one = follower(&fanout, SPACE, 1);
    let _two = follower(&fanout, SPACE, 2);
    fanout.join(SPACE, 1, &one);
    fanout.leave(SPACE, 1);
    fanout.leave(SPACE, 1);
    assert_eq!(fanout.spaces(), [SPACE]);
    fanout.leave(SPACE, 2);
    fanout.leave(SPACE, 2);
    assert_eq!(fanout.spaces(), []);
    assert_eq!(*bus.told.lock().unwrap(), [(true, CONTROL), (true, SPACE), (false, SPACE)]);
}

#[test]
fn what_may_have_been_lost_is_looked_up_once() {
    let fanout = Fanout::new(Arc::new(MemoryBus::new()), Arc::default());
    let _mailboxes = [follower(&fanout, SPACE, 1), follower(&fanout, OTHER, 2)];
    fanout.lost(Some(OTHER));
    fanout.lost(Some(OTHER));
    assert_eq!(fanout.take_lost(), [OTHER]);
    assert_eq!(fanout.take_lost(), []);
    fanout.lost(None);
    fanout.lost(Some(OTHER));
    assert_eq!(fanout.take_lost(), [SPACE, OTHER]);
    assert!(fanout.has_lost.notified().now_or_never().is_some(), "whoever looks it up is called");
}

#[test]
fn whose_access_changed_looks_it_up_and_nobody_else() {
    let fanout = Fanout::new(Arc::new(MemoryBus::new()), Arc::default());
    let other = follower(&fanout, OTHER, 2);
    let doubts = |mailbox: &Mailbox| mailbox.doubted().now_or_never().is_some();
    assert!(doubts(&other), "who joins may have missed something");
    assert!(!doubts(&other));
    let ann = follower(&fanout, SPACE, 1);
    let bob = Arc::new(Mailbox::new("bob", device(3)));
    fanout.join(SPACE, 3, &bob);
    assert!(doubts(&ann) && doubts(&bob));
    fanout.tell_access(SPACE, "bob".to_owned());
    assert!(!doubts(&ann) && doubts(&bob) && !doubts(&other));
    fanout.lost(Some(SPACE));
    assert!(doubts(&ann) && doubts(&bob) && !doubts(&other), "perhaps one of them");
}

#[test]
fn whoever_is_behind_the_database_reads_the_log() {
    let fanout = Fanout::new(Arc::new(MemoryBus::new()), Arc::default());
    let (one, other) = (follower(&fanout, SPACE, 1), follower(&fanout, OTHER, 2));
    fanout.learn(&[(SPACE, at(3)), (SpaceId::from_bytes([9; 16]), at(3))]);
    assert_eq!(one.behind().now_or_never().unwrap().space, SPACE);
    assert!(other.behind().now_or_never().is_none());
}

#[test]
fn a_space_shows_only_so_many() {
    let fanout = Fanout::new(Arc::new(MemoryBus::new()), Arc::default());
    let watcher = follower(&fanout, SPACE, u16::MAX);
    for number in 0..PRESENCE_PEERS_MAX as u16 {
        fanout.show(presence(SPACE, device(number), 1, Some(b"here")));
        assert!(matches!(next(&watcher), Some(Outgoing::Presence(..))), "{number}");
    }
    fanout.show(presence(SPACE, device(5_000), 1, Some(b"one too many")));
    assert!(next(&watcher).is_none());
    fanout.show(presence(SPACE, device(7), 1, Some(b"changed")));
    assert!(next(&watcher).is_some(), "who is shown may go on");
    fanout.show(presence(SPACE, device(7), 2, None));
    assert!(next(&watcher).is_none(), "only the connection that showed it takes it back");
    fanout.show(presence(SPACE, device(7), 1, None));
    assert!(next(&watcher).is_some());
    fanout.show(presence(SPACE, device(5_000), 1, Some(b"now there is room")));
    assert!(next(&watcher).is_some());
    fanout.show(presence(SPACE, device(5_000), 1, Some(&[0; PRESENCE_BYTES_MAX + 1])));
    assert!(next(&watcher).is_none(), "whatever other nodes let through");
}

#[test]
fn who_has_run_out_makes_room() {
    let mut peers = Peers::default();
    let now = Instant::now();
    for number in 0..PRESENCE_PEERS_MAX as u16 {
        let brief = Presence { ttl_ms: 100, ..presence(SPACE, device(number), 1, Some(b"brief")) };
        assert!(peers.hear(brief, now).is_some());
    }
    assert_eq!(peers.all(now).count(), PRESENCE_PEERS_MAX);
    let later = now + Duration::from_millis(100);
    assert_eq!(peers.all(later).count(), 0);
    assert!(peers.hear(presence(SPACE, device(5_000), 1, Some(b"late")), later).is_some());
    assert_eq!(peers.all(later).count(), 1);
    peers.sweep(later + Duration::from_mins(2));
    assert_eq!(peers.all(now).count(), 0);
}
