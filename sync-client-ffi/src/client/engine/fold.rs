//! Folding: what a long life leaves in the store grows with what documents hold, not with how often they were changed.
//!
//! Of a log a phone keeps the newest [`PHONE_ENTRIES_KEPT`] entries one by one, to hand them back to a server that lost them.
//! Behind that, a document's changes become a snapshot as soon as there are enough of them for that to be worth it. The store
//! then looks as after a cold start by a snapshot that the server made, and everything that can read the one reads the other.

use sync_core::document::{FoldError, Folded, fold};
use sync_core::graft::{Grafts, Settled};
use sync_core::id::{DocId, Hash, SpaceId};
use sync_core::limits::{PHONE_ENTRIES_KEPT, PHONE_TAIL_CHANGES_MAX};

use super::{Engine, Result};
use crate::client::error::ClientError;
use crate::client::store::{Foldable, StoreError};

/// How far a log may go on before it is looked through again.
const STEP: u64 = 1_000;
/// Entries that are looked at in one go.
const LOOKED_AT_MAX: u64 = 20_000;

/// From when on a store is folded; tests have it sooner.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct FoldRule {
    /// Entries of a log that are kept as they are.
    pub(in crate::client) entries_kept: u64,
    /// Changes of a document behind its snapshot, older than those, that are worth folding.
    pub(in crate::client) changes_min: u64,
    /// How far a log may go on before it is looked through again.
    pub(in crate::client) step: u64,
}

impl Default for FoldRule {
    fn default() -> Self {
        Self { entries_kept: PHONE_ENTRIES_KEPT, changes_min: PHONE_TAIL_CHANGES_MAX, step: STEP }
    }
}

/// A document that is being folded.
pub(in crate::client) struct Folding {
    space: SpaceId,
    doc: DocId,
    foldable: Foldable,
    /// Of which life of the space.
    life: u64,
}

/// A snapshot that was made, and how what is in it stands where something was excluded.
pub(in crate::client) struct Made {
    folded: Folded,
    grafts: Option<Vec<u8>>,
}

impl Folding {
    /// Makes the snapshot and reads it back. Slow, and needs no lock.
    pub(in crate::client) fn work(&self) -> std::result::Result<Made, FoldError> {
        let Foldable { snapshot, changes, grafts, excluded, .. } = &self.foldable;
        if grafts.is_empty() && excluded.is_empty() {
            return Ok(Made { folded: fold(snapshot.as_deref(), changes)?, grafts: None });
        }
        let settled = Grafts::settle(grafts.clone(), excluded, snapshot.clone(), changes.clone());
        let Settled { grafts, snapshot, changes, .. } = settled.map_err(|_| FoldError::Snapshot)?;
        Ok(Made { folded: fold(snapshot.as_deref(), &changes)?, grafts: Some(grafts.encode()) })
    }
}

impl Engine {
    /// Up to which place a space could be folded and was not looked through yet.
    fn unfolded(&self, space: SpaceId) -> Result<Option<(u64, u64)>> {
        let state = self.space(space)?;
        // While something is missing, healing or read again from the beginning, places move.
        if self.is_read_only() || state.held.is_some() || state.label.is_some() || state.regaining {
            return Ok(None);
        }
        let through = state.row.cursor.seq.saturating_sub(self.folds.entries_kept);
        if through < self.folds.step {
            return Ok(None);
        }
        let looked = self.store.read().looked_through(space)?;
        Ok((through - looked.min(through) >= self.folds.step).then_some((looked, through)))
    }

    /// Whether there is anything to look through. What cannot be read now is looked at after the next exchange.
    pub(in crate::client) fn has_aged(&self, space: SpaceId) -> bool {
        self.unfolded(space).is_ok_and(|aged| aged.is_some())
    }

    /// Documents of which some changes have become old since this was asked last, a part at a time; `None` if there are none yet.
    pub(in crate::client) fn aged(&mut self, space: SpaceId) -> Result<Option<Vec<DocId>>> {
        let Some((looked, through)) = self.unfolded(space)? else { return Ok(None) };
        let (docs, reached) = self.store.read().changed_between(space, looked, through, LOOKED_AT_MAX)?;
        self.store.transaction(|writer| writer.set_looked_through(space, reached))?;
        Ok(Some(docs.into_iter().collect()))
    }

    /// Begins to fold a document, if that is worth it and nobody holds it at what it shows.
    pub(in crate::client) fn fold_begin(&mut self, space: SpaceId, doc: DocId) -> Result<Option<Folding>> {
        let state = self.space(space)?;
        let (through, life) = (state.row.cursor.seq.saturating_sub(self.folds.entries_kept), state.life);
        if state.held.is_some() || !self.may_fold(space, doc, through) {
            return Ok(None);
        }
        let foldable = self.store.read().foldable(space, doc, through, self.folds.changes_min)?;
        Ok(foldable.map(|foldable| Folding { space, doc, foldable, life }))
    }

    fn may_fold(&self, space: SpaceId, doc: DocId, through: u64) -> bool {
        let behind = self.spaces.get(&space).is_some_and(|state| state.behind.contains(&doc));
        self.documents.get(&(space, doc)).is_none_or(|open| {
            let shows = open.document.is_none() || !behind || open.through >= through;
            open.holds == 0 && open.merging.is_none() && shows
        })
    }

    /// Puts the snapshot in the place of what it was made of, unless something has come in between. Gives whether it did.
    pub(in crate::client) fn fold_end(&mut self, folding: &Folding, made: &Made) -> Result<bool> {
        let Made { folded, grafts } = made;
        let Folding { space, doc, ref foldable, life } = *folding;
        let state = self.space(space)?;
        let fits = state.life == life && state.held.is_none() && state.row.cursor.seq >= foldable.through;
        if !fits || !self.may_fold(space, doc, foldable.through) {
            return Ok(false);
        }
        let (device, of) = (self.device, Hash::of(&[&folded.bytes]));
        let put = self.store.transaction(|writer| {
            let now = writer.document(space, doc)?.filter(|document| !document.deleted);
            let same = writer.snapshot(space, doc)? == foldable.from && writer.coming(space, doc)?.is_none();
            let same = same && writer.exclusions(space, doc)? == foldable.excluded;
            let put = now.is_some() && same && writer.hole(space, doc)?.is_none();
            if put {
                writer.put_folded(space, doc, device, foldable, (of, &folded.bytes), grafts.as_deref())?;
            }
            Ok::<_, StoreError>(put)
        });
        let put = put.map_err(ClientError::from)?;
        if let Some(open) = self.documents.get_mut(&(space, doc)).filter(|_| put) {
            open.covered = open.covered.max(foldable.through);
        }
        Ok(put)
    }
}
