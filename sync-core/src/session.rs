//! The client's sync machine: events in, effects out. It decides when to talk to the server, about which space, what an
//! answer means and how long to wait after a failure; the shell around it does what it says and tells it what happened.

use std::collections::BTreeMap;

use crate::id::SpaceId;
use crate::limits::{PAGE_BYTES_MAX, POLL_INTERVAL_MS, SEAL_DELAY_MS, SESSION_SPACES_MAX};
use crate::wire::{ErrorCode, Pull, SCHEMA, SyncRequest};

mod answer;
mod backoff;
mod effect;
mod event;

pub use answer::{FeedState, Meaning, Trouble, meaning};
pub use backoff::Backoff;
pub use effect::{Effect, Status};
pub use event::{Collected, Event, Failure, StoreOutcome};

/// The smallest batch that is tried when the server finds larger ones too large.
const BATCH_BYTES_MIN: usize = 64 << 10;

/// The state of synchronisation over all spaces of a device. One request is under way at a time.
#[derive(Debug)]
pub struct Session {
    spaces: BTreeMap<SpaceId, SpaceState>,
    step: Step,
    backoff: Backoff,
    resume_at_ms: u64,
    requests: u64,
    batch_bytes: usize,
    online: bool,
    authorized: bool,
    stopped: Option<Trouble>,
    status: Status,
}

#[derive(Debug)]
struct SpaceState {
    due_at_ms: u64,
    /// After a failure that concerns this space alone; an edit does not make it sooner.
    not_before_ms: u64,
    backoff: Backoff,
    version_known: bool,
    trouble: Option<Trouble>,
}

/// What the session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Resting,
    Collecting(SpaceId),
    Asking(SpaceId, u64),
    Storing(SpaceId),
}

impl SpaceState {
    fn at_ms(&self) -> u64 {
        self.due_at_ms.max(self.not_before_ms)
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            spaces: BTreeMap::new(),
            step: Step::Resting,
            backoff: Backoff::default(),
            resume_at_ms: 0,
            requests: 0,
            batch_bytes: PAGE_BYTES_MAX,
            online: true,
            authorized: true,
            stopped: None,
            status: Status::Connecting,
        }
    }
}

