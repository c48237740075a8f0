//! From one commit to all connections that follow its log. It never waits for any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use sync_core::id::{DeviceId, SpaceId};
use sync_core::log::Cursor;
use tokio::sync::Notify;

use crate::auth::devices::Known;
use crate::bus::{Access, Bus, BusMessage, CONTROL, Cut, Listener, Presence};
use mailbox::{Doubt, Mailbox};
use parcel::Parcel;
use presence::Peers;

pub(crate) mod cuts;
mod follow;
pub(crate) mod mailbox;
pub(crate) mod parcel;
pub(crate) mod presence;
pub(crate) mod sweep;

pub(crate) use follow::Wish;

/// Followers of all spaces on this node.
pub(crate) struct Fanout {
    bus: Arc<dyn Bus>,
    rooms: Mutex<BTreeMap<SpaceId, Arc<Room>>>,
    /// Live connections, by whose they are.
    callers: Mutex<Callers>,
    devices: Arc<Known>,
    lost: Mutex<Lost>,
    has_lost: Notify,
}

/// A user's device, to its connections by their numbers.
type Callers = BTreeMap<(String, DeviceId), BTreeMap<u64, Arc<Mailbox>>>;

/// Those who follow one space. Locked after [`Fanout::rooms`] where both are, and before mailboxes.
#[derive(Default)]
struct Room(Mutex<Present>);

#[derive(Default)]
struct Present {
    followers: BTreeMap<u64, Arc<Mailbox>>,
    peers: Peers,
}

/// Spaces of which messages may have been lost.
#[derive(Debug, PartialEq, Eq)]
enum Lost {
    Some(BTreeSet<SpaceId>),
    Any,
}

impl Default for Lost {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fanout {
    /// A fan-out of what that bus tells. Of devices that were cut off it tells who remembers them, too.
    pub(crate) fn new(bus: Arc<dyn Bus>, devices: Arc<Known>) -> Arc<Self> {
        let (rooms, callers, lost) = (Mutex::default(), Mutex::default(), Mutex::default());
        let fanout = Arc::new(Self { bus, rooms, callers, devices, lost, has_lost: Notify::new() });
        let listener: Weak<dyn Listener> = Arc::downgrade(&(Arc::clone(&fanout) as Arc<dyn Listener>));
        fanout.bus.listen(listener);
        fanout.bus.join(CONTROL);
        fanout
    }

    /// A connection has begun.
    pub(crate) fn enter(&self, connection: u64, mailbox: &Arc<Mailbox>) {
        let key = (mailbox.user().to_owned(), mailbox.device());
        lock(&self.callers).entry(key).or_default().insert(connection, Arc::clone(mailbox));
        // A device that was revoked since it was let in was so unheard.
        mailbox.doubt(Doubt::Device);
    }

    /// And is over.
    pub(crate) fn exit(&self, connection: u64, mailbox: &Mailbox) {
        let key = (mailbox.user().to_owned(), mailbox.device());
        let mut callers = lock(&self.callers);
        let Some(connections) = callers.get_mut(&key) else { return };
        connections.remove(&connection);
        if connections.is_empty() {
            callers.remove(&key);
        }
    }

    /// From now on that connection hears of that space.
    pub(crate) fn join(&self, space: SpaceId, connection: u64, mailbox: &Arc<Mailbox>) {
        let mut rooms = lock(&self.rooms);
        let room = rooms.entry(space).or_insert_with(|| {
            self.bus.join(space);
            Arc::default()
        });
        lock(&room.0).followers.insert(connection, Arc::clone(mailbox));
        // Access that ended since it was looked up ended unheard.
        mailbox.doubt(Doubt::Spaces);
    }

    /// And no longer.
    pub(crate) fn leave(&self, space: SpaceId, connection: u64) {
        let mut rooms = lock(&self.rooms);
        let Some(room) = rooms.get(&space) else { return };
        let is_empty = {
            let mut present = lock(&room.0);
            present.followers.remove(&connection);
            present.followers.is_empty()
        };
        if is_empty {
            rooms.remove(&space);
            if space != CONTROL {
                self.bus.leave(space);
            }
        }
    }

    /// Tells a connection who shows itself in a space.
    pub(crate) fn show_all(&self, space: SpaceId, mailbox: &Mailbox) {
        if let Some(room) = self.room(space) {
            lock(&room.0).peers.all(Instant::now()).for_each(|shown| mailbox.show(space, shown));
        }
    }

    /// Shows somebody to those who follow the space, on every node.
    pub(crate) fn show(&self, presence: Presence) {
        self.bus.publish(BusMessage::Presence(presence));
    }

    /// Has what a user may do in a space looked up by those who follow it, on every node.
    pub(crate) fn tell_access(&self, space: SpaceId, user: String) {
        self.bus.publish(BusMessage::Access(Access { space, user }));
    }

    /// Has what is left of a device, or of all of a user's, looked up, on every node.
    pub(crate) fn tell_cut(&self, user: &str, device: Option<DeviceId>) {
        self.bus.publish(BusMessage::Cut(Cut { user: user.to_owned(), device }));
    }

