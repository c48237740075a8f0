//! Compaction: in the background, documents whose tail has grown are folded into snapshots, payloads that nobody needs any
//! more are dropped, and what was deleted is purged.
//!
//! The log is the truth and stays whole: its headers never go. A snapshot is adopted when a worker has made it, read it back
//! and found the heads that the log says; a payload goes after that, and after its snapshot was read from the disk once more.
//! Each step is a small transaction, and whatever is killed between two of them leaves nothing but work to be done again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sync_core::id::SpaceId;
use sync_core::limits::FOLD_CHANGES_MAX;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::clock::Clock;
use crate::config;
use crate::fanout::Fanout;
use crate::random::jittered;
use crate::store::StoreError;
use crate::store::registry::Registry;
use crate::store::snapshots::{Amount, DocumentState, Range};
use crate::telemetry::metrics;
use crate::writer::Writer;

mod child;
mod dropping;
mod folding;
mod frames;
mod readers;
mod worker;

pub use child::work;
pub(crate) use folding::{bytes_of, grafts_of, standing};
pub(crate) use frames::Job;
pub(crate) use readers::Readers;
pub use worker::Workshop;
pub(crate) use worker::{Failure, Worker};

use folding::{Unfolded, has_few};

/// Documents that are looked at in one query.
const LOOKED_AT_MAX: u32 = 500;
/// How long a node has a space to itself beyond what one step may take.
const LEASE_MS: u64 = 60_000;
/// A document that could not be folded is tried again after this, and then after twice as long each time, …
const AGAIN_MS: u64 = 600_000;
/// … but at least so often: a later version may be able to.
const AGAIN_MAX_MS: u64 = 86_400_000;
/// Workers that may die over a document before it is suspected.
const KILLED_MAX: u64 = 3;
const DAY_MS: u64 = 86_400_000;

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Documents that were folded.
    pub folded: u64,
    /// Documents that could not be.
    pub unfolded: u64,
    /// Documents of which payloads were dropped.
    pub dropped: u64,
    /// Deleted documents that were purged.
    pub purged: u64,
    /// Deleted spaces that were purged.
    pub spaces_purged: u64,
}

/// The background job of a node.
pub(crate) struct Compactor {
    registry: Arc<dyn Registry>,
    writer: Writer,
    config: config::Compaction,
    clock: Clock,
    node: Uuid,
    readers: Readers,
    fanout: Arc<Fanout>,
    /// One round at a time.
    worker: Mutex<Worker>,
    stopped: AtomicBool,
    running: std::sync::Mutex<Option<AbortHandle>>,
}

/// The space whose documents are being looked at.
struct Place {
    space: SpaceId,
    /// Whether this node has it to itself; `None` until there is something to do.
    leased: Option<(bool, u64)>,
    /// Where its horizon is, once that was asked for.
    horizon_seq: Option<u64>,
}

impl Compactor {
    pub(crate) fn new(
        registry: Arc<dyn Registry>,
        writer: Writer,
        fanout: Arc<Fanout>,
        config: config::Compaction,
        clock: Clock,
        workshop: Workshop,
        node: [u8; 16],
    ) -> Arc<Self> {
        let worker = Mutex::new(Worker::new(workshop, config.deadline()));
        let (readers, running) = (Readers::default(), std::sync::Mutex::default());
        let (node, stopped) = (Uuid::from_bytes(node), AtomicBool::new(false));
        Arc::new(Self { registry, writer, config, clock, node, readers, fanout, worker, stopped, running })
    }

