//! Documents: their rows, and the changes that make them up.

use rusqlite::{OptionalExtension, params};
use sync_core::feed::ItemKind;
use sync_core::id::{Actor, DocId, Hash, SpaceId};

use super::spaces::hash;
use super::{Result, StoreError, Writer};

const ROW: StoreError = StoreError::Row { table: "documents" };

/// A row of `documents`.
#[derive(Debug, Clone)]
pub(in crate::client) struct StoredDocument {
    pub(in crate::client) deleted: bool,
    pub(in crate::client) actor: Option<Actor>,
    /// Edits that this device has sealed here.
    pub(in crate::client) edits: u64,
}

impl Writer<'_> {
    pub(in crate::client) fn document(&self, space: SpaceId, doc: DocId) -> Result<Option<StoredDocument>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT deleted, actor, edits FROM documents WHERE space_id = ?1 AND doc_id = ?2")?;
        let key = params![space.as_bytes(), doc.as_bytes()];
        let row: Option<(bool, Option<Vec<u8>>, u64)> =
            statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((deleted, actor, edits)) = row else { return Ok(None) };
        let actor = actor.map(|bytes| Actor::from_slice(&bytes).map_err(|_| ROW)).transpose()?;
        Ok(Some(StoredDocument { deleted, actor, edits }))
    }

    /// Documents that are not deleted, ascending by id: in the order in which they were made, by their makers' clocks.
    pub(in crate::client) fn documents(&self, space: SpaceId) -> Result<Vec<(DocId, String)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT doc_id, collection FROM documents WHERE space_id = ?1 AND deleted = 0 ORDER BY doc_id",
        )?;
        let mut rows = statement.query([space.as_bytes()])?;
        let mut documents = Vec::new();
        while let Some(row) = rows.next()? {
            let doc: Vec<u8> = row.get(0)?;
            documents.push((DocId::from_slice(&doc).map_err(|_| ROW)?, row.get(1)?));
        }
        Ok(documents)
    }

    pub(in crate::client) fn add_document(&self, space: SpaceId, doc: DocId, collection: &str) -> Result<()> {
        self.run(
            "INSERT INTO documents (space_id, doc_id, collection) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![space.as_bytes(), doc.as_bytes(), collection],
        )?;
        Ok(())
    }

    pub(in crate::client) fn set_deleted(&self, space: SpaceId, doc: DocId, deleted: bool) -> Result<()> {
        self.run(
            "UPDATE documents SET deleted = ?3 WHERE space_id = ?1 AND doc_id = ?2",
            params![space.as_bytes(), doc.as_bytes(), deleted],
        )?;
        Ok(())
    }

    pub(in crate::client) fn set_actor(&self, space: SpaceId, doc: DocId, actor: Option<&Actor>) -> Result<()> {
        self.run(
            "UPDATE documents SET actor = ?3 WHERE space_id = ?1 AND doc_id = ?2",
            params![space.as_bytes(), doc.as_bytes(), actor.map(|actor| actor.as_bytes().to_vec())],
        )?;
        Ok(())
    }

    pub(in crate::client) fn set_edits(&self, space: SpaceId, doc: DocId, edits: u64) -> Result<()> {
        self.run(
            "UPDATE documents SET edits = ?3 WHERE space_id = ?1 AND doc_id = ?2",
            params![space.as_bytes(), doc.as_bytes(), edits],
        )?;
        Ok(())
    }

    /// The changes of a document that were not refused, behind `after` in the order of arrival: their hashes, their
    /// bytes, and the arrival of the last.
    pub(in crate::client) fn changes(&self, space: SpaceId, doc: DocId, after: u64) -> Result<Changes> {
        let mut statement = self.connection.prepare_cached(
            "SELECT arrival, hash, payload FROM items WHERE space_id = ?1 AND doc_id = ?2 AND arrival > ?3 AND kind = ?4 \
             AND payload IS NOT NULL AND (verdict IS NULL OR verdict = 0) ORDER BY arrival",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.as_bytes(), after, ItemKind::Change.number()])?;
        let mut changes = Changes { hashes: Vec::new(), payloads: Vec::new(), last_arrival: after };
        while let Some(row) = rows.next()? {
            changes.last_arrival = row.get(0)?;
            let declared: Vec<u8> = row.get(1)?;
            changes.hashes.push(hash(&declared, "items")?);
            changes.payloads.push(row.get(2)?);
        }
        Ok(changes)
    }
}

/// What [`Writer::changes`] found.
pub(in crate::client) struct Changes {
    pub(in crate::client) hashes: Vec<Hash>,
    pub(in crate::client) payloads: Vec<Vec<u8>>,
    pub(in crate::client) last_arrival: u64,
}
