//! Loading a document from the store, and bringing back what a kill left in its journal.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::chunk::Chunk;
use sync_core::document::{Document, changes_beyond, decode_ops};
use sync_core::id::{Actor, DocId, Hash, SpaceId};

use super::{Engine, OpenDocument, Result};
use crate::client::clock;
use crate::client::error::ClientError;
use crate::client::store::{StoreError, StoredJournal};

impl Engine {
    /// Makes sure that a document is open.
    pub(in crate::client) fn loaded(&mut self, space: SpaceId, doc: DocId) -> Result<()> {
        self.space(space)?;
        self.uses += 1;
        let uses = self.uses;
        if let Some(open) = self.documents.get_mut(&(space, doc)) {
            open.used = uses;
            if open.document.as_ref().is_some_and(|document| !document.is_lost()) {
                return Ok(());
            }
        }
        self.load(space, doc)?;
        if let Some(open) = self.documents.get_mut(&(space, doc)) {
            open.used = uses;
        }
        self.close_some((space, doc));
        Ok(())
    }

    fn load(&mut self, space: SpaceId, doc: DocId) -> Result<()> {
        if !self.is_read_only() {
            return self.load_now(space, doc);
        }
        // Its writer may seal a journal between two statements.
        self.store.begin_reading()?;
        let loaded = self.load_now(space, doc);
        self.store.end_reading();
        loaded
    }

    fn load_now(&mut self, space: SpaceId, doc: DocId) -> Result<()> {
        let stored = self.store.read().document(space, doc)?.ok_or(ClientError::NoDocument(doc))?;
        if stored.deleted {
            return Err(ClientError::Deleted(doc));
        }
        let mut changes = self.store.read().changes(space, doc, self.feed_of(space)?, 0)?;
        let snapshot = self.snapshot(space, doc)?;
        let journal = self.store.read().journal(space, doc)?;
        let mut deps: BTreeMap<Hash, Vec<Hash>> = BTreeMap::new();
        let mut bytes = snapshot.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let covered = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
        // What a journal was made upon may be less than a snapshot holds that came later.
        let snapshot = match (journal.is_some(), snapshot) {
            (true, Some((_, bytes))) => {
                changes.follow(changes_beyond(&bytes, &[]).ok_or(ClientError::Corrupt)?);
                None
            }
            (_, snapshot) => snapshot.map(|(_, bytes)| bytes),
        };
        let whole = |(hash, payload): (&Hash, &Vec<u8>)| Chunk::read(payload).is_ok_and(|chunk| chunk.hash() == *hash);
        if !changes.hashes.iter().zip(&changes.payloads).all(whole) {
            return Err(ClientError::Corrupt);
        }
        let (snapshot, grafts) = self.settled(space, doc, snapshot, &mut changes)?;
        let journal = journal.map(|mut journal| {
            journal.heads = journal.heads.iter().map(|head| grafts.now(*head)).collect();
            journal.heads.sort_unstable();
            journal
        });
        if journal.is_some() {
            for (hash, payload) in changes.hashes.iter().zip(&changes.payloads) {
                let chunk = Chunk::read(payload).map_err(|_| ClientError::Corrupt)?;
                deps.insert(*hash, chunk.deps().collect());
            }
        }
        bytes += changes.payloads.iter().map(Vec::len).sum::<usize>();
        let (unseen, through) = (self.space(space)?.behind.contains(&doc), self.shown_seq(space)?);
        let collection = self.store.read().collection(space, doc)?;
        let schema = collection.and_then(|collection| self.schemas.get(&collection)).cloned();
        let open = self.documents.entry((space, doc)).or_default();
        open.unseen |= unseen;
        open.schema = schema;
        open.edits = stored.edits;
        open.arrival = changes.last_arrival;
        open.covered = covered;
        open.through = through;
        open.bytes = bytes;
        open.merging = None;
        open.grafts = grafts;
        match journal {
            None => {
                let actor = stored.actor.unwrap_or_else(|| new_actor(self.device));
                let loaded = Document::load(actor, snapshot.as_deref(), &changes.payloads);
                let (document, _) = loaded.map_err(|_| ClientError::Corrupt)?;
                open.document = Some(document);
                Ok(())
            }
            Some(journal) => {
                let (base, rest) = split(&journal.heads, &deps, &changes.hashes, changes.payloads);
                self.replay(space, doc, &journal, &base)?;
                if rest.is_empty() {
                    return Ok(());
                }
                match self.catch_up(space, doc, &rest) {
                    // The document shows what its journal was made upon; a later merge takes in the rest.
                    Err(ClientError::DiskFull) => {
                        let open = self.documents.entry((space, doc)).or_default();
                        open.edits = stored.edits;
                        (open.arrival, open.through) = (0, 0);
                        self.set_behind(space, doc, true);
                        self.replay(space, doc, &journal, &base)
                    }
                    caught_up => caught_up,
                }
            }
        }
    }

