//! What happens to events while the store is away, and when the server stops.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::sync::Notify;

use super::super::Kind;
use super::*;
use crate::audit::bounded;
use crate::store::audit::{AuditFilter, LastSeen};

/// A store that is away for so many calls, and one that cannot keep one of the rows.
#[derive(Default)]
struct Faulty {
    rows: Mutex<Vec<AuditRow>>,
    failures: AtomicUsize,
    /// Calls that it never answers.
    hangs: AtomicUsize,
    /// The detail of a row that it cannot keep.
    poison: Option<&'static str>,
    before: Mutex<Option<LastSeen>>,
    claimed: Mutex<Vec<(String, u64)>>,
    purges: Mutex<Vec<(u64, u64)>>,
    changed: Notify,
}

impl Faulty {
    fn away(failures: usize) -> Arc<Self> {
        Arc::new(Self { failures: AtomicUsize::new(failures), ..Self::default() })
    }

    fn kinds(&self) -> Vec<String> {
        self.rows.lock().unwrap().iter().map(|row| row.kind.clone()).collect()
    }

    async fn holds(&self, rows: usize) {
        let held = async {
            while self.rows.lock().unwrap().len() < rows {
                self.changed.notified().await;
            }
        };
        timeout(Duration::from_mins(10), held).await.expect("events that are kept");
    }
}

#[async_trait]
impl Audit for Faulty {
    async fn append_audit(&self, rows: Vec<AuditRow>) -> Result<(), StoreError> {
        if self.hangs.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            std::future::pending::<()>().await;
        }
        let away = self.failures.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if away.is_ok() {
            return Err(StoreError::Unavailable("away".into()));
        }
        if self.poison.is_some_and(|poison| rows.iter().any(|row| row.detail.as_deref() == Some(poison))) {
            return Err(StoreError::Fault("cannot be kept".into()));
        }
        self.rows.lock().unwrap().extend(rows);
        self.changed.notify_one();
        Ok(())
    }

    async fn read_audit(&self, _: AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
        Ok(self.rows.lock().unwrap().clone())
    }

    async fn purge_audit(&self, before_ms: u64, now_ms: u64, _: u32) -> Result<u64, StoreError> {
        self.purges.lock().unwrap().push((before_ms, now_ms));
        self.changed.notify_one();
        Ok(0)
    }

    async fn see(&self, _: &str, country: &str, at_ms: u64) -> Result<Option<LastSeen>, StoreError> {
        Ok(self.before.lock().unwrap().replace(LastSeen { country: country.to_owned(), at_ms }))
    }

    async fn claim_flag(&self, _: &str, kind: &str, at_ms: u64, apart: Duration) -> Result<bool, StoreError> {
        let mut claimed = self.claimed.lock().unwrap();
        let recent = claimed.iter().any(|(other, at)| other == kind && at_ms < at + apart.as_millis() as u64);
        if !recent {
            claimed.push((kind.to_owned(), at_ms));
        }
        Ok(!recent)
    }
}

fn keeper(store: &Arc<Faulty>, keep_days: u32) -> Keeper {
    Keeper::new(Arc::clone(store) as Arc<dyn Audit>, Clock::new(|| 1_790_000_000_000), keep_days)
}

fn event(kind: Kind) -> Event<'static> {
    Event { kind, user: "ann", device: None, space: None, detail: None }
}

fn row(keeper: &Keeper, kind: Kind) -> AuditRow {
    keeper.row(event(kind), Context::default())
}

