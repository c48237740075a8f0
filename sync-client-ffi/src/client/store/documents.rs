//! Documents: their rows, and the changes that make them up.

use rusqlite::{OptionalExtension, params};
use sync_core::feed::ItemKind;
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};

use super::snapshots::HIDDEN;
use super::spaces::hash;
use super::{Result, StoreError, Writer};

const ROW: StoreError = StoreError::Row { table: "documents" };

const PAGE: &str = "SELECT doc_id, collection FROM documents WHERE space_id = ?1 AND doc_id > ?2 AND deleted = 0 \
                    ORDER BY doc_id LIMIT ?3";
const PAGE_OF_COLLECTION: &str = "SELECT doc_id, collection FROM documents WHERE space_id = ?1 AND doc_id > ?2 \
                                  AND deleted = 0 AND collection = ?4 ORDER BY doc_id LIMIT ?3";

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
        let row: Option<(u8, Option<Vec<u8>>, u64)> =
            statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((deleted, actor, edits)) = row.filter(|(deleted, ..)| *deleted != HIDDEN) else { return Ok(None) };
        let deleted = deleted != 0;
        let actor = actor.map(|bytes| Actor::from_slice(&bytes).map_err(|_| ROW)).transpose()?;
        Ok(Some(StoredDocument { deleted, actor, edits }))
    }

    /// Documents that are not deleted, behind `after`, ascending by id: in the order in which they were made, by their
    /// makers' clocks.
    pub(in crate::client) fn documents(
        &self,
        space: SpaceId,
        collection: Option<&str>,
        after: Option<DocId>,
        count_max: usize,
    ) -> Result<Vec<(DocId, String)>> {
        let mut statement = self.connection.prepare_cached(match collection {
            None => PAGE,
            Some(_) => PAGE_OF_COLLECTION,
        })?;
        let after = after.map_or(Vec::new(), |doc| doc.as_bytes().to_vec());
        let limit = i64::try_from(count_max).unwrap_or(i64::MAX);
        let mut rows = match collection {
            None => statement.query(params![space.as_bytes(), after, limit])?,
            Some(name) => statement.query(params![space.as_bytes(), after, limit, name])?,
        };
        let mut documents = Vec::new();
        while let Some(row) = rows.next()? {
            let doc: Vec<u8> = row.get(0)?;
            documents.push((DocId::from_slice(&doc).map_err(|_| ROW)?, row.get(1)?));
        }
        Ok(documents)
    }

    /// How many documents are not deleted.
    pub(in crate::client) fn count_documents(&self, space: SpaceId) -> Result<u64> {
        let mut statement =
            self.connection.prepare_cached("SELECT COUNT(*) FROM documents WHERE space_id = ?1 AND deleted = 0")?;
        Ok(statement.query_row([space.as_bytes()], |row| row.get(0))?)
    }

    /// In which collection a document is, or was before it was deleted.
    pub(in crate::client) fn collection(&self, space: SpaceId, doc: DocId) -> Result<Option<String>> {
        let mut statement =
            self.connection.prepare_cached("SELECT collection FROM documents WHERE space_id = ?1 AND doc_id = ?2")?;
        Ok(statement.query_row(params![space.as_bytes(), doc.as_bytes()], |row| row.get(0)).optional()?)
    }

    /// Leaves a document out of lists until the space is whole.
    pub(in crate::client) fn hide_document(&self, space: SpaceId, doc: DocId) -> Result<()> {
        self.run(
            "UPDATE documents SET deleted = ?3 WHERE space_id = ?1 AND doc_id = ?2 AND deleted = 0",
            params![space.as_bytes(), doc.as_bytes(), HIDDEN],
        )?;
        Ok(())
    }

    /// `false` if it is there already.
    pub(in crate::client) fn add_document(&self, space: SpaceId, doc: DocId, collection: &str) -> Result<bool> {
        let added = self.run(
            "INSERT INTO documents (space_id, doc_id, collection) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![space.as_bytes(), doc.as_bytes(), collection],
        )?;
        Ok(added > 0)
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

    /// The changes of a document that were not refused and are not in its snapshot, behind `after` in the order of arrival:
    /// their hashes, their bytes, and the arrival of the last. What was refused since a new epoch has begun is among them until
    /// that is here. Where the space is held, those of others that came since are
    /// not among them.
    pub(in crate::client) fn changes(
        &self,
        space: SpaceId,
        doc: DocId,
        device: DeviceId,
        after: u64,
    ) -> Result<Changes> {
        let (covered, shown) = self.bounds(space, doc)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT arrival, hash, payload FROM items WHERE space_id = ?1 AND doc_id = ?2 AND arrival > ?3 AND kind = ?4 \
             AND payload IS NOT NULL AND out = 0 AND (verdict IS NULL OR verdict IN (0, 26)) AND (seq IS NULL OR seq > ?5) \
             AND (arrival <= ?6 OR device_id = ?7) ORDER BY arrival",
        )?;
        let mut rows = statement.query(params![
            space.as_bytes(),
            doc.as_bytes(),
            after,
            ItemKind::Change.number(),
            covered,
            shown,
            device.as_bytes(),
        ])?;
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

impl Changes {
    /// Puts changes in front of them.
    pub(in crate::client) fn follow(&mut self, first: Vec<(Hash, Vec<u8>)>) {
        let (mut hashes, mut payloads): (Vec<Hash>, Vec<Vec<u8>>) = first.into_iter().unzip();
        hashes.append(&mut self.hashes);
        payloads.append(&mut self.payloads);
        (self.hashes, self.payloads) = (hashes, payloads);
    }
}

/// What [`Writer::changes`] found.
pub(in crate::client) struct Changes {
    pub(in crate::client) hashes: Vec<Hash>,
    pub(in crate::client) payloads: Vec<Vec<u8>>,
    pub(in crate::client) last_arrival: u64,
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    /// A page of a collection must not read past documents of others, nor sort.
    #[test]
    fn a_page_is_read_from_an_index() {
        let store = Connection::open_in_memory().unwrap();
        for migration in super::super::open::MIGRATIONS {
            store.execute_batch(migration).unwrap();
        }
        for (sql, index) in [(super::PAGE, "PRIMARY KEY"), (super::PAGE_OF_COLLECTION, "documents_by_collection")] {
            let mut plan = store.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let count = plan.parameter_count();
            let parameters = rusqlite::params_from_iter(vec![rusqlite::types::Null; count]);
            let plan: Vec<String> =
                plan.query_map(parameters, |row| row.get(3)).unwrap().collect::<Result<_, _>>().unwrap();
            assert_eq!(plan.len(), 1, "{plan:?}");
            assert!(plan[0].starts_with("SEARCH") && plan[0].contains(index), "{plan:?}");
        }
    }
}
