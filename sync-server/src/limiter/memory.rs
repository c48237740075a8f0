//! The limiter within one process.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Decision, Limiter, Quota, Usage};

/// Keys that are counted apart, of each rule. Those that come when so many are busy share one count. A busy key costs some
/// 100 bytes, and 8 to 16 for each request that its window holds.
const KEYS_MAX: usize = 65_536;
/// Keys that are looked at for each one that is asked for: more than one, so that idle ones go sooner than others come.
const SWEEP: usize = 4;
/// Room for so many times is kept even where it is not needed now.
const TIMES_KEPT: usize = 64;

/// The time since some moment; it never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A limiter for a server that is alone.
pub struct MemoryLimiter {
    clock: Clock,
    keys_max: usize,
    rooms: Mutex<BTreeMap<Arc<str>, Room>>,
}

/// The keys of one rule.
#[derive(Default)]
struct Room {
    buckets: BTreeMap<String, Bucket>,
    /// Those for which there was no room.
    shared: Bucket,
    /// The last key that was looked at.
    swept: String,
}

/// When it happened in microseconds, the oldest first.
#[derive(Default)]
struct Bucket {
    times: VecDeque<u64>,
    window_us: u64,
}

impl Default for MemoryLimiter {
    fn default() -> Self {
        let start = Instant::now();
        Self::new(Arc::new(move || start.elapsed()))
    }
}

impl MemoryLimiter {
    /// By that clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, keys_max: KEYS_MAX, rooms: Mutex::default() }
    }

    fn rooms(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Room>> {
        // Nothing under this lock can panic half-way.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        (self.clock)().as_micros() as u64
    }
}

impl Room {
    /// Where a key is counted; `None` where it is not yet, and there is room.
    fn bucket(&mut self, quota: &Quota, keys_max: usize, now_us: u64) -> Option<&mut Bucket> {
        let is_full = self.buckets.len() >= keys_max;
        let bucket = match self.buckets.get_mut(&quota.key) {
            Some(bucket) => bucket,
            None if is_full => &mut self.shared,
            None => return None,
        };
        bucket.window_us = quota.window.as_micros() as u64;
        bucket.expire(now_us);
        Some(bucket)
    }

    /// Lets go of idle keys among the next few.
    fn sweep(&mut self, now_us: u64) {
        let after = (Bound::Excluded(self.swept.as_str()), Bound::Unbounded);
        let mut idle: [Option<String>; SWEEP] = Default::default();
        let mut last = None;
        for (place, (key, bucket)) in idle.iter_mut().zip(self.buckets.range_mut::<str, _>(after)) {
            bucket.expire(now_us);
            if bucket.times.is_empty() {
                *place = Some(key.clone());
            }
            last = Some(key);
        }
        // Past the last one it begins anew.
        self.swept = last.cloned().unwrap_or_default();
        for key in idle.iter().flatten() {
            self.buckets.remove(key);
        }
    }
}

impl Bucket {
    fn expire(&mut self, now_us: u64) {
        while self.times.front().is_some_and(|time| *time + self.window_us <= now_us) {
            self.times.pop_front();
        }
        if self.times.capacity() > TIMES_KEPT.max(self.times.len() * 4) {
            self.times.shrink_to(self.times.len() * 2);
        }
    }

    fn has_room(&self, quota: &Quota) -> bool {
        self.times.len() < quota.requests as usize
    }

    fn usage(&self, quota: &Quota, now_us: u64) -> Usage {
        let (taken, requests) = (self.times.len(), quota.requests as usize);
        // More than are allowed are there only where the limit was lowered.
        let frees = self.times.get(taken.saturating_sub(requests));
        let frees_us = frees.map_or(0, |time| (*time + self.window_us).saturating_sub(now_us));
        let remaining = requests.saturating_sub(taken) as u32;
        Usage { remaining, ..quota.used_up(Duration::from_micros(frees_us)) }
    }
}

#[async_trait]
impl Limiter for MemoryLimiter {
    async fn ask(&self, quotas: &[Quota]) -> Decision {
        let now_us = self.now_us();
        let mut rooms = self.rooms();
        let mut allowed = true;
        // First of all, since what is put in below is idle until it is counted.
        for quota in quotas {
            rooms.entry(Arc::clone(&quota.rule)).or_default().sweep(now_us);
        }
        for quota in quotas {
            let room = rooms.entry(Arc::clone(&quota.rule)).or_default();
            if let Some(bucket) = room.bucket(quota, self.keys_max, now_us) {
                allowed &= bucket.has_room(quota);
            } else {
                room.buckets.insert(quota.key.clone(), Bucket::default());
                allowed &= quota.requests > 0;
            }
        }
        let usage = quotas.iter().filter_map(|quota| {
            let bucket = rooms.get_mut(&quota.rule)?.bucket(quota, self.keys_max, now_us)?;
            if allowed {
                bucket.times.push_back(now_us);
            }
            Some(bucket.usage(quota, now_us))
        });
        Decision { allowed, usage: usage.collect() }
    }

    fn refused(&self, quotas: &[Quota]) -> Option<Decision> {
        let now_us = self.now_us();
        let mut rooms = self.rooms();
        let used_up = quotas.iter().filter_map(|quota| {
            let bucket = rooms.get_mut(&quota.rule)?.bucket(quota, self.keys_max, now_us)?;
            (!bucket.has_room(quota)).then(|| bucket.usage(quota, now_us))
        });
        let usage: Vec<Usage> = used_up.collect();
        (!usage.is_empty()).then_some(Decision { allowed: false, usage })
    }
}

#[cfg(test)]
mod tests;
