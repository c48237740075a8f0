//! Redis killed, flushed, hung, cut off: that costs time, and nothing else.

use std::time::{Duration, Instant};

use sync_server::bus::Bus;
use sync_server::config;

use super::nodes::{Nodes, Traffic};
use super::server::{RedisServer, until};

/// While Redis is away a message between nodes takes a second at most; the rest is for a machine that is busy.
const DEAF_MAX: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn killed_under_traffic_nothing_is_lost_or_doubled() {
    let mut redis = RedisServer::start().await;
    let nodes = Nodes::over(&redis.config()).await;
    let mut traffic = Traffic::between(&nodes).await;
    for _ in 0..2 {
        traffic.flows(5).await;
        let begun = [traffic.write().await, traffic.write().await];
        redis.kill();
        let last = traffic.write().await;
        assert_eq!(last, begun[1] + 2);
        traffic.arrives(last).await;
        nodes.down().await;
        for _ in 0..3 {
            let began = Instant::now();
            traffic.flows(1).await;
            assert!(began.elapsed() < DEAF_MAX, "{:?}", began.elapsed());
        }
        redis.restart().await;
        let meanwhile = traffic.write().await;
        nodes.up().await;
        traffic.arrives(meanwhile).await;
        traffic.flows(10).await;
    }
}

#[tokio::test]
async fn flushed_or_with_all_its_connections_cut_it_is_back_by_itself() {
    let redis = RedisServer::start().await;
    let nodes = Nodes::over(&redis.config()).await;
    let mut traffic = Traffic::between(&nodes).await;
    let mut admin = redis.admin().await;
    redis::cmd("FLUSHALL").exec_async(&mut admin).await.unwrap();
    traffic.flows(5).await;
    nodes.counted(2).await;
    for kind in ["normal", "pubsub"] {
        for _ in 0..3 {
            let before = traffic.write().await;
            redis::cmd("CLIENT").arg(&["KILL", "TYPE", kind]).exec_async(&mut admin).await.unwrap();
            traffic.arrives(before).await;
            traffic.flows(2).await;
            nodes.up().await;
            traffic.flows(2).await;
        }
    }
}

#[tokio::test]
async fn what_one_node_could_not_say_the_other_looks_up_when_it_is_back() {
    let redis = RedisServer::start().await;
    let mut admin = redis.admin().await;
    let mut acl = async |arguments: &[&str]| {
        redis::cmd("ACL").arg("SETUSER").arg("one").arg(arguments).exec_async(&mut admin).await.unwrap();
    };
    acl(&["on", ">secret", "+@all", "~*", "&*"]).await;
    let other = redis.config();
    let url = redis.url().replace("redis://", "redis://one:secret@");
    let one = config::Redis { url: Some(url.into()), ..other.clone() };
    let nodes = Nodes::each_over([&one, &other]).await;
    let mut traffic = Traffic::between(&nodes).await;
    traffic.flows(3).await;
    // Its connections are closed, and it does not get in again.
    acl(&["off"]).await;
    redis::cmd("CLIENT").arg(&["KILL", "USER", "one"]).exec_async(&mut redis.admin().await).await.unwrap();
    until("the one is cut off", || !nodes.buses[0].is_up()).await;
    let unsaid = traffic.write().await;
    assert!(nodes.buses[1].is_up(), "the other notices nothing");
    acl(&["on"]).await;
    traffic.arrives(unsaid).await;
    nodes.up().await;
    traffic.flows(3).await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_found_out() {
    let redis = RedisServer::start().await;
    let nodes = Nodes::over(&redis.config()).await;
    let mut traffic = Traffic::between(&nodes).await;
    redis.signal("STOP");
    let unheard = traffic.write().await;
    nodes.down().await;
    traffic.arrives(unheard).await;
    traffic.flows(2).await;
    redis.signal("CONT");
    nodes.up().await;
    traffic.flows(10).await;
}

#[tokio::test]
async fn what_others_put_on_its_channels_is_passed_over() {
    let redis = RedisServer::start().await;
    let config = redis.config();
    let nodes = Nodes::over(&config).await;
    let mut traffic = Traffic::between(&nodes).await;
    let mut admin = redis.admin().await;
    let channels: Vec<String> = redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut admin).await.unwrap();
    assert_eq!(channels.len(), 5, "each node's own, two for both, and the space's: {channels:?}");
    assert!(channels.iter().all(|channel| channel.starts_with(&config.prefix)));
    // The last one is long enough to be from somebody, and begins as a message that holds four billion others.
    let hostile: [Vec<u8>; 4] =
        [vec![], vec![0xc1; 7], vec![0; 1 << 20], [vec![1; 16], vec![0xdd, 0xff, 0xff, 0xff, 0xff]].concat()];
    for channel in &channels {
        for packet in &hostile {
            redis::cmd("PUBLISH").arg(channel).arg(packet).exec_async(&mut admin).await.unwrap();
        }
    }
    traffic.flows(5).await;
    assert!(nodes.buses.iter().all(|bus| bus.is_up()));
}
