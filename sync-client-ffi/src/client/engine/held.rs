//! Documents that are held at a chosen state: opened at what this device has written upon, and moved on by exactly so much
//! of the others' feeds as is asked for.

use std::collections::BTreeMap;

use sync_core::chunk::Chunk;
use sync_core::document::Document;
use sync_core::id::{DocId, SpaceId};
use sync_core::version::VersionVector;

use super::load::{new_actor, split};
use super::{Engine, Merge, Result};
use crate::client::error::ClientError;

impl Engine {
    /// Loads a document as this device last wrote upon it: its own changes and their causes. What has arrived beside them
    /// stays in the store until it is merged.
    pub(in crate::client) fn load_held(&mut self, space: SpaceId, doc: DocId) -> Result<()> {
        // Also seals what a kill left in its journal, so that this device's changes are all that it wrote.
        self.loaded(space, doc)?;
        self.seal(space, Some(doc))?;
        let stored = self.store.read().document(space, doc)?.ok_or(ClientError::NoDocument(doc))?;
        let mut changes = self.store.read().changes(space, doc, self.feed_of(space)?, 0)?;
        let snapshot = self.snapshot(space, doc)?;
        let covered = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
        // It says nothing of who wrote what when: what is in it is there from the beginning.
        let snapshot = snapshot.map(|(_, bytes)| bytes);
        let (snapshot, grafts) = self.settled(space, doc, snapshot, &mut changes)?;
        let mut deps = BTreeMap::new();
        let mut own = Vec::new();
        for (hash, payload) in changes.hashes.iter().zip(&changes.payloads) {
            let chunk = Chunk::read(payload).map_err(|_| ClientError::Corrupt)?;
            let guarded = sync_core::guard::inspect(payload).map_err(|_| ClientError::Corrupt)?;
            // What a schema brings is there from the beginning, whoever brought it.
            if self.is_own(guarded.actor.device()) || guarded.actor.is_structure() {
                own.push(*hash);
            }
            deps.insert(*hash, chunk.deps().collect());
        }
        let (base, _) = split(&own, &deps, &changes.hashes, changes.payloads);
        let actor = stored.actor.unwrap_or_else(|| new_actor(self.device));
        let bytes = snapshot.as_ref().map_or(0, Vec::len) + base.iter().map(Vec::len).sum::<usize>();
        let (document, _) = Document::load(actor, snapshot.as_deref(), &base).map_err(|_| ClientError::Corrupt)?;
        let open = self.documents.entry((space, doc)).or_default();
        open.document = Some(document);
        open.grafts = grafts;
        open.edits = stored.edits;
        open.bytes = bytes;
        open.covered = covered;
        // When the last hold goes, everything is looked at again; what the document has already is passed over then.
        (open.arrival, open.through) = (0, 0);
        open.merged = VersionVector::default();
        self.set_behind(space, doc, true);
        self.turns += 1;
        Ok(())
    }

    /// Starts to take in, of what has arrived for a held document, what `version` covers.
    pub(in crate::client) fn merge_through_begin(
        &mut self,
        space: SpaceId,
        doc: DocId,
        version: &VersionVector,
    ) -> Result<Option<Merge>> {
        let Some(open) = self.documents.get(&(space, doc)) else { return Ok(None) };
        if open.document.is_none() || open.merging.is_some() {
            return Ok(None);
        }
        let arrival = open.arrival;
        let mut found = Vec::new();
        for range in open.merged.missing(version) {
            if range.device != self.feed_of(space)? {
                found.extend(self.store.read().changes_of(space, doc, range.device, range.after, range.through)?);
            }
        }
        // In the order of arrival each change follows its causes, across feeds too.
        found.sort_by_key(|(arrival, _)| *arrival);
        let payloads: Vec<Vec<u8>> = found.into_iter().map(|(_, payload)| payload).collect();
        self.seal(space, Some(doc))?;
        let Some(open) = self.documents.get_mut(&(space, doc)) else { return Ok(None) };
        open.merged.merge(version);
        if payloads.is_empty() {
            return Ok(None);
        }
        self.merge_of(space, doc, payloads, arrival, 0)
    }
}
