//! Time and randomness of the real world, for the pure core.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A monotonic clock in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that stood at 0 then.
    pub(super) fn since(start: Instant) -> Self {
        Self { start }
    }

    pub(super) fn now_ms(&self) -> u64 {
        #[cfg(feature = "testing")]
        if let Some(now_ms) = super::simulated::now_ms() {
            return now_ms;
        }
        self.start.elapsed().as_millis() as u64
    }

    pub(super) fn at(&self, ms: u64) -> Instant {
        self.start + std::time::Duration::from_millis(ms)
    }
}

/// Milliseconds since 1970 by the phone's clock: a hint for the order of new document ids, nothing more.
pub(super) fn wall_ms() -> u64 {
    #[cfg(feature = "testing")]
    if let Some(wall_ms) = super::simulated::wall_ms() {
        return wall_ms;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// 64 random bits from the operating system.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Random bytes from the operating system.
pub(super) fn fill(bytes: &mut [u8]) {
    #[cfg(feature = "testing")]
    if super::simulated::is_entered() {
        for part in bytes.chunks_mut(8) {
            let random = super::simulated::random().unwrap_or_default().to_le_bytes();
            part.copy_from_slice(&random[..part.len()]);
        }
        return;
    }
    // Without randomness there are no safe ids; every system that phones run on has it.
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

/// A time for what goes at a pace. In a simulation nothing takes any.
pub(super) fn paced(time: std::time::Duration) -> std::time::Duration {
    #[cfg(feature = "testing")]
    if super::simulated::is_entered() {
        return std::time::Duration::ZERO;
    }
    time
}
