//! A page of the log: whether it continues what is stored, and what its entries do to the store.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::chunk::Chunk;
use sync_core::code::RejectCode;
use sync_core::epoch::epoch_hash;
use sync_core::feed::{Body, ChangeId, FeedHead, ItemKind};
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::log::{Cursor, Entry, Header, Verdict};
use sync_core::session::Trouble;
use sync_core::version::{FeedHeads, VersionVector};
use sync_core::wire::{Page, PageEntry, Snapshot};

use super::catch_up::{is_left_out, is_sound};
use super::{Engine, Result};
use crate::client::clock;
use crate::client::store::{Held, KeptEntry, NewItem, Released, StoreError, Writer};

/// How a page lies to what is stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It goes on from there; its first entries may be known.
    Behind {
        known: usize,
    },
    /// It holds nothing new: an answer that another one overtook.
    Stale,
    /// It begins later.
    Gap,
    Trouble(Trouble),
}

/// Whether something that a journal may stand on goes away with an entry.
pub(super) fn goes_away(entry: &PageEntry, device: DeviceId) -> bool {
    match entry.verdict {
        Verdict::Applied => matches!(entry.kind, ItemKind::Delete | ItemKind::Epoch),
        Verdict::Rejected(_) => entry.id.device == device || entry.kind == ItemKind::Exclude,
    }
}

/// Whether a document begins anew with an entry.
pub(super) fn begins_epoch(entry: &PageEntry) -> bool {
    entry.kind == ItemKind::Epoch && entry.verdict == Verdict::Applied
}

impl Engine {
    /// Checks a page against the chain before anything of it is stored.
    pub(super) fn fit(&self, space: SpaceId, page: &Page) -> Result<Fit> {
        let row = self.space(space)?.row;
        let mut cursor = row.cursor;
        let entries = &page.entries.0;
        // What the page says of itself is not believed: its chain must lead from our cursor to its end.
        let Some(begins) = page.next.seq.checked_sub(entries.len() as u64) else {
            return Ok(Fit::Trouble(Trouble::BrokenLog));
        };
        if begins > cursor.seq {
            return Ok(Fit::Gap);
        }
        if page.next.seq < cursor.seq {
            return Ok(Fit::Stale);
        }
        let known = (cursor.seq - begins) as usize;
        for entry in entries.iter().skip(known) {
            let Some(hash) = self.hash_of(space, entry)? else {
                // An entry of our own that this store does not hold: it was rolled back. But an answer to what was asked under
                // an earlier name leaves out what that one knew.
                let own = entry.id.device == self.device;
                return Ok(if own { Fit::Trouble(Trouble::RolledBack) } else { Fit::Gap });
            };
            cursor = cursor.next(&header(entry, hash));
        }
        let feed = self.feed_of(space)?;
        let undecided =
            |entry: &PageEntry| entry.kind != ItemKind::Exclude && entry.id.device == feed && entry.id.n > row.acked.n;
        Ok(match cursor == page.next || sync_core::mutation!("page-chain-unchecked") {
            // What another life of this device wrote in the place of what is unsent here.
            false if entries.iter().skip(known).any(undecided) => Fit::Trouble(Trouble::Forked),
            false => Fit::Trouble(Trouble::BrokenLog),
            true if known == entries.len() && known > 0 => Fit::Stale,
            true => Fit::Behind { known },
        })
    }

    fn hash_of(&self, space: SpaceId, entry: &PageEntry) -> Result<Option<Hash>> {
        let feed = self.feed_of(space)?;
        if entry.id.device != feed || entry.kind == ItemKind::Exclude {
            return Ok(entry.hash);
        }
        if let Some(own) = self.store.read().item(space, entry.id)? {
            return Ok(Some(own.hash));
        }
        // What was folded is known by what the server says of it.
        let folded = self.store.read().folded_own(space, feed)?;
        Ok(entry.hash.filter(|_| folded.is_some_and(|(place, _)| entry.id.n <= place.n)))
    }
}

fn header(entry: &PageEntry, hash: Hash) -> Header {
    Header { id: entry.id, kind: entry.kind, doc: entry.doc, hash, verdict: entry.verdict }
}

/// What the server has decided about an own item.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Decided {
    pub(in crate::client) id: ChangeId,
    pub(in crate::client) doc: DocId,
    pub(in crate::client) seq: u64,
    pub(in crate::client) verdict: Verdict,
}

