//! Taking remote changes into an open document, off the app's thread: a copy takes them in, edits go to the old one
//! meanwhile, and at the swap those are applied to the new one.

use sync_core::document::{Document, Patch};
use sync_core::id::{DocId, SpaceId};

use super::{Engine, Result};
use crate::client::error::ClientError;

/// Rounds in which the copy catches up outside of the lock with what is typed meanwhile; then it does so inside.
const ROUNDS_MAX: u32 = 4;

/// A merge under way. Between [`Engine::merge_begin`] and the last [`Engine::merge_step`] the lock is free.
pub(in crate::client) struct Merge {
    pub(in crate::client) space: SpaceId,
    pub(in crate::client) doc: DocId,
    pub(super) copy: Document,
    pub(super) changes: Vec<Vec<u8>>,
    pub(super) arrival: u64,
    pub(super) patches: Vec<Patch>,
    pub(super) rounds: u32,
}

/// How a merge goes on.
pub(in crate::client) enum Step {
    /// [`Merge::work`] has more to do.
    Again(Box<Merge>),
    /// The document shows everything; this is what observers must do.
    Done(Vec<Patch>),
}

impl Merge {
    /// Applies what is there to apply. Slow, and needs no lock.
    pub(in crate::client) fn work(&mut self) -> Result<()> {
        let applied = self.copy.apply(&self.changes).map_err(|_| ClientError::Corrupt)?;
        self.changes.clear();
        if self.rounds == 0 {
            self.patches = applied.patches;
        }
        self.rounds += 1;
        Ok(())
    }
}

impl Engine {
    /// Documents of a space that are open and may have remote changes to take in.
    pub(in crate::client) fn open_documents(&self, space: SpaceId) -> Vec<DocId> {
        let open = self.documents.iter().filter(|((of, _), open)| *of == space && open.document.is_some());
        open.map(|((_, doc), _)| *doc).collect()
    }

    /// Starts to take in what has arrived for an open document; `None` if there is nothing, it is held (unless
    /// `forced`), or a merge is under way.
    pub(in crate::client) fn merge_begin(&mut self, space: SpaceId, doc: DocId, forced: bool) -> Result<Option<Merge>> {
        let Some(open) = self.documents.get(&(space, doc)) else { return Ok(None) };
        if open.document.is_none() || open.merging.is_some() || (open.holds > 0 && !forced) {
            return Ok(None);
        }
        let after = open.arrival;
        let changes = self.store.read().changes(space, doc, after)?;
        let device = self.device;
        let foreign = |payload: &Vec<u8>| match sync_core::guard::inspect(payload) {
            Ok(guarded) => guarded.actor.device() != device,
            Err(_) => true,
        };
        let payloads: Vec<Vec<u8>> = changes.payloads.into_iter().filter(foreign).collect();
        if payloads.is_empty() {
            if let Some(open) = self.documents.get_mut(&(space, doc)) {
                open.arrival = changes.last_arrival;
            }
            return Ok(None);
        }
        self.seal(space, Some(doc))?;
        let Some(open) = self.documents.get_mut(&(space, doc)) else { return Ok(None) };
        let Some(document) = &open.document else { return Ok(None) };
        let copy = document.copy().map_err(|_| ClientError::Corrupt)?;
        open.bytes += payloads.iter().map(Vec::len).sum::<usize>();
        open.merging = Some(Vec::new());
        let arrival = changes.last_arrival;
        Ok(Some(Merge { space, doc, copy, changes: payloads, arrival, patches: Vec::new(), rounds: 0 }))
    }

    /// After [`Merge::work`]: swaps the copy in, or sends it back to catch up with what was typed meanwhile.
    pub(in crate::client) fn merge_step(&mut self, mut merge: Merge) -> Result<Step> {
        let (space, doc) = (merge.space, merge.doc);
        let sealing = self.seal(space, Some(doc));
        let Some(open) = self.documents.get_mut(&(space, doc)) else { return Ok(Step::Done(Vec::new())) };
        // The old copy was given up meanwhile (the disk failed, or a change was refused): the disk knows what holds.
        let (Ok(()), Some(meanwhile), Some(old)) = (sealing, open.merging.take(), &open.document) else {
            open.document = None;
            open.merging = None;
            return Ok(Step::Done(Vec::new()));
        };
        merge.changes = meanwhile;
        if !merge.changes.is_empty() && merge.rounds < ROUNDS_MAX {
            open.merging = Some(Vec::new());
            return Ok(Step::Again(Box::new(merge)));
        }
        if !merge.changes.is_empty() {
            merge.work()?;
        }
        if merge.rounds > 1 {
            // The patches of the apply speak of a state that the app has typed on from.
            merge.patches = merge.copy.diff(&old.heads());
        }
        open.document = Some(merge.copy);
        open.arrival = merge.arrival;
        Ok(Step::Done(merge.patches))
    }

    /// Gives up a merge whose work failed.
    pub(in crate::client) fn merge_failed(&mut self, space: SpaceId, doc: DocId) {
        if let Some(open) = self.documents.get_mut(&(space, doc)) {
            open.merging = None;
            open.document = None;
        }
    }
}
