//! How long to wait after a failure: exponential with full jitter, so that phones that failed together return apart.
//! After "Exponential Backoff And Jitter", Marc Brooker, 2015.

use crate::limits::{BACKOFF_BASE_MS, BACKOFF_CAP_MS, RETRY_AFTER_MAX_MS};

/// Consecutive failures.
#[derive(Debug)]
pub struct Backoff {
    failures: u32,
    base_ms: u64,
    cap_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(BACKOFF_BASE_MS, BACKOFF_CAP_MS)
    }
}

impl Backoff {
    /// The first wait is at most `base_ms`, none is longer than `cap_ms`.
    pub fn new(base_ms: u64, cap_ms: u64) -> Self {
        Self { failures: 0, base_ms, cap_ms }
    }

    /// Forgets the failures: something worked, or the network changed.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Whether the last try failed.
    pub fn is_waiting(&self) -> bool {
        self.failures > 0
    }

    /// The wait before the next try, in milliseconds: between 0 and a bound that doubles with each failure; where the
    /// server said how long, that long and a jitter on top.
    pub fn next(&mut self, retry_after_ms: Option<u64>, random: &mut dyn FnMut() -> u64) -> u64 {
        let bound = self.base_ms.saturating_mul(1 << self.failures.min(20)).min(self.cap_ms);
        self.failures = self.failures.saturating_add(1);
        let jitter = random() % (bound + 1);
        match retry_after_ms {
            Some(told) => told.min(RETRY_AFTER_MAX_MS) + jitter,
            None => jitter,
        }
    }
}
