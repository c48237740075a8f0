//! What the app asks of the session: wishes that wait for it, and calls for an exchange that wait for an answer.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex};

use sync_core::id::SpaceId;
use sync_core::session::Event;
use tokio::sync::Notify;

use crate::client::error::SyncError;
use crate::client::lock;

/// What the app asked for since the session last looked. Bounded: facts, not a queue of messages.
pub(in crate::client) struct Inbox {
    state: Mutex<Wishes>,
    pub(super) notify: Notify,
    pub(super) rounds: Mutex<Rounds>,
    pub(super) round_done: Condvar,
}

/// Calls for an exchange that the background session has been given, and the last that it has answered.
#[derive(Default)]
pub(super) struct Rounds {
    asked: u64,
    pub(super) done: Option<(u64, Result<(), SyncError>)>,
}

#[derive(Default)]
struct Wishes {
    spaces: BTreeSet<SpaceId>,
    added: Vec<SpaceId>,
    edited: BTreeSet<SpaceId>,
    network: Option<bool>,
    token: bool,
    /// The last call for an exchange, 0 if none is waiting.
    sync_now: u64,
    stopped: bool,
}

impl Inbox {
    pub(in crate::client) fn new(spaces: Vec<SpaceId>) -> Self {
        let state = Wishes { spaces: spaces.into_iter().collect(), ..Wishes::default() };
        Self { state: Mutex::new(state), notify: Notify::new(), rounds: Mutex::default(), round_done: Condvar::new() }
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut lock(&self.state));
        self.notify.notify_one();
    }

    pub(in crate::client) fn add(&self, space: SpaceId) {
        self.wish(|wishes| {
            if wishes.spaces.insert(space) {
                wishes.added.push(space);
            }
        });
    }

    pub(in crate::client) fn edited(&self, space: SpaceId) {
        self.wish(|wishes| {
            wishes.edited.insert(space);
        });
    }

    pub(in crate::client) fn network_changed(&self, online: bool) {
        self.wish(|wishes| wishes.network = Some(online));
    }

    pub(in crate::client) fn token_changed(&self) {
        self.wish(|wishes| wishes.token = true);
    }

    /// Gives the number of this call.
    pub(super) fn sync_now(&self) -> u64 {
        let asked = {
            let mut rounds = lock(&self.rounds);
            rounds.asked += 1;
            rounds.asked
        };
        self.wish(|wishes| wishes.sync_now = asked);
        asked
    }

    pub(super) fn answer(&self, round: u64, result: Result<(), SyncError>) {
        lock(&self.rounds).done = Some((round, result));
        self.round_done.notify_all();
    }

    pub(in crate::client) fn stop(&self) {
        self.wish(|wishes| wishes.stopped = true);
    }

    /// `None` when the session shall end.
    pub(super) fn events(&self, round: &mut u64) -> Option<Vec<Event>> {
        let mut wishes = lock(&self.state);
        if wishes.stopped {
            return None;
        }
        let mut events: Vec<Event> = wishes.added.drain(..).map(Event::SpaceAdded).collect();
        events.extend(std::mem::take(&mut wishes.edited).into_iter().map(Event::Edited));
        events.extend(wishes.network.take().map(|online| Event::NetworkChanged { online }));
        if std::mem::take(&mut wishes.token) {
            events.push(Event::TokenChanged);
        }
        let asked = std::mem::take(&mut wishes.sync_now);
        if asked > 0 {
            *round = asked;
            events.push(Event::SyncNow);
        }
        Some(events)
    }

    /// A new session looks at every space anew.
    pub(super) fn restart(&self) {
        let mut wishes = lock(&self.state);
        wishes.stopped = false;
        wishes.added = wishes.spaces.iter().copied().collect();
    }
}
