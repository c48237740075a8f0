//! Listens to what is committed, and so knows the groups that the writer made.

use std::sync::{Mutex, PoisonError, Weak};

use sync_core::id::SpaceId;
use sync_server::bus::{Bus, BusMessage, Listener};

/// A bus that only writes down how many entries each commit added.
#[derive(Default)]
pub struct Recorder(Mutex<Vec<(SpaceId, usize)>>);

impl Recorder {
    /// The groups since the last call, in the order of their commits.
    pub fn take(&self) -> Vec<(SpaceId, usize)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bus for Recorder {
    fn listen(&self, _: Weak<dyn Listener>) {}

    fn join(&self, _: SpaceId) {}

    fn leave(&self, _: SpaceId) {}

    fn publish(&self, message: BusMessage) {
        if let BusMessage::Log(notice) = message {
            let group = (notice.space, (notice.next.seq - notice.from.seq) as usize);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(group);
        }
    }
}
