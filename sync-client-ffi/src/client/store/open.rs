//! Opening, creating and repairing a store file. A file that cannot be read is left as it is and copied aside.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use sync_core::log::Cursor;

use super::{Result, Store, StoreError};
use crate::client::error::OpenError;

/// Numbered migrations; a store's `user_version` says how many it has had.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../../../migrations/client/V1__store.sql"),
    include_str!("../../../../migrations/client/V2__access.sql"),
    include_str!("../../../../migrations/client/V3__lists.sql"),
    include_str!("../../../../migrations/client/V4__removed.sql"),
    include_str!("../../../../migrations/client/V5__long_life.sql"),
    include_str!("../../../../migrations/client/V6__epochs_and_folds.sql"),
    include_str!("../../../../migrations/client/V7__exclusions.sql"),
    include_str!("../../../../migrations/client/V8__times.sql"),
];
/// "Rejn", so that a foreign SQLite file is not taken for a store.
const APPLICATION_ID: i32 = 0x5265_6a6e;
/// A process that is being started holds copies of all that its parent has open, until it runs its own program: a lock that
/// was given back meanwhile is free a moment later.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
/// Copies of damaged files that are kept beside the store.
pub(super) const COPIES_MAX: u32 = 100;

/// Opens the store at `path`, or creates it.
pub(in crate::client) fn create_or_open(path: &Path) -> std::result::Result<Store, OpenError> {
    let lock = lock(path)?;
    look(path, || corrupt(path))?;
    open(path, lock).map_err(|error| match error {
        StoreError::Corrupt => corrupt(path),
        other => OpenError::Store(other),
    })
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn lock(path: &Path) -> std::result::Result<File, OpenError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(StoreError::from)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(beside(path, ".lock"));
    let file = file.map_err(StoreError::from)?;
    for tries in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(StoreError::from(error).into()),
        }
    }
    Ok(file)
}

/// Looks at the file's first page without SQLite, which would write to it.
pub(super) fn look(path: &Path, damaged: impl Fn() -> OpenError) -> std::result::Result<(), OpenError> {
    let mut header = Vec::with_capacity(100);
    match File::open(path) {
        Ok(file) => file.take(100).read_to_end(&mut header).map_err(StoreError::from)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::from(error).into()),
    };
    if header.is_empty() {
        return Ok(());
    }
    let number =
        |at: usize| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    if header.len() < 100 {
        return Err(damaged());
    }
    if !header.starts_with(b"SQLite format 3\0") {
        // Our own lock file beside it says that this once was a store; anything else is somebody's file.
        let ours = header.iter().all(|byte| *byte == 0) || number(68) == APPLICATION_ID as u32;
        return Err(if ours { damaged() } else { OpenError::NotAStore { path: path.to_owned() } });
    }
    let (version, application, pages) = (number(60), number(68), number(28));
    // One page is no table yet: a store that was killed while it was made.
    if application != APPLICATION_ID as u32 && (application != 0 || version != 0 || pages > 1) {
        return Err(OpenError::NotAStore { path: path.to_owned() });
    }
    let supported = MIGRATIONS.len() as u32;
    if version > supported {
        return Err(OpenError::Newer { found: version, supported });
    }
    Ok(())
}

