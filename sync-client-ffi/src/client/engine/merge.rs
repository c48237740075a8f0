//! Taking remote changes into open documents, off the app's thread: copies take them in, edits go to the old ones
//! meanwhile, and at the swap those are applied to the new ones.

use std::collections::BTreeSet;

use sync_core::document::{Document, Patch, changes_beyond};
use sync_core::id::{DocId, Hash, SpaceId};

use super::{Engine, Merging, Result};
use crate::client::error::ClientError;

/// A merge under way. Between [`Engine::merge_begin`] and the last [`Engine::merge_swap`] the lock is free.
pub(in crate::client) struct Merge {
    id: u64,
    pub(in crate::client) space: SpaceId,
    pub(in crate::client) doc: DocId,
    copy: Document,
    /// A snapshot that has come in the place of changes, and up to where it covers the log.
    snapshot: Option<Vec<u8>>,
    covered: u64,
    changes: Vec<Vec<u8>>,
    arrival: u64,
    through: u64,
    patches: Vec<Patch>,
    /// Whether the copy holds edits that were made after it was taken.
    caught_up: bool,
    /// Whether a change is suspected of breaking the document.
    careful: bool,
}

/// What there is to take in for a document.
pub(in crate::client) enum Begun {
    /// Nothing, or not now: it is held, or somebody else is at it.
    Nothing,
    /// It shows everything, but how it came to that was not told: it was closed, or read from the disk, in between.
    LookAgain,
    /// This.
    Merge(Box<Merge>),
}

/// How merges go on.
pub(in crate::client) enum Swap {
    /// [`Merge::work`] has more to do.
    Again(Vec<Merge>),
    /// The documents show everything; this is what observers must do, `None` where they have to look again.
    Done(Vec<(DocId, Option<Vec<Patch>>)>),
}

impl Merge {
    /// Applies what is there to apply. Slow, and needs no lock. `false` if a change breaks the copy: then
    /// [`Engine::merge_anew`] gives it another one.
    pub(in crate::client) fn work(&mut self) -> Result<bool> {
        if let Some(snapshot) = self.snapshot.take() {
            let beyond = changes_beyond(&snapshot, &self.copy.heads()).ok_or(ClientError::Corrupt)?;
            let arrived = std::mem::take(&mut self.changes);
            self.changes = beyond.into_iter().map(|(_, bytes)| bytes).chain(arrived).collect();
        }
        if self.changes.is_empty() {
            return Ok(true);
        }
        // The copy is thrown away where a change breaks it; only then is it worth a copy of the copy.
        let applied =
            if self.careful { self.copy.apply(&self.changes) } else { self.copy.apply_or_lose(&self.changes) };
        match applied {
            Ok(applied) => self.patches.extend(applied.patches),
            Err(_) if !self.careful => return Ok(false),
            Err(_) => return Err(ClientError::Corrupt),
        }
        self.changes.clear();
        Ok(true)
    }
}

impl Engine {
    /// How far of the log a document shows.
    pub(in crate::client) fn through(&self, space: SpaceId, doc: DocId) -> u64 {
        self.documents.get(&(space, doc)).map_or(0, |open| open.through)
    }

    /// Documents of a space that others have changed, and about which something is to be done now.
    pub(in crate::client) fn behind(&self, space: SpaceId) -> Vec<DocId> {
        // What is held back is shown all at once.
        let Some(state) = self.spaces.get(&space).filter(|state| state.held.is_none()) else { return Vec::new() };
        let may = |doc: &&DocId| match self.documents.get(&(space, **doc)) {
            Some(open) => open.document.is_none() || (open.merging.is_none() && open.holds == 0),
            None => true,
        };
        state.behind.iter().filter(may).copied().collect()
    }

    pub(super) fn set_behind(&mut self, space: SpaceId, doc: DocId, behind: bool) {
        if let Some(state) = self.spaces.get_mut(&space) {
            if behind {
                state.behind.insert(doc);
            } else {
                state.behind.remove(&doc);
            }
        }
    }

