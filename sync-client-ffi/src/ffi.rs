//! What Swift, Kotlin and Python see: objects, records, observers and errors over the [`client`](crate::client). Thin: it
//! converts, and decides nothing.
//!
//! Nothing of a caller's brings the process down: what panics below becomes [`RejoinError::Internal`], and a handle that was
//! shut says [`Closed`](RejoinError::Closed). Calls that wait for a network or a disk for long are async; all others return
//! in the time of a disk write. Observers are called on threads of the library's own, one call at a time each.

#![allow(unsafe_code)]

mod account;
mod background;
mod client;
mod document;
mod edit;
mod error;
mod export;
mod history;
mod http;
mod id;
mod leave;
mod list;
mod log;
mod observe;
mod path;
mod provider;
mod saved;
mod schema;
mod session;
mod status;
mod undo;
mod value;

pub use account::{
    Account, Companion, Device, Invitation, Member, NewAccountDevice, OpenInvitation, Role, SignInProof, SpaceInfo,
};
pub use client::{DocumentEntry, OpenOptions, PendingCounts, RejoinClient};
pub use document::Document;
pub use edit::{ChangeState, EditOp, MarkEdges};
pub use error::RejoinError;
pub use export::{ExportObserver, ExportProgress, ExportReport};
pub use history::HistoryEntry;
pub use http::{HttpHeader, HttpResponse, HttpTransport, HttpTransportError};
pub use leave::{Leave, Removal};
pub use list::{CollectionEvent, CollectionObserver, DocumentPage};
pub use log::{LogLevel, LogLine, LogSink, log_stop, log_to};
pub use observe::{
    AccessObserver, DeviceObserver, DocumentEvent, DocumentObserver, DocumentStep, ListObserver, Peer,
    PresenceObserver, StatusObserver, StepKind, Watch,
};
pub use path::{path_of, path_steps};
pub use provider::{TokenProvider, TokenProviderError};
pub use saved::{EditChange, EditEvent, EditObserver};
pub use schema::{CollectionSchema, CollectionVersion, DocumentMigration, SchemaState};
pub use session::{CredentialsStore, CredentialsStoreError, Session, SessionObserver, SessionState};
pub use status::{QuarantineReason, QuarantinedChange, QuarantinedExport, SyncStatus, SyncSummary, SyncTrouble};
pub use undo::UndoManager;
pub use value::FfiValue;
