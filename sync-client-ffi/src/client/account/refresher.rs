//! Keeps a device signed in: renews its access token in time, once for all who want one, and never loses the next refresh
//! token to a kill.

use std::sync::{Arc, Weak};

use sync_core::wire::account::Private;

use super::request::Requests;
use super::{Account, AccountError, Credentials, Keychain};
use crate::client::Shared;
use crate::client::transport::{App, Trust};

mod flight;
mod keeping;
mod pace;
mod standing;

use keeping::Keeping;
use standing::Listeners;
pub use standing::{Standing, StandingSubscription};

/// Renews the tokens of one device's session. A client that is [opened with it](crate::ClientBuilder::signed_in) never asks
/// the app for a token: it is renewed shortly before it runs out, and when the server wants another one. With no network it
/// is tried again later, and edits go on; when the session has ended, it stops and [says so](Self::on_standing). Cheap to
/// clone.
#[derive(Clone)]
pub struct Refresher {
    keeping: Arc<Keeping>,
}

impl Refresher {
    /// After [signing in](Account::sign_in): saves the credentials, and keeps them good from now on.
    pub fn begin(keychain: impl Keychain + 'static, credentials: Credentials) -> Result<Self, AccountError> {
        let requests = Requests::new(&credentials.server)?;
        keychain.save(&credentials)?;
        Ok(Self { keeping: Arc::new(Keeping::new(requests, Box::new(keychain), credentials)) })
    }

    /// At the app's start: goes on with what was saved. [`NotSignedIn`](AccountError::NotSignedIn) if nothing was. Works
    /// offline.
    pub fn open(keychain: impl Keychain + 'static) -> Result<Self, AccountError> {
        let credentials = keychain.load()?.ok_or(AccountError::NotSignedIn)?;
        let requests = Requests::new(&credentials.server)?;
        Ok(Self { keeping: Arc::new(Keeping::new(requests, Box::new(keychain), credentials)) })
    }

    /// The app that this is part of, for the server to know, also of every client that is opened with it: as
    /// [`ClientBuilder::app`](crate::ClientBuilder::app).
    pub fn app(self, platform: &str, version: &str) -> Result<Self, AccountError> {
        self.keeping.requests.named(platform, version)?;
        Ok(self)
    }

    /// Whom it takes for the server, also of every client that is opened with it: as
    /// [`ClientBuilder::trust`](crate::ClientBuilder::trust). To be said before anything is asked.
    #[must_use]
    pub fn trust(self, trust: Trust) -> Self {
        self.keeping.requests.trust(trust);
        self
    }

    pub(in crate::client) fn trusts(&self) -> Trust {
        self.keeping.requests.trusts()
    }

    /// The same user signed in again, after the session had ended or because a store goes on as
    /// [another device](crate::Client::wanted_device): what is open goes on.
    pub fn signed_in_again(&self, credentials: Credentials) -> Result<(), AccountError> {
        self.keeping.begin_again(credentials)
    }

    /// Account routes for this device; their tokens are renewed here too.
    pub fn account(&self) -> Account {
        Account::of(self.keeping.requests.clone(), self.clone())
    }

    /// What is kept now.
    pub fn credentials(&self) -> Credentials {
        self.keeping.credentials()
    }

    /// An access token that still holds. Renews it first if it is about to run out, so this may take as long as a request.
    pub fn token(&self) -> Result<Private, AccountError> {
        self.keeping.token()
    }

    /// Another access token than that one, which the server did not take.
    pub fn other_than(&self, refused: &Private) -> Result<Private, AccountError> {
        self.keeping.renewed(Some(refused))
    }

    /// Whether tokens come.
    pub fn standing(&self) -> Standing {
        self.keeping.standing()
    }

    /// Tells `callback` when that changes, on whichever thread finds out.
    pub fn on_standing(&self, callback: impl Fn(&Standing) + Send + Sync + 'static) -> StandingSubscription {
        Listeners::add(&self.keeping.listeners, Arc::new(callback))
    }

    /// Forgets the tokens, here and in the keychain, without a word to the server: [`Account::log_out`] tells it too.
    pub fn forget(&self) -> Result<(), AccountError> {
        self.keeping.forget()
    }

    /// The app in whose name it asks.
    pub(in crate::client) fn of_app(&self) -> Arc<App> {
        self.keeping.requests.app.clone()
    }

    /// A client takes its tokens from here as long as it lives.
    pub(in crate::client) fn attach(&self, client: Weak<Shared>) {
        pace::attach(&self.keeping, client);
    }

    /// A client wants another token than the one it has.
    pub(in crate::client) fn want(&self, refused: Option<String>) {
        self.keeping.want(refused);
    }

    /// Something changed that may be a reason to renew, or to stop waiting.
    pub(in crate::client) fn nudge(&self, network_came: bool) {
        self.keeping.nudge(network_came);
    }
}