/// What a transaction did, to be repeated in memory once it is on disk.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// How far feeds of others have come.
    pub(super) feeds: BTreeMap<DeviceId, FeedHead>,
    /// Documents of which a change that was in them is refused.
    pub(super) refused: BTreeSet<DocId>,
    /// Documents of which a change was excluded.
    pub(super) excluded: BTreeSet<DocId>,
    /// Own items about which the server has decided.
    pub(super) decided: Vec<Decided>,
    /// Whether one was, since the user may not write.
    pub(super) not_a_writer: bool,
    pub(super) deleted: BTreeSet<DocId>,
    /// Documents that have begun an epoch.
    pub(super) passed: Vec<DocId>,
    /// Documents that are in the list now and were not before.
    pub(super) created: BTreeSet<DocId>,
    /// When changes were taken that a snapshot stands in for.
    pub(super) times: BTreeMap<DocId, Vec<(Hash, u64)>>,
    /// Documents that others have changed.
    pub(super) touched: BTreeSet<DocId>,
    /// What the space shows while something in it is missing.
    pub(super) held: Option<Held>,
    /// How far others' feeds had come there, where that has just begun.
    pub(super) held_version: Option<VersionVector>,
    /// What is shown again, since nothing is, and what was before.
    pub(super) released: Option<Released>,
    /// What is written down of where the catch-up began.
    pub(super) base_on_disk: u64,
    /// Why the rest of the page was left.
    pub(super) trouble: Option<Trouble>,
}

type Done = std::result::Result<(), StoreError>;

impl Effects {
    /// Stores an entry, with when it was taken, and moves the cursor behind it; or notes the trouble with it, and leaves it.
    pub(super) fn take(
        &mut self,
        writer: &Writer<'_>,
        space: SpaceId,
        feeds: &FeedHeads,
        device: DeviceId,
        (mut entry, taken_s): (PageEntry, Option<u64>),
        cursor: &mut Cursor,
    ) -> Done {
        if entry.kind == ItemKind::Exclude {
            let Some(entry) = entry.resolve(|_| None) else { return Err(StoreError::Row { table: "exclusions" }) };
            let next = cursor.next(&entry.header);
            self.exclude(writer, space, device, next.seq, &entry.header)?;
            *cursor = next;
            return Ok(());
        }
        let left_out = is_left_out(&entry, device);
        let own = if entry.id.device == device { writer.item(space, entry.id)? } else { None };
        // The page was checked with what is known here.
        if let Some(item) = &own {
            entry.hash = Some(item.hash);
        }
        let Some(entry) = entry.resolve(|_| None) else {
            return Err(StoreError::Row { table: "items" });
        };
        let next = cursor.next(&entry.header);
        if entry.header.id.device == device {
            self.decide_own(writer, space, entry.header.id, next.seq, entry.header.verdict)?;
            self.restore_payload(writer, space, &entry)?;
            if let Some(taken_s) = taken_s {
                writer.set_taken(space, entry.header.id, taken_s)?;
            }
        } else {
            self.take_foreign(writer, space, feeds, (next.seq, taken_s), &entry)?;
        }
        if left_out && self.trouble.is_none() && writer.payload(space, entry.header.id)?.is_none() {
            writer.open_hole(space, entry.header.doc, next.seq)?;
        }
        if self.trouble.is_none() {
            self.take_effect(writer, space, next.seq, &entry)?;
        }
        if self.trouble.is_none() {
            *cursor = next;
        }
        Ok(())
    }

    /// Notes what the server decided about an item of this device.
    pub(super) fn decide_own(
        &mut self,
        writer: &Writer<'_>,
        space: SpaceId,
        id: ChangeId,
        seq: u64,
        verdict: Verdict,
    ) -> Done {
        let Some(item) = writer.item(space, id)? else { return Ok(()) };
        let (doc, known) = (item.doc, item.verdict);
        if known == Some(verdict) && item.seq == Some(seq) {
            return Ok(());
        }
        writer.decide(space, id, seq, verdict)?;
        self.decided.push(Decided { id, doc, seq, verdict });
        let Verdict::Rejected(code) = verdict else { return Ok(()) };
        // Only its place is another one: the server had lost it.
        if known == Some(verdict) || sync_core::mutation!("refusal-without-effect") {
            return Ok(());
        }
        self.not_a_writer |= code == RejectCode::NotAWriter;
        // It went out of its document when what it was made upon did.
        if writer.is_out(space, id)? {
            return Ok(());
        }
        let kind = writer.kind(space, id)?;
        // It is made anew when the epoch is here.
        if code == RejectCode::EpochPassed && kind == Some(ItemKind::Change) {
            return Ok(());
        }
        if kind == Some(ItemKind::Epoch) {
            // The app is told; what it would have begun with is of no use.
            writer.drop_payload(space, id)?;
        }
        if kind != Some(ItemKind::Change) {
            let (offers, since_ms) = (writer.offers(space, id)?, clock::wall_ms());
            writer.take_out(space, id)?;
            writer.set_quarantine(space, &KeptEntry { id, doc, code, operations: None, offers, since_ms })?;
        }
        self.refused.insert(doc);
        Ok(())
    }

    /// A snapshot that ends in the entry that was just taken. One that fills no hole is not needed.
    pub(super) fn take_snapshot(writer: &Writer<'_>, space: SpaceId, snapshot: &Snapshot) -> Done {
        if is_sound(snapshot) && writer.hole(space, snapshot.doc)?.is_some_and(|seq| seq <= snapshot.seq) {
            writer.add_coming(space, snapshot)?;
        }
        Ok(())
    }

