//! Numbers for Prometheus: their names, in one place, and how they are counted.
//!
//! They go to the process's recorder (the `metrics` crate). [`install`] makes it one that renders Prometheus' format; where an
//! app that embeds the server has a recorder of its own, it gets them; where there is none, counting costs next to nothing.
//! Labels are of small fixed sets: routes as they stand in the table, codes, kinds, rules of the configuration.

use std::sync::OnceLock;
use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sync_core::heal::TakenBack;
use sync_core::wire::{ItemStatus, PushAnswer};

const REQUESTS: &str = "rejoin_request_duration_seconds";
const ERRORS: &str = "rejoin_errors_total";
const RATE_LIMITED: &str = "rejoin_rate_limited_total";
const PUSHES: &str = "rejoin_pushes_total";
const CHANGES: &str = "rejoin_changes_total";
const HEALED: &str = "rejoin_healed_entries_total";
const HEAL_REFUSED: &str = "rejoin_heal_refused_total";
const PULLED_ENTRIES: &str = "rejoin_pulled_entries_total";
const PULLED_BYTES: &str = "rejoin_pulled_bytes_total";
const GROUP_PUSHES: &str = "rejoin_group_pushes";
const COMMITS: &str = "rejoin_commit_duration_seconds";
const LOG_LAG: &str = "rejoin_log_lag_seconds";
const MAILBOX_DROPS: &str = "rejoin_mailbox_drops_total";
const CONNECTIONS_ENDED: &str = "rejoin_live_connections_ended_total";
const AUDIT_EVENTS: &str = "rejoin_audit_events_total";
const AUDIT_FAILURES: &str = "rejoin_audit_failures_total";
const AUDIT_LOST: &str = "rejoin_audit_lost_total";
const VALIDATIONS: &str = "rejoin_validation_duration_seconds";
const FOLDS: &str = "rejoin_compaction_folds_total";
const FOLDED_CHANGES: &str = "rejoin_compaction_folded_changes_total";
const SNAPSHOT_BYTES: &str = "rejoin_compaction_snapshot_bytes_total";
const EXCLUDED: &str = "rejoin_compaction_exclusions_total";
const UNFOLDED: &str = "rejoin_compaction_failures_total";
const DROPPED: &str = "rejoin_compaction_dropped_payloads_total";
const PURGED: &str = "rejoin_compaction_purged_documents_total";
const BUILD: &str = "rejoin_build_info";
const IN_FLIGHT: &str = "rejoin_requests_in_flight";
const WRITER_QUEUE: &str = "rejoin_writer_queue_pushes";
const WRITER_QUEUE_MAX: &str = "rejoin_writer_queue_pushes_max";
const CONNECTIONS: &str = "rejoin_live_connections";
const SPACES: &str = "rejoin_followed_spaces";
const BUS_UP: &str = "rejoin_bus_up";
const STORE_UP: &str = "rejoin_store_up";
const POOL_SIZE: &str = "rejoin_database_connections";
const POOL_MAX: &str = "rejoin_database_connections_max";
const POOL_WAITERS: &str = "rejoin_database_waiters";
const AUDIT_QUEUE: &str = "rejoin_audit_queue_events";
const DISK_FREE: &str = "rejoin_data_free_bytes";

/// A phone on the local network has its answer in a millisecond; a request is given up after 30 seconds.
const SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// A group holds as many pushes as came during the commit before it.
const PUSHES_IN_GROUP: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();

/// Why numbers cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The process has a recorder already.
    #[error("the process has a recorder of metrics already")]
    Taken,
    /// Never, since what buckets need is fixed.
    #[error("the recorder of metrics: {0}")]
    Buckets(String),
}

