//! What waits for Redis: bounded in messages and bytes, and only while there is a connection.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sync_core::id::SpaceId;
use tokio::sync::Notify;

/// Messages that wait: about a second of what a node commits at most.
const MESSAGES_MAX: usize = 8_192;
/// And their bytes.
const BYTES_MAX: usize = 8 << 20;
/// What is sent together, and answered together.
const BATCH_MESSAGES_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A message on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) space: SpaceId,
    pub(super) payload: Vec<u8>,
}

impl Packet {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.payload.len()
    }
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    drained: Notify,
}

#[derive(Default)]
struct State {
    is_open: bool,
    waiting: VecDeque<Packet>,
    bytes: usize,
    /// What was taken last is not sent yet.
    is_sending: bool,
}

impl State {
    fn take(&mut self) -> Vec<Packet> {
        let (mut packets, mut bytes) = (Vec::new(), 0);
        while let Some(packet) = self.waiting.front() {
            bytes += packet.bytes();
            if !packets.is_empty() && (bytes > BATCH_BYTES_MAX || packets.len() == BATCH_MESSAGES_MAX) {
                break;
            }
            self.bytes -= packet.bytes();
            packets.extend(self.waiting.pop_front());
        }
        packets
    }

    fn is_drained(&self) -> bool {
        self.waiting.is_empty() && !self.is_sending
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` where it is dropped.
    pub(super) fn push(&self, packet: Packet) -> bool {
        {
            let mut state = self.lock();
            let bytes = state.bytes + packet.bytes();
            if !state.is_open || state.waiting.len() == MESSAGES_MAX || bytes > BYTES_MAX {
                return false;
            }
            state.bytes = bytes;
            state.waiting.push_back(packet);
        }
        self.filled.notify_one();
        true
    }

    /// From now on there is somebody who sends.
    pub(super) fn open(&self) {
        self.lock().is_open = true;
    }

    /// And no longer: what waits is dropped.
    pub(super) fn shut(&self) {
        *self.lock() = State::default();
        self.drained.notify_waiters();
    }

    /// What is to be sent next, at least one. [`sent`](Self::sent) is to follow.
    pub(super) async fn take(&self) -> Vec<Packet> {
        loop {
            {
                let mut state = self.lock();
                let packets = state.take();
                if !packets.is_empty() {
                    state.is_sending = true;
                    return packets;
                }
            }
            self.filled.notified().await;
        }
    }

    /// What was taken is sent.
    pub(super) fn sent(&self) {
        let is_drained = {
            let mut state = self.lock();
            state.is_sending = false;
            state.is_drained()
        };
        if is_drained {
            self.drained.notify_waiters();
        }
    }

    /// Returns when nothing waits and all that was taken is sent.
    pub(super) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.lock().is_drained() {
                return;
            }
            drained.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn packet(bytes: usize) -> Packet {
        Packet { space: SpaceId::from_bytes([1; 16]), payload: vec![0; bytes] }
    }

    #[test]
    fn holds_so_many_messages_and_bytes_and_only_while_somebody_sends() {
        let queue = Queue::default();
        assert!(!queue.push(packet(1)), "nobody sends");
        queue.open();
        let taken = (0..=MESSAGES_MAX).take_while(|_| queue.push(packet(1))).count();
        assert_eq!(taken, MESSAGES_MAX);
        queue.shut();
        queue.open();
        let taken = (0..=MESSAGES_MAX).take_while(|_| queue.push(packet(64 << 10))).count();
        assert_eq!(taken, BYTES_MAX / packet(64 << 10).bytes());
        let batch = queue.take().now_or_never().unwrap();
        assert!(batch.iter().map(Packet::bytes).sum::<usize>() <= BATCH_BYTES_MAX);
        assert!(queue.push(packet(64 << 10)), "there is room again");
    }

    #[test]
    fn gives_out_in_order_what_has_come_together() {
        let queue = Queue::default();
        queue.open();
        assert!(queue.take().now_or_never().is_none());
        (0..BATCH_MESSAGES_MAX + 2).for_each(|bytes| assert!(queue.push(packet(bytes))));
        let first = queue.take().now_or_never().unwrap();
        let second = queue.take().now_or_never().unwrap();
        assert_eq!((first.len(), second.len()), (BATCH_MESSAGES_MAX, 2));
        let lengths = first.iter().chain(&second).map(|packet| packet.payload.len());
        assert!(lengths.eq(0..BATCH_MESSAGES_MAX + 2));
        assert!(queue.drained().now_or_never().is_none(), "not sent yet");
        queue.sent();
        assert!(queue.drained().now_or_never().is_some());
    }
}
