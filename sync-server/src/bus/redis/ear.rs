//! What comes from Redis. It is heard where the socket is read, so that a node that is slow to hear reads slowly: Redis drops
//! it in the end, and the node looks at the database. A queue in between would grow.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, watch};

use super::Shared;
use super::packet::{self, PacketError};

/// What one pair of connections hears.
pub(super) struct Ear {
    shared: Arc<Shared>,
    /// The channel on which the node hears itself.
    own: String,
    /// How often it did.
    pub(super) knocks: watch::Sender<u64>,
    /// A connection is closed.
    pub(super) gone: Notify,
}

impl Ear {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let own = shared.names.node(shared.node);
        Self { shared: Arc::clone(shared), own, knocks: watch::Sender::new(0), gone: Notify::new() }
    }

    pub(super) fn hear(&self, push: PushInfo) {
        match push.kind {
            PushKind::Message => {}
            PushKind::Disconnection => return self.gone.notify_one(),
            _ => return,
        }
        let [Value::BulkString(channel), Value::BulkString(packet)] = &push.data[..] else {
            return self.pass_over(&"not a message");
        };
        if *channel == self.own.as_bytes() {
            self.knocks.send_modify(|knocks| *knocks = knocks.wrapping_add(1));
        } else if let Err(error) = self.take(channel, packet) {
            self.pass_over(&error);
        }
    }

    fn take(&self, channel: &[u8], packet: &[u8]) -> Result<(), PacketError> {
        let (node, frame) = packet::open(packet)?;
        if node == self.shared.node {
            return Ok(());
        }
        if channel == self.shared.names.lost.as_bytes() {
            self.shared.lost(None);
        } else {
            self.shared.hear(packet::read(frame)?);
        }
        Ok(())
    }

    fn pass_over(&self, why: &dyn fmt::Display) {
        if let Some(times) = self.shared.passed_over.happened(Instant::now()) {
            tracing::warn!(why = %why, times, "messages on the bus were passed over");
        }
    }
}
