//! A pair of connections, one that subscribes and one that publishes, for as long as both work; then the next pair.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, RedisResult};
use sync_core::session::Backoff;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::census::Census;
use super::ear::Ear;
use super::names::Names;
use super::packet::{NodeId, pack};
use super::spaces::Orders;
use super::{AnnounceError, BusMessage, Shared, client};
use crate::config;
use crate::random;

/// Opening a connection, with TLS and a password.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// An answer of Redis to a batch.
const RESPONSE_MAX: Duration = Duration::from_secs(3);
/// How often a node knocks on its own channel, and how long it may not hear that: a socket whose other side is gone without
/// a word is found by it, and so are two servers behind one name.
const KNOCK_PERIOD: Duration = Duration::from_secs(1);
const KNOCK_MAX: Duration = Duration::from_secs(3);
/// The first try after a failure comes soon, since most are restarts; later ones do not add to the load of a server that is
/// coming up.
const BACKOFF_BASE_MS: u64 = 50;
const BACKOFF_CAP_MS: u64 = 2_000;
/// Connections that held for so long did not fail because of what the node does.
const STEADY: Duration = Duration::from_secs(10);

/// Why a pair of connections ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("the connection was closed")]
    Gone,
    #[error("nothing was heard for {KNOCK_MAX:?}")]
    Silent,
}

/// Keeps the node connected. Never ends.
pub(super) async fn hold(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(BACKOFF_BASE_MS, BACKOFF_CAP_MS);
    loop {
        let began = Instant::now();
        let ended = converse(&shared).await;
        shared.queue.shut();
        // Some of what was in the queue or under way.
        shared.has_dropped.store(true, Ordering::Relaxed);
        if shared.is_up.swap(false, Ordering::AcqRel) {
            tracing::warn!(cause = %ended, "Redis is lost: other nodes' commits are looked up in the database until it is back");
            shared.lost(None);
        } else if let Some(times) = shared.failures.happened(Instant::now()) {
            tracing::warn!(cause = %ended, times, "Redis cannot be reached: it is tried again");
        }
        if began.elapsed() > STEADY {
            backoff.reset();
        }
        sleep(Duration::from_millis(backoff.next(None, &mut random::number))).await;
    }
}

async fn converse(shared: &Arc<Shared>) -> Ended {
    let ear = Arc::new(Ear::new(shared));
    let knocks = ear.knocks.subscribe();
    let (mut subscriber, publisher) = match connect(shared, &ear).await {
        Ok(connections) => connections,
        Err(error) => return error.into(),
    };
    // One after the other, so that the knock is heard only when all else is.
    if let Err(error) = subscribe_to_all(shared, &mut subscriber).await {
        return error.into();
    }
    shared.queue.open();
    tokio::select! {
        error = subscribe(shared, subscriber) => error.into(),
        error = publish(shared, publisher.clone()) => error.into(),
        error = knock(shared, publisher) => error.into(),
        ended = watch(shared, knocks) => ended,
        () = ear.gone.notified() => Ended::Gone,
    }
}

fn timeouts() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_MAX)).set_response_timeout(Some(RESPONSE_MAX))
}

async fn connect(shared: &Shared, ear: &Arc<Ear>) -> RedisResult<(MultiplexedConnection, MultiplexedConnection)> {
    let open = async || {
        let ear = Arc::clone(ear);
        let hear = move |push| {
            ear.hear(push);
            Ok::<_, redis::aio::SendError>(())
        };
        shared.client.get_multiplexed_async_connection_with_config(&timeouts().set_push_sender(hear)).await
    };
    tokio::try_join!(open(), open())
}

async fn subscribe_to_all(shared: &Shared, subscriber: &mut MultiplexedConnection) -> RedisResult<()> {
    subscriber.subscribe(&[shared.names.node(shared.node), shared.names.lost.clone()]).await?;
    shared.spaces.begin();
    while let Some(orders) = shared.spaces.orders() {
        obey(shared, subscriber, &orders).await?;
    }
    Ok(())
}

