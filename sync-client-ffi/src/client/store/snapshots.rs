//! Snapshots: what documents begin with, what is on its way, and what is not shown until it is here.

use rusqlite::{OptionalExtension, params};
use sync_core::feed::ItemKind;
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::version::VersionVector;
use sync_core::wire::Snapshot;

use super::quarantine::StoredChange;
use super::spaces::hash;
use super::{Result, StoreError, Writer};

const ROW: StoreError = StoreError::Row { table: "snapshots" };

/// Hides a document that came while a space is held. Whoever asks for those that are not deleted does not see it.
pub(in crate::client) const HIDDEN: u8 = 2;

/// What a space shows while something in it is missing: the log up to a place, and what had arrived by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct Held {
    pub(in crate::client) seq: u64,
    pub(in crate::client) arrival: u64,
}

/// A snapshot that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct Coming {
    pub(in crate::client) doc: DocId,
    pub(in crate::client) hash: Hash,
    pub(in crate::client) size: u64,
    pub(in crate::client) have: u64,
}

/// What is shown when nothing is missing any more.
#[derive(Debug, Default)]
pub(in crate::client) struct Released {
    /// Documents that were hidden.
    pub(in crate::client) shown: Vec<DocId>,
    /// Documents that have something new.
    pub(in crate::client) touched: Vec<DocId>,
    /// Documents that begin an epoch, with the changes that they were before.
    pub(in crate::client) passed: Vec<(DocId, Vec<StoredChange>)>,
}

