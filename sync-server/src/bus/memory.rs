//! The bus within one process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sync_core::id::SpaceId;

use super::{Bus, BusMessage, Listener};

/// One node's end of a bus within the process.
pub struct MemoryBus {
    hub: Arc<Hub>,
    node: usize,
}

#[derive(Default)]
struct Hub(Mutex<BTreeMap<usize, Node>>);

#[derive(Default)]
struct Node {
    listener: Option<Weak<dyn Listener>>,
    spaces: BTreeSet<SpaceId>,
}

impl MemoryBus {
    /// A bus of its own.
    pub fn new() -> Self {
        Self::attach(Arc::default())
    }

    /// A further node on the same bus.
    #[must_use]
    pub fn node(&self) -> Self {
        Self::attach(Arc::clone(&self.hub))
    }

    fn attach(hub: Arc<Hub>) -> Self {
        let node = {
            let mut nodes = hub.nodes();
            let node = nodes.last_key_value().map_or(0, |(last, _)| last + 1);
            nodes.insert(node, Node::default());
            node
        };
        Self { hub, node }
    }

    fn with(&self, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.hub.nodes().get_mut(&self.node) {
            change(node);
        }
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        self.hub.nodes().remove(&self.node);
    }
}

impl Hub {
    fn nodes(&self) -> MutexGuard<'_, BTreeMap<usize, Node>> {
        // Nothing under this lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus for MemoryBus {
    fn listen(&self, listener: Weak<dyn Listener>) {
        self.with(|node| node.listener = Some(listener));
    }

    fn join(&self, space: SpaceId) {
        self.with(|node| {
            node.spaces.insert(space);
        });
    }

    fn leave(&self, space: SpaceId) {
        self.with(|node| {
            node.spaces.remove(&space);
        });
    }

    fn publish(&self, message: BusMessage) {
        let space = message.space();
        let listeners: Vec<Arc<dyn Listener>> = {
            let nodes = self.hub.nodes();
            let joined = nodes.values().filter(|node| node.spaces.contains(&space));
            joined.filter_map(|node| node.listener.as_ref()?.upgrade()).collect()
        };
        // Outside of the lock, since listeners do as they please.
        if let Some((last, others)) = listeners.split_last() {
            for listener in others {
                listener.hear(message.clone());
            }
            last.hear(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[tokio::test]
    async fn conforms() {
        let one = MemoryBus::new();
        let other = one.node();
        conformance::all(&one, &other).await;
    }
}
