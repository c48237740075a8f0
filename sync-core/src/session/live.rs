//! The session over a live connection: what it follows, pushes as soon as there is something, and hears.

use super::answer::Trouble;
use super::effect::Effect;
use super::event::{Collected, Ending, Failure};
use super::link::{Asks, Flight, State};
use super::{Follow, Session, SpaceState, Step, Way};
use crate::feed::Item;
use crate::id::SpaceId;
use crate::limits::{LIVE_PUSH_BYTES_MAX, PAGE_CHANGES_MAX, POLL_INTERVAL_MS};
use crate::wire::{
    ErrorCode, LiveRequest, LiveResponse, Page, Pull, PullAnswer, SCHEMA, SpaceHead, SyncResponse, Welcome,
};

impl SpaceState {
    /// Everything that was known of the connection's view of this space is gone with it.
    fn unlinked(&mut self, now_ms: u64) {
        self.follow = Follow::No;
        self.again = true;
        // The server that is connected to next may be one that was restored meanwhile.
        self.version_known = false;
        self.told = None;
        self.due_at_ms = self.due_at_ms.min(now_ms);
    }
}

impl Session {
    /// Opens, keeps alive, gives up or puts away the connection.
    pub(super) fn pump_link(&mut self, now_ms: u64, random: &mut dyn FnMut() -> u64, effects: &mut Vec<Effect>) {
        let link = self.link.number;
        let (awake, drained) = (self.is_awake(), self.is_drained());
        match &self.link.state {
            State::Open(open) if now_ms >= open.dead_at_ms() => {
                effects.push(Effect::Shut { link });
                self.unlink(now_ms, None, random);
            }
            State::Open(_) if !awake && drained => {
                effects.push(Effect::Shut { link });
                self.put_away(now_ms);
            }
            State::Open(open) if now_ms >= open.ping_at_ms() => {
                self.say(link, LiveRequest::Ping { nonce: now_ms }, now_ms, effects);
            }
            State::Opening if !awake => {
                effects.push(Effect::Shut { link });
                self.put_away(now_ms);
            }
            State::Closed => {
                let due = self.link.wanted && self.is_ready() && awake && now_ms >= self.link.retry_at_ms;
                if due && self.spaces.values().any(|state| state.trouble.is_none()) {
                    let link = self.link.opening();
                    effects.push(Effect::Open { link });
                }
            }
            State::Open(_) | State::Opening => {}
        }
    }

    /// Asks the store for what the connection can take next.
    pub(super) fn pump_live(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let bytes_max = self.link_batch_bytes();
        let wants =
            |(space, state): (&SpaceId, &SpaceState)| self.can_collect(*space, state) && state.at_ms() <= now_ms;
        let mut due = self.spaces.iter().filter(|(space, state)| wants((space, state)));
        let Some(space) = due.next().map(|(space, _)| *space) else { return };
        let Some(state) = self.spaces.get_mut(&space) else { return };
        // From here on, an edit sets it nearer again.
        state.due_at_ms = u64::MAX;
        self.step = Step::Collecting(space, Way::Link(self.link.number));
        let (items_max, again) = (PAGE_CHANGES_MAX, std::mem::take(&mut state.again));
        effects.push(Effect::Collect { space, bytes_max, items_max, again });
    }

    fn link_batch_bytes(&self) -> usize {
        let told = self.link.open().map_or(LIVE_PUSH_BYTES_MAX, |open| open.limits.push_bytes_max as usize);
        self.batch_bytes.min(LIVE_PUSH_BYTES_MAX).min(told)
    }

    /// Whether something of a space may be sent now, if there is any.
    fn can_collect(&self, space: SpaceId, state: &SpaceState) -> bool {
        let Some(open) = self.link.open() else { return false };
        // After a refusal the run begins anew, behind whatever is still under way.
        let clear = !state.again || !open.flies_in(space);
        // A space is followed only when its page has come; what is typed until then goes after it.
        state.trouble.is_none() && state.follow != Follow::Asked && open.has_room() && clear
    }

