//! Observers: what they are to be told waits, bounded, for one thread of their own, so that it comes in order, never under
//! the client's lock, and a slow observer holds up nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use sync_core::document::Patch;
use sync_core::id::{DocId, SpaceId};
use sync_core::session::Status;
use sync_core::wire::Peer;

use super::EditState;
use super::presence::{PeerInfo, Peers};
use super::watch::Observed;

mod deliver;
mod news;
mod waiting;

pub(super) use news::Turn;
pub use news::{CollectionChanges, CollectionEvent, CollectionNews, EditChange, EditEvent, EditNews};

use waiting::Waiting;

/// Who made an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This device, through this client.
    Local,
    /// Another device.
    Remote,
}

/// One step from what an observer shows to what the document holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Patched {
    /// Who made it.
    pub origin: Origin,
    /// What it does, and where.
    pub patch: Patch,
}

/// Something happened to a document.
#[derive(Debug, Clone, PartialEq)]
pub struct DocEvent {
    /// In which space.
    pub space: SpaceId,
    /// To which document.
    pub doc: DocId,
    /// What happened.
    pub kind: EventKind,
    /// Everything in the space's log up to this place is in the document, as far as it concerns it: an edit that another
    /// device knows as [`Durable`](super::EditState::Durable) there is shown. 0 where that is not known.
    pub through: u64,
}

/// What happened to a document.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// It changed by these steps, in this order.
    Patches(Vec<Patched>),
    /// Read it again: a change was refused, it was closed while others changed it, or there were more steps than are kept.
    LookAgain,
    /// It was deleted.
    Deleted,
}

type DocCallback = Arc<dyn Fn(&DocEvent) + Send + Sync>;
type StatusCallback = Arc<dyn Fn(Status) + Send + Sync>;
type PresenceCallback = Arc<dyn Fn(&[PeerInfo]) + Send + Sync>;
type TokenCallback = Arc<dyn Fn() + Send + Sync>;
type ListCallback = Arc<dyn Fn() + Send + Sync>;
type AccessCallback = Arc<dyn Fn() + Send + Sync>;
type CollectionCallback = Arc<dyn Fn(&CollectionEvent) + Send + Sync>;
type EditCallback = Arc<dyn Fn(&EditEvent) + Send + Sync>;

type Key = (SpaceId, DocId);

/// Whom to tell of what.
#[derive(Default)]
struct Listeners {
    next: u64,
    docs: BTreeMap<Key, BTreeMap<u64, DocCallback>>,
    statuses: BTreeMap<u64, StatusCallback>,
    presences: BTreeMap<SpaceId, BTreeMap<u64, PresenceCallback>>,
    lists: BTreeMap<SpaceId, BTreeMap<u64, ListCallback>>,
    accesses: BTreeMap<SpaceId, BTreeMap<u64, AccessCallback>>,
    collections: BTreeMap<SpaceId, BTreeMap<u64, (Option<String>, CollectionCallback)>>,
    edits: BTreeMap<Key, BTreeMap<u64, EditCallback>>,
    tokens: BTreeMap<u64, TokenCallback>,
}

#[derive(Default)]
struct State {
    listeners: Listeners,
    waiting: Waiting,
    peers: Peers,
    /// Whether a new token was asked for since the last one came.
    token_wanted: bool,
    running: bool,
    closed: bool,
}

/// The observers of a client.
#[derive(Default)]
pub(super) struct Observers {
    state: Mutex<State>,
    wake: Condvar,
}

/// What an observer observes.
#[derive(Clone, Copy)]
enum Subject {
    Doc(Key),
    Status,
    Presence(SpaceId),
    List(SpaceId),
    Access(SpaceId),
    Collection(SpaceId),
    Edits(Key),
    Token,
}

/// An observer that is told as long as this lives.
#[must_use = "an observer hears nothing once its subscription is dropped"]
pub struct Subscription {
    observers: Weak<Observers>,
    subject: Subject,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(observers) = self.observers.upgrade() {
            observers.lock().listeners.remove(self.subject, self.id);
        }
    }
}

