//! The embedded store: one SQLite file, one thread that writes, a few that read.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use sync_core::check::Push;
use sync_core::heal::Lost;
use sync_core::id::SpaceId;
use sync_core::ledger::Role;
use sync_core::log::Cursor;

use self::threads::{ReadJob, Readers, WriteJob, WriterThread};
use super::idempotency::{Claim, ClaimToken, KeptAnswer, NewClaim, RequestKey};
use super::{Committed, Healed, PageAnswer, PageRequest, SpaceVersion, Store, StoreError};

mod accounts;
mod audit;
mod cluster;
mod commit;
mod devices;
mod grants;
pub(crate) mod idempotency;
mod inspect;
mod invites;
mod lifecycle;
mod members;
mod read;
mod row;
mod schema;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod simulated;
mod snapshots;
mod spaces;
mod threads;
mod versions;

pub use schema::{MigrateError, Migrated, migrate};

/// The database's name inside the data folder.
pub const FILE: &str = "rejoin.sqlite";

/// How the embedded store is opened.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Threads, with a connection each, that read. A read never waits for the writer.
    pub readers: usize,
    /// How long to wait for another process that is writing (`sync-server members`, a backup).
    pub busy_timeout: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { readers: 2, busy_timeout: Duration::from_secs(5) }
    }
}

/// A store on one SQLite file.
pub struct SqliteStore {
    writer: WriterThread,
    readers: Readers,
    reading: Mutex<Vec<JoinHandle<()>>>,
    writing: Mutex<Vec<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the database in a data folder; what is missing is created, what is old is migrated.
    pub fn open(data: &Path, options: &SqliteOptions) -> Result<Self, MigrateError> {
        fs::create_dir_all(data).map_err(MigrateError::Folder)?;
        migrate(data)?;
        let path = data.join(FILE);
        let writer = schema::connect(&path, options.busy_timeout)?;
        let readers = (0..options.readers.max(1))
            .map(|_| schema::connect_read_only(&path, options.busy_timeout))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut reading, mut writing) = (Vec::new(), Vec::new());
        let writer = WriterThread::start(writer, &mut writing).map_err(MigrateError::Folder)?;
        let readers = Readers::start(readers, &mut reading).map_err(MigrateError::Folder)?;
        Ok(Self { writer, readers, reading: Mutex::new(reading), writing: Mutex::new(writing) })
    }

    /// Opens a database that is migrated already, and does all work on the threads of those who ask.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn open_here(data: &Path) -> Result<Self, MigrateError> {
        let (path, patience) = (data.join(FILE), Duration::ZERO);
        let writer = WriterThread::here(schema::connect(&path, patience)?);
        let readers = Readers::here(schema::connect_read_only(&path, patience)?);
        Ok(Self { writer, readers, reading: Mutex::default(), writing: Mutex::default() })
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let job: ReadJob = Box::new(move |connection| threads::answer(reply, job(connection)));
        self.readers.send(job)?;
        answer.await.map_err(|_| threads::gone())?
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let job = Box::new(move |connection: &mut Connection| threads::answer(reply, job(connection)));
        self.writer.send(WriteJob::Other(job))?;
        answer.await.map_err(|_| threads::gone())?
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, space: SpaceId, pushes: Vec<Push>) -> Result<Committed, StoreError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.writer.send(WriteJob::Commit { space, pushes, reply })?;
        answer.await.map_err(|_| threads::gone())?
    }

    async fn take_back(&self, space: SpaceId, lost: Vec<Lost>) -> Result<Healed, StoreError> {
        self.write(move |connection| commit::take_back(connection, space, lost)).await
    }

    async fn places(&self, space: SpaceId, seqs: Vec<u64>) -> Result<(Cursor, Vec<Cursor>), StoreError> {
        self.read(move |connection| read::places(connection, space, &seqs)).await
    }

    async fn page(&self, space: SpaceId, request: PageRequest) -> Result<PageAnswer, StoreError> {
        self.read(move |connection| read::page(connection, space, &request)).await
    }

    async fn version(&self, space: SpaceId) -> Result<SpaceVersion, StoreError> {
        self.read(move |connection| read::version(connection, space)).await
    }

    async fn heads(&self, spaces: &[SpaceId]) -> Result<Vec<(SpaceId, Cursor)>, StoreError> {
        let spaces = spaces.to_vec();
        self.read(move |connection| read::heads(connection, &spaces)).await
    }

    async fn role(&self, space: SpaceId, user: &str) -> Result<Option<Role>, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| members::role(connection, space, &user)).await
    }

    async fn ensure_personal(&self, user: &str) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.write(move |connection| members::ensure_personal(connection, &user)).await
    }

    async fn set_role(&self, space: SpaceId, user: &str, role: Option<Role>) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.write(move |connection| members::set_role(connection, space, &user, role)).await
    }

    async fn spaces_of(&self, user: &str) -> Result<Vec<(SpaceId, Role)>, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| members::spaces_of(connection, &user)).await
    }

    async fn claim(&self, claim: NewClaim) -> Result<Claim, StoreError> {
        self.write(move |connection| idempotency::claim(connection, &claim)).await
    }

    async fn settle(
        &self,
        of: RequestKey,
        token: ClaimToken,
        answer: KeptAnswer,
        kept: Duration,
    ) -> Result<bool, StoreError> {
        self.write(move |connection| idempotency::settle(connection, &of, token, &answer, kept)).await
    }

    async fn release(&self, of: RequestKey, token: ClaimToken) -> Result<(), StoreError> {
        self.write(move |connection| idempotency::release(connection, &of, token)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let touch = |connection: &mut Connection| {
            connection.query_row("SELECT count(*) FROM spaces WHERE space_id = x''", [], |_| Ok(()))?;
            Ok(())
        };
        self.write(touch).await?;
        self.read(touch).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        // Readers go first: whoever leaves a WAL database last tidies it up, and a read-only connection cannot.
        self.readers.close();
        join(&self.reading).await?;
        self.writer.close();
        join(&self.writing).await
    }
}

async fn join(threads: &Mutex<Vec<JoinHandle<()>>>) -> Result<(), StoreError> {
    let threads = threads.lock().map(|mut threads| std::mem::take(&mut *threads)).unwrap_or_default();
    let joined = tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join)).await;
    match joined {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(StoreError::Fault("a thread of the store panicked".into())),
        Err(error) => Err(StoreError::Fault(error.into())),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match error.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy,
            Some(
                Code::DiskFull
                | Code::SystemIoFailure
                | Code::CannotOpen
                | Code::ReadOnly
                | Code::OutOfMemory
                | Code::FileLockingProtocolFailed
                | Code::OperationInterrupted,
            ) => Self::Unavailable(error.into()),
            _ => Self::Fault(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
