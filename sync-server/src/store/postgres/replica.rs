//! Long reads from a replica, where it provably answers as the primary would.
//!
//! A log is only ever added to. So a replica that holds the reader's place, with its chain, and goes on beyond the whole
//! page, gives exactly the page that the primary would; how far behind it is does not matter. Whatever comes to the
//! replica's own end (the last page, a place that it does not know) is asked of the primary.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sync_core::id::SpaceId;

use super::super::{LogPage, PageAnswer, PageRequest, StoreError};
use super::pool::Pool;
use super::read;

/// A replica that failed is left alone for so long: reads must not wait for it one by one.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Replica {
    pool: Pool,
    started: Instant,
    /// Milliseconds from the start.
    paused_until: AtomicU64,
}

impl Replica {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, started: Instant::now(), paused_until: AtomicU64::new(0) }
    }

    /// The page, if it is certain that the primary has the same.
    pub(super) async fn page(&self, space: SpaceId, request: &PageRequest) -> Option<LogPage> {
        let now = self.started.elapsed().as_millis() as u64;
        if now < self.paused_until.load(Ordering::Relaxed) {
            return None;
        }
        // The version goes with the end of the log, and that is the primary's.
        let request = PageRequest { version: false, ..request.clone() };
        match self.pool.with(async |client| read::page(client, space, &request).await).await {
            Ok(PageAnswer::Page(page)) if page.more => Some(page),
            // Not that far, or not there yet.
            Ok(_) | Err(StoreError::UnknownSpace) => None,
            Err(error) => {
                tracing::warn!(%error, "the replica does not answer; the primary is asked instead");
                self.paused_until.store(now + PAUSE.as_millis() as u64, Ordering::Relaxed);
                None
            }
        }
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}
