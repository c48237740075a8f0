//! When tokens are renewed without anybody asking for it here: shortly before they run out, while a client synchronises, and
//! when the server wants others.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sync_core::session::Backoff;
use sync_core::wire::account::Private;

use super::keeping::{Keeping, State};
use crate::client::{Shared, clock};

/// Between two tries, at most, and after the first.
const BACKOFF_CAP_MS: u64 = 60_000;
const BACKOFF_BASE_MS: u64 = 1_000;
/// A server that does not even take a token of this age is not asked for another one at once.
const YOUNG: Duration = Duration::from_secs(30);

pub(super) struct Pace {
    backoff: Backoff,
    not_before: Option<Instant>,
    wanted: Option<Wish>,
    renewed_at: Option<Instant>,
    /// Counts reasons to look again, so that none is lost between looking and waiting.
    nudges: u64,
    running: bool,
}

/// A client wants another token than this one, if it has any.
struct Wish(Option<Private>);

impl Default for Pace {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(BACKOFF_BASE_MS, BACKOFF_CAP_MS),
            not_before: None,
            wanted: None,
            renewed_at: None,
            nudges: 0,
            running: false,
        }
    }
}

impl Pace {
    fn wait(&mut self, retry_after: Option<Duration>) {
        let told_ms = retry_after.map(|wait| wait.as_millis() as u64);
        let wait = Duration::from_millis(self.backoff.next(told_ms, &mut clock::random));
        self.not_before = Some(Instant::now() + wait);
    }

    /// The user has signed in again.
    pub(super) fn begin_again(&mut self) {
        *self = Self { running: self.running, nudges: self.nudges + 1, ..Self::default() };
    }
}

impl State {
    /// When it is time, if it ever is.
    fn due(&self, is_active: bool) -> Option<Instant> {
        if self.is_ended() {
            return None;
        }
        let now = Instant::now();
        let due = if self.pace.wanted.is_some() { Some(now) } else { is_active.then_some(self.renew_at) };
        due.map(|due| self.pace.not_before.map_or(due, |not_before| due.max(not_before)))
    }
}

impl Keeping {
    pub(super) fn want(&self, refused: Option<String>) {
        let mut state = self.state();
        state.pace.wanted = Some(Wish(refused.map(Private)));
        state.pace.nudges += 1;
        self.wake();
    }

    pub(super) fn nudge(&self, network_came: bool) {
        let mut state = self.state();
        if network_came {
            state.pace.backoff.reset();
            state.pace.not_before = None;
        }
        state.pace.nudges += 1;
        self.wake();
    }
}

/// Renews for a client as long as it lives; one thread does so for all of them.
pub(super) fn attach(keeping: &Arc<Keeping>, client: Weak<Shared>) {
    let mut state = keeping.state();
    state.clients.retain(|client| client.strong_count() > 0);
    state.clients.push(client);
    if state.pace.running {
        return;
    }
    state.pace.running = true;
    drop(state);
    let keeper = keeping.clone();
    let spawned = std::thread::Builder::new().name("rejoin-refresher".into()).spawn(move || keep(&keeper));
    if let Err(error) = spawned {
        keeping.state().pace.running = false;
        tracing::error!(%error, "tokens are not renewed: no thread");
    }
}

fn keep(keeping: &Keeping) {
    loop {
        let mut state = keeping.state();
        let seen = state.pace.nudges;
        state.clients.retain(|client| client.strong_count() > 0);
        if state.clients.is_empty() {
            state.pace.running = false;
            return;
        }
        let clients: Vec<Arc<Shared>> = state.clients.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        let is_active = clients.iter().any(|client| client.is_active());
        // Whoever closes its client meanwhile nudges, so not with the lock held.
        drop(clients);
        let state = keeping.state();
        if state.pace.nudges != seen {
            continue;
        }
        match state.due(is_active) {
            Some(due) if due <= Instant::now() => {
                drop(state);
                renew(keeping);
            }
            due => drop(keeping.wait(state, due)),
        }
    }
}

fn renew(keeping: &Keeping) {
    let wanted = keeping.state().pace.wanted.take();
    let refused = wanted.as_ref().and_then(|wish| wish.0.as_ref());
    let renewed = keeping.renewed(refused);
    let mut state = keeping.state();
    match renewed {
        Ok(token) => {
            let again = wanted.is_some() && state.pace.renewed_at.is_some_and(|at| at.elapsed() < YOUNG);
            if again {
                state.pace.wait(None);
            } else {
                state.pace.backoff.reset();
                state.pace.not_before = None;
            }
            state.pace.renewed_at = Some(Instant::now());
            let clients: Vec<Arc<Shared>> = state.clients.iter().filter_map(Weak::upgrade).collect();
            drop(state);
            // Where it was there already, nobody has been told of it.
            for client in clients {
                client.take_token(&token.0);
            }
        }
        Err(error) => {
            state.pace.wait(error.retry_after());
            if state.pace.wanted.is_none() {
                state.pace.wanted = wanted;
            }
        }
    }
}
