//! A signed-in device: its tokens are renewed by themselves, and kept where the app says.

use std::sync::Arc;

use sync_core::id::DeviceId;

use super::account::Account;
use super::background::{blocking, guarded};
use super::error::RejoinError;
use super::http::trust;
use super::observe::{Watch, told};
use crate::client::Trust;
use crate::client::account::{
    AccountError, Credentials, CredentialsFile, Keychain, KeychainError, Refresher, Standing,
};

/// Why credentials were not kept.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Error, thiserror::Error)]
pub enum CredentialsStoreError {
    /// Whatever the store throws.
    #[error("{reason}")]
    Failed {
        /// Why.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for CredentialsStoreError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}

/// Where the app keeps what signs this device in: the Keychain, the Keystore. Whoever has it is this device.
///
/// `save` must have it on disk when it returns, all of it or nothing: the engine saves the next refresh token before it uses
/// anything that came with it.
#[uniffi::export(with_foreign)]
pub trait CredentialsStore: Send + Sync {
    /// What was saved last; nothing if nothing was, or it was cleared.
    fn load(&self) -> Result<Option<Vec<u8>>, CredentialsStoreError>;
    /// Saves, in place of what was there.
    fn save(&self, secret: Vec<u8>) -> Result<(), CredentialsStoreError>;
    /// Forgets.
    fn clear(&self) -> Result<(), CredentialsStoreError>;
}

struct Kept(Arc<dyn CredentialsStore>);

fn failed(error: CredentialsStoreError) -> KeychainError {
    KeychainError(error.to_string())
}

impl Keychain for Kept {
    fn load(&self) -> Result<Option<Credentials>, KeychainError> {
        let Some(secret) = self.0.load().map_err(failed)? else { return Ok(None) };
        let read = serde_json::from_slice(&secret);
        read.map(Some).map_err(|_| KeychainError("what was kept is not credentials of this library".into()))
    }

    fn save(&self, credentials: &Credentials) -> Result<(), KeychainError> {
        let secret = serde_json::to_vec(credentials).map_err(|error| KeychainError(error.to_string()))?;
        self.0.save(secret).map_err(failed)
    }

    fn clear(&self) -> Result<(), KeychainError> {
        self.0.clear().map_err(failed)
    }
}

/// Whether this device's tokens can be renewed. Editing does not depend on it.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum SessionState {
    /// They can, as far as is known.
    SignedIn,
    /// They could not be; it is tried again.
    Waiting {
        /// Why.
        text: String,
    },
    /// They cannot: the user has to sign in again. Nothing on this device is lost.
    Ended {
        /// Why.
        text: String,
        /// Whether the device was revoked.
        revoked: bool,
    },
}

impl From<&Standing> for SessionState {
    fn from(standing: &Standing) -> Self {
        match standing {
            Standing::SignedIn => Self::SignedIn,
            Standing::Waiting(error) => Self::Waiting { text: error.to_string() },
            Standing::Ended(error) => {
                Self::Ended { text: error.to_string(), revoked: *error == AccountError::DeviceRevoked }
            }
        }
    }
}

/// Hears whether a session goes on.
#[uniffi::export(with_foreign)]
pub trait SessionObserver: Send + Sync {
    /// It changed.
    fn on_session(&self, state: SessionState) -> Result<(), RejoinError>;
}

/// A signed-in device. A client that is opened with it renews its tokens by itself.
#[derive(uniffi::Object)]
pub struct Session {
    refresher: Refresher,
}

#[uniffi::export]
impl Session {
    /// At the app's start: goes on with what was kept. `SignedOut` if nothing was. Works offline.
    #[uniffi::constructor]
    pub fn resume(store: Arc<dyn CredentialsStore>) -> Result<Arc<Self>, RejoinError> {
        guarded(|| Refresher::open(Kept(store)).map(Self::new))
    }

    /// The same with credentials in a file that only its owner can read: for desktops, and where there is no keychain.
    #[uniffi::constructor]
    pub fn resume_from_file(path: String) -> Result<Arc<Self>, RejoinError> {
        guarded(|| Refresher::open(CredentialsFile::new(path)).map(Self::new))
    }

    /// The same for a server that must have one of those keys, or a certificate of one of those authorities: as
    /// `Account.pinned`, and to be given at each start.
    #[uniffi::constructor]
    pub fn resume_pinned(
        store: Arc<dyn CredentialsStore>,
        pins: Vec<String>,
        roots: Vec<Vec<u8>>,
    ) -> Result<Arc<Self>, RejoinError> {
        let trust = trust(&pins, roots)?;
        guarded(|| Refresher::open(Kept(store)).map(|refresher| Self::new(refresher.trust(trust))))
    }

    /// The user.
    pub fn user(&self) -> String {
        self.refresher.credentials().user
    }

    /// The device.
    pub fn device(&self) -> DeviceId {
        self.refresher.credentials().device
    }

    /// The server's address.
    pub fn server(&self) -> String {
        self.refresher.credentials().server
    }

    /// The app that this is part of, for the server to know: its platform (`ios`, `android`, …) and version (`2.4.1`).
    pub fn set_app(&self, platform: &str, version: &str) -> Result<(), RejoinError> {
        self.refresher.clone().app(platform, version)?;
        Ok(())
    }

    /// Account routes for this device.
    pub fn account(&self) -> Arc<Account> {
        Account::of(self.refresher.account())
    }

    /// Whether tokens come.
    pub fn state(&self) -> SessionState {
        (&self.refresher.standing()).into()
    }

    /// Tells an observer when that changes.
    pub fn observe(&self, observer: Arc<dyn SessionObserver>) -> Arc<Watch> {
        let tell = move |standing: &Standing| told(|| observer.on_session(standing.into()));
        Watch::new(self.refresher.on_standing(tell))
    }

    /// Tells the server that this device, or every device of the user, is signed out, and forgets the tokens here. Stores
    /// stay as they are.
    pub async fn log_out(&self, all_devices: bool) -> Result<(), RejoinError> {
        let refresher = self.refresher.clone();
        blocking(move || refresher.account().log_out(all_devices)).await
    }

    /// Forgets the tokens, here and in the store, without a word to the server.
    pub fn forget(&self) -> Result<(), RejoinError> {
        guarded(|| self.refresher.forget())
    }
}

impl Session {
    pub(super) fn new(refresher: Refresher) -> Arc<Self> {
        Arc::new(Self { refresher })
    }

    pub(super) fn begin(
        store: Arc<dyn CredentialsStore>,
        credentials: Credentials,
        trust: Trust,
    ) -> Result<Arc<Self>, RejoinError> {
        Ok(Self::new(Refresher::begin(Kept(store), credentials)?.trust(trust)))
    }

    pub(super) fn begin_in_file(
        path: String,
        credentials: Credentials,
        trust: Trust,
    ) -> Result<Arc<Self>, RejoinError> {
        Ok(Self::new(Refresher::begin(CredentialsFile::new(path), credentials)?.trust(trust)))
    }

    pub(super) fn refresher(&self) -> &Refresher {
        &self.refresher
    }
}
