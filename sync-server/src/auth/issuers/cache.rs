//! A provider's keys as they were fetched last. However many tokens with unknown keys arrive, the provider is asked at most
//! once a minute, by one at a time; who needs the answer waits for it, but not for long, and not many do.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::fetch::Source;
use super::jwks::{Key, KeySet};
use crate::clock::Clock;

/// How old keys become before they are fetched again: a key that its provider removed is believed as long as this.
const FRESH_MS: u64 = 3_600_000;
/// How old they become at most, while the provider is away. Beyond it nobody can tell which of them were removed.
const KEPT_MS: u64 = 24 * 3_600_000;
/// How long the provider is left alone after it was asked.
const PAUSE_MS: u64 = 60_000;
/// The same, as long as it has never answered: it may be starting, as this server is.
const FIRST_PAUSE_MS: u64 = 10_000;
/// How long a request waits for the provider, of the 30 seconds that it may take in all.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Requests that wait at the same time, of the 64 that are worked on: with unknown keys alone nobody fills the server.
const WAITING_MAX: usize = 8;

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The provider has none of that id.
    Unknown,
    /// Nobody knows at the moment.
    Unavailable,
}

/// The keys of one provider.
pub(super) struct KeyCache {
    source: Source,
    clock: Clock,
    state: RwLock<State>,
    /// Counts answers, good and bad.
    answered: watch::Sender<u64>,
    waiting: Semaphore,
}

#[derive(Default)]
struct State {
    keys: Option<(KeySet, u64)>,
    asked_ms: Option<u64>,
    asking: bool,
}

/// A question under way; it ends whatever happens.
struct Asking(Arc<KeyCache>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner).asking = false;
        self.0.answered.send_modify(|answers| *answers += 1);
    }
}

impl State {
    /// The keys, while they may be believed.
    fn keys(&self, now_ms: u64) -> Option<&KeySet> {
        self.keys.as_ref().filter(|(_, got_ms)| now_ms.saturating_sub(*got_ms) < KEPT_MS).map(|(keys, _)| keys)
    }

    fn is_due(&self, now_ms: u64) -> bool {
        self.keys.as_ref().is_none_or(|(_, got_ms)| now_ms.saturating_sub(*got_ms) >= FRESH_MS)
    }

    fn may_ask(&self, now_ms: u64) -> bool {
        let pause = if self.keys.is_some() { PAUSE_MS } else { FIRST_PAUSE_MS };
        // A clock that was set back must not end the asking.
        self.asked_ms.is_none_or(|asked_ms| now_ms.abs_diff(asked_ms) >= pause)
    }
}

impl KeyCache {
    pub(super) fn new(source: Source, clock: Clock) -> Self {
        let (answered, _) = watch::channel(0);
        Self { source, clock, state: RwLock::default(), answered, waiting: Semaphore::new(WAITING_MAX) }
    }

    /// Asks for the keys if they are due, without waiting for them.
    pub(super) fn refresh(self: &Arc<Self>) {
        let due = self.state.read().unwrap_or_else(PoisonError::into_inner).is_due(self.clock.now_ms());
        if due {
            self.ask();
        }
    }

    /// The key of that id.
    pub(super) async fn key(self: &Arc<Self>, id: &str, algorithm: Algorithm) -> Result<Arc<Key>, Missing> {
        let known = self.find(id, algorithm);
        let Err(missing) = known else { return known };
        // Subscribed first: an answer in between is not overlooked.
        let mut answered = self.answered.subscribe();
        if !self.ask() {
            return Err(missing);
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Err(Missing::Unavailable) };
        match timeout(WAIT_MAX, answered.changed()).await {
            Ok(_) => self.find(id, algorithm),
            Err(_) => Err(Missing::Unavailable),
        }
    }

    fn find(&self, id: &str, algorithm: Algorithm) -> Result<Arc<Key>, Missing> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let keys = state.keys(self.clock.now_ms()).ok_or(Missing::Unavailable)?;
        keys.find(id, algorithm).ok_or(Missing::Unknown)
    }

    /// Whether the provider is being asked, now.
    fn ask(self: &Arc<Self>) -> bool {
        let now_ms = self.clock.now_ms();
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if state.asking {
                return true;
            }
            if !state.may_ask(now_ms) {
                return false;
            }
            (state.asking, state.asked_ms) = (true, Some(now_ms));
        }
        // A task of its own: who asked may hang up.
        let asking = Asking(Arc::clone(self));
        tokio::spawn(async move {
            let cache = &asking.0;
            match cache.source.fetch().await {
                Ok(keys) => {
                    tracing::debug!(provider = cache.source.name, keys = keys.len(), "keys of a provider");
                    cache.state.write().unwrap_or_else(PoisonError::into_inner).keys = Some((keys, now_ms));
                }
                Err(error) => {
                    tracing::warn!(provider = cache.source.name, %error, "the keys of a provider cannot be fetched");
                }
            }
        });
        true
    }
}
