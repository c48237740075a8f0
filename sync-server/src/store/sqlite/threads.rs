//! SQLite's threads: one writes what waits together in one transaction, a few read. Their queues are bounded.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::{io, mem};

use rusqlite::{Connection, TransactionBehavior};
use sync_core::check::Push;
use sync_core::id::SpaceId;
use sync_core::limits::{GROUP_BYTES_MAX, GROUP_PUSHES_MAX, READER_QUEUE_MAX, WRITER_QUEUE_MAX};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::super::{Committed, StoreError};
use super::commit;

pub(super) type ReadJob = Box<dyn FnOnce(&mut Connection) + Send>;
type Reply = oneshot::Sender<Result<Committed, StoreError>>;

/// What the writing thread is asked to do.
pub(super) enum WriteJob {
    /// A group of pushes; committed together with those that wait behind it.
    Commit { space: SpaceId, pushes: Vec<Push>, reply: Reply },
    /// Anything else, in a transaction of its own.
    Other(ReadJob),
}

/// A sender that can be taken away, upon which the threads behind it finish.
struct Queue<T>(Mutex<Option<Lane<T>>>);

/// Where jobs go.
enum Lane<T> {
    Threads(mpsc::Sender<T>),
    /// They are done at once, on the thread of whoever asks: a simulation has one.
    #[cfg(feature = "testing")]
    Here(Box<dyn FnMut(T) + Send>),
}

impl<T> Queue<T> {
    fn new(sender: mpsc::Sender<T>) -> Self {
        Self(Mutex::new(Some(Lane::Threads(sender))))
    }

    #[cfg(feature = "testing")]
    fn here(work: impl FnMut(T) + Send + 'static) -> Self {
        Self(Mutex::new(Some(Lane::Here(Box::new(work)))))
    }

    fn send(&self, job: T) -> Result<(), StoreError> {
        let Ok(mut lane) = self.0.lock() else { return Err(gone()) };
        match lane.as_mut() {
            Some(Lane::Threads(sender)) => match sender.try_send(job) {
                Ok(()) => Ok(()),
                Err(TrySendError::Full(_)) => Err(StoreError::Busy),
                Err(TrySendError::Closed(_)) => Err(gone()),
            },
            #[cfg(feature = "testing")]
            Some(Lane::Here(work)) => {
                work(job);
                Ok(())
            }
            None => Err(gone()),
        }
    }

    fn close(&self) {
        if let Ok(mut sender) = self.0.lock() {
            *sender = None;
        }
    }
}

/// The answer of a store that is closed, or whose thread died.
pub(super) fn gone() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// Answers whoever asked. Who has gone away in the meantime needs no answer.
pub(super) fn answer<T>(reply: oneshot::Sender<Result<T, StoreError>>, result: Result<T, StoreError>) {
    if let Err(Err(error)) = reply.send(result) {
        tracing::warn!(%error, "storage failed, and nobody waits for the answer");
    }
}

/// The reading threads.
pub(super) struct Readers(Queue<ReadJob>);

impl Readers {
    pub(super) fn start(connections: Vec<Connection>, threads: &mut Vec<JoinHandle<()>>) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<ReadJob>(READER_QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for mut connection in connections {
            let receiver = Arc::clone(&receiver);
            let work = move || {
                loop {
                    let job = receiver.lock().ok().and_then(|mut receiver| receiver.blocking_recv());
                    let Some(job) = job else { return };
                    run(&mut connection, job);
                }
            };
            threads.push(Builder::new().name("sqlite-read".to_owned()).spawn(work)?);
        }
        Ok(Self(Queue::new(sender)))
    }

    /// Without a thread.
    #[cfg(feature = "testing")]
    pub(super) fn here(mut connection: Connection) -> Self {
        Self(Queue::here(move |job| run(&mut connection, job)))
    }

    pub(super) fn send(&self, job: ReadJob) -> Result<(), StoreError> {
        self.0.send(job)
    }

    pub(super) fn close(&self) {
        self.0.close();
    }
}

/// A job that panics is a fault of ours and loses its own answer alone: the thread and its connection live on.
fn run(connection: &mut Connection, job: ReadJob) {
    if catch_unwind(AssertUnwindSafe(|| job(connection))).is_err() {
        tracing::error!("a job of the store panicked");
    }
}

/// The writing thread.
pub(super) struct WriterThread(Queue<WriteJob>);

