//! Catching up by snapshots: where payloads are left out, what came since is not shown before everything is here that stands
//! in for them; then all of it is, at once, at one place of the log.

use sync_core::feed::ItemKind;
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::limits::SNAPSHOT_BYTES_MAX;
use sync_core::log::Verdict;
use sync_core::session::StoreOutcome;
use sync_core::wire::{PageEntry, Snapshot, SnapshotPart, SnapshotWish};

use super::intake::Stored;
use super::remake::Feed;
use super::{Engine, Result};
use crate::client::error::ClientError;
use crate::client::store::{Held, Released, StoreError, Writer};

/// How far the end of the log may move on before that is written down: it costs a page of the disk each time, and what is
/// lost with it is that some snapshots are taken that need not be.
const BASE_STEP: u64 = 1_000;

/// Whether an entry comes without what it carries.
pub(super) fn is_left_out(entry: &PageEntry, device: DeviceId) -> bool {
    let applied = entry.kind == ItemKind::Change && entry.verdict == Verdict::Applied;
    // Its author has it, unless it asked for it.
    applied && entry.body.is_none() && (entry.id.device != device || entry.hash.is_some())
}

impl Engine {
    /// Up to which place of the log a space is shown.
    pub(super) fn shown_seq(&self, space: SpaceId) -> Result<u64> {
        let state = self.space(space)?;
        Ok(state.held.map_or(state.row.cursor.seq, |held| held.seq))
    }

    /// What is missing of a large snapshot.
    pub(super) fn wish(&self, space: SpaceId) -> Result<Option<SnapshotWish>> {
        if self.space(space)?.held.is_none() {
            return Ok(None);
        }
        let incomplete = self.store.read().incomplete(space)?;
        Ok(incomplete.map(|of| SnapshotWish { doc: of.doc, hash: of.hash, offset: of.have, bytes_max: None }))
    }

    /// Stores a part of a snapshot.
    pub(super) fn take_snapshot_part(
        &mut self,
        space: SpaceId,
        part: SnapshotPart,
        stored: &mut Stored,
    ) -> Result<StoreOutcome> {
        let state = self.space(space)?;
        let (device, of_actors, through) = (self.feed_of(space)?, self.device, state.row.cursor.seq);
        let (mut row, mut passing) = (state.row, Vec::new());
        // Without, it came too late to be needed.
        let Some(held) = state.held else { return Ok(StoreOutcome::Done { more: true, at: through }) };
        let SnapshotPart { snapshot, offset, bytes } = part;
        let doc = snapshot.doc;
        let mut fine = true;
        let released = self.store.transaction(|writer| {
            let Some(coming) = writer.coming(space, doc)? else { return Ok(None) };
            let end = offset.saturating_add(bytes.0.len() as u64);
            if snapshot.hash != coming.hash {
                // It was replaced on the server meanwhile, or is no more.
                let fits = is_sound(&snapshot) && writer.hole(space, doc)?.is_some_and(|seq| snapshot.seq >= seq);
                match (fits, offset) {
                    (true, 0) if end <= snapshot.size => {
                        writer.add_coming(space, &Snapshot { bytes: None, ..snapshot.clone() })?;
                    }
                    _ => {
                        writer.drop_coming(space, doc)?;
                        return Ok(None);
                    }
                }
            } else if offset != coming.have || end > coming.size {
                // Of another request for the same: the next one asks for what is missing.
                fine = !bytes.0.is_empty();
                return Ok(None);
            }
            fine = !bytes.0.is_empty();
            writer.add_part(space, doc, snapshot.hash, offset, &bytes.0)?;
            if end == snapshot.size {
                let whole = writer.snapshot_bytes(space, doc, snapshot.hash)?;
                if Hash::of(&[&whole]) != snapshot.hash {
                    writer.add_coming(space, &Snapshot { bytes: None, ..snapshot })?;
                    fine = false;
                    return Ok(None);
                }
            }
            let mut released = release(writer, space, device, through, held)?;
            if let Some(released) = &mut released {
                let passed = std::mem::take(&mut released.passed);
                passing.extend(passed.iter().map(|(doc, _)| *doc));
                let mut feed = Feed { space, label: device, device: of_actors, row: &mut row };
                feed.pass(writer, passed)?;
                writer.set_space(space, &row)?;
            }
            Ok(released)
        });
        let released: Option<Released> = released.map_err(|error: StoreError| ClientError::from(error))?;
        if let Some(released) = released {
            self.moved_on(space, row);
            self.released(space, &released.touched);
            self.begun_anew(space, &passing);
            stored.refused.extend(passing);
            stored.created.extend(released.shown);
        }
        if !fine {
            return Ok(StoreOutcome::Failed);
        }
        self.parts += 1;
        Ok(StoreOutcome::Done { more: true, at: through })
    }

    /// Documents have begun an epoch: of what was in memory nothing holds.
    pub(super) fn begun_anew(&mut self, space: SpaceId, docs: &[DocId]) {
        for doc in docs {
            if let Some(stacks) = self.documents.get_mut(&(space, *doc)).and_then(|open| open.undo.as_mut()) {
                stacks.forget();
            }
            self.give_up(space, *doc);
        }
    }

    /// Shows in memory what the disk has released.
    pub(super) fn released(&mut self, space: SpaceId, touched: &[DocId]) {
        for doc in touched {
            if let Some(open) = self.documents.get_mut(&(space, *doc)) {
                // What arrived while the space was held is behind own changes that are in it; and where others' changes went,
                // their arrivals are given out again. What it has already is passed over.
                open.arrival = 0;
            }
        }
        if let Some(state) = self.spaces.get_mut(&space) {
            (state.held, state.held_version) = (None, None);
            state.behind.extend(touched);
        }
        self.turns += 1;
    }
}

/// A snapshot that a phone can keep.
pub(super) fn is_sound(snapshot: &Snapshot) -> bool {
    snapshot.size > 0 && snapshot.size <= SNAPSHOT_BYTES_MAX as u64
}

/// Releases what a space holds back, if nothing is missing up to that place.
pub(super) fn release(
    writer: &Writer<'_>,
    space: SpaceId,
    device: DeviceId,
    through: u64,
    held: Held,
) -> std::result::Result<Option<Released>, StoreError> {
    if writer.has_holes(space, through)? && !sync_core::mutation!("shown-with-holes") {
        return Ok(None);
    }
    let released = writer.release(space, device, held)?;
    let (base, _) = writer.catch_up(space)?;
    writer.set_catch_up(space, base, None)?;
    Ok(Some(released))
}

/// The log was read to its end and everything is shown: writes that down, unless it was lately.
pub(super) fn at_end(
    writer: &Writer<'_>,
    space: SpaceId,
    base_on_disk: u64,
    seq: u64,
) -> std::result::Result<u64, StoreError> {
    if seq > base_on_disk && (base_on_disk == 0 || seq - base_on_disk >= BASE_STEP) {
        writer.set_catch_up(space, seq, None)?;
        return Ok(seq);
    }
    Ok(base_on_disk)
}
