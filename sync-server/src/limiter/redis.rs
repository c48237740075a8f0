//! The limiter of several nodes: Redis counts, in one atomic script by its own clock. While it is away, each node lets its
//! share pass.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use tokio::time::{sleep, timeout};

use super::memory::MemoryLimiter;
use super::{Decision, Limiter, Quota, Refused, Usage};

/// A Redis that takes longer is taken for dead: no request waits for it longer than this, and only those under way when it
/// dies wait at all.
const ANSWER_MAX: Duration = Duration::from_millis(200);
/// Between two tries to reach one that is away.
const PAUSE: Duration = Duration::from_millis(500);

const SCRIPT: &str = include_str!("redis/count.lua");

/// Where Redis is, and how it is shared.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// Its URL.
    pub url: String,
    /// What the names of all keys begin with. In a cluster it must hold a hash tag, such as `{rejoin}`: one script counts
    /// in all keys of a request.
    pub prefix: String,
}

/// One node's limiter on a shared Redis.
pub struct RedisLimiter {
    shared: Arc<Shared>,
    script: Script,
    prefix: String,
    nodes: Arc<AtomicU32>,
    share: MemoryLimiter,
    refused: Refused<String, ()>,
}

struct Shared {
    client: Client,
    link: Mutex<Link>,
}

/// The connection, numbered so that a late failure of an old one is not taken for one of its successor.
struct Link {
    connection: Option<MultiplexedConnection>,
    number: u64,
}

impl RedisLimiter {
    /// Tries to reach Redis once, and goes on without it where that fails: it is tried again until it is there. `nodes` says
    /// among how many the limits are shared meanwhile, and may change at any time. Needs a tokio runtime.
    pub async fn open(options: &RedisOptions, nodes: Arc<AtomicU32>) -> Result<Self, RedisError> {
        let client = Client::open(options.url.as_str())?;
        let link = Mutex::new(Link { connection: None, number: 0 });
        let shared = Arc::new(Shared { client, link });
        if let Err(error) = shared.connect().await {
            shared.away(&error);
        }
        Ok(Self {
            shared,
            script: Script::new(SCRIPT),
            prefix: format!("{}:limit:", options.prefix),
            nodes,
            share: MemoryLimiter::default(),
            refused: Refused::default(),
        })
    }

    /// Whether Redis counts now.
    pub fn is_shared(&self) -> bool {
        self.shared.link().connection.is_some()
    }

    async fn count(&self, connection: &mut MultiplexedConnection, quotas: &[Quota]) -> Result<Decision, RedisError> {
        let mut call = self.script.prepare_invoke();
        for quota in quotas {
            call.key(format!("{}{}", self.prefix, quota.name()));
            call.arg(quota.requests).arg(quota.window.as_micros() as u64);
        }
        let answer: Vec<i64> = timeout(ANSWER_MAX, call.invoke_async(connection)).await.map_err(|_| too_late())??;
        let [allowed, usage @ ..] = &answer[..] else { return Err(nonsense()) };
        let usage = usage.as_chunks::<2>().0;
        if usage.len() != quotas.len() {
            return Err(nonsense());
        }
        let usage = quotas.iter().zip(usage).map(|(quota, [remaining, frees_us])| {
            let frees_in = Duration::from_micros(u64::try_from(*frees_us).unwrap_or(0));
            Usage { remaining: u32::try_from(*remaining).unwrap_or(0), ..quota.used_up(frees_in) }
        });
        Ok(Decision { allowed: *allowed == 1, usage: usage.collect() })
    }

    /// What this node lets pass alone.
    fn share_of(&self, quotas: &[Quota]) -> Vec<Quota> {
        let nodes = self.nodes.load(Ordering::Relaxed).max(1);
        quotas.iter().map(|quota| Quota { requests: (quota.requests / nodes).max(1), ..quota.clone() }).collect()
    }
}

fn too_late() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}

fn nonsense() -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, "the script answered something else"))
}

impl Shared {
    fn link(&self) -> MutexGuard<'_, Link> {
        // Nothing under this lock can panic half-way.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<(), RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_MAX))
            .set_response_timeout(Some(ANSWER_MAX));
        let opening = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            // One that is loading its data answers, but not to this.
            redis::cmd("PING").exec_async(&mut connection).await?;
            Ok::<_, RedisError>(connection)
        };
        // A server that accepts and says nothing must not hold this up at the handshake either.
        let connection = timeout(2 * ANSWER_MAX, opening).await.map_err(|_| too_late())??;
        let mut link = self.link();
        link.connection = Some(connection);
        link.number += 1;
        Ok(())
    }

    /// That connection failed. Whoever says so first sees to it that another is made.
    fn lost(self: &Arc<Self>, number: u64, error: &RedisError) {
        let mut link = self.link();
        if link.number == number && link.connection.take().is_some() {
            drop(link);
            self.away(error);
        }
    }

    fn away(self: &Arc<Self>, error: &RedisError) {
        tracing::warn!(%error, "Redis is away: this node lets its share of the limits pass");
        tokio::spawn(reconnect(Arc::downgrade(self)));
    }
}

async fn reconnect(shared: Weak<Shared>) {
    loop {
        sleep(PAUSE).await;
        let Some(shared) = shared.upgrade() else { return };
        match shared.connect().await {
            Ok(()) => return tracing::info!("Redis is back: it counts for the limits again"),
            Err(error) => tracing::debug!(%error, "Redis is still away"),
        }
    }
}

#[async_trait]
impl Limiter for RedisLimiter {
    async fn ask(&self, quotas: &[Quota]) -> Decision {
        if quotas.is_empty() {
            return Decision { allowed: true, usage: Vec::new() };
        }
        if let Some(decision) = self.refused(quotas) {
            return decision;
        }
        let (connection, number) = {
            let link = self.shared.link();
            (link.connection.clone(), link.number)
        };
        let Some(mut connection) = connection else { return self.share.ask(&self.share_of(quotas)).await };
        match self.count(&mut connection, quotas).await {
            Ok(decision) => {
                if !decision.allowed {
                    let now = Instant::now();
                    for (quota, usage) in quotas.iter().zip(&decision.usage).filter(|(_, usage)| usage.remaining == 0) {
                        self.refused.add(quota.name(), now + usage.frees_in, (), now);
                    }
                }
                decision
            }
            Err(error) => {
                self.shared.lost(number, &error);
                self.share.ask(&self.share_of(quotas)).await
            }
        }
    }

    fn refused(&self, quotas: &[Quota]) -> Option<Decision> {
        if !self.is_shared() {
            return self.share.refused(&self.share_of(quotas));
        }
        let now = Instant::now();
        let used_up = quotas.iter().filter_map(|quota| {
            let (left, ()) = self.refused.get(quota.name().as_str(), now)?;
            Some(quota.used_up(left))
        });
        let usage: Vec<Usage> = used_up.collect();
        (!usage.is_empty()).then_some(Decision { allowed: false, usage })
    }
}

#[cfg(test)]
mod needs_redis;
