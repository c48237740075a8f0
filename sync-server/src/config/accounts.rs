//! Accounts of our own: what a password's hash costs, and how often somebody may try one.

use serde::{Deserialize, Serialize};

use super::{ConfigError, within};

/// Accounts of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// Whether anybody may make one.
    pub sign_up: bool,
    /// Memory of one hash.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
    /// Hashes that are computed at the same time.
    pub hashes_at_once: usize,
    /// Hashes that wait for their turn.
    pub hashes_waiting_max: usize,
    /// How often one may try to sign in as somebody.
    pub attempts: u32,
    /// In any stretch of time of this length.
    pub attempts_seconds: u32,
    /// How long to wait after a first failure; after each further one twice as long.
    pub backoff_ms: u64,
    /// But no longer than that.
    pub backoff_max_ms: u64,
    /// Failures in a day after which nobody may try.
    pub block_after: u32,
    /// For so long; twice as long each time that it comes to that again.
    pub block_seconds: u32,
    /// But no longer than that.
    pub block_max_seconds: u32,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            sign_up: true,
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
            hashes_at_once: 2,
            hashes_waiting_max: 32,
            attempts: 5,
            attempts_seconds: 900,
            backoff_ms: 1_000,
            backoff_max_ms: 60_000,
            block_after: 10,
            block_seconds: 900,
            block_max_seconds: 86_400,
        }
    }
}

impl Accounts {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let day = 86_400;
        // Argon2 itself wants eight blocks a lane.
        let memory = (8 * self.parallelism.min(16)..=1 << 20).contains(&self.memory_kib);
        within(memory, "accounts.memory_kib", "8 for each lane to 1,048,576")?;
        within((1..=64).contains(&self.iterations), "accounts.iterations", "1 to 64")?;
        within((1..=16).contains(&self.parallelism), "accounts.parallelism", "1 to 16")?;
        within((1..=256).contains(&self.hashes_at_once), "accounts.hashes_at_once", "1 to 256")?;
        within(self.hashes_waiting_max <= 4_096, "accounts.hashes_waiting_max", "at most 4,096")?;
        // They are kept one by one.
        within((1..=100).contains(&self.attempts), "accounts.attempts", "1 to 100")?;
        within((1..=day).contains(&self.attempts_seconds), "accounts.attempts_seconds", "1 to 86,400")?;
        within(self.backoff_ms <= self.backoff_max_ms, "accounts.backoff_ms", "at most accounts.backoff_max_ms")?;
        within(self.backoff_max_ms <= 3_600_000, "accounts.backoff_max_ms", "at most 1 h")?;
        within((1..=100).contains(&self.block_after), "accounts.block_after", "1 to 100")?;
        let block = (1..=self.block_max_seconds).contains(&self.block_seconds);
        within(block, "accounts.block_seconds", "1 to accounts.block_max_seconds")?;
        within(self.block_max_seconds <= 7 * day, "accounts.block_max_seconds", "at most 604,800")
    }
}
