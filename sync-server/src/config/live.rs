//! Live connections.

use serde::{Deserialize, Serialize};
use sync_core::limits::REQUESTS_IN_FLIGHT_MAX;

use super::{ConfigError, time, within};

/// Live connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Live {
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one user.
    pub connections_per_user_max: usize,
    /// Connections that have not said hello yet.
    pub hello_pending_max: usize,
    /// How long saying hello may take.
    pub hello_timeout_ms: u64,
    /// How often a connection is told where the logs are.
    pub heartbeat_ms: u64,
    /// How long a connection may say nothing.
    pub idle_timeout_ms: u64,
    /// Messages a second of one user, on all its connections.
    pub messages_per_second_max: u32,
    /// And how many at once.
    pub messages_burst_max: u32,
    /// Large frames that are being received or worked on at the same time.
    pub large_frames_max: usize,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_user_max: 128,
            hello_pending_max: 256,
            hello_timeout_ms: 5_000,
            heartbeat_ms: 5_000,
            idle_timeout_ms: 60_000,
            messages_per_second_max: 1_000,
            messages_burst_max: 2_000,
            large_frames_max: REQUESTS_IN_FLIGHT_MAX,
        }
    }
}

impl Live {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within((1..=1 << 20).contains(&self.connections_max), "live.connections_max", "1 to 1,048,576")?;
        within(
            (1..=1 << 20).contains(&self.connections_per_user_max),
            "live.connections_per_user_max",
            "1 to 1,048,576",
        )?;
        within((1..=1 << 20).contains(&self.hello_pending_max), "live.hello_pending_max", "1 to 1,048,576")?;
        within(time(self.hello_timeout_ms), "live.hello_timeout_ms", "1 ms to 1 h")?;
        within(time(self.heartbeat_ms), "live.heartbeat_ms", "1 ms to 1 h")?;
        within(time(self.idle_timeout_ms), "live.idle_timeout_ms", "1 ms to 1 h")?;
        within(self.messages_per_second_max > 0, "live.messages_per_second_max", "at least 1")?;
        within(self.messages_burst_max > 0, "live.messages_burst_max", "at least 1")?;
        within((1..=65_536).contains(&self.large_frames_max), "live.large_frames_max", "1 to 65,536")
    }
}
