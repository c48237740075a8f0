//! What can go wrong, in the words of the app's developer.

use std::path::PathBuf;

use sync_core::document::EditError;
use sync_core::feed::ChangeId;
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::session::Trouble;
use sync_core::structure::SchemaError;

use super::store::StoreError;
use super::transport::BadTrust;

/// A store that could not be opened. Its file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another client of this one, writes it.
    #[error("the store {path} is in use by another process: close it there, or open a store of your own")]
    Locked {
        /// The store.
        path: PathBuf,
    },
    /// There is no store to read: the app has to be opened first.
    #[error("there is no store at {path} to read: open it for writing once, in the app")]
    NoStore {
        /// Where it is looked for.
        path: PathBuf,
    },
    /// An earlier version of the app wrote it, and who only reads cannot upgrade it.
    #[error("the store has version {found}, this library reads {needs}: open it for writing once, in the app")]
    Older {
        /// Its version.
        found: u32,
        /// The version that is read.
        needs: u32,
    },
    /// A later version of the app wrote it.
    #[error(
        "the store has version {found}, this library reads up to {supported}: update the app, the file is untouched"
    )]
    Newer {
        /// Its version.
        found: u32,
        /// The newest that this library knows.
        supported: u32,
    },
    /// The file is not a store of Rejoin.
    #[error("{path} is not a Rejoin store: choose another file, this one is untouched")]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("the store is damaged; a copy is at {copy}: `Client::repair` saves what can be read into a new store")]
    Corrupt {
        /// Where the untouched copy is.
        copy: PathBuf,
    },
    /// A new store needs to know whose it is.
    #[error("a new store needs an access token, or a user and a device")]
    NoIdentity,
    /// The token is not one of ours.
    #[error("the access token cannot be read: it must carry a user and a device")]
    BadToken,
    /// The store belongs to somebody else.
    #[error("the store belongs to {user} on {device}: log out first, or use a store of its own for each user")]
    OtherIdentity {
        /// Whose it is.
        user: String,
        /// On which device.
        device: DeviceId,
    },
    /// The server's address is not one.
    #[error("not a server address: {address} (expected http:// or https://)")]
    BadAddress {
        /// What was given.
        address: String,
    },
    /// The app's platform or version is not one.
    #[error("not an app's platform and version: {platform} {version} (expected for example ios 2.4.1)")]
    BadApp {
        /// What was given as its platform.
        platform: String,
        /// And as its version.
        version: String,
    },
    /// A pin or an authority that is none.
    #[error(transparent)]
    Trust(#[from] BadTrust),
    /// A schema that cannot be.
    #[error("not a schema: {0}")]
    Schema(#[from] SchemaError),
    /// The disk failed.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] StoreError),
}

impl OpenError {
    /// A repair that failed: what it was about to replace is in the copy.
    pub(super) fn of_repair(error: ClientError) -> Self {
        Self::Store(match error {
            ClientError::Store(error) => error,
            ClientError::DiskFull => StoreError::DiskFull,
            _ => StoreError::Corrupt,
        })
    }
}

/// An operation on a document or space that was not done. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The edit itself is not possible.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The disk is full. The document is as it was.
    #[error("the disk is full: free some space and edit again")]
    DiskFull,
    /// No such document in this space.
    #[error("there is no document {0} here (yet)")]
    NoDocument(DocId),
    /// The document is deleted.
    #[error("the document {0} is deleted")]
    Deleted(DocId),
    /// Something of the space is not on the server yet, or not read back.
    #[error("the document {0} is not in step with the server: sync, and try again")]
    Unsettled(DocId),
    /// No epoch can be made of the document.
    #[error("no epoch can be made of the document: {0}")]
    Epoch(#[from] sync_core::epoch::EpochError),
    /// The space is not one that this device uses.
    #[error("this device does not use that space: call add_space first")]
    NoSpace,
    /// The server does not let the user into the space (any more), so nobody would see the edit.
    #[error("no access to the space {0}: ask its owner for an invitation, then call add_space; nothing was changed")]
    NoAccess(SpaceId),
    /// More spaces than one device may use.
    #[error("a device uses at most {0} spaces")]
    TooManySpaces(usize),
    /// The collection's name is empty, too long, or has a zero byte in it.
    #[error("a collection's name has 1 to {0} bytes, none of them zero")]
    BadCollection(usize),
    /// The name is empty or too long.
    #[error("a document's name has 1 to {0} bytes")]
    BadName(usize),
    /// A newer version of the app has changed what the document is made of, and this one may only read it.
    #[error("the document {doc} has version {version}, which apps edit from version {writers_from} on: update the app")]
    NewerSchema {
        /// Which.
        doc: DocId,
        /// The version of its schema.
        version: u16,
        /// The lowest version that may edit it.
        writers_from: u16,
    },
    /// The app's own migration failed. The document is at its old version.
    #[error("{collection}: the migration to version {version} failed: {why}")]
    Migration {
        /// Of which collection.
        collection: String,
        /// To which version.
        version: u16,
        /// Why.
        why: String,
    },
    /// What is to be shown to others is too large.
    #[error("what is shown to others has at most {max} bytes, this has {bytes}: show less")]
    PresenceTooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// What is stored of the document does not fit its hashes.
    #[error("what is stored of the document is damaged: close the client and call `Client::repair`")]
    Corrupt,
    /// The client has no server.
    #[error("no server was given when the client was opened")]
    NoServer,
    /// The client was opened for reading.
    #[error("the store was opened for reading: edit and synchronise in the app that has it open for writing")]
    ReadOnly,
    /// The app was updated, and has brought the store to a version that this library does not know.
    #[error("the store has version {0} now, which this library does not read: update the app, or start it again")]
    StoreNewer(u32),
    /// The server has not got everything that was written here.
    #[error("the server has not got {edits} edits and {changes} changes: send them first, or say that they may go")]
    Unsent {
        /// Edits that are not sealed into changes.
        edits: u64,
        /// Changes that the server has not acknowledged.
        changes: u64,
    },
    /// No such change is in quarantine.
    #[error("the change {0} is not in quarantine (any more)")]
    NotInQuarantine(ChangeId),
    /// The document has no such change here (yet).
    #[error("the document has no change {0} here (yet)")]
    NoChange(Hash),
    /// A user's personal space is always there.
    #[error("the personal space cannot be removed: leave the store as a whole")]
    PersonalSpace,
    /// The client has left its store.
    #[error("this client has left its store: open it again")]
    Left,
    /// The disk failed. The document is as it was.
    #[error("the store failed: {0}")]
    Store(StoreError),
}

impl From<StoreError> for ClientError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull => Self::DiskFull,
            StoreError::Corrupt => Self::Corrupt,
            StoreError::ReadOnly => Self::ReadOnly,
            other => Self::Store(other),
        }
    }
}