/// Makes a recorder for Prometheus the process's own, once. Whoever installs it sees to it that [`upkeep`] is called now and
/// then, or that [`render`] is.
pub fn install() -> Result<(), MetricsError> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in [
        (REQUESTS, &SECONDS[..]),
        (COMMITS, &SECONDS),
        (LOG_LAG, &SECONDS),
        (VALIDATIONS, &SECONDS),
        (GROUP_PUSHES, &PUSHES_IN_GROUP),
    ] {
        let with = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets);
        builder = with.map_err(|error| MetricsError::Buckets(error.to_string()))?;
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    ::metrics::set_global_recorder(recorder).map_err(|_| MetricsError::Taken)?;
    INSTALLED.set(handle).map_err(|_| MetricsError::Taken)?;
    describe();
    begin();
    Ok(())
}

/// What was counted so far, in Prometheus' text format; `None` where [`install`] was not called. Gauges that are looked up
/// only when they are asked for come from [`Server::metrics`](crate::Server::metrics).
pub fn render() -> Option<String> {
    INSTALLED.get().map(PrometheusHandle::render)
}

/// Folds what was counted since into the histograms: they grow with each request until then.
pub fn upkeep() {
    if let Some(handle) = INSTALLED.get() {
        handle.run_upkeep();
    }
}

fn describe() {
    describe_histogram!(REQUESTS, Unit::Seconds, "Time from a request's head to its answer's");
    describe_counter!(ERRORS, "Requests and live messages that were refused, by the code that callers see");
    describe_counter!(RATE_LIMITED, "Requests that a rule of the limits refused");
    describe_counter!(PUSHES, "Pushes, by what became of them");
    describe_counter!(CHANGES, "Items of pushes that were taken: applied, rejected, or known before");
    describe_counter!(HEALED, "Entries that devices handed back to a log that had lost them, by what became of them");
    describe_counter!(HEAL_REFUSED, "Times that entries were handed back without proof");
    describe_counter!(PULLED_ENTRIES, "Entries of logs that were read for callers");
    describe_counter!(PULLED_BYTES, "Bytes of their payloads");
    describe_histogram!(GROUP_PUSHES, "Pushes that were committed together");
    describe_histogram!(COMMITS, Unit::Seconds, "Time that the store took for a group of pushes");
    describe_histogram!(LOG_LAG, Unit::Seconds, "Time from hearing of a commit to having written it to a connection");
    describe_counter!(
        MAILBOX_DROPS,
        "Times that pages waiting for a slow reader were dropped, to be read from the log"
    );
    describe_counter!(CONNECTIONS_ENDED, "Live connections that ended, by who ended them");
    describe_counter!(AUDIT_EVENTS, "Events of the audit log, by kind");
    describe_counter!(AUDIT_FAILURES, "Times that the audit log could not be written; it is tried again");
    describe_counter!(AUDIT_LOST, "Events that are in the process's log alone");
    describe_histogram!(
        VALIDATIONS,
        Unit::Seconds,
        "Time that the app took to say whether a push may be taken, by what it said"
    );
    describe_gauge!(BUILD, "1, with the version");
    describe_gauge!(IN_FLIGHT, "Requests that are worked on");
    describe_gauge!(WRITER_QUEUE, "Pushes that wait for their commit, or are being committed");
    describe_gauge!(WRITER_QUEUE_MAX, "How many may");
    describe_gauge!(CONNECTIONS, "Live connections that are open");
    describe_gauge!(SPACES, "Spaces that somebody follows on this node");
    describe_counter!(FOLDS, "Steps in which documents were folded");
    describe_counter!(FOLDED_CHANGES, "Changes that were folded into snapshots");
    describe_counter!(SNAPSHOT_BYTES, Unit::Bytes, "Bytes of snapshots that were made");
    describe_counter!(EXCLUDED, "Changes that broke their documents and were excluded");
    describe_counter!(UNFOLDED, "Times that a document could not be folded");
    describe_counter!(DROPPED, "Payloads that were dropped, since snapshots cover them or their document was deleted");
    describe_counter!(PURGED, "Deleted documents whose content is gone");
    describe_gauge!(BUS_UP, "Whether other nodes are heard");
    describe_gauge!(STORE_UP, "Whether the store answered when these numbers were asked for");
    describe_gauge!(POOL_SIZE, "Connections to the database");
    describe_gauge!(POOL_MAX, "How many there may be");
    describe_gauge!(POOL_WAITERS, "Requests that wait for a connection to the database");
    describe_gauge!(AUDIT_QUEUE, "Events that wait to be kept");
    describe_gauge!(DISK_FREE, Unit::Bytes, "Room that is left where the data folder is");
}

