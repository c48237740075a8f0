//! What a document was, and making it so again.

use sync_core::document::{Op, Revision};
use sync_core::id::{DocId, Hash, SpaceId};
use sync_core::value::Path;

use super::Doc;
use super::engine::Engine;
use super::error::ClientError;

/// A change of a document, as its history tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// What was made, and upon what.
    pub revision: Revision,
    /// Whether this device made it.
    pub own: bool,
    /// When the server took it, by the server's clock, in milliseconds since 1970 and to the second. `None` until it has, and
    /// where the server did not say: earlier ones do not, nor of what begins an epoch. What a server lost and was handed back has the
    /// time of that. It is for people: nothing here goes by it.
    pub taken_ms: Option<u64>,
}

impl Doc {
    /// The document's changes, newest first, at most `limit` of them and never more than
    /// [`HISTORY_MAX`](sync_core::limits::HISTORY_MAX); each stands in front of those that it was made upon. What is open is
    /// sealed first. Changes carry no clock: when they were made nobody knows, but when the server took them.
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
        let hashes: Vec<Hash> = revisions.iter().map(|revision| revision.hash).collect();
        let times = engine.times(self.space(), self.id(), &hashes)?;
        let entry = |(revision, taken_ms): (Revision, _)| {
            let own = revision.actor.is_some_and(|actor| engine.is_own(actor.device()));
            HistoryEntry { revision, own, taken_ms }
        };
        Ok(revisions.into_iter().zip(times).map(entry).collect())
    }

    /// The value at a path as JSON text, as it was when exactly the changes `at`, and those that they were made upon, were
    /// there: for one change, what its author saw after it; for all [`heads`](Self::heads) of a moment, that moment. `None` if
    /// nothing was there.
    pub fn json_at(&self, path: impl Into<Path>, at: &[Hash]) -> Result<Option<String>, ClientError> {
        self.seal()?;
        let at = self.client.engine().standing_hashes(self.space(), self.id(), at);
        self.with(|_, document| match at.iter().find(|hash| !document.has_change(**hash)) {
            Some(unknown) => Err(ClientError::NoChange(*unknown)),
            None => Ok(document.json_at(path, &at)),
        })?
    }

    /// Makes the value at a path what it was when exactly the changes `at`, and those that they were made upon, were there, by a
    /// new edit; gives its number, `None` where it is so already. Texts and lists keep what is there in both states, so what
    /// others do to that meanwhile still meets it, and counters count back. What a [schema](Self::schema) brought since stays. It can
    /// be undone like any edit.
    ///
    /// ```no_run
    /// # fn f(doc: &sync_client_ffi::Doc) -> Result<(), sync_client_ffi::ClientError> {
    /// let before: Vec<_> = doc.history(10)?.iter().take(1).flat_map(|last| last.revision.deps.clone()).collect();
    /// doc.restore("body", &before)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn restore(&self, path: impl Into<Path>, at: &[Hash]) -> Result<Option<u64>, ClientError> {
        self.upgraded()?;
        let number = {
            let mut engine = self.client.engine();
            let ops = engine.restoring(self.space(), self.id(), &path.into(), at)?;
            if ops.is_empty() {
                return Ok(None);
            }
            let (number, patches) = engine.edit(self.space(), self.id(), ops)?;
            self.told(&engine, number, patches);
            number
        };
        self.client.shared.inbox.edited(self.space());
        Ok(Some(number))
    }
}

impl Engine {
    /// The operations of that edit.
    fn restoring(&mut self, space: SpaceId, doc: DocId, path: &Path, at: &[Hash]) -> Result<Vec<Op>, ClientError> {
        self.may_edit(space)?;
        self.loaded(space, doc)?;
        self.seal(space, Some(doc))?;
        let at = self.standing_hashes(space, doc, at);
        let document = self.documents.get(&(space, doc)).and_then(|open| open.document.as_ref());
        let document = document.ok_or(ClientError::NoDocument(doc))?;
        match at.iter().find(|hash| !document.has_change(**hash)) {
            Some(unknown) => Err(ClientError::NoChange(*unknown)),
            None => document.restoring(path.clone(), &at).ok_or(ClientError::NoDocument(doc)),
        }
    }
}
