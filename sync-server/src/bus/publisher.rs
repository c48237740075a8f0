//! From a commit to the notice of it.

use std::sync::Arc;

use sync_core::id::SpaceId;
use sync_core::ledger::NewEntry;
use sync_core::limits::NOTICE_BYTES_MAX;
use sync_core::log::{Entry, ReceiptKey};
use sync_core::wire::{Entries, PageEntry};

use super::{Bus, BusMessage, ENTRY_BYTES, Notice};
use crate::store::{Committed, entry};

/// Tells the bus what was committed.
#[derive(Clone)]
pub struct Publisher {
    bus: Arc<dyn Bus>,
    receipts: ReceiptKey,
}

impl Publisher {
    /// To that bus, with receipts under that key.
    pub fn new(bus: Arc<dyn Bus>, receipts: ReceiptKey) -> Self {
        Self { bus, receipts }
    }

    /// Tells of a commit, where it added anything. Takes its entries.
    pub fn committed(&self, space: SpaceId, committed: &mut Committed) {
        if committed.entries.is_empty() {
            return;
        }
        let (from, next) = (committed.before, committed.head);
        let receipt = self.receipts.sign(space, &next);
        let entries = small(std::mem::take(&mut committed.entries)).map(Entries);
        let received_ms = Some(committed.received_ms);
        self.bus.publish(BusMessage::Log(Notice { space, from, next, receipt, entries, received_ms }));
    }
}

/// The entries as readers get them, unless they are large.
fn small(entries: Vec<NewEntry>) -> Option<Vec<PageEntry>> {
    let payload = |entry: &NewEntry| entry.payload.as_ref().map_or(0, Vec::len);
    let bytes: usize = entries.iter().map(|entry| ENTRY_BYTES + payload(entry)).sum();
    if bytes <= NOTICE_BYTES_MAX { entries.into_iter().map(page_entry).collect() } else { None }
}

fn page_entry(entry: NewEntry) -> Option<PageEntry> {
    let NewEntry { header, payload, .. } = entry;
    // What cannot be is left to whoever reads the log.
    let (body, _) = entry::body(&header, payload).ok()??;
    Some(PageEntry::whole(Entry { header, body }))
}

#[cfg(test)]
mod tests {
    use sync_core::code::RejectCode;
    use sync_core::feed::{Body, ChangeId, ItemKind};
    use sync_core::id::{DeviceId, DocId, Hash};
    use sync_core::log::{Cursor, Header, Verdict};

    use super::*;

    fn entry(kind: ItemKind, verdict: Verdict, payload: Option<Vec<u8>>) -> NewEntry {
        let (id, doc) = (ChangeId { device: DeviceId::from_bytes([1; 16]), n: 1 }, DocId::from_bytes([2; 16]));
        let header = Header { id, kind, doc, hash: Hash([3; 32]), verdict };
        let at = Cursor { seq: 1, chain: Hash([4; 32]) };
        NewEntry { header, at, change: None, payload }
    }

    #[test]
    fn entries_are_as_readers_get_them_from_the_log() {
        let refused = Verdict::Rejected(RejectCode::TooDeep);
        let entries = vec![
            entry(ItemKind::Create, Verdict::Applied, Some(b"notes".to_vec())),
            entry(ItemKind::Change, Verdict::Applied, Some(vec![7])),
            entry(ItemKind::Delete, Verdict::Applied, None),
            entry(ItemKind::Change, refused, None),
        ];
        let bodies: Vec<_> = small(entries).unwrap().into_iter().map(|entry| entry.body).collect();
        let create = Body::Create { collection: "notes".to_owned() };
        assert_eq!(bodies, [Some(create), Some(Body::Change { bytes: vec![7] }), Some(Body::Delete), None]);
    }

    #[test]
    fn what_is_large_does_not_travel() {
        let change = |bytes| entry(ItemKind::Change, Verdict::Applied, Some(vec![0; bytes]));
        let room = NOTICE_BYTES_MAX - ENTRY_BYTES;
        assert!(small(vec![change(room)]).is_some());
        assert!(small(vec![change(room + 1)]).is_none());
        let many = || (0..1_000).map(|_| entry(ItemKind::Delete, Verdict::Applied, None)).collect();
        assert!(small(many()).is_none(), "also where it is their number");
    }
}
