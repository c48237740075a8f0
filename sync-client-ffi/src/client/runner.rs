//! Synchronisation as the app starts and stops it: a session of its own thread, in the background or for one exchange.

use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use sync_core::session::Status;

use super::error::{ClientError, SyncError};
use super::transport::{Traffic, Transport};
use super::{Shared, lock};

mod connection;
mod drive;
mod inbox;
mod merging;
mod pace;

pub(super) use inbox::Inbox;
pub(super) use merging::{merge, merge_through};

use drive::Runner;

/// What [`Client::sync_once`](super::Client::sync_once) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncReport {
    /// What went over the wire for it.
    pub traffic: Traffic,
}

/// When a session is done.
#[derive(Clone, Copy)]
enum Until {
    Stopped,
    Quiet { deadline_ms: u64 },
}

/// Starts the background session, if it does not run.
pub(super) fn start(shared: &Arc<Shared>) -> Result<(), ClientError> {
    if shared.transport.is_none() {
        return Err(ClientError::NoServer);
    }
    let mut runner = lock(&shared.runner);
    if runner.as_ref().is_some_and(|thread| !thread.is_finished()) {
        return Ok(());
    }
    shared.inbox.restart(false);
    let (weak, live) = (Arc::downgrade(shared), shared.live);
    let thread = std::thread::Builder::new().name("rejoin-sync".into()).spawn(move || {
        if let Err(error) = run(&weak, Until::Stopped, live) {
            tracing::warn!(%error, "synchronisation ended");
        }
    });
    *runner = Some(thread.map_err(|error| ClientError::Store(error.into()))?);
    Ok(())
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

/// Runs until everything is exchanged.
pub(super) fn sync_once(shared: &Arc<Shared>, deadline: Duration) -> Result<SyncReport, SyncError> {
    let transport = shared.transport.as_ref().ok_or(SyncError::NoServer)?;
    exchange(shared, transport, deadline).map_err(|error| match error {
        SyncError::UpgradeRequired { .. } => SyncError::UpgradeRequired { update_url: transport.update_url() },
        other => other,
    })
}

fn exchange(shared: &Arc<Shared>, transport: &Arc<dyn Transport>, deadline: Duration) -> Result<SyncReport, SyncError> {
    let before = transport.traffic();
    let running = lock(&shared.runner).as_ref().is_some_and(|thread| !thread.is_finished());
    if running {
        wait_for_quiet(shared, deadline)?;
    } else {
        shared.inbox.restart(true);
        let weak = Arc::downgrade(shared);
        let until = Until::Quiet { deadline_ms: deadline.as_millis() as u64 };
        // A thread of its own: the caller's may be inside an async runtime, which would not let itself be blocked. One
        // exchange is not worth a live connection.
        let done = std::thread::scope(|scope| scope.spawn(|| run(&weak, until, false)).join());
        done.unwrap_or(Err(SyncError::Deadline))?;
    }
    Ok(SyncReport { traffic: transport.traffic().since(&before) })
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

fn run(shared: &Weak<Shared>, until: Until, live: bool) -> Result<(), SyncError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        tracing::error!(%error, "no runtime for synchronisation");
        SyncError::Offline
    })?;
    let done = runtime.block_on(Runner::new(until, live).run(shared));
    // A name that is being looked up holds up nobody who stops.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests;