    /// When the next thing is due on the connection.
    pub(super) fn link_wakes_at_ms(&self, now_ms: u64) -> Option<u64> {
        match &self.link.state {
            State::Opening => None,
            State::Closed => {
                // Where requests do the work, it is tried again with the next of them: that wakes the radio anyway.
                let wanted = self.link.wanted && !self.link.blocked;
                let tries = wanted && self.is_ready() && self.is_awake() && !self.spaces.is_empty();
                tries.then_some(self.link.retry_at_ms).filter(|at_ms| *at_ms > now_ms)
            }
            State::Open(open) => {
                let spaces = self.spaces.iter().filter(|(space, state)| self.can_collect(**space, state));
                let spaces = spaces.map(|(_, state)| state.at_ms()).filter(|at_ms| *at_ms < u64::MAX);
                let presence = self.presence_wakes_at_ms();
                let own = [open.dead_at_ms(), open.ping_at_ms()];
                // What is due and waits for something else than time is not woken for.
                spaces.chain(presence).chain(own).filter(|at_ms| *at_ms > now_ms).min()
            }
        }
    }

    pub(super) fn opened(&mut self, link: u64, welcome: &Welcome, now_ms: u64) {
        if !matches!(self.link.state, State::Opening) || self.link.number != link {
            return;
        }
        self.link.opened(welcome, now_ms);
        for state in self.spaces.values_mut() {
            state.unlinked(now_ms);
        }
        for shown in self.shown.values_mut() {
            shown.told_at_ms = None;
        }
    }

    pub(super) fn closed(
        &mut self,
        link: u64,
        ending: Ending,
        now_ms: u64,
        random: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        if self.link.is_closed() || self.link.number != link {
            return;
        }
        match ending {
            Ending::Lost => self.unlink(now_ms, None, random),
            Ending::Blocked => self.blocked(now_ms, random),
            Ending::Refused { code, retry_after_ms } => match code {
                ErrorCode::Unauthorized
                | ErrorCode::WrongDevice
                | ErrorCode::SessionEnded
                | ErrorCode::DeviceRevoked => {
                    self.unlink(now_ms, retry_after_ms, random);
                    self.link.denied();
                    self.authorized = false;
                    effects.push(Effect::RefreshToken);
                }
                ErrorCode::UpgradeRequired | ErrorCode::UnsupportedSchema => {
                    self.unlink(now_ms, retry_after_ms, random);
                    self.stopped = Some(Trouble::UpgradeRequired);
                }
                // No such route, or a frame that one side takes for nonsense: requests tell which space it is about.
                ErrorCode::NotFound
                | ErrorCode::MethodNotAllowed
                | ErrorCode::BadFrame
                | ErrorCode::TooLarge
                | ErrorCode::UnsupportedMediaType => self.blocked(now_ms, random),
                _ => self.unlink(now_ms, retry_after_ms, random),
            },
        }
    }

    fn unlink(&mut self, now_ms: u64, retry_after_ms: Option<u64>, random: &mut dyn FnMut() -> u64) {
        self.link.lost(now_ms, retry_after_ms, random);
        self.unfollow_all(now_ms);
    }

    fn blocked(&mut self, now_ms: u64, random: &mut dyn FnMut() -> u64) {
        self.link.is_blocked(now_ms, random);
        self.unfollow_all(now_ms);
    }

    /// Closes it for now, without a failure.
    fn put_away(&mut self, now_ms: u64) {
        self.link.state = State::Closed;
        self.link.retry_at_ms = now_ms;
        self.unfollow_all(now_ms);
    }

    fn unfollow_all(&mut self, now_ms: u64) {
        for state in self.spaces.values_mut() {
            state.unlinked(now_ms);
        }
    }

    /// Whether nothing is under way or waits to be sent.
    fn is_drained(&self) -> bool {
        let waits = |state: &SpaceState| matches!(state.follow, Follow::Yes { .. }) && state.due_at_ms < u64::MAX;
        let busy = |state: &SpaceState| state.trouble.is_none() && (waits(state) || state.follow == Follow::Asked);
        self.step == Step::Resting
            && self.link.open().is_none_or(super::link::Open::is_idle)
            && !self.spaces.values().any(busy)
    }

