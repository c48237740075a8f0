//! Synchronisation as the app starts and stops it: a session of its own thread, in the background or for one exchange.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use sync_core::session::{Status, Window};

use super::error::{ClientError, SyncError};
use super::transport::{Traffic, Transport};
use super::{Shared, lock};

mod connection;
mod drive;
mod folding;
mod heal;
mod inbox;
mod merging;
mod pace;
#[cfg(feature = "testing")]
pub mod stepped;

pub(super) use inbox::Inbox;
pub(super) use merging::{merge, merge_through};

use drive::Runner;

/// What [`Client::sync_once`](super::Client::sync_once) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncReport {
    /// What went over the wire for it.
    pub traffic: Traffic,
    /// Whether time or bytes ran out before everything was exchanged: the next call goes on from there.
    pub more: bool,
}

/// What one exchange may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub(super) began: Instant,
    pub(super) deadline: Duration,
    /// Bodies of requests and answers together.
    pub(super) bytes: Option<u64>,
}

impl Allowance {
    pub(super) fn new(deadline: Duration, bytes: Option<u64>) -> Self {
        // No clock here counts further, and nobody waits longer than a day.
        Self { began: Instant::now(), deadline: deadline.min(Duration::from_hours(24)), bytes }
    }

    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.began.elapsed())
    }

    /// What is left of it when that has gone over the wire.
    pub(super) fn after(self, traffic: Traffic) -> Self {
        Self {
            bytes: self.bytes.map(|bytes| bytes.saturating_sub(traffic.bytes_sent + traffic.bytes_received)),
            ..self
        }
    }
}

/// When a session is done.
#[derive(Clone, Copy)]
enum Until {
    Stopped,
    Quiet(Window),
}

/// Starts the background session, if it does not run.
pub(super) fn start(shared: &Arc<Shared>) -> Result<(), ClientError> {
    if lock(&shared.engine).is_read_only() {
        return Err(ClientError::ReadOnly);
    }
    if shared.transport.is_none() {
        return Err(ClientError::NoServer);
    }
    let mut runner = lock(&shared.runner);
    if runner.as_ref().is_some_and(|thread| !thread.is_finished()) {
        return Ok(());
    }
    shared.inbox.resume();
    let (weak, live, inbox) = (Arc::downgrade(shared), shared.live, shared.inbox.clone());
    let thread = std::thread::Builder::new().name("rejoin-sync".into()).spawn(move || {
        let Some(_lane) = inbox.lane(None) else { return };
        inbox.anew(false);
        if let Err(error) = run(&weak, Until::Stopped, live, Instant::now()) {
            tracing::warn!(%error, "synchronisation ended");
        }
    });
    *runner = Some(thread.map_err(|error| ClientError::Store(error.into()))?);
    Ok(())
}

/// Whether there is a background session.
pub(super) fn is_running(shared: &Arc<Shared>) -> bool {
    lock(&shared.runner).as_ref().is_some_and(|thread| !thread.is_finished())
}

/// Stops the background session and waits for its end.
pub(super) fn stop(shared: &Arc<Shared>) {
    let thread = lock(&shared.runner).take();
    let _turn = shared.inbox.turn();
    shared.inbox.stop();
    if let Some(thread) = thread
        && thread.thread().id() != std::thread::current().id()
        && thread.join().is_err()
    {
        tracing::error!("the synchronising thread panicked");
    }
}

/// Runs until everything is exchanged, or what is allowed is used up.
pub(super) fn sync_once(shared: &Arc<Shared>, allowance: Allowance) -> Result<SyncReport, SyncError> {
    if lock(&shared.engine).is_read_only() {
        return Err(SyncError::ReadOnly);
    }
    let transport = shared.transport.as_ref().ok_or(SyncError::NoServer)?;
    exchange(shared, transport, allowance).map_err(|error| match error {
        SyncError::UpgradeRequired { .. } => SyncError::UpgradeRequired { update_url: transport.update_url() },
        SyncError::NeedsAuth => match lock(&shared.engine).wanted_device() {
            Some(device) => SyncError::NeedsDevice(device),
            None => SyncError::NeedsAuth,
        },
        other => other,
    })
}

fn exchange(
    shared: &Arc<Shared>,
    transport: &Arc<dyn Transport>,
    allowance: Allowance,
) -> Result<SyncReport, SyncError> {
    let running = is_running(shared);
    if running && allowance.bytes.is_none() {
        let before = transport.traffic();
        wait_for_quiet(shared, allowance.left())?;
        return Ok(SyncReport { traffic: transport.traffic().since(&before), more: false });
    }
    // What the background session does cannot be counted: it makes room.
    let stops = running.then(|| {
        let stops = shared.stops.load(Ordering::Acquire);
        stop(shared);
        stops
    });
    shared.inbox.resume();
    let lane = shared.inbox.lane(Some(Instant::now() + allowance.left())).ok_or(SyncError::Deadline)?;
    shared.inbox.anew(true);
    let before = transport.traffic();
    let weak = Arc::downgrade(shared);
    let until = Until::Quiet(Window { ends_at_ms: allowance.deadline.as_millis() as u64, bytes: allowance.bytes });
    // A thread of its own: the caller's may be inside an async runtime, which would not let itself be blocked. One exchange
    // is not worth a live connection.
    let done = std::thread::scope(|scope| scope.spawn(|| run(&weak, until, false, allowance.began)).join());
    let traffic = transport.traffic().since(&before);
    drop(lane);
    // Unless the app has stopped it meanwhile.
    if stops.is_some_and(|stops| shared.stops.load(Ordering::Acquire) == stops)
        && let Err(error) = start(shared)
    {
        tracing::error!(%error, "the background session does not go on");
    }
    let more = done.unwrap_or(Err(SyncError::Deadline))?;
    Ok(SyncReport { traffic, more })
}

/// The background session does the work; this waits until it has done it, and tries on until the deadline as it does.
fn wait_for_quiet(shared: &Arc<Shared>, deadline: Duration) -> Result<(), SyncError> {
    let until = Instant::now() + deadline;
    let asked = shared.inbox.sync_now();
    let mut rounds = lock(&shared.inbox.rounds);
    loop {
        if let Some((_, result)) = rounds.done.clone().filter(|(round, _)| *round >= asked) {
            return result;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let offline = is_offline(*lock(&shared.status));
            return Err(if offline { SyncError::Offline } else { SyncError::Deadline });
        }
        rounds = shared.inbox.round_done.wait_timeout(rounds, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Whether the server was not reached by the last try that came to an end.
fn is_offline(status: Status) -> bool {
    matches!(status, Status::Offline | Status::Connecting)
}

fn run(shared: &Weak<Shared>, until: Until, live: bool, began: Instant) -> Result<bool, SyncError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        tracing::error!(%error, "no runtime for synchronisation");
        SyncError::Offline
    })?;
    let done = runtime.block_on(Runner::new(until, live, began).run(shared));
    // A name that is being looked up holds up nobody who stops.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests;
