//! Two nodes on one store with Redis between them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sync_core::id::SpaceId;
use sync_core::log::Cursor;
use sync_server::bus::Bus;
use sync_server::bus::redis::RedisBus;
use sync_server::{Config, config};
use tokio::time::timeout;

use super::server::{RedisServer, until};
use crate::link::{Link, chained};
use crate::world::{Phone, World, typing};

/// So long that what arrives did not arrive by it.
const HEARTBEAT_MS: u64 = 60_000;
/// Far less than that, far more than any message takes.
const SOON: Duration = Duration::from_secs(5);

pub struct Nodes {
    pub one: World,
    pub other: World,
    pub buses: [Arc<RedisBus>; 2],
}

impl Nodes {
    /// Connected with each other.
    pub async fn over(redis: &config::Redis) -> Self {
        Self::each_over([redis, redis]).await
    }

    /// Each in its own way.
    pub async fn each_over(redis: [&config::Redis; 2]) -> Self {
        let mut config = Config::default();
        config.live.heartbeat_ms = HEARTBEAT_MS;
        let buses = redis.map(|redis| Arc::new(RedisBus::open(redis.url.as_ref().unwrap(), redis).unwrap()));
        let [here, there] = buses.clone();
        let one = World::on(|server| server.config(config.clone()).bus(here)).await;
        let store = Arc::clone(one.server.store());
        let other = World::beside(&one, |server| server.store(store).config(config).bus(there)).await;
        let nodes = Self { one, other, buses };
        nodes.up().await;
        nodes
    }

    pub async fn up(&self) {
        until("both nodes are connected", || self.buses.iter().all(|bus| bus.is_up())).await;
    }

    pub async fn down(&self) {
        until("both nodes know that Redis is away", || !self.buses.iter().any(|bus| bus.is_up())).await;
    }

    /// Both end in good order.
    pub async fn stop(mut self) {
        self.one.stop();
        self.other.stop();
        tokio::join!(self.one.stopped(), self.other.stopped());
    }

    pub async fn counted(&self, nodes: u32) {
        until("nodes are counted", || self.buses.iter().all(|bus| bus.nodes().load(Ordering::Relaxed) == nodes)).await;
    }
}

/// Writes on one node and reads on the other.
pub struct Traffic {
    space: SpaceId,
    phone: Phone,
    writer: Link,
    reader: Link,
    at: Cursor,
}

impl Traffic {
    pub async fn between(nodes: &Nodes) -> Self {
        let (phone, tablet) = (nodes.one.phone("ann"), nodes.other.phone("ann"));
        let (writer, mut reader) = (phone.link().await, tablet.link().await);
        let space = phone.space;
        let at = reader.follow(space, None).await.next;
        Self { space, phone, writer, reader, at }
    }

    /// Writes something that is not waited for.
    pub async fn write(&mut self) -> u64 {
        let items = typing(self.phone.device, 1);
        let run = self.phone.run(items);
        let (push, _) = self.writer.push(self.space, run).await;
        push.acked().n
    }

    /// Everything up to there arrives soon: without a hole, and nothing twice.
    pub async fn arrives(&mut self, seq: u64) {
        while self.at.seq < seq {
            let page = timeout(SOON, self.reader.page(self.space)).await.expect("long before a heartbeat");
            self.at = chained(self.at, &page);
        }
        assert_eq!(self.at.seq, seq, "and no more");
    }

    /// One after the other.
    pub async fn flows(&mut self, times: u32) {
        for _ in 0..times {
            let seq = self.write().await;
            self.arrives(seq).await;
        }
    }
}

#[tokio::test]
async fn the_url_alone_connects_nodes() {
    let redis = RedisServer::start().await;
    let mut config = Config { redis: redis.config(), ..Config::default() };
    config.live.heartbeat_ms = HEARTBEAT_MS;
    let one = World::with(config.clone()).await;
    let store = Arc::clone(one.server.store());
    let other = World::beside(&one, |server| server.store(store).config(config)).await;
    let (mut ann, tablet) = (one.phone("ann"), other.phone("ann"));
    let (mut writer, mut reader) = (ann.link().await, tablet.link().await);
    let mut at = reader.follow(ann.space, None).await.next;
    for _ in 0..10 {
        let items = typing(ann.device, 1);
        let run = ann.run(items);
        writer.push(ann.space, run).await;
        let page = timeout(SOON, reader.page(ann.space)).await.expect("long before a heartbeat");
        at = chained(at, &page);
    }
}

#[tokio::test]
async fn nodes_are_counted_and_what_they_say_flows() {
    let redis = RedisServer::start().await;
    let nodes = Nodes::over(&redis.config()).await;
    nodes.counted(2).await;
    let mut traffic = Traffic::between(&nodes).await;
    traffic.flows(50).await;
}

#[tokio::test]
async fn what_a_node_said_last_is_heard_though_it_ends() {
    let redis = RedisServer::start().await;
    let nodes = Nodes::over(&redis.config()).await;
    let mut traffic = Traffic::between(&nodes).await;
    traffic.flows(1).await;
    let last = traffic.write().await;
    let mut ending = nodes.one;
    ending.stop();
    traffic.arrives(last).await;
    ending.stopped().await;
    assert!(!nodes.buses[0].is_up() && nodes.buses[1].is_up());
}
