//! Drives a session: does its effects, tells it what happened.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sync_core::id::SpaceId;
use sync_core::limits::REQUEST_TIMEOUT_MS;
use sync_core::session::{Collected, Effect, Event, Failure, Session, Status, StoreOutcome, Trouble, Window};
use sync_core::wire::{ErrorCode, SyncResponse};

use super::connection::Connection;
use super::pace::Pace;
use super::{Until, is_offline};
use crate::client::clock::{self, Clock};
use crate::client::engine::{Healing, Progress, Stored};
use crate::client::error::{ClientError, SyncError};
use crate::client::observe::Turn;
use crate::client::transport::Pending;
use crate::client::{Shared, lock};

/// Whatever the transport makes of it, no request is waited for any longer.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(REQUEST_TIMEOUT_MS);

/// A request under way, what comes of it, and what had gone over the wire before it.
pub(super) struct Asked {
    pub(super) answered: Pending<'static, Event>,
    bytes_before: u64,
}

pub(super) struct Runner {
    pub(super) session: Session,
    pub(super) clock: Clock,
    until: Until,
    pub(super) wake_at_ms: Option<u64>,
    pub(super) connection: Connection,
    pub(super) request: Option<Asked>,
    pub(super) pace: Pace,
    /// Whether anything was acknowledged or read in this session.
    pub(super) progress: bool,
    /// What the server lost and gets back.
    pub(super) healing: Option<Healing>,
    /// The call for an exchange that is being answered, 0 if none is.
    round: u64,
    /// The end of a connection that was given up.
    given_up: Option<Event>,
}

impl Runner {
    /// `began`: when the clock stood at 0.
    pub(super) fn new(until: Until, live: bool, began: Instant) -> Self {
        let clock = Clock::since(began);
        let session = match until {
            Until::Quiet(window) => Session::within(window, clock.now_ms()),
            Until::Stopped if live => Session::live(),
            Until::Stopped => Session::default(),
        };
        Self {
            session,
            clock,
            until,
            wake_at_ms: None,
            connection: Connection::Closed,
            request: None,
            pace: Pace::default(),
            progress: false,
            healing: None,
            round: 0,
            given_up: None,
        }
    }

    /// Gives whether anything is left.
    pub(super) async fn run(mut self, weak: &Weak<Shared>) -> Result<bool, SyncError> {
        let done = self.drive(weak).await;
        self.connection.hang_up();
        // The store is in nobody's hands when the thread is gone; but where time runs out, what is under way ends by itself.
        match self.until {
            Until::Stopped => self.pace.rest().await,
            Until::Quiet(window) => {
                let ends = self.clock.at(window.ends_at_ms);
                tokio::time::timeout_at(ends.into(), self.pace.rest()).await.ok();
            }
        }
        done
    }

    async fn drive(&mut self, weak: &Weak<Shared>) -> Result<bool, SyncError> {
        let Some(inbox) = weak.upgrade().map(|shared| shared.inbox.clone()) else { return Ok(true) };
        if let Some(shared) = weak.upgrade() {
            shared.show(self.session.status());
            offer_again(&shared);
        }
        loop {
            let Some(shared) = weak.upgrade() else { return Ok(true) };
            let Some(events) = inbox.events(&mut self.round) else { return Ok(true) };
            for event in events {
                if matches!(event, Event::Foreground(true)) {
                    offer_again(&shared);
                }
                self.handle(&shared, event);
            }
            self.pace.merge_due(&shared);
            let now_ms = self.clock.now_ms();
            if self.round > 0
                && let Some(result) = self.outcome(now_ms)
            {
                self.pace.merge_all(&shared).await;
                inbox.answer(std::mem::take(&mut self.round), result);
            }
            if let Until::Quiet(window) = self.until
                && let Some(end) = self.end(now_ms, window)
            {
                // What there is no time for is on disk, and is merged with what arrives next.
                let ends = self.clock.at(window.ends_at_ms);
                tokio::time::timeout_at(ends.into(), self.pace.merge_all(&shared)).await.ok();
                return end;
            }
            // Between two events nothing here keeps the client alive: dropping its last handle ends the session.
            drop(shared);
            let sleep = tokio::time::sleep_until(self.next_look(now_ms).into());
            let event = tokio::select! {
                () = inbox.notify.notified() => continue,
                event = self.connection.next() => event,
                (answered, bytes_before) = answered(&mut self.request) => {
                    let Some(shared) = weak.upgrade() else { return Ok(true) };
                    self.handle(&shared, Event::Moved(bytes(&shared).saturating_sub(bytes_before)));
                    answered
                }
                () = self.pace.worked() => continue,
                () = sleep => {
                    // A wish is for one wake-up; while something is under way there is none.
                    self.wake_at_ms = None;
                    Event::Timer
                }
            };
            let Some(shared) = weak.upgrade() else { return Ok(true) };
            self.handle(&shared, event);
        }
    }

