//! One error for everything that an app calls: the variants are what an app may act upon, all else is `Other`.

use sync_core::document::EditError;
use sync_core::id::{DeviceId, DocId};

use super::status::SyncTrouble;
use crate::client::account::AccountError;
use crate::client::{BadTrust, ClientError, ExportError, OpenError, PushError, SyncError};

/// Something that was not done. `text` says what to do, for the developer; for people, write your own by the variant.
#[derive(Debug, Clone, PartialEq, uniffi::Error, thiserror::Error)]
#[uniffi::export(Display)]
pub enum RejoinError {
    /// The client, session or subscription was shut before. Open it again.
    #[error("{text}")]
    Closed {
        /// What happened, and what to do.
        text: String,
    },
    /// A fault of this library; what is on disk is whole. Please report it.
    #[error("{text}")]
    Internal {
        /// What happened, and what to do.
        text: String,
    },
    /// The store was opened for reading: edit and synchronise in the app.
    #[error("{text}")]
    ReadOnly {
        /// What happened, and what to do.
        text: String,
    },
    /// There is nothing to read yet: the app has to open the store for writing first.
    #[error("{text}")]
    NoStore {
        /// What happened, and what to do.
        text: String,
    },
    /// Another process, or another client of this one, writes the store: read it only, or wait.
    #[error("{text}")]
    StoreLocked {
        /// What happened, and what to do.
        text: String,
        /// The store.
        path: String,
    },
    /// A later version of the app wrote the store: update the app.
    #[error("{text}")]
    StoreNewer {
        /// What happened, and what to do.
        text: String,
        /// The store's version.
        found: u32,
        /// The newest version that this library reads.
        supported: u32,
    },
    /// The file is not a store of Rejoin.
    #[error("{text}")]
    NotAStore {
        /// What happened, and what to do.
        text: String,
        /// The file.
        path: String,
    },
    /// The store is damaged: `repair_store` saves what can be read.
    #[error("{text}")]
    StoreDamaged {
        /// What happened, and what to do.
        text: String,
        /// Where an untouched copy is, if one was made.
        copy: Option<String>,
    },
    /// The store is another user's, or another device's.
    #[error("{text}")]
    StoreOfAnother {
        /// What happened, and what to do.
        text: String,
        /// Whose it is.
        user: String,
        /// Of which device.
        device: DeviceId,
    },
    /// A new store needs a session, a token, or a user and a device.
    #[error("{text}")]
    NoIdentity {
        /// What happened, and what to do.
        text: String,
    },
    /// The disk is full; nothing was changed.
    #[error("{text}")]
    DiskFull {
        /// What happened, and what to do.
        text: String,
    },
    /// That is not a path: a JSON Pointer such as `/items/3/title`.
    #[error("{text}")]
    BadPath {
        /// What happened, and what to do.
        text: String,
        /// What was given.
        path: String,
    },
    /// The edit is not possible on what the document holds; nothing of it was done.
    #[error("{text}")]
    BadEdit {
        /// What happened, and what to do.
        text: String,
        /// Where, if it is about one place.
        path: Option<String>,
    },
    /// A value is out of its range: an address, a name, a size.
    #[error("{text}")]
    Invalid {
        /// What happened, and what to do.
        text: String,
    },
    /// There is no such document here (yet).
    #[error("{text}")]
    NoDocument {
        /// What happened, and what to do.
        text: String,
        /// Which.
        document: DocId,
    },
    /// The document is deleted.
    #[error("{text}")]
    Deleted {
        /// What happened, and what to do.
        text: String,
        /// Which.
        document: DocId,
    },
    /// Something of the space is not on the server yet, or not read back: sync, and try again.
    #[error("{text}")]
    Unsettled {
        /// What happened, and what to do.
        text: String,
        /// Which document is not in step.
        document: DocId,
    },
    /// A newer version of the app has changed what the document is made of, and this one may only read it: update the app.
    #[error("{text}")]
    NewerSchema {
        /// What happened, and what to do.
        text: String,
        /// Which.
        document: DocId,
        /// The version of its schema.
        version: u16,
        /// The lowest version of an app that may edit it.
        writers_from: u16,
    },
    /// The app's own migration failed. The document is at its old version.
    #[error("{text}")]
    MigrationFailed {
        /// What happened, and what to do.
        text: String,
        /// Of which collection.
        collection: String,
        /// To which version.
        version: u16,
    },
    /// This device does not use that space: `add_space` first.
    #[error("{text}")]
    NoSpace {
        /// What happened, and what to do.
        text: String,
    },
    /// The user may not enter the space, or not any more.
    #[error("{text}")]
    NoAccess {
        /// What happened, and what to do.
        text: String,
    },
    /// The server cannot be reached. What was written is kept.
    #[error("{text}")]
    Offline {
        /// What happened, and what to do.
        text: String,
    },
    /// Time, or the byte budget, ran out; the next call goes on from there.
    #[error("{text}")]
    Deadline {
        /// What happened, and what to do.
        text: String,
    },
    /// The server wants a new access token.
    #[error("{text}")]
    NeedsAuth {
        /// What happened, and what to do.
        text: String,
    },
    /// The store was restored from a backup or copied, and goes on as another device: set a token for that one, or sign in
    /// as a new one.
    #[error("{text}")]
    NeedsDevice {
        /// What happened, and what to do.
        text: String,
        /// The device; any other that is new will do.
        device: DeviceId,
    },
    /// The server no longer serves this version of the app.
    #[error("{text}")]
    UpgradeRequired {
        /// What happened, and what to do.
        text: String,
        /// Where it is updated, if the server says so.
        update_url: Option<String>,
    },
    /// Synchronisation met something that waiting does not mend.
    #[error("{text}")]
    Trouble {
        /// What happened, and what to do.
        text: String,
        /// What it met.
        trouble: SyncTrouble,
    },
    /// The client was opened without a server.
    #[error("{text}")]
    NoServer {
        /// What happened, and what to do.
        text: String,
    },
    /// Nobody is signed in, or not any more: sign in again. Nothing on this device is lost.
    #[error("{text}")]
    SignedOut {
        /// What happened, and what to do.
        text: String,
        /// Whether the device was revoked: then it needs a store of its own.
        revoked: bool,
    },
    /// The proof is not that of an account.
    #[error("{text}")]
    LoginFailed {
        /// What happened, and what to do.
        text: String,
    },
    /// Too often, or the server is busy: wait.
    #[error("{text}")]
    TryLater {
        /// What happened, and what to do.
        text: String,
        /// How long, in milliseconds, if the server says so.
        retry_after_ms: Option<u64>,
    },
    /// The user's role does not allow it.
    #[error("{text}")]
    Forbidden {
        /// What happened, and what to do.
        text: String,
    },
    /// It does not exist, or the user may not see it.
    #[error("{text}")]
    NotFound {
        /// What happened, and what to do.
        text: String,
    },
    /// The companion's code has run out, or its user said no.
    #[error("{text}")]
    CompanionRefused {
        /// What happened, and what to do.
        text: String,
    },
    /// The server has not got everything that was written here: send it first, or say that it may go.
    #[error("{text}")]
    Unsent {
        /// What happened, and what to do.
        text: String,
        /// Edits that are not sealed into changes.
        edits: u64,
        /// Changes that the server has not acknowledged.
        changes: u64,
    },
    /// The app stopped it itself.
    #[error("{text}")]
    Stopped {
        /// What happened, and what to do.
        text: String,
    },
    /// Where the app keeps credentials failed.
    #[error("{text}")]
    CredentialsStore {
        /// What happened, and what to do.
        text: String,
    },
    /// Anything else.
    #[error("{text}")]
    Other {
        /// What happened, and what to do.
        text: String,
    },
}

