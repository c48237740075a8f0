//! Documents of which the server has excluded a change. Stored are changes as they were sealed; what is shown is how they stand.

use std::collections::BTreeSet;

use sync_core::code::RejectCode;
use sync_core::feed::ItemKind;
use sync_core::graft::{Grafts, Settled};
use sync_core::guard;
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::log::Header;

use super::page::{Decided, Effects};
use super::remake::Feed;
use super::{Engine, Result};
use crate::client::clock;
use crate::client::error::ClientError;
use crate::client::store::{Changes, KeptEntry, Sealed, Standing, StoreError, Writer};

impl Effects {
    /// Takes the server's word that a change breaks its document. Where this device wrote it, what it said goes into quarantine.
    pub(super) fn exclude(
        &mut self,
        writer: &Writer<'_>,
        space: SpaceId,
        device: DeviceId,
        seq: u64,
        header: &Header,
    ) -> std::result::Result<(), StoreError> {
        let Header { id, doc, verdict, .. } = *header;
        if !writer.add_exclusion(space, seq, header)? {
            return Ok(());
        }
        self.excluded.insert(doc);
        let own = id.device == device || writer.own_chain(space, id.device, id.n)?.is_some();
        if let (true, sync_core::log::Verdict::Rejected(code)) = (own, verdict)
            && writer.kind(space, id)? == Some(ItemKind::Change)
            && writer.payload(space, id)?.is_some()
        {
            let (offers, since_ms) = (0, clock::wall_ms());
            writer.set_quarantine(space, &KeptEntry { id, doc, code, operations: None, offers, since_ms })?;
            self.decided.push(Decided { id, doc, seq, verdict });
        }
        Ok(())
    }
}

impl Feed<'_> {
    /// What own changes said about something that is excluded is gone with it, and goes into quarantine: one by one, since the
    /// rest of them stands.
    pub(super) fn keep_gone(&self, writer: &Writer<'_>, docs: &BTreeSet<DocId>) -> std::result::Result<(), StoreError> {
        for doc in docs {
            let own = writer.own_changes(self.space, *doc)?;
            let sealed = writer.sealed(self.space, *doc)?;
            let Standing::Settled(Settled { grafts, .. }) = writer.settle(self.space, *doc, sealed)? else { continue };
            for (id, sealed) in own {
                let Ok(guarded) = guard::inspect(&sealed) else { continue };
                let gone = grafts.gone(guarded.actor, guarded.start_op, guarded.operations);
                if gone.is_empty() || grafts.excluded().contains(&guarded.hash) {
                    continue;
                }
                let (code, offers, since_ms) = (RejectCode::DependencyRefused, 0, clock::wall_ms());
                let entry = KeptEntry { id, doc: *doc, code, operations: Some(gone), offers, since_ms };
                writer.set_quarantine(self.space, &entry)?;
            }
        }
        Ok(())
    }
}

impl Engine {
    /// A document's snapshot and changes as they stand, and how they came to.
    pub(super) fn settled(
        &self,
        space: SpaceId,
        doc: DocId,
        snapshot: Option<Vec<u8>>,
        changes: &mut Changes,
    ) -> Result<(Option<Vec<u8>>, Grafts)> {
        let sealed = Sealed { snapshot, changes: std::mem::take(&mut changes.payloads) };
        Ok(match self.store.read().settle(space, doc, sealed)? {
            Standing::Settled(Settled { grafts, snapshot, hashes, changes: standing }) => {
                (changes.hashes, changes.payloads) = (hashes, standing);
                (snapshot, grafts)
            }
            Standing::AsSealed(Sealed { snapshot, changes: sealed }) => {
                changes.payloads = sealed;
                (snapshot, Grafts::default())
            }
        })
    }

    /// Changes of an open document as they stand in it.
    pub(super) fn standing(&mut self, space: SpaceId, doc: DocId, changes: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let Some(open) = self.documents.get_mut(&(space, doc)).filter(|open| !open.grafts.is_empty()) else {
            return Ok(changes);
        };
        let standing = changes.into_iter().map(|sealed| {
            let standing = open.grafts.stand(&sealed).map_err(|_| ClientError::Corrupt)?;
            Ok(standing.bytes.unwrap_or(sealed))
        });
        standing.collect()
    }

    /// The hashes under which changes of an open document stand now, by any under which they ever did.
    pub(in crate::client) fn standing_hashes(&self, space: SpaceId, doc: DocId, hashes: &[Hash]) -> Vec<Hash> {
        let open = self.documents.get(&(space, doc));
        hashes.iter().map(|hash| open.map_or(*hash, |open| open.grafts.now(*hash))).collect()
    }
}