    /// The same on this node.
    pub(crate) fn cut(&self, user: &str, device: Option<DeviceId>) {
        self.devices.forget(user, device);
        let callers = lock(&self.callers);
        let (first, last) = (DeviceId::from_bytes([0; 16]), DeviceId::from_bytes([255; 16]));
        let keys = (user.to_owned(), device.unwrap_or(first))..=(user.to_owned(), device.unwrap_or(last));
        callers
            .range(keys)
            .flat_map(|(_, connections)| connections.values())
            .for_each(|mailbox| mailbox.doubt(Doubt::Told));
    }

    /// The same for everybody.
    fn cut_any(&self) {
        self.devices.forget_all();
        lock(&self.callers).values().flat_map(BTreeMap::values).for_each(|mailbox| mailbox.doubt(Doubt::Told));
    }

    /// Has what they may do in a space looked up by all who follow it, on this node.
    fn doubt_in(&self, space: SpaceId) {
        if let Some(room) = self.room(space) {
            lock(&room.0).followers.values().for_each(|mailbox| mailbox.doubt(Doubt::Spaces));
        }
    }

    /// A heartbeat of every connection, now.
    #[cfg(feature = "testing")]
    pub(crate) fn beat(&self) {
        lock(&self.callers).values().flat_map(BTreeMap::values).for_each(|mailbox| mailbox.beat());
    }

    /// How many spaces anybody follows.
    pub(crate) fn followed(&self) -> usize {
        lock(&self.rooms).len()
    }

    /// Whether other nodes are heard.
    pub(crate) fn hears_others(&self) -> bool {
        self.bus.is_up()
    }

    /// Nothing is told any more, once what was told is sent.
    pub(crate) async fn close(&self) {
        self.bus.close().await;
    }

    fn room(&self, space: SpaceId) -> Option<Arc<Room>> {
        lock(&self.rooms).get(&space).cloned()
    }

    /// The spaces that anybody follows.
    fn spaces(&self) -> Vec<SpaceId> {
        lock(&self.rooms).keys().copied().collect()
    }

    /// The spaces among them that are to be looked up now, since messages of them may have been lost.
    fn take_lost(&self) -> Vec<SpaceId> {
        match mem::take(&mut *lock(&self.lost)) {
            Lost::Any => self.spaces(),
            Lost::Some(spaces) => spaces.into_iter().collect(),
        }
    }

    /// Tells followers where the database has their logs.
    fn learn(&self, heads: &[(SpaceId, Cursor)]) {
        for &(space, head) in heads {
            if let Some(room) = self.room(space) {
                lock(&room.0).followers.values().for_each(|mailbox| mailbox.learn(space, head));
            }
        }
    }

    /// Tells how far everybody has been sent what they follow.
    pub(crate) fn tell_places(&self, mut tell: impl FnMut(SpaceId, DeviceId, u64)) {
        for space in self.spaces() {
            let Some(room) = self.room(space) else { continue };
            for mailbox in lock(&room.0).followers.values() {
                if let Some(place) = mailbox.place(space) {
                    tell(space, mailbox.device(), place.seq);
                }
            }
        }
    }

    /// Forgets who has not shown itself in time.
    fn sweep_peers(&self) {
        let now = Instant::now();
        for space in self.spaces() {
            if let Some(room) = self.room(space) {
                lock(&room.0).peers.sweep(now);
            }
        }
    }
}

impl Listener for Fanout {
    fn hear(&self, message: BusMessage) {
        if let BusMessage::Cut(Cut { user, device }) = message {
            return self.cut(&user, device);
        }
        let Some(room) = self.room(message.space()) else { return };
        match message {
            BusMessage::Cut(_) => {}
            BusMessage::Log(notice) => {
                let parcel = Arc::new(Parcel::new(notice));
                lock(&room.0).followers.values().for_each(|mailbox| mailbox.offer(&parcel));
            }
            BusMessage::Presence(presence) => {
                let space = presence.space;
                let mut present = lock(&room.0);
                let Some(shown) = present.peers.hear(presence, Instant::now()) else { return };
                present.followers.values().for_each(|mailbox| mailbox.show(space, &shown));
            }
            BusMessage::Access(Access { user, .. }) => {
                let present = lock(&room.0);
                let theirs = present.followers.values().filter(|mailbox| mailbox.user() == user);
                theirs.for_each(|mailbox| mailbox.doubt(Doubt::Spaces));
            }
        }
    }

    fn lost(&self, space: Option<SpaceId>) {
        if space == Some(CONTROL) {
            // Who was cut off is looked up all the time.
            return;
        }
        // Of all spaces it would be all connections at once: they look by themselves before long.
        if let Some(space) = space {
            self.doubt_in(space);
        }
        {
            let mut lost = lock(&self.lost);
            match (&mut *lost, space) {
                (Lost::Any, _) => {}
                (Lost::Some(spaces), Some(space)) => {
                    spaces.insert(space);
                }
                (any, None) => *any = Lost::Any,
            }
        }
        self.has_lost.notify_one();
    }
}

#[cfg(test)]
mod tests;
