//! The client's sync machine: events in, effects out. It decides when to talk to the server, about which space, what an
//! answer means and how long to wait after a failure; the shell around it does what it says and tells it what happened.
//!
//! A session that was made [live](Session::live) keeps one connection open for everything, and makes plain requests only
//! where something on the way does not let such connections through.

use std::collections::BTreeMap;

use crate::id::SpaceId;
use crate::limits::{PAGE_BYTES_MAX, PAGE_CHANGES_MAX, POLL_IDLE_MAX_MS, SEAL_DELAY_MS, SESSION_SPACES_MAX};
use crate::wire::{ErrorCode, LiveRequest, Pull, SCHEMA, SnapshotWish, SyncRequest};

mod answer;
mod backoff;
mod effect;
mod event;
mod heal;
mod link;
mod live;
mod poll;
mod presence;
mod window;

pub use answer::{FeedState, Meaning, Trouble, meaning, shows_loss};
pub use backoff::Backoff;
pub use effect::{Effect, Status};
pub use event::{Collected, Ending, Event, Failure, HealStep, HealWork, Presence, StoreOutcome};
pub use window::Window;

use link::{Link, Open, Shown, State};
use window::Remaining;

/// The smallest batch that is tried when the server finds larger ones too large.
const BATCH_BYTES_MIN: usize = 64 << 10;

/// The state of synchronisation over all spaces of a device. One plain request is under way at a time.
#[derive(Debug)]
pub struct Session {
    spaces: BTreeMap<SpaceId, SpaceState>,
    shown: BTreeMap<SpaceId, Shown>,
    step: Step,
    link: Link,
    backoff: Backoff,
    resume_at_ms: u64,
    requests: u64,
    batch_bytes: usize,
    online: bool,
    authorized: bool,
    foreground: bool,
    /// The app wants an exchange, also from the background.
    called: bool,
    stopped: Option<Trouble>,
    /// What is left for the one exchange that this session is for.
    window: Option<Remaining>,
    status: Status,
}

#[derive(Debug)]
struct SpaceState {
    /// When it is to be asked for; over a live connection, which needs no asking: when what was typed is to be sent.
    due_at_ms: u64,
    /// After a failure that concerns this space alone; an edit does not make it sooner.
    not_before_ms: u64,
    backoff: Backoff,
    version_known: bool,
    trouble: Option<Trouble>,
    follow: Follow,
    /// Whether the next run begins at the first item that is not acknowledged.
    again: bool,
    /// How far the log is stored.
    at: u64,
    /// How far the log goes, as the last heartbeat said, and how far it was stored then.
    told: Option<(u64, u64)>,
    /// In an exchange of one window: the place in the order in which spaces are asked for, drawn, so that a window too short
    /// for all of them is not always too short for the same.
    turn: u64,
    /// The next item is larger than what the window may take.
    stuck: bool,
    /// How often in a row it was asked for and there was nothing.
    quiet: u32,
    /// How often in a row the server had lost what this device has.
    heals: u32,
}

/// Whether a space's log comes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    No,
    Asked,
    Yes {
        /// Whether pages of what was there before are still on their way.
        reading: bool,
    },
    /// It does not, since the server lets one connection follow only so many: it is asked for now and then.
    Polled,
}

/// By what a space is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    /// The live connection of that number.
    Link(u64),
}

/// What the session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Resting,
    Collecting(SpaceId, Way),
    Asking(SpaceId, u64),
    Storing(SpaceId, Way),
    /// Handing back what the server lost; where it was asked something, with the number of the request.
    Healing(SpaceId, Option<u64>),
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
            shown: BTreeMap::new(),
            step: Step::Resting,
            link: Link::default(),
            backoff: Backoff::default(),
            resume_at_ms: 0,
            requests: 0,
            batch_bytes: PAGE_BYTES_MAX,
            online: true,
            authorized: true,
            foreground: true,
            called: false,
            stopped: None,
            window: None,
            status: Status::Connecting,
        }
    }
}

impl Session {
    /// A session that keeps a live connection open; the default one makes plain requests.
    pub fn live() -> Self {
        let mut session = Self::default();
        session.link.wanted = true;
        session
    }