fn open(path: &Path, lock: File) -> Result<Store> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Android has no place for temporary files that an app may rely on.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let have = version as usize;
    if have < MIGRATIONS.len() {
        let transaction = connection.transaction()?;
        for migration in &MIGRATIONS[have..] {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", MIGRATIONS.len() as u32)?;
        transaction.commit()?;
        // The header on disk is what `look` reads next time.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(Store { connection, path: std::path::absolute(path)?, lock: Some(lock) })
}

/// Copies a damaged store aside, with what SQLite keeps beside it, and says where.
pub(in crate::client) fn corrupt(path: &Path) -> OpenError {
    match copy_aside(path) {
        Ok(copy) => OpenError::Corrupt { copy },
        Err(error) => OpenError::Store(error),
    }
}

fn copy_aside(path: &Path) -> Result<PathBuf> {
    for number in 1..=COPIES_MAX {
        let copy = beside(path, &format!(".damaged-{number}"));
        if copy.exists() {
            if same(path, &copy)? {
                return Ok(copy);
            }
            continue;
        }
        std::fs::copy(path, &copy)?;
        for suffix in ["-wal", "-shm"] {
            let side = beside(path, suffix);
            if side.exists() {
                std::fs::copy(&side, beside(&copy, suffix))?;
            }
        }
        return Ok(copy);
    }
    Ok(beside(path, &format!(".damaged-{COPIES_MAX}")))
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    Ok(std::fs::metadata(one)?.len() == std::fs::metadata(other)?.len() && std::fs::read(one)? == std::fs::read(other)?)
}

/// Copies a damaged store aside and puts a new one in its place with every row that can still be read. What others wrote
/// is asked for again. Gives the store, the copy's path and the number of rows saved.
pub(in crate::client) fn repair(path: &Path) -> std::result::Result<(Store, PathBuf, u64), OpenError> {
    let held = lock(path)?;
    let copy = copy_aside(path)?;
    // SQLite writes to what it opens, so it reads the file that is to be replaced, never the copy.
    let broken = beside(path, ".repairing");
    for suffix in ["", "-wal", "-shm"] {
        remove(&beside(&broken, suffix))?;
        match std::fs::rename(beside(path, suffix), beside(&broken, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::from(error).into()),
            _ => {}
        }
    }
    let mut store = open(path, held)?;
    let mut saved = 0;
    for (table, key) in [
        ("meta", ["key", "key"]),
        ("spaces", ["space_id", "space_id"]),
        ("barred", ["space_id", "space_id"]),
        ("removed", ["space_id", "space_id"]),
        ("documents", ["space_id", "doc_id"]),
        ("former", ["device_id", "device_id"]),
        ("healing", ["space_id", "space_id"]),
        ("items", ["arrival", "arrival"]),
        ("quarantine", ["device_id", "n"]),
        ("remade", ["device_id", "n"]),
        ("journals", ["space_id", "doc_id"]),
        ("journal_edits", ["id", "id"]),
    ] {
        // A table that cannot be read is what the copy is kept for; the others are saved all the same.
        saved += salvage(&store.connection, &broken, table, key).unwrap_or(0);
    }
    let spaces = store.read().spaces()?;
    store.transaction(|writer| {
        spaces.into_iter().try_for_each(|(space, mut row)| {
            row.cursor = Cursor::start(space);
            row.proven = None;
            writer.set_space(space, &row)
        })
    })?;
    for suffix in ["", "-wal", "-shm"] {
        remove(&beside(&broken, suffix))?;
    }
    Ok((store, copy, saved))
}

pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Row by row from the front, then from the back, until the damage is met from both sides. In the order of the primary
/// key, since any other would have to read the whole table first.
fn salvage(into: &Connection, from: &Path, table: &str, [first, then]: [&str; 2]) -> Result<u64> {
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut saved = 0;
    into.execute_batch("BEGIN IMMEDIATE")?;
    for order in ["ASC", "DESC"] {
        let Ok(mut rows) = source.prepare(&format!("SELECT * FROM {table} ORDER BY {first} {order}, {then} {order}"))
        else {
            continue;
        };
        // Those that the damaged file has: an earlier version of the library may have written it.
        let (columns, names) = (rows.column_count(), rows.column_names().join(", "));
        let places = vec!["?"; columns].join(", ");
        let mut insert = into.prepare(&format!("INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})"))?;
        let Ok(mut rows) = rows.query([]) else { continue };
        while let Ok(Some(row)) = rows.next() {
            let values: rusqlite::Result<Vec<rusqlite::types::Value>> = (0..columns).map(|at| row.get(at)).collect();
            let Ok(values) = values else { break };
            saved += insert.execute(rusqlite::params_from_iter(values)).unwrap_or(0) as u64;
        }
    }
    into.execute_batch("COMMIT")?;
    Ok(saved)
}

#[cfg(test)]
mod tests {
    use sync_core::id::{DeviceId, SpaceId};

    use super::*;
    use crate::client::Client;

    /// A store as an earlier version of this library left it, with a space.
    fn of_version(version: usize, path: &Path, space: SpaceId, device: DeviceId) {
        let store = Connection::open(path).unwrap();
        for migration in &MIGRATIONS[..version] {
            store.execute_batch(migration).unwrap();
        }
        store.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        store.pragma_update(None, "user_version", version as u32).unwrap();
        let chain = sync_core::feed::FeedHead::start(space, device).chain.0;
        let cursor = Cursor::start(space).chain.0;
        store
            .execute(
                "INSERT INTO meta VALUES ('user', ?1), ('device', ?2)",
                rusqlite::params![b"ann", device.as_bytes()],
            )
            .unwrap();
        let row = "INSERT INTO spaces (space_id, own_n, own_chain, acked_n, acked_chain, cursor_seq, cursor_chain) \
                   VALUES (?1, 0, ?2, 0, ?2, 0, ?3)";
        store.execute(row, rusqlite::params![space.as_bytes(), chain, cursor]).unwrap();
    }

    #[test]
    fn a_store_of_each_version_before_is_brought_to_this_one() {
        for version in 1..MIGRATIONS.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store");
            let (space, device) = (SpaceId::from_random([5; 16]), DeviceId::from_random([1; 16]));
            of_version(version, &path, space, device);
            for opened in 1..=2 {
                let client = Client::builder(&path).identity("ann", device).open().unwrap();
                assert!(client.has_access(space).unwrap());
                assert_eq!(client.quarantine(space).unwrap(), []);
                client.create(space, "notes").unwrap();
                let page = client.document_page(space, Some("notes"), None, 10).unwrap();
                assert_eq!(page.documents.len(), opened);
            }
            let store = Connection::open(&path).unwrap();
            let now: usize = store.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(now, MIGRATIONS.len());
        }
    }
}
