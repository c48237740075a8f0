//! What a store keeps of grants: codes that are redeemed for a session, once.

use async_trait::async_trait;
use sync_core::id::{DeviceId, Hash};

use super::StoreError;

/// How long a grant is remembered after it has expired: so long, using it again is noticed.
pub const GRANT_KEPT_MS: u64 = 600_000;
/// Rows past that which one new grant clears away: more than it adds.
pub const GRANT_SWEEP_MAX: u32 = 32;

/// How far a grant has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// Somebody has to approve.
    Asked = 1,
    /// It may be redeemed.
    Approved = 2,
    /// Somebody has said no.
    Denied = 3,
    /// It was redeemed.
    Redeemed = 4,
    /// It was redeemed again, or by whoever it was not for: nothing may come of it.
    Spoilt = 5,
}

/// What kind of grant it is, and what that kind is redeemed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantKind {
    /// An authorization code.
    Code {
        /// Where it was sent.
        redirect_uri: String,
        /// The hash of what its owner shows (RFC 7636, S256).
        challenge: String,
    },
    /// A device that shows a code for somebody to approve (RFC 8628).
    Device {
        /// SHA-256 of its secret.
        secret: Hash,
        /// How often it may ask, in seconds.
        interval_s: u32,
        /// When it did last, in milliseconds since 1970; 0 for never.
        asked_ms: u64,
    },
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What it is redeemed with.
    pub kind: GrantKind,
    /// How far it has come.
    pub state: GrantState,
    /// The app that it is for.
    pub client: String,
    /// Who approved.
    pub user: Option<String>,
    /// What others call this person.
    pub display_name: Option<String>,
    /// The device that was signed in with it.
    pub device: Option<DeviceId>,
    /// Until when it may be redeemed, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A [`Grant`], and what it is changed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// Grows with each change.
    pub version: u64,
    /// The grant.
    pub grant: Grant,
}

impl GrantState {
    pub(super) fn from_number(number: i64) -> Option<Self> {
        [Self::Asked, Self::Approved, Self::Denied, Self::Redeemed, Self::Spoilt]
            .into_iter()
            .find(|state| *state as i64 == number)
    }
}

/// Grants.
#[async_trait]
pub trait Grants: Send + Sync + 'static {
    /// Adds a grant under a hash of its code; `false`, and nothing happens, where there is one. Others that expired long
    /// before `now_ms` are cleared away in small bunches.
    async fn add_grant(&self, id: Hash, grant: &Grant, now_ms: u64) -> Result<bool, StoreError>;

    /// The grant of a code.
    async fn grant(&self, id: Hash) -> Result<Option<GrantRecord>, StoreError>;

    /// Replaces a grant's state, who approved, when it was asked for, and its device; `false`, and nothing happens, where it
    /// has another version than `was`.
    async fn replace_grant(&self, id: Hash, was: u64, grant: &Grant) -> Result<bool, StoreError>;
}
