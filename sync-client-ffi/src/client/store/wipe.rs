//! Taking a store off the disk.

use std::path::Path;

use super::open::{COPIES_MAX, beside, remove};
use super::{Result, Store};

impl Store {
    /// A store that holds nothing and is nowhere, in place of one that was taken away.
    pub(in crate::client) fn nowhere() -> Result<Self> {
        Ok(Self { connection: rusqlite::Connection::open_in_memory()?, path: "".into(), lock: None })
    }

    /// Closes the store and deletes its files, and with `copies` those that a damage left beside it. A kill half-way leaves
    /// the whole store, or what the next opening takes for none.
    pub(in crate::client) fn wipe(self, copies: bool) -> Result<()> {
        let Self { connection, path, lock } = self;
        // The file alone is a whole store from here on; where a reader is in the way, SQLite still forgets a log whose
        // file is gone.
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::debug!(%error, "the store is wiped with its log");
        }
        drop(connection);
        remove(&path)?;
        with_sides(&path, false)?;
        if copies {
            for number in 1..=COPIES_MAX {
                let copy = beside(&path, &format!(".damaged-{number}"));
                if !copy.exists() {
                    break;
                }
                with_sides(&copy, true)?;
            }
            with_sides(&beside(&path, ".repairing"), true)?;
        }
        // As long as it is held, nobody begins a new store here.
        remove(&beside(&path, ".lock"))?;
        drop(lock);
        Ok(())
    }
}

fn with_sides(path: &Path, whole: bool) -> Result<()> {
    if whole {
        remove(path)?;
    }
    for suffix in ["-wal", "-shm"] {
        remove(&beside(path, suffix))?;
    }
    Ok(())
}
