//! From what was decided on a push to the answer to it: the same for every store.

use sync_core::check::Push;
use sync_core::feed::FeedHead;
use sync_core::id::{DeviceId, Hash};
use sync_core::ledger::{Fresh, Ledger, Outcome};
use sync_core::log::Verdict;
use sync_core::wire::{ItemResult, ItemStatus, PushAnswer};

/// What answering a push needs of it once it is decided on.
pub(super) struct Pushed {
    device: DeviceId,
    base: FeedHead,
    links: Vec<Hash>,
}

/// A stretch of a feed that the log holds already: its verdicts there are the answer.
pub(super) struct Stretch {
    pub(super) device: DeviceId,
    /// The place before the first.
    pub(super) after: u64,
    pub(super) through: u64,
}

impl Pushed {
    pub(super) fn of(push: &Push) -> Self {
        Self { device: push.device, base: push.base, links: push.links.clone() }
    }

    /// What is to be looked up before [`answer`](Self::answer).
    pub(super) fn duplicates(&self, outcome: &Outcome) -> Option<Stretch> {
        let Outcome::Taken { duplicates: duplicates @ 1.., .. } = outcome else { return None };
        let after = self.base.n;
        Some(Stretch { device: self.device, after, through: after + *duplicates as u64 })
    }

    /// The answer; `known` are the results of the duplicates, in their order.
    pub(super) fn answer(&self, ledger: &Ledger, outcome: &Outcome, known: Vec<ItemResult>) -> PushAnswer {
        let acked = ledger.acked(self.device);
        let (fresh, need) = match outcome {
            Outcome::Behind => return PushAnswer::Behind { acked },
            Outcome::Gap => return PushAnswer::Gap { acked },
            Outcome::Forked => return PushAnswer::Forked { acked },
            Outcome::Taken { fresh, need, .. } => (fresh, need),
        };
        let mut results = known;
        results.extend(fresh.iter().map(result_of));
        // What this run reached, not what a later run of the same group did.
        let acked = match results.len() {
            0 => self.base,
            taken => FeedHead { n: self.base.n + taken as u64, chain: self.links[taken - 1] },
        };
        PushAnswer::Taken { acked, results, need: need.clone() }
    }
}

/// The result of an item that the log holds.
pub(super) fn duplicate(seq: u64, verdict: Verdict) -> ItemResult {
    ItemResult { seq, status: ItemStatus::Duplicate, code: code_of(verdict) }
}

fn result_of(fresh: &Fresh) -> ItemResult {
    let status = match fresh.verdict {
        Verdict::Applied => ItemStatus::Applied,
        Verdict::Rejected(_) => ItemStatus::Rejected,
    };
    ItemResult { seq: fresh.seq, status, code: code_of(fresh.verdict) }
}

fn code_of(verdict: Verdict) -> Option<sync_core::code::RejectCode> {
    match verdict {
        Verdict::Applied => None,
        Verdict::Rejected(code) => Some(code),
    }
}
