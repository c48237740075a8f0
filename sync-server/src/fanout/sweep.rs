//! The heartbeat's other half: what the bus lost is found in the database.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Fanout;
use crate::store::Store;

/// Spaces that are looked up at once: between two of them others get to read.
const SPACES_AT_ONCE: usize = 512;

/// Looks up every followed space once a period, and at once where messages may have been lost. Never ends.
pub(crate) async fn sweep(fanout: Arc<Fanout>, store: Arc<dyn Store>, period: Duration) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let spaces = tokio::select! {
            _ = ticks.tick() => {
                fanout.sweep_peers();
                fanout.spaces()
            }
            () = fanout.has_lost.notified() => fanout.take_lost(),
        };
        for some in spaces.chunks(SPACES_AT_ONCE) {
            match store.heads(some).await {
                Ok(heads) => fanout.learn(&heads),
                Err(error) => tracing::warn!(%error, "the heads of followed spaces"),
            }
        }
    }
}
