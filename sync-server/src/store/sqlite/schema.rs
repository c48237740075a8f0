//! Opening the database: what every connection is set to, and the migrations.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::FILE;

mod embedded {
    //! The numbered SQL files, inside the binary.
    refinery::embed_migrations!("../migrations/sqlite");
}

/// "RJoi": what `file` and this server tell a Rejoin database by.
const APPLICATION_ID: i32 = 0x524a_6f69;
/// Statements kept prepared by a connection; the store has fewer.
const STATEMENTS_MAX: usize = 64;
/// Where the WAL may grow to before a commit folds it in; 16 MiB, so that bursts are not slowed by it.
const CHECKPOINT_PAGES: u32 = 4_096;

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The data folder or its lock cannot be used.
    #[error("the data folder cannot be used: {0}")]
    Folder(#[source] io::Error),
    /// The file is a database of another program.
    #[error("{FILE} is not a Rejoin database (application id {0:#x})")]
    Foreign(i32),
    /// A migration failed, or the database is of a newer version of the server.
    #[error("the database cannot be migrated: {0}")]
    Migration(#[from] refinery::Error),
    /// SQLite said no.
    #[error("the database cannot be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// What migrating did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Migrations that ran just now, by name.
    pub applied: Vec<String>,
    /// The schema's version now.
    pub version: i32,
}

/// Brings the database in a data folder to this server's schema, creating it where there is none.
pub fn migrate(data: &Path) -> Result<Migrated, MigrateError> {
    // Two processes may start on one folder at once; the second waits, and finds nothing left to do.
    let lock = File::options().create(true).truncate(false).write(true).open(data.join("migrate.lock"));
    let lock = lock.map_err(MigrateError::Folder)?;
    lock.lock().map_err(MigrateError::Folder)?;

    let path = data.join(FILE);
    refuse_foreign(&path)?;
    let mut connection = connect(&path, Duration::from_secs(30))?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    let runner = embedded::migrations::runner();
    let report = runner.run(&mut connection)?;
    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
    let last = runner.get_last_applied_migration(&mut connection)?;
    Ok(Migrated { applied, version: last.map_or(0, |migration| migration.version()) })
}

/// Before anything is changed in it.
fn refuse_foreign(path: &Path) -> Result<(), MigrateError> {
    let connection = Connection::open(path)?;
    let id: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id != APPLICATION_ID && (id != 0 || tables > 0) {
        return Err(MigrateError::Foreign(id));
    }
    Ok(())
}

/// A connection that writes.
pub(super) fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(busy_timeout)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // NORMAL may lose commits on power loss, and every one of them was acknowledged.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// A connection that cannot write.
pub(super) fn connect_read_only(path: &Path, busy_timeout: Duration) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}