impl Session {
    /// Takes one event and says what to do. `now_ms` comes from a monotonic clock, `random` is asked for jitter only.
    pub fn handle(&mut self, event: Event, now_ms: u64, random: &mut dyn FnMut() -> u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::SpaceAdded(space) => self.add(space, now_ms),
            Event::SpaceRemoved(space) => {
                self.spaces.remove(&space);
            }
            Event::Edited(space) => {
                if let Some(state) = self.spaces.get_mut(&space) {
                    state.due_at_ms = state.due_at_ms.min(now_ms + SEAL_DELAY_MS);
                }
            }
            Event::SyncNow => self.sync_now(now_ms),
            Event::NetworkChanged { online } => {
                self.online = online;
                self.backoff.reset();
                self.resume_at_ms = now_ms;
            }
            Event::TokenChanged => {
                self.authorized = true;
                self.clear_troubles(now_ms);
            }
            Event::Timer => {}
            Event::Collected(space, collected) => self.collected(space, collected, &mut effects),
            Event::Answered(request, Ok(response)) => {
                if let Step::Asking(space, expected) = self.step
                    && expected == request
                {
                    self.backoff.reset();
                    self.step = Step::Storing(space);
                    effects.push(Effect::Store { space, response });
                }
            }
            Event::Answered(request, Err(failure)) => {
                if let Step::Asking(space, expected) = self.step
                    && expected == request
                {
                    self.step = Step::Resting;
                    self.failed(space, failure, now_ms, random, &mut effects);
                }
            }
            Event::Stored(space, outcome) => self.stored(space, outcome, now_ms, random),
        }
        self.pump(now_ms, &mut effects);
        effects
    }

    /// What to tell the app.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether there is nothing to do now: nothing under way, and every space was asked for since it last changed.
    pub fn is_quiet(&self, now_ms: u64) -> bool {
        self.step == Step::Resting && self.next(now_ms).is_none()
    }

    /// Why a space does not sync, if it does not.
    pub fn trouble(&self, space: SpaceId) -> Option<Trouble> {
        self.stopped.or_else(|| self.spaces.get(&space)?.trouble)
    }

    fn add(&mut self, space: SpaceId, now_ms: u64) {
        if self.spaces.len() < SESSION_SPACES_MAX {
            let fresh = SpaceState {
                due_at_ms: now_ms,
                not_before_ms: 0,
                backoff: Backoff::default(),
                version_known: false,
                trouble: None,
            };
            self.spaces.entry(space).or_insert(fresh);
        }
    }

    fn sync_now(&mut self, now_ms: u64) {
        self.clear_troubles(now_ms);
        self.backoff.reset();
        self.resume_at_ms = now_ms;
        self.online = true;
    }

    fn clear_troubles(&mut self, now_ms: u64) {
        self.stopped = None;
        for state in self.spaces.values_mut() {
            state.due_at_ms = now_ms;
            state.not_before_ms = 0;
            state.backoff.reset();
            state.trouble = None;
        }
    }

    fn collected(&mut self, space: SpaceId, collected: Collected, effects: &mut Vec<Effect>) {
        if self.step != Step::Collecting(space) {
            return;
        }
        let version = self.spaces.get(&space).is_some_and(|state| !state.version_known);
        let pull = Pull { since: collected.cursor, bytes_max: None, own: false, version };
        let request = SyncRequest { schema: SCHEMA, space, push: collected.run, pull: Some(pull) };
        self.requests += 1;
        self.step = Step::Asking(space, self.requests);
        effects.push(Effect::Send { id: self.requests, request: Box::new(request) });
    }

    fn stored(&mut self, space: SpaceId, outcome: StoreOutcome, now_ms: u64, random: &mut dyn FnMut() -> u64) {
        if !matches!(self.step, Step::Storing(at) | Step::Collecting(at) if at == space) {
            return;
        }
        self.step = Step::Resting;
        if matches!(outcome, StoreOutcome::Failed) {
            self.due(space, now_ms);
            self.resume_at_ms = now_ms + self.backoff.next(None, random);
            return;
        }
        let Some(state) = self.spaces.get_mut(&space) else { return };
        state.backoff.reset();
        match outcome {
            StoreOutcome::Done { more: true } => state.due_at_ms = now_ms,
            StoreOutcome::Done { more: false } => {
                state.version_known = true;
                // An edit that came while the answer was on its way has set a nearer time already.
                state.due_at_ms = state.due_at_ms.max(now_ms).min(now_ms + POLL_INTERVAL_MS);
            }
            StoreOutcome::Trouble(trouble) => state.trouble = Some(trouble),
            StoreOutcome::Failed => {}
        }
    }

    fn failed(
        &mut self,
        space: SpaceId,
        failure: Failure,
        now_ms: u64,
        random: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let (code, retry_after_ms) = match failure {
            Failure::Unreachable => (ErrorCode::Unavailable, None),
            Failure::Refused { code, retry_after_ms } => (code, retry_after_ms),
        };
        // What failed is tried again as soon as waiting is over, and does not wait for its next poll.
        self.due(space, now_ms);
        match code {
            ErrorCode::Unauthorized | ErrorCode::WrongDevice => {
                self.authorized = false;
                // An app that hands out the same bad token again and again must not make a loop of it.
                self.resume_at_ms = now_ms + self.backoff.next(retry_after_ms, random);
                effects.push(Effect::RefreshToken);
            }
            ErrorCode::NotFound => self.trouble_in(space, Trouble::NoAccess),
            ErrorCode::BadFrame | ErrorCode::UnsupportedSchema | ErrorCode::UnsupportedMediaType => {
                self.trouble_in(space, Trouble::NotUnderstood);
            }
            ErrorCode::UpgradeRequired => self.stopped = Some(Trouble::UpgradeRequired),
            ErrorCode::TooLarge if self.batch_bytes > BATCH_BYTES_MIN => {
                self.batch_bytes = (self.batch_bytes / 4).max(BATCH_BYTES_MIN);
            }
            ErrorCode::Busy | ErrorCode::Unavailable => {
                self.resume_at_ms = now_ms + self.backoff.next(retry_after_ms, random);
            }
            // What the server cannot do in one space does not hold up the others.
            _ => {
                if let Some(state) = self.spaces.get_mut(&space) {
                    state.not_before_ms = now_ms + state.backoff.next(retry_after_ms, random);
                }
            }
        }
    }

    fn due(&mut self, space: SpaceId, now_ms: u64) {
        if let Some(state) = self.spaces.get_mut(&space) {
            state.due_at_ms = state.due_at_ms.min(now_ms);
        }
    }

    fn trouble_in(&mut self, space: SpaceId, trouble: Trouble) {
        // The server was reached: nobody is offline, and the other spaces need not wait.
        self.backoff.reset();
        if let Some(state) = self.spaces.get_mut(&space) {
            state.trouble = Some(trouble);
        }
    }

    /// The space that is due first, with its time; `None` if no space wants anything before its next poll.
    fn next(&self, now_ms: u64) -> Option<SpaceId> {
        let due = self.spaces.iter().filter(|(_, state)| state.trouble.is_none() && state.at_ms() <= now_ms);
        due.min_by_key(|(_, state)| state.at_ms()).map(|(&space, _)| space)
    }

    fn pump(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let ready = self.online && self.authorized && self.stopped.is_none();
        if self.step == Step::Resting
            && ready
            && now_ms >= self.resume_at_ms
            && let Some(space) = self.next(now_ms)
        {
            if let Some(state) = self.spaces.get_mut(&space) {
                // From here on, an edit sets it nearer again.
                state.due_at_ms = now_ms + POLL_INTERVAL_MS;
            }
            self.step = Step::Collecting(space);
            effects.push(Effect::Collect { space, bytes_max: self.batch_bytes });
        }
        if self.step == Step::Resting && ready {
            let live = self.spaces.values().filter(|state| state.trouble.is_none());
            if let Some(at_ms) = live.map(|state| state.at_ms().max(self.resume_at_ms)).min() {
                effects.push(Effect::Wake { at_ms });
            }
        }
        let status = self.describe();
        if status != self.status {
            self.status = status;
            effects.push(Effect::Status(status));
        }
    }

    fn describe(&self) -> Status {
        if let Some(trouble) = self.stopped {
            return Status::Error(trouble);
        }
        if !self.authorized {
            return Status::NeedsAuth;
        }
        let is_waiting = self.backoff.is_waiting() || self.spaces.values().any(|state| state.backoff.is_waiting());
        if !self.online || (self.step == Step::Resting && is_waiting) {
            return Status::Offline;
        }
        match self.step {
            Step::Resting => match self.spaces.values().find_map(|state| state.trouble) {
                Some(trouble) => Status::Error(trouble),
                None => Status::Idle,
            },
            Step::Collecting(_) | Step::Asking(..) if self.backoff.is_waiting() || self.status == Status::Offline => {
                Status::Connecting
            }
            _ => Status::Syncing,
        }
    }
}