    /// When to look again if nothing else happens.
    fn next_look(&self, now_ms: u64) -> Instant {
        let mut at_ms = self.wake_at_ms.unwrap_or(now_ms + 3_600_000);
        if let Until::Quiet(window) = self.until {
            at_ms = at_ms.min(window.ends_at_ms);
        }
        let at = self.clock.at(at_ms);
        self.pace.next_due().map_or(at, |due| due.min(at))
    }

    /// What an exchange that was asked for has come to; `None` while it is worth waiting.
    fn outcome(&self, now_ms: u64) -> Option<Result<(), SyncError>> {
        match self.session.status() {
            Status::Error(trouble) => Some(Err(trouble.into())),
            Status::NeedsAuth => Some(Err(SyncError::NeedsAuth)),
            Status::Idle | Status::Asleep if self.session.is_quiet(now_ms) => Some(Ok(())),
            _ => None,
        }
    }

    /// How the one exchange ended, and whether anything is left; `None` while it goes on.
    fn end(&self, now_ms: u64, window: Window) -> Option<Result<bool, SyncError>> {
        let needs = self.session.needs_bytes();
        let outcome = self.outcome(now_ms);
        if let (Some(Ok(())), None) | (Some(Err(_)), _) = (&outcome, needs) {
            return outcome.map(|done| done.map(|()| false));
        }
        if outcome.is_none() && now_ms < window.ends_at_ms && !self.session.is_spent(now_ms) {
            return None;
        }
        // More time would not help there.
        if let Some(trouble) = self.session.any_trouble() {
            return Some(Err(trouble.into()));
        }
        let offline = is_offline(self.session.status());
        Some(match needs {
            _ if self.progress => Ok(true),
            Some(needs) => Err(SyncError::Budget { needs }),
            None if offline => Err(SyncError::Offline),
            None => Err(SyncError::Deadline),
        })
    }

