//! Access to spaces: what happens here when the server takes it away, and when it gives it back.

use sync_core::code::RejectCode;
use sync_core::feed::ChangeId;
use sync_core::id::SpaceId;

use super::{Engine, Result};
use crate::client::access::{Quarantined, Reason};
use crate::client::error::ClientError;
use crate::client::store::KeptEntry;

impl Engine {
    /// Whether the server lets the user in, as far as is known.
    pub(in crate::client) fn is_barred(&self, space: SpaceId) -> Result<bool> {
        Ok(self.space(space)?.barred)
    }

    /// Refuses edits where nobody would ever see them.
    pub(in crate::client) fn may_edit(&self, space: SpaceId) -> Result<()> {
        self.check_writable()?;
        if self.is_barred(space)? { Err(ClientError::NoAccess(space)) } else { Ok(()) }
    }

    /// The server does not let the user in: from now on nothing is sent or edited there. `false` if that was so before.
    /// Nothing is lost by a kill before it is on disk: then the server is asked, and says so, again.
    pub(in crate::client) fn bar(&mut self, space: SpaceId) -> Result<bool> {
        // Nobody is ever refused the own personal space, so who says so is no server of this user.
        if self.is_barred(space)? || space == SpaceId::personal(&self.user) {
            return Ok(false);
        }
        if let Some(state) = self.spaces.get_mut(&space) {
            state.barred = true;
        }
        self.store.transaction(|writer| writer.set_barred(space, true))?;
        self.seal(space, None)?;
        Ok(true)
    }

    /// The server has let the user in: what it has not got goes to it as it is. `false` if that was so before.
    pub(in crate::client) fn admit(&mut self, space: SpaceId) -> Result<bool> {
        if !self.is_barred(space)? {
            return Ok(false);
        }
        self.store.transaction(|writer| writer.set_barred(space, false))?;
        if let Some(state) = self.spaces.get_mut(&space) {
            state.barred = false;
        }
        Ok(true)
    }

    /// An own change that the server has not got, and does not get as long as the user is not let in.
    pub(super) fn waiting(&self, space: SpaceId, id: ChangeId) -> Result<KeptEntry> {
        let state = self.space(space)?;
        let unsent = if state.barred && id.device == self.feed_of(space)? {
            self.store.read().unsent(space, id.device, state.row.acked.n)?
        } else {
            Vec::new()
        };
        let found = unsent.into_iter().find(|(n, _)| *n == id.n).ok_or(ClientError::NotInQuarantine(id))?;
        let code = RejectCode::NotAWriter;
        Ok(KeptEntry { id, doc: found.1, code, operations: None, offers: 0, since_ms: 0 })
    }

    /// What of this device's changes did not take effect for others, and will not by itself.
    pub(in crate::client) fn quarantine(&mut self, space: SpaceId) -> Result<Vec<Quarantined>> {
        // Sealed already, but where the disk was full.
        if self.is_barred(space)? && !self.is_read_only() {
            self.seal(space, None)?;
        }
        let kept = self.store.read().quarantine(space, None)?.into_iter().map(|entry| Quarantined {
            n: entry.id.n,
            device: entry.id.device,
            doc: entry.doc,
            reason: if entry.code == RejectCode::NotAWriter { Reason::NoAccess } else { Reason::Refused(entry.code) },
            waits: false,
            whole: entry.operations.is_none(),
        });
        let mut all: Vec<Quarantined> = kept.collect();
        let state = self.space(space)?;
        if state.barred {
            let feed = self.feed_of(space)?;
            let unsent = self.store.read().unsent(space, feed, state.row.acked.n)?;
            let in_document =
                |n: &u64| !self.store.read().is_out(space, ChangeId { device: feed, n: *n }).unwrap_or(false);
            let unsent = unsent.into_iter().filter(|(n, _)| in_document(n));
            all.extend(unsent.map(|(n, doc)| Quarantined {
                n,
                device: feed,
                doc,
                reason: Reason::NoAccess,
                waits: true,
                whole: true,
            }));
        }
        Ok(all)
    }
}
