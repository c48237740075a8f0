//! Keeps what happened: at once where it can, else as soon as the store is back. A task of its own takes what came from where
//! nobody waits, tries again what failed, and purges what is too old.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Context, Event, row, say};
use crate::clock::Clock;
use crate::random;
use crate::store::StoreError;
use crate::store::audit::{APPEND_ROWS_MAX, Audit, AuditRow};
use crate::telemetry::metrics;

/// What waits to be kept while the store is away: some minutes of a busy node, at most 10 MiB. What is beyond is in the log
/// alone, and counted.
const QUEUE_MAX: usize = 16_384;
/// How long who waits for an event to be kept waits for it.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// A store that is away is asked again after this, and then less and less often.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often what is too old is looked for.
const PURGE_INTERVAL: Duration = Duration::from_hours(1);
/// Rows that are purged in one go, so that it holds nobody up.
const PURGE_ROWS: u32 = 1_000;
/// A user is flagged no more often than this, for each kind.
const FLAGS_APART: Duration = Duration::from_hours(1);
const DAY_MS: u64 = 86_400_000;

/// What waits to be done.
enum Work {
    /// Keep it; it was said already.
    Row(Box<AuditRow>),
    /// Say and keep it, unless the user was flagged for it lately.
    Flag(Box<AuditRow>),
    /// A user is in that country: flag it where it was in another, so long ago. The row is the flag's.
    Seen { country: String, inactive_ms: u64, flag: Box<AuditRow> },
}

/// The way to the store.
pub(crate) struct Keeper {
    store: Arc<dyn Audit>,
    clock: Clock,
    queue: Mutex<Option<mpsc::Sender<Work>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    stopping: watch::Sender<bool>,
}

impl Keeper {
    /// Begins to keep. Needs a runtime. With `keep_days` of 0 nothing is purged.
    pub(crate) fn new(store: Arc<dyn Audit>, clock: Clock, keep_days: u32) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let keep_ms = (keep_days > 0).then(|| u64::from(keep_days) * DAY_MS);
        let (stopping, stops) = watch::channel(false);
        let keeping = Keeping { store: Arc::clone(&store), clock: clock.clone(), waiting, stops, keep_ms };
        let task = Mutex::new(Some(tokio::spawn(keeping.run())));
        Self { store, clock, queue: Mutex::new(Some(queue)), task, stopping }
    }

    /// An event as it is kept.
    pub(crate) fn row(&self, event: Event<'_>, context: Context) -> AuditRow {
        row(self.clock.now_ms(), event, context)
    }

    /// Keeps it, or sees to it that it is kept.
    pub(super) async fn keep_now(&self, row: AuditRow) {
        let kept = timeout(WAIT_MAX, self.store.append_audit(vec![row.clone()])).await;
        match kept {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::warn!(%error, "the audit log; it is tried again"),
            Err(_) => tracing::warn!("the audit log takes long; it is tried again"),
        }
        metrics::audit_failed();
        self.put(Work::Row(Box::new(row)));
    }

    /// Says it now and has it kept soon.
    pub(crate) fn keep_soon(&self, event: Event<'_>) {
        let row = self.row(event, Context::default());
        say(&row);
        self.put(Work::Row(Box::new(row)));
    }

    /// Has a flag raised.
    pub(super) fn flag(&self, flag: AuditRow) {
        self.put(Work::Flag(Box::new(flag)));
    }

    /// A user is in that country.
    pub(super) fn seen(&self, country: String, inactive_days: u32, flag: AuditRow) {
        let inactive_ms = u64::from(inactive_days) * DAY_MS;
        self.put(Work::Seen { country, inactive_ms, flag: Box::new(flag) });
    }

    fn put(&self, work: Work) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let is_row = matches!(work, Work::Row(_));
        let put = queue.as_ref().is_some_and(|queue| queue.try_send(work).is_ok());
        // Where somebody was last is learnt again; an event is not.
        if !put && is_row {
            metrics::audit_lost(1);
            tracing::error!("an event is in this log alone: too many wait for the audit log");
        }
    }

    /// What waits, for the metrics.
    pub(crate) fn waiting(&self) -> usize {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Keeps what waits, and ends. What the store does not take by then is in the log alone.
    pub(crate) async fn close(&self, deadline: Duration) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.stopping.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        if timeout(deadline, &mut task).await.is_err() {
            task.abort();
            tracing::error!("events that waited for the audit log are in this log alone");
        }
    }
}

/// The task's side.
struct Keeping {
    store: Arc<dyn Audit>,
    clock: Clock,
    waiting: mpsc::Receiver<Work>,
    stops: watch::Receiver<bool>,
    keep_ms: Option<u64>,
}

