//! What is flagged for people to look at.

use serde::{Deserialize, Serialize};

use super::{ConfigError, within};

/// What is flagged for people to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flags {
    /// Days without a call, after which another country is flagged.
    pub inactive_days: u32,
    /// Calls of one user.
    pub burst_calls: u32,
    /// In so many seconds.
    pub burst_seconds: u32,
    /// Refusals of one user.
    pub reach_refusals: u32,
    /// In so many seconds.
    pub reach_seconds: u32,
}

impl Default for Flags {
    fn default() -> Self {
        Self { inactive_days: 30, burst_calls: 3_000, burst_seconds: 60, reach_refusals: 20, reach_seconds: 600 }
    }
}

impl Flags {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within(self.inactive_days <= 36_500, "flags.inactive_days", "at most 36,500")?;
        within((1..=3_600).contains(&self.burst_seconds), "flags.burst_seconds", "1 to 3,600")?;
        within((1..=3_600).contains(&self.reach_seconds), "flags.reach_seconds", "1 to 3,600")
    }
}
