//! Which spaces are wanted, and which of them are subscribed to. Joining only says what is wanted, so nothing can overflow.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sync_core::id::SpaceId;
use tokio::sync::Notify;

/// Channels in one command: Redis does nothing else meanwhile.
const BATCH_MAX: usize = 512;

#[derive(Default)]
pub(super) struct Spaces {
    sets: Mutex<Sets>,
    changed: Notify,
}

#[derive(Default)]
struct Sets {
    wanted: BTreeSet<SpaceId>,
    /// Or about to be.
    subscribed: BTreeSet<SpaceId>,
    /// What is in one of both only.
    open: BTreeSet<SpaceId>,
}

/// What is to be told to Redis.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) subscribe: Vec<SpaceId>,
    pub(super) unsubscribe: Vec<SpaceId>,
}

impl Sets {
    fn settle(&mut self, space: SpaceId) {
        if self.wanted.contains(&space) == self.subscribed.contains(&space) {
            self.open.remove(&space);
        } else {
            self.open.insert(space);
        }
    }
}

impl Spaces {
    fn lock(&self) -> MutexGuard<'_, Sets> {
        // Nothing under this lock can panic half-way.
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(&self, space: SpaceId) {
        {
            let mut sets = self.lock();
            sets.wanted.insert(space);
            sets.settle(space);
        }
        self.changed.notify_one();
    }

    pub(super) fn leave(&self, space: SpaceId) {
        {
            let mut sets = self.lock();
            sets.wanted.remove(&space);
            sets.settle(space);
        }
        self.changed.notify_one();
    }

    pub(super) fn wants(&self, space: SpaceId) -> bool {
        self.lock().wanted.contains(&space)
    }

    /// A new connection is subscribed to nothing.
    pub(super) fn begin(&self) {
        let sets = &mut *self.lock();
        sets.subscribed.clear();
        sets.open.clone_from(&sets.wanted);
    }

    /// What is to be told next, if anything. It counts as done.
    pub(super) fn orders(&self) -> Option<Orders> {
        let mut sets = self.lock();
        let mut orders = Orders::default();
        for _ in 0..BATCH_MAX {
            let Some(space) = sets.open.pop_first() else { break };
            if sets.wanted.contains(&space) {
                sets.subscribed.insert(space);
                orders.subscribe.push(space);
            } else {
                sets.subscribed.remove(&space);
                orders.unsubscribe.push(space);
            }
        }
        (orders != Orders::default()).then_some(orders)
    }

    /// The same, when there is something.
    pub(super) async fn next_orders(&self) -> Orders {
        loop {
            if let Some(orders) = self.orders() {
                return orders;
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(number: u16) -> SpaceId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        SpaceId::from_bytes(bytes)
    }

    fn orders(subscribe: &[u16], unsubscribe: &[u16]) -> Orders {
        let spaces = |numbers: &[u16]| numbers.iter().map(|number| space(*number)).collect();
        Orders { subscribe: spaces(subscribe), unsubscribe: spaces(unsubscribe) }
    }

    #[test]
    fn what_was_undone_is_not_told() {
        let spaces = Spaces::default();
        spaces.join(space(1));
        spaces.join(space(2));
        spaces.leave(space(2));
        assert_eq!(spaces.orders(), Some(orders(&[1], &[])));
        spaces.leave(space(1));
        spaces.join(space(1));
        assert_eq!(spaces.orders(), None);
        spaces.leave(space(1));
        spaces.join(space(3));
        assert!(!spaces.wants(space(1)) && spaces.wants(space(3)));
        assert_eq!(spaces.orders(), Some(orders(&[3], &[1])));
        assert!(spaces.lock().open.is_empty() && spaces.lock().subscribed.len() == 1, "nothing is left behind");
    }

    #[test]
    fn a_new_connection_is_told_all_of_it() {
        let spaces = Spaces::default();
        (0..=BATCH_MAX as u16).for_each(|number| spaces.join(space(number)));
        assert_eq!(spaces.orders().unwrap().subscribe.len(), BATCH_MAX);
        spaces.leave(space(0));
        spaces.begin();
        assert_eq!(spaces.orders().unwrap().subscribe.len(), BATCH_MAX);
        assert_eq!(spaces.orders(), None);
    }
}