impl Listeners {
    fn remove(&mut self, subject: Subject, id: u64) {
        match subject {
            Subject::Doc(key) => remove(&mut self.docs, &key, id),
            Subject::Presence(space) => remove(&mut self.presences, &space, id),
            Subject::List(space) => remove(&mut self.lists, &space, id),
            Subject::Access(space) => remove(&mut self.accesses, &space, id),
            Subject::Collection(space) => remove(&mut self.collections, &space, id),
            Subject::Edits(key) => remove(&mut self.edits, &key, id),
            Subject::Status => drop(self.statuses.remove(&id)),
            Subject::Token => drop(self.tokens.remove(&id)),
        }
    }
}

fn remove<K: Ord, T>(all: &mut BTreeMap<K, BTreeMap<u64, T>>, key: &K, id: u64) {
    if let Some(some) = all.get_mut(key) {
        some.remove(&id);
        if some.is_empty() {
            all.remove(key);
        }
    }
}

impl Observers {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half-way: callbacks run outside.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn observe_doc(self: &Arc<Self>, space: SpaceId, doc: DocId, callback: DocCallback) -> Subscription {
        self.subscribe(Subject::Doc((space, doc)), |state, id| {
            state.listeners.docs.entry((space, doc)).or_default().insert(id, callback);
        })
    }

    pub(super) fn observe_status(self: &Arc<Self>, callback: StatusCallback) -> Subscription {
        self.subscribe(Subject::Status, |state, id| {
            state.listeners.statuses.insert(id, callback);
        })
    }

    pub(super) fn observe_presence(self: &Arc<Self>, space: SpaceId, callback: PresenceCallback) -> Subscription {
        self.subscribe(Subject::Presence(space), |state, id| {
            state.listeners.presences.entry(space).or_default().insert(id, callback);
            if !state.peers.list(space, Instant::now()).is_empty() {
                state.waiting.presence(space);
            }
        })
    }

    pub(super) fn observe_list(self: &Arc<Self>, space: SpaceId, callback: ListCallback) -> Subscription {
        self.subscribe(Subject::List(space), |state, id| {
            state.listeners.lists.entry(space).or_default().insert(id, callback);
        })
    }

    pub(super) fn observe_access(self: &Arc<Self>, space: SpaceId, callback: AccessCallback) -> Subscription {
        self.subscribe(Subject::Access(space), |state, id| {
            state.listeners.accesses.entry(space).or_default().insert(id, callback);
        })
    }

    pub(super) fn observe_collection(
        self: &Arc<Self>,
        space: SpaceId,
        collection: Option<String>,
        callback: CollectionCallback,
    ) -> Subscription {
        self.subscribe(Subject::Collection(space), |state, id| {
            state.listeners.collections.entry(space).or_default().insert(id, (collection, callback));
        })
    }

    pub(super) fn observe_edits(self: &Arc<Self>, space: SpaceId, doc: DocId, callback: EditCallback) -> Subscription {
        self.subscribe(Subject::Edits((space, doc)), |state, id| {
            state.listeners.edits.entry((space, doc)).or_default().insert(id, callback);
        })
    }

    /// Who begins to listen when a token is wanted already hears of it.
    pub(super) fn observe_token(self: &Arc<Self>, callback: TokenCallback) -> Subscription {
        self.subscribe(Subject::Token, |state, id| {
            state.listeners.tokens.insert(id, callback);
            state.waiting.token |= state.token_wanted;
        })
    }

    fn subscribe(self: &Arc<Self>, subject: Subject, add: impl FnOnce(&mut State, u64)) -> Subscription {
        let mut state = self.lock();
        state.listeners.next += 1;
        let id = state.listeners.next;
        add(&mut state, id);
        if !state.running {
            state.running = true;
            let observers = Arc::downgrade(self);
            let spawned =
                std::thread::Builder::new().name("rejoin-observers".into()).spawn(move || deliver::run(&observers));
            if let Err(error) = spawned {
                state.running = false;
                tracing::error!(%error, "observers cannot be told: no thread");
            }
        }
        self.wake.notify_all();
        Subscription { observers: Arc::downgrade(self), subject, id }
    }

