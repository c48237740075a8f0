//! What was refused a moment ago: a flood costs no more than a look here.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Refusals that are remembered. One that is not costs a question more, and is refused all the same.
const REFUSED_MAX: usize = 16_384;
/// A full memory is tidied no more often than this: it takes a millisecond.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);

/// Keys that are refused until their time is up, and with what.
#[derive(Debug)]
pub struct Refused<K, V>(Mutex<Inner<K, V>>);

#[derive(Debug)]
struct Inner<K, V> {
    until: HashMap<K, (Instant, V)>,
    tidied: Option<Instant>,
}

impl<K, V> Default for Refused<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Inner { until: HashMap::new(), tidied: None }))
    }
}

impl<K: Hash + Eq, V: Clone> Refused<K, V> {
    fn inner(&self) -> MutexGuard<'_, Inner<K, V>> {
        // Nothing under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a refusal, where there is room.
    pub fn add(&self, key: K, until: Instant, with: V, now: Instant) {
        let mut inner = self.inner();
        if inner.until.len() >= REFUSED_MAX && !inner.until.contains_key(&key) {
            if inner.tidied.is_some_and(|tidied| now < tidied + TIDY_INTERVAL) {
                return;
            }
            inner.tidied = Some(now);
            inner.until.retain(|_, (until, _)| *until > now);
            if inner.until.len() >= REFUSED_MAX {
                return;
            }
        }
        inner.until.insert(key, (until, with));
    }

    /// For how long it is refused still, and with what.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q, now: Instant) -> Option<(Duration, V)>
    where
        K: Borrow<Q>,
    {
        let mut inner = self.inner();
        let (until, with) = inner.until.get(key)?;
        let left = until.saturating_duration_since(now);
        if left.is_zero() {
            inner.until.remove(key);
            return None;
        }
        Some((left, with.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_when_the_time_is_up_and_is_bounded() {
        let (refused, start) = (Refused::<String, u8>::default(), Instant::now());
        refused.add("a".to_owned(), start + Duration::from_secs(2), 7, start);
        let (left, with) = refused.get("a", start + Duration::from_secs(1)).unwrap();
        assert_eq!((left, with), (Duration::from_secs(1), 7));
        assert_eq!(refused.get("a", start + Duration::from_secs(2)), None);
        assert_eq!(refused.get("b", start), None);
        let until = start + Duration::from_secs(10);
        for at in 0..REFUSED_MAX + 10 {
            refused.add(at.to_string(), until, 0, start);
        }
        assert_eq!(refused.inner().until.len(), REFUSED_MAX);
        refused.add("late".to_owned(), until + TIDY_INTERVAL, 0, until);
        assert_eq!(refused.inner().until.len(), 1, "those whose time is up make room");
    }
}
