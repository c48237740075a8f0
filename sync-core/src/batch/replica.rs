//! A replica of one space: feeds, their order of arrival, and the documents that come of them.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::parked::Parked;
use super::plan::{Arrival, Budget, plan};
use super::{Batch, BatchError};
use crate::check::check_change;
use crate::code::RejectCode;
use crate::document::{Document, EditError, Op, Patch, Random, Sealed};
use crate::feed::{Body, ChangeId, FeedHead, Item, Run, is_collection};
use crate::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use crate::limits::COLLECTION_BYTES_MAX;
use crate::structure::{Schema, Structure};
use crate::version::{FeedHeads, VersionVector};
use crate::wire::{Runs, SCHEMA};

/// A replica of one space in memory, owned by one device.
///
/// Whoever keeps it on disk stores its batches for an empty replica, `replica.batches(&FeedHeads::default(), …)`, and
/// gives them to [`receive`](Self::receive) of a new one.
#[derive(Debug)]
pub struct Replica {
    pub(super) space: SpaceId,
    device: DeviceId,
    actor: Actor,
    pub(super) heads: FeedHeads,
    feeds: BTreeMap<DeviceId, Vec<Kept>>,
    arrivals: Vec<ChangeId>,
    pub(super) facts: Facts,
    pub(super) documents: BTreeMap<DocId, Document>,
    pub(super) parked: Parked,
}

#[derive(Debug)]
struct Kept {
    item: Item,
    /// The chain's value behind it.
    chain: Hash,
}

/// What a replica's own device could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// Nobody has created it, as far as this replica knows.
    #[error("there is no such document")]
    UnknownDocument,
    /// It was deleted, for good.
    #[error("the document is deleted")]
    Deleted,
    /// It exists already.
    #[error("the document exists already")]
    Exists,
    /// Empty, or too long.
    #[error("a collection's name has 1 to {COLLECTION_BYTES_MAX} bytes, none of them zero")]
    Collection,
    /// The edit is not possible; nothing of it was done.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// No replica would take the change that the edit makes; nothing of it was done.
    #[error("the change would be refused: {0}")]
    Refused(RejectCode),
}

impl Replica {
    /// An empty replica. The 4 random bytes make the author of the device's changes: a device that lost its replica,
    /// or finds that it went back in time, takes other ones.
    pub fn new(space: SpaceId, device: DeviceId, actor_random: [u8; 4]) -> Self {
        Self {
            space,
            device,
            actor: Actor::new(device, actor_random),
            heads: FeedHeads::default(),
            feeds: BTreeMap::new(),
            arrivals: Vec::new(),
            facts: Facts::default(),
            documents: BTreeMap::new(),
            parked: Parked::default(),
        }
    }

    /// How far it has come in each feed: what another replica needs to know to send what is missing.
    pub fn heads(&self) -> &FeedHeads {
        &self.heads
    }

    /// The same without chains.
    pub fn vector(&self) -> VersionVector {
        self.heads.vector()
    }

    /// A document; `None` if it is unknown or deleted.
    pub fn document(&self, doc: DocId) -> Option<&Document> {
        self.documents.get(&doc)
    }

    /// The documents that are there, and their collections, ascending.
    pub fn documents(&self) -> impl Iterator<Item = (DocId, &str)> {
        let live = self.facts.documents().filter(|(_, facts)| !facts.deleted);
        live.map(|(doc, facts)| (doc, facts.collection.as_str()))
    }

    /// Whether the document was here and is deleted.
    pub fn is_deleted(&self, doc: DocId) -> bool {
        self.facts.document(doc).is_some_and(|facts| facts.deleted)
    }

    /// All items in the order in which they arrived.
    pub fn items(&self) -> impl Iterator<Item = (ChangeId, &Item)> {
        self.arrivals.iter().filter_map(|&id| Some((id, &self.kept(id)?.item)))
    }

    /// Items that wait for what they were made upon. The version vector does not count them.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Creates a document.
    pub fn create(&mut self, doc: DocId, collection: &str) -> Result<(), ReplicaError> {
        if !is_collection(collection) {
            return Err(ReplicaError::Collection);
        }
        match self.facts.document(doc) {
            Some(facts) if facts.deleted => return Err(ReplicaError::Deleted),
            Some(_) => return Err(ReplicaError::Exists),
            None => {}
        }
        self.facts.create(doc, collection);
        self.documents.insert(doc, Document::new(self.actor));
        self.append(Item::create(doc, collection.to_owned()));
        Ok(())
    }

