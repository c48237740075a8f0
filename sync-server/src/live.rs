//! Live connections: who may open one, what they share, and how they end when the server does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sync_core::limits::{LIVE_PAGE_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::auth::devices::DeviceGate;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config;
use crate::error::ApiError;
use crate::exchange::PageMax;
use crate::fanout::{Fanout, cuts, sweep};
use crate::store::Store;
use crate::store::registry::Registry;
use users::{Bucket, Seat, Users};

mod clock;
mod converse;
mod hello;
mod line;
mod presence;
mod requests;
mod session;
mod socket;
mod stream;
mod users;
mod writer;

pub(crate) use converse::{Arrival, converse};
pub(crate) use stream::{Audience, EventId, stream};

/// A page on a live connection. As many changes as have that many bytes when they are keystrokes: entries without a payload
/// take memory, too.
const PAGE_MAX: PageMax = PageMax { bytes: LIVE_PAGE_BYTES_MAX, changes: 512 };
/// Large messages of one user that are on their way at the same time, so that one alone cannot take all places.
const LARGE_PER_USER_MAX: usize = 4;

/// After the deadline connections are only dropped, which takes no time worth speaking of.
const DROPPING_MAX: Duration = Duration::from_secs(1);

/// What live connections share.
pub(crate) struct Live {
    pub(crate) config: config::Live,
    pub(crate) fanout: Arc<Fanout>,
    users: Arc<Users>,
    /// Connections without a name yet.
    strangers: Arc<Semaphore>,
    /// Places for large messages.
    large: Arc<Semaphore>,
    /// Turns for messages that are worked on, but for short ones.
    working: Semaphore,
    next: AtomicU64,
    open: Arc<watch::Sender<usize>>,
    phase: watch::Sender<Phase>,
    sweeper: AbortHandle,
    watcher: AbortHandle,
}

/// How far the server is with stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    /// Connections end in good order.
    Stopping,
    /// What is left of them is dropped.
    Expired,
}

/// One of the connections that the server has room for.
pub(crate) struct Place {
    open: Arc<watch::Sender<usize>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open -= 1);
    }
}

impl Live {
    /// Begins to look after followed spaces, and who is cut off. Needs a runtime.
    pub(crate) fn new(
        config: config::Live,
        bus: Arc<dyn Bus>,
        store: Arc<dyn Store>,
        registry: Arc<dyn Registry>,
        devices: &DeviceGate,
        clock: Clock,
        random: u64,
    ) -> Self {
        let fanout = Fanout::new(bus, Arc::clone(devices.known()));
        let period = Duration::from_millis(config.heartbeat_ms);
        let sweeper = tokio::spawn(sweep::sweep(Arc::clone(&fanout), store, period)).abort_handle();
        let watcher = tokio::spawn(cuts::watch(Arc::clone(&fanout), registry, clock)).abort_handle();
        Self {
            fanout,
            users: Arc::default(),
            strangers: Arc::new(Semaphore::new(config.hello_pending_max)),
            large: Arc::new(Semaphore::new(config.large_frames_max)),
            working: Semaphore::new(REQUESTS_IN_FLIGHT_MAX),
            next: AtomicU64::new(random),
            open: Arc::new(watch::Sender::new(0)),
            phase: watch::Sender::new(Phase::Open),
            sweeper,
            watcher,
            config,
        }
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        *self.open.borrow()
    }

    /// Room for one more connection.
    pub(crate) fn enter(&self) -> Result<Place, ApiError> {
        let mut entered = false;
        self.open.send_if_modified(|open| {
            entered = *open < self.config.connections_max;
            *open += usize::from(entered);
            entered
        });
        // Counted first and asked second: who stops the server sees this connection, or this sees that it stops.
        let place = entered.then(|| Place { open: Arc::clone(&self.open) });
        if *self.phase.borrow() != Phase::Open {
            return Err(ApiError::unavailable("shutting down"));
        }
        place.ok_or_else(ApiError::busy)
    }

    /// Room for one more connection that has not said who it is.
    pub(crate) fn stranger(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.strangers).try_acquire_owned().map_err(|_| ApiError::busy())
    }

    /// A place for one more connection of that user.
    fn sit(&self, user: &str) -> Option<Seat> {
        let config = &self.config;
        let bucket = Bucket::new(config.messages_per_second_max, config.messages_burst_max, Instant::now());
        self.users.sit(user, config.connections_per_user_max, bucket)
    }

    /// A number for a connection, that no other has, also on other nodes.
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells how far the server is with stopping.
    fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Asks all connections to end, waits for them until the deadline, and drops what is left.
    pub(crate) async fn stop(&self, deadline: Duration) {
        self.phase.send_replace(Phase::Stopping);
        let mut open = self.open.subscribe();
        if timeout(deadline, open.wait_for(|open| *open == 0)).await.is_err() {
            self.phase.send_replace(Phase::Expired);
            if timeout(DROPPING_MAX, open.wait_for(|open| *open == 0)).await.is_err() {
                tracing::warn!("live connections are still open after the deadline of the shutdown");
            }
        }
        self.sweeper.abort();
        self.watcher.abort();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.sweeper.abort();
        self.watcher.abort();
    }
}
