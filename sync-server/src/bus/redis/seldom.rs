//! Something that may happen often and is logged seldom.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) struct Seldom {
    period: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    told_at: Option<Instant>,
    untold: u64,
}

impl Seldom {
    pub(super) fn new(period: Duration) -> Self {
        Self { period, state: Mutex::default() }
    }

    /// It happened. Where that is to be told: how often since it was told last.
    pub(super) fn happened(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold += 1;
        if state.told_at.is_some_and(|at| now < at + self.period) {
            return None;
        }
        state.told_at = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_told_once_a_period_with_how_often_it_was() {
        let seldom = Seldom::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| seldom.happened(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(9), at(10), at(11)], [Some(1), None, None, Some(3), None]);
    }
}
