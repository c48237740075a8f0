//! What a session knows of its live connection.

use std::collections::BTreeMap;

use super::backoff::Backoff;
use super::event::Presence;
use crate::id::SpaceId;
use crate::limits::{
    BACKOFF_CAP_MS, LIVE_BACKOFF_BASE_MS, LIVE_BEATS_MISSED_MAX, LIVE_BLOCKED_RETRY_MAX_MS, LIVE_PING_INTERVAL_MS,
    LIVE_PROBE_TIMEOUT_MS, LIVE_PUSHES_IN_FLIGHT_MAX,
};
use crate::wire::{Limits, Welcome};

/// The live connection over its lives.
#[derive(Debug)]
pub(super) struct Link {
    /// Whether this session wants one at all.
    pub(super) wanted: bool,
    pub(super) state: State,
    /// Of the last one that was opened.
    pub(super) number: u64,
    pub(super) retry_at_ms: u64,
    /// Something on the way does not let live connections through: plain requests are used meanwhile.
    pub(super) blocked: bool,
    /// How often in a row a token was not taken.
    denials: u32,
    lost: Backoff,
    refused: Backoff,
}

/// Where the connection stands.
#[derive(Debug)]
pub(super) enum State {
    Closed,
    Opening,
    Open(Open),
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) limits: Limits,
    heartbeat_ms: u64,
    heard_at_ms: u64,
    said_at_ms: u64,
    /// By when something must be heard, after the network changed.
    probe_until_ms: Option<u64>,
    /// Requests without an answer.
    pub(super) flights: BTreeMap<u64, Flight>,
    requests: u64,
    pub(super) presence_at_ms: u64,
}

/// A request under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) space: SpaceId,
    pub(super) asks: Asks,
}

/// What a request asks for, beside taking its push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    Nothing,
    Page,
    Following,
}

/// What the user shows in a space, and whether the server knows.
#[derive(Debug)]
pub(super) struct Shown {
    /// `None` until the server was told that nothing is shown any more.
    pub(super) presence: Option<Presence>,
    pub(super) told_at_ms: Option<u64>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            wanted: false,
            state: State::Closed,
            number: 0,
            retry_at_ms: 0,
            blocked: false,
            denials: 0,
            lost: Backoff::new(LIVE_BACKOFF_BASE_MS, BACKOFF_CAP_MS),
            refused: Backoff::new(LIVE_BACKOFF_BASE_MS, LIVE_BLOCKED_RETRY_MAX_MS),
        }
    }
}

impl Link {
    pub(super) fn open(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) => Some(open),
            _ => None,
        }
    }

    /// The open connection with that number.
    pub(super) fn open_mut(&mut self, number: u64) -> Option<&mut Open> {
        match &mut self.state {
            State::Open(open) if self.number == number => Some(open),
            _ => None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether plain requests are to be made.
    pub(super) fn leaves_it_to_requests(&self) -> bool {
        !self.wanted || (self.blocked && self.open().is_none())
    }

    /// Whether the last try failed.
    pub(super) fn is_waiting(&self) -> bool {
        self.lost.is_waiting()
    }

    pub(super) fn opening(&mut self) -> u64 {
        self.number += 1;
        self.state = State::Opening;
        self.number
    }

    pub(super) fn opened(&mut self, welcome: &Welcome, now_ms: u64) {
        self.blocked = false;
        self.refused.reset();
        self.state = State::Open(Open {
            limits: welcome.limits,
            heartbeat_ms: welcome.heartbeat_ms.max(1),
            heard_at_ms: now_ms,
            said_at_ms: now_ms,
            probe_until_ms: None,
            flights: BTreeMap::new(),
            requests: 0,
            presence_at_ms: 0,
        });
    }

    /// It serves: what failed before is forgotten. An opened connection alone is no proof of that.
    pub(super) fn serves(&mut self) {
        self.lost.reset();
        self.denials = 0;
    }

    /// The token was not taken.
    pub(super) fn denied(&mut self) {
        self.denials = self.denials.saturating_add(1);
    }

    /// There is a new token. It is tried at once, unless the one before was new as well: an app that hands out bad tokens
    /// when it is asked must not make a loop of it.
    pub(super) fn token_changed(&mut self, now_ms: u64) {
        if self.denials <= 1 {
            self.retry_at_ms = self.retry_at_ms.min(now_ms);
        }
    }

    pub(super) fn lost(&mut self, now_ms: u64, retry_after_ms: Option<u64>, random: &mut dyn FnMut() -> u64) {
        self.state = State::Closed;
        self.retry_at_ms = now_ms + self.lost.next(retry_after_ms, random);
    }

    pub(super) fn is_blocked(&mut self, now_ms: u64, random: &mut dyn FnMut() -> u64) {
        self.state = State::Closed;
        self.blocked = true;
        // Not a failure to wait for: requests go on at once.
        self.lost.reset();
        self.retry_at_ms = now_ms + self.refused.next(None, random);
    }

    /// Tries again at once, whatever was before.
    pub(super) fn retry_now(&mut self, now_ms: u64) {
        self.lost.reset();
        self.refused.reset();
        self.retry_at_ms = now_ms;
    }
}

impl Open {
    pub(super) fn heard(&mut self, now_ms: u64) {
        self.heard_at_ms = now_ms;
        self.probe_until_ms = None;
    }

    pub(super) fn said(&mut self, now_ms: u64) {
        self.said_at_ms = now_ms;
    }

    pub(super) fn probe(&mut self, now_ms: u64) {
        self.probe_until_ms = Some(now_ms + LIVE_PROBE_TIMEOUT_MS);
    }

    /// When it counts as dead if nothing is heard.
    pub(super) fn dead_at_ms(&self) -> u64 {
        let beats = self.heard_at_ms + self.heartbeat_ms.saturating_mul(LIVE_BEATS_MISSED_MAX);
        self.probe_until_ms.map_or(beats, |probe| probe.min(beats))
    }

    /// When it has to say something again.
    pub(super) fn ping_at_ms(&self) -> u64 {
        self.said_at_ms + LIVE_PING_INTERVAL_MS
    }

    /// A number for a request, which is under way from here on.
    pub(super) fn fly(&mut self, flight: Flight) -> u64 {
        self.requests += 1;
        self.flights.insert(self.requests, flight);
        self.requests
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.flights.len() < LIVE_PUSHES_IN_FLIGHT_MAX
    }

    pub(super) fn flies_in(&self, space: SpaceId) -> bool {
        self.flights.values().any(|flight| flight.space == space)
    }

    /// The time between two presence messages.
    pub(super) fn presence_interval_ms(&self) -> u64 {
        1_000_u64.div_ceil(self.limits.presence_per_second_max.max(1))
    }
}
