//! What a store keeps of what was done: rows that are added and never changed, and what flags need to know.

use std::time::Duration;

use async_trait::async_trait;
use sync_core::id::{DeviceId, SpaceId};

use super::StoreError;

/// No purge comes closer than this, whatever it is told.
pub const KEPT_MIN: Duration = Duration::from_hours(24 * 365);
/// Rows of one page: one page is one answer in memory.
pub const PAGE_ROWS_MAX: u32 = 1_000;
/// Rows that are added in one go.
pub const APPEND_ROWS_MAX: usize = 256;

/// A random number by which a row is known: also in the log's line that says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditId(pub [u8; 16]);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Whom it concerns, or what stands for an identity that was tried.
    pub user: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its own.
    pub id: AuditId,
    /// What, such as `signin.done`.
    pub kind: String,
    /// On or about which device.
    pub device: Option<DeviceId>,
    /// In or about which space.
    pub space: Option<SpaceId>,
    /// From which address.
    pub address: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// What else there is to know.
    pub detail: Option<String>,
}

/// A row's place, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPlace {
    /// When.
    pub at_ms: u64,
    /// Which of that moment.
    pub id: AuditId,
}

/// Which rows are wanted. What is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Whose.
    pub user: Option<String>,
    /// Of this kind; `flag.*` stands for all kinds that begin so.
    pub kind: Option<String>,
    /// Of that space.
    pub space: Option<SpaceId>,
    /// At that time or later.
    pub since_ms: Option<u64>,
    /// Before that time.
    pub until_ms: Option<u64>,
    /// Behind the last row of the page before.
    pub after: Option<AuditPlace>,
    /// How many, at most [`PAGE_ROWS_MAX`].
    pub limit: u32,
}

impl AuditFilter {
    /// The kind as it must be, or as it must begin.
    pub(super) fn kinds(&self) -> (Option<&str>, Option<&str>) {
        match self.kind.as_deref() {
            Some(kind) => match kind.strip_suffix('*') {
                Some(start) => (None, Some(start)),
                None => (Some(kind), None),
            },
            None => (None, None),
        }
    }
}

/// Where a user was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSeen {
    /// In which country.
    pub country: String,
    /// When.
    pub at_ms: u64,
}

/// Rows are added and read, and purged when they are old; nothing changes one.
#[async_trait]
pub trait Audit: Send + Sync + 'static {
    /// Adds rows of any users, at most [`APPEND_ROWS_MAX`]. Those that are there already are left as they are.
    async fn append_audit(&self, rows: Vec<AuditRow>) -> Result<(), StoreError>;

    /// The newest rows that fit.
    async fn read_audit(&self, filter: AuditFilter) -> Result<Vec<AuditRow>, StoreError>;

    /// Drops up to so many rows from before that time, and says how many. Refused where it is less than [`KEPT_MIN`] before
    /// `now_ms`.
    async fn purge_audit(&self, before_ms: u64, now_ms: u64, rows_max: u32) -> Result<u64, StoreError>;

    /// A user is in that country now. Answers where it was before.
    async fn see(&self, user: &str, country: &str, at_ms: u64) -> Result<Option<LastSeen>, StoreError>;

    /// Whether a user is to be flagged: not where one of that kind was raised within `apart` before.
    async fn claim_flag(&self, user: &str, kind: &str, at_ms: u64, apart: Duration) -> Result<bool, StoreError>;
}

/// Whether rows from before that time are old enough to be dropped.
pub(super) fn may_purge(before_ms: u64, now_ms: u64) -> Result<(), StoreError> {
    if before_ms.saturating_add(KEPT_MIN.as_millis() as u64) > now_ms {
        return Err(StoreError::Fault("the audit log is kept for a year at least".into()));
    }
    Ok(())
}