    /// Leaves a document to the disk, which alone knows what holds; it is read when the document is needed.
    pub(super) fn give_up(&mut self, space: SpaceId, doc: DocId) {
        let Some(open) = self.documents.get_mut(&(space, doc)) else { return };
        open.document = None;
        self.turns += 1;
        if open.merging.take().is_some() {
            // What was being taken in will show without having been told.
            self.set_behind(space, doc, true);
        }
    }

    /// Starts to take in what has arrived for a document, unless it is held (and this is not `forced`).
    pub(in crate::client) fn merge_begin(&mut self, space: SpaceId, doc: DocId, forced: bool) -> Result<Begun> {
        let Some(open) = self.documents.get(&(space, doc)).filter(|open| open.document.is_some()) else {
            self.set_behind(space, doc, false);
            return Ok(Begun::LookAgain);
        };
        if open.merging.is_some() || (open.holds > 0 && !forced) {
            return Ok(Begun::Nothing);
        }
        let (unseen, covered) = (open.unseen, open.covered);
        let through = self.shown_seq(space)?;
        let changes = self.store.read().changes(space, doc, self.feed_of(space)?, open.arrival)?;
        let newer = self.store.read().snapshot(space, doc)?.filter(|(seq, _)| *seq > covered);
        // What is in it may stand otherwise than here.
        if newer.is_some() && (!open.grafts.is_empty() || !self.store.read().grafts(space, doc)?.is_empty()) {
            self.seal(space, Some(doc))?;
            self.give_up(space, doc);
            self.set_behind(space, doc, false);
            return Ok(Begun::LookAgain);
        }
        let snapshot = match newer {
            Some(_) => self.snapshot(space, doc)?,
            None => None,
        };
        let device = self.device;
        // A structure may be anybody's; what is in the document is not taken in again.
        let held: BTreeSet<Hash> = open.document.iter().flat_map(Document::structures).map(|(hash, _)| hash).collect();
        let foreign = |payload: &Vec<u8>| match sync_core::guard::inspect(payload) {
            Ok(guarded) => guarded.actor.device() != device && !held.contains(&guarded.hash),
            Err(_) => true,
        };
        let mut payloads: Vec<Vec<u8>> = changes.payloads.into_iter().filter(foreign).collect();
        if sync_core::mutation!("merge-passes-over-the-last") && payloads.len() > 1 {
            payloads.pop();
        }
        if payloads.is_empty() && snapshot.is_none() {
            if let Some(open) = self.documents.get_mut(&(space, doc)) {
                open.arrival = changes.last_arrival;
                open.through = through;
                open.unseen = false;
            }
            self.set_behind(space, doc, false);
            return Ok(if unseen { Begun::LookAgain } else { Begun::Nothing });
        }
        self.seal(space, Some(doc))?;
        let mut merge = self.merge_of(space, doc, payloads, changes.last_arrival, through)?;
        if let (Some(merge), Some((seq, bytes))) = (&mut merge, snapshot) {
            (merge.covered, merge.snapshot) = (seq, Some(bytes));
        }
        self.set_behind(space, doc, false);
        Ok(merge.map_or(Begun::Nothing, |merge| Begun::Merge(Box::new(merge))))
    }

    /// A merge of these changes into a document without open edits.
    pub(super) fn merge_of(
        &mut self,
        space: SpaceId,
        doc: DocId,
        changes: Vec<Vec<u8>>,
        arrival: u64,
        through: u64,
    ) -> Result<Option<Merge>> {
        let changes = self.standing(space, doc, changes)?;
        let Some(open) = self.documents.get_mut(&(space, doc)) else { return Ok(None) };
        let Some(document) = &open.document else { return Ok(None) };
        let copy = document.copy().map_err(|_| ClientError::Corrupt)?;
        open.bytes += changes.iter().map(Vec::len).sum::<usize>();
        self.merges += 1;
        let id = self.merges;
        open.merging = Some(Merging { id, sealed: Vec::new() });
        let (patches, caught_up, careful) = (Vec::new(), false, false);
        let (snapshot, covered) = (None, 0);
        Ok(Some(Merge {
            id,
            space,
            doc,
            copy,
            snapshot,
            covered,
            changes,
            arrival,
            through,
            patches,
            caught_up,
            careful,
        }))
    }

