//! What goes to the server, and what has not gone yet.

use sync_core::feed::FeedHead;
use sync_core::id::SpaceId;
use sync_core::session::Collected;

use super::{Engine, Result};
use crate::client::error::ClientError;
use crate::client::store::SpaceRow;

impl Engine {
    /// Seals what is open and reads the front of the outbox: from what is not acknowledged on where it is sent `again`, else
    /// from behind what was sent since, so that a push need not wait for the answer to the one before it.
    pub(in crate::client) fn collect(
        &mut self,
        space: SpaceId,
        bytes_max: usize,
        items_max: usize,
        again: bool,
    ) -> Result<Collected> {
        self.seal(space, None)?;
        let device = self.feed_of(space)?;
        let state = self.space(space)?;
        let row = state.row;
        // Another life of the connection may have brought more to the server than this one has sent.
        let base = if again || state.sent.n < row.acked.n { row.acked } else { state.sent };
        // Who is not let in asks whether that is still so, and sends nothing before it knows.
        let run = if row.own.n > base.n && !state.barred && state.label.is_none() {
            let run = self.store.read().outbox(space, device, base, bytes_max, items_max)?;
            (!run.items.is_empty()).then_some(run)
        } else {
            None
        };
        let through = base.n + run.as_ref().map_or(0, |run| run.items.len() as u64);
        let sent = self.own_place(space, through)?.ok_or(ClientError::Corrupt)?;
        let state = self.spaces.get_mut(&space).ok_or(ClientError::NoSpace)?;
        state.sent = sent;
        state.sent_n = state.sent_n.max(sent.n);
        let cursor = (row.cursor.seq > 0).then_some(row.cursor);
        // What was folded of this device's own is not known here one by one.
        let folded = self.store.read().folded_own(space, device)?;
        let own = state.regaining || folded.is_some_and(|(_, seq)| row.cursor.seq < seq);
        let snapshots = Some(state.base);
        Ok(Collected { run, cursor, own, snapshots, wish: self.wish(space)? })
    }

    /// A place in the own feed; `None` where the feed does not reach it.
    pub(super) fn own_place(&self, space: SpaceId, n: u64) -> Result<Option<FeedHead>> {
        let SpaceRow { own, acked, .. } = self.space(space)?.row;
        if let Some(known) = [own, acked].into_iter().find(|known| known.n == n) {
            return Ok(Some(known));
        }
        if n > own.n {
            return Ok(None);
        }
        let chain = self.store.read().own_chain(space, self.feed_of(space)?, n)?;
        Ok(chain.map(|chain| FeedHead { n, chain }))
    }

    /// How much of a space is not on the server: edits in journals, and changes in the outbox.
    pub(in crate::client) fn pending(&self, space: SpaceId) -> Result<(u64, u64)> {
        let state = self.space(space)?;
        let mut edits = 0;
        for doc in &state.journals {
            edits += self.store.read().journal(space, *doc)?.map_or(0, |journal| journal.edits.len() as u64);
        }
        Ok((edits, state.row.own.n - state.row.acked.n))
    }

    /// The row of a space.
    pub(in crate::client) fn row(&self, space: SpaceId) -> Result<SpaceRow> {
        Ok(self.space(space)?.row)
    }
}
