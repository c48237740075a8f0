//! How full everything is just now, for the metrics: looked up when they are asked for.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use crate::app::App;
use crate::telemetry::metrics::{self, Levels};

/// A store that does not answer by then does not count as one: whoever asks for metrics waits no longer than this.
const PING_MAX: Duration = Duration::from_secs(2);

/// Looks everything up.
pub(crate) async fn set(app: &App) {
    let pinged = timeout(PING_MAX, app.store.ping()).await;
    metrics::levels(&Levels {
        requests_in_flight: app.gate.in_flight(),
        writer_queue: app.writer.waiting(),
        live_connections: app.live.connections(),
        followed_spaces: app.live.fanout.followed(),
        audit_queue: app.audit.waiting(),
        bus_up: app.live.fanout.hears_others(),
        store_up: matches!(pinged, Ok(Ok(()))),
        pool: app.store.pool(),
        data_free_bytes: free(&app.data),
    });
}

/// Room that is left for whoever is not root.
#[cfg(unix)]
fn free(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
fn free(_folder: &Path) -> Option<u64> {
    None
}
