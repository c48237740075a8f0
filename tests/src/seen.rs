//! What observers have seen, for tests to wait for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::rig::PATIENCE;

/// What was seen, in order, with the time of each.
pub struct Seen<T>(Arc<Shared<T>>);

struct Shared<T> {
    seen: Mutex<Vec<(Instant, T)>>,
    more: Condvar,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Arc::new(Shared { seen: Mutex::new(Vec::new()), more: Condvar::new() }))
    }
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Seen<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, T)>> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees something.
    pub fn see(&self, thing: T) {
        self.lock().push((Instant::now(), thing));
        self.0.more.notify_all();
    }

    /// How much was seen so far.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Waits until `found` finds something in what was seen, from the first of it on.
    pub fn wait<R>(&self, found: impl Fn(&[(Instant, T)]) -> Option<R>) -> R {
        self.wait_from(0, found)
    }

    /// The same, passing over the first of it.
    pub fn wait_from<R>(&self, from: usize, found: impl Fn(&[(Instant, T)]) -> Option<R>) -> R {
        let until = Instant::now() + PATIENCE;
        let mut seen = self.lock();
        loop {
            if let Some(found) = found(seen.get(from..).unwrap_or_default()) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not seen in time");
            seen = self.0.more.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T: PartialEq> Seen<T> {
    /// Waits until something was seen behind the first `from`; gives when.
    pub fn wait_for(&self, from: usize, thing: &T) -> Instant {
        self.wait_from(from, |seen| seen.iter().find(|(_, seen)| seen == thing).map(|(at, _)| *at))
    }
}