/// Why [`Client::sync_once`](super::Client::sync_once) did not get on. What it did exchange stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// The server was not reached.
    #[error("the server cannot be reached")]
    Offline,
    /// Time or bytes ran out before anything was exchanged.
    #[error("time ran out before anything was exchanged: the next call tries again, with more time it gets further")]
    Deadline,
    /// What is next is larger than the byte budget, and comes in one piece or not at all.
    #[error("the byte budget is too small for what is next: give at least {needs} bytes, or none for no limit")]
    Budget {
        /// A budget that is enough.
        needs: u64,
    },
    /// The token is missing, expired, or of another device.
    #[error("the server wants a new access token: call set_token")]
    NeedsAuth,
    /// The store was restored from a backup or copied, and goes on as another device, of which there is no token yet.
    #[error(
        "this store was restored from a backup or copied, so it goes on as another device: set a token for {0}, or for a \
         device that is new otherwise"
    )]
    NeedsDevice(DeviceId),
    /// The server no longer serves this version of the app. What is written goes on being kept.
    #[error("the app must be updated{}", at(.update_url.as_deref()))]
    UpgradeRequired {
        /// Where, if the server says so.
        update_url: Option<String>,
    },
    /// Something else that waiting does not mend.
    #[error(transparent)]
    Trouble(Trouble),
    /// The client has no server.
    #[error("no server was given when the client was opened")]
    NoServer,
    /// The client was opened for reading.
    #[error("the store was opened for reading: synchronise in the app that has it open for writing")]
    ReadOnly,
    /// The client has left its store.
    #[error("this client has left its store: open it again")]
    Left,
}

fn at(update_url: Option<&str>) -> String {
    update_url.map(|url| format!(": {url}")).unwrap_or_default()
}

impl From<Trouble> for SyncError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::UpgradeRequired => Self::UpgradeRequired { update_url: None },
            other => Self::Trouble(other),
        }
    }
}