    /// Takes an event, and every event that its effects bring at once.
    pub(super) fn handle(&mut self, shared: &Arc<Shared>, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.session.handle(event, self.clock.now_ms(), &mut clock::random) {
                events.extend(self.take_effect(shared, effect));
            }
            events.extend(self.given_up.take());
        }
    }

    fn take_effect(&mut self, shared: &Arc<Shared>, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Collect { space, bytes_max, items_max, again } => {
                let collected = {
                    let mut engine = lock(&shared.engine);
                    let sent_n = engine.space(space).map_or(0, |state| state.sent_n);
                    let collected = engine.collect(space, bytes_max, items_max, again);
                    if let Ok(Collected { run: Some(run), .. }) = &collected {
                        shared.edits_sent(&engine, space, run, sent_n);
                    }
                    collected
                };
                return Some(match collected {
                    Ok(collected) => Event::Collected(space, collected),
                    Err(error) => {
                        tracing::error!(%error, "the outbox could not be read");
                        Event::Stored(space, StoreOutcome::Failed)
                    }
                });
            }
            Effect::Store { space, response } => {
                // What was asked before access was lost may be answered after.
                let lets_in = !self.session.trouble(space).is_some_and(Trouble::bars);
                return Some(Event::Stored(space, self.store(shared, space, *response, lets_in)));
            }
            Effect::Open { link } => return self.connection.open(shared, link),
            Effect::Say { link, frame } => return self.connection.say(link, &frame),
            Effect::SayToken { link } => return self.connection.say_token(link, lock(&shared.token).clone()),
            Effect::Shut { link } => self.connection.shut(link),
            Effect::Send { id, request, answer_bytes_max, patience_ms } => {
                let (transport, token) = (shared.transport.clone(), lock(&shared.token).clone());
                let patience = patience_ms.map_or(REQUEST_TIMEOUT, Duration::from_millis);
                if token.is_none() && lock(&shared.engine).wanted_device().is_some() {
                    let failure = Failure::Refused { code: ErrorCode::Unauthorized, retry_after_ms: None };
                    return Some(Event::Answered(id, Err(failure)));
                }
                let sending = async move {
                    let Some(transport) = &transport else { return Err(Failure::Unreachable) };
                    let sent = transport.send(&request, token, answer_bytes_max);
                    tokio::time::timeout(patience, sent).await.unwrap_or(Err(Failure::Unreachable))
                };
                let answered = Box::pin(async move { Event::Answered(id, sending.await) });
                self.request = Some(Asked { answered, bytes_before: bytes(shared) });
            }
            Effect::Heal { space, work, bytes_max } => return Some(self.heal(shared, space, work, bytes_max)),
            Effect::Ask { id, request, patience_ms } => {
                let (transport, token) = (shared.transport.clone(), lock(&shared.token).clone());
                let patience = patience_ms.map_or(REQUEST_TIMEOUT, Duration::from_millis);
                let asking = async move {
                    let Some(transport) = &transport else { return Err(Failure::Unreachable) };
                    let asked = transport.heal(&request, token);
                    tokio::time::timeout(patience, asked).await.unwrap_or(Err(Failure::Unreachable))
                };
                let answered = Box::pin(async move { Event::HealAnswered(id, asking.await) });
                self.request = Some(Asked { answered, bytes_before: bytes(shared) });
            }
            Effect::Barred { space } => {
                let barred = lock(&shared.engine).bar(space);
                match barred {
                    Ok(true) => shared.observers.access(space),
                    Ok(false) => {}
                    // It holds for this run, and the server says so again in the next.
                    Err(error) => {
                        tracing::error!(%error, "the loss of access could not be stored");
                        shared.observers.access(space);
                    }
                }
                shared.arrived.notify_all();
            }
            Effect::Peers { space, peers } => shared.observers.present(space, peers),
            Effect::Wake { at_ms } => self.wake_at_ms = Some(at_ms),
            Effect::RefreshToken => shared.want_token(),
            Effect::Status(status) => shared.show(status),
        }
        None
    }

    /// This store's feed was written elsewhere too: it goes on as another device, as soon as there is a token for that.
    fn begin_anew(&mut self, shared: &Arc<Shared>, outcome: StoreOutcome) -> StoreOutcome {
        let begun = lock(&shared.engine).begin_anew();
        match begun {
            Ok(()) => {
                *lock(&shared.token) = None;
                self.given_up = self.connection.give_up();
                StoreOutcome::Failed
            }
            Err(error) => {
                tracing::error!(%error, "this store cannot go on as another device now");
                outcome
            }
        }
    }

    fn store(&mut self, shared: &Arc<Shared>, space: SpaceId, response: SyncResponse, lets_in: bool) -> StoreOutcome {
        let mut stored = Stored::default();
        let before = place(shared, space);
        let admission = if lets_in { lock(&shared.engine).admit(space) } else { Ok(false) };
        let mut admitted = false;
        let taken = admission.and_then(|admission| {
            (admitted, stored.access) = (admission, admission);
            take(shared, space, response, &mut stored)
        });
        let outcome = taken.unwrap_or_else(|error| {
            tracing::error!(%error, "an answer could not be stored");
            StoreOutcome::Failed
        });
        let outcome = match outcome {
            StoreOutcome::Trouble(Trouble::RolledBack | Trouble::Forked) => self.begin_anew(shared, outcome),
            other => other,
        };
        // Whoever cannot store what comes gets nowhere, whatever came before.
        self.progress = outcome != StoreOutcome::Failed && (self.progress || before != place(shared, space));
        {
            let engine = lock(&shared.engine);
            shared.edits_decided(&engine, space, &stored.decided);
            let turns =
                [(&stored.created, Turn::Added), (&stored.refused, Turn::Changed), (&stored.deleted, Turn::Removed)];
            for (docs, turn) in turns {
                for doc in docs {
                    shared.collected(&engine, space, *doc, turn);
                }
            }
        }
        for doc in stored.refused {
            shared.observers.look_again(space, doc);
        }
        if stored.access {
            shared.observers.access(space);
        }
        if admitted {
            shared.offer_again(space, true);
        }
        if !stored.created.is_empty() || !stored.deleted.is_empty() {
            shared.observers.listed(space);
        }
        for doc in stored.deleted {
            shared.observers.deleted(space, doc);
        }
        // At once: what has arrived is waited for more eagerly than anything that is to be sent.
        self.pace.arrived(space);
        self.pace.merge_due(shared);
        if matches!(outcome, StoreOutcome::Done { more: false, .. }) {
            self.pace.fold(shared, space);
        }
        shared.arrived.notify_all();
        outcome
    }
}

pub(super) fn offer_again(shared: &Arc<Shared>) {
    let spaces: Vec<SpaceId> = lock(&shared.engine).spaces.keys().copied().collect();
    for space in spaces {
        shared.offer_again(space, false);
    }
}

async fn answered(request: &mut Option<Asked>) -> (Event, u64) {
    let Some(asked) = request else { return std::future::pending().await };
    let answered = (asked.answered.as_mut().await, asked.bytes_before);
    *request = None;
    answered
}

/// What has gone over the wire so far.
fn bytes(shared: &Shared) -> u64 {
    shared.transport.as_ref().map_or(0, |transport| {
        let traffic = transport.traffic();
        traffic.bytes_sent + traffic.bytes_received
    })
}

/// How far a space has come, in both directions.
fn place(shared: &Shared, space: SpaceId) -> Option<(u64, u64, u64)> {
    let engine = lock(&shared.engine);
    engine.row(space).ok().map(|row| (row.cursor.seq, row.acked.n, engine.parts))
}

/// Stores an answer part by part, so that the lock is free in between.
fn take(
    shared: &Arc<Shared>,
    space: SpaceId,
    response: SyncResponse,
    stored: &mut Stored,
) -> Result<StoreOutcome, ClientError> {
    let mut intake = lock(&shared.engine).intake(space, response)?;
    loop {
        let progress = lock(&shared.engine).take_part(space, &mut intake, stored)?;
        if let Progress::Done(outcome) = progress {
            return Ok(outcome);
        }
    }
}
