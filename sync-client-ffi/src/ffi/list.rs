//! Lists of documents: pages of them, and what comes, changes and goes.

use std::sync::Arc;

use sync_core::id::{DocId, SpaceId};

use super::client::{DocumentEntry, RejoinClient};
use super::error::RejoinError;
use super::observe::{Watch, told};
use crate::client::{self, CollectionChanges, CollectionNews};

/// A part of a list of documents.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct DocumentPage {
    /// In the order in which they were made.
    pub documents: Vec<DocumentEntry>,
    /// Behind which document the list goes on; nothing at its end.
    pub next: Option<DocId>,
}

/// What happened to the documents of a space, or of a collection in it.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum CollectionEvent {
    /// These came, changed or went, each named once, in the order in which they were made.
    Changed {
        /// In which space.
        space: SpaceId,
        /// Those that came. One that was listed already may be named once more.
        added: Vec<DocId>,
        /// Those that were there and show something else.
        changed: Vec<DocId>,
        /// Those that are deleted. One that was never listed may be among them.
        removed: Vec<DocId>,
    },
    /// List them again: there were more of them than are kept.
    LookAgain {
        /// In which space.
        space: SpaceId,
    },
}

impl From<&client::CollectionEvent> for CollectionEvent {
    fn from(event: &client::CollectionEvent) -> Self {
        let space = event.space;
        match event.news.clone() {
            CollectionNews::Changed(CollectionChanges { added, changed, removed }) => {
                Self::Changed { space, added, changed, removed }
            }
            CollectionNews::LookAgain => Self::LookAgain { space },
        }
    }
}

/// Hears of the documents of a space, or of a collection in it.
#[uniffi::export(with_foreign)]
pub trait CollectionObserver: Send + Sync {
    /// Some came, changed or went.
    fn on_collection(&self, event: CollectionEvent) -> Result<(), RejoinError>;
}

#[uniffi::export]
impl RejoinClient {
    /// The documents of a space, or of one collection in it, behind `after`, in the order in which they were made: at most
    /// `limit`, and never more than 1,000. A page costs the same however long the list is.
    #[uniffi::method(default(collection = None, after = None, limit = 100))]
    pub fn document_page(
        &self,
        space: SpaceId,
        collection: Option<String>,
        after: Option<DocId>,
        limit: u32,
    ) -> Result<DocumentPage, RejoinError> {
        let page = self.with(|client| client.document_page(space, collection.as_deref(), after, limit as usize))?;
        Ok(DocumentPage { documents: page.documents.into_iter().map(Into::into).collect(), next: page.next })
    }

    /// Tells an observer which documents of a space, or of one collection in it, came, changed or went, here or elsewhere.
    /// Observe first and list second, then nothing is missed.
    pub fn observe_collection(
        &self,
        space: SpaceId,
        collection: Option<String>,
        observer: Arc<dyn CollectionObserver>,
    ) -> Result<Arc<Watch>, RejoinError> {
        let client = self.open.client()?;
        let tell = move |event: &client::CollectionEvent| told(|| observer.on_collection(event.into()));
        Ok(Watch::of(client.on_collection(space, collection.as_deref(), tell)))
    }
}
