//! Which versions of apps are served.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigError, time, within};

/// Which versions of apps are served. Which they are is no configuration: `sync-server min-version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Versions {
    /// How often the oldest ones are looked up.
    pub poll_ms: u64,
}

impl Default for Versions {
    fn default() -> Self {
        Self { poll_ms: 5_000 }
    }
}

impl Versions {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within(time(self.poll_ms), "versions.poll_ms", "1 ms to 1 h")
    }

    pub(crate) fn period(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }
}