impl RejoinError {
    pub(super) fn closed() -> Self {
        Self::Closed { text: "this was shut before: open it again".into() }
    }

    pub(super) fn internal() -> Self {
        let text = "a fault inside the library; what is on disk is whole. Please report it with the log";
        Self::Internal { text: text.into() }
    }

    pub(super) fn bad_path(path: &str) -> Self {
        let text = format!("not a path: {path} (expected a JSON Pointer such as /items/3/title)");
        Self::BadPath { text, path: path.to_owned() }
    }

    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid { text: text.into() }
    }
}

/// Foreign code that throws where it must not.
impl From<uniffi::UnexpectedUniFFICallbackError> for RejoinError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Other { text: format!("the app's own code failed: {}", error.reason) }
    }
}

impl From<OpenError> for RejoinError {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::Locked { path } => Self::StoreLocked { text, path: path.display().to_string() },
            OpenError::NoStore { .. } | OpenError::Older { .. } => Self::NoStore { text },
            OpenError::Newer { found, supported } => Self::StoreNewer { text, found, supported },
            OpenError::NotAStore { path } => Self::NotAStore { text, path: path.display().to_string() },
            OpenError::Corrupt { copy } => Self::StoreDamaged { text, copy: Some(copy.display().to_string()) },
            OpenError::NoIdentity => Self::NoIdentity { text },
            OpenError::BadToken
            | OpenError::BadAddress { .. }
            | OpenError::BadApp { .. }
            | OpenError::Schema(_)
            | OpenError::Trust(_) => Self::Invalid { text },
            OpenError::OtherIdentity { user, device } => Self::StoreOfAnother { text, user, device },
            OpenError::Store(error) => match ClientError::from(error) {
                ClientError::DiskFull => Self::DiskFull { text },
                _ => Self::Other { text },
            },
        }
    }
}