    /// Takes what an item carried, where only the rest of it is here: this device wrote it before it removed the space, or it
    /// counted as refused before the server lost it.
    fn restore_payload(&mut self, writer: &Writer<'_>, space: SpaceId, entry: &Entry) -> Done {
        let header = &entry.header;
        let payload = match &entry.body {
            Some(Body::Create { collection }) => collection.as_bytes(),
            Some(Body::Change { bytes }) if Chunk::read(bytes).is_ok_and(|chunk| chunk.hash() == header.hash) => bytes,
            Some(Body::Epoch { bytes }) if epoch_hash(header.doc, bytes) == header.hash => bytes,
            _ => return Ok(()),
        };
        if writer.restore(space, header.id, header.hash, payload)? && header.kind == ItemKind::Change {
            self.touched.insert(header.doc);
        }
        Ok(())
    }

    fn take_foreign(
        &mut self,
        writer: &Writer<'_>,
        space: SpaceId,
        feeds: &FeedHeads,
        (seq, taken_s): (u64, Option<u64>),
        entry: &Entry,
    ) -> Done {
        let header = &entry.header;
        let device = header.id.device;
        let known = self.feeds.get(&device).copied().or_else(|| feeds.get(device));
        let at = known.unwrap_or_else(|| FeedHead::start(space, device));
        if header.id.n <= at.n {
            if let Some(taken_s) = taken_s {
                writer.set_taken(space, header.id, taken_s)?;
            }
            return match writer.own_chain(space, device, header.id.n)? {
                // This device wrote it under an earlier name.
                Some(_) => self.decide_own(writer, space, header.id, seq, header.verdict),
                None => self.take_known(writer, space, seq, entry),
            };
        }
        let next = at.next(header.kind, header.doc, header.hash);
        if next.n != header.id.n {
            self.trouble = Some(Trouble::BrokenLog);
            return Ok(());
        }
        self.feeds.insert(device, next);
        writer.set_feed(space, device, next)?;
        let payload = match &entry.body {
            Some(Body::Create { collection }) => Some(collection.as_bytes()),
            Some(Body::Change { bytes }) => {
                self.touched.insert(header.doc);
                Some(bytes.as_slice())
            }
            Some(Body::Epoch { bytes }) => Some(bytes.as_slice()),
            // What a snapshot stands in for leaves nothing here but its place in the feed.
            None if header.kind == ItemKind::Change && header.verdict == Verdict::Applied => {
                if let Some(taken_s) = taken_s {
                    self.times.entry(header.doc).or_default().push((header.hash, taken_s));
                }
                return Ok(());
            }
            _ => None,
        };
        if sync_core::mutation!("entry-not-stored") && header.id.n % 5 == 4 {
            return Ok(());
        }
        let decided = Some((seq, header.verdict));
        let (id, kind, doc, hash) = (header.id, header.kind, header.doc, header.hash);
        writer.add_item(space, &NewItem { id, kind, doc, hash, payload, decided, taken_s, own: None })
    }

    /// An entry that came by another way before, or stood elsewhere in a log that the server lost.
    fn take_known(&mut self, writer: &Writer<'_>, space: SpaceId, seq: u64, entry: &Entry) -> Done {
        let header = &entry.header;
        let Some(item) = writer.item(space, header.id)? else { return Ok(()) };
        if item.hash != header.hash {
            self.trouble = Some(Trouble::BrokenLog);
            return Ok(());
        }
        writer.decide(space, header.id, seq, header.verdict)?;
        if item.verdict == Some(header.verdict) {
            return Ok(());
        }
        match header.verdict {
            // What was refused was not kept.
            Verdict::Applied => self.restore_payload(writer, space, entry),
            Verdict::Rejected(_) => {
                self.refused.insert(header.doc);
                Ok(())
            }
        }
    }

    fn take_effect(&mut self, writer: &Writer<'_>, space: SpaceId, seq: u64, entry: &Entry) -> Done {
        let header = &entry.header;
        if header.verdict != Verdict::Applied {
            // A deletion of ours that was refused did not happen.
            if header.kind == ItemKind::Delete && header.verdict != Verdict::Rejected(RejectCode::DocumentDeleted) {
                writer.set_deleted(space, header.doc, false)?;
                self.created.insert(header.doc);
            }
            return Ok(());
        }
        match (header.kind, &entry.body) {
            (ItemKind::Create, Some(Body::Create { collection })) => {
                match (writer.add_document(space, header.doc, collection)?, self.held) {
                    (true, Some(_)) => writer.hide_document(space, header.doc)?,
                    (true, None) => {
                        self.created.insert(header.doc);
                    }
                    (false, _) => {}
                }
                Ok(())
            }
            (ItemKind::Epoch, _) => self.take_epoch(writer, space, seq, entry),
            (ItemKind::Delete, _) => {
                self.deleted.insert(header.doc);
                writer.forget_snapshots(space, header.doc)?;
                writer.set_deleted(space, header.doc, true)
            }
            _ => Ok(()),
        }
    }
}
