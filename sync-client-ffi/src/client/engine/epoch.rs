//! Epochs on a phone: starting one, taking one in, and saying anew in it what this device wrote upon the one before.
//!
//! An epoch is taken in like a snapshot that stands in for everything before it: what it begins with is shown when the space
//! is whole, and in the same transaction what the server has not taken of this device's changes is made anew upon it.

use sync_core::document;
use sync_core::epoch::{self, Passage, State, epoch_hash};
use sync_core::feed::{Body, ItemKind};
use sync_core::id::{DocId, Hash, SpaceId};
use sync_core::log::Entry;
use sync_core::quarantine::{self, Outgoing};
use sync_core::session::Trouble;
use sync_core::wire::{Bytes, Snapshot};

use super::load::new_actor;
use super::page::Effects;
use super::remake::{Feed, Plan, apart, unreadable};
use super::{Engine, Result, append};
use crate::client::clock;
use crate::client::error::ClientError;
use crate::client::store::{StoreError, StoredChange, Writer};

type Done<T> = std::result::Result<T, StoreError>;

impl Effects {
    /// What an epoch begins with waits, as a snapshot, until the space is whole.
    pub(super) fn take_epoch(&mut self, writer: &Writer<'_>, space: SpaceId, seq: u64, entry: &Entry) -> Done<()> {
        let header = &entry.header;
        let payload = match &entry.body {
            Some(Body::Epoch { bytes }) => Some(bytes.clone()),
            _ => writer.payload(space, header.id)?,
        };
        let Some(epoch) = payload.as_deref().and_then(epoch::Epoch::decode) else {
            self.trouble = Some(Trouble::BrokenLog);
            return Ok(());
        };
        if epoch.number <= writer.epoch(space, header.doc)? {
            return Ok(());
        }
        // The server has tried it.
        let Ok(folded) = document::fold(None, &epoch.changes) else {
            self.trouble = Some(Trouble::BrokenLog);
            return Ok(());
        };
        let (hash, size) = (Hash::of(&[&folded.bytes]), folded.bytes.len() as u64);
        let (heads, bytes) = (folded.heads, Some(Bytes(folded.bytes)));
        writer.open_hole(space, header.doc, seq)?;
        writer.add_coming(space, &Snapshot { doc: header.doc, seq, hash, size, heads, bytes, grafts: None })?;
        writer.set_epoch_coming(space, header.doc, epoch.number)
    }
}

impl Feed<'_> {
    /// Documents begin their epochs, which are what they show by now: what this device wrote upon those before, and the
    /// server has not taken, is made anew. `before`: the changes that they were.
    pub(super) fn pass(&mut self, writer: &Writer<'_>, before: Vec<(DocId, Vec<StoredChange>)>) -> Done<()> {
        let mut plans = Vec::new();
        for (doc, stored) in before {
            let epochs = writer.epochs(self.space, doc, writer.epoch(self.space, doc)?)?;
            let Some(last) = epochs.last() else { continue };
            writer.set_actor(self.space, doc, None)?;
            plans.extend(self.carried(doc, &epochs, stored)?);
            writer.epoch_begun(self.space, doc, last.number)?;
        }
        // In the order in which it was written, across documents too.
        plans.sort_by_key(|plan| plan.id);
        for plan in plans {
            self.carry_out(writer, plan)?;
        }
        Ok(())
    }

    fn carried(&self, doc: DocId, epochs: &[epoch::Epoch], stored: Vec<StoredChange>) -> Done<Vec<Plan>> {
        let Some(last) = epochs.last() else { return Ok(Vec::new()) };
        let (ids, changes) = apart(stored, None);
        if changes.iter().all(|change| matches!(change.state, quarantine::State::Settled | quarantine::State::Out)) {
            return Ok(Vec::new());
        }
        // Without it, what follows something deleted has no place; it goes into quarantine.
        let before = State::of(changes.iter().map(|change| change.bytes.as_slice()));
        let passage = Passage::through(epochs, before).ok_or(StoreError::Row { table: "items" })?;
        let author = new_actor(self.device);
        let outgoing = quarantine::carry(&changes, &last.changes, passage, author, &mut clock::random);
        let plan =
            |Outgoing { index, code, made, left }: Outgoing| Plan { id: ids[index], doc, author, code, made, left };
        Ok(outgoing.map_err(unreadable)?.into_iter().map(plan).collect())
    }
}

impl Engine {
    /// Writes an epoch into the feed. It takes effect when the server has taken it.
    pub(in crate::client) fn start_epoch(&mut self, space: SpaceId, doc: DocId) -> Result<u64> {
        self.may_edit(space)?;
        self.loaded(space, doc)?;
        self.seal(space, None)?;
        let (state, read) = (self.space(space)?, self.store.read());
        let (cursor, mut row) = (state.row.cursor, state.row);
        let held = state.held.is_some() || state.label.is_some();
        let settled = read.settled_seq(space, doc)?.is_some_and(|seq| seq <= cursor.seq);
        if held || !settled || row.acked.n < row.own.n {
            return Err(ClientError::Unsettled(doc));
        }
        let number = read.epoch(space, doc)? + 1;
        let stored = read.all_changes(space, doc)?;
        let changes = stored.into_iter().filter(|stored| stored.change.state == quarantine::State::Settled);
        let changes: Vec<Vec<u8>> = changes.map(|stored| stored.change.bytes).collect();
        let (device, author) = (self.feed_of(space)?, new_actor(self.device));
        let epoch = epoch::start(number, cursor.seq, &changes, author, &mut clock::random)?;
        let payload = epoch.encode();
        self.store.transaction(|writer| {
            let hash = epoch_hash(doc, &payload);
            append(writer, space, device, &mut row, ItemKind::Epoch, doc, hash, Some(&payload), 0)
        })?;
        self.moved_on(space, row);
        Ok(number)
    }

    /// How many epochs a document has begun.
    pub(in crate::client) fn epoch(&self, space: SpaceId, doc: DocId) -> Result<u64> {
        Ok(self.store.read().epoch(space, doc)?)
    }
}
