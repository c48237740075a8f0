//! How often one may try to sign in as somebody: a window, a back-off, and a block. A function of what is known of the
//! identity and of the time; whether there is an account plays no part in it.

use std::time::Duration;

use crate::config;
use crate::store::accounts::Attempts;

/// How far back failures count towards a block, and how long blocks are remembered.
const DAY_MS: u64 = 86_400_000;

/// Numbers of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    attempts: usize,
    window_ms: u64,
    backoff_ms: u64,
    backoff_max_ms: u64,
    block_after: usize,
    block_ms: u64,
    block_max_ms: u64,
}

/// An attempt that may be made. It stands as a failure until it is known to be a success: so attempts at the same time do
/// not get more tries than others, nor does who hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) struct Attempt {
    at_ms: u64,
    /// Whether this one led to a block, unless it succeeds.
    pub(super) blocks: bool,
}

/// An attempt that may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooOften {
    pub(super) retry_after: Duration,
}

impl From<&config::Accounts> for Rules {
    fn from(config: &config::Accounts) -> Self {
        Self {
            attempts: config.attempts as usize,
            window_ms: u64::from(config.attempts_seconds) * 1_000,
            backoff_ms: config.backoff_ms,
            backoff_max_ms: config.backoff_max_ms,
            block_after: config.block_after as usize,
            block_ms: u64::from(config.block_seconds) * 1_000,
            block_max_ms: u64::from(config.block_max_seconds) * 1_000,
        }
    }
}

/// Doubled with each time after the first.
fn doubled(first_ms: u64, times: u32, max_ms: u64) -> u64 {
    let factor = 1_u64.checked_shl(times.saturating_sub(1)).unwrap_or(u64::MAX);
    first_ms.saturating_mul(factor).min(max_ms)
}

impl Rules {
    /// Takes an attempt.
    pub(super) fn take(&self, mut known: Attempts, now_ms: u64) -> Result<(Attempts, Attempt), TooOften> {
        known.recent.retain(|at| at.saturating_add(self.window_ms) > now_ms);
        known.failures.retain(|at| at.saturating_add(DAY_MS) > now_ms);
        if known.failures.is_empty() {
            known.in_a_row = 0;
        }
        if known.blocked_until_ms.saturating_add(DAY_MS) <= now_ms {
            known.blocks = 0;
        }
        let full = known.recent.len().checked_sub(self.attempts).and_then(|at| known.recent.get(at));
        let free_ms = full.map_or(0, |oldest| oldest.saturating_add(self.window_ms));
        let until_ms = free_ms.max(known.not_before_ms).max(known.blocked_until_ms);
        if now_ms < until_ms {
            return Err(TooOften { retry_after: Duration::from_millis(until_ms - now_ms) });
        }
        known.recent.push(now_ms);
        known.failures.push(now_ms);
        known.in_a_row = known.in_a_row.saturating_add(1);
        known.not_before_ms = now_ms.saturating_add(doubled(self.backoff_ms, known.in_a_row, self.backoff_max_ms));
        let blocks = known.failures.len() >= self.block_after;
        if blocks {
            known.blocks = known.blocks.saturating_add(1);
            known.blocked_until_ms = now_ms.saturating_add(doubled(self.block_ms, known.blocks, self.block_max_ms));
            // The next block takes as many failures again.
            known.failures.clear();
        }
        self.date(&mut known);
        Ok((known, Attempt { at_ms: now_ms, blocks }))
    }

    /// An attempt was a success: the back-off begins anew, and what this attempt counted as a failure is taken back. Its
    /// place in the window stays taken.
    pub(super) fn succeed(&self, mut known: Attempts, attempt: Attempt) -> Attempts {
        known.in_a_row = 0;
        known.not_before_ms = 0;
        if attempt.blocks {
            known.blocks = known.blocks.saturating_sub(1);
            known.blocked_until_ms = 0;
        } else if let Some(at) = known.failures.iter().position(|at| *at == attempt.at_ms) {
            known.failures.remove(at);
        }
        self.date(&mut known);
        known
    }

    fn date(&self, known: &mut Attempts) {
        let recent = known.recent.last().map_or(0, |at| at.saturating_add(self.window_ms));
        let failure = known.failures.last().map_or(0, |at| at.saturating_add(DAY_MS));
        let block = if known.blocks > 0 { known.blocked_until_ms.saturating_add(DAY_MS) } else { 0 };
        known.forgotten_ms = recent.max(failure).max(block).max(known.not_before_ms);
    }
}

#[cfg(test)]
mod tests;
