//! What a store keeps of people, their devices, and the sessions of those.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sync_core::id::{DeviceId, Hash};
use uuid::Uuid;

use super::StoreError;

/// Devices of one user that are not revoked.
pub const DEVICES_MAX: u32 = 64;
/// Revoked devices of one user that are remembered: so many that nobody gets there in earnest.
pub const TOMBSTONES_MAX: u32 = 1_024;
/// How long a revoked device, or a session that is over, is remembered: far longer than any token that names it holds, and
/// long enough for a phone in a drawer to be told what became of it. 90 days.
pub const KEPT_MS: u64 = 90 * 86_400_000;
/// Rows past their time that one sign-in clears away: more than it adds.
pub const SWEEP_MAX: u32 = 32;
/// Users whose names are told at once.
pub const NAMES_MAX: usize = 1_024;

/// A session: what begins with a sign-in and goes on with refreshes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Uuid);

impl SessionId {
    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// A new one from 16 random bytes (UUID v4).
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(random).into_uuid())
    }

    /// Its 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {self}")
    }
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What its owner calls it.
    pub name: String,
    /// What it runs.
    pub platform: String,
    /// The app's version.
    pub app_version: String,
    /// Its public key.
    pub public_key: Option<[u8; 32]>,
}

/// A sign-in.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Whose.
    pub user: String,
    /// What others call this person, where it is known.
    pub display_name: Option<String>,
    /// On which device.
    pub device: DeviceId,
    /// Whether the device is new; else it must be one of the user's.
    pub is_new: bool,
    /// What it says of itself.
    pub description: Description,
    /// The session that begins.
    pub session: SessionId,
    /// What its tokens are derived from.
    pub nonce: [u8; 16],
    /// Of the first token's secret.
    pub token_hash: Hash,
    /// By the caller's clock.
    pub now_ms: u64,
    /// Until when the first token holds.
    pub expires_ms: u64,
}

/// What became of a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The session has begun, and those that the device had before have ended.
    Done,
    /// The user has no such device.
    Unknown,
    /// The device was revoked.
    Revoked,
    /// The user has as many devices as one may have.
    TooMany,
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The device signed in anew.
    Replaced = 1,
    /// Somebody logged out.
    LoggedOut = 2,
    /// The device was revoked.
    Revoked = 3,
    /// A token that had been used was used again.
    Theft = 4,
}

impl Why {
    /// From what a row says.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Replaced, Self::LoggedOut, Self::Revoked, Self::Theft].into_iter().find(|why| *why as u8 == number)
    }
}

/// A session as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// On which device.
    pub device: DeviceId,
    /// What its tokens are derived from.
    pub nonce: [u8; 16],
    /// The current token's number.
    pub n: u64,
    /// Of the current token's secret.
    pub token_hash: Hash,
    /// When the current token was given out.
    pub rotated_ms: u64,
    /// Until when it holds.
    pub expires_ms: u64,
    /// Why it is over, where it is.
    pub ended: Option<Why>,
    /// The device's public key.
    pub public_key: Option<[u8; 32]>,
}

/// One token follows another.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The current token's number must be this.
    pub from_n: u64,
    /// The next one's.
    pub n: u64,
    /// Of its secret.
    pub token_hash: Hash,
    /// By the caller's clock.
    pub now_ms: u64,
    /// Until when it holds.
    pub expires_ms: u64,
    /// The app's version, where the device says.
    pub app_version: Option<String>,
}

/// A device as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub device: DeviceId,
    /// What its owner calls it.
    pub name: String,
    /// What it runs.
    pub platform: String,
    /// The app's version when it signed in or refreshed last.
    pub app_version: String,
    /// When it was registered.
    pub created_ms: u64,
    /// When it signed in or refreshed last.
    pub seen_ms: u64,
    /// Whether it has a session that can go on.
    pub signed_in: bool,
}

/// What is known of a device and a session that a token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The device; `None` where the user has no such device.
    pub device: Option<DeviceStanding>,
    /// Whether the user has such a session, and it is not over. `true` where none was asked for.
    pub session_goes_on: bool,
}

/// What is known of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceStanding {
    /// It may call.
    Registered,
    /// It may not any more.
    Revoked,
}

/// Something that was cut off: a device, or a session on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// When.
    pub at_ms: u64,
    /// Whose.
    pub user: String,
    /// Which device.
    pub device: DeviceId,
}

/// Which sessions are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// All of the user's.
    All,
    /// Those of one device.
    Of(DeviceId),
    /// All but those of one device.
    AllBut(DeviceId),
    /// One.
    One(SessionId),
}

/// People, their devices, and the sessions of those. Each call is one transaction over one user's rows, but for the two that
/// only read of many.
#[async_trait]
pub trait Devices: Send + Sync + 'static {
    /// Begins a session, registers its device where that is new, and ends the device's earlier sessions.
    async fn begin(&self, begin: Begin) -> Result<Begun, StoreError>;

    /// A session.
    async fn session(&self, user: &str, session: SessionId) -> Result<Option<Session>, StoreError>;

    /// Has one token follow another, and notes that the device was seen; `false`, and nothing happens, where the current
    /// token is another or the session is over.
    async fn rotate(&self, user: &str, session: SessionId, rotation: Rotation) -> Result<bool, StoreError>;

    /// Ends sessions that go on, and says on which devices.
    async fn end(&self, user: &str, whose: Whose, why: Why, now_ms: u64) -> Result<Vec<DeviceId>, StoreError>;

    /// Revokes a device and ends its sessions. `None` where the user has no such device, `Some(false)` where it was revoked
    /// before.
    async fn revoke(&self, user: &str, device: DeviceId, now_ms: u64) -> Result<Option<bool>, StoreError>;

    /// Gives a device another name; `false` where the user has no such device, or it is revoked.
    async fn rename(&self, user: &str, device: DeviceId, name: &str) -> Result<bool, StoreError>;

    /// A user's devices that are not revoked, the oldest first.
    async fn devices(&self, user: &str, now_ms: u64) -> Result<Vec<Device>, StoreError>;

    /// What is known of what a token names.
    async fn standing(&self, user: &str, device: DeviceId, session: Option<SessionId>) -> Result<Standing, StoreError>;

    /// What was cut off since then, at most so much of it, the latest first.
    async fn cut_since(&self, since_ms: u64, max: u32) -> Result<Vec<Cut>, StoreError>;

    /// What others call these people, at most [`NAMES_MAX`] of them; those without a name are left out.
    async fn names(&self, users: &[String]) -> Result<Vec<(String, String)>, StoreError>;
}