impl From<ClientError> for RejoinError {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error {
            ClientError::Edit(error) => Self::BadEdit { text, path: place(&error) },
            ClientError::DiskFull => Self::DiskFull { text },
            ClientError::NoDocument(document) => Self::NoDocument { text, document },
            ClientError::Deleted(document) => Self::Deleted { text, document },
            ClientError::Unsettled(document) => Self::Unsettled { text, document },
            ClientError::NoSpace => Self::NoSpace { text },
            ClientError::NoAccess(_) => Self::NoAccess { text },
            ClientError::NewerSchema { doc, version, writers_from } => {
                Self::NewerSchema { text, document: doc, version, writers_from }
            }
            ClientError::Migration { collection, version, .. } => Self::MigrationFailed { text, collection, version },
            ClientError::TooManySpaces(_)
            | ClientError::BadCollection(_)
            | ClientError::BadName(_)
            | ClientError::PersonalSpace
            | ClientError::Epoch(_)
            | ClientError::PresenceTooLarge { .. } => Self::Invalid { text },
            ClientError::Corrupt => Self::StoreDamaged { text, copy: None },
            ClientError::NoServer => Self::NoServer { text },
            ClientError::ReadOnly => Self::ReadOnly { text },
            ClientError::StoreNewer(found) => Self::StoreNewer { text, found, supported: found.saturating_sub(1) },
            ClientError::Unsent { edits, changes } => Self::Unsent { text, edits, changes },
            ClientError::NoChange(_) | ClientError::NotInQuarantine(_) => Self::NotFound { text },
            ClientError::Left => Self::Closed { text },
            ClientError::Store(_) => Self::Other { text },
        }
    }
}

fn place(error: &EditError) -> Option<String> {
    match error {
        EditError::NotFound { path, .. } | EditError::OutOfRange { path, .. } | EditError::Refused { path } => {
            Some(super::path::show(path))
        }
        _ => None,
    }
}

impl From<ExportError> for RejoinError {
    fn from(error: ExportError) -> Self {
        let text = error.to_string();
        match error {
            ExportError::Exists { .. } | ExportError::Busy => Self::Invalid { text },
            ExportError::Stopped => Self::Stopped { text },
            ExportError::Client(error) => error.into(),
            ExportError::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Self::DiskFull { text },
            ExportError::Io(_) => Self::Other { text },
        }
    }
}

impl From<SyncError> for RejoinError {
    fn from(error: SyncError) -> Self {
        let text = error.to_string();
        match error {
            SyncError::Offline => Self::Offline { text },
            SyncError::Deadline | SyncError::Budget { .. } => Self::Deadline { text },
            SyncError::NeedsAuth => Self::NeedsAuth { text },
            SyncError::NeedsDevice(device) => Self::NeedsDevice { text, device },
            SyncError::UpgradeRequired { update_url } => Self::UpgradeRequired { text, update_url },
            SyncError::Trouble(trouble) => Self::Trouble { text, trouble: trouble.into() },
            SyncError::NoServer => Self::NoServer { text },
            SyncError::ReadOnly => Self::ReadOnly { text },
            SyncError::Left => Self::Closed { text },
        }
    }
}

impl From<PushError> for RejoinError {
    fn from(error: PushError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<BadTrust> for RejoinError {
    fn from(error: BadTrust) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<AccountError> for RejoinError {
    fn from(error: AccountError) -> Self {
        let text = error.to_string();
        let retry_after_ms = error.retry_after().map(|wait| wait.as_millis() as u64);
        match error {
            AccountError::BadAddress { .. }
            | AccountError::BadApp { .. }
            | AccountError::Invalid { .. }
            | AccountError::TooMany { .. }
            | AccountError::LastOwner => Self::Invalid { text },
            AccountError::NotSignedIn | AccountError::SessionEnded => Self::SignedOut { text, revoked: false },
            AccountError::DeviceRevoked => Self::SignedOut { text, revoked: true },
            AccountError::LoginFailed => Self::LoginFailed { text },
            AccountError::RateLimited { .. } | AccountError::Unavailable { .. } => {
                Self::TryLater { text, retry_after_ms }
            }
            AccountError::Forbidden => Self::Forbidden { text },
            AccountError::NotFound | AccountError::SpaceDeleted => Self::NotFound { text },
            AccountError::UpgradeRequired { update_url } => Self::UpgradeRequired { text, update_url },
            AccountError::Offline => Self::Offline { text },
            AccountError::Denied | AccountError::CodeExpired => Self::CompanionRefused { text },
            AccountError::Keychain(_) => Self::CredentialsStore { text },
            AccountError::OtherIdentity | AccountError::NotUnderstood | AccountError::Server { .. } => {
                Self::Other { text }
            }
        }
    }
}
