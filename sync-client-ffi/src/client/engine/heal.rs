//! Handing back what a server lost, as far as the store is concerned: what it has of the log, and where reading goes on.

use sync_core::feed::FeedHead;
use sync_core::heal::{HandBack, Healed};
use sync_core::id::SpaceId;

use super::{Engine, Result};
use crate::client::error::ClientError;
use crate::client::store::StoredLog;

/// One space that is being healed.
#[derive(Debug)]
pub(in crate::client) struct Healing {
    pub(in crate::client) hand_back: HandBack,
    pub(in crate::client) log: StoredLog,
    /// Of which life of the space.
    life: u64,
}

impl Engine {
    /// Begins to hand back what the server lost. What is in the log here does not change until it is done, so it is read beside
    /// the engine's lock.
    pub(in crate::client) fn heal_begin(&self, space: SpaceId, bytes_max: usize) -> Result<Healing> {
        let state = self.space(space)?;
        let hand_back = HandBack::new(space, state.row.cursor, state.row.proven, bytes_max);
        let log = StoredLog { store: self.store.reader()?, space };
        Ok(Healing { hand_back, log, life: state.life })
    }

    /// Goes on reading from a place that the server's log has. What lies behind it is acknowledged by nobody until it is read
    /// again, or sent again. Gives how far the log is stored.
    pub(in crate::client) fn heal_end(&mut self, space: SpaceId, healing: &Healing, healed: &Healed) -> Result<u64> {
        let state = self.space(space)?;
        if state.life != healing.life {
            return Err(ClientError::NoSpace);
        }
        let (device, resume, regaining) = (self.device, healed.resume, state.regaining);
        let mut row = state.row;
        if resume != row.cursor {
            row.cursor = resume;
            row.proven = healed.receipt.map(|receipt| (resume, receipt));
        }
        let row = self.store.transaction(|writer| {
            writer.forget_places(space, resume.seq)?;
            let folded = writer.folded_own(space, device)?;
            let n = writer.last_placed(space, device)?.max(folded.map_or(0, |(place, _)| place.n));
            // What was folded and is lost cannot be sent again either.
            let gone = folded.is_some_and(|(_, seq)| seq > resume.seq);
            // Of a feed whose payloads went with the space, nothing can be sent again: they come back by being read.
            if n < row.acked.n && !regaining && !gone && !sync_core::mutation!("acknowledged-kept-after-loss") {
                let chain = writer.own_chain(space, device, n)?.ok_or(ClientError::Corrupt)?;
                row.acked = FeedHead { n, chain };
            }
            writer.set_space(space, &row)?;
            Ok::<_, ClientError>(row)
        })?;
        if let Some(state) = self.spaces.get_mut(&space) {
            state.row = row;
            state.sent = row.acked;
            state.sent_n = state.sent_n.min(row.acked.n);
        }
        for (_, open) in self.documents.iter_mut().filter(|((of, _), _)| *of == space) {
            open.through = open.through.min(resume.seq);
        }
        Ok(resume.seq)
    }
}
