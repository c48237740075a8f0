//! One renewal at a time, whoever asks for it: the others wait for it and take what it brings.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sync_core::wire::account::Private;

use super::super::request::Requests;
use super::super::{AccountError, Credentials, Keychain, KeychainError};
use super::pace::Pace;
use super::standing::{Listeners, Standing};
use crate::client::{Shared, lock};

/// A token is renewed so long before it runs out, so that it reaches the server in time over a slow network.
const MARGIN: Duration = Duration::from_mins(1);
/// How long a server repeats itself to whoever lost its answer, and by how much clocks of its nodes may differ. A copy of a
/// request whose answer was lost may still be on its way for so long: if a further renewal overtook it, it would look like a
/// theft.
const QUIET: Duration = Duration::from_secs(35);
/// What this device's clock says about a token from before its start is believed up to here: clocks are set.
const BELIEVED: Duration = Duration::from_hours(1);

pub(super) struct Keeping {
    pub(super) requests: Arc<Requests>,
    pub(super) keychain: Box<dyn Keychain>,
    state: Mutex<State>,
    changed: Condvar,
    pub(super) listeners: Arc<Mutex<Listeners>>,
}

pub(super) struct State {
    pub(super) credentials: Credentials,
    /// What the server gave in their place and the keychain has not taken. Nothing of it is used before it has.
    pub(super) unsaved: Option<Credentials>,
    /// By a clock that nobody sets: until when the access token holds, and from when it is renewed.
    expires_at: Instant,
    pub(super) renew_at: Instant,
    standing: Standing,
    /// Renewals that were begun, whether one is under way, and how the last one went.
    flights: u64,
    busy: bool,
    last: Option<(u64, Result<Private, AccountError>)>,
    /// No renewal before then, and what is said meanwhile: the server asked for it, or copies are on their way.
    told: Option<(Instant, AccountError)>,
    /// Whether copies may be on their way.
    pub(super) lost: bool,
    pub(super) pace: Pace,
    pub(super) clients: Vec<Weak<Shared>>,
}

impl State {
    fn take(&mut self, credentials: Credentials) {
        (self.expires_at, self.renew_at) = times(&credentials, Instant::now());
        self.credentials = credentials;
        self.unsaved = None;
        self.standing = Standing::SignedIn;
        self.told = None;
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended(_))
    }

    fn usable(&self, refused: Option<&Private>, now: Instant) -> Option<Private> {
        let fits = self.unsaved.is_none() && now < self.renew_at && Some(&self.credentials.access_token) != refused;
        fits.then(|| self.credentials.access_token.clone())
    }
}

fn panicked() -> KeychainError {
    KeychainError("it panicked".to_owned())
}

/// Until when an access token holds, and from when it is to be renewed.
pub(super) fn times(credentials: &Credentials, now: Instant) -> (Instant, Instant) {
    let left = Duration::from_millis(credentials.access_left_ms()).min(BELIEVED);
    (now + left, now + left.saturating_sub(MARGIN.min(left / 4)))
}

