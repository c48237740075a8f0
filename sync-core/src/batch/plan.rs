//! What goes into the next batch. Knows nothing of where items are kept: a list in memory or rows in a database will do.

use std::collections::BTreeMap;

use crate::feed::ChangeId;
use crate::limits::{PAGE_BYTES_MAX, PAGE_CHANGES_MAX};
use crate::version::{MissingRange, VersionVector};

/// What an item costs beside its payload, at the most: the start of a run, its document and its hash.
pub const ITEM_BYTES: usize = 128;

/// How large a batch may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Payload bytes before compression and [`ITEM_BYTES`] for each item. One item always fits.
    pub bytes_max: usize,
    /// Items.
    pub changes_max: usize,
}

impl Default for Budget {
    /// A page of the wire.
    fn default() -> Self {
        Self { bytes_max: PAGE_BYTES_MAX, changes_max: PAGE_CHANGES_MAX }
    }
}

/// An item of any feed, as far as planning looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Whose, and which.
    pub id: ChangeId,
    /// See [`Item::payload_bytes`](crate::feed::Item::payload_bytes).
    pub payload_bytes: usize,
}

/// What to send next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Parts of feeds, in the order in which they must arrive; a feed may come more than once.
    pub ranges: Vec<MissingRange>,
    /// How many arrivals are dealt with: the plan after this one may begin behind them.
    pub passed: usize,
    /// Whether something is left for a further batch.
    pub more: bool,
}

/// Plans a batch for a replica that has `have`, from items in the order in which they arrived here.
///
/// Any beginning of what is missing, taken in that order, is complete: whatever an item was made upon arrived before it
/// and so is in `have`, in an earlier batch, or further ahead in this one. No dependency is looked at.
pub fn plan(arrivals: impl IntoIterator<Item = Arrival>, have: &VersionVector, budget: Budget) -> Plan {
    let mut plan = Plan::default();
    let mut have: BTreeMap<_, _> = have.iter().collect();
    let (mut bytes, mut changes) = (0usize, 0usize);
    for Arrival { id, payload_bytes } in arrivals {
        let known = have.entry(id.device).or_insert(0);
        if id.n > *known {
            let cost = payload_bytes.saturating_add(ITEM_BYTES);
            let full = bytes.saturating_add(cost) > budget.bytes_max || changes >= budget.changes_max;
            if full && changes > 0 {
                plan.more = true;
                return plan;
            }
            bytes += cost;
            changes += 1;
            match plan.ranges.last_mut() {
                Some(last) if last.device == id.device => last.through = id.n,
                _ => plan.ranges.push(MissingRange { device: id.device, after: *known, through: id.n }),
            }
            *known = id.n;
        }
        plan.passed += 1;
    }
    plan
}
