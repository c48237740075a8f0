//! Documents that are made as their schema says, and older ones that are brought to it.

use std::sync::Arc;

use sync_core::document::{Document, Patch, Sealed};
use sync_core::feed::{ItemKind, create_hash, is_collection};
use sync_core::id::{DocId, Hash, SpaceId};
use sync_core::limits::COLLECTION_BYTES_MAX;

use super::{Engine, Result, append};
use crate::client::clock;
use crate::client::error::ClientError;
use crate::client::schema::Declared;
use crate::client::store::StoreError;

/// A document on its way to its schema's newest version: a copy that has it, and what makes it so.
pub(in crate::client) struct Upgrade {
    declared: Arc<Declared>,
    document: Document,
    /// What it was copied at.
    heads: Vec<Hash>,
    /// The changes of the feed that bring it there.
    written: Vec<Sealed>,
    patches: Vec<Patch>,
}

/// The first and the last of the edits that migrations came to, and what observers must do.
type Upgraded = (Option<(u64, u64)>, Vec<Patch>);

impl Upgrade {
    /// Adds the structures that are missing, and does what the app makes of the content. Needs no lock.
    pub(in crate::client) fn work(&mut self) -> Result<()> {
        let declared = self.declared.clone();
        for structure in declared.schema.structures() {
            if self.document.structure(structure.hash).is_some() {
                continue;
            }
            let applied = self.document.apply(&[&structure.bytes]).map_err(|_| ClientError::Corrupt)?;
            if !applied.left_out.is_empty() {
                return Err(ClientError::Corrupt);
            }
            self.patches.extend(applied.patches);
            let (hash, bytes) = (structure.hash, structure.bytes.clone());
            self.written.push(Sealed { hash, bytes, edits: 0, operations: 0 });
            let ops = declared.migrated(structure.mark.version, &self.document)?;
            if ops.is_empty() {
                continue;
            }
            let edited = self.document.edit(ops, &mut clock::random)?;
            self.patches.extend(edited.patches);
            self.written.extend(edited.sealed);
            self.written.extend(self.document.seal(&mut clock::random));
        }
        Ok(())
    }
}

impl Engine {
    /// Makes a document with what its collection's schema says.
    pub(super) fn bring_into_being(&mut self, space: SpaceId, doc: DocId, collection: &str) -> Result<()> {
        self.may_edit(space)?;
        if !is_collection(collection) {
            return Err(ClientError::BadCollection(COLLECTION_BYTES_MAX));
        }
        self.seal(space, None)?;
        let (device, mut row) = (self.feed_of(space)?, self.space(space)?.row);
        let declared = self.schemas.get(collection).cloned();
        self.store.transaction(|writer| {
            if !writer.add_document(space, doc, collection)? {
                // It came while the space is held, and is shown from now on as far as this device made it.
                writer.set_deleted(space, doc, false)?;
            }
            let (hash, payload) = (create_hash(doc, collection), Some(collection.as_bytes()));
            append(writer, space, device, &mut row, ItemKind::Create, doc, hash, payload, 0)?;
            for structure in declared.iter().flat_map(|declared| declared.schema.structures()) {
                let payload = Some(structure.bytes.as_slice());
                append(writer, space, device, &mut row, ItemKind::Change, doc, structure.hash, payload, 0)?;
            }
            Ok::<_, StoreError>(())
        })?;
        self.moved_on(space, row);
        Ok(())
    }

    /// Makes a document that has a name, unless it is here. Gives whether it was not.
    pub(in crate::client) fn create_named(&mut self, space: SpaceId, collection: &str, doc: DocId) -> Result<bool> {
        self.space(space)?;
        match self.store.read().document(space, doc)? {
            Some(stored) if stored.deleted => Err(ClientError::Deleted(doc)),
            Some(_) => Ok(false),
            None => {
                self.bring_into_being(space, doc, collection)?;
                Ok(true)
            }
        }
    }

    /// Whether the app is too old to edit a document.
    pub(super) fn check_schema(&self, space: SpaceId, doc: DocId) -> Result<()> {
        let Some(open) = self.documents.get(&(space, doc)) else { return Ok(()) };
        let Some(document) = &open.document else { return Ok(()) };
        let declared = open.schema.as_ref().map_or(0, |declared| declared.schema.version());
        let (version, writers_from) = (document.schema_version(), document.writers_from());
        if writers_from <= declared {
            return Ok(());
        }
        Err(ClientError::NewerSchema { doc, version, writers_from })
    }

    /// Starts to bring a document to its schema's newest version; `None` if it is there.
    pub(in crate::client) fn upgrade_begin(&mut self, space: SpaceId, doc: DocId) -> Result<Option<Upgrade>> {
        self.loaded(space, doc)?;
        let open = self.documents.get(&(space, doc)).ok_or(ClientError::NoDocument(doc))?;
        let document = open.document.as_ref().ok_or(ClientError::NoDocument(doc))?;
        let declared = open.schema.clone();
        let Some(declared) = declared.filter(|declared| !declared.schema.missing(document).is_empty()) else {
            return Ok(None);
        };
        self.may_edit(space)?;
        self.check_schema(space, doc)?;
        self.seal(space, Some(doc))?;
        let open = self.documents.get(&(space, doc)).and_then(|open| open.document.as_ref());
        let document = open.ok_or(ClientError::NoDocument(doc))?.copy().map_err(|_| ClientError::Corrupt)?;
        let heads = document.heads();
        Ok(Some(Upgrade { declared, document, heads, written: Vec::new(), patches: Vec::new() }))
    }

    /// Writes an upgrade down, and shows it; `None` if the document is not what it was made upon any more.
    pub(in crate::client) fn upgrade_commit(
        &mut self,
        space: SpaceId,
        doc: DocId,
        upgrade: Upgrade,
    ) -> Result<Option<Upgraded>> {
        self.may_edit(space)?;
        self.loaded(space, doc)?;
        self.seal(space, None)?;
        let Upgrade { document, heads, written, patches, .. } = upgrade;
        let open = self.documents.get(&(space, doc)).ok_or(ClientError::NoDocument(doc))?;
        if open.document.as_ref().is_none_or(|shown| shown.heads() != heads || shown.actor() != document.actor()) {
            return Ok(None);
        }
        let before = open.edits;
        let (device, mut row, mut edits) = (self.feed_of(space)?, self.space(space)?.row, before);
        self.store.transaction(|writer| {
            for change in &written {
                edits += change.edits;
                let (payload, last_edit) = (Some(change.bytes.as_slice()), if change.edits > 0 { edits } else { 0 });
                append(writer, space, device, &mut row, ItemKind::Change, doc, change.hash, payload, last_edit)?;
            }
            if edits > before {
                writer.set_edits(space, doc, edits)?;
                writer.set_actor(space, doc, Some(&document.actor()))?;
            }
            Ok::<_, StoreError>(())
        })?;
        self.moved_on(space, row);
        let open = self.documents.entry((space, doc)).or_default();
        open.document = Some(document);
        open.edits = edits;
        open.bytes += written.iter().map(|change| change.bytes.len()).sum::<usize>();
        if let Some(merging) = &mut open.merging {
            merging.sealed.extend(written.into_iter().map(|change| change.bytes));
        }
        self.turns += 1;
        Ok(Some(((edits > before).then_some((before + 1, edits)), patches)))
    }
}
