//! Whether tokens come, and who wants to know.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use super::super::AccountError;
use crate::client::lock;

/// Whether this device's tokens can be renewed. Editing does not depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// They can, as far as is known.
    SignedIn,
    /// They could not be, for this reason; it is tried again as long as the client synchronises.
    Waiting(AccountError),
    /// They cannot: the user has to sign in again. Nothing on this device is lost, and what was written is sent then.
    Ended(AccountError),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedIn => f.write_str("signed in"),
            Self::Waiting(error) | Self::Ended(error) => error.fmt(f),
        }
    }
}

pub(super) type Callback = Arc<dyn Fn(&Standing) + Send + Sync>;

#[derive(Default)]
pub(super) struct Listeners {
    next: u64,
    callbacks: BTreeMap<u64, Callback>,
}

impl Listeners {
    pub(super) fn add(listeners: &Arc<Mutex<Self>>, callback: Callback) -> StandingSubscription {
        let mut all = lock(listeners);
        all.next += 1;
        let id = all.next;
        all.callbacks.insert(id, callback);
        StandingSubscription { listeners: Arc::downgrade(listeners), id }
    }

    pub(super) fn all(&self) -> Vec<Callback> {
        self.callbacks.values().cloned().collect()
    }
}

/// An observer of a [`Standing`], which is told as long as this lives.
#[must_use = "an observer hears nothing once its subscription is dropped"]
pub struct StandingSubscription {
    listeners: Weak<Mutex<Listeners>>,
    id: u64,
}

impl Drop for StandingSubscription {
    fn drop(&mut self) {
        if let Some(listeners) = self.listeners.upgrade() {
            lock(&listeners).callbacks.remove(&self.id);
        }
    }
}
