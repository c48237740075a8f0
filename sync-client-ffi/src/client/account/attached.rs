//! A client that takes its tokens from a [`Refresher`](super::Refresher).

use std::time::Duration;

use sync_core::session::Trouble;
use sync_core::wire::account::Private;

use super::{AccountError, Refresher};
use crate::client::error::SyncError;
use crate::client::runner::{self, SyncReport};
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
    deadline: Duration,
) -> Result<SyncReport, SyncError> {
    client.shared.take_token(&refresher.token()?.0);
    match runner::sync_once(&client.shared, deadline) {
        Err(SyncError::NeedsAuth) => {
            let refused = lock(&client.shared.token).clone().map(Private);
            let token = match &refused {
                Some(refused) => refresher.other_than(refused)?,
                None => refresher.token()?,
            };
            client.shared.take_token(&token.0);
            runner::sync_once(&client.shared, deadline)
        }
        done => done,
    }
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
