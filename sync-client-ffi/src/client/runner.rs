//! Runs the session: does its effects, tells it what happened.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use sync_core::id::SpaceId;
use sync_core::limits::APPLY_INTERVAL_MS;
use sync_core::session::{Effect, Event, Session, Status, StoreOutcome};
use sync_core::wire::{PullAnswer, SyncResponse};

use super::clock::{self, Clock};
use super::engine::{Intake, Progress, Stored};
use super::error::{ClientError, SyncError};
use super::observe::{DocEvent, EventKind, Origin};
use super::transport::{Answer, Traffic};
use super::{Shared, lock};

mod inbox;
mod merging;

pub(super) use inbox::Inbox;
pub(super) use merging::{merge, merge_through};

/// What [`Client::sync_once`](super::Client::sync_once) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncReport {
    /// What went over the wire for it.
    pub traffic: Traffic,
}

/// When a session that runs on the caller's behalf is done.
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
    shared.inbox.restart();
    let weak = Arc::downgrade(shared);
    let thread = std::thread::Builder::new().name("rejoin-sync".into()).spawn(move || {
        if let Err(error) = run(&weak, Until::Stopped) {
            tracing::warn!(%error, "synchronisation ended");
        }
    });
    *runner = Some(thread.map_err(|error| ClientError::Store(error.into()))?);
    Ok(())
}

/// Stops the background session and waits for its end.
pub(super) fn stop(shared: &Arc<Shared>) {
    let thread = lock(&shared.runner).take();
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
    let before = transport.traffic();
    let running = lock(&shared.runner).as_ref().is_some_and(|thread| !thread.is_finished());
    if running {
        wait_for_quiet(shared, deadline)?;
    } else {
        shared.inbox.restart();
        let weak = Arc::downgrade(shared);
        let until = Until::Quiet { deadline_ms: deadline.as_millis() as u64 };
        // A thread of its own: the caller's may be inside an async runtime, which would not let itself be blocked.
        let done = std::thread::scope(|scope| scope.spawn(|| run(&weak, until)).join());
        done.unwrap_or(Err(SyncError::Deadline))?;
    }
    let after = transport.traffic();
    let traffic = Traffic {
        requests: after.requests - before.requests,
        bytes_sent: after.bytes_sent - before.bytes_sent,
        bytes_received: after.bytes_received - before.bytes_received,
    };
    Ok(SyncReport { traffic })
}

/// The background session does the work; this waits until it has done it, and tries on until the deadline as it does.
fn wait_for_quiet(shared: &Arc<Shared>, deadline: Duration) -> Result<(), SyncError> {
    let until = std::time::Instant::now() + deadline;
    let asked = shared.inbox.sync_now();
    let mut rounds = lock(&shared.inbox.rounds);
    loop {
        if let Some((_, result)) = rounds.done.filter(|(round, _)| *round >= asked) {
            return result;
        }
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            let offline = is_offline(*lock(&shared.status));
            return Err(if offline { SyncError::Offline } else { SyncError::Deadline });
        }
        rounds = shared.inbox.round_done.wait_timeout(rounds, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Whether the server was not reached by the last request that came to an end.
fn is_offline(status: Status) -> bool {
    matches!(status, Status::Offline | Status::Connecting)
}

fn run(shared: &Weak<Shared>, until: Until) -> Result<(), SyncError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        tracing::error!(%error, "no runtime for synchronisation");
        SyncError::Offline
    })?;
    runtime.block_on(Runner::new(until).run(shared))
}

struct Runner {
    session: Session,
    clock: Clock,
    until: Until,
    wake_at_ms: Option<u64>,
    merge_at_ms: u64,
    to_merge: BTreeSet<SpaceId>,
    /// The call for an exchange that is being answered, 0 if none is.
    round: u64,
}

impl Runner {
    fn new(until: Until) -> Self {
        let clock = Clock::start();
        Self {
            session: Session::default(),
            clock,
            until,
            wake_at_ms: None,
            merge_at_ms: 0,
            to_merge: BTreeSet::new(),
            round: 0,
        }
    }

    async fn run(mut self, weak: &Weak<Shared>) -> Result<(), SyncError> {
        let mut request: Option<(u64, tokio::task::JoinHandle<Answer>)> = None;
        let Some(inbox) = weak.upgrade().map(|shared| shared.inbox.clone()) else { return Ok(()) };
        loop {
            let Some(shared) = weak.upgrade() else { return Ok(()) };
            let Some(events) = inbox.events(&mut self.round) else { return Ok(()) };
            for event in events {
                self.handle(&shared, event, &mut request);
            }
            let now_ms = self.clock.now_ms();
            if now_ms >= self.merge_at_ms && !self.to_merge.is_empty() {
                self.merge_all(&shared);
            }
            if self.round > 0
                && let Some(result) = self.outcome(now_ms)
            {
                self.merge_all(&shared);
                inbox.answer(std::mem::take(&mut self.round), result);
            }
            if let Until::Quiet { deadline_ms } = self.until
                && let Some(end) = self.end(now_ms, deadline_ms)
            {
                self.merge_all(&shared);
                return end;
            }
            let until_ms = self.next_look(now_ms);
            let sleep = tokio::time::sleep_until(self.clock.at(until_ms).into());
            // Between two events nothing here keeps the client alive: dropping its last handle ends the session.
            drop(shared);
            tokio::select! {
                () = inbox.notify.notified() => {}
                () = sleep => {
                    // A wish is for one wake-up; while a request is under way there is none.
                    self.wake_at_ms = None;
                    let Some(shared) = weak.upgrade() else { return Ok(()) };
                    self.handle(&shared, Event::Timer, &mut request);
                }
                answer = answered(&mut request) => {
                    let (id, answer) = answer;
                    request = None;
                    let Some(shared) = weak.upgrade() else { return Ok(()) };
                    self.handle(&shared, Event::Answered(id, answer), &mut request);
                }
            }
        }
    }

