//! Group commit: pushes to one space that arrive while an earlier commit is under way are committed together.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sync_core::check::Push;
use sync_core::heal::{Lost, TakenBack};
use sync_core::id::SpaceId;
use sync_core::limits::{GROUP_BYTES_MAX, GROUP_PUSHES_MAX, WRITER_QUEUE_MAX};
use sync_core::log::Cursor;
use sync_core::wire::PushAnswer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::audit::deletions::Deletions;
use crate::audit::keeper::Keeper;
use crate::bus::Publisher;
use crate::store::{Healed, Store, StoreError};
use crate::telemetry::metrics;

/// Takes pushes one by one and hands them to the store in groups.
#[derive(Clone)]
pub struct Writer(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    publisher: Publisher,
    /// Where deletions are kept.
    audit: Option<Arc<Keeper>>,
    /// One permit a push, from its arrival to its answer: this is what bounds the queues below.
    room: Arc<Semaphore>,
    closed: AtomicBool,
    /// Spaces with a commit under way, and what waits behind it.
    spaces: Mutex<BTreeMap<SpaceId, VecDeque<Waiting>>>,
}

struct Waiting {
    push: Push,
    bytes: usize,
    reply: oneshot::Sender<Result<PushAnswer, StoreError>>,
    permit: OwnedSemaphorePermit,
}

impl Writer {
    /// A writer to that store, which tells of what it commits.
    pub fn new(store: Arc<dyn Store>, publisher: Publisher) -> Self {
        Self::of(store, publisher, None)
    }

    /// One that also has deletions kept.
    pub(crate) fn audited(store: Arc<dyn Store>, publisher: Publisher, audit: Arc<Keeper>) -> Self {
        Self::of(store, publisher, Some(audit))
    }

    fn of(store: Arc<dyn Store>, publisher: Publisher, audit: Option<Arc<Keeper>>) -> Self {
        let (room, closed) = (Arc::new(Semaphore::new(WRITER_QUEUE_MAX)), AtomicBool::new(false));
        Self(Arc::new(Inner { store, publisher, audit, room, closed, spaces: Mutex::default() }))
    }

    /// How many pushes wait or are being committed, for the metrics.
    pub(crate) fn waiting(&self) -> usize {
        WRITER_QUEUE_MAX - self.0.room.available_permits()
    }

    /// Commits a push together with its neighbours. The answer comes after the commit; whoever stops waiting for it
    /// does not take the push back.
    pub async fn submit(&self, space: SpaceId, push: Push) -> Result<PushAnswer, StoreError> {
        let inner = &self.0;
        if inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let permit = Arc::clone(&inner.room).try_acquire_owned().map_err(|_| StoreError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { bytes: push.payload_bytes(), push, reply, permit };
        let idle = {
            let mut spaces = inner.spaces();
            let idle = !spaces.contains_key(&space);
            spaces.entry(space).or_default().push_back(waiting);
            idle
        };
        if idle {
            let turn = Turn { inner: Arc::clone(inner), space, finished: false };
            tokio::spawn(turn.run());
        }
        answer.await.map_err(|_| closed())?
    }

    /// Takes back what a log lost, and tells of it. Gives where the log ends then.
    pub(crate) async fn take_back(&self, space: SpaceId, lost: Vec<Lost>) -> Result<(Cursor, TakenBack), StoreError> {
        let inner = &self.0;
        if inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let _permit = inner.room.try_acquire().map_err(|_| StoreError::Busy)?;
        let Healed { mut committed, became } = inner.store.take_back(space, lost).await?;
        inner.publisher.committed(space, &mut committed);
        Ok((committed.head, became))
    }

    /// Refuses what comes from now on, and waits until all that came before is answered.
    pub async fn drain(&self) {
        self.0.closed.store(true, Ordering::Release);
        // All permits are back when nothing is under way.
        let all = self.0.room.acquire_many(WRITER_QUEUE_MAX as u32).await;
        debug_assert!(all.is_ok(), "the semaphore is never closed");
    }
}

impl Inner {
    fn spaces(&self) -> MutexGuard<'_, BTreeMap<SpaceId, VecDeque<Waiting>>> {
        // Nothing under this lock can panic half-way.
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to commit to a space: one at a time, so that what arrives meanwhile forms the next group.
struct Turn {
    inner: Arc<Inner>,
    space: SpaceId,
    finished: bool,
}

impl Turn {
    async fn run(mut self) {
        while let Some(group) = self.next_group() {
            let (mut pushes, mut replies) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
            for Waiting { push, reply, permit, .. } in group {
                pushes.push(push);
                replies.push((reply, permit));
            }
            let (deletions, started) = (Deletions::of(&pushes), Instant::now());
            let done = self.inner.store.commit(self.space, pushes).await;
            metrics::committed(replies.len(), started.elapsed(), done.is_ok());
            match done {
                Ok(mut committed) => {
                    if sync_core::mutation!("answers-swapped") {
                        committed.answers.reverse();
                    }
                    if let Some(audit) = &self.inner.audit {
                        deletions.keep(self.space, &committed.entries, audit);
                    }
                    // Before the answers: who pushed finds what it added in its mailbox when it is answered.
                    self.inner.publisher.committed(self.space, &mut committed);
                    for ((reply, _permit), answer) in replies.into_iter().zip(committed.answers) {
                        send(reply, Ok(answer));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, space = %self.space, pushes = replies.len(), "commit failed");
                    for (reply, _permit) in replies {
                        send(reply, Err(again(&error)));
                    }
                }
            }
        }
    }

    /// What waits, within the bounds of one transaction; `None` ends the turn.
    fn next_group(&mut self) -> Option<Vec<Waiting>> {
        let mut spaces = self.inner.spaces();
        let queue = spaces.get_mut(&self.space)?;
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(next) = queue.front() {
            let full = group.len() >= GROUP_PUSHES_MAX || bytes + next.bytes > GROUP_BYTES_MAX;
            if full && !group.is_empty() {
                break;
            }
            bytes += next.bytes;
            group.extend(queue.pop_front());
        }
        if group.is_empty() {
            spaces.remove(&self.space);
            self.finished = true;
            return None;
        }
        Some(group)
    }
}

impl Drop for Turn {
    /// A turn that ended in a panic, or with its runtime, must not leave a queue behind that nobody serves.
    fn drop(&mut self) {
        if !self.finished {
            self.inner.spaces().remove(&self.space);
        }
    }
}

/// Who has stopped waiting will ask again, and be told that it is a duplicate.
fn send(reply: oneshot::Sender<Result<PushAnswer, StoreError>>, answer: Result<PushAnswer, StoreError>) {
    if reply.send(answer).is_err() {
        tracing::debug!("a push was committed, and nobody waits for the answer");
    }
}

/// The same error for each push of the group; the cause was logged once.
fn again(error: &StoreError) -> StoreError {
    let text = error.to_string().into();
    match error {
        StoreError::UnknownSpace => StoreError::UnknownSpace,
        StoreError::DeletedSpace => StoreError::DeletedSpace,
        StoreError::Busy => StoreError::Busy,
        StoreError::Unavailable(_) => StoreError::Unavailable(text),
        StoreError::Fault(_) => StoreError::Fault(text),
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the writer is closed".into())
}

#[cfg(test)]
mod tests;
