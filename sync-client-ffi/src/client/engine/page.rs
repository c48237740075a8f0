//! A page of the log: whether it continues what is stored, and what its entries do to the store.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::chunk::Chunk;
use sync_core::code::RejectCode;
use sync_core::feed::{Body, ChangeId, FeedHead, ItemKind};
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::log::{Cursor, Entry, Header, Verdict};
use sync_core::session::Trouble;
use sync_core::version::FeedHeads;
use sync_core::wire::{Page, PageEntry};

use super::{Engine, Result};
use crate::client::clock;
use crate::client::store::{KeptEntry, NewItem, StoreError, Writer};

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
        Verdict::Applied => entry.kind == ItemKind::Delete,
        Verdict::Rejected(_) => entry.id.device == device,
    }
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
        let undecided = |entry: &PageEntry| entry.id.device == feed && entry.id.n > row.acked.n;
        Ok(match cursor == page.next {
            // What another life of this device wrote in the place of what is unsent here.
            false if entries.iter().skip(known).any(undecided) => Fit::Trouble(Trouble::Forked),
            false => Fit::Trouble(Trouble::BrokenLog),
            true if known == entries.len() && known > 0 => Fit::Stale,
            true => Fit::Behind { known },
        })
    }

    fn hash_of(&self, space: SpaceId, entry: &PageEntry) -> Result<Option<Hash>> {
        if entry.id.device != self.feed_of(space)? {
            return Ok(entry.hash);
        }
        let own = self.store.read().item(space, entry.id)?.map(|(_, hash, _)| hash);
        Ok(own)
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
    /// Documents of which a change of this device was refused.
    pub(super) refused: BTreeSet<DocId>,
    /// Own items about which the server has decided.
    pub(super) decided: Vec<Decided>,
    /// Whether one was, since the user may not write.
    pub(super) not_a_writer: bool,
    pub(super) deleted: BTreeSet<DocId>,
    /// Documents that are in the list now and were not before.
    pub(super) created: BTreeSet<DocId>,
    /// Documents that others have changed.
    pub(super) touched: BTreeSet<DocId>,
    /// Why the rest of the page was left.
    pub(super) trouble: Option<Trouble>,
}

type Done = std::result::Result<(), StoreError>;

impl Effects {
    /// Stores an entry and moves the cursor behind it; or notes the trouble with it, and leaves it.
    pub(super) fn take(
        &mut self,
        writer: &Writer<'_>,
        space: SpaceId,
        feeds: &FeedHeads,
        device: DeviceId,
        mut entry: PageEntry,
        cursor: &mut Cursor,
    ) -> Done {
        let own = if entry.id.device == device { writer.item(space, entry.id)? } else { None };
        // The page was checked with what is known here.
        if let Some((_, hash, _)) = &own {
            entry.hash = Some(*hash);
        }
        let Some(entry) = entry.resolve(|_| None) else {
            return Err(StoreError::Row { table: "items" });
        };
        let next = cursor.next(&entry.header);
        if entry.header.id.device == device {
            self.decide_own(writer, space, entry.header.id, next.seq, entry.header.verdict)?;
            self.restore_own(writer, space, &entry)?;
        } else {
            self.take_foreign(writer, space, feeds, next.seq, &entry)?;
        }
        if self.trouble.is_none() {
            self.take_effect(writer, space, &entry)?;
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
        let Some((doc, _, known)) = writer.item(space, id)? else { return Ok(()) };
        if known == Some(verdict) {
            return Ok(());
        }
        writer.decide(space, id, seq, verdict)?;
        self.decided.push(Decided { id, doc, seq, verdict });
        let Verdict::Rejected(code) = verdict else { return Ok(()) };
        self.not_a_writer |= code == RejectCode::NotAWriter;
        // It went out of its document when what it was made upon did.
        if writer.is_out(space, id)? {
            return Ok(());
        }
        if writer.kind(space, id)? != Some(ItemKind::Change) {
            let (offers, since_ms) = (writer.offers(space, id)?, clock::wall_ms());
            writer.take_out(space, id)?;
            writer.set_quarantine(space, &KeptEntry { id, doc, code, operations: None, offers, since_ms })?;
        }
        self.refused.insert(doc);
        Ok(())
    }

    /// Takes back what this device wrote before it removed the space.
    fn restore_own(&mut self, writer: &Writer<'_>, space: SpaceId, entry: &Entry) -> Done {
        let header = &entry.header;
        let payload = match &entry.body {
            Some(Body::Create { collection }) => collection.as_bytes(),
            Some(Body::Change { bytes }) if Chunk::read(bytes).is_ok_and(|chunk| chunk.hash() == header.hash) => bytes,
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
        seq: u64,
        entry: &Entry,
    ) -> Done {
        let header = &entry.header;
        let device = header.id.device;
        let known = self.feeds.get(&device).copied().or_else(|| feeds.get(device));
        let at = known.unwrap_or_else(|| FeedHead::start(space, device));
        if header.id.n <= at.n {
            // It came by another way before, or this device wrote it under an earlier name.
            return self.decide_own(writer, space, header.id, seq, header.verdict);
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
            _ => None,
        };
        let decided = Some((seq, header.verdict));
        let (id, kind, doc, hash) = (header.id, header.kind, header.doc, header.hash);
        writer.add_item(space, &NewItem { id, kind, doc, hash, payload, decided, own: None })
    }

    fn take_effect(&mut self, writer: &Writer<'_>, space: SpaceId, entry: &Entry) -> Done {
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
                if writer.add_document(space, header.doc, collection)? {
                    self.created.insert(header.doc);
                }
                Ok(())
            }
            (ItemKind::Delete, _) => {
                self.deleted.insert(header.doc);
                writer.set_deleted(space, header.doc, true)
            }
            _ => Ok(()),
        }
    }
}