    /// When to look again if nothing else happens.
    fn next_look(&self, now_ms: u64) -> u64 {
        let mut at_ms = self.wake_at_ms.unwrap_or(now_ms + 3_600_000);
        if !self.to_merge.is_empty() {
            at_ms = at_ms.min(self.merge_at_ms);
        }
        if let Until::Quiet { deadline_ms } = self.until {
            at_ms = at_ms.min(deadline_ms);
        }
        at_ms.max(now_ms)
    }

    /// What an exchange that was asked for has come to; `None` while it is worth waiting.
    fn outcome(&self, now_ms: u64) -> Option<Result<(), SyncError>> {
        match self.session.status() {
            Status::Error(trouble) => Some(Err(trouble.into())),
            Status::NeedsAuth => Some(Err(SyncError::NeedsAuth)),
            Status::Idle if self.session.is_quiet(now_ms) => Some(Ok(())),
            _ => None,
        }
    }

    fn end(&self, now_ms: u64, deadline_ms: u64) -> Option<Result<(), SyncError>> {
        let offline = is_offline(self.session.status());
        let late = || Err(if offline { SyncError::Offline } else { SyncError::Deadline });
        self.outcome(now_ms).or_else(|| (now_ms >= deadline_ms).then(late))
    }

    /// Takes an event, and every event that its effects bring at once.
    fn handle(
        &mut self,
        shared: &Arc<Shared>,
        event: Event,
        request: &mut Option<(u64, tokio::task::JoinHandle<Answer>)>,
    ) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.session.handle(event, self.clock.now_ms(), &mut clock::random) {
                match effect {
                    Effect::Collect { space, bytes_max } => {
                        let collected = lock(&shared.engine).collect(space, bytes_max);
                        events.push(match collected {
                            Ok(collected) => Event::Collected(space, collected),
                            Err(error) => {
                                tracing::error!(%error, "the outbox could not be read");
                                Event::Stored(space, StoreOutcome::Failed)
                            }
                        });
                    }
                    Effect::Send { id, request: frame } => {
                        let token = lock(&shared.token).clone();
                        let transport = shared.transport.clone();
                        *request = Some((
                            id,
                            tokio::spawn(async move {
                                match &transport {
                                    Some(transport) => transport.send(&frame, token).await,
                                    None => Err(sync_core::session::Failure::Unreachable),
                                }
                            }),
                        ));
                    }
                    Effect::Store { space, response } => {
                        let outcome = self.store(shared, space, *response);
                        events.push(Event::Stored(space, outcome));
                    }
                    Effect::Wake { at_ms } => self.wake_at_ms = Some(at_ms),
                    Effect::RefreshToken => tracing::info!("the server wants a new access token"),
                    Effect::Status(status) => {
                        *lock(&shared.status) = status;
                        shared.observers.status(status);
                    }
                }
            }
        }
    }

    fn store(&mut self, shared: &Arc<Shared>, space: SpaceId, response: SyncResponse) -> StoreOutcome {
        let mut stored = Stored::default();
        let outcome = take(shared, space, response, &mut stored).unwrap_or_else(|error| {
            tracing::error!(%error, "an answer could not be stored");
            StoreOutcome::Failed
        });
        for (docs, kind) in [(stored.rebuilt, EventKind::LookAgain), (stored.deleted, EventKind::Deleted)] {
            for doc in docs {
                shared.observers.doc(DocEvent { space, doc, origin: Origin::Remote, kind: kind.clone() });
            }
        }
        self.to_merge.insert(space);
        if self.clock.now_ms() >= self.merge_at_ms {
            self.merge_all(shared);
        }
        shared.arrived.notify_all();
        outcome
    }

    fn merge_all(&mut self, shared: &Arc<Shared>) {
        for space in std::mem::take(&mut self.to_merge) {
            let docs = lock(&shared.engine).open_documents(space);
            if let Err(error) = merge(shared, space, docs, false) {
                tracing::error!(%error, "what has arrived could not be merged");
            }
        }
        self.merge_at_ms = self.clock.now_ms() + APPLY_INTERVAL_MS;
    }
}

async fn answered(request: &mut Option<(u64, tokio::task::JoinHandle<Answer>)>) -> (u64, Answer) {
    match request {
        None => std::future::pending().await,
        Some((id, task)) => {
            let answer = task.await.unwrap_or(Err(sync_core::session::Failure::Unreachable));
            (*id, answer)
        }
    }
}

/// Stores an answer: the push's verdicts first, then the page, part by part so that the lock is free in between.
fn take(
    shared: &Arc<Shared>,
    space: SpaceId,
    response: SyncResponse,
    stored: &mut Stored,
) -> Result<StoreOutcome, ClientError> {
    if let Some(answer) = &response.push
        && let Some(trouble) = lock(&shared.engine).take_push(space, answer, stored)?
    {
        return Ok(StoreOutcome::Trouble(trouble));
    }
    let page = match response.pull {
        Some(PullAnswer::Page(page)) => page,
        other => return lock(&shared.engine).take_no_page(space, other),
    };
    if let Some(trouble) = lock(&shared.engine).check_page(space, &page)? {
        return Ok(StoreOutcome::Trouble(trouble));
    }
    let mut intake = Intake::new(page);
    loop {
        let progress = lock(&shared.engine).take_page(space, &mut intake, stored)?;
        if let Progress::Done(outcome) = progress {
            return Ok(outcome);
        }
    }
}
