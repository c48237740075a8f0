//! Rejoin's client library: documents that are edited with no network, survive a kill, and meet again on the server.
//!
//! A [`Client`] owns one store file. [`Doc::edit`] returns when the edit is on disk; reading never waits for the network;
//! [`Client::start`] exchanges changes in the background, over a live connection where there can be one.

pub mod client;
pub mod ffi;

pub use client::account;
pub use client::{
    BadTrust, Client, ClientBuilder, ClientError, CollectionChanges, CollectionEvent, CollectionNews, Doc, DocEvent,
    DocumentInfo, DocumentPage, Edit, EditChange, EditEvent, EditNews, EditState, EventKind, ExportError,
    ExportProgress, ExportReport, HistoryEntry, Hold, HttpAnswer, HttpPost, HttpStack, HttpWork, Leave, Migration,
    OpenError, Origin, Patched, PeerInfo, Pending, PushError, Quarantined, QuarantinedExport, Reason, Refused, Removal,
    Schema, SchemaState, SchemaVersion, Subscription, SyncError, SyncReport, Traffic, Trust, Undo,
};
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use client::{simulated, stepped};
pub use sync_core::code::RejectCode;
pub use sync_core::document::{Action, Document, Expand, Op, Patch, Revision};
pub use sync_core::feed::{ChangeId, FeedHead};
pub use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
pub use sync_core::path;
pub use sync_core::session::{Status, Trouble};
pub use sync_core::structure::SchemaError;
pub use sync_core::value::{Path, Step, Value};
pub use sync_core::version::VersionVector;

uniffi::setup_scaffolding!("rejoin");
