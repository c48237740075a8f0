//! The bus between nodes, over Redis: whoever follows a space subscribes to its channel.
//!
//! `publish` never waits: it puts the message into a bounded queue, from which one task sends what has come together. The
//! same task keeps the subscriptions, and makes both connections anew when either fails or a knock on the node's own channel
//! is not heard in time. What is lost meanwhile is in the database, and everybody is told to look there.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use redis::{Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion};
use sync_core::id::SpaceId;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{Bus, BusMessage, Listener};
use crate::config;
use names::Names;
use packet::{NodeId, pack};
use queue::{Packet, Queue};
use seldom::Seldom;
use spaces::Spaces;

mod census;
mod ear;
mod names;
mod packet;
mod queue;
mod seldom;
mod session;
mod spaces;

pub use session::announce;

/// What was published last may take so long to leave when the node ends.
const FLUSH_MAX: Duration = Duration::from_millis(500);
/// Messages that are passed over, and tries that fail, are logged so often: each of them would fill the disk.
const LOG_PERIOD: Duration = Duration::from_mins(1);

/// `redis.url` is not a URL of Redis. Says nothing of what it is instead, since that may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("redis.url is not a URL such as redis://:password@host:6379/0, or rediss:// for TLS")]
pub struct UrlError;

/// Why a message could not be announced.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The URL is at fault.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Redis is, or the way to it.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The message cannot be written.
    #[error("the message cannot be written")]
    Message,
}

/// One node's end of the bus.
pub struct RedisBus {
    shared: Arc<Shared>,
    holding: AbortHandle,
}

/// What the node and its task share.
struct Shared {
    node: NodeId,
    names: Names,
    client: Client,
    listener: OnceLock<Weak<dyn Listener>>,
    spaces: Spaces,
    queue: Queue,
    /// Something was published that others did not get.
    has_dropped: AtomicBool,
    is_up: AtomicBool,
    nodes: Arc<AtomicU32>,
    nodes_min: u32,
    passed_over: Seldom,
    failures: Seldom,
}

impl RedisBus {
    /// Begins to connect. Where Redis cannot be reached, it is tried again until it can. Needs a runtime.
    pub fn open(url: &config::Secret, config: &config::Redis) -> Result<Self, UrlError> {
        let nodes_min = config.nodes.max(1);
        let shared = Arc::new(Shared {
            node: NodeId::random(),
            names: Names::new(&config.prefix),
            client: client(url)?,
            listener: OnceLock::new(),
            spaces: Spaces::default(),
            queue: Queue::default(),
            has_dropped: AtomicBool::new(false),
            is_up: AtomicBool::new(false),
            nodes: Arc::new(AtomicU32::new(nodes_min)),
            nodes_min,
            passed_over: Seldom::new(LOG_PERIOD),
            failures: Seldom::new(LOG_PERIOD),
        });
        let holding = tokio::spawn(session::hold(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, holding })
    }

    /// How many nodes there are, kept up to date. While Redis is away it is what was known last; it is never less than
    /// `redis.nodes`. A node that has ended is counted for ten seconds more.
    pub fn nodes(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.shared.nodes)
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").field("is_up", &self.is_up()).finish_non_exhaustive()
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.holding.abort();
    }
}

impl Shared {
    fn listener(&self) -> Option<Arc<dyn Listener>> {
        self.listener.get()?.upgrade()
    }

    /// Messages of that space, or of any, may have been lost.
    fn lost(&self, space: Option<SpaceId>) {
        if let Some(listener) = self.listener() {
            listener.lost(space);
        }
    }

    /// A message of a space, if anybody wants it.
    fn hear(&self, message: BusMessage) {
        if self.spaces.wants(message.space())
            && let Some(listener) = self.listener()
        {
            listener.hear(message);
        }
    }
}

#[async_trait]
impl Bus for RedisBus {
    fn listen(&self, listener: Weak<dyn Listener>) {
        // Called once.
        let _ = self.shared.listener.set(listener);
    }

    fn join(&self, space: SpaceId) {
        self.shared.spaces.join(space);
    }

    fn leave(&self, space: SpaceId) {
        self.shared.spaces.leave(space);
    }

    fn publish(&self, message: BusMessage) {
        let shared = &self.shared;
        let space = message.space();
        let payload = pack(shared.node, &message);
        shared.hear(message);
        if !payload.is_some_and(|payload| shared.queue.push(Packet { space, payload })) {
            shared.has_dropped.store(true, Ordering::Relaxed);
        }
    }

    fn is_up(&self) -> bool {
        self.shared.is_up.load(Ordering::Acquire)
    }

    async fn close(&self) {
        // Where it does not leave in time, others find it in the database.
        let _ = timeout(FLUSH_MAX, self.shared.queue.drained()).await;
        self.holding.abort();
        self.shared.queue.shut();
        self.shared.is_up.store(false, Ordering::Release);
    }
}

/// A client of that Redis. It has not connected yet.
fn client(url: &config::Secret) -> Result<Client, UrlError> {
    // The library's own errors may quote the URL.
    let info = url.expose().into_connection_info().map_err(|_| UrlError)?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        provide_tls();
    }
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_redis_settings(settings).set_tcp_settings(tcp)).map_err(|_| UrlError)
}

/// The library takes the process's provider of cryptography, and panics where there is none.
fn provide_tls() {
    use rustls::crypto::{CryptoProvider, aws_lc_rs};
    if CryptoProvider::get_default().is_none() {
        // Whoever was faster has installed one.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str) -> Result<RedisBus, UrlError> {
        RedisBus::open(&url.to_owned().into(), &config::Redis::default())
    }

    #[tokio::test]
    async fn a_wrong_url_is_refused_without_being_shown() {
        for wrong in
            ["", "redis", "http://:hidden@localhost", "redis://:hidden@localhost/many", "redis://:hidden@h:99999"]
        {
            let error = open(wrong).unwrap_err();
            assert!(!error.to_string().contains("hidden") && !format!("{error:?}").contains("hidden"));
        }
        let bus = open("rediss://:hidden@localhost:1/0").unwrap();
        assert!(!format!("{bus:?}").contains("hidden"));
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }

    #[tokio::test]
    async fn without_redis_it_says_so_and_waits_for_nothing() {
        let bus = open("redis://127.0.0.1:1").unwrap();
        let space = SpaceId::from_bytes([1; 16]);
        bus.join(space);
        bus.publish(BusMessage::Access(super::super::Access { space, user: "ann".to_owned() }));
        assert!(!bus.is_up());
        assert_eq!(bus.nodes().load(Ordering::Relaxed), 1);
        bus.close().await;
    }
}