    /// Brings a document to a schema's newest version, as far as structures do. Gives what observers must do.
    pub fn upgrade(&mut self, doc: DocId, schema: &Schema) -> Result<Vec<Patch>, ReplicaError> {
        self.live(doc)?;
        let document = self.documents.get_mut(&doc).ok_or(ReplicaError::UnknownDocument)?;
        let missing: Vec<Structure> = schema.missing(document).into_iter().cloned().collect();
        let mut patches = Vec::new();
        for Structure { hash, bytes, .. } in missing {
            let facts = check_change(self.device, hash, &bytes).map_err(ReplicaError::Refused)?;
            let document = self.documents.get_mut(&doc).ok_or(ReplicaError::UnknownDocument)?;
            let Ok(applied) = document.apply(&[&bytes]) else {
                self.rebuild(doc);
                return Err(ReplicaError::UnknownDocument);
            };
            patches.extend(applied.patches);
            self.facts.apply(doc, hash, &facts);
            self.append(Item::change(doc, hash, bytes));
        }
        Ok(patches)
    }

    /// Edits a document and seals the edit at once: one change, or several where it is too large for one. Who wants a
    /// change a word and not one a keystroke collects operations before.
    pub fn edit(&mut self, doc: DocId, ops: Vec<Op>, random: Random<'_>) -> Result<Vec<Patch>, ReplicaError> {
        self.live(doc)?;
        let document = self.documents.get_mut(&doc).ok_or(ReplicaError::UnknownDocument)?;
        let made = document.edit(ops, &mut *random).map_err(ReplicaError::from).and_then(|mut edited| {
            edited.sealed.extend(document.seal(random));
            let device = self.device;
            let check = |sealed: &Sealed| check_change(device, sealed.hash, &sealed.bytes);
            let facts = edited.sealed.iter().map(check).collect::<Result<Vec<_>, _>>();
            let facts = facts.map_err(ReplicaError::Refused)?;
            Ok((edited, facts))
        });
        let (edited, facts) = match made {
            Ok(made) => made,
            Err(error) => {
                // Of an edit of several changes a part may be in it.
                if matches!(error, ReplicaError::Refused(_)) || document.is_lost() {
                    self.rebuild(doc);
                }
                return Err(error);
            }
        };
        for (sealed, facts) in edited.sealed.into_iter().zip(facts) {
            self.facts.apply(doc, sealed.hash, &facts);
            self.append(Item::change(doc, sealed.hash, sealed.bytes));
        }
        Ok(edited.patches)
    }

    /// Deletes a document for good, on every replica, whatever others do to it meanwhile.
    pub fn delete(&mut self, doc: DocId) -> Result<(), ReplicaError> {
        self.live(doc)?;
        self.facts.delete(doc);
        self.documents.remove(&doc);
        self.append(Item::delete(doc));
        Ok(())
    }

    /// Devices whose feeds here contradict `theirs`. Nothing of such a feed can be exchanged; what else was made upon it
    /// stays parked.
    pub fn forks(&self, theirs: &FeedHeads) -> Vec<DeviceId> {
        let forked =
            theirs.iter().filter(|&(device, head)| self.chain(device, head.n).is_some_and(|chain| chain != head.chain));
        forked.map(|(device, _)| device).collect()
    }

