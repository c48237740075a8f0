//! What goes through Redis: who says it, then the message in msgpack.

use std::fmt;

use sync_core::limits::NOTICE_BYTES_MAX;
use sync_core::wire;

use super::BusMessage;
use crate::random;

const NODE_BYTES: usize = 16;

/// A notice's entries as they are weighed, and as much again for what stands around them. What is larger is not of ours.
pub(super) const PACKET_BYTES_MAX: usize = 2 * NOTICE_BYTES_MAX;

/// A node, as long as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId([u8; NODE_BYTES]);

impl NodeId {
    pub(super) fn random() -> Self {
        Self(((u128::from(random::number()) << 64) | u128::from(random::number())).to_be_bytes())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Why a packet is passed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum PacketError {
    #[error("{0} bytes")]
    Length(usize),
    /// Perhaps of a kind that this version does not know.
    #[error(transparent)]
    Frame(#[from] wire::FrameError),
}

/// `None` where it cannot be written, or nobody would read it.
pub(super) fn pack(node: NodeId, message: &BusMessage) -> Option<Vec<u8>> {
    let frame = wire::encode(message).ok()?;
    let packet = [node.bytes(), &frame].concat();
    (packet.len() <= PACKET_BYTES_MAX).then_some(packet)
}

/// Who says it, and the message's bytes.
pub(super) fn open(packet: &[u8]) -> Result<(NodeId, &[u8]), PacketError> {
    let (node, frame) = packet.split_first_chunk().ok_or(PacketError::Length(packet.len()))?;
    if packet.len() > PACKET_BYTES_MAX {
        return Err(PacketError::Length(packet.len()));
    }
    Ok((NodeId(*node), frame))
}

/// The message.
pub(super) fn read(frame: &[u8]) -> Result<BusMessage, PacketError> {
    Ok(wire::decode(frame)?)
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
    use sync_core::log::{Cursor, Receipt};
    use sync_core::wire::{Entries, PageEntry};

    use super::super::super::{Access, Notice};
    use super::*;

    const SPACE: SpaceId = SpaceId::from_bytes([1; 16]);

    #[test]
    fn what_is_read_is_what_was_written() {
        let node = NodeId::random();
        let message = BusMessage::Access(Access { space: SPACE, user: "ann".to_owned() });
        let packet = pack(node, &message).unwrap();
        let (from, frame) = open(&packet).unwrap();
        assert_eq!((from, read(frame).unwrap()), (node, message));
    }

    #[test]
    fn the_largest_notice_fits() {
        use sync_core::feed::{Body, ChangeId, ItemKind};
        use sync_core::log::{Entry, Header, Verdict};
        let entry = |bytes| {
            let (id, doc) =
                (ChangeId { device: DeviceId::from_bytes([255; 16]), n: u64::MAX }, DocId::from_bytes([255; 16]));
            let header = Header { id, kind: ItemKind::Change, doc, hash: Hash([255; 32]), verdict: Verdict::Applied };
            PageEntry::whole(Entry { header, body: Some(Body::Change { bytes: vec![255; bytes] }) })
        };
        let most = NOTICE_BYTES_MAX / super::super::super::ENTRY_BYTES;
        for entries in [vec![entry(NOTICE_BYTES_MAX)], (0..most).map(|_| entry(0)).collect()] {
            let place = Cursor { seq: u64::MAX, chain: Hash([255; 32]) };
            let receipt = Receipt::from_hash(Hash([255; 32]));
            let notice = Notice {
                space: SPACE,
                from: place,
                next: place,
                receipt,
                entries: Some(Entries(entries)),
                received_ms: None,
            };
            assert!(pack(NodeId::random(), &BusMessage::Log(notice)).is_some());
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_no_more() {
        #[derive(Serialize)]
        #[serde(rename_all = "snake_case")]
        enum Newer {
            Eclipse { space: SpaceId },
        }
        let newer = wire::encode(&Newer::Eclipse { space: SPACE }).unwrap();
        assert!(read(&newer).is_err());
        for length in 0..64 {
            let packet = vec![0xc1; length];
            assert!(open(&packet).and_then(|(_, frame)| read(frame)).is_err());
        }
        assert!(open(&vec![0; PACKET_BYTES_MAX + 1]).is_err());
    }
}
