//! What becomes of edits, for "saved" and "sent" beside a document.

use std::sync::Arc;
use std::time::Duration;

use sync_core::id::{DocId, SpaceId};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::background::waiting;
use super::document::Document;
use super::edit::ChangeState;
use super::error::RejoinError;
use super::observe::{Watch, told};
use crate::client::{self, EditNews};

/// How often whoever waits looks whether the client was shut meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// What became of edits that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct EditChange {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// What became of them.
    pub state: ChangeState,
}

/// What became of this device's edits of a document.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum EditEvent {
    /// This, in this order.
    Changed {
        /// In which space.
        space: SpaceId,
        /// Of which document.
        document: DocId,
        /// Edits that went the same way together.
        changes: Vec<EditChange>,
    },
    /// More than is kept: ask `edit_state` for the edits that matter.
    LookAgain {
        /// In which space.
        space: SpaceId,
        /// Of which document.
        document: DocId,
    },
}

impl From<&client::EditEvent> for EditEvent {
    fn from(event: &client::EditEvent) -> Self {
        let (space, document) = (event.space, event.doc);
        match &event.news {
            EditNews::Changed(changes) => {
                let change = |change: &client::EditChange| EditChange {
                    first: change.first,
                    last: change.last,
                    state: change.state.into(),
                };
                Self::Changed { space, document, changes: changes.iter().map(change).collect() }
            }
            EditNews::LookAgain => Self::LookAgain { space, document },
        }
    }
}

/// Hears what becomes of this device's edits of a document.
#[uniffi::export(with_foreign)]
pub trait EditObserver: Send + Sync {
    /// Some went a step further.
    fn on_edits(&self, event: EditEvent) -> Result<(), RejoinError>;
}

#[uniffi::export]
impl Document {
    /// Tells an observer what becomes of this device's edits of the document, from now on.
    pub fn observe_edits(&self, observer: Arc<dyn EditObserver>) -> Result<Arc<Watch>, RejoinError> {
        let tell = move |event: &client::EditEvent| told(|| observer.on_edits(event.into()));
        self.with(|doc| Ok::<_, RejoinError>(Watch::of(doc.on_edits(tell))))
    }

    /// Waits until the server has decided about an edit, and gives what has become of it; when time runs out before, that it
    /// still is local or sent.
    pub async fn wait_for_edit(&self, edit: u64, timeout_ms: u64) -> Result<ChangeState, RejoinError> {
        let decided = Arc::new(Notify::new());
        let telling = decided.clone();
        let watch = self.with(|doc| Ok::<_, RejoinError>(doc.on_edits(move |_| telling.notify_one())))?;
        // What waits holds no client, so that it can be shut meanwhile.
        let place = self.place();
        waiting(async move {
            let until = Instant::now() + Duration::from_millis(timeout_ms);
            loop {
                let state = place.doc()?.edit_state(edit)?;
                if state.is_decided() || Instant::now() >= until {
                    drop(watch);
                    return Ok(state.into());
                }
                let look = until.min(Instant::now() + LOOK);
                // Whether it was told or not is seen in the state.
                tokio::time::timeout_at(look, decided.notified()).await.ok();
            }
        })
        .await
    }
}
