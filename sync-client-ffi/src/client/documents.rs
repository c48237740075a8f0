//! Which documents a space has: lists, pages, and who hears of what comes, changes and goes.

use std::sync::Arc;

use sync_core::id::{DocId, SpaceId};
use sync_core::limits::DOCUMENT_PAGE_MAX;

use super::engine::Engine;
use super::error::ClientError;
use super::observe::{CollectionEvent, Turn};
use super::{Client, Shared, Subscription};

/// A document in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentInfo {
    /// Its id.
    pub id: DocId,
    /// In which collection.
    pub collection: String,
}

/// A part of a list of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPage {
    /// In the order in which they were made.
    pub documents: Vec<DocumentInfo>,
    /// Behind which document the list goes on; `None` at its end.
    pub next: Option<DocId>,
}

impl Client {
    /// The documents of a space, or of one collection in it, in the order in which they were made. All of them: where there
    /// may be many, ask for [a page](Self::document_page) at a time.
    pub fn documents(&self, space: SpaceId, collection: Option<&str>) -> Result<Vec<DocumentInfo>, ClientError> {
        let engine = self.engine();
        engine.space(space)?;
        let all = engine.store.read().documents(space, collection, None, usize::MAX)?;
        Ok(all.into_iter().map(|(id, collection)| DocumentInfo { id, collection }).collect())
    }

    /// The same list behind `after` (from its beginning for `None`), at most `limit` of them, and never more than
    /// [`DOCUMENT_PAGE_MAX`]. A page costs the same however long the list is.
    ///
    /// The order is that of the ids, which hold their makers' clocks. So a document that another device made may come to
    /// stand in front of a page that was read before it arrived: [`on_collection`](Self::on_collection) tells of it.
    ///
    /// ```no_run
    /// # use sync_client_ffi::{Client, SpaceId};
    /// # fn f(client: &Client, space: SpaceId) -> Result<(), sync_client_ffi::ClientError> {
    /// let mut after = None;
    /// loop {
    ///     let page = client.document_page(space, Some("notes"), after, 100)?;
    ///     page.documents.iter().for_each(|info| println!("{}", info.id));
    ///     after = page.next;
    ///     if after.is_none() {
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn document_page(
        &self,
        space: SpaceId,
        collection: Option<&str>,
        after: Option<DocId>,
        limit: usize,
    ) -> Result<DocumentPage, ClientError> {
        let limit = limit.clamp(1, DOCUMENT_PAGE_MAX);
        let engine = self.engine();
        engine.space(space)?;
        // One more than is given tells whether there is more.
        let found = engine.store.read().documents(space, collection, after, limit + 1)?;
        let more = found.len() > limit;
        let found = found.into_iter().take(limit);
        let documents: Vec<DocumentInfo> = found.map(|(id, collection)| DocumentInfo { id, collection }).collect();
        let next = documents.last().map(|info| info.id).filter(|_| more);
        Ok(DocumentPage { documents, next })
    }

    /// Tells `callback` that documents of a space came or went, here or elsewhere: [`documents`](Self::documents) has the
    /// new list.
    pub fn on_documents(&self, space: SpaceId, callback: impl Fn() + Send + Sync + 'static) -> Subscription {
        let subscription = self.shared.observers.observe_list(space, Arc::new(callback));
        self.shared.watch();
        subscription
    }

    /// Tells `callback` which documents of a space, or of one collection in it, came, changed or went, here or elsewhere, at
    /// most once a frame of a 60 Hz screen.
    ///
    /// Subscribe first and list second, then nothing is missed. What was listed already may be told as added once more, and
    /// what was never listed as removed. A change is told when a read shows it.
    pub fn on_collection(
        &self,
        space: SpaceId,
        collection: Option<&str>,
        callback: impl Fn(&CollectionEvent) + Send + Sync + 'static,
    ) -> Subscription {
        let collection = collection.map(str::to_owned);
        let subscription = self.shared.observers.observe_collection(space, collection, Arc::new(callback));
        self.shared.watch();
        subscription
    }
}

impl Shared {
    /// Notes for whoever observes collections what happened to a document.
    pub(super) fn collected(&self, engine: &Engine, space: SpaceId, doc: DocId, turn: Turn) {
        if !self.observers.watches_collections(space) {
            return;
        }
        match engine.store.read().collection(space, doc) {
            Ok(Some(collection)) => self.observers.collected(space, doc, collection, turn),
            // Of a document whose making has not arrived nobody has a list.
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "whoever observes collections has to look again");
                self.observers.collections_anew(space);
            }
        }
    }
}
