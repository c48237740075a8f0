//! A store that was rolled back or copied: its feed was, or may be, written elsewhere too. It goes on as another device: what it
//! has not sent is kept under a label, the log is read to its end, and then it is made anew beside what was read.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::feed::{ChangeId, FeedHead, ItemKind, create_hash, delete_hash};
use sync_core::id::{DeviceId, DocId, SpaceId};
use sync_core::log::Cursor;

use super::remake::{Feed, Plan};
use super::{Engine, Result, append};
use crate::client::identity::Identity;
use crate::client::store::{SpaceRow, StoreError};
use crate::client::{clock, marker};

/// In the store, as long as the device has no token of its own yet.
pub(in crate::client) const AWAITED: &str = "awaits_device";

pub(super) fn new_device() -> DeviceId {
    let mut random = [0; 16];
    clock::fill(&mut random);
    DeviceId::from_random(random)
}

impl Engine {
    /// Reads what this store was before.
    pub(super) fn read_identity(&mut self) -> Result<()> {
        self.former = self.store.read().former()?.into_iter().collect();
        self.awaits = self.store.read().meta(AWAITED)?.is_some_and(|value| !value.is_empty());
        Ok(())
    }

    /// Whose feed holds what is written in a space: this device's, or a label's.
    pub(in crate::client) fn feed_of(&self, space: SpaceId) -> Result<DeviceId> {
        Ok(self.space(space)?.label.unwrap_or(self.device))
    }

    /// Whether a device is this one, or one that it was.
    pub(in crate::client) fn is_own(&self, device: DeviceId) -> bool {
        device == self.device || self.former.contains(&device)
    }

    /// The device that this store wants to be, while it has no token for it.
    pub(in crate::client) fn wanted_device(&self) -> Option<DeviceId> {
        self.awaits.then_some(self.device)
    }

    /// From now on this store is another device.
    pub(in crate::client) fn begin_anew(&mut self) -> Result<()> {
        self.check_writable()?;
        let spaces: Vec<SpaceId> = self.spaces.keys().copied().collect();
        for space in &spaces {
            self.seal(*space, None)?;
        }
        let (old, mut new) = (self.device, new_device());
        if sync_core::mutation!("device-kept-when-rolled-back") {
            new = old;
        }
        self.store.transaction(|writer| {
            for (space, state) in &self.spaces {
                // What is under a label stays there: nothing was sent since.
                if state.label.is_some() {
                    continue;
                }
                let (mut row, label) = (state.row, new_device());
                writer.label(*space, old, row.acked.n, label)?;
                if state.regaining {
                    writer.forget_feed(*space, old, row.acked.n)?;
                    (row.cursor, row.proven) = (Cursor::start(*space), None);
                } else if row.acked.n > 0 {
                    writer.set_feed(*space, old, row.acked)?;
                }
                writer.set_space(*space, &row)?;
                writer.begin_healing(*space, label)?;
            }
            writer.forget_removed()?;
            writer.forget_actors(None)?;
            writer.add_former(old)?;
            writer.set_meta("device", new.as_bytes())?;
            writer.set_meta(AWAITED, b"1")?;
            marker::forget(writer)
        })?;
        tracing::warn!(%old, %new, "this store goes on as another device");
        self.device = new;
        self.read_identity()?;
        let lives: BTreeMap<SpaceId, u64> = spaces.iter().map(|space| (*space, self.next_life())).collect();
        let behind: BTreeMap<SpaceId, BTreeSet<DocId>> =
            self.spaces.iter().map(|(space, state)| (*space, state.behind.clone())).collect();
        self.read_spaces()?;
        for (space, state) in &mut self.spaces {
            state.life = lives.get(space).copied().unwrap_or(0);
            state.behind = behind.get(space).cloned().unwrap_or_default();
        }
        self.give_up_all(None);
        Ok(())
    }

