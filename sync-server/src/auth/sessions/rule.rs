//! What becomes of a refresh token: the rule, as a function of what is known.

use sync_core::id::DeviceId;

use crate::store::devices::{Session, Why};

/// By how much the clocks of nodes may differ without anybody noticing: so much longer a token may be repeated, and holds.
pub(super) const CLOCK_SKEW_MS: u64 = 5_000;

/// A refresh, as it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presented {
    /// The number that the token names.
    pub(super) n: u64,
    /// Whether it was this server that made the token, for this session and number.
    pub(super) is_genuine: bool,
    /// The device that says so.
    pub(super) device: DeviceId,
    /// Whether it has proved, with its own key, to be the one that the session is of.
    pub(super) is_proved: bool,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A token of that number follows.
    Rotate(u64),
    /// The current token is given once more.
    Repeat,
    /// Somebody uses what was used before, or on another device: the family ends.
    Theft,
    /// The session is over.
    Ended(Option<Why>),
    /// It is no token of ours, and says nothing about the session that it names.
    Unknown,
}

/// Decides. `repeat_ms` is how long the very last refresh may be repeated.
pub(super) fn decide(session: &Session, presented: Presented, now_ms: u64, repeat_ms: u64) -> Verdict {
    if !presented.is_genuine {
        return Verdict::Unknown;
    }
    if session.ended.is_some() {
        return Verdict::Ended(session.ended);
    }
    if presented.device != session.device {
        return Verdict::Theft;
    }
    if now_ms >= session.expires_ms.saturating_add(CLOCK_SKEW_MS) {
        return Verdict::Ended(None);
    }
    // A genuine token that is newer than the row: the database was restored from before it, which is nobody's theft.
    if presented.n >= session.n {
        return Verdict::Rotate(presented.n.saturating_add(1));
    }
    // Another node's clock may be ahead of ours.
    let since_ms = now_ms.saturating_sub(session.rotated_ms);
    let is_last = presented.n.checked_add(1) == Some(session.n);
    if is_last && (since_ms <= repeat_ms.saturating_add(CLOCK_SKEW_MS) || presented.is_proved) {
        return Verdict::Repeat;
    }
    Verdict::Theft
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