    pub(super) fn collected_for_link(
        &mut self,
        link: u64,
        space: SpaceId,
        collected: Collected,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let followed = self.spaces.values().filter(|state| matches!(state.follow, Follow::Asked | Follow::Yes { .. }));
        let followed = followed.count() as u64;
        let bytes_max = self.link_batch_bytes();
        let Some(state) = self.spaces.get_mut(&space) else { return };
        let Some(open) = self.link.open_mut(link) else {
            // Whatever was collected for it is collected again.
            state.unlinked(now_ms);
            return;
        };
        let asks = match state.follow {
            Follow::No if followed < open.limits.spaces_max => Asks::Following,
            Follow::No | Follow::Polled => Asks::Page,
            Follow::Asked | Follow::Yes { .. } => Asks::Nothing,
        };
        // Its parts follow each other.
        let wish = collected.wish.filter(|_| open.is_idle());
        if asks == Asks::Nothing && collected.run.is_none() && wish.is_none() {
            return;
        }
        let pull = (asks != Asks::Nothing).then_some(Pull {
            since: collected.cursor,
            bytes_max: None,
            own: collected.own,
            version: !state.version_known,
            snapshots: collected.snapshots,
        });
        match asks {
            Asks::Following => state.follow = Follow::Asked,
            // More spaces than the server lets one connection follow: the others are asked for now and then.
            Asks::Page => {
                state.follow = Follow::Polled;
                state.due_at_ms = state.due_at_ms.min(now_ms + POLL_INTERVAL_MS);
            }
            Asks::Nothing => {}
        }
        if let Some(run) = &collected.run {
            // A run that is cut off at its bound is not the last: the next follows without waiting for the answer.
            let bytes: usize = run.items.iter().map(Item::payload_bytes).sum();
            if bytes * 2 > bytes_max {
                state.due_at_ms = state.due_at_ms.min(now_ms);
            }
        }
        let id = open.fly(Flight { space, asks });
        let subscribe = asks == Asks::Following;
        let frame = LiveRequest::Sync { id, space, push: collected.run, pull, subscribe, snapshot: wish };
        self.say(link, frame, now_ms, effects);
    }

    pub(super) fn say(&mut self, link: u64, frame: LiveRequest, now_ms: u64, effects: &mut Vec<Effect>) {
        if let Some(open) = self.link.open_mut(link) {
            open.said(now_ms);
            effects.push(Effect::Say { link, frame: Box::new(frame) });
        }
    }

    pub(super) fn heard(
        &mut self,
        link: u64,
        frame: LiveResponse,
        now_ms: u64,
        random: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(open) = self.link.open_mut(link) else { return };
        open.heard(now_ms);
        match frame {
            LiveResponse::Answer { id, space, push, pull, snapshot } => {
                let Some(flight) = open.flights.remove(&id).filter(|flight| flight.space == space) else { return };
                let idle = open.is_idle();
                self.link.serves();
                self.backoff.reset();
                if idle {
                    self.send_what_waits(now_ms);
                }
                let more = matches!(&pull, Some(PullAnswer::Page(Page { more: true, .. })));
                if let Some(state) = self.spaces.get_mut(&space) {
                    match (flight.asks, state.follow) {
                        (Asks::Following, _) => state.follow = Follow::Yes { reading: more },
                        (Asks::Nothing, Follow::Yes { .. }) if pull.is_some() => {
                            state.follow = Follow::Yes { reading: more };
                        }
                        _ => {}
                    }
                }
                self.take(space, SyncResponse { schema: SCHEMA, push, pull, snapshot }, now_ms, effects);
            }
            LiveResponse::Page { space, page } => {
                let Some(state) = self.spaces.get_mut(&space).filter(|state| state.trouble.is_none()) else { return };
                if let Follow::Yes { reading } = &mut state.follow {
                    *reading = page.more;
                }
                let pull = Some(PullAnswer::Page(page));
                self.take(space, SyncResponse { schema: SCHEMA, push: None, pull, snapshot: None }, now_ms, effects);
            }
            LiveResponse::Refused { id, space, error } => {
                let flight = id.and_then(|id| open.flights.remove(&id));
                let Some(space) = flight.map(|flight| flight.space).or(space) else { return };
                let ends = flight.is_none_or(|flight| flight.asks == Asks::Following);
                if let Some(state) = self.spaces.get_mut(&space) {
                    state.again = true;
                    if ends {
                        state.follow = Follow::No;
                    }
                }
                let failure = Failure::Refused { code: error.code, retry_after_ms: error.retry_after_ms };
                self.failed(space, failure, Way::Link(link), now_ms, random, effects);
                if !self.authorized {
                    effects.push(Effect::Shut { link });
                    self.unlink(now_ms, None, random);
                    self.link.denied();
                }
            }
            LiveResponse::Beat { heads } => self.beat(&heads),
            LiveResponse::Presence { space, peers } => {
                if self.spaces.contains_key(&space) {
                    effects.push(Effect::Peers { space, peers });
                }
            }
            LiveResponse::TokenExpires { .. } => effects.push(Effect::RefreshToken),
            LiveResponse::Hello(_) | LiveResponse::Renewed { .. } | LiveResponse::Pong { .. } => {}
        }
    }

