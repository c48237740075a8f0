//! When news is asked for where it does not come by itself.

use super::{Follow, Session, SpaceState};
use crate::id::SpaceId;
use crate::limits::{POLL_IDLE_MAX_MS, POLL_INTERVAL_MS};

/// So many polls without news come at the short interval: what somebody waits for mostly comes soon or not at all.
const EAGER_POLLS: u32 = 4;

impl SpaceState {
    /// When news is asked for again: the more seldom the longer there was none, and of all spaces at the same moments, so that
    /// a radio wakes once for them.
    pub(super) fn next_poll_ms(&self, now_ms: u64) -> u64 {
        let interval_ms = (POLL_INTERVAL_MS << self.quiet.saturating_sub(EAGER_POLLS).min(8)).min(POLL_IDLE_MAX_MS);
        (now_ms / interval_ms + 1) * interval_ms
    }
}

impl Session {
    /// Somebody looks: what was not asked for lately is, where it does not come by itself.
    pub(super) fn poll_now(&mut self, now_ms: u64) {
        for state in self.spaces.values_mut().filter(|state| matches!(state.follow, Follow::No | Follow::Polled)) {
            state.due_at_ms = state.due_at_ms.min(now_ms);
            state.quiet = 0;
        }
    }

    /// A space is asked for now, and before others. What is followed has the news already.
    pub(super) fn pushed(&mut self, space: SpaceId, now_ms: u64) {
        let Some(state) = self.spaces.get_mut(&space) else { return };
        state.turn = 0;
        if state.trouble.is_none() && matches!(state.follow, Follow::No | Follow::Polled) {
            state.due_at_ms = state.due_at_ms.min(now_ms);
            state.not_before_ms = 0;
        }
    }
}
