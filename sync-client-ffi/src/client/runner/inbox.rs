//! What the app asks of the session: wishes that wait for it, and calls for an exchange that wait for an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sync_core::id::SpaceId;
use sync_core::session::{Event, Presence};
use tokio::sync::Notify;

use crate::client::error::SyncError;
use crate::client::{WAIT_STEP, lock};

/// What the app asked for since the session last looked. Bounded: facts, not a queue of messages.
pub(in crate::client) struct Inbox {
    state: Mutex<State>,
    /// Held while a session is being stopped: one that begins meanwhile would take the stop for its own past.
    turn: Mutex<()>,
    /// Whether a session runs: there is one at a time, so that none takes what the app asked of another.
    taken: Mutex<bool>,
    freed: Condvar,
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
struct State {
    standing: Standing,
    wishes: Wishes,
    stopped: bool,
}

/// What holds for every session, also for one that begins later.
struct Standing {
    spaces: BTreeSet<SpaceId>,
    shown: BTreeMap<SpaceId, Presence>,
    foreground: bool,
    online: bool,
}

impl Default for Standing {
    fn default() -> Self {
        Self { spaces: BTreeSet::new(), shown: BTreeMap::new(), foreground: true, online: true }
    }
}

/// What the session has not been told yet.
#[derive(Default)]
struct Wishes {
    /// Told before what was added: a space that is here again begins anew.
    removed: BTreeSet<SpaceId>,
    added: BTreeSet<SpaceId>,
    edited: BTreeSet<SpaceId>,
    present: BTreeMap<SpaceId, Option<Presence>>,
    pushed: BTreeSet<SpaceId>,
    network: Option<bool>,
    foreground: Option<bool>,
    token: bool,
    /// The last call for an exchange, 0 if none is waiting.
    sync_now: u64,
}

impl Inbox {
    pub(in crate::client) fn new(spaces: Vec<SpaceId>) -> Self {
        let standing = Standing { spaces: spaces.into_iter().collect(), ..Standing::default() };
        let state = State { standing, ..State::default() };
        Self {
            state: Mutex::new(state),
            turn: Mutex::default(),
            taken: Mutex::default(),
            freed: Condvar::new(),
            notify: Notify::new(),
            rounds: Mutex::default(),
            round_done: Condvar::new(),
        }
    }

    fn wish(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.notify.notify_one();
    }

    pub(in crate::client) fn add(&self, space: SpaceId) {
        self.wish(|state| {
            state.standing.spaces.insert(space);
            // Also one that is there: the session asks once more where it had no access.
            state.wishes.added.insert(space);
        });
    }

    pub(in crate::client) fn remove(&self, space: SpaceId) {
        self.wish(|state| {
            state.standing.spaces.remove(&space);
            state.standing.shown.remove(&space);
            state.wishes.added.remove(&space);
            state.wishes.edited.remove(&space);
            state.wishes.present.remove(&space);
            state.wishes.removed.insert(space);
        });
    }

    /// There is nothing to exchange any more.
    pub(in crate::client) fn forget(&self) {
        self.wish(|state| {
            state.standing.spaces.clear();
            state.standing.shown.clear();
            state.wishes = Wishes::default();
        });
    }

    pub(in crate::client) fn edited(&self, space: SpaceId) {
        self.wish(|state| {
            state.wishes.edited.insert(space);
        });
    }

    /// The server has news of those spaces. A session that begins later asks for them first.
    pub(in crate::client) fn pushed(&self, spaces: &[SpaceId]) {
        self.wish(|state| state.wishes.pushed.extend(spaces));
    }

    pub(in crate::client) fn present(&self, space: SpaceId, presence: Option<Presence>) {
        self.wish(|state| {
            match &presence {
                Some(presence) => state.standing.shown.insert(space, presence.clone()),
                None => state.standing.shown.remove(&space),
            };
            state.wishes.present.insert(space, presence);
        });
    }

    pub(in crate::client) fn network_changed(&self, online: bool) {
        self.wish(|state| {
            state.standing.online = online;
            state.wishes.network = Some(online);
        });
    }

