//! The store of a phone: one SQLite file in WAL mode with `synchronous=FULL`, so that what is committed survives a kill
//! and a flat battery.

use rusqlite::Connection;

mod access;
mod documents;
mod epochs;
mod exclusions;
mod feeds;
mod fold;
mod heal;
mod held;
mod journal;
mod open;
mod quarantine;
mod readonly;
mod removed;
mod rollback;
mod snapshots;
mod spaces;
mod times;
mod wipe;

pub(super) use documents::Changes;
pub(super) use exclusions::{Sealed, Standing};
pub(super) use feeds::NewItem;
pub(super) use fold::Foldable;
pub(super) use heal::StoredLog;
pub(super) use journal::StoredJournal;
pub(super) use open::{corrupt, create_or_open, repair};
pub(super) use quarantine::{KeptEntry, StoredChange};
pub(super) use readonly::{Stamp, open_read_only};
pub(super) use snapshots::{Held, Released};
pub(super) use spaces::SpaceRow;

/// The disk or the file failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left.
    #[error("the disk is full")]
    DiskFull,
    /// The file is damaged.
    #[error("the file is damaged")]
    Corrupt,
    /// A row does not hold what it should.
    #[error("a row of {table} is damaged")]
    Row {
        /// The table.
        table: &'static str,
    },
    /// The store was opened for reading.
    #[error("the store was opened for reading")]
    ReadOnly,
    /// It cannot be read at the moment.
    #[error("the store cannot be read now: try again")]
    Unreadable,
    /// Anything else that SQLite reports.
    #[error("SQLite: {0}")]
    Sqlite(rusqlite::Error),
    /// The file system failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => Self::Corrupt,
            _ => Self::Sqlite(error),
        }
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// An open store, locked for this process until it is dropped, or open for reading alone.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: std::path::PathBuf,
    // Held for its lock, which the system releases when the process dies; nobody who only reads needs it.
    lock: Option<std::fs::File>,
}

impl Store {
    /// Runs `work` in one transaction: all of it is on disk when this returns, or nothing of it ever happened.
    pub(super) fn transaction<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Writer<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if self.is_read_only() {
            return Err(StoreError::ReadOnly.into());
        }
        let transaction = self.connection.transaction().map_err(StoreError::from)?;
        let done = work(&Writer { connection: &transaction })?;
        #[cfg(feature = "testing")]
        super::simulated::before_commit()?;
        transaction.commit().map_err(StoreError::from)?;
        #[cfg(feature = "testing")]
        super::simulated::after_commit()?;
        Ok(done)
    }

    /// Reads outside of a transaction.
    pub(super) fn read(&self) -> Writer<'_> {
        Writer { connection: &self.connection }
    }

    /// Limits the file's size, so that a test can fill the disk.
    #[doc(hidden)]
    pub(super) fn limit_pages(&self, pages: u32) -> Result<()> {
        let current: u32 = self.connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        self.connection.pragma_update(
            None,
            "max_page_count",
            if pages == 0 { u32::MAX / 2 } else { current + pages },
        )?;
        Ok(())
    }
}

/// Statements on an open transaction, or on the plain connection for reads.
pub(super) struct Writer<'c> {
    connection: &'c Connection,
}

impl Writer<'_> {
    fn run(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<usize> {
        Ok(self.connection.prepare_cached(sql)?.execute(parameters)?)
    }
}
