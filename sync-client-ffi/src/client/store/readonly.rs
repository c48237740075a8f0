//! Opening a store for reading, beside the process that writes it: no lock is taken, and SQLite itself refuses to write.
//!
//! In WAL mode a reader sees what was committed when it began to read, whatever the writer does meanwhile, and also what a
//! writer that was killed had committed. What SQLite needs beside the file for that (`-wal`, `-shm`) the reader makes where
//! it is missing, so it must be allowed to write in the folder, though it never changes the store.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use sync_core::id::{DocId, SpaceId};

use super::open::{MIGRATIONS, look};
use super::{Result, Store, StoreError, Writer};
use crate::client::error::OpenError;

/// Opens the store at `path` for reading.
pub(in crate::client) fn open_read_only(path: &Path) -> std::result::Result<Store, OpenError> {
    if !path.exists() {
        return Err(OpenError::NoStore { path: path.to_owned() });
    }
    // What is damaged is copied aside by whoever writes.
    look(path, || OpenError::Store(StoreError::Corrupt))?;
    let store = connect(path)?;
    let found: u32 = store
        .connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| OpenError::Store(error.into()))?;
    let supported = MIGRATIONS.len() as u32;
    match found {
        // The writer is about to make it.
        0 => Err(OpenError::NoStore { path: path.to_owned() }),
        _ if found > supported => Err(OpenError::Newer { found, supported }),
        _ if found < supported => Err(OpenError::Older { found, needs: supported }),
        _ => Ok(store),
    }
}

fn connect(path: &Path) -> Result<Store> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(Store { connection, path: std::path::absolute(path)?, lock: None })
}

/// What tells one state of a document from another, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::client) struct Stamp {
    pub(in crate::client) deleted: bool,
    edits: u64,
    arrival: u64,
    refused: u64,
    journal: u64,
    snapshot: u64,
    held: bool,
}

impl Store {
    /// Another connection to the same file, for reading.
    pub(in crate::client) fn reader(&self) -> Result<Self> {
        connect(&self.path)
    }

    pub(in crate::client) fn is_read_only(&self) -> bool {
        self.lock.is_none()
    }

    /// Another number whenever another process has committed something.
    pub(in crate::client) fn data_version(&self) -> Result<u64> {
        Ok(self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// The schema's version, if it is none that this library reads (any more).
    pub(in crate::client) fn other_schema(&self) -> Result<Option<u32>> {
        let found: u32 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok((found as usize != MIGRATIONS.len()).then_some(found))
    }

    /// Until [`end_reading`](Self::end_reading), all statements read one state.
    pub(in crate::client) fn begin_reading(&self) -> Result<()> {
        Ok(self.connection.execute_batch("BEGIN")?)
    }

    pub(in crate::client) fn end_reading(&self) {
        if let Err(error) = self.connection.execute_batch("COMMIT") {
            tracing::warn!(%error, "a moment of reading did not end");
        }
    }
}

impl Writer<'_> {
    pub(in crate::client) fn stamp(&self, space: SpaceId, doc: DocId) -> Result<Option<Stamp>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT deleted, edits, \
                (SELECT COALESCE(MAX(arrival), 0) FROM items i WHERE i.space_id = d.space_id AND i.doc_id = d.doc_id), \
                (SELECT COUNT(*) FROM items i WHERE i.space_id = d.space_id AND i.doc_id = d.doc_id AND (verdict > 0 OR out > 0)) \
                    + (SELECT COUNT(*) FROM exclusions e WHERE e.space_id = d.space_id AND e.doc_id = d.doc_id), \
                (SELECT COALESCE(MAX(id), 0) FROM journal_edits j WHERE j.space_id = d.space_id AND j.doc_id = d.doc_id), \
                (SELECT COALESCE(MAX(seq), 0) FROM snapshots s \
                    WHERE s.space_id = d.space_id AND s.doc_id = d.doc_id AND coming = 0), \
                (SELECT COUNT(held_seq) FROM catch_ups c WHERE c.space_id = d.space_id) \
             FROM documents d WHERE space_id = ?1 AND doc_id = ?2",
        )?;
        let mut rows = statement.query(rusqlite::params![space.as_bytes(), doc.as_bytes()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (deleted, edits) = (row.get(0)?, row.get(1)?);
        let (arrival, refused, journal) = (row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(Some(Stamp { deleted, edits, arrival, refused, journal, snapshot: row.get(5)?, held: row.get(6)? }))
    }

    /// How many documents a space ever had, and how many of them are deleted.
    pub(in crate::client) fn list_stamp(&self, space: SpaceId) -> Result<(u64, u64)> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT COUNT(*), COALESCE(SUM(deleted), 0) FROM documents WHERE space_id = ?1")?;
        Ok(statement.query_row([space.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use sync_core::id::DeviceId;

    #[test]
    fn sqlite_itself_refuses_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let writer = Client::builder(&path).identity("ann", DeviceId::from_random([1; 16])).open().unwrap();
        let mut store = open_read_only(&path).unwrap();
        assert!(store.connection.execute("DELETE FROM meta", []).is_err());
        let refused: std::result::Result<(), StoreError> = store.transaction(|writer| writer.set_meta("user", b"ben"));
        assert!(matches!(refused, Err(StoreError::ReadOnly)));
        drop(writer);
        assert!(store.read().meta("user").unwrap().is_some());
    }
}