    /// Takes one event and says what to do. `now_ms` comes from a monotonic clock, `random` is asked for jitter only.
    pub fn handle(&mut self, event: Event, now_ms: u64, random: &mut dyn FnMut() -> u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::SpaceAdded(space) => self.add(space, now_ms, random),
            Event::SpaceRemoved(space) => self.remove(space, now_ms, &mut effects),
            Event::Edited(space) => self.edited(space, now_ms),
            Event::Pushed(spaces) => {
                for space in spaces {
                    self.pushed(space, now_ms);
                }
            }
            Event::SyncNow => self.sync_now(now_ms),
            Event::NetworkChanged { online } => self.network_changed(online, now_ms, &mut effects),
            Event::Foreground(foreground) => {
                self.foreground = foreground;
                if foreground {
                    self.network_changed(self.online, now_ms, &mut effects);
                    self.poll_now(now_ms);
                } else {
                    self.hurry(now_ms);
                    // A connection closes when it has sent what is left; requests need one more round for that.
                    self.called |= self.link.leaves_it_to_requests() && !self.spaces.is_empty();
                }
            }
            Event::Present(space, presence) => self.present(space, presence),
            Event::TokenChanged => {
                self.authorized = true;
                self.clear_troubles(now_ms);
                self.link.token_changed(now_ms);
                let link = self.link.number;
                if let Some(open) = self.link.open_mut(link) {
                    open.said(now_ms);
                    effects.push(Effect::SayToken { link });
                }
            }
            Event::Timer => {}
            Event::Opened(link, welcome) => self.opened(link, &welcome, now_ms),
            Event::Closed(link, ending) => self.closed(link, ending, now_ms, random, &mut effects),
            Event::Heard(link, frame) => self.heard(link, *frame, now_ms, random, &mut effects),
            Event::Collected(space, collected) => self.collected(space, collected, now_ms, &mut effects),
            Event::Moved(bytes) => {
                if let Some(window) = &mut self.window {
                    window.moved(bytes);
                }
            }
            Event::Answered(request, answer) => {
                if let Step::Asking(space, expected) = self.step
                    && expected == request
                {
                    match answer {
                        Ok(response) => {
                            self.backoff.reset();
                            if let Some(window) = &mut self.window {
                                window.answered(now_ms);
                            }
                            self.step = Step::Storing(space, Way::Request);
                            effects.push(Effect::Store { space, response });
                        }
                        Err(failure) => {
                            self.step = Step::Resting;
                            self.failed(space, failure, Way::Request, now_ms, random, &mut effects);
                        }
                    }
                }
            }
            Event::Stored(space, outcome) => self.stored(space, outcome, now_ms, random, &mut effects),
            Event::Heal(space, next) => self.heal_step(space, next, now_ms, random, &mut effects),
            Event::HealAnswered(request, answer) => {
                self.heal_answered(request, answer, now_ms, random, &mut effects);
            }
        }
        self.pump(now_ms, random, &mut effects);
        effects
    }

    /// What to tell the app.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether there is nothing to do now: nothing under way, and every space was asked for since it last changed.
    pub fn is_quiet(&self, now_ms: u64) -> bool {
        let settled = match self.link.open() {
            Some(_) => self.live_is_quiet(now_ms),
            None if !self.is_awake() => true,
            None => self.link.leaves_it_to_requests() && self.next(now_ms).is_none(),
        };
        self.step == Step::Resting && settled
    }

    /// Why a space does not sync, if it does not.
    pub fn trouble(&self, space: SpaceId) -> Option<Trouble> {
        self.stopped.or_else(|| self.spaces.get(&space)?.trouble)
    }

    /// The first trouble there is, of all spaces.
    pub fn any_trouble(&self) -> Option<Trouble> {
        self.stopped.or_else(|| self.spaces.values().find_map(|state| state.trouble))
    }

    fn is_ready(&self) -> bool {
        self.online && self.authorized && self.stopped.is_none()
    }

    /// Whether anything may be begun.
    fn is_awake(&self) -> bool {
        self.foreground || self.called
    }

    fn add(&mut self, space: SpaceId, now_ms: u64, random: &mut dyn FnMut() -> u64) {
        let turn = if self.window.is_some() { random() } else { 0 };
        if self.spaces.len() < SESSION_SPACES_MAX {
            let fresh = SpaceState {
                due_at_ms: now_ms,
                not_before_ms: 0,
                backoff: Backoff::default(),
                version_known: false,
                trouble: None,
                follow: Follow::No,
                again: true,
                at: 0,
                told: None,
                turn,
                stuck: false,
                quiet: 0,
                heals: 0,
            };
            self.spaces.entry(space).or_insert(fresh);
        }
        if let Some(state) = self.spaces.get_mut(&space)
            && state.trouble.is_some_and(Trouble::bars)
        {
            state.trouble = None;
            state.due_at_ms = now_ms;
        }
    }

    fn remove(&mut self, space: SpaceId, now_ms: u64, effects: &mut Vec<Effect>) {
        self.shown.remove(&space);
        let followed = self.spaces.remove(&space).is_some_and(|state| state.follow != Follow::No);
        if followed {
            self.say(self.link.number, LiveRequest::Unsubscribe { space }, now_ms, effects);
        }
    }

    /// An edit waits for others, so that a change is a word and not a keystroke; where nothing is under way on a live
    /// connection nobody gains from waiting.
    fn edited(&mut self, space: SpaceId, now_ms: u64) {
        let idle = self.link.open().is_some_and(Open::is_idle);
        let delay_ms = if idle { 0 } else { SEAL_DELAY_MS };
        if let Some(state) = self.spaces.get_mut(&space) {
            state.due_at_ms = state.due_at_ms.min(now_ms + delay_ms);
            state.quiet = 0;
        }
    }

    fn network_changed(&mut self, online: bool, now_ms: u64, effects: &mut Vec<Effect>) {
        self.online = online;
        self.backoff.reset();
        self.resume_at_ms = now_ms;
        self.link.retry_now(now_ms);
        let link = self.link.number;
        if online && let Some(open) = self.link.open_mut(link) {
            // It may be a connection of the network that was.
            open.probe(now_ms);
            self.say(link, LiveRequest::Ping { nonce: now_ms }, now_ms, effects);
        }
    }

    fn sync_now(&mut self, now_ms: u64) {
        self.clear_troubles(now_ms);
        self.backoff.reset();
        self.resume_at_ms = now_ms;
        self.online = true;
        self.called = true;
        self.link.retry_now(now_ms);
        // What others wrote may be on its way: only a page that was asked for after this proves that there is no more.
        let spaces: Vec<SpaceId> = self.spaces.keys().copied().collect();
        for space in spaces {
            self.follow_anew(space, now_ms);
        }
    }

    /// Sends what was typed without waiting for more.
    fn hurry(&mut self, now_ms: u64) {
        for state in self.spaces.values_mut() {
            if state.due_at_ms < u64::MAX {
                state.due_at_ms = state.due_at_ms.min(now_ms);
            }
        }
    }

    fn clear_troubles(&mut self, now_ms: u64) {
        self.stopped = None;
        for state in self.spaces.values_mut() {
            // What is followed needs no asking; the rest does.
            if !matches!(state.follow, Follow::Yes { .. }) || state.trouble.is_some() {
                state.due_at_ms = now_ms;
            }
            state.not_before_ms = 0;
            state.backoff.reset();
            state.trouble = None;
            state.heals = 0;
        }
    }

    fn collected(&mut self, space: SpaceId, collected: Collected, now_ms: u64, effects: &mut Vec<Effect>) {
        let Step::Collecting(at, way) = self.step else { return };
        if at != space {
            return;
        }
        self.step = Step::Resting;
        if let Way::Link(link) = way {
            return self.collected_for_link(link, space, collected, now_ms, effects);
        }
        let mut version = self.spaces.get(&space).is_some_and(|state| !state.version_known);
        let mut run = collected.run;
        let (mut bytes_max, mut answer_bytes_max, mut patience_ms) = (None, None, None);
        if let Some(window) = &mut self.window {
            if run.as_ref().is_some_and(|run| !window.fits(run)) {
                run = None;
                if let Some(state) = self.spaces.get_mut(&space) {
                    state.stuck = true;
                }
            }
            let (page, answer) = window.ask(run.as_ref(), now_ms);
            bytes_max = Some(page.min(PAGE_BYTES_MAX) as u32);
            (answer_bytes_max, patience_ms) = (answer, Some(window.patience_ms(now_ms)));
            // It grows with the devices that ever wrote, whatever the page may hold.
            version &= !window.is_counted();
        }
        // The page that follows a large snapshot is asked for when that is here, so that what is not shown yet stays little.
        let snapshot = collected.wish.map(|wish| SnapshotWish { bytes_max, ..wish });
        let (since, own, snapshots) = (collected.cursor, collected.own, collected.snapshots);
        let pull = snapshot.is_none().then_some(Pull { since, bytes_max, own, version, snapshots });
        let request = Box::new(SyncRequest { schema: SCHEMA, space, push: run, pull, snapshot });
        self.requests += 1;
        self.step = Step::Asking(space, self.requests);
        effects.push(Effect::Send { id: self.requests, request, answer_bytes_max, patience_ms });
    }

    fn stored(
        &mut self,
        space: SpaceId,
        outcome: StoreOutcome,
        now_ms: u64,
        random: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let (Step::Storing(at, way) | Step::Collecting(at, way)) = self.step else { return };
        if at != space {
            return;
        }
        self.step = Step::Resting;
        let Some(state) = self.spaces.get_mut(&space) else { return };
        match outcome {
            StoreOutcome::Done { more, at } => {
                state.backoff.reset();
                state.heals = 0;
                let moved_on = std::mem::replace(&mut state.at, at) != at;
                state.quiet = if moved_on || more { 0 } else { state.quiet.saturating_add(1) };
                let live = matches!(state.follow, Follow::Yes { .. } | Follow::Asked);
                match way {
                    // What does not fit into this window does not fit into what is left of it either.
                    Way::Request if state.stuck && !moved_on => state.due_at_ms = u64::MAX,
                    Way::Request if more => state.due_at_ms = now_ms,
                    // An edit that came while the answer was on its way has set a nearer time already.
                    Way::Request => state.due_at_ms = state.due_at_ms.max(now_ms).min(state.next_poll_ms(now_ms)),
                    // Of what is under way the answers are still to come.
                    Way::Link(_) if more && self.link.open().is_some_and(Open::is_idle) => {
                        state.due_at_ms = now_ms;
                    }
                    Way::Link(_) => {}
                }
                state.version_known |= !more && (way == Way::Request || live);
            }
            StoreOutcome::Trouble(trouble) => {
                state.backoff.reset();
                state.trouble = Some(trouble);
                // Nothing is under way any more: whoever tries again sends what is not acknowledged.
                state.again = true;
            }
            StoreOutcome::Diverged => self.diverged(space, effects),
            StoreOutcome::Gap | StoreOutcome::Failed => {
                state.again = true;
                match way {
                    Way::Request => {
                        state.due_at_ms = state.due_at_ms.min(now_ms);
                        self.resume_at_ms = now_ms + self.backoff.next(None, random);
                    }
                    Way::Link(_) => {
                        state.not_before_ms = now_ms + state.backoff.next(None, random);
                        self.follow_anew(space, now_ms);
                    }
                }
            }
        }
    }

    fn failed(
        &mut self,
        space: SpaceId,
        failure: Failure,
        way: Way,
        now_ms: u64,
        random: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(window) = &mut self.window {
            window.failed();
        }
        let (code, retry_after_ms) = match failure {
            Failure::Cut => {
                if let Some(window) = &mut self.window {
                    window.cut();
                }
                if let Some(state) = self.spaces.get_mut(&space) {
                    (state.stuck, state.due_at_ms) = (true, u64::MAX);
                }
                return;
            }
            Failure::Unreachable => (ErrorCode::Unavailable, None),
            Failure::Refused { code, retry_after_ms } => (code, retry_after_ms),
        };
        // What failed is tried again as soon as waiting is over, and does not wait for its next poll.
        self.due(space, now_ms);
        match code {
            ErrorCode::Unauthorized | ErrorCode::WrongDevice | ErrorCode::SessionEnded | ErrorCode::DeviceRevoked => {
                self.authorized = false;
                // An app that hands out the same bad token again and again must not make a loop of it.
                self.resume_at_ms = now_ms + self.backoff.next(retry_after_ms, random);
                effects.push(Effect::RefreshToken);
            }
            ErrorCode::NotFound | ErrorCode::SpaceDeleted => {
                let deleted = code == ErrorCode::SpaceDeleted;
                self.trouble_in(space, if deleted { Trouble::SpaceDeleted } else { Trouble::NoAccess });
                if self.spaces.contains_key(&space) {
                    effects.push(Effect::Barred { space });
                }
            }
            ErrorCode::BadFrame | ErrorCode::UnsupportedSchema | ErrorCode::UnsupportedMediaType => {
                self.trouble_in(space, Trouble::NotUnderstood);
            }
            ErrorCode::UpgradeRequired => self.stopped = Some(Trouble::UpgradeRequired),
            ErrorCode::TooLarge if self.batch_bytes > BATCH_BYTES_MIN => {
                self.batch_bytes = (self.batch_bytes / 4).max(BATCH_BYTES_MIN);
            }
            // All three are about the whole server, or the whole device, so no space is asked about meanwhile.
            ErrorCode::Busy | ErrorCode::Unavailable | ErrorCode::RateLimited if way == Way::Request => {
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
        due.min_by_key(|(_, state)| (state.at_ms(), state.turn)).map(|(&space, _)| space)
    }

    fn pump(&mut self, now_ms: u64, random: &mut dyn FnMut() -> u64, effects: &mut Vec<Effect>) {
        self.pump_link(now_ms, random, effects);
        let ready = self.is_ready();
        if self.step == Step::Resting && ready {
            if self.link.open().is_some() {
                self.pump_presence(now_ms, effects);
                self.pump_live(now_ms, effects);
            } else if self.link.leaves_it_to_requests() && self.is_awake() && now_ms >= self.resume_at_ms {
                self.pump_requests(now_ms, effects);
            }
        }
        if self.called && self.is_quiet(now_ms) {
            self.called = false;
            self.pump_link(now_ms, random, effects);
        }
        if let Some(at_ms) = self.wakes_at_ms(now_ms) {
            effects.push(Effect::Wake { at_ms });
        }
        let status = self.describe();
        if status != self.status {
            self.status = status;
            effects.push(Effect::Status(status));
        }
    }

    fn pump_requests(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.is_spent(now_ms) {
            return;
        }
        let Some(space) = self.next(now_ms) else { return };
        if let Some(state) = self.spaces.get_mut(&space) {
            // From here on, an edit sets it nearer again.
            state.due_at_ms = now_ms + POLL_IDLE_MAX_MS;
        }
        self.step = Step::Collecting(space, Way::Request);
        let share = self.window.as_mut().map(Remaining::collect);
        let bytes_max = share.map_or(self.batch_bytes, |share| share.bytes_max.min(self.batch_bytes));
        let items_max = share.map_or(PAGE_CHANGES_MAX, |share| share.items_max.min(PAGE_CHANGES_MAX));
        effects.push(Effect::Collect { space, bytes_max, items_max, again: true });
    }

    /// When to be called again if nothing happens; only while nothing is under way that will call by itself.
    fn wakes_at_ms(&self, now_ms: u64) -> Option<u64> {
        let ready = self.step == Step::Resting && self.is_ready();
        let requests = ready && self.is_awake() && self.link.leaves_it_to_requests() && !self.is_spent(now_ms);
        let live = self.spaces.values().filter(|state| requests && state.trouble.is_none());
        let request_at_ms =
            live.map(|state| state.at_ms().max(self.resume_at_ms)).min().filter(|at_ms| *at_ms < u64::MAX);
        let link_at_ms = if self.step == Step::Resting { self.link_wakes_at_ms(now_ms) } else { None };
        request_at_ms.into_iter().chain(link_at_ms).min()
    }

    fn describe(&self) -> Status {
        if let Some(trouble) = self.stopped {
            return Status::Error(trouble);
        }
        if !self.authorized {
            return Status::NeedsAuth;
        }
        if !self.online {
            return Status::Offline;
        }
        let at_rest = || self.any_trouble().map_or(Status::Idle, Status::Error);
        if self.link.open().is_some() {
            let settled = self.step == Step::Resting && self.live_is_quiet(0);
            return if settled { at_rest() } else { Status::Syncing };
        }
        if !self.is_awake() && self.step == Step::Resting {
            return Status::Asleep;
        }
        if !self.link.leaves_it_to_requests() {
            return match self.link.state {
                State::Closed if self.link.is_waiting() => Status::Offline,
                _ => Status::Connecting,
            };
        }
        let is_waiting = self.backoff.is_waiting() || self.spaces.values().any(|state| state.backoff.is_waiting());
        if self.step == Step::Resting && is_waiting {
            return Status::Offline;
        }
        match self.step {
            Step::Resting => at_rest(),
            Step::Collecting(..) | Step::Asking(..) if self.backoff.is_waiting() || self.status == Status::Offline => {
                Status::Connecting
            }
            _ => Status::Syncing,
        }
    }
}