    /// What a document begins with, and up to where it covers the log.
    pub(in crate::client) fn snapshot(&self, space: SpaceId, doc: DocId) -> Result<Option<(u64, Vec<u8>)>> {
        let Some((seq, hash)) = self.store.read().snapshot(space, doc)? else { return Ok(None) };
        Ok(Some((seq, self.store.read().snapshot_bytes(space, doc, hash)?)))
    }

    /// Makes the edits of a journal again, on exactly the state that they were made upon. They stay open: reading a
    /// document never needs to write, not even on a full disk.
    fn replay(&mut self, space: SpaceId, doc: DocId, journal: &StoredJournal, base: &[Vec<u8>]) -> Result<()> {
        let (mut document, _) = Document::load(journal.actor, None, base).map_err(|_| ClientError::Corrupt)?;
        if document.heads() != journal.heads {
            return Err(ClientError::Corrupt);
        }
        let mut sealed = Vec::new();
        let mut mark = journal.mark;
        let mut random = || mark.take().map_or_else(clock::random, u64::from);
        for edit in &journal.edits {
            let ops = decode_ops(edit).map_err(|_| ClientError::from(StoreError::Row { table: "journal_edits" }))?;
            sealed.extend(document.edit(ops, &mut random)?.sealed);
        }
        let overflown = !sealed.is_empty();
        if overflown {
            sealed.extend(document.seal(&mut random));
        }
        let open: &mut OpenDocument = self.documents.entry((space, doc)).or_default();
        open.document = Some(document);
        open.edits += journal.edits.len() as u64;
        // Only where this version of the library seals earlier than the one that wrote the journal.
        if overflown && !self.is_read_only() { self.overflow(space, doc, sealed) } else { Ok(()) }
    }

    /// Takes in what arrived behind a journal, once that is sealed.
    fn catch_up(&mut self, space: SpaceId, doc: DocId, rest: &[Vec<u8>]) -> Result<()> {
        let read_only = self.is_read_only();
        if !read_only {
            self.seal(space, Some(doc))?;
        }
        let open = self.documents.get_mut(&(space, doc)).and_then(|open| open.document.as_mut());
        let document = open.ok_or(ClientError::NoDocument(doc))?;
        if read_only {
            // For this reader alone: the writer's own change will be another one with the same content.
            document.seal(&mut clock::random);
        }
        document.apply(rest).map_err(|_| ClientError::Corrupt)?;
        Ok(())
    }
}

pub(in crate::client) fn new_actor(device: sync_core::id::DeviceId) -> Actor {
    let mut random = [0; 4];
    clock::fill(&mut random);
    Actor::new(device, random)
}

/// The changes that `heads` were made upon, themselves included, and the others; both in the order given.
pub(super) fn split(
    heads: &[Hash],
    deps: &BTreeMap<Hash, Vec<Hash>>,
    hashes: &[Hash],
    payloads: Vec<Vec<u8>>,
) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut base: BTreeSet<Hash> = BTreeSet::new();
    let mut ahead: Vec<Hash> = heads.to_vec();
    while let Some(hash) = ahead.pop() {
        if base.insert(hash) {
            ahead.extend(deps.get(&hash).into_iter().flatten());
        }
    }
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for (hash, payload) in hashes.iter().zip(payloads) {
        if base.contains(hash) { inside.push(payload) } else { outside.push(payload) }
    }
    (inside, outside)
}
