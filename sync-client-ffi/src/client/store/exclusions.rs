//! Changes that the log excludes.

use rusqlite::{OptionalExtension, params};
use sync_core::feed::ChangeId;
use sync_core::graft::{Grafts, Settled};
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::log::Header;

use super::spaces::hash;
use super::{Result, StoreError, Writer};

/// A stored document as it was sealed.
#[derive(Debug)]
pub(in crate::client) struct Sealed {
    /// What it begins with.
    pub(in crate::client) snapshot: Option<Vec<u8>>,
    /// The changes beside that.
    pub(in crate::client) changes: Vec<Vec<u8>>,
}

/// How it stands.
#[derive(Debug)]
pub(in crate::client) enum Standing {
    /// As it was sealed: nothing of it was excluded.
    AsSealed(Sealed),
    /// Otherwise.
    Settled(Settled),
}

impl Writer<'_> {
    /// A stored document as it stands.
    pub(in crate::client) fn settle(&self, space: SpaceId, doc: DocId, sealed: Sealed) -> Result<Standing> {
        let (excluded, base) = (self.exclusions(space, doc)?, self.grafts(space, doc)?);
        if excluded.is_empty() && base.is_empty() {
            return Ok(Standing::AsSealed(sealed));
        }
        let settled = Grafts::settle(base, &excluded, sealed.snapshot, sealed.changes);
        settled.map(Standing::Settled).map_err(|error| {
            tracing::error!(%doc, %error, "an excluded change cannot be taken out of its document");
            StoreError::Row { table: "exclusions" }
        })
    }

    /// Notes an exclusion and where it stands in the log; `false` if it was known.
    pub(in crate::client) fn add_exclusion(&self, space: SpaceId, seq: u64, header: &Header) -> Result<bool> {
        let id = header.id;
        let key = params![space.as_bytes(), header.doc.as_bytes(), header.hash.0, id.device.as_bytes(), id.n, seq];
        let known = self.run(
            "UPDATE exclusions SET seq = ?6 \
             WHERE space_id = ?1 AND doc_id = ?2 AND hash = ?3 AND device_id = ?4 AND n = ?5",
            key,
        )? > 0;
        if !known {
            self.run("INSERT OR REPLACE INTO exclusions VALUES (?1, ?2, ?3, ?4, ?5, ?6)", key)?;
        }
        Ok(!known)
    }

    /// The excluded changes of a document as they were sealed, in the order of the log. One that a server lost stays so: it
    /// breaks the document as before, and comes back.
    pub(in crate::client) fn exclusions(&self, space: SpaceId, doc: DocId) -> Result<Vec<Hash>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT hash FROM exclusions WHERE space_id = ?1 AND doc_id = ?2 ORDER BY seq IS NULL, seq, hash",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.as_bytes()])?;
        let mut excluded = Vec::new();
        while let Some(row) = rows.next()? {
            let declared: Vec<u8> = row.get(0)?;
            excluded.push(hash(&declared, "exclusions")?);
        }
        Ok(excluded)
    }

    /// What a document begins with, and all changes beside it that may stand in it, as they were sealed.
    pub(in crate::client) fn sealed(&self, space: SpaceId, doc: DocId) -> Result<Sealed> {
        let snapshot = self.snapshot(space, doc)?;
        let snapshot = snapshot.map(|(_, of)| self.snapshot_bytes(space, doc, of)).transpose()?;
        let mut statement = self.connection.prepare_cached(
            "SELECT payload FROM items WHERE space_id = ?1 AND doc_id = ?2 AND kind = 2 AND payload IS NOT NULL \
             AND out = 0 AND (verdict IS NULL OR verdict = 0) ORDER BY arrival",
        )?;
        let rows = statement.query_map(params![space.as_bytes(), doc.as_bytes()], |row| row.get(0))?;
        Ok(Sealed { snapshot, changes: rows.collect::<std::result::Result<_, _>>()? })
    }

    /// Own changes that stand in a document, as they were sealed.
    pub(in crate::client) fn own_changes(&self, space: SpaceId, doc: DocId) -> Result<Vec<(ChangeId, Vec<u8>)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT device_id, n, payload FROM items WHERE space_id = ?1 AND doc_id = ?2 AND kind = 2 \
             AND chain IS NOT NULL AND payload IS NOT NULL AND out = 0 AND (verdict IS NULL OR verdict = 0) ORDER BY arrival",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.as_bytes()])?;
        let mut own = Vec::new();
        while let Some(row) = rows.next()? {
            let device: Vec<u8> = row.get(0)?;
            let device = DeviceId::from_slice(&device).map_err(|_| StoreError::Row { table: "items" })?;
            own.push((ChangeId { device, n: row.get(1)? }, row.get(2)?));
        }
        Ok(own)
    }

    /// Whether the log excludes a change.
    pub(in crate::client) fn is_excluded(&self, space: SpaceId, id: ChangeId) -> Result<bool> {
        let mut statement = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM exclusions WHERE space_id = ?1 AND device_id = ?2 AND n = ?3)",
        )?;
        Ok(statement.query_row(params![space.as_bytes(), id.device.as_bytes(), id.n], |row| row.get(0))?)
    }

    /// How the changes in what a document begins with stand.
    pub(in crate::client) fn grafts(&self, space: SpaceId, doc: DocId) -> Result<Grafts> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT grafts FROM snapshots WHERE space_id = ?1 AND doc_id = ?2 AND coming = 0")?;
        let key = params![space.as_bytes(), doc.as_bytes()];
        let stored: Option<Vec<u8>> = statement.query_row(key, |row| row.get(0)).optional()?.flatten();
        let stored = stored.map(|bytes| Grafts::decode(&bytes)).transpose();
        Ok(stored.map_err(|_| StoreError::Row { table: "snapshots" })?.unwrap_or_default())
    }

    /// A document is deleted: what was excluded of it is of no use.
    pub(in crate::client) fn forget_exclusions(&self, space: SpaceId, doc: DocId) -> Result<()> {
        let key = params![space.as_bytes(), doc.as_bytes()];
        self.run("DELETE FROM exclusions WHERE space_id = ?1 AND doc_id = ?2", key)?;
        Ok(())
    }
}
