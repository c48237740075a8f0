//! Changes that an import has unpacked and will ask for in another order: a database without a name, which is gone with its
//! connection. It lies where SQLite puts such files (`SQLITE_TMPDIR`, `TMPDIR`, `/var/tmp`, `/tmp`), not in memory.

use rusqlite::{Connection, OptionalExtension, params};
use sync_core::id::{DocId, Hash};

use super::StoreError;

/// Changes that are written in one transaction.
const BUNCH_MAX: u32 = 10_000;

/// A place for changes.
pub(crate) struct Spool {
    connection: Connection,
    waiting: u32,
}

impl Spool {
    pub(crate) fn new() -> Result<Self, StoreError> {
        let connection = Connection::open("")?;
        // A crash takes all of it anyway.
        connection.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(
            "CREATE TABLE changes (doc_id BLOB NOT NULL, hash BLOB NOT NULL, bytes BLOB NOT NULL);
             CREATE UNIQUE INDEX changes_by_hash ON changes (doc_id, hash); BEGIN",
        )?;
        Ok(Self { connection, waiting: 0 })
    }

    /// Keeps a change.
    pub(crate) fn keep(&mut self, doc: DocId, hash: Hash, bytes: &[u8]) -> Result<(), StoreError> {
        let insert = "INSERT OR IGNORE INTO changes (doc_id, hash, bytes) VALUES (?1, ?2, ?3)";
        self.connection.prepare_cached(insert)?.execute(params![doc.as_bytes(), hash.0, bytes])?;
        self.waiting += 1;
        if self.waiting >= BUNCH_MAX {
            self.connection.execute_batch("COMMIT; BEGIN")?;
            self.waiting = 0;
        }
        Ok(())
    }

    /// A change that was kept.
    pub(crate) fn find(&self, doc: DocId, hash: Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let select = "SELECT bytes FROM changes WHERE doc_id = ?1 AND hash = ?2";
        let mut statement = self.connection.prepare_cached(select)?;
        Ok(statement.query_row(params![doc.as_bytes(), hash.0], |found| found.get(0)).optional()?)
    }
}