impl Keeping {
    pub(super) fn new(requests: Requests, keychain: Box<dyn Keychain>, credentials: Credentials) -> Self {
        let (expires_at, renew_at) = times(&credentials, Instant::now());
        let state = State {
            credentials,
            unsaved: None,
            expires_at,
            renew_at,
            standing: Standing::SignedIn,
            flights: 0,
            busy: false,
            last: None,
            told: None,
            lost: false,
            pace: Pace::default(),
            clients: Vec::new(),
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Self { requests: Arc::new(requests), keychain, state, changed, listeners: Arc::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits for a change, at most until then.
    pub(super) fn wait<'s>(&self, state: MutexGuard<'s, State>, until: Option<Instant>) -> MutexGuard<'s, State> {
        match until {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    pub(super) fn wake(&self) {
        self.changed.notify_all();
    }

    pub(super) fn credentials(&self) -> Credentials {
        self.state().credentials.clone()
    }

    pub(super) fn standing(&self) -> Standing {
        self.state().standing.clone()
    }

    pub(super) fn token(&self) -> Result<Private, AccountError> {
        self.renewed(None).or_else(|error| {
            let state = self.state();
            // It was to be renewed early, and is still good.
            let holds = !state.is_ended() && state.unsaved.is_none() && Instant::now() < state.expires_at;
            if holds { Ok(state.credentials.access_token.clone()) } else { Err(error) }
        })
    }

    /// An access token that is good for a while and is not the refused one.
    pub(super) fn renewed(&self, refused: Option<&Private>) -> Result<Private, AccountError> {
        let mut state = self.state();
        while state.busy {
            let awaited = state.flights;
            state = self.wait(state, None);
            // Nobody goes the way again that has just come to nothing.
            if let Some((_, Err(error))) = state.last.as_ref().filter(|(flight, _)| *flight == awaited) {
                return Err(error.clone());
            }
        }
        if let Standing::Ended(error) = &state.standing {
            return Err(error.clone());
        }
        let now = Instant::now();
        if let Some(token) = state.usable(refused, now) {
            return Ok(token);
        }
        if let Some((_, error)) = state.told.as_ref().filter(|(until, _)| now < *until) {
            return Err(error.clone());
        }
        state.busy = true;
        state.flights += 1;
        let flight = state.flights;
        drop(state);
        // A keychain is the app's code, and must not leave everybody waiting.
        let flown = catch_unwind(AssertUnwindSafe(|| self.fly(refused)));
        let flown = flown.unwrap_or_else(|_| Err(panicked().into()));
        self.landed(flight, flown)
    }

    fn landed(&self, flight: u64, flown: Result<Credentials, AccountError>) -> Result<Private, AccountError> {
        let mut state = self.state();
        let before = state.standing.clone();
        let result = match flown {
            Ok(credentials) => {
                state.take(credentials);
                if std::mem::take(&mut state.lost) {
                    let error = AccountError::Unavailable { retry_after: Some(QUIET) };
                    state.told = Some((Instant::now() + QUIET, error));
                }
                Ok(state.credentials.access_token.clone())
            }
            Err(error) => {
                let told = error.retry_after().map(|wait| Instant::now() + wait);
                state.told = told.map(|until| (until, error.clone()));
                let standing = if error.ends_session() { Standing::Ended } else { Standing::Waiting };
                state.standing = standing(error.clone());
                Err(error)
            }
        };
        state.busy = false;
        state.last = Some((flight, result.clone()));
        self.tell(state, &before);
        result
    }

    /// Tells clients of a token and listeners of a standing that are new to them, with no lock held.
    fn tell(&self, state: MutexGuard<'_, State>, before: &Standing) {
        self.wake();
        let token = state.credentials.access_token.clone();
        let standing = state.standing.clone();
        let clients: Vec<Arc<Shared>> = state.clients.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        if standing == Standing::SignedIn {
            for client in clients {
                client.take_token(&token.0);
            }
        }
        if standing != *before {
            let callbacks = lock(&self.listeners).all();
            for callback in callbacks {
                if catch_unwind(AssertUnwindSafe(|| callback(&standing))).is_err() {
                    tracing::error!("an observer of the standing panicked");
                }
            }
        }
    }

    /// Does something with the keychain while no renewal is under way, so that none overtakes it; with no lock held.
    fn alone(&self, work: impl FnOnce() -> Result<(), KeychainError>) -> Result<MutexGuard<'_, State>, AccountError> {
        let mut state = self.state();
        while state.busy {
            state = self.wait(state, None);
        }
        state.busy = true;
        state.flights += 1;
        drop(state);
        let held_work = || {
            let _held = self.keychain.hold()?;
            work()
        };
        let done = catch_unwind(AssertUnwindSafe(held_work)).unwrap_or_else(|_| Err(panicked()));
        let mut state = self.state();
        state.busy = false;
        self.wake();
        done?;
        Ok(state)
    }

    pub(super) fn begin_again(&self, credentials: Credentials) -> Result<(), AccountError> {
        let before = self.credentials();
        let fits = credentials.is_same_device(&before) || (credentials.is_same_user(&before) && self.wants_device());
        if !fits {
            return Err(AccountError::OtherIdentity);
        }
        let mut state = self.alone(|| self.keychain.save(&credentials))?;
        let before = state.standing.clone();
        state.take(credentials);
        state.pace.begin_again();
        self.tell(state, &before);
        Ok(())
    }

    /// Whether a client's store goes on as another device.
    fn wants_device(&self) -> bool {
        let clients: Vec<Arc<Shared>> = self.state().clients.iter().filter_map(Weak::upgrade).collect();
        clients.iter().any(|client| lock(&client.engine).wanted_device().is_some())
    }

    pub(super) fn forget(&self) -> Result<(), AccountError> {
        let mut state = self.alone(|| self.keychain.clear())?;
        let before = std::mem::replace(&mut state.standing, Standing::Ended(AccountError::NotSignedIn));
        state.unsaved = None;
        self.tell(state, &before);
        Ok(())
    }

    /// Another process, or an earlier life of this one, went on from here.
    pub(super) fn adopt(&self, stored: &Credentials) {
        let mut state = self.state();
        (state.expires_at, state.renew_at) = times(stored, Instant::now());
        state.credentials = stored.clone();
        state.unsaved = None;
    }
}
