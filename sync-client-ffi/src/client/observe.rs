//! Observers: events go through a queue to one thread of their own, so that they arrive in order, never under the
//! client's lock, and a slow observer holds up nobody.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use sync_core::document::Patch;
use sync_core::id::{DocId, SpaceId};
use sync_core::limits::OBSERVER_QUEUE_MAX;
use sync_core::session::Status;

/// Who made the edit that an event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This device, through this client.
    Local,
    /// Another device.
    Remote,
}

/// Something happened to a document.
#[derive(Debug, Clone, PartialEq)]
pub struct DocEvent {
    /// In which space.
    pub space: SpaceId,
    /// To which document.
    pub doc: DocId,
    /// Who made it happen.
    pub origin: Origin,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a document.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// It changed by these steps.
    Patches(Vec<Patch>),
    /// Read it again: a change was refused, or there were more events than the queue holds.
    LookAgain,
    /// It was deleted.
    Deleted,
}

type DocCallback = Arc<dyn Fn(&DocEvent) + Send + Sync>;
type StatusCallback = Arc<dyn Fn(Status) + Send + Sync>;

enum Message {
    Doc(DocEvent),
    Status(Status),
}

#[derive(Default)]
struct State {
    next: u64,
    docs: BTreeMap<u64, ((SpaceId, DocId), DocCallback)>,
    statuses: BTreeMap<u64, StatusCallback>,
    queue: VecDeque<Message>,
    running: bool,
    closed: bool,
}

/// The observers of a client.
#[derive(Default)]
pub(super) struct Observers {
    state: Mutex<State>,
    wake: Condvar,
}

/// An observer that is told as long as this lives.
#[must_use = "an observer hears nothing once its subscription is dropped"]
pub struct Subscription {
    observers: Weak<Observers>,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(observers) = self.observers.upgrade() {
            let mut state = observers.lock();
            state.docs.remove(&self.id);
            state.statuses.remove(&self.id);
        }
    }
}

impl Observers {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half-way: callbacks run outside.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn observe_doc(self: &Arc<Self>, space: SpaceId, doc: DocId, callback: DocCallback) -> Subscription {
        self.subscribe(|state, id| {
            state.docs.insert(id, ((space, doc), callback));
        })
    }

    pub(super) fn observe_status(self: &Arc<Self>, callback: StatusCallback) -> Subscription {
        self.subscribe(|state, id| {
            state.statuses.insert(id, callback);
        })
    }

    fn subscribe(self: &Arc<Self>, add: impl FnOnce(&mut State, u64)) -> Subscription {
        let mut state = self.lock();
        state.next += 1;
        let id = state.next;
        add(&mut state, id);
        if !state.running {
            state.running = true;
            let observers = Arc::downgrade(self);
            let spawned =
                std::thread::Builder::new().name("rejoin-observers".into()).spawn(move || deliver(&observers));
            if let Err(error) = spawned {
                state.running = false;
                tracing::error!(%error, "observers cannot be told: no thread");
            }
        }
        Subscription { observers: Arc::downgrade(self), id }
    }

    pub(super) fn doc(&self, event: DocEvent) {
        let mut state = self.lock();
        if !state.docs.values().any(|(key, _)| *key == (event.space, event.doc)) {
            return;
        }
        if state.queue.len() >= OBSERVER_QUEUE_MAX {
            // Whoever lags behind reads the documents again; one such event stands for all of a document.
            let mut behind: Vec<(SpaceId, DocId)> = Vec::new();
            let statuses: VecDeque<Message> = state
                .queue
                .drain(..)
                .filter(|message| match message {
                    Message::Status(_) => true,
                    Message::Doc(event) => {
                        if !behind.contains(&(event.space, event.doc)) {
                            behind.push((event.space, event.doc));
                        }
                        false
                    }
                })
                .collect();
            state.queue = statuses;
            let again = |(space, doc)| {
                Message::Doc(DocEvent { space, doc, origin: Origin::Remote, kind: EventKind::LookAgain })
            };
            state.queue.extend(behind.into_iter().map(again));
        }
        state.queue.push_back(Message::Doc(event));
        self.wake.notify_all();
    }

    pub(super) fn status(&self, status: Status) {
        let mut state = self.lock();
        if !state.statuses.is_empty() {
            state.queue.retain(|message| !matches!(message, Message::Status(_)));
            state.queue.push_back(Message::Status(status));
            self.wake.notify_all();
        }
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }
}

fn deliver(observers: &Weak<Observers>) {
    while let Some(observers) = observers.upgrade() {
        let mut state = observers.lock();
        while state.queue.is_empty() && !state.closed {
            state = observers.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let Some(message) = state.queue.pop_front() else {
            return;
        };
        let docs: Vec<DocCallback> = match &message {
            Message::Doc(event) => {
                let of = state.docs.values().filter(|(key, _)| *key == (event.space, event.doc));
                of.map(|(_, callback)| callback.clone()).collect()
            }
            Message::Status(_) => Vec::new(),
        };
        let statuses: Vec<StatusCallback> = state.statuses.values().cloned().collect();
        drop(state);
        // An observer that panics must not silence the others.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match &message {
            Message::Doc(event) => docs.iter().for_each(|tell| tell(event)),
            Message::Status(status) => statuses.iter().for_each(|tell| tell(*status)),
        }));
        if told.is_err() {
            tracing::error!("an observer panicked");
        }
    }
}