    /// Whether the app is in the foreground.
    pub(in crate::client) fn is_foreground(&self) -> bool {
        lock(&self.state).standing.foreground
    }

    pub(in crate::client) fn foreground(&self, foreground: bool) {
        self.wish(|state| {
            state.standing.foreground = foreground;
            state.wishes.foreground = Some(foreground);
        });
    }

    pub(in crate::client) fn token_changed(&self) {
        self.wish(|state| state.wishes.token = true);
    }

    /// Gives the number of this call.
    pub(super) fn sync_now(&self) -> u64 {
        let asked = {
            let mut rounds = lock(&self.rounds);
            rounds.asked += 1;
            rounds.asked
        };
        self.wish(|state| state.wishes.sync_now = asked);
        asked
    }

    pub(super) fn answer(&self, round: u64, result: Result<(), SyncError>) {
        lock(&self.rounds).done = Some((round, result));
        self.round_done.notify_all();
    }

    pub(in crate::client) fn stop(&self) {
        self.wish(|state| state.stopped = true);
    }

    /// Nothing begins as long as this is held.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.turn)
    }

    /// `None` when the session shall end.
    pub(super) fn events(&self, round: &mut u64) -> Option<Vec<Event>> {
        let mut state = lock(&self.state);
        if state.stopped {
            return None;
        }
        let wishes = std::mem::take(&mut state.wishes);
        drop(state);
        let mut events: Vec<Event> = wishes.removed.into_iter().map(Event::SpaceRemoved).collect();
        events.extend(wishes.added.into_iter().map(Event::SpaceAdded));
        events.extend(wishes.token.then_some(Event::TokenChanged));
        // In front of a step into the background, which sends what is there and then closes the connection.
        events.extend(wishes.edited.into_iter().map(Event::Edited));
        events.extend(wishes.present.into_iter().map(|(space, presence)| Event::Present(space, presence)));
        let pushed: Vec<SpaceId> = wishes.pushed.into_iter().collect();
        events.extend((!pushed.is_empty()).then_some(Event::Pushed(pushed)));
        events.extend(wishes.network.map(|online| Event::NetworkChanged { online }));
        events.extend(wishes.foreground.map(Event::Foreground));
        if wishes.sync_now > 0 {
            *round = wishes.sync_now;
            events.push(Event::SyncNow);
        }
        Some(events)
    }

    /// A stop from before is none for a session that begins now.
    pub(super) fn resume(&self) {
        let _turn = self.turn();
        lock(&self.state).stopped = false;
    }

    /// Waits until no other session runs, and runs as long as what this gives lives. `None` if another one runs until then, or
    /// when the app has stopped synchronising meanwhile.
    pub(super) fn lane(&self, until: Option<Instant>) -> Option<Lane<'_>> {
        let mut taken = lock(&self.taken);
        while *taken {
            let left = until.map_or(WAIT_STEP, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() || lock(&self.state).stopped {
                return None;
            }
            taken = self.freed.wait_timeout(taken, left.min(WAIT_STEP)).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Lane(self))
    }

    /// A new session is told everything anew. One that makes a single exchange was called for whatever the app and the
    /// network do otherwise.
    pub(super) fn anew(&self, single: bool) {
        let mut state = lock(&self.state);
        let Standing { spaces, shown, foreground, online } = &state.standing;
        let added = spaces.clone();
        let present = shown.iter().map(|(space, presence)| (*space, Some(presence.clone()))).collect();
        let foreground = (!single && !foreground).then_some(false);
        let network = (!single && !online).then_some(false);
        let pushed = state.wishes.pushed.clone();
        // Whoever waits for an exchange of the background session's may have asked before it came to run.
        let sync_now = if single { 0 } else { state.wishes.sync_now };
        state.wishes = Wishes { added, present, pushed, network, foreground, sync_now, ..Wishes::default() };
    }
}

/// The one session that runs.
pub(super) struct Lane<'a>(&'a Inbox);

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        *lock(&self.0.taken) = false;
        self.0.freed.notify_one();
    }
}
