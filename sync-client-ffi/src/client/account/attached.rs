//! A client that takes its tokens from a [`Refresher`](super::Refresher).

use sync_core::session::Trouble;
use sync_core::wire::account::Private;

use super::{AccountError, Refresher};
use crate::client::error::SyncError;
use crate::client::runner::{self, Allowance, SyncReport};
use crate::client::{Client, Shared, lock};

impl Shared {
    /// Goes on with that token, if it is new.
    pub(super) fn take_token(&self, token: &str) {
        if lock(&self.token).as_deref() != Some(token) {
            self.set_token(token.to_owned());
        }
    }

    /// Whether it synchronises in the background, and the app is in the foreground.
    pub(super) fn is_active(&self) -> bool {
        self.inbox.is_foreground() && lock(&self.runner).as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Something changed that its tokens may depend on.
    pub(in crate::client) fn nudge(&self, network_came: bool) {
        if let Some(refresher) = &self.refresher {
            refresher.nudge(network_came);
        }
    }
}

/// One exchange, with a token that holds.
pub(in crate::client) fn sync_once(
    client: &Client,
    refresher: &Refresher,
    allowance: Allowance,
) -> Result<SyncReport, SyncError> {
    // A session of a device that the store was is of no use: the user signs in as a new one.
    if let Some(device) = client.wanted_device()
        && lock(&client.shared.engine).is_own(refresher.credentials().device)
    {
        return Err(SyncError::NeedsDevice(device));
    }
    let token = in_time(refresher, allowance, Refresher::token)?;
    client.shared.take_token(&token.0);
    let before = client.traffic();
    match runner::sync_once(&client.shared, allowance) {
        Err(SyncError::NeedsAuth) => {
            let refused = lock(&client.shared.token).clone().map(Private);
            let token = in_time(refresher, allowance, move |refresher| match &refused {
                Some(refused) => refresher.other_than(refused),
                None => refresher.token(),
            })?;
            client.shared.take_token(&token.0);
            let done = runner::sync_once(&client.shared, allowance.after(client.traffic().since(&before)))?;
            Ok(SyncReport { traffic: client.traffic().since(&before), ..done })
        }
        done => done,
    }
}

/// A token, if it comes in time. A renewal that takes longer goes on, and serves the next call.
fn in_time(
    refresher: &Refresher,
    allowance: Allowance,
    ask: impl FnOnce(&Refresher) -> Result<Private, AccountError> + Send + 'static,
) -> Result<Private, SyncError> {
    let (tell, told) = std::sync::mpsc::channel();
    let refresher = refresher.clone();
    // At most one of them at a time makes a request; the others wait for it.
    let asking = std::thread::Builder::new().name("rejoin-token".into()).spawn(move || tell.send(ask(&refresher)).ok());
    asking.map_err(|_| SyncError::Offline)?;
    Ok(told.recv_timeout(allowance.left()).map_err(|_| SyncError::Deadline)??)
}

impl From<AccountError> for SyncError {
    /// The [`Standing`](super::Standing) says it in full.
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Offline | AccountError::Unavailable { .. } | AccountError::RateLimited { .. } => {
                Self::Offline
            }
            AccountError::UpgradeRequired { update_url } => Self::UpgradeRequired { update_url },
            AccountError::NotUnderstood => Self::Trouble(Trouble::NotUnderstood),
            _ => Self::NeedsAuth,
        }
    }
}
