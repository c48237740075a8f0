//! The thread that tells observers: a status at once, documents and presence at most once a frame of the screen.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, Weak};
use std::time::{Duration, Instant};

use sync_core::id::SpaceId;
use sync_core::limits::APPLY_INTERVAL_MS;
use sync_core::session::Status;

use super::{
    AccessCallback, CollectionCallback, CollectionEvent, DocCallback, DocEvent, EditCallback, EditEvent, ListCallback,
    Observers, PresenceCallback, State, StatusCallback, TokenCallback,
};
use crate::client::presence::PeerInfo;

const FRAME: Duration = Duration::from_millis(APPLY_INTERVAL_MS);

/// What is told at once: no lock is held while it is.
#[derive(Default)]
struct Telling {
    status: Option<(Status, Vec<StatusCallback>)>,
    tokens: Vec<TokenCallback>,
    accesses: Vec<AccessCallback>,
    lists: Vec<ListCallback>,
    collections: Vec<(CollectionEvent, CollectionCallback)>,
    edits: Vec<(EditEvent, Vec<EditCallback>)>,
    docs: Vec<(DocEvent, Vec<DocCallback>)>,
    presences: Vec<(Vec<PeerInfo>, Vec<PresenceCallback>)>,
}

pub(super) fn run(observers: &Weak<Observers>) {
    let mut frame_at = Instant::now();
    while let Some(observers) = observers.upgrade() {
        let mut state = observers.lock();
        let telling = loop {
            let now = Instant::now();
            for space in state.peers.expire(now) {
                if state.listeners.presences.contains_key(&space) {
                    state.waiting.presence(space);
                }
            }
            // Whoever closes the client hears what happened before.
            let paced = state.waiting.is_paced() && (now >= frame_at || state.closed);
            if paced || state.waiting.is_urgent() {
                if paced {
                    frame_at = now + FRAME;
                }
                break take(&mut state, paced, now);
            }
            if state.closed {
                return;
            }
            let frame = state.waiting.is_paced().then_some(frame_at);
            let until = frame.into_iter().chain(state.peers.next_end()).min();
            let wake = &observers.wake;
            state = match until {
                None => wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(now);
                    wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        drop(state);
        telling.tell();
    }
}

fn take(state: &mut State, paced: bool, now: Instant) -> Telling {
    let listeners = &state.listeners;
    let mut telling = Telling::default();
    if let Some(status) = state.waiting.status.take() {
        telling.status = Some((status, callbacks(Some(&listeners.statuses))));
    }
    if std::mem::take(&mut state.waiting.token) {
        telling.tokens = callbacks(Some(&listeners.tokens));
    }
    for space in std::mem::take(&mut state.waiting.accesses) {
        telling.accesses.extend(callbacks(listeners.accesses.get(&space)));
    }
    if paced {
        for space in state.waiting.take_lists() {
            telling.lists.extend(callbacks(listeners.lists.get(&space)));
        }
        for (space, news) in state.waiting.collections.take() {
            for (collection, tell) in listeners.collections.get(&space).into_iter().flat_map(BTreeMap::values) {
                let event = news.event(space, collection.as_deref());
                telling.collections.extend(event.map(|event| (event, tell.clone())));
            }
        }
        for event in state.waiting.edits.take() {
            let of = callbacks(listeners.edits.get(&(event.space, event.doc)));
            telling.edits.push((event, of));
        }
        let (events, presences) = state.waiting.take_paced();
        for event in events {
            let of = callbacks(listeners.docs.get(&(event.space, event.doc)));
            telling.docs.push((event, of));
        }
        for space in presences {
            let of: Vec<PresenceCallback> = callbacks(listeners.presences.get::<SpaceId>(&space));
            telling.presences.push((state.peers.list(space, now), of));
        }
    }
    telling
}

fn callbacks<T: Clone>(some: Option<&BTreeMap<u64, T>>) -> Vec<T> {
    some.into_iter().flat_map(BTreeMap::values).cloned().collect()
}

impl Telling {
    fn tell(&self) {
        if let Some((status, callbacks)) = &self.status {
            for tell in callbacks {
                guarded(|| tell(*status));
            }
        }
        for tell in &self.tokens {
            guarded(|| tell());
        }
        for tell in &self.accesses {
            guarded(|| tell());
        }
        // A document is known before its changes are told.
        for tell in &self.lists {
            guarded(|| tell());
        }
        for (event, tell) in &self.collections {
            guarded(|| tell(event));
        }
        for (event, callbacks) in &self.edits {
            for tell in callbacks {
                guarded(|| tell(event));
            }
        }
        for (event, callbacks) in &self.docs {
            for tell in callbacks {
                guarded(|| tell(event));
            }
        }
        for (peers, callbacks) in &self.presences {
            for tell in callbacks {
                guarded(|| tell(peers));
            }
        }
    }
}

/// An observer that panics must not silence the others.
fn guarded(tell: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(tell)).is_err() {
        tracing::error!("an observer panicked");
    }
}
