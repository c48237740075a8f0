//! Random numbers where a bad one does no harm: they only keep nodes from doing the same at the same time.

use std::time::Duration;

/// A random number; the same one where the operating system has none.
pub(crate) fn number() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// A time between three quarters of that and all of it.
pub(crate) fn jittered(time: Duration) -> Duration {
    let spread = time.as_millis() as u64 / 4;
    time.saturating_sub(Duration::from_millis(number() % (spread + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bounds() {
        for time in [Duration::ZERO, Duration::from_millis(3), Duration::from_secs(1)] {
            for _ in 0..100 {
                let jittered = jittered(time);
                assert!(jittered <= time && jittered >= time * 3 / 4, "{jittered:?}");
            }
        }
    }
}
