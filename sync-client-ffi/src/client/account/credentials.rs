//! What signs a device in, and where the app keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};
use sync_core::id::DeviceId;
use sync_core::wire::account::{Private, TokenResponse};

use crate::client::clock;

/// What an app keeps in its keychain: whose device this is, and the tokens of its session. Whoever has it is this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The server's address.
    pub server: String,
    /// The user.
    pub user: String,
    /// The device.
    pub device: DeviceId,
    /// Goes with every request, for a quarter of an hour or so.
    pub access_token: Private,
    /// Until when, in milliseconds since 1970 by this device's clock.
    pub access_expires_ms: u64,
    /// Good for one renewal, which gives the next.
    pub refresh_token: Private,
    /// Until when it is good if it is not used, by this device's clock.
    pub refresh_expires_ms: u64,
    /// The secret half of the device's key, if it was made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_key: Option<Private>,
}

impl Credentials {
    /// What the server answered to something that was asked at `asked_ms`: its time counts from then at the latest.
    pub(super) fn of(server: &str, answer: TokenResponse, asked_ms: u64) -> Self {
        let until = |seconds: u64| asked_ms.saturating_add(seconds.saturating_mul(1_000));
        Self {
            server: server.to_owned(),
            user: answer.user,
            device: answer.device,
            access_token: answer.access_token,
            access_expires_ms: until(answer.expires_in),
            refresh_token: answer.refresh_token,
            refresh_expires_ms: until(answer.refresh_expires_in),
            device_key: None,
        }
    }

    /// How long the access token still holds, by this device's clock.
    pub(super) fn access_left_ms(&self) -> u64 {
        self.access_expires_ms.saturating_sub(clock::wall_ms())
    }

    /// Whether both are of the same user of the same server.
    pub(super) fn is_same_user(&self, other: &Self) -> bool {
        (&self.server, &self.user) == (&other.server, &other.user)
    }

    /// Whether both are of the same user on the same device of the same server.
    pub(super) fn is_same_device(&self, other: &Self) -> bool {
        (&self.server, &self.user, self.device) == (&other.server, &other.user, other.device)
    }
}

/// A keychain that failed, in the words of whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeychainError(pub String);

impl fmt::Display for KeychainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeychainError {}

/// Something that is held until it is dropped.
pub type Held = Box<dyn Send>;

/// Where the app keeps [`Credentials`]: the system's keychain, or [a file](super::CredentialsFile) where there is none.
///
/// Each refresh token is good once, so the order matters: the engine saves the next one before it uses anything that came
/// with it, and a device that dies in between asks again for the very last one.
pub trait Keychain: Send + Sync {
    /// What was saved last; `None` if nothing was, or it was cleared. It is asked before every renewal, so that several
    /// processes of an app (it and an extension of it) may share a session.
    fn load(&self) -> Result<Option<Credentials>, KeychainError>;

    /// Saves, in place of what was there. It must be on disk when this returns, and all of it or nothing.
    fn save(&self, credentials: &Credentials) -> Result<(), KeychainError>;

    /// Forgets what was saved.
    fn clear(&self) -> Result<(), KeychainError>;

    /// Keeps other processes from renewing at the same time, until what it gives is dropped. Needed only where several
    /// processes share a keychain, and not for long: a renewal takes a minute or two at worst.
    fn hold(&self) -> Result<Held, KeychainError> {
        Ok(Box::new(()))
    }
}
