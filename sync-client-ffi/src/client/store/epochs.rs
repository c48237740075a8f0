//! Epochs of documents: which one is shown, which one is coming, and what they carry.

use rusqlite::{OptionalExtension, params};
use sync_core::code::RejectCode;
use sync_core::epoch::Epoch;
use sync_core::feed::ItemKind;
use sync_core::id::{DocId, SpaceId};

use super::{Result, StoreError, Writer};

const ROW: StoreError = StoreError::Row { table: "documents" };

impl Writer<'_> {
    /// How many epochs a document has begun, as it is shown.
    pub(in crate::client) fn epoch(&self, space: SpaceId, doc: DocId) -> Result<u64> {
        let mut statement =
            self.connection.prepare_cached("SELECT epoch FROM documents WHERE space_id = ?1 AND doc_id = ?2")?;
        let key = params![space.as_bytes(), doc.as_bytes()];
        Ok(statement.query_row(key, |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// A document will begin that epoch when its space is whole.
    pub(in crate::client) fn set_epoch_coming(&self, space: SpaceId, doc: DocId, number: u64) -> Result<()> {
        self.run(
            "UPDATE documents SET epoch_coming = ?3 WHERE space_id = ?1 AND doc_id = ?2",
            params![space.as_bytes(), doc.as_bytes(), number],
        )?;
        Ok(())
    }

    /// Documents that are about to begin an epoch.
    pub(in crate::client) fn coming_epochs(&self, space: SpaceId) -> Result<Vec<DocId>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT doc_id FROM documents WHERE space_id = ?1 AND epoch_coming > epoch ORDER BY doc_id",
        )?;
        let mut rows = statement.query([space.as_bytes()])?;
        let mut docs = Vec::new();
        while let Some(row) = rows.next()? {
            let doc: Vec<u8> = row.get(0)?;
            docs.push(DocId::from_slice(&doc).map_err(|_| ROW)?);
        }
        Ok(docs)
    }

    /// The epochs of a document behind that one, in their order.
    pub(in crate::client) fn epochs(&self, space: SpaceId, doc: DocId, after: u64) -> Result<Vec<Epoch>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT payload FROM items WHERE space_id = ?1 AND doc_id = ?2 AND kind = ?3 AND verdict = 0 \
             AND payload IS NOT NULL ORDER BY arrival",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.as_bytes(), ItemKind::Epoch.number()])?;
        let mut epochs = Vec::new();
        while let Some(row) = rows.next()? {
            let payload: Vec<u8> = row.get(0)?;
            if Epoch::number_of(&payload).is_some_and(|number| number > after) {
                epochs.push(Epoch::decode(&payload).ok_or(StoreError::Row { table: "items" })?);
            }
        }
        epochs.sort_by_key(|epoch| epoch.number);
        Ok(epochs)
    }

    /// A document has begun that epoch: what this device wrote before it is in it, or is said anew.
    pub(in crate::client) fn epoch_begun(&self, space: SpaceId, doc: DocId, number: u64) -> Result<()> {
        let key = params![space.as_bytes(), doc.as_bytes(), number];
        self.run("UPDATE documents SET epoch = ?3 WHERE space_id = ?1 AND doc_id = ?2", key)?;
        self.run(
            "UPDATE items SET payload = NULL WHERE space_id = ?1 AND doc_id = ?2 AND kind = 2 AND out = 0 AND verdict = 0 \
             AND seq < (SELECT seq FROM items WHERE space_id = ?1 AND doc_id = ?2 AND kind = 5 AND verdict = 0 \
             ORDER BY seq DESC LIMIT 1)",
            params![space.as_bytes(), doc.as_bytes()],
        )?;
        self.forget_times(space, doc)?;
        self.run(
            "DELETE FROM exclusions WHERE space_id = ?1 AND doc_id = ?2 AND (seq IS NULL OR \
             seq < (SELECT seq FROM items WHERE space_id = ?1 AND doc_id = ?2 AND kind = 5 AND verdict = 0 \
             ORDER BY seq DESC LIMIT 1))",
            params![space.as_bytes(), doc.as_bytes()],
        )?;
        Ok(())
    }

    /// The last place in the log of what is known of a document; `None` where something of it has none yet.
    pub(in crate::client) fn settled_seq(&self, space: SpaceId, doc: DocId) -> Result<Option<u64>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT COUNT(*) - COUNT(seq), COALESCE(MAX(seq), 0), \
             COALESCE(SUM(verdict = ?3 AND out = 0 AND chain IS NOT NULL), 0) FROM items WHERE space_id = ?1 AND doc_id = ?2",
        )?;
        let key = params![space.as_bytes(), doc.as_bytes(), RejectCode::EpochPassed.number()];
        let (without, seq, passed): (u64, u64, u64) =
            statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok((without == 0 && passed == 0).then_some(seq))
    }
}

const _: () = assert!(ItemKind::Change.number() == 2 && ItemKind::Epoch.number() == 5, "queries here say so");
