//! What a document was.

use sync_core::document::Revision;
use sync_core::id::Hash;
use sync_core::value::Path;

use super::Doc;
use super::error::ClientError;

/// A change of a document, as its history tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// What was made, and upon what.
    pub revision: Revision,
    /// Whether this device made it.
    pub own: bool,
}

impl Doc {
    /// The document's changes, newest first, at most `limit` of them and never more than
    /// [`HISTORY_MAX`](sync_core::limits::HISTORY_MAX); each stands in front of those that it was made upon. What is open is
    /// sealed first. Changes carry no clock, so the history knows who and what, and not when.
    ///
    /// ```no_run
    /// # fn f(doc: &sync_client_ffi::Doc) -> Result<(), sync_client_ffi::ClientError> {
    /// for entry in doc.history(20)? {
    ///     let hash = entry.revision.hash;
    ///     println!("{hash}: {:?}", doc.json_at("title", &[hash])?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn history(&self, limit: usize) -> Result<Vec<HistoryEntry>, ClientError> {
        self.seal()?;
        let revisions = self.with(|_, document| document.history(limit))?;
        let engine = self.client.engine();
        let entry = |revision: Revision| {
            let own = revision.actor.is_some_and(|actor| engine.is_own(actor.device()));
            HistoryEntry { revision, own }
        };
        Ok(revisions.into_iter().map(entry).collect())
    }

    /// The value at a path as JSON text, as it was when exactly the changes `at`, and those that they were made upon, were
    /// there: for one change, what its author saw after it; for all [`heads`](Self::heads) of a moment, that moment. `None` if
    /// nothing was there.
    pub fn json_at(&self, path: impl Into<Path>, at: &[Hash]) -> Result<Option<String>, ClientError> {
        self.seal()?;
        self.with(|_, document| match at.iter().find(|hash| !document.has_change(**hash)) {
            Some(unknown) => Err(ClientError::NoChange(*unknown)),
            None => Ok(document.json_at(path, at)),
        })?
    }
}
