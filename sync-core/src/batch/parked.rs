//! Items that came before what they were made upon: kept here, bounded, and never in automerge's own queue, which is not.

use std::collections::BTreeMap;

use crate::check::{Candidate, Checked};
use crate::feed::FeedHead;
use crate::id::{DeviceId, Hash};
use crate::limits::{PARKED_BYTES_MAX, PARKED_CHANGES_MAX};

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) candidate: Candidate,
    /// The chain's value behind it.
    pub(super) chain: Hash,
}

impl Waiting {
    fn bytes(&self) -> usize {
        match &self.candidate.checked {
            Checked::Change(_, bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// Of each feed, what follows its head without a gap.
#[derive(Debug, Default)]
pub(super) struct Parked(BTreeMap<DeviceId, BTreeMap<u64, Waiting>>);

impl Parked {
    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    pub(super) fn devices(&self) -> Vec<DeviceId> {
        self.0.keys().copied().collect()
    }

    /// Whether a run that begins there joins what is parked.
    pub(super) fn reaches(&self, device: DeviceId, base: &FeedHead) -> bool {
        self.0.get(&device).and_then(|queue| queue.get(&base.n)).is_some_and(|waiting| waiting.chain == base.chain)
    }

    /// Nothing here counts as known, so of two that contradict each other the newer one stays.
    pub(super) fn put(&mut self, device: DeviceId, n: u64, waiting: Waiting) {
        let queue = self.0.entry(device).or_default();
        let chain = waiting.chain;
        if queue.insert(n, waiting).is_some_and(|before| before.chain != chain) {
            queue.split_off(&(n + 1));
        }
    }

    pub(super) fn get(&self, device: DeviceId, n: u64) -> Option<&Waiting> {
        self.0.get(&device)?.get(&n)
    }

    pub(super) fn take(&mut self, device: DeviceId, n: u64) -> Option<Waiting> {
        let queue = self.0.get_mut(&device)?;
        let waiting = queue.remove(&n);
        if queue.is_empty() {
            self.0.remove(&device);
        }
        waiting
    }

    pub(super) fn forget(&mut self, device: DeviceId) {
        self.0.remove(&device);
    }

    /// Drops what exceeds the bounds, from the ends of the longest queues. It is asked for again, since no vector
    /// counts it.
    pub(super) fn trim(&mut self) {
        let mut changes = self.len();
        let mut bytes: usize = self.0.values().flat_map(BTreeMap::values).map(Waiting::bytes).sum();
        while changes > PARKED_CHANGES_MAX || bytes > PARKED_BYTES_MAX {
            let Some(queue) = self.0.values_mut().max_by_key(|queue| queue.len()) else { return };
            let Some((_, dropped)) = queue.pop_last() else { return };
            changes -= 1;
            bytes -= dropped.bytes();
        }
        self.0.retain(|_, queue| !queue.is_empty());
    }
}
