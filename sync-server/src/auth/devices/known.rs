//! What was found out about devices a moment ago.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sync_core::id::DeviceId;

use crate::store::StoreError;
use crate::store::devices::{SessionId, Standing};

/// How long what was found out counts, from when it was asked: with it, a device that nobody told of is cut off within a
/// second.
pub(crate) const AGE_MAX: Duration = Duration::from_millis(750);
/// Devices that are remembered; one more is forgotten for each that comes then. Each takes some 200 bytes.
pub(super) const KNOWN_MAX: usize = 32_768;

type Key = (String, DeviceId, Option<SessionId>);

/// What was found out, by what tokens name.
#[derive(Default)]
pub(crate) struct Known(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    entries: BTreeMap<Key, Arc<Entry>>,
    tidied: Option<Instant>,
}

/// What is known of one device and session.
pub(super) struct Entry {
    found: Mutex<Found>,
    /// One asks, the others wait for what it finds.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Found {
    standing: Option<(Instant, Standing)>,
    /// When nobody could be asked last.
    failed: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Where that device and session stand, or will.
    pub(super) fn entry(&self, user: &str, device: DeviceId, session: Option<SessionId>, now: Instant) -> Arc<Entry> {
        let key = (user.to_owned(), device, session);
        let mut inner = lock(&self.0);
        if let Some(entry) = inner.entries.get(&key) {
            return Arc::clone(entry);
        }
        if inner.entries.len() >= KNOWN_MAX {
            inner.make_room(now);
        }
        let entry = Arc::new(Entry { found: Mutex::default(), asking: tokio::sync::Mutex::default() });
        inner.entries.insert(key, Arc::clone(&entry));
        entry
    }

    /// Forgets a device, or all of a user's. What is being asked just now is asked again by whoever comes next.
    pub(crate) fn forget(&self, user: &str, device: Option<DeviceId>) {
        let first = device.unwrap_or(DeviceId::from_bytes([0; 16]));
        let mut inner = lock(&self.0);
        loop {
            let from = (user.to_owned(), first, None);
            let next = inner.entries.range(from..).next().map(|(key, _)| key.clone());
            let Some(key) = next else { return };
            if key.0 != user || device.is_some_and(|device| key.1 != device) {
                return;
            }
            inner.entries.remove(&key);
        }
    }
}

impl Known {
    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.0).entries.len()
    }

    /// Forgets everybody.
    pub(crate) fn forget_all(&self) {
        lock(&self.0).entries.clear();
    }
}

impl Inner {
    fn make_room(&mut self, now: Instant) {
        if self.tidied.is_none_or(|tidied| now >= tidied + AGE_MAX) {
            self.tidied = Some(now);
            self.entries.retain(|_, entry| lock(&entry.found).at(now).is_some());
        }
        if self.entries.len() >= KNOWN_MAX {
            self.entries.pop_first();
        }
    }
}

impl Found {
    fn at(&self, now: Instant) -> Option<Standing> {
        self.standing.filter(|(asked, _)| now < *asked + AGE_MAX).map(|(_, standing)| standing)
    }
}

impl Entry {
    /// What is known, or else what is found by asking. Who came while another asked takes what that one got.
    pub(super) async fn standing<F>(
        &self,
        now: impl Fn() -> Instant,
        ask: impl FnOnce() -> F,
    ) -> Result<Standing, StoreError>
    where
        F: Future<Output = Result<Standing, StoreError>>,
    {
        let came = now();
        if let Some(standing) = lock(&self.found).at(came) {
            return Ok(standing);
        }
        let _turn = self.asking.lock().await;
        let asked = now();
        {
            let found = lock(&self.found);
            if let Some(standing) = found.at(asked) {
                return Ok(standing);
            }
            if found.failed.is_some_and(|failed| failed >= came) {
                return Err(StoreError::Unavailable("the registry could not be asked just now".into()));
            }
        }
        let answer = ask().await;
        let mut found = lock(&self.found);
        match &answer {
            Ok(standing) => found.standing = Some((asked, *standing)),
            Err(_) => found.failed = Some(now()),
        }
        answer
    }
}
