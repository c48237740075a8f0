//! What one exchange may take of time and bytes: the operating system lets an app that is in the background have so much and
//! no more. What is left decides how large the next request and its answer may be.

use crate::batch::ITEM_BYTES;
use crate::feed::Run;

/// What a request and an answer take beside their items: cursors, heads, a receipt, or an error in words.
const FRAME_BYTES: u64 = 1 << 10;
/// An item's verdict in the answer to a push.
const RESULT_BYTES: u64 = 64;
/// A request that is bounded by time alone may take at least this much …
const TURN_BYTES_MIN: u64 = 4 << 10;
/// … and the first one what a slow network carries in the time that is left: 2 KB a second, then more as it proves faster.
const FIRST_BYTES_PER_MS: u64 = 2;
/// No request takes more than this part of the time that is left, so that one lost answer is not the end.
const TURN_PART: u64 = 2;
/// But it is given as long as this, where there is so much.
const TURN_MS_MIN: u64 = 250;

/// The bounds of one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it ends, on the clock that `now_ms` comes from.
    pub ends_at_ms: u64,
    /// How many bytes the bodies of requests and answers may have together; `None`: any number.
    pub bytes: Option<u64>,
}

/// A window, and what is left of it.
#[derive(Debug)]
pub(super) struct Remaining {
    ends_at_ms: u64,
    bytes: Option<u64>,
    /// What one request and its answer may take, by what the network was found to carry.
    turn_bytes: u64,
    asked_at_ms: u64,
    /// Of the request that is under way.
    allowed: u64,
    moved: u64,
    /// An item larger than the budget waits: what it and its frame take.
    needs: Option<u64>,
}

/// What a push and a page may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) bytes_max: usize,
    pub(super) items_max: usize,
}

impl Remaining {
    pub(super) fn of(window: Window, now_ms: u64) -> Self {
        let left_ms = window.ends_at_ms.saturating_sub(now_ms);
        Self {
            ends_at_ms: window.ends_at_ms,
            bytes: window.bytes,
            turn_bytes: left_ms.saturating_mul(FIRST_BYTES_PER_MS).max(TURN_BYTES_MIN),
            asked_at_ms: now_ms,
            allowed: 0,
            moved: 0,
            needs: None,
        }
    }

    /// Whether nothing can be asked any more.
    pub(super) fn is_spent(&self, now_ms: u64) -> bool {
        now_ms >= self.ends_at_ms || self.bytes.is_some_and(|left| left < 2 * FRAME_BYTES)
    }

    /// What a budget would have to be for the item that did not fit.
    pub(super) fn needs(&self) -> Option<u64> {
        self.needs
    }

    pub(super) fn is_counted(&self) -> bool {
        self.bytes.is_some()
    }

    /// How much of a run is to be collected: with its verdicts it takes half of what there is, the page the other half.
    pub(super) fn collect(&mut self) -> Share {
        self.allowed = self.bytes.map_or(self.turn_bytes, |left| left.min(self.turn_bytes)).max(2 * FRAME_BYTES);
        let part = (self.allowed - FRAME_BYTES) / 2;
        let items = (part / 2 / (ITEM_BYTES as u64 + RESULT_BYTES)).max(1);
        Share { bytes_max: (part / 2) as usize, items_max: items as usize }
    }

    /// Whether a run may be sent. One item alone always does where bytes are not counted, and else where it can fit at all.
    pub(super) fn fits(&mut self, run: &Run) -> bool {
        let cost = cost(run) + 2 * FRAME_BYTES;
        let fits = self.bytes.is_none_or(|left| cost <= left);
        if !fits {
            self.needs = self.needs.max(Some(cost));
        }
        fits
    }

    /// What the page may hold beside that run, and how long the answer may be. The server bounds the number of its entries by
    /// its bytes.
    pub(super) fn ask(&mut self, run: Option<&Run>, now_ms: u64) -> (usize, Option<usize>) {
        let run = run.map_or(0, cost);
        let rest = self.allowed.saturating_sub(run + FRAME_BYTES);
        (self.asked_at_ms, self.moved) = (now_ms, 0);
        let answer = self.bytes.map(|left| left.saturating_sub(run + FRAME_BYTES / 2).max(FRAME_BYTES) as usize);
        ((rest / 2).max(1) as usize, answer)
    }

    /// How long the request may take.
    pub(super) fn patience_ms(&self, now_ms: u64) -> u64 {
        let left = self.ends_at_ms.saturating_sub(now_ms);
        (left / TURN_PART).max(TURN_MS_MIN).min(left.max(1))
    }

    /// So many bytes went over the wire.
    pub(super) fn moved(&mut self, bytes: u64) {
        self.moved += bytes;
        self.bytes = self.bytes.map(|left| left.saturating_sub(bytes));
    }

    /// An answer came: what it took says what the next may.
    pub(super) fn answered(&mut self, now_ms: u64) {
        let took = now_ms.saturating_sub(self.asked_at_ms);
        let left = self.ends_at_ms.saturating_sub(now_ms);
        if took.saturating_mul(8) <= left {
            self.turn_bytes = self.turn_bytes.saturating_mul(4);
        } else if took.saturating_mul(3) > left {
            self.shrink();
        }
    }

    /// None came. Something smaller is likelier to get through.
    pub(super) fn failed(&mut self) {
        self.shrink();
    }

    /// The answer was cut off, since it was longer than what is left.
    pub(super) fn cut(&mut self) {
        // Nothing on a page is larger than that: see `CHANGE_BYTES_MAX`.
        self.needs = self.needs.max(Some(crate::limits::CHANGE_BYTES_MAX as u64 + 4 * FRAME_BYTES));
    }

    fn shrink(&mut self) {
        self.turn_bytes = (self.turn_bytes / 2).max(TURN_BYTES_MIN);
    }
}

/// What a run takes in the request, and its verdicts in the answer.
fn cost(run: &Run) -> u64 {
    let item = |bytes: usize| (bytes + ITEM_BYTES) as u64 + RESULT_BYTES;
    run.items.iter().map(|one| item(one.payload_bytes())).sum()
}