/// Counters begin at zero, so that the first event of a kind is an increase that alerts see.
fn begin() {
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1);
    let begin = [MAILBOX_DROPS, HEAL_REFUSED, AUDIT_FAILURES, AUDIT_LOST, PULLED_ENTRIES, PULLED_BYTES];
    let compaction = [FOLDS, FOLDED_CHANGES, SNAPSHOT_BYTES, UNFOLDED, EXCLUDED, DROPPED, PURGED];
    for name in begin.into_iter().chain(compaction) {
        counter!(name).increment(0);
    }
    for kind in crate::audit::Kind::ALL {
        counter!(AUDIT_EVENTS, "kind" => kind.name()).increment(0);
    }
    for code in ["busy", "unavailable", "internal", "rate_limited", "unauthorized"] {
        counter!(ERRORS, "code" => code).increment(0);
    }
    for became in ["taken", "known", "left"] {
        counter!(HEALED, "became" => became).increment(0);
    }
    for verdict in ["applied", "rejected", "duplicate"] {
        counter!(CHANGES, "verdict" => verdict).increment(0);
    }
}

/// A request was answered.
pub(crate) fn answered(method: &'static str, route: &str, status: u16, took: Duration) {
    let class = match status {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    let route = route.to_owned();
    histogram!(REQUESTS, "method" => method, "route" => route, "status" => class).record(took);
}

/// A request, or a live message, was refused.
pub(crate) fn refused(code: String) {
    counter!(ERRORS, "code" => code).increment(1);
}

/// A rule of the limits refused a request.
pub(crate) fn rate_limited(rule: &str) {
    counter!(RATE_LIMITED, "rule" => rule.to_owned()).increment(1);
}

/// The app was asked about a push: it accepted it whole, refused something, or failed to say.
pub(crate) fn validated(said: &'static str, took: Duration) {
    histogram!(VALIDATIONS, "said" => said).record(took.as_secs_f64());
}

/// A push was answered.
pub(crate) fn pushed(answer: &PushAnswer) {
    let answer = match answer {
        PushAnswer::Taken { results, .. } => {
            let (mut applied, mut rejected, mut duplicate) = (0, 0, 0);
            for result in results {
                match result.status {
                    ItemStatus::Applied => applied += 1,
                    ItemStatus::Rejected => rejected += 1,
                    ItemStatus::Duplicate => duplicate += 1,
                }
            }
            for (verdict, count) in [("applied", applied), ("rejected", rejected), ("duplicate", duplicate)] {
                if count > 0 {
                    counter!(CHANGES, "verdict" => verdict).increment(count);
                }
            }
            "taken"
        }
        PushAnswer::Behind { .. } => "behind",
        PushAnswer::Gap { .. } => "gap",
        PushAnswer::Forked { .. } => "forked",
    };
    counter!(PUSHES, "answer" => answer).increment(1);
}

/// Entries were handed back to a log that had lost them.
pub(crate) fn healed(became: TakenBack) {
    for (name, count) in [("taken", became.taken), ("known", became.known), ("left", became.left)] {
        counter!(HEALED, "became" => name).increment(count);
    }
}

/// Entries were handed back without proof.
pub(crate) fn heal_refused() {
    counter!(HEAL_REFUSED).increment(1);
}

/// A page was read for a caller.
pub(crate) fn pulled(entries: usize, bytes: usize) {
    counter!(PULLED_ENTRIES).increment(entries as u64);
    counter!(PULLED_BYTES).increment(bytes as u64);
}

/// A group of pushes was committed, or could not be.
pub(crate) fn committed(pushes: usize, took: Duration, fine: bool) {
    histogram!(GROUP_PUSHES).record(pushes as f64);
    histogram!(COMMITS, "outcome" => if fine { "committed" } else { "failed" }).record(took);
}

/// A commit was written to a connection, so long after this node heard of it.
pub(crate) fn delivered(after: Duration) {
    histogram!(LOG_LAG).record(after);
}

/// Pages that waited for a slow reader were dropped.
pub(crate) fn mailbox_dropped() {
    counter!(MAILBOX_DROPS).increment(1);
}

/// A live connection ended.
pub(crate) fn connection_ended(kind: &'static str, by: &'static str) {
    counter!(CONNECTIONS_ENDED, "kind" => kind, "by" => by).increment(1);
}

/// Something happened that is kept.
pub(crate) fn audited(kind: &str) {
    counter!(AUDIT_EVENTS, "kind" => kind.to_owned()).increment(1);
}

/// The audit log could not be written.
pub(crate) fn audit_failed() {
    counter!(AUDIT_FAILURES).increment(1);
}

/// Events are in the process's log alone.
pub(crate) fn audit_lost(events: usize) {
    counter!(AUDIT_LOST).increment(events as u64);
}

/// A document was folded.
pub(crate) fn folded(changes: u64, snapshot_bytes: usize) {
    counter!(FOLDS).increment(1);
    counter!(FOLDED_CHANGES).increment(changes);
    counter!(SNAPSHOT_BYTES).increment(snapshot_bytes as u64);
}

/// A change was excluded.
pub(crate) fn excluded() {
    counter!(EXCLUDED).increment(1);
}

/// A document could not be folded.
pub(crate) fn unfolded() {
    counter!(UNFOLDED).increment(1);
}

/// Payloads were dropped.
pub(crate) fn dropped(payloads: usize) {
    counter!(DROPPED).increment(payloads as u64);
}

/// Nothing is left of the content of a deleted document.
pub(crate) fn purged() {
    counter!(PURGED).increment(1);
}

/// What is looked up when it is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Levels {
    pub(crate) requests_in_flight: usize,
    pub(crate) writer_queue: usize,
    pub(crate) live_connections: usize,
    pub(crate) followed_spaces: usize,
    pub(crate) audit_queue: usize,
    pub(crate) bus_up: bool,
    pub(crate) store_up: bool,
    pub(crate) pool: Option<crate::store::PoolLevels>,
    pub(crate) data_free_bytes: Option<u64>,
}

