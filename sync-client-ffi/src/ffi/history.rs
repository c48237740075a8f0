//! What a document was.

use sync_core::id::{DeviceId, Hash};

use super::document::Document;
use super::error::RejoinError;
use super::path::parse;
use crate::client;

/// A change of a document, as its history tells of it.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HistoryEntry {
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// Which device made it; nothing for an author that is no device of ours.
    pub device: Option<DeviceId>,
    /// Whether this device made it.
    pub own: bool,
    /// How many operations it has.
    pub operations: u64,
    /// The hashes of the changes that it was made upon.
    pub deps: Vec<String>,
    /// When the server took it, by the server's clock, in milliseconds since 1970 and to the second. Nothing until it has, and where
    /// the server did not say: earlier ones do not, nor of what begins an epoch.
    pub taken_ms: Option<u64>,
}

impl From<client::HistoryEntry> for HistoryEntry {
    fn from(entry: client::HistoryEntry) -> Self {
        let client::HistoryEntry { revision, own, taken_ms } = entry;
        Self {
            hash: revision.hash.to_string(),
            device: revision.actor.map(|actor| actor.device()),
            own,
            operations: revision.operations,
            deps: revision.deps.iter().map(Hash::to_string).collect(),
            taken_ms,
        }
    }
}

#[uniffi::export]
impl Document {
    /// The document's changes, newest first: at most `limit`, and never more than 1,000. Each stands in front of those that it
    /// was made upon. Changes carry no clock: when they were made nobody knows, but when the server took
    /// them.
    #[uniffi::method(default(limit = 100))]
    pub fn history(&self, limit: u32) -> Result<Vec<HistoryEntry>, RejoinError> {
        Ok(self.with(|doc| doc.history(limit as usize))?.into_iter().map(Into::into).collect())
    }

    /// The value at a path as JSON, as it was when exactly these changes, and those that they were made upon, were there: for
    /// one change, what its author saw after it. Nothing if nothing was there.
    pub fn json_at(&self, path: &str, hashes: Vec<String>) -> Result<Option<String>, RejoinError> {
        let (path, at) = (parse(path)?, hashes_of(&hashes)?);
        self.with(|doc| doc.json_at(path, &at))
    }

    /// Makes the value at a path what it was when exactly these changes, and those that they were made upon, were there: by a new
    /// edit, whose number it gives; nothing where it is so already. What is there in both states stays as it is, so that what
    /// others do to it meanwhile is kept. It can be undone like any edit.
    pub fn restore(&self, path: &str, hashes: Vec<String>) -> Result<Option<u64>, RejoinError> {
        let (path, at) = (parse(path)?, hashes_of(&hashes)?);
        self.with(|doc| doc.restore(path, &at))
    }

    /// Begins the document anew: the same content without the history before it, here and everywhere, so that it takes as much
    /// room as what it shows. For owners. It takes effect once the server has taken it; where another device has not read so
    /// far, or the document moved on, it is refused with `epoch_early` and stands in the quarantine as such: drop it there
    /// and try again later. Nothing that somebody wrote meanwhile is lost. Gives the number of the epoch.
    pub fn forget_history(&self) -> Result<u64, RejoinError> {
        self.with(|doc| doc.start_epoch())
    }

    /// How often the document began anew, as it is shown here.
    pub fn epoch(&self) -> Result<u64, RejoinError> {
        self.with(|doc| doc.epoch())
    }
}

fn hashes_of(texts: &[String]) -> Result<Vec<Hash>, RejoinError> {
    let hash = |text: &String| text.parse::<Hash>().map_err(|_| RejoinError::invalid(format!("not a hash: {text}")));
    texts.iter().map(hash).collect()
}
