//! The heartbeat's other half: what the bus lost is found in the database.

use std::sync::Arc;
use std::time::Duration;

use sync_core::id::SpaceId;
use tokio::time::{Instant, sleep_until};

use super::Fanout;
use crate::random::jittered;
use crate::store::Store;

/// Spaces that are looked up at once: between two of them others get to read.
const SPACES_AT_ONCE: usize = 512;
/// How often they are looked up while other nodes are not heard: what its loss adds to a message between nodes, at most.
const DEAF_PERIOD: Duration = Duration::from_secs(1);

/// Looks up every followed space once a period, more often while the bus is down, and at once where messages may have been
/// lost. Never ends.
pub(crate) async fn sweep(fanout: Arc<Fanout>, store: Arc<dyn Store>, period: Duration) {
    let mut swept_at = None;
    loop {
        // Not longer than that after the last time, however often something was lost in between.
        let wait = if fanout.hears_others() { period } else { period.min(jittered(DEAF_PERIOD)) };
        let due = swept_at.map_or_else(Instant::now, |at: Instant| at + wait);
        let spaces = tokio::select! {
            () = sleep_until(due) => {
                swept_at = Some(Instant::now());
                fanout.sweep_peers();
                fanout.spaces()
            }
            // Also when the bus goes down, and is up again.
            () = fanout.has_lost.notified() => fanout.take_lost(),
        };
        look_up(&fanout, &*store, &spaces).await;
    }
}

async fn look_up(fanout: &Fanout, store: &dyn Store, spaces: &[SpaceId]) {
    for some in spaces.chunks(SPACES_AT_ONCE) {
        match store.heads(some).await {
            Ok(heads) => fanout.learn(&heads),
            Err(error) => tracing::warn!(%error, "the heads of followed spaces"),
        }
    }
}

/// What a period brings: every followed space is looked up, and every connection has its heartbeat.
#[cfg(feature = "testing")]
pub(crate) async fn period(fanout: &Fanout, store: &dyn Store) {
    look_up(fanout, store, &fanout.spaces()).await;
    fanout.beat();
}
