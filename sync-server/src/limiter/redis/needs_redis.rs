//! The limiter on a real Redis: `REDIS_URL` where it is set, else a `redis-server` of the test's own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;

use super::super::conformance::{self, Time};
use super::*;

/// Long enough for the steps in between on a busy machine, short enough to wait for.
const WINDOW: Duration = Duration::from_millis(400);
/// Longer than any wait here takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// A Redis that can be killed.
struct Local {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Local {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        Self { child: Self::run(port, &folder), port, folder }
    }

    fn run(port: u16, folder: &TempDir) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
        let started = command.arg(folder.path()).stdout(Stdio::null()).spawn();
        started.unwrap_or_else(|error| panic!("set REDIS_URL, or install redis-server ({error})"))
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = Self::run(self.port, &self.folder);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Real(Instant);

#[async_trait]
impl Time for Real {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn pass(&self, time: Duration) {
        // The timer's ticks are milliseconds; a Redis on this machine goes by the same clock.
        sleep(time + Duration::from_millis(1)).await;
    }
}

/// Where the tests find a Redis, and the server where it is their own.
fn place() -> (String, Option<Local>) {
    if let Ok(url) = std::env::var("REDIS_URL") {
        return (url, None);
    }
    let local = Local::start();
    (local.url(), Some(local))
}

/// A prefix that nobody else has.
fn prefix() -> String {
    static RUN: LazyLock<u64> = LazyLock::new(|| {
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        u64::from_be_bytes(random)
    });
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{:016x}-{}", *RUN, NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn open(url: &str, prefix: &str, nodes: u32) -> RedisLimiter {
    let options = RedisOptions { url: url.to_owned(), prefix: prefix.to_owned() };
    let limiter = RedisLimiter::open(&options, Arc::new(AtomicU32::new(nodes))).await.unwrap();
    shared(&limiter, true).await;
    limiter
}

/// Waits until it counts in Redis, or does not.
async fn shared(limiter: &RedisLimiter, wanted: bool) {
    let waiting = async {
        while limiter.is_shared() != wanted {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("Redis is not {wanted} in time"));
}

fn quota(key: &str, requests: u32, window: Duration) -> Quota {
    Quota { rule: "test".into(), key: key.to_owned(), requests, window }
}

async fn allowed(limiter: &RedisLimiter, quota: &Quota, attempts: u32) -> u32 {
    let mut allowed = 0;
    for _ in 0..attempts {
        allowed += u32::from(limiter.ask(std::slice::from_ref(quota)).await.allowed);
    }
    allowed
}

#[tokio::test]
async fn conforms() {
    let (url, _local) = place();
    let limiter = open(&url, &prefix(), 1).await;
    conformance::all(&limiter, &Real(Instant::now()), WINDOW).await;
    assert!(limiter.is_shared(), "it was Redis that counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_nodes_let_exactly_a_hundred_through() {
    let (url, _local) = place();
    let prefix = prefix();
    let mut nodes = Vec::new();
    for _ in 0..10 {
        nodes.push(Arc::new(open(&url, &prefix, 10).await));
    }
    let limiters: Vec<Arc<dyn Limiter>> = nodes.iter().map(|node| Arc::clone(node) as Arc<dyn Limiter>).collect();
    for _ in 0..5 {
        conformance::many_at_once(&limiters, 100).await;
    }
    assert!(nodes.iter().all(|node| node.is_shared()), "it was Redis that counted");
}

#[tokio::test]
async fn a_key_that_was_refused_costs_redis_nothing() {
    let (url, _local) = place();
    let prefix = prefix();
    let (one, other) = (open(&url, &prefix, 2).await, open(&url, &prefix, 2).await);
    let quota = quota("flood", 1, Duration::from_mins(10));
    assert_eq!(allowed(&one, &quota, 2).await, 1);
    assert!(one.refused(std::slice::from_ref(&quota)).is_some());
    assert!(other.refused(std::slice::from_ref(&quota)).is_none(), "this node has not been told yet");
    // Redis forgets; this node does not ask it.
    let mut connection = one.shared.link().connection.clone().unwrap();
    let key = format!("{}{}", one.prefix, quota.name());
    redis::cmd("DEL").arg(&key).exec_async(&mut connection).await.unwrap();
    assert_eq!(allowed(&one, &quota, 100).await, 0);
    let exists: bool = redis::cmd("EXISTS").arg(&key).query_async(&mut connection).await.unwrap();
    assert!(!exists);
}

#[tokio::test]
async fn a_clock_that_was_set_back_neither_frees_places_nor_keeps_them_for_ever() {
    let (url, _local) = place();
    let limiter = open(&url, &prefix(), 1).await;
    let quota = quota("clock", 5, WINDOW);
    let mut connection = limiter.shared.link().connection.clone().unwrap();
    let key = format!("{}{}", limiter.prefix, quota.name());
    // As a clock that was two hours ahead left them.
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await.unwrap();
    let ahead = (seconds + 7_200) * 1_000_000;
    redis::cmd("RPUSH").arg(&key).arg(&[ahead, ahead + 1, ahead + 2]).exec_async(&mut connection).await.unwrap();
    let first = limiter.ask(std::slice::from_ref(&quota)).await;
    assert_eq!((first.allowed, first.usage[0].remaining), (true, 1));
    assert!(first.usage[0].frees_in <= WINDOW);
    sleep(WINDOW + Duration::from_millis(1)).await;
    assert_eq!(limiter.ask(std::slice::from_ref(&quota)).await.usage[0].remaining, 4);
}

#[tokio::test]
async fn keys_go_with_their_window() {
    let (url, _local) = place();
    let limiter = open(&url, &prefix(), 1).await;
    let quota = quota("idle", 5, Duration::from_secs(7));
    assert_eq!(allowed(&limiter, &quota, 1).await, 1);
    let mut connection = limiter.shared.link().connection.clone().unwrap();
    let key = format!("{}{}", limiter.prefix, quota.name());
    let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
    assert!((1..=7_001).contains(&ttl), "{ttl}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_costs_nothing_and_each_node_enforces_its_share_until_it_is_back() {
    let mut local = Local::start();
    let prefix = prefix();
    let (one, other) = (open(&local.url(), &prefix, 4).await, open(&local.url(), &prefix, 4).await);
    let long = Duration::from_mins(10);
    for round in 0..3 {
        let exact = quota(&format!("before {round}"), 100, long);
        assert_eq!(allowed(&one, &exact, 60).await + allowed(&other, &exact, 60).await, 100);
        local.kill();
        // The first requests find out.
        let (away, lone) = (quota(&format!("away {round}"), 100, long), quota(&format!("lone {round}"), 3, long));
        for node in [&one, &other] {
            assert_eq!(allowed(node, &away, 60).await, 25, "a quarter of 100");
            shared(node, false).await;
            assert_eq!(allowed(node, &lone, 10).await, 1, "one at least");
        }
        let began = Instant::now();
        assert_eq!(allowed(&one, &away, 1_000).await, 0);
        assert!(began.elapsed() < ANSWER_MAX * 10, "a dead Redis is not waited for: {:?}", began.elapsed());
        one.nodes.store(2, Ordering::Relaxed);
        assert_eq!(allowed(&one, &away, 60).await, 25, "a node left: the share has grown to 50");
        one.nodes.store(4, Ordering::Relaxed);
        local.restart();
        for node in [&one, &other] {
            shared(node, true).await;
        }
    }
    let exact = quota("after", 100, long);
    assert_eq!(allowed(&one, &exact, 70).await + allowed(&other, &exact, 70).await, 100);
}

#[tokio::test]
async fn a_redis_that_accepts_and_says_nothing_is_taken_for_dead() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = RedisOptions { url: format!("redis://{}", silent.local_addr().unwrap()), prefix: prefix() };
    let limiter = RedisLimiter::open(&options, Arc::new(AtomicU32::new(10))).await.unwrap();
    assert!(!limiter.is_shared());
    assert_eq!(allowed(&limiter, &quota("silent", 100, WINDOW * 1_000), 50).await, 10);
    let wrong = RedisOptions { url: "postgres://here".to_owned(), ..options };
    assert!(RedisLimiter::open(&wrong, Arc::default()).await.is_err());
}