    /// Gives a merge whose copy broke another one, on which its changes are tried one by one; `None` if the document was
    /// given up meanwhile.
    pub(in crate::client) fn merge_anew(&mut self, mut merge: Merge) -> Result<Option<Merge>> {
        self.seal_for(&merge);
        let document = self.current(&merge).and_then(|open| open.document.as_ref());
        let Some(document) = document else { return Ok(None) };
        let Ok(copy) = document.copy() else {
            self.merge_failed(&merge);
            return Err(ClientError::Corrupt);
        };
        (merge.copy, merge.careful) = (copy, true);
        Ok(Some(merge))
    }

    /// After [`Merge::work`]: swaps the copies in, all at once, so that nobody sees an effect without its cause in another
    /// document. Copies that lack what was typed meanwhile go back for it once more, unless this is the `last` time: then
    /// they catch up here.
    pub(in crate::client) fn merge_swap(&mut self, merges: Vec<Merge>, last: bool) -> Swap {
        for merge in &merges {
            self.seal_for(merge);
        }
        // Of what was given up meanwhile (the disk failed, or a change was refused), the disk knows what holds.
        let mut merges: Vec<Merge> = merges.into_iter().filter(|merge| self.current(merge).is_some()).collect();
        let mut typed = false;
        for merge in &mut merges {
            let merging = self.current(merge).and_then(|open| open.merging.as_mut());
            merge.changes = merging.map(|merging| std::mem::take(&mut merging.sealed)).unwrap_or_default();
            merge.caught_up |= !merge.changes.is_empty();
            typed |= !merge.changes.is_empty();
        }
        if typed && !last {
            return Swap::Again(merges);
        }
        let mut changed = Vec::new();
        for mut merge in merges {
            // Own changes were applied here before, so they break nothing.
            let worked = merge.work();
            let Some(open) = self.current(&merge) else { continue };
            let Some(old) = open.document.take() else { continue };
            if !matches!(worked, Ok(true)) {
                self.give_up(merge.space, merge.doc);
                continue;
            }
            // The patches of the apply speak of a state that the app has typed on from.
            let patches = if merge.caught_up { merge.copy.diff(&old.heads()) } else { merge.patches };
            open.document = Some(merge.copy);
            open.arrival = open.arrival.max(merge.arrival);
            open.covered = open.covered.max(merge.covered);
            open.through = open.through.max(merge.through);
            open.merging = None;
            let unseen = std::mem::take(&mut open.unseen);
            self.turns += 1;
            changed.push((merge.doc, (!unseen).then_some(patches)));
        }
        Swap::Done(changed)
    }

    /// Gives up a merge whose work failed.
    pub(in crate::client) fn merge_failed(&mut self, merge: &Merge) {
        if self.current(merge).is_some() {
            self.give_up(merge.space, merge.doc);
        }
    }

    /// Seals what was typed while a copy was at work; where that fails, the disk knows what holds.
    fn seal_for(&mut self, merge: &Merge) {
        let (space, doc) = (merge.space, merge.doc);
        if self.current(merge).is_some() && self.seal(space, Some(doc)).is_err() {
            self.merge_failed(merge);
        }
    }

    /// The document that a merge is for, if it still is.
    fn current(&mut self, merge: &Merge) -> Option<&mut super::OpenDocument> {
        let open = self.documents.get_mut(&(merge.space, merge.doc))?;
        let current = open.document.is_some() && open.merging.as_ref().is_some_and(|merging| merging.id == merge.id);
        current.then_some(open)
    }
}
