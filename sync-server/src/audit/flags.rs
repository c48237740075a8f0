//! What is worth a look by people: somebody calls from another country after a long time, calls very often, or reaches for what
//! is not theirs. It refuses nobody anything, and costs a call no more than a look into a table in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::keeper::Keeper;
use super::{Context, Event, Kind};
use crate::auth::Caller;
use crate::clock::Clock;
use crate::config;
use crate::router::observe::Note;

/// Users that are counted, about 300 bytes each. One that finds no room is not flagged, and not refused either.
const USERS_MAX: usize = 65_536;
/// A full table is tidied no more often than this: it takes some milliseconds.
const TIDY_INTERVAL_MS: u64 = 1_000;
/// What was counted longer ago than this counts no more, whatever the configuration: the longest window.
const IDLE_MS: u64 = 3_600_000;
/// A flag is raised no more often than this, and where a user is, told.
const APART_MS: u64 = 3_600_000;
/// Kinds of flags that are counted here.
const COUNTED: usize = 2;

/// Who looks.
pub(crate) struct Flags {
    config: config::Flags,
    keeper: Arc<Keeper>,
    clock: Clock,
    users: Mutex<Users>,
}

#[derive(Default)]
struct Users {
    seen: HashMap<String, Seen>,
    tidied_ms: u64,
}

/// What is known of a user on this node.
#[derive(Default)]
struct Seen {
    last_ms: u64,
    counts: [Count; COUNTED],
    /// When a flag of each was raised last.
    raised_ms: [Option<u64>; COUNTED],
    /// Where the user was, and when that was told.
    country: Option<(String, u64)>,
}

/// Events in a window that slides: those of this one, and of the one before in proportion to what of it is still within.
#[derive(Default, Clone, Copy)]
struct Count {
    window: u64,
    current: u32,
    previous: u32,
}

impl Count {
    fn add(&mut self, now_ms: u64, window_ms: u64) -> u64 {
        let window = now_ms / window_ms;
        if window != self.window {
            self.previous = if window == self.window + 1 { self.current } else { 0 };
            (self.window, self.current) = (window, 0);
        }
        self.current = self.current.saturating_add(1);
        let left_ms = window_ms - now_ms % window_ms;
        u64::from(self.current) + u64::from(self.previous) * left_ms / window_ms
    }
}

/// What is counted.
#[derive(Clone, Copy)]
enum Counted {
    Call = 0,
    Refusal = 1,
}

impl Flags {
    pub(crate) fn new(config: config::Flags, keeper: Arc<Keeper>, clock: Clock) -> Self {
        Self { config, keeper, clock, users: Mutex::default() }
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        // Nothing under this lock can panic half-way.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody calls, or says something that is as much work.
    pub(crate) fn called(&self, caller: &Caller, note: &Note) {
        self.count(Counted::Call, caller, note);
    }

    /// And is told that there is no such thing, or that it is not allowed.
    pub(crate) fn refused(&self, caller: &Caller, note: &Note) {
        self.count(Counted::Refusal, caller, note);
    }

    fn count(&self, what: Counted, caller: &Caller, note: &Note) {
        let config = &self.config;
        let (kind, max, seconds) = match what {
            Counted::Call => (Kind::FlagBurst, config.burst_calls, config.burst_seconds),
            Counted::Refusal => (Kind::FlagReaching, config.reach_refusals, config.reach_seconds),
        };
        if max == 0 {
            return;
        }
        let now_ms = self.clock.now_ms();
        let counted = {
            let mut users = self.users();
            let Some(seen) = users.of(&caller.user, now_ms) else { return };
            let counted = seen.counts[what as usize].add(now_ms, u64::from(seconds) * 1_000);
            let raised = &mut seen.raised_ms[what as usize];
            if counted < u64::from(max) || raised.is_some_and(|raised| now_ms < raised + APART_MS) {
                return;
            }
            *raised = Some(now_ms);
            counted
        };
        let what = match what {
            Counted::Call => "calls",
            Counted::Refusal => "refusals",
        };
        self.keeper.flag(self.row(kind, caller, note, format!("{counted} {what} in {seconds} s on one node")));
    }

    /// Somebody calls from that country. Told once an hour, and when it is another.
    pub(crate) fn seen_in(&self, country: &str, caller: &Caller, note: &Note) {
        if self.config.inactive_days == 0 {
            return;
        }
        let now_ms = self.clock.now_ms();
        {
            let mut users = self.users();
            let Some(seen) = users.of(&caller.user, now_ms) else { return };
            let is_known =
                seen.country.as_ref().is_some_and(|(known, told)| known == country && now_ms < told + APART_MS);
            if is_known {
                return;
            }
            seen.country = Some((country.to_owned(), now_ms));
        }
        let flag = self.row(Kind::FlagNewCountry, caller, note, country.to_owned());
        self.keeper.seen(country.to_owned(), self.config.inactive_days, flag);
    }

    fn row(&self, kind: Kind, caller: &Caller, note: &Note, detail: String) -> crate::store::audit::AuditRow {
        let (device, detail) = (Some(caller.device), Some(detail));
        let event = Event { kind, user: &caller.user, device, space: None, detail };
        self.keeper.row(event, Context::of(note))
    }
}

impl Users {
    /// The user's place; `None` where there is no room for one more.
    fn of(&mut self, user: &str, now_ms: u64) -> Option<&mut Seen> {
        if !self.seen.contains_key(user) {
            if self.seen.len() >= USERS_MAX {
                self.tidy(now_ms);
            }
            if self.seen.len() >= USERS_MAX {
                return None;
            }
            self.seen.insert(user.to_owned(), Seen::default());
        }
        let seen = self.seen.get_mut(user)?;
        seen.last_ms = now_ms;
        Some(seen)
    }

    fn tidy(&mut self, now_ms: u64) {
        if now_ms < self.tidied_ms + TIDY_INTERVAL_MS {
            return;
        }
        self.tidied_ms = now_ms;
        self.seen.retain(|_, seen| now_ms < seen.last_ms + IDLE_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides() {
        let mut count = Count::default();
        for at in 1..=10 {
            assert_eq!(count.add(1_000_000, 60_000), at);
        }
        // A third of the next window later, two thirds of those count.
        let start = 1_000_000 / 60_000 * 60_000 + 60_000;
        assert_eq!(count.add(start + 20_000, 60_000), 1 + 10 * 2 / 3);
        assert_eq!(count.add(start + 119_999, 60_000), 1, "long ago");
        assert_eq!(Count { window: 1, current: 9, previous: 9 }.add(10_000_000, 60_000), 1);
    }

    #[test]
    fn users_are_bounded_and_idle_ones_make_room() {
        let mut users = Users::default();
        for at in 0..USERS_MAX {
            assert!(users.of(&at.to_string(), 5_000).is_some());
        }
        assert!(users.of("late", 6_000).is_none());
        assert!(users.of("7", 6_000).is_some(), "who is there already");
        assert!(users.of("late", 5_000 + IDLE_MS).is_some());
        assert_eq!(users.seen.len(), 2, "who called within the hour, and who calls now");
    }
}