impl WriterThread {
    pub(super) fn start(mut connection: Connection, threads: &mut Vec<JoinHandle<()>>) -> io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel(WRITER_QUEUE_MAX);
        let work = move || {
            let mut next: Option<WriteJob> = None;
            while let Some(job) = next.take().or_else(|| receiver.blocking_recv()) {
                match job {
                    WriteJob::Other(job) => run(&mut connection, job),
                    WriteJob::Commit { space, pushes, reply } => {
                        let mut batch = Batch::default();
                        batch.add(space, pushes, reply);
                        next = batch.fill(&mut receiver);
                        batch.commit(&mut connection);
                    }
                }
            }
            // Leaves one file behind where nobody else has it open; a backup needs no more than that.
            let truncate = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(error) = truncate.and_then(|()| connection.close().map_err(|(_, error)| error)) {
                tracing::warn!(%error, "closing the database");
            }
        };
        threads.push(Builder::new().name("sqlite-write".to_owned()).spawn(work)?);
        Ok(Self(Queue::new(sender)))
    }

    /// Without a thread, on a disk that fails when it is told to.
    #[cfg(feature = "testing")]
    pub(super) fn here(mut connection: Connection) -> Self {
        Self(Queue::here(move |job| match job {
            // Whoever asked finds its answer gone, and nothing has happened.
            WriteJob::Other(_) if !super::simulated::writes() => {}
            WriteJob::Other(job) => run(&mut connection, job),
            WriteJob::Commit { space, pushes, reply } => {
                let mut batch = Batch::default();
                batch.add(space, pushes, reply);
                batch.commit(&mut connection);
            }
        }))
    }

    pub(super) fn send(&self, job: WriteJob) -> Result<(), StoreError> {
        self.0.send(job)
    }

    pub(super) fn close(&self) {
        self.0.close();
    }
}

/// Groups of several spaces that share one fsync.
#[derive(Default)]
struct Batch {
    groups: Vec<(SpaceId, Vec<Push>, Reply)>,
    pushes: usize,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, space: SpaceId, pushes: Vec<Push>, reply: Reply) {
        self.pushes += pushes.len();
        self.bytes += pushes.iter().map(Push::payload_bytes).sum::<usize>();
        self.groups.push((space, pushes, reply));
    }

    /// Takes in what waits already, within the bounds of a transaction; answers what does not belong in it.
    fn fill(&mut self, receiver: &mut mpsc::Receiver<WriteJob>) -> Option<WriteJob> {
        while self.pushes < GROUP_PUSHES_MAX && self.bytes < GROUP_BYTES_MAX {
            match receiver.try_recv() {
                Ok(WriteJob::Commit { space, pushes, reply }) => self.add(space, pushes, reply),
                Ok(other) => return Some(other),
                Err(_) => return None,
            }
        }
        None
    }

    /// One transaction, and an answer for each group.
    fn commit(&mut self, connection: &mut Connection) {
        let (mut replies, mut groups) = (Vec::new(), Vec::new());
        for (space, pushes, reply) in mem::take(&mut self.groups) {
            groups.push((space, pushes));
            replies.push(reply);
        }
        let all = catch_unwind(AssertUnwindSafe(|| commit_all(connection, groups)))
            .unwrap_or_else(|_| Err(StoreError::Fault("a commit panicked".into())));
        match all {
            Ok(results) => replies.into_iter().zip(results).for_each(|(reply, result)| answer(reply, result)),
            Err(error) => {
                let text = error.to_string();
                for reply in replies {
                    let error = match &error {
                        StoreError::Fault(_) => StoreError::Fault(text.clone().into()),
                        StoreError::Busy => StoreError::Busy,
                        _ => StoreError::Unavailable(text.clone().into()),
                    };
                    answer(reply, Err(error));
                }
            }
        }
    }
}

pub(super) type Group = (SpaceId, Vec<Push>);
pub(super) type Results = Vec<Result<Committed, StoreError>>;

/// All groups in one transaction. A fault in one space is not another's: then each gets a transaction of its own. No
/// savepoints, since each of them writes every page that it touched to the log once more.
pub(super) fn commit_all(connection: &mut Connection, groups: Vec<Group>) -> Result<Results, StoreError> {
    let one = groups.len() == 1;
    let again = if one { Vec::new() } else { groups.clone() };
    match commit_together(connection, groups) {
        Ok(results) => Ok(results),
        // A full disk or a failing one is no fault of a space.
        Err(StoreError::Unavailable(cause)) => Err(StoreError::Unavailable(cause)),
        Err(error) if one => Ok(vec![Err(error)]),
        Err(error) => {
            tracing::warn!(%error, groups = again.len(), "a fault in a space: its neighbours are committed one by one");
            let alone = again.into_iter().map(|group| commit_together(connection, vec![group]));
            Ok(alone
                .map(|result| result.and_then(|results| results.into_iter().next().unwrap_or_else(|| Err(gone()))))
                .collect())
        }
    }
}

fn commit_together(connection: &mut Connection, groups: Vec<Group>) -> Result<Results, StoreError> {
    // Dropping it on any way out rolls back, so the next group finds a clean connection.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(groups.len());
    for (space, pushes) in groups {
        match commit::group(&transaction, space, pushes) {
            Ok(committed) => results.push(Ok(committed)),
            // Found before anything is written.
            Err(error @ (StoreError::UnknownSpace | StoreError::DeletedSpace | StoreError::Busy)) => {
                results.push(Err(error));
            }
            Err(error) => return Err(error),
        }
    }
    #[cfg(feature = "testing")]
    if !super::simulated::writes() {
        if sync_core::mutation!("answer-before-commit") {
            return Ok(results);
        }
        return Err(StoreError::Unavailable("the power failed".into()));
    }
    transaction.commit()?;
    Ok(results)
}