    /// What a replica that stands at `theirs` lacks, in batches that it can take one after the other.
    pub fn batches(&self, theirs: &FeedHeads, budget: Budget) -> Batches<'_> {
        let mut have = theirs.vector();
        for device in self.forks(theirs) {
            have.advance(device, u64::MAX);
        }
        Batches { replica: self, have, budget, at: 0 }
    }

    /// The first of [`batches`](Self::batches); `None` if nothing is missing.
    pub fn next_batch(&self, theirs: &FeedHeads, budget: Budget) -> Option<Batch> {
        self.batches(theirs, budget).next()
    }

    fn live(&self, doc: DocId) -> Result<(), ReplicaError> {
        match self.facts.document(doc) {
            None => Err(ReplicaError::UnknownDocument),
            Some(facts) if facts.deleted => Err(ReplicaError::Deleted),
            Some(_) => Ok(()),
        }
    }

    fn append(&mut self, item: Item) {
        // Whatever claims to be a later part of this feed is none any more.
        self.parked.forget(self.device);
        let next = self.head(self.device).next(item.kind(), item.doc, item.hash);
        self.keep(self.device, next, item);
    }

    pub(super) fn keep(&mut self, device: DeviceId, at: FeedHead, item: Item) {
        self.feeds.entry(device).or_default().push(Kept { item, chain: at.chain });
        self.arrivals.push(ChangeId { device, n: at.n });
        self.heads.set(device, at);
    }

    pub(super) fn head(&self, device: DeviceId) -> FeedHead {
        self.heads.get(device).unwrap_or_else(|| FeedHead::start(self.space, device))
    }

    /// The chain of that feed after its n-th item; `None` if that is not here.
    pub(super) fn chain(&self, device: DeviceId, n: u64) -> Option<Hash> {
        if n == 0 {
            return Some(FeedHead::start(self.space, device).chain);
        }
        self.kept(ChangeId { device, n }).map(|kept| kept.chain)
    }

    fn kept(&self, id: ChangeId) -> Option<&Kept> {
        let at = usize::try_from(id.n.checked_sub(1)?).ok()?;
        self.feeds.get(&id.device)?.get(at)
    }

    pub(super) fn fresh_document(&self) -> Document {
        Document::new(self.actor)
    }

    /// The document from what is kept of it.
    pub(super) fn rebuild(&mut self, doc: DocId) {
        let of_document = self.items().filter_map(|(_, item)| match &item.body {
            Body::Change { bytes } if item.doc == doc && self.facts.is_applied(doc, item.hash) => Some(bytes),
            _ => None,
        });
        let changes: Vec<&Vec<u8>> = of_document.collect();
        if let Ok((document, _)) = Document::load(self.actor, None, &changes) {
            self.documents.insert(doc, document);
        }
    }
}

/// See [`Replica::batches`].
#[derive(Debug)]
pub struct Batches<'a> {
    replica: &'a Replica,
    have: VersionVector,
    budget: Budget,
    at: usize,
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let replica = self.replica;
        let kept = replica.arrivals[self.at..].iter().filter_map(|&id| Some((id, replica.kept(id)?)));
        let arrivals = kept.map(|(id, kept)| Arrival { id, payload_bytes: kept.item.payload_bytes() });
        let plan = plan(arrivals, &self.have, self.budget);
        self.at += plan.passed;
        let mut runs = Vec::with_capacity(plan.ranges.len());
        for range in plan.ranges {
            self.have.advance(range.device, range.through);
            let feed = replica.feeds.get(&range.device)?;
            let items = feed.get(range.after as usize..range.through as usize)?;
            let base = FeedHead { n: range.after, chain: replica.chain(range.device, range.after)? };
            runs.push(Run { device: range.device, base, items: items.iter().map(|kept| kept.item.clone()).collect() });
        }
        if runs.is_empty() { None } else { Some(Batch { schema: SCHEMA, space: replica.space, runs: Runs(runs) }) }
    }
}

/// Of what a run says about a feed, the part that is known here already.
pub(super) enum Known {
    /// So many items at its front.
    Items(usize),
    /// It begins behind the feed's end.
    Nothing,
}

impl Replica {
    /// Compares a run with the feed as far as it is here.
    pub(super) fn known(&self, run: &Run, links: &[Hash]) -> Result<Known, BatchError> {
        let Some(behind) = self.head(run.device).n.checked_sub(run.base.n) else { return Ok(Known::Nothing) };
        let count = usize::try_from(behind).map_or(links.len(), |behind| behind.min(links.len()));
        let reached = if count == 0 { run.base.chain } else { links[count - 1] };
        if self.chain(run.device, run.base.n + count as u64) == Some(reached) {
            Ok(Known::Items(count))
        } else {
            Err(BatchError::Forked { device: run.device })
        }
    }
}