/// Subscribes to what is wanted and no more. Ends with a failure only.
async fn subscribe(shared: &Shared, mut subscriber: MultiplexedConnection) -> RedisError {
    loop {
        let orders = shared.spaces.next_orders().await;
        if let Err(error) = obey(shared, &mut subscriber, &orders).await {
            return error;
        }
        // What was published before that was not heard.
        orders.subscribe.iter().for_each(|space| shared.lost(Some(*space)));
    }
}

async fn obey(shared: &Shared, subscriber: &mut MultiplexedConnection, orders: &Orders) -> RedisResult<()> {
    let names = |spaces: &[_]| spaces.iter().map(|space| shared.names.space(*space)).collect::<Vec<_>>();
    if !orders.subscribe.is_empty() {
        subscriber.subscribe(names(&orders.subscribe)).await?;
    }
    if !orders.unsubscribe.is_empty() {
        subscriber.unsubscribe(names(&orders.unsubscribe)).await?;
    }
    Ok(())
}

/// Sends what waits, whatever has come together at once. Ends with a failure only.
async fn publish(shared: &Shared, mut publisher: MultiplexedConnection) -> RedisError {
    loop {
        let packets = shared.queue.take().await;
        let mut pipe = redis::pipe();
        for packet in packets {
            pipe.cmd("PUBLISH").arg(shared.names.space(packet.space)).arg(packet.payload).ignore();
        }
        if let Err(error) = pipe.query_async::<()>(&mut publisher).await {
            return error;
        }
        shared.queue.sent();
    }
}

/// Knocks, tells others where they have to look, and counts the nodes. Ends with a failure only.
async fn knock(shared: &Shared, mut publisher: MultiplexedConnection) -> RedisError {
    let (own, census) = (shared.names.node(shared.node), Census::new());
    let mut ticks = interval(KNOCK_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut pipe = redis::pipe();
        pipe.cmd("PUBLISH").arg(&own).arg(shared.node.bytes()).ignore();
        if shared.has_dropped.swap(false, Ordering::Relaxed) {
            pipe.cmd("PUBLISH").arg(&shared.names.lost).arg(shared.node.bytes()).ignore();
        }
        if let Err(error) = pipe.query_async::<()>(&mut publisher).await {
            return error;
        }
        match census.take(shared, &mut publisher).await {
            Ok(nodes) => shared.nodes.store(nodes.max(shared.nodes_min), Ordering::Relaxed),
            Err(error) if error.is_unrecoverable_error() || error.is_timeout() => return error,
            // The bus works without: scripts may be forbidden.
            Err(error) => {
                if let Some(times) = shared.failures.happened(Instant::now()) {
                    tracing::warn!(%error, times, "the nodes cannot be counted");
                }
            }
        }
    }
}

/// Listens for the knocks. Ends when one does not come.
async fn watch(shared: &Shared, mut knocks: watch::Receiver<u64>) -> Ended {
    while let Ok(Ok(())) = timeout(KNOCK_MAX, knocks.changed()).await {
        if !shared.is_up.swap(true, Ordering::AcqRel) {
            tracing::info!("Redis connects this node with the others");
            shared.lost(None);
        }
    }
    Ended::Silent
}

/// Tells all nodes something, from outside of any.
pub async fn announce(url: &config::Secret, config: &config::Redis, message: &BusMessage) -> Result<(), AnnounceError> {
    let payload = pack(NodeId::random(), message).ok_or(AnnounceError::Message)?;
    let mut publisher = client(url)?.get_multiplexed_async_connection_with_config(&timeouts()).await?;
    let channel = Names::new(&config.prefix).space(message.space());
    Ok(redis::cmd("PUBLISH").arg(channel).arg(payload).query_async(&mut publisher).await?)
}
