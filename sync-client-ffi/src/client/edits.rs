//! What becomes of this device's edits: on disk, sent, in the server's log, or refused.

use std::sync::Arc;
use std::time::Duration;

use sync_core::code::RejectCode;
use sync_core::feed::{ChangeId, Run};
use sync_core::id::{DocId, SpaceId};
use sync_core::log::Verdict;

use super::engine::{Decided, Engine};
use super::error::ClientError;
use super::observe::EditEvent;
use super::store::StoreError;
use super::{Doc, Shared, Subscription};

/// What has become of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditState {
    /// On disk here.
    Local,
    /// On its way to the server; whether it arrived is not known yet.
    Sent,
    /// In the server's log, at this place.
    Durable {
        /// The place; of an old edit, one behind it.
        seq: u64,
    },
    /// Refused by the server, and out of the document; it is kept.
    Rejected {
        /// Why.
        code: RejectCode,
    },
}

impl EditState {
    /// Whether the server has decided about it.
    pub fn is_decided(self) -> bool {
        matches!(self, Self::Durable { .. } | Self::Rejected { .. })
    }
}

impl Doc {
    /// What has become of an edit of this device.
    pub fn edit_state(&self, edit: u64) -> Result<EditState, ClientError> {
        let mut engine = self.client.engine();
        engine.loaded(self.space, self.id)?;
        engine.edit_state(self.space, self.id, edit)
    }

    /// Tells `callback` what becomes of this device's edits of the document, from now on: at most once a frame of a 60 Hz
    /// screen, edits that went the same way together. For "saved" and "sent" beside a document.
    ///
    /// ```no_run
    /// # use sync_client_ffi::{Doc, EditNews, EditState};
    /// # fn f(doc: &Doc) {
    /// let subscription = doc.on_edits(|event| match &event.news {
    ///     EditNews::Changed(changes) => {
    ///         let durable = changes.iter().filter(|change| matches!(change.state, EditState::Durable { .. }));
    ///         println!("the server has all edits up to {:?}", durable.map(|change| change.last).max());
    ///     }
    ///     EditNews::LookAgain => println!("ask `edit_state` for the edits that matter"),
    /// });
    /// # drop(subscription);
    /// # }
    /// ```
    pub fn on_edits(&self, callback: impl Fn(&EditEvent) + Send + Sync + 'static) -> Subscription {
        self.client.shared.observers.observe_edits(self.space, self.id, Arc::new(callback))
    }

    /// Waits until the server has decided about an edit, and gives what has become of it: when time runs out before, that it
    /// is still [`Local`](EditState::Local) or [`Sent`](EditState::Sent).
    pub fn wait_for_edit(&self, edit: u64, timeout: Duration) -> Result<EditState, ClientError> {
        let state = |engine: &Engine| engine.edit_state(self.space, self.id, edit);
        self.client.wait_until(timeout, |engine| state(engine).is_ok_and(EditState::is_decided));
        self.edit_state(edit)
    }
}

impl Engine {
    fn edit_state(&self, space: SpaceId, doc: DocId, edit: u64) -> Result<EditState, ClientError> {
        let sent_n = self.space(space)?.sent_n;
        let read = self.store.read();
        let (folded, covered) = read.folded_edits(space, doc)?;
        let found = read.item_of_edit(space, doc, edit)?;
        // Of those that were folded, only what became of refused ones is still told one by one.
        if edit <= folded && found.is_none_or(|(_, last)| last > folded) {
            return Ok(EditState::Durable { seq: covered });
        }
        let Some((mut id, _)) = found else { return Ok(EditState::Local) };
        // It counts what says it now.
        while let Some(copy) = read.copy_of(space, id)? {
            id = copy;
        }
        Ok(match read.decided(space, id)? {
            Some(_) if read.is_excluded(space, id)? => EditState::Rejected { code: RejectCode::BreaksDocument },
            Some((seq, verdict)) => decided(seq, verdict),
            None if read.is_out(space, id)? => {
                let kept = read.quarantine(space, Some(doc))?.into_iter().find(|entry| entry.id == id);
                EditState::Rejected { code: kept.map_or(RejectCode::DependencyRefused, |entry| entry.code) }
            }
            None if id.device == self.feed_of(space)? && id.n <= sent_n => EditState::Sent,
            None => EditState::Local,
        })
    }
}

fn decided(seq: u64, verdict: Verdict) -> EditState {
    match verdict {
        Verdict::Applied => EditState::Durable { seq },
        Verdict::Rejected(code) => EditState::Rejected { code },
    }
}

impl Shared {
    /// Notes for whoever observes edits that a run goes out; what is in front of `sent_n` did so before.
    pub(super) fn edits_sent(&self, engine: &Engine, space: SpaceId, run: &Run, sent_n: u64) {
        for (item, n) in run.items.iter().zip(run.base.n + 1..).filter(|(_, n)| *n > sent_n) {
            self.edits_became(engine, space, item.doc, ChangeId { device: run.device, n }, EditState::Sent);
        }
    }

    /// Notes for whoever observes edits what the server has decided.
    pub(super) fn edits_decided(&self, engine: &Engine, space: SpaceId, news: &[Decided]) {
        for Decided { id, doc, seq, verdict } in news {
            self.edits_became(engine, space, *doc, *id, decided(*seq, *verdict));
        }
    }

    fn edits_became(&self, engine: &Engine, space: SpaceId, doc: DocId, id: ChangeId, state: EditState) {
        if !self.observers.watches_edits(space, doc) {
            return;
        }
        match edits_of(engine, space, doc, id) {
            Ok(Some((first, last))) => self.observers.edits(space, doc, first, last, state),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "whoever observes edits has to look again");
                self.observers.edits_anew(space, doc);
            }
        }
    }
}

/// The edits whose state an item tells: none if another one says them now.
fn edits_of(engine: &Engine, space: SpaceId, doc: DocId, id: ChangeId) -> Result<Option<(u64, u64)>, StoreError> {
    let read = engine.store.read();
    if read.copy_of(space, id)?.is_some() || (read.is_out(space, id)? && read.decided(space, id)?.is_none()) {
        return Ok(None);
    }
    let mut first = id;
    while let Some(original) = read.original_of(space, first)? {
        first = original;
    }
    read.edits_of_item(space, doc, first)
}
