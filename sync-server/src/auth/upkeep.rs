//! What goes on between requests: keys on disk are looked at, those of providers fetched when they are due, and other nodes
//! told which keys are in use.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::keys::KeyIds;
use crate::app::Parts;

/// Three small files are read, and clocks compared. Keys are known to nodes an hour before they sign, so this is soon enough.
const EVERY: Duration = Duration::from_secs(5);

/// Goes on until the server is gone. `ids` are the keys that its database was told of.
pub(crate) fn start(server: &Arc<Parts>, ids: KeyIds) {
    tokio::spawn(keep(Arc::downgrade(server), ids));
}

async fn keep(server: Weak<Parts>, mut told: KeyIds) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(server) = server.upgrade() else { return };
        tend(&server, &mut told).await;
    }
}

/// Once.
async fn tend(server: &Parts, told: &mut KeyIds) {
    server.callers.issuers().refresh();
    server.callers.look().await;
    let ids = server.callers.tokens().keys().ids(&told.receipts);
    if ids == *told {
        return;
    }
    match server.registry.keys_rotated(told, &ids).await {
        Ok(()) => *told = ids,
        // The next time.
        Err(error) => tracing::warn!(%error, "the database was not told of the new signing keys"),
    }
}
