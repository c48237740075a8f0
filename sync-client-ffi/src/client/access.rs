//! Access to spaces as the app sees it: whether there is any, and what waits for it.

use std::sync::Arc;

use sync_core::code::RejectCode;
use sync_core::id::{DeviceId, DocId, SpaceId};

use super::error::ClientError;
use super::{Client, Subscription};

/// An own change that did not take effect for others. It is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantined {
    /// Its place in this device's feed.
    pub n: u64,
    /// Whose feed: this device's, or one that it was [before](Client::former_devices).
    pub device: DeviceId,
    /// The document.
    pub doc: DocId,
    /// Why.
    pub reason: Reason,
    /// Whether it still is in its document here, and is sent as it is once there is access again. Otherwise the server has
    /// decided about it, and it is out of the document.
    pub waits: bool,
    /// Whether all of it is. Otherwise the rest was made anew, and is in the document.
    pub whole: bool,
}

/// Why a change is in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The user may not enter the space, or may not write there (any more).
    NoAccess,
    /// The server refused it.
    Refused(RejectCode),
}

impl Client {
    /// Whether the server lets this user into a space, as far as is known here. Where it does not, documents stay readable,
    /// and edits are [refused](ClientError::NoAccess).
    pub fn has_access(&self, space: SpaceId) -> Result<bool, ClientError> {
        Ok(!self.engine().is_barred(space)?)
    }

    /// Own changes that did not take effect for others: those that the server [refused](Self::refused), with what was made
    /// upon them as far as it makes no sense without; and where it has taken the access to the space away, those that it
    /// has not got as far as is known here. The former are [exported](Self::export_quarantined),
    /// [applied again](Self::apply_quarantined) or [dropped](Self::drop_quarantined), and those refused for want of access, for a
    /// quota or by the app's own validation are offered again by themselves, ever more seldom. The latter are sent as they are once the user is a member again and the server is asked: by [`add_space`](Self::add_space), by
    /// [`sync_once`](Self::sync_once), with a new token, or by a session that begins.
    pub fn quarantine(&self, space: SpaceId) -> Result<Vec<Quarantined>, ClientError> {
        self.engine().quarantine(space)
    }

    /// Tells `callback` that access to a space was lost or came back, or that a change was refused for want of it:
    /// [`has_access`](Self::has_access) and [`quarantine`](Self::quarantine) say more.
    pub fn on_access(&self, space: SpaceId, callback: impl Fn() + Send + Sync + 'static) -> Subscription {
        let subscription = self.shared.observers.observe_access(space, Arc::new(callback));
        self.shared.watch();
        subscription
    }
}
