//! How synchronisation stands, and what it did.

use sync_core::id::{DeviceId, DocId};
use sync_core::session::{Status, Trouble};

use crate::client::{self, Quarantined, Reason, SyncReport};

/// How synchronisation stands, for the app to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum SyncStatus {
    /// The server was not reached; it is tried again by itself.
    Offline,
    /// After being offline, a request is under way.
    Connecting,
    /// Changes are going up or coming down.
    Syncing,
    /// Everything is exchanged.
    Idle,
    /// The app is in the background: everything is exchanged, and nothing is open.
    Asleep,
    /// A new access token is wanted; edits go on.
    NeedsAuth,
    /// Something that waiting does not mend.
    Trouble {
        /// What.
        trouble: SyncTrouble,
    },
}

/// Something that waiting does not mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum SyncTrouble {
    /// The user may not enter a space that is here: ask an owner for an invitation. All else is exchanged.
    NoAccess,
    /// A space that is here was deleted by an owner, for good: what this device has of it stays until `remove_space`, and can be
    /// exported. All else is exchanged.
    SpaceDeleted,
    /// Client and server do not understand each other: update the app, or check the address.
    NotUnderstood,
    /// The app must be updated.
    UpgradeRequired,
    /// This device's store was restored from a backup.
    RolledBack,
    /// Another copy of this store writes the same feed.
    Forked,
    /// The server has lost changes that it acknowledged.
    ServerLostData,
    /// The server's log contradicts itself.
    BrokenLog,
}

impl From<Trouble> for SyncTrouble {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NoAccess => Self::NoAccess,
            Trouble::SpaceDeleted => Self::SpaceDeleted,
            Trouble::NotUnderstood => Self::NotUnderstood,
            Trouble::UpgradeRequired => Self::UpgradeRequired,
            Trouble::RolledBack => Self::RolledBack,
            Trouble::Forked => Self::Forked,
            Trouble::ServerLostData => Self::ServerLostData,
            Trouble::BrokenLog => Self::BrokenLog,
        }
    }
}

impl From<Status> for SyncStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Offline => Self::Offline,
            Status::Connecting => Self::Connecting,
            Status::Syncing => Self::Syncing,
            Status::Idle => Self::Idle,
            Status::Asleep => Self::Asleep,
            Status::NeedsAuth => Self::NeedsAuth,
            Status::Error(trouble) => Self::Trouble { trouble: trouble.into() },
        }
    }
}

/// What one exchange did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct SyncSummary {
    /// Requests that were made.
    pub requests: u64,
    /// Bytes that were sent.
    pub bytes_sent: u64,
    /// Bytes that were received.
    pub bytes_received: u64,
    /// Whether time or bytes ran out before everything was exchanged: call again, when there are more.
    pub more: bool,
}

impl From<SyncReport> for SyncSummary {
    fn from(report: SyncReport) -> Self {
        let traffic = report.traffic;
        let (bytes_sent, bytes_received) = (traffic.bytes_sent, traffic.bytes_received);
        Self { requests: traffic.requests, bytes_sent, bytes_received, more: report.more }
    }
}

/// An own change that did not take effect for others. It is kept.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct QuarantinedChange {
    /// Its place in the feed.
    pub n: u64,
    /// Whose feed: this device's, or one that it was before its store was restored from a backup or copied.
    pub device: DeviceId,
    /// The document.
    pub document: DocId,
    /// Why.
    pub reason: QuarantineReason,
    /// Whether it still is in its document here, and is sent as it is once there is access again.
    pub waits: bool,
    /// Whether all of it is. Otherwise the rest was made anew, and is in the document.
    pub whole: bool,
}

/// A change in quarantine, to keep or to show.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct QuarantinedExport {
    /// The automerge change, as it was made; nothing for the making or the deleting of a document.
    pub bytes: Option<Vec<u8>>,
    /// What and why, and the change's operations, as JSON text. `kept` names those of them that are in quarantine; all of
    /// them where it is null.
    pub json: String,
}

impl From<client::QuarantinedExport> for QuarantinedExport {
    fn from(export: client::QuarantinedExport) -> Self {
        let client::QuarantinedExport { bytes, json } = export;
        Self { bytes, json }
    }
}

/// Why a change is in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum QuarantineReason {
    /// The user may not enter the space, or may not write there (any more).
    NoAccess,
    /// The server refused it.
    Refused {
        /// The server's stable code, such as `document_deleted`.
        code: String,
    },
}

impl From<Quarantined> for QuarantinedChange {
    fn from(change: Quarantined) -> Self {
        let reason = match change.reason {
            Reason::NoAccess => QuarantineReason::NoAccess,
            Reason::Refused(code) => QuarantineReason::Refused { code: code.as_str().to_owned() },
        };
        let Quarantined { n, device, doc: document, waits, whole, .. } = change;
        Self { n, device, document, reason, waits, whole }
    }
}
