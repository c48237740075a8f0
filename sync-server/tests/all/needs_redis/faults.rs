//! Redis killed, flushed, hung, cut off: that costs time, and nothing else.

use super::nodes::{Nodes, Traffic};
use super::server::RedisServer;

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
        traffic.flows(3).await;
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