impl Writer<'_> {
    /// How far a space was read to its end, and what it shows.
    pub(in crate::client) fn catch_up(&self, space: SpaceId) -> Result<(u64, Option<Held>)> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT base_seq, held_seq, held_arrival FROM catch_ups WHERE space_id = ?1")?;
        let row: Option<(u64, Option<u64>, Option<u64>)> =
            statement.query_row([space.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((base, seq, arrival)) = row else { return Ok((0, None)) };
        Ok((base, seq.zip(arrival).map(|(seq, arrival)| Held { seq, arrival })))
    }

    pub(in crate::client) fn set_catch_up(&self, space: SpaceId, base: u64, held: Option<Held>) -> Result<()> {
        self.run(
            "INSERT INTO catch_ups (space_id, base_seq, held_seq, held_arrival) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (space_id) DO UPDATE SET base_seq = ?2, held_seq = ?3, held_arrival = ?4, held_version = NULL",
            params![space.as_bytes(), base, held.map(|held| held.seq), held.map(|held| held.arrival)],
        )?;
        Ok(())
    }

    /// How far others' feeds had come when a space began to be held.
    pub(in crate::client) fn held_version(&self, space: SpaceId) -> Result<Option<VersionVector>> {
        let mut statement = self.connection.prepare_cached("SELECT held_version FROM catch_ups WHERE space_id = ?1")?;
        let bytes: Option<Vec<u8>> = statement.query_row([space.as_bytes()], |row| row.get(0)).optional()?.flatten();
        bytes.map(|bytes| VersionVector::decode(&bytes).map_err(|_| StoreError::Row { table: "catch_ups" })).transpose()
    }

    pub(in crate::client) fn set_held_version(&self, space: SpaceId, version: &VersionVector) -> Result<()> {
        self.run(
            "UPDATE catch_ups SET held_version = ?2 WHERE space_id = ?1",
            params![space.as_bytes(), version.encode()],
        )?;
        Ok(())
    }

    /// The arrival of the newest item of all spaces.
    pub(in crate::client) fn last_arrival(&self) -> Result<u64> {
        let mut statement = self.connection.prepare_cached("SELECT COALESCE(MAX(arrival), 0) FROM items")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// A payload of a document was left out.
    pub(in crate::client) fn open_hole(&self, space: SpaceId, doc: DocId, seq: u64) -> Result<()> {
        self.run(
            "INSERT INTO holes VALUES (?1, ?2, ?3) ON CONFLICT (space_id, doc_id) DO UPDATE SET seq = ?3",
            params![space.as_bytes(), doc.as_bytes(), seq],
        )?;
        Ok(())
    }

    pub(in crate::client) fn hole(&self, space: SpaceId, doc: DocId) -> Result<Option<u64>> {
        let mut statement =
            self.connection.prepare_cached("SELECT seq FROM holes WHERE space_id = ?1 AND doc_id = ?2")?;
        Ok(statement.query_row(params![space.as_bytes(), doc.as_bytes()], |row| row.get(0)).optional()?)
    }

    /// A document was deleted: nothing of it is missing, and nothing of it is needed.
    pub(in crate::client) fn forget_snapshots(&self, space: SpaceId, doc: DocId) -> Result<()> {
        let key = params![space.as_bytes(), doc.as_bytes()];
        for table in ["holes", "snapshots", "snapshot_parts"] {
            self.run(&format!("DELETE FROM {table} WHERE space_id = ?1 AND doc_id = ?2"), key)?;
        }
        self.forget_times(space, doc)?;
        self.forget_exclusions(space, doc)
    }

    /// A snapshot is on its way, or here if it comes with its bytes. It takes the place of another one on its way.
    pub(in crate::client) fn add_coming(&self, space: SpaceId, snapshot: &Snapshot) -> Result<()> {
        self.drop_coming(space, snapshot.doc)?;
        let bytes = snapshot.bytes.as_ref().map(|bytes| &bytes.0).filter(|bytes| {
            // What is not what it says is fetched instead.
            bytes.len() as u64 == snapshot.size && Hash::of(&[bytes]) == snapshot.hash
        });
        self.run(
            "INSERT INTO snapshots VALUES (?1, ?2, 1, ?3, ?4, ?5, 0, ?6)",
            params![
                space.as_bytes(),
                snapshot.doc.as_bytes(),
                snapshot.seq,
                snapshot.hash.0,
                snapshot.size,
                snapshot.grafts.as_ref().map(|grafts| grafts.0.as_slice()),
            ],
        )?;
        match bytes {
            Some(bytes) => self.add_part(space, snapshot.doc, snapshot.hash, 0, bytes),
            None => Ok(()),
        }
    }

    /// A snapshot that was on its way is not needed, or not to be had.
    pub(in crate::client) fn drop_coming(&self, space: SpaceId, doc: DocId) -> Result<()> {
        let key = params![space.as_bytes(), doc.as_bytes()];
        self.run(
            "DELETE FROM snapshot_parts WHERE space_id = ?1 AND doc_id = ?2 AND hash IS NOT \
             (SELECT hash FROM snapshots WHERE space_id = ?1 AND doc_id = ?2 AND coming = 0)",
            key,
        )?;
        self.run("DELETE FROM snapshots WHERE space_id = ?1 AND doc_id = ?2 AND coming = 1", key)?;
        Ok(())
    }

    /// A part of a snapshot on its way, behind what is here of it.
    pub(in crate::client) fn add_part(
        &self,
        space: SpaceId,
        doc: DocId,
        of: Hash,
        at: u64,
        bytes: &[u8],
    ) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO snapshot_parts VALUES (?1, ?2, ?3, ?4, ?5)",
            params![space.as_bytes(), doc.as_bytes(), of.0, at, bytes],
        )?;
        self.run(
            "UPDATE snapshots SET have = ?4 WHERE space_id = ?1 AND doc_id = ?2 AND hash = ?3 AND coming = 1",
            params![space.as_bytes(), doc.as_bytes(), of.0, at + bytes.len() as u64],
        )?;
        Ok(())
    }

    /// The snapshot of a document that is on its way or waits to be shown.
    pub(in crate::client) fn coming(&self, space: SpaceId, doc: DocId) -> Result<Option<Coming>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT doc_id, hash, size, have FROM snapshots WHERE space_id = ?1 AND doc_id = ?2 AND coming = 1",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.as_bytes()])?;
        rows.next()?.map(coming).transpose()
    }

    /// The first snapshot of which something is missing.
    pub(in crate::client) fn incomplete(&self, space: SpaceId) -> Result<Option<Coming>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT doc_id, hash, size, have FROM snapshots WHERE space_id = ?1 AND coming = 1 AND have < size LIMIT 1",
        )?;
        let mut rows = statement.query([space.as_bytes()])?;
        rows.next()?.map(coming).transpose()
    }

    /// Whether anything is missing of what a space has up to that place.
    pub(in crate::client) fn has_holes(&self, space: SpaceId, through: u64) -> Result<bool> {
        let mut statement = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM holes h WHERE space_id = ?1 AND NOT EXISTS ( \
                SELECT 1 FROM snapshots s WHERE s.space_id = h.space_id AND s.doc_id = h.doc_id AND s.coming = 1 \
                AND s.have = s.size AND s.seq >= h.seq AND s.seq <= ?2))",
        )?;
        Ok(statement.query_row(params![space.as_bytes(), through], |row| row.get(0))?)
    }

    /// Documents begin with the snapshots that came, and what those cover of others' changes goes.
    pub(in crate::client) fn release(&self, space: SpaceId, device: DeviceId, held: Held) -> Result<Released> {
        let id = space.as_bytes();
        let touched = self.docs(
            "SELECT doc_id FROM holes WHERE space_id = ?1 UNION \
             SELECT doc_id FROM items WHERE space_id = ?1 AND arrival > ?2 AND kind = 2 AND payload IS NOT NULL",
            params![id, held.arrival],
        )?;
        let shown =
            self.docs("SELECT doc_id FROM documents WHERE space_id = ?1 AND deleted = ?2", params![id, HIDDEN])?;
        let mut passed = Vec::new();
        for doc in self.coming_epochs(space)? {
            passed.push((doc, self.all_changes(space, doc)?));
        }
        self.run(
            "DELETE FROM snapshot_parts WHERE space_id = ?1 AND hash NOT IN \
             (SELECT hash FROM snapshots s WHERE s.space_id = ?1 AND s.doc_id = snapshot_parts.doc_id AND s.coming = 1) \
             AND doc_id IN (SELECT doc_id FROM snapshots WHERE space_id = ?1 AND coming = 1)",
            [id],
        )?;
        self.run(
            "DELETE FROM snapshots WHERE space_id = ?1 AND coming = 0 \
             AND doc_id IN (SELECT doc_id FROM snapshots WHERE space_id = ?1 AND coming = 1)",
            [id],
        )?;
        self.run("UPDATE snapshots SET coming = 0 WHERE space_id = ?1 AND coming = 1", [id])?;
        for doc in self.docs("SELECT doc_id FROM holes WHERE space_id = ?1", [id])? {
            if let Some((covered, _)) = self.snapshot(space, doc)? {
                self.keep_times_through(space, doc, covered)?;
            }
        }
        self.run(
            "DELETE FROM items WHERE space_id = ?1 AND kind = 2 AND device_id <> ?2 \
             AND doc_id IN (SELECT doc_id FROM holes WHERE space_id = ?1) AND seq <= \
             (SELECT s.seq FROM snapshots s WHERE s.space_id = ?1 AND s.doc_id = items.doc_id AND s.coming = 0)",
            params![id, device.as_bytes()],
        )?;
        self.run("DELETE FROM holes WHERE space_id = ?1", [id])?;
        self.run("UPDATE documents SET deleted = 0 WHERE space_id = ?1 AND deleted = ?2", params![id, HIDDEN])?;
        Ok(Released { shown, touched, passed })
    }

    fn docs(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<Vec<DocId>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(parameters)?;
        let mut docs = Vec::new();
        while let Some(row) = rows.next()? {
            let doc: Vec<u8> = row.get(0)?;
            docs.push(DocId::from_slice(&doc).map_err(|_| ROW)?);
        }
        Ok(docs)
    }

    /// What a document begins with: the place in the log that it covers, and its hash.
    pub(in crate::client) fn snapshot(&self, space: SpaceId, doc: DocId) -> Result<Option<(u64, Hash)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, hash FROM snapshots WHERE space_id = ?1 AND doc_id = ?2 AND coming = 0")?;
        let row: Option<(u64, Vec<u8>)> = statement
            .query_row(params![space.as_bytes(), doc.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        row.map(|(seq, of)| Ok((seq, hash(&of, "snapshots")?))).transpose()
    }

    /// The bytes of a snapshot.
    pub(in crate::client) fn snapshot_bytes(&self, space: SpaceId, doc: DocId, of: Hash) -> Result<Vec<u8>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT bytes FROM snapshot_parts WHERE space_id = ?1 AND doc_id = ?2 AND hash = ?3 ORDER BY at",
        )?;
        let mut rows = statement.query(params![space.as_bytes(), doc.as_bytes(), of.0])?;
        let mut bytes = Vec::new();
        while let Some(row) = rows.next()? {
            bytes.extend_from_slice(row.get_ref(0)?.as_blob().map_err(|_| ROW)?);
        }
        Ok(bytes)
    }

    /// Up to which place of the log a document's changes are in its snapshot, and up to which arrival those of others are
    /// shown.
    pub(super) fn bounds(&self, space: SpaceId, doc: DocId) -> Result<(u64, u64)> {
        let covered = self.snapshot(space, doc)?.map_or(0, |(seq, _)| seq);
        let shown = self.catch_up(space)?.1.map_or(i64::MAX as u64, |held| held.arrival);
        Ok((covered, shown))
    }

    /// Takes away what there is of a space.
    pub(super) fn remove_snapshots(&self, space: SpaceId) -> Result<()> {
        for table in ["snapshots", "snapshot_parts", "holes", "catch_ups", "folds"] {
            self.run(&format!("DELETE FROM {table} WHERE space_id = ?1"), [space.as_bytes()])?;
        }
        Ok(())
    }
}

fn coming(row: &rusqlite::Row<'_>) -> Result<Coming> {
    let (doc, of): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
    Ok(Coming {
        doc: DocId::from_slice(&doc).map_err(|_| ROW)?,
        hash: hash(&of, "snapshots")?,
        size: row.get(2)?,
        have: row.get(3)?,
    })
}

const _: () = assert!(ItemKind::Change.number() == 2, "queries here say so");