/// Sets them.
pub(crate) fn levels(levels: &Levels) {
    let flag = |up: bool| if up { 1.0 } else { 0.0 };
    gauge!(IN_FLIGHT).set(levels.requests_in_flight as f64);
    gauge!(WRITER_QUEUE).set(levels.writer_queue as f64);
    gauge!(WRITER_QUEUE_MAX).set(sync_core::limits::WRITER_QUEUE_MAX as f64);
    gauge!(CONNECTIONS).set(levels.live_connections as f64);
    gauge!(SPACES).set(levels.followed_spaces as f64);
    gauge!(AUDIT_QUEUE).set(levels.audit_queue as f64);
    gauge!(BUS_UP).set(flag(levels.bus_up));
    gauge!(STORE_UP).set(flag(levels.store_up));
    // The embedded store has none: zeros, so that one dashboard fits both.
    gauge!(POOL_SIZE).set(levels.pool.map_or(0, |pool| pool.connections) as f64);
    gauge!(POOL_MAX).set(levels.pool.map_or(0, |pool| pool.connections_max) as f64);
    gauge!(POOL_WAITERS).set(levels.pool.map_or(0, |pool| pool.waiters) as f64);
    if let Some(free) = levels.data_free_bytes {
        gauge!(DISK_FREE).set(free as f64);
    }
}
