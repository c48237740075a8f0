//! Compaction: when documents are folded, and what becomes of what they were folded from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigError, time, within};

/// Compaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compaction {
    /// Whether this node does it.
    pub enabled: bool,
    /// How often all documents are looked at.
    pub every_ms: u64,
    /// Changes behind a document's snapshot, from which on it is folded.
    pub tail_changes_max: u64,
    /// And their bytes.
    pub tail_bytes_max: u64,
    /// Between two pieces of work, so that requests come first.
    pub pause_ms: u64,
    /// What a worker may take in memory.
    pub worker_memory_bytes: u64,
    /// How long it may take for one step.
    pub worker_deadline_ms: u64,
    /// A device that has not read for so long holds up nothing.
    pub active_days: u32,
    /// What is older holds up nothing either.
    pub retention_days: u32,
    /// How long what the server has of a deleted space is kept.
    pub deleted_spaces_hours: u32,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            enabled: true,
            every_ms: 300_000,
            tail_changes_max: 1_000,
            tail_bytes_max: 1 << 20,
            pause_ms: 5,
            worker_memory_bytes: 1 << 30,
            worker_deadline_ms: 120_000,
            active_days: 30,
            retention_days: 90,
            deleted_spaces_hours: 0,
        }
    }
}

impl Compaction {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within(time(self.every_ms), "compaction.every_ms", "1 ms to 1 h")?;
        within((1..=1_000_000).contains(&self.tail_changes_max), "compaction.tail_changes_max", "1 to 1,000,000")?;
        within((1..=1 << 30).contains(&self.tail_bytes_max), "compaction.tail_bytes_max", "1 to 1 GiB")?;
        within(self.pause_ms <= 60_000, "compaction.pause_ms", "at most 1 min")?;
        let memory = (64 << 20..=1 << 40).contains(&self.worker_memory_bytes);
        within(memory, "compaction.worker_memory_bytes", "64 MiB to 1 TiB")?;
        within(time(self.worker_deadline_ms), "compaction.worker_deadline_ms", "1 ms to 1 h")?;
        within(self.active_days <= 36_500, "compaction.active_days", "at most 36,500")?;
        within(self.retention_days <= 36_500, "compaction.retention_days", "at most 36,500")?;
        within(self.deleted_spaces_hours <= 8_760, "compaction.deleted_spaces_hours", "at most 8,760")
    }

    pub(crate) fn period(&self) -> Duration {
        Duration::from_millis(self.every_ms)
    }

    pub(crate) fn pause(&self) -> Duration {
        Duration::from_millis(self.pause_ms)
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.worker_deadline_ms)
    }
}