#[tokio::test(start_paused = true)]
async fn an_event_is_kept_before_its_request_is_answered() {
    let store = Faulty::away(0);
    let keeper = keeper(&store, 0);
    keeper.keep_now(row(&keeper, Kind::SignIn)).await;
    assert_eq!(store.kinds(), ["signin.done"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_did_not_take_is_kept_when_it_is_back() {
    let store = Faulty::away(4);
    let keeper = keeper(&store, 0);
    keeper.keep_now(row(&keeper, Kind::RefreshTheft)).await;
    assert_eq!(store.kinds(), [""; 0], "and the request was not held up");
    keeper.keep_soon(event(Kind::DocumentDeleted));
    store.holds(2).await;
    assert_eq!(store.kinds(), ["session.refresh_theft", "document.deleted"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_two_seconds_at_most_for_a_store_that_hangs() {
    let store = Arc::new(Faulty { hangs: AtomicUsize::new(1), ..Faulty::default() });
    let keeper = keeper(&store, 0);
    let kept = timeout(Duration::from_millis(2_100), keeper.keep_now(row(&keeper, Kind::SignIn)));
    kept.await.expect("answered");
    store.holds(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_keeps_what_waits() {
    let store = Faulty::away(3);
    let keeper = keeper(&store, 0);
    for _ in 0..300 {
        keeper.keep_soon(event(Kind::DeviceRevoked));
    }
    keeper.close(Duration::from_secs(5)).await;
    assert_eq!(store.kinds().len(), 300);
    keeper.keep_soon(event(Kind::DeviceRevoked));
    assert_eq!(store.kinds().len(), 300, "nothing is kept after it");
    keeper.close(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_store_that_stays_away() {
    let store = Faulty::away(usize::MAX);
    let keeper = keeper(&store, 0);
    keeper.keep_soon(event(Kind::DeviceRevoked));
    let started = Instant::now();
    keeper.close(Duration::from_secs(5)).await;
    assert!(started.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_kept_does_not_keep_its_neighbours_from_it() {
    let store = Arc::new(Faulty { poison: Some("poison"), ..Faulty::default() });
    let keeper = keeper(&store, 0);
    for detail in ["one", "poison", "two", "three"] {
        keeper.keep_soon(Event { detail: Some(detail.to_owned()), ..event(Kind::MemberJoined) });
    }
    store.holds(3).await;
    keeper.close(Duration::from_secs(5)).await;
    let details: Vec<_> = store.rows.lock().unwrap().iter().map(|row| row.detail.clone().unwrap()).collect();
    assert_eq!(details, ["one", "two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded() {
    let store = Faulty::away(usize::MAX);
    let keeper = keeper(&store, 0);
    for _ in 0..QUEUE_MAX + 10 {
        keeper.keep_soon(event(Kind::DocumentDeleted));
    }
    assert_eq!(keeper.waiting(), QUEUE_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_country_is_flagged_after_a_long_time_alone() {
    let store = Faulty::away(0);
    let keeper = keeper(&store, 0);
    let at = |at_ms| AuditRow { at_ms, ..row(&keeper, Kind::FlagNewCountry) };
    let day = DAY_MS;
    for (country, at_ms) in [("DE", 0), ("FR", 29 * day), ("DE", 59 * day), ("DE", 200 * day)] {
        keeper.seen(country.to_owned(), 30, at(at_ms));
    }
    keeper.close(Duration::from_secs(5)).await;
    let flags = store.rows.lock().unwrap().clone();
    let details: Vec<_> = flags.iter().map(|row| (row.at_ms, row.detail.clone().unwrap())).collect();
    assert_eq!(
        details,
        [(59 * day, "DE, after 30 days; before that FR".to_owned())],
        "29 days are few, and one's own country no other"
    );
}

#[tokio::test(start_paused = true)]
async fn a_user_is_flagged_once_an_hour_for_each_kind() {
    let store = Faulty::away(0);
    let keeper = keeper(&store, 0);
    let hour = FLAGS_APART.as_millis() as u64;
    for (kind, at_ms) in
        [(Kind::FlagBurst, 0), (Kind::FlagBurst, hour - 1), (Kind::FlagReaching, 5), (Kind::FlagBurst, hour)]
    {
        keeper.flag(AuditRow { at_ms, ..row(&keeper, kind) });
    }
    keeper.close(Duration::from_secs(5)).await;
    assert_eq!(store.kinds(), ["flag.burst", "flag.reaching", "flag.burst"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_purged_every_hour_if_at_all() {
    let (kept, purged) = (Faulty::away(0), Faulty::away(0));
    let _for_good = keeper(&kept, 0);
    let _for_a_while = keeper(&purged, 400);
    let twice = async {
        while purged.purges.lock().unwrap().len() < 2 {
            purged.changed.notified().await;
        }
    };
    timeout(PURGE_INTERVAL * 3, twice).await.unwrap();
    assert_eq!(purged.purges.lock().unwrap()[0], (1_790_000_000_000 - 400 * DAY_MS, 1_790_000_000_000));
    assert!(kept.purges.lock().unwrap().is_empty());
}

#[test]
fn details_are_bounded_and_fit_for_databases() {
    assert_eq!(bounded("a\0b".to_owned()), "a b");
    let long = bounded("ü".repeat(1_000));
    assert!(long.len() <= 512 && long.chars().all(|character| character == 'ü'), "{}", long.len());
}

/// What an alert is raised by.
#[tokio::test(start_paused = true)]
async fn what_failed_and_what_is_lost_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let numbers = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let count = |name: &str| {
        let text = numbers.render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
        line.trim().parse::<u32>().unwrap()
    };
    let store = Faulty::away(3);
    let keeper = keeper(&store, 0);
    keeper.keep_now(row(&keeper, Kind::RefreshTheft)).await;
    store.holds(1).await;
    assert_eq!((count("rejoin_audit_failures_total"), count("rejoin_audit_lost_total")), (3, 0));
    // Nothing is taken any more.
    keeper.close(Duration::from_secs(5)).await;
    keeper.keep_soon(event(Kind::DeviceRevoked));
    assert_eq!(count("rejoin_audit_lost_total"), 1);
}