impl Keeping {
    async fn run(mut self) {
        // Nodes that were started together do not purge together.
        let mut purge_at = Instant::now() + random::jittered(PURGE_INTERVAL);
        let mut batch = Vec::with_capacity(APPEND_ROWS_MAX);
        loop {
            tokio::select! {
                biased;
                taken = self.waiting.recv_many(&mut batch, APPEND_ROWS_MAX) => {
                    if taken == 0 {
                        return;
                    }
                    self.work(&mut batch).await;
                }
                () = sleep_until(purge_at) => {
                    self.purge().await;
                    purge_at = Instant::now() + random::jittered(PURGE_INTERVAL);
                }
            }
        }
    }

    async fn work(&mut self, batch: &mut Vec<Work>) {
        let mut rows = Vec::with_capacity(batch.len());
        for work in batch.drain(..) {
            match work {
                Work::Row(row) => rows.push(*row),
                Work::Flag(flag) => rows.extend(self.raise(*flag).await),
                Work::Seen { country, inactive_ms, flag } => {
                    let before = match self.store.see(&flag.user, &country, flag.at_ms).await {
                        Ok(before) => before,
                        // The next call within the hour tells it again.
                        Err(error) => {
                            tracing::warn!(%error, "where a user was seen");
                            continue;
                        }
                    };
                    let Some(before) = before.filter(|before| before.country != country) else { continue };
                    let away_ms = flag.at_ms.saturating_sub(before.at_ms);
                    if away_ms >= inactive_ms {
                        let days = away_ms / DAY_MS;
                        let detail = format!("{country}, after {days} days; before that {}", before.country);
                        rows.extend(self.raise(AuditRow { detail: Some(detail), ..*flag }).await);
                    }
                }
            }
        }
        self.keep(rows).await;
    }

    /// The flag, if the user has none of that kind from the last hour.
    async fn raise(&self, flag: AuditRow) -> Option<AuditRow> {
        let claimed = self.store.claim_flag(&flag.user, &flag.kind, flag.at_ms, FLAGS_APART).await;
        // One too many is better than none.
        let raised = claimed.unwrap_or_else(|error| {
            tracing::warn!(%error, "a flag");
            true
        });
        if raised {
            say(&flag);
        }
        raised.then_some(flag)
    }

    /// Until the store takes them.
    async fn keep(&mut self, mut rows: Vec<AuditRow>) {
        let mut pause = RETRY_PAUSE;
        while !rows.is_empty() {
            let error = match self.store.append_audit(rows.clone()).await {
                Ok(()) => return,
                Err(error) => error,
            };
            metrics::audit_failed();
            tracing::warn!(%error, events = rows.len(), "the audit log; it is tried again");
            if matches!(error, StoreError::Fault(_)) && rows.len() > 1 {
                rows = self.keep_each(rows).await;
            }
            let is_hopeless = matches!(error, StoreError::Fault(_)) && rows.len() == 1;
            // Whoever owned this is gone without having closed it.
            let is_orphan = self.stops.has_changed().is_err();
            if is_hopeless || is_orphan {
                metrics::audit_lost(rows.len());
                tracing::error!(events = rows.len(), "events are in this log alone");
                return;
            }
            if *self.stops.borrow() {
                // Until the deadline, at which this is aborted.
                sleep(RETRY_PAUSE).await;
            } else {
                let _ = timeout(random::jittered(pause), self.stops.wait_for(|stops| *stops)).await;
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        }
    }

    /// One that cannot be kept must not keep its neighbours from it. Returns those that may be tried again.
    async fn keep_each(&self, rows: Vec<AuditRow>) -> Vec<AuditRow> {
        let mut left = Vec::new();
        for row in rows {
            match self.store.append_audit(vec![row.clone()]).await {
                Ok(()) => {}
                Err(StoreError::Fault(error)) => {
                    metrics::audit_lost(1);
                    tracing::error!(%error, audit = row.kind, "an event is in this log alone");
                }
                Err(_) => left.push(row),
            }
        }
        left
    }

    async fn purge(&self) {
        let Some(keep_ms) = self.keep_ms else { return };
        let now_ms = self.clock.now_ms();
        let before_ms = now_ms.saturating_sub(keep_ms);
        loop {
            match self.store.purge_audit(before_ms, now_ms, PURGE_ROWS).await {
                Ok(purged) if purged < u64::from(PURGE_ROWS) => return,
                Ok(_) => {}
                Err(error) => return tracing::warn!(%error, "purging the audit log"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
