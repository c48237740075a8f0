//! What is no longer needed goes: payloads below the horizon that a snapshot covers, all content of deleted documents, and what
//! was before an epoch. In small bunches, so that pushes come in between.

use std::sync::atomic::Ordering;

use super::folding::{CLEARED_MAX, Unfolded, has_few};
use super::{Compactor, Round};
use crate::store::StoreError;
use crate::store::snapshots::{DocumentState, Range, StoredSnapshot};
use crate::telemetry::metrics;

/// Payloads that go in one transaction. They lie apart, and each takes a page of the table and one of its index.
const DROPPED_MAX: usize = 64;
/// Deleted spaces that are purged in one round.
const SPACES_MAX: u32 = 1_000;
/// Rows of each kind that go in one transaction then.
const SPACE_ROWS_MAX: u32 = 200;
const HOUR_MS: u64 = 3_600_000;
/// Payloads that are looked up at once.
const LOOKED_UP_MAX: usize = 5_000;

impl Compactor {
    /// Up to where payloads of a document may go that are still there. Where something was excluded they stay, as they were sealed: a
    /// snapshot has them as they stand, and the log speaks of the others.
    pub(super) fn may_drop(state: &DocumentState, horizon_seq: u64) -> Option<(&StoredSnapshot, u64)> {
        let snapshot = state.snapshot.as_ref().filter(|_| !state.deleted && !state.grafted)?;
        let mut through = horizon_seq.min(snapshot.seq).max(snapshot.below_seq);
        if sync_core::mutation!("drops-what-no-snapshot-covers") {
            through = horizon_seq.max(snapshot.below_seq);
        }
        (through > snapshot.dropped_seq).then_some((snapshot, through))
    }

    /// Drops a document's payloads up to that place, once its snapshot was read from the disk again as it was stored.
    pub(super) async fn drop_covered(
        &self,
        state: &DocumentState,
        snapshot: &StoredSnapshot,
        through: u64,
    ) -> Result<(), Unfolded> {
        self.bytes_of(state.space, state.doc, snapshot).await?;
        let few = has_few(state, snapshot.dropped_seq);
        self.drop_in(state, Range { after: snapshot.dropped_seq, through, few }).await?;
        self.registry.payloads_dropped(state.space, state.doc, through).await?;
        Ok(())
    }

    /// Takes away all content of a deleted document. Its headers and its tombstone stay.
    pub(super) async fn purge(&self, state: &DocumentState) -> Result<(), StoreError> {
        let (space, doc) = (state.space, state.doc);
        self.registry.forget_snapshot(space, doc).await?;
        while self.registry.clear_parts(space, doc, CLEARED_MAX).await? > 0 {
            self.pause().await;
        }
        self.drop_in(state, Range { after: 0, through: state.head_seq, few: true }).await?;
        self.registry.document_purged(space, doc, self.clock.now_ms()).await?;
        metrics::purged();
        tracing::info!(space = %space, doc = %doc, "the content of a deleted document is gone");
        Ok(())
    }

    /// Takes away all rows of spaces that were deleted long enough ago; their tombstones stay. Two nodes may be at it at once:
    /// each row goes once.
    pub(super) async fn purge_spaces(&self, round: &mut Round) -> Result<(), StoreError> {
        let kept_ms = u64::from(self.config.deleted_spaces_hours) * HOUR_MS;
        // A clock that is before the first deletion has nothing to purge.
        let Some(deleted_by_ms) = self.clock.now_ms().checked_sub(kept_ms) else { return Ok(()) };
        for space in self.registry.unpurged_spaces(deleted_by_ms, SPACES_MAX).await? {
            while self.registry.clear_closed(space, SPACE_ROWS_MAX).await? > 0 {
                if self.stopped.load(Ordering::Relaxed) {
                    return Ok(());
                }
                self.pause().await;
            }
            self.registry.space_purged(space, self.clock.now_ms()).await?;
            round.spaces_purged += 1;
            tracing::info!(space = %space, "what there was of a deleted space is gone");
        }
        Ok(())
    }

    /// Takes away what was before a document's present epoch: that is in it.
    pub(super) async fn clear_epoch(&self, state: &DocumentState) -> Result<(), StoreError> {
        let (space, doc) = (state.space, state.doc);
        while self.registry.clear_parts(space, doc, CLEARED_MAX).await? > 0 {
            self.pause().await;
        }
        self.drop_in(state, Range { after: 0, through: state.epoch_seq - 1, few: true }).await?;
        self.registry.epoch_cleared(space, doc, state.epoch_seq).await?;
        tracing::info!(space = %space, doc = %doc, "the history before an epoch is gone");
        Ok(())
    }

    async fn drop_in(&self, state: &DocumentState, mut range: Range) -> Result<(), StoreError> {
        loop {
            let found = self.registry.changes_in(state.space, state.doc, range, LOOKED_UP_MAX).await?;
            let seqs: Vec<u64> = found.iter().map(|(seq, _)| *seq).collect();
            for some in seqs.chunks(DROPPED_MAX) {
                self.registry.drop_payloads(state.space, state.doc, range.through, some).await?;
                metrics::dropped(some.len());
                self.pause().await;
            }
            match seqs.last() {
                Some(last) if seqs.len() == LOOKED_UP_MAX => range.after = *last,
                _ => return Ok(()),
            }
        }
    }
}