    fn next_life(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn give_up_all(&mut self, of: Option<SpaceId>) {
        let docs: Vec<(SpaceId, DocId)> =
            self.documents.keys().filter(|(space, _)| of.is_none_or(|of| of == *space)).copied().collect();
        for (space, doc) in docs {
            if let Some(stacks) = self.documents.get_mut(&(space, doc)).and_then(|open| open.undo.as_mut()) {
                stacks.forget();
            }
            self.give_up(space, doc);
        }
    }

    /// Whether a token is for this device; where one is awaited, it settles which device this is.
    pub(in crate::client) fn takes_token(&mut self, token: &str) -> Result<bool> {
        // A token that cannot be read is the app's own affair.
        let Some(claimed) = Identity::of_token(token) else { return Ok(true) };
        if self.former.contains(&claimed.device) || (self.awaits && claimed.user != self.user) {
            return Ok(false);
        }
        if self.awaits {
            let device = claimed.device;
            self.store.transaction(|writer| {
                writer.set_meta("device", device.as_bytes())?;
                writer.set_meta(AWAITED, b"")
            })?;
            (self.device, self.awaits) = (device, false);
        }
        Ok(true)
    }

    /// Whether the device that a space's feed is to begin as has written there before: another copy of this store was faster,
    /// or it is no new one.
    pub(super) fn is_taken(&self, space: SpaceId) -> Result<bool> {
        let state = self.space(space)?;
        Ok(state.label.is_some() && !self.awaits && state.feeds.get(self.device).is_some())
    }

    /// At the end of the log: makes anew, as this device's own, what is under a label. Gives the documents.
    pub(super) fn heal(&mut self, space: SpaceId) -> Result<Vec<DocId>> {
        let state = self.space(space)?;
        let Some(label) = state.label.filter(|_| !self.awaits) else { return Ok(Vec::new()) };
        self.seal(space, None)?;
        let state = self.space(space)?;
        let device = self.device;
        let start = FeedHead::start(space, device);
        let mut row = SpaceRow { own: start, acked: start, ..state.row };
        let docs = self.store.transaction(|writer| {
            writer.forget_actors(Some(space))?;
            let mut unsent = writer.labelled(space, label)?;
            if sync_core::mutation!("unsent-lost-when-rolled-back") {
                unsent.clear();
            }
            let docs: BTreeSet<DocId> = unsent.iter().map(|item| item.doc).collect();
            let mut feed = Feed { space, label: device, device, row: &mut row };
            let mut plans = Vec::new();
            for doc in &docs {
                plans.extend(feed.plan(writer, *doc, Some(label))?);
            }
            let mut plans: BTreeMap<u64, Plan> = plans.into_iter().map(|plan| (plan.id.n, plan)).collect();
            // What was deleted here without others' having written to it is not kept beside.
            let deleted: BTreeSet<DocId> =
                unsent.iter().filter(|item| item.kind == ItemKind::Delete).map(|item| item.doc).collect();
            for item in unsent {
                let id = ChangeId { device: label, n: item.n };
                writer.take_out(space, id)?;
                let (kind, doc) = (item.kind, item.doc);
                match (kind, item.payload) {
                    (ItemKind::Change, _) => {
                        if let Some(plan) = plans.remove(&item.n).filter(|_| !deleted.contains(&doc)) {
                            feed.carry_out(writer, plan)?;
                        }
                    }
                    _ if writer.is_done_elsewhere(space, doc, kind, label)? => {}
                    (ItemKind::Create, Some(name)) => {
                        let collection = String::from_utf8(name).map_err(|_| StoreError::Row { table: "items" })?;
                        let hash = create_hash(doc, &collection);
                        let payload = Some(collection.as_bytes());
                        append(writer, space, device, feed.row, kind, doc, hash, payload, 0)?;
                    }
                    // An epoch of a document that is rebuilt is another one.
                    (ItemKind::Create, None) | (ItemKind::Epoch | ItemKind::Exclude, _) => {}
                    (ItemKind::Delete, _) => {
                        append(writer, space, device, feed.row, kind, doc, delete_hash(doc), None, 0)?;
                    }
                }
            }
            writer.end_healing(space)?;
            writer.set_space(space, &row)?;
            Ok::<_, StoreError>(docs)
        })?;
        if let Some(state) = self.spaces.get_mut(&space) {
            (state.row, state.label) = (row, None);
            (state.sent, state.sent_n) = (row.acked, 0);
        }
        self.give_up_all(Some(space));
        tracing::info!(documents = docs.len(), "what was unsent is written anew");
        Ok(docs.into_iter().collect())
    }
}
