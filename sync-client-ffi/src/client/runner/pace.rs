//! When open documents take in what has arrived: at once where that is cheap, else at a pace that leaves the processor to
//! the app. automerge applies a change at a cost that grows with the touched object, many of them for little more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sync_core::id::SpaceId;
use sync_core::limits::APPLY_INTERVAL_MS;
use tokio::task::JoinHandle;

use super::folding::fold_aged;
use super::merging::merge_once;
use crate::client::{Shared, clock, lock};

/// What takes longer is done on a thread of its own: the connection is to be served meanwhile.
const INLINE_MAX: Duration = Duration::from_millis(2);
/// A merge may take a fifth of the time …
const REST_FACTOR: u32 = 4;
/// … or, where that would show on the screen, more of it, but never more than a half.
const REST: Duration = Duration::from_millis(APPLY_INTERVAL_MS);
/// After a failure of the disk.
const RETRY: Duration = Duration::from_secs(1);

/// Spaces are merged as a whole, since what is in their log may depend on all that is in front of it.
#[derive(Default)]
pub(super) struct Pace {
    spaces: BTreeMap<SpaceId, Space>,
    /// The space whose merge is under way on another thread.
    working: Option<(SpaceId, JoinHandle<Worked>)>,
    /// The store is being folded on another thread.
    folding: Option<JoinHandle<()>>,
}

struct Space {
    /// Whether something has arrived.
    waits: bool,
    /// How long the last merge took, and until when the next one waits.
    took: Duration,
    rests_until: Instant,
}

struct Worked {
    took: Duration,
    failed: bool,
    /// Whether there is more to take in already.
    more: bool,
}

fn rest_after(took: Duration) -> Duration {
    (took * REST_FACTOR).min(took.max(REST))
}

fn work(shared: &Arc<Shared>, space: SpaceId) -> Worked {
    let began = Instant::now();
    let docs = lock(&shared.engine).behind(space);
    let merged = merge_once(shared, space, &docs, false);
    if let Err(error) = &merged {
        tracing::error!(%error, "what has arrived could not be merged");
    }
    let more = !lock(&shared.engine).behind(space).is_empty();
    Worked { took: clock::paced(began.elapsed()), failed: merged.is_err(), more }
}

impl Pace {
    /// Something arrived in a space.
    pub(super) fn arrived(&mut self, space: SpaceId) {
        let fresh = || Space { waits: true, took: Duration::ZERO, rests_until: Instant::now() };
        self.spaces.entry(space).or_insert_with(fresh).waits = true;
    }

    /// Merges what may be merged now.
    pub(super) fn merge_due(&mut self, shared: &Arc<Shared>) {
        let now = Instant::now();
        let due: Vec<SpaceId> = self.due().filter(|(at, _)| *at <= now).map(|(_, space)| space).collect();
        for space in due {
            let Some(state) = self.spaces.get_mut(&space) else { continue };
            state.waits = false;
            if state.took <= INLINE_MAX {
                let worked = work(shared, space);
                self.done(space, &worked);
            } else if self.working.is_none() {
                let shared = shared.clone();
                self.working = Some((space, tokio::task::spawn_blocking(move || work(&shared, space))));
            } else {
                state.waits = true;
            }
        }
    }

    /// Merges everything, whatever the pace. May be dropped: what is under way then ends by itself.
    pub(super) async fn merge_all(&mut self, shared: &Arc<Shared>) {
        self.rest().await;
        let waiting: Vec<SpaceId> =
            self.spaces.iter().filter(|(_, state)| state.waits).map(|(space, _)| *space).collect();
        for space in waiting {
            let Some(state) = self.spaces.get_mut(&space) else { continue };
            state.waits = false;
            let shared = shared.clone();
            self.working = Some((space, tokio::task::spawn_blocking(move || work(&shared, space))));
            self.rest().await;
        }
    }

    /// When the next merge is due; nothing for one that waits for another to be done.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due().map(|(at, _)| at).min()
    }

    fn due(&self) -> impl Iterator<Item = (Instant, SpaceId)> {
        let busy = self.working.as_ref().map(|(space, _)| *space);
        let may = move |space: SpaceId, state: &Space| {
            state.waits && busy != Some(space) && (busy.is_none() || state.took <= INLINE_MAX)
        };
        let due = self.spaces.iter().filter(move |(space, state)| may(**space, state));
        due.map(|(space, state)| (state.rests_until, *space))
    }

    /// The merge on another thread is done. May be dropped and asked for again.
    pub(super) async fn worked(&mut self) {
        let Some((space, work)) = &mut self.working else { return std::future::pending().await };
        let (space, worked) = (*space, work.await);
        self.working = None;
        match worked {
            Ok(worked) => self.done(space, &worked),
            Err(error) => tracing::error!(%error, "a merge ended half-way"),
        }
    }

    /// Folds what has become old in a space, beside everything else. Mostly that is nothing, and no thread is needed to see it.
    pub(super) fn fold(&mut self, shared: &Arc<Shared>, space: SpaceId) {
        let idle = self.folding.as_ref().is_none_or(JoinHandle::is_finished);
        if idle && lock(&shared.engine).has_aged(space) {
            let shared = shared.clone();
            self.folding = Some(tokio::task::spawn_blocking(move || fold_aged(&shared, space)));
        }
    }

    /// Waits until nothing is under way.
    pub(super) async fn rest(&mut self) {
        if self.working.is_some() {
            self.worked().await;
        }
        if let Some(folding) = &mut self.folding {
            // A panic in it is told by the panic itself.
            folding.await.ok();
            self.folding = None;
        }
    }

    fn done(&mut self, space: SpaceId, worked: &Worked) {
        let Some(state) = self.spaces.get_mut(&space) else { return };
        state.took = worked.took;
        state.waits |= worked.more;
        let rest = if worked.failed { RETRY } else { rest_after(worked.took) };
        state.rests_until = Instant::now() + clock::paced(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cheap_merges_take_a_fifth_of_the_time_and_none_more_than_a_half() {
        let ms = Duration::from_millis;
        assert_eq!(rest_after(ms(0)), ms(0));
        assert_eq!(rest_after(ms(1)), ms(4));
        assert_eq!(rest_after(ms(4)), ms(16));
        assert_eq!(rest_after(ms(10)), ms(16));
        assert_eq!(rest_after(ms(50)), ms(50));
    }
}
