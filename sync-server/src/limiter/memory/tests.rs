//! The limiter in memory conforms, in virtual time; it forgets what is idle, and never grows past its bound.

use std::sync::Mutex;

use super::super::conformance::{self, Time};
use super::*;

/// A clock that goes as it is told.
#[derive(Clone, Default)]
struct Virtual(Arc<Mutex<Duration>>);

#[async_trait]
impl Time for Virtual {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    async fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

fn limiter() -> (MemoryLimiter, Virtual) {
    let time = Virtual::default();
    let clock = time.clone();
    (MemoryLimiter::new(Arc::new(move || clock.now())), time)
}

fn quota(key: &str, requests: u32) -> Quota {
    Quota { rule: "user".into(), key: key.to_owned(), requests, window: Duration::from_mins(1) }
}

#[tokio::test]
async fn conforms() {
    let (limiter, time) = limiter();
    conformance::all(&limiter, &time, Duration::from_mins(1)).await;
}

#[tokio::test]
async fn bursts_at_the_edges_of_windows_gain_nothing() {
    let (limiter, time) = limiter();
    let (allowed, fixed) = conformance::bursts_at_edges(&limiter, &time, Duration::from_mins(1)).await;
    assert_eq!((allowed, fixed), (11, 20), "a counter per fixed window lets twice the limit through");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_at_once_get_the_limit_exactly() {
    let limiter: Arc<dyn Limiter> = Arc::new(MemoryLimiter::default());
    conformance::many_at_once(&[limiter], 100).await;
}

#[tokio::test]
async fn idle_keys_are_forgotten() {
    let (limiter, time) = limiter();
    for at in 0..1_000 {
        limiter.ask(&[quota(&at.to_string(), 5)]).await;
    }
    time.pass(Duration::from_mins(1)).await;
    for at in 0..300 {
        limiter.ask(&[quota(&format!("new {at}"), 5)]).await;
    }
    assert_eq!(limiter.rooms()["user"].buckets.len(), 300);
}

#[tokio::test]
async fn without_room_newcomers_share_one_count_and_the_known_keep_theirs() {
    let (mut limiter, time) = limiter();
    limiter.keys_max = 2;
    for key in ["a", "b"] {
        assert!(limiter.ask(&[quota(key, 3)]).await.allowed);
    }
    let mut allowed = 0;
    for at in 0..10 {
        allowed += u32::from(limiter.ask(&[quota(&at.to_string(), 3)]).await.allowed);
    }
    assert_eq!(allowed, 3, "ten strangers are not unlimited");
    assert!(limiter.refused(&[quota("stranger", 3)]).is_some());
    assert!(limiter.refused(&[quota("a", 3)]).is_none());
    assert_eq!(limiter.ask(&[quota("a", 3)]).await.usage[0].remaining, 1);
    assert_eq!(limiter.rooms()["user"].buckets.len(), 2);
    time.pass(Duration::from_mins(1)).await;
    assert_eq!(limiter.ask(&[quota("c", 3)]).await.usage[0].remaining, 2, "there is room again");
}