    fn take(&mut self, space: SpaceId, response: SyncResponse, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.step == Step::Resting {
            self.step = Step::Storing(space, Way::Link(self.link.number));
            effects.push(Effect::Store { space, response: Box::new(response) });
        } else {
            // Only a server that speaks out of turn is heard while something else is under way. Not kept, so asked for again.
            self.follow_anew(space, now_ms);
        }
    }

    /// Nobody waits for an answer any more, so what was typed meanwhile need not wait for more of it.
    fn send_what_waits(&mut self, now_ms: u64) {
        for state in self.spaces.values_mut().filter(|state| state.due_at_ms < u64::MAX) {
            if matches!(state.follow, Follow::Yes { .. }) {
                state.due_at_ms = state.due_at_ms.min(now_ms);
            }
        }
    }

    /// Who has not got by now where the last beat said that the log was, and has not moved since, has missed something.
    fn beat(&mut self, heads: &[SpaceHead]) {
        let mut missed = Vec::new();
        for (space, state) in &mut self.spaces {
            let told = heads.iter().find(|head| head.space == *space).map(|head| head.head.seq);
            let before = state.told;
            state.told = told.or(before.map(|(head, _)| head)).map(|head| (head, state.at));
            if let (Follow::Yes { reading }, Some((head, at))) = (&mut state.follow, state.told) {
                // The page that was to say so may have come before the one that said otherwise.
                *reading &= at < head;
            }
            let stands = before.is_some_and(|(head, at)| head > state.at && at == state.at);
            if stands && matches!(state.follow, Follow::Yes { .. }) {
                missed.push(*space);
            }
        }
        for space in missed {
            self.follow_anew(space, 0);
        }
    }

    pub(super) fn follow_anew(&mut self, space: SpaceId, now_ms: u64) {
        let Some(state) = self.spaces.get_mut(&space) else { return };
        // An answer that is under way may be older than the wish; quiet is only when it and the next one are here.
        if matches!(state.follow, Follow::Yes { .. } | Follow::Asked) {
            state.follow = Follow::No;
        }
        state.told = None;
        state.due_at_ms = state.due_at_ms.min(now_ms);
    }

    /// Whether everything that was made here is there, and everything that was there when it was asked for is here.
    pub(super) fn live_is_quiet(&self, now_ms: u64) -> bool {
        let settled = |state: &SpaceState| match state.follow {
            _ if state.trouble.is_some() => true,
            Follow::Yes { reading } => !reading && state.due_at_ms == u64::MAX,
            Follow::Polled => state.at_ms() > now_ms,
            Follow::No | Follow::Asked => false,
        };
        self.link.open().is_some_and(super::link::Open::is_idle) && self.spaces.values().all(settled)
    }
}