    /// Goes round again and again, until [`stop`](Self::stop) or until nobody has it any more.
    pub(crate) fn start(self: &Arc<Self>) {
        if !self.config.enabled {
            return;
        }
        let (job, period) = (Arc::downgrade(self), self.config.period());
        let task = tokio::spawn(async move {
            // Nodes that were started together do not go round together.
            sleep(jittered(period)).await;
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(job) = job.upgrade() else { return };
                match job.round().await {
                    Ok(round) if round == Round::default() => {}
                    Ok(Round { folded, unfolded, dropped, purged, spaces_purged }) => {
                        tracing::info!(folded, unfolded, dropped, purged, spaces_purged, "compaction went round");
                    }
                    Err(error) => tracing::warn!(%error, "compaction stopped half-way; it goes on with the next round"),
                }
            }
        });
        if let Ok(mut running) = self.running.lock() {
            *running = Some(task.abort_handle());
        }
    }

    /// Ends it, wherever it is.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(task) = self.running.lock().ok().and_then(|mut running| running.take()) {
            task.abort();
        }
    }

    /// A device has everything up to there.
    pub(crate) fn note_reader(&self, space: SpaceId, device: sync_core::id::DeviceId, seq: u64) {
        self.readers.note(space, device, seq, self.clock.now_ms());
    }

    /// Writes down how far devices have read, as far as this node knows.
    pub(crate) async fn write_places(&self) -> Result<(), StoreError> {
        // Who follows its logs live asks for nothing.
        self.fanout.tell_places(|space, device, seq| self.note_reader(space, device, seq));
        let readers = self.readers.take();
        if readers.is_empty() { Ok(()) } else { self.registry.note_readers(&readers).await }
    }

    /// Who has not read since then holds up nothing.
    pub(crate) fn active_since_ms(&self) -> u64 {
        self.clock.now_ms().saturating_sub(u64::from(self.config.active_days) * DAY_MS)
    }

    /// Looks at every document once, and does what there is to do.
    pub(crate) async fn round(&self) -> Result<Round, StoreError> {
        let mut worker = self.worker.lock().await;
        let mut round = Round::default();
        self.write_places().await?;
        let (mut after, mut place) = (None, None);
        loop {
            let states = self.registry.documents_after(after, LOOKED_AT_MAX).await?;
            let Some(last) = states.last() else { break };
            after = Some((last.space, last.doc));
            for state in states {
                if self.stopped.load(Ordering::Relaxed) {
                    return Ok(round);
                }
                if !matches!(&place, Some(Place { space, .. }) if *space == state.space) {
                    self.leave_space(place.take()).await?;
                    place = Some(Place { space: state.space, leased: None, horizon_seq: None });
                }
                let Some(place) = &mut place else { continue };
                self.tend(&mut worker, state, place, &mut round).await?;
            }
        }
        self.leave_space(place).await?;
        worker.rest();
        self.purge_spaces(&mut round).await?;
        Ok(round)
    }

    /// Another node may look after a space from now on, or this one when it was started again.
    async fn leave_space(&self, place: Option<Place>) -> Result<(), StoreError> {
        if let Some(Place { space, leased: Some((true, _)), .. }) = place {
            self.registry.lease_space(space, self.node, 0).await?;
        }
        Ok(())
    }

    /// Does what there is to do about a document.
    async fn tend(
        &self,
        worker: &mut Worker,
        mut state: DocumentState,
        place: &mut Place,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let (space, doc) = (state.space, state.doc);
        if state.deleted {
            if !state.purged && self.is_ours(place).await? {
                self.purge(&state).await?;
                round.purged += 1;
            }
            return Ok(());
        }
        if !state.epoch_cleared && self.is_ours(place).await? {
            self.clear_epoch(&state).await?;
            round.dropped += 1;
        }
        if state.tail.is_none() {
            state.tail = Some(self.count(&state).await?);
        }
        let due = state.tail.is_some_and(|tail| {
            tail.changes >= self.config.tail_changes_max || tail.bytes >= self.config.tail_bytes_max
        });
        let waits = state.unfolded.is_some_and(|(_, again_ms)| self.clock.now_ms() < again_ms);
        if due && !waits {
            if !self.is_ours(place).await? {
                return Ok(());
            }
            match self.fold(worker, space, doc).await {
                Ok(()) => round.folded += 1,
                Err(Unfolded::Store(error)) => return Err(error),
                Err(why) => {
                    self.leave(&state, &why).await?;
                    round.unfolded += 1;
                }
            }
            self.pause().await;
            let Some(fresh) = self.registry.document_state(space, doc).await? else { return Ok(()) };
            state = fresh;
        }
        let waits = state.unfolded.is_some_and(|(_, again_ms)| self.clock.now_ms() < again_ms);
        // Only who has something to drop needs to know where the horizon is now.
        if !waits && Self::may_drop(&state, u64::MAX).is_some() && self.is_ours(place).await? {
            let horizon_seq = self.horizon(place).await?;
            if let Some((snapshot, through)) = Self::may_drop(&state, horizon_seq) {
                match self.drop_covered(&state, snapshot, through).await {
                    Ok(()) => round.dropped += 1,
                    Err(Unfolded::Store(error)) => return Err(error),
                    Err(why) => {
                        self.leave(&state, &why).await?;
                        round.unfolded += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes that a document is left as it is: it keeps its tail. What dies over a document accuses none of its changes: whether
    /// one of them is at fault, or the document has outgrown what a worker may take, nobody can tell.
    async fn leave(&self, state: &DocumentState, why: &Unfolded) -> Result<(), StoreError> {
        let (space, doc) = (state.space, state.doc);
        metrics::unfolded();
        tracing::error!(space = %space, doc = %doc, %why, "a document cannot be folded");
        let failures = state.unfolded.map_or(0, |(failures, _)| failures).min(16);
        // Whoever kills a worker does not mean the document, the first few times.
        let killed = matches!(why, Unfolded::Worker(Failure::Died(_) | Failure::Late | Failure::Start(_)));
        let again_ms = if killed && failures < KILLED_MAX { 0 } else { (AGAIN_MS << failures).min(AGAIN_MAX_MS) };
        self.registry.note_unfolded(space, doc, &why.to_string(), self.clock.now_ms() + again_ms).await
    }

    /// Counts what was there before tails were, or what an older version wrote.
    async fn count(&self, state: &DocumentState) -> Result<Amount, StoreError> {
        let after = state.snapshot.as_ref().map_or(state.epoch_seq, |snapshot| snapshot.seq);
        let range = Range { after, through: u64::MAX, few: has_few(state, after) };
        let found = self.registry.changes_in(state.space, state.doc, range, FOLD_CHANGES_MAX).await?;
        let tail = Amount { changes: found.len() as u64, bytes: found.iter().map(|(_, bytes)| bytes).sum() };
        self.registry.count_tail(state.space, state.doc, tail).await?;
        Ok(tail)
    }

    /// Whether this node looks after the space now.
    async fn is_ours(&self, place: &mut Place) -> Result<bool, StoreError> {
        let now_ms = self.clock.now_ms();
        if let Some((ours, at_ms)) = place.leased
            && now_ms.saturating_sub(at_ms) < LEASE_MS / 2
        {
            return Ok(ours);
        }
        let for_ms = LEASE_MS + self.config.worker_deadline_ms;
        let ours = self.registry.lease_space(place.space, self.node, for_ms).await?;
        place.leased = Some((ours, now_ms));
        Ok(ours)
    }

    async fn horizon(&self, place: &mut Place) -> Result<u64, StoreError> {
        if let Some(horizon_seq) = place.horizon_seq {
            return Ok(horizon_seq);
        }
        let days = |days: u32| self.clock.now_ms().saturating_sub(u64::from(days) * DAY_MS);
        let (active, retained) = (days(self.config.active_days), days(self.config.retention_days));
        let horizon_seq = self.registry.move_horizon(place.space, active, retained).await?;
        place.horizon_seq = Some(horizon_seq);
        Ok(horizon_seq)
    }

    async fn pause(&self) {
        sleep(self.config.pause()).await;
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        self.stop();
    }
}