    /// Changes what waits, and wakes the thread if there is anything new for it.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        let idle = state.waiting.is_empty();
        change(&mut state);
        // While something waits, the thread knows when to look again.
        let urgent = state.waiting.is_urgent();
        if urgent || (idle && !state.waiting.is_empty()) {
            self.wake.notify_all();
        }
    }

    pub(super) fn patches(&self, space: SpaceId, doc: DocId, origin: Origin, patches: Vec<Patch>, through: u64) {
        self.tell(|state| {
            if state.listeners.docs.contains_key(&(space, doc)) && !patches.is_empty() {
                let steps = patches.into_iter().map(|patch| Patched { origin, patch });
                state.waiting.steps((space, doc), steps, through);
            }
        });
    }

    pub(super) fn look_again(&self, space: SpaceId, doc: DocId) {
        self.tell(|state| {
            if state.listeners.docs.contains_key(&(space, doc)) {
                state.waiting.look_again((space, doc));
            }
        });
    }

    pub(super) fn deleted(&self, space: SpaceId, doc: DocId) {
        self.tell(|state| {
            if state.listeners.docs.contains_key(&(space, doc)) {
                state.waiting.deleted((space, doc));
            }
        });
    }

    /// Documents of a space came or went.
    pub(super) fn listed(&self, space: SpaceId) {
        self.tell(|state| {
            if state.listeners.lists.contains_key(&space) {
                state.waiting.listed(space);
            }
        });
    }

    /// Whether anybody observes collections of a space: only then is it worth looking up in which a document is.
    pub(super) fn watches_collections(&self, space: SpaceId) -> bool {
        self.lock().listeners.collections.contains_key(&space)
    }

    /// A document in a collection came, changed or went.
    pub(super) fn collected(&self, space: SpaceId, doc: DocId, collection: String, turn: Turn) {
        self.tell(|state| {
            if state.listeners.collections.contains_key(&space) {
                state.waiting.collections.note(space, doc, collection, turn);
            }
        });
    }

    /// Whoever observes collections of a space has to list them again.
    pub(super) fn collections_anew(&self, space: SpaceId) {
        self.tell(|state| {
            if state.listeners.collections.contains_key(&space) {
                state.waiting.collections.look_again(space);
            }
        });
    }

    /// Whether anybody observes what becomes of the edits of a document.
    pub(super) fn watches_edits(&self, space: SpaceId, doc: DocId) -> bool {
        self.lock().listeners.edits.contains_key(&(space, doc))
    }

    /// Something became of edits.
    pub(super) fn edits(&self, space: SpaceId, doc: DocId, first: u64, last: u64, state: EditState) {
        let change = EditChange { first, last, state };
        self.tell(|state| {
            if state.listeners.edits.contains_key(&(space, doc)) {
                state.waiting.edits.note((space, doc), change);
            }
        });
    }

    /// Whoever observes the edits of a document has to ask for them.
    pub(super) fn edits_anew(&self, space: SpaceId, doc: DocId) {
        self.tell(|state| {
            if state.listeners.edits.contains_key(&(space, doc)) {
                state.waiting.edits.look_again((space, doc));
            }
        });
    }

    /// Access to a space was lost, came back, or was missing.
    pub(super) fn access(&self, space: SpaceId) {
        self.tell(|state| {
            if state.listeners.accesses.contains_key(&space) {
                state.waiting.accesses.insert(space);
            }
        });
    }

    pub(super) fn status(&self, status: Status) {
        self.tell(|state| {
            if !state.listeners.statuses.is_empty() {
                state.waiting.status = Some(status);
            }
        });
    }

    pub(super) fn token_wanted(&self) {
        self.tell(|state| {
            state.token_wanted = true;
            state.waiting.token |= !state.listeners.tokens.is_empty();
        });
    }

    /// A new token is there.
    pub(super) fn token_came(&self) {
        self.tell(|state| (state.token_wanted, state.waiting.token) = (false, false));
    }

    /// Others show themselves, or leave.
    pub(super) fn present(&self, space: SpaceId, peers: Vec<Peer>) {
        self.tell(|state| {
            let changed = state.peers.update(space, peers, Instant::now());
            if changed && state.listeners.presences.contains_key(&space) {
                state.waiting.presence(space);
            }
        });
    }

    /// Who shows itself in a space.
    pub(super) fn peers(&self, space: SpaceId) -> Vec<PeerInfo> {
        self.lock().peers.list(space, Instant::now())
    }

    /// What somebody observes that another process may change.
    pub(super) fn observed(&self) -> Observed {
        let Listeners { docs, lists, collections, accesses, .. } = &self.lock().listeners;
        Observed {
            docs: docs.keys().copied().collect(),
            lists: lists.keys().copied().collect(),
            collections: collections.keys().copied().collect(),
            accesses: accesses.keys().copied().collect(),
        }
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }
}
