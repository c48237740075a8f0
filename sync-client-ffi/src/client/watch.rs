//! What another process writes, told to the observers of a client that only reads.
//!
//! SQLite counts the commits of others (`PRAGMA data_version`): asking costs microseconds, needs nothing of the writer, no
//! file and no permission, is the same on every platform, and never misses a commit, as a file's time may. It is asked only
//! while somebody observes, at a pace that slows down where nothing happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use sync_core::id::{DocId, SpaceId};

use super::store::Stamp;
use super::{Shared, lock};

/// How often is looked while something happens, and at the least.
const PACE_MIN: Duration = Duration::from_millis(100);
const PACE_MAX: Duration = Duration::from_secs(2);

/// What observers know.
#[derive(Default)]
pub(super) struct Watch {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: bool,
    seen: Option<u64>,
    docs: BTreeMap<(SpaceId, DocId), Option<Stamp>>,
    lists: BTreeMap<SpaceId, Option<(u64, u64)>>,
    accesses: BTreeMap<SpaceId, Option<bool>>,
}

/// What is observed.
#[derive(Default)]
pub(super) struct Observed {
    pub(super) docs: BTreeSet<(SpaceId, DocId)>,
    pub(super) lists: BTreeSet<SpaceId>,
    pub(super) collections: BTreeSet<SpaceId>,
    pub(super) accesses: BTreeSet<SpaceId>,
}

impl Observed {
    fn is_empty(&self) -> bool {
        self.docs.is_empty() && self.lists.is_empty() && self.collections.is_empty() && self.accesses.is_empty()
    }
}

impl Shared {
    /// Somebody has begun to observe: what is there now is known, and whatever comes is told.
    pub(super) fn watch(self: &Arc<Self>) {
        if !lock(&self.engine).is_read_only() {
            return;
        }
        let mut state = lock(&self.watch.state);
        self.look(&mut state, false);
        if !state.running {
            let shared = Arc::downgrade(self);
            let spawned = std::thread::Builder::new().name("rejoin-watch".into()).spawn(move || run(&shared));
            state.running = spawned.is_ok();
            if let Err(error) = spawned {
                tracing::error!(%error, "observers hear nothing of other processes: no thread");
            }
        }
    }

    /// Looks for what has changed. Whoever observes since the last time learns of changes from now on. Gives whether anything
    /// was committed since, and whether anybody observes.
    fn look(&self, state: &mut State, all: bool) -> (bool, bool) {
        let observed = self.observers.observed();
        if observed.is_empty() {
            (state.docs.clear(), state.lists.clear(), state.accesses.clear());
            return (false, false);
        }
        let mut engine = lock(&self.engine);
        engine.refresh();
        let changed = engine.seen() != state.seen;
        if all && !changed {
            return (false, true);
        }
        if all {
            state.seen = engine.seen();
            // Which documents of a space were changed by others costs more to find out than to list them again.
            observed.collections.iter().for_each(|space| self.observers.collections_anew(*space));
        }
        let store = engine.store.read();
        // A subject that is known is looked at where somebody committed something, a new one at once.
        state.docs.retain(|key, _| observed.docs.contains(key));
        for key @ (space, doc) in observed.docs {
            if !all && state.docs.contains_key(&key) {
                continue;
            }
            let Ok(stamp) = store.stamp(space, doc) else { continue };
            match state.docs.insert(key, stamp) {
                Some(before) if before != stamp => match stamp {
                    Some(stamp) if !stamp.deleted => self.observers.look_again(space, doc),
                    _ => self.observers.deleted(space, doc),
                },
                _ => {}
            }
        }
        state.lists.retain(|space, _| observed.lists.contains(space));
        for space in observed.lists {
            if all || !state.lists.contains_key(&space) {
                let count = store.list_stamp(space).ok();
                if state.lists.insert(space, count).is_some_and(|before| before != count) {
                    self.observers.listed(space);
                }
            }
        }
        state.accesses.retain(|space, _| observed.accesses.contains(space));
        for space in observed.accesses {
            if all || !state.accesses.contains_key(&space) {
                let barred = engine.is_barred(space).ok();
                if state.accesses.insert(space, barred).is_some_and(|before| before != barred) {
                    self.observers.access(space);
                }
            }
        }
        drop(engine);
        self.arrived.notify_all();
        (changed, true)
    }
}

fn run(shared: &Weak<Shared>) {
    let mut pace = PACE_MIN;
    loop {
        std::thread::sleep(pace);
        let Some(shared) = shared.upgrade() else { return };
        let mut state = lock(&shared.watch.state);
        let (changed, observed) = shared.look(&mut state, true);
        if !observed {
            state.running = false;
            return;
        }
        pace = if changed { PACE_MIN } else { (pace * 2).min(PACE_MAX) };
    }
}
