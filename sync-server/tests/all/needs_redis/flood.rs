//! More than Redis takes.

use std::fs;
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use sync_core::id::{DeviceId, SpaceId};
use sync_server::bus::{Bus, BusMessage, Presence};

use super::nodes::{Nodes, Traffic};
use super::server::RedisServer;

/// 200 MB in all.
const MESSAGES: u32 = 50_000;
const MESSAGE_BYTES: usize = 4 << 10;
/// The queue, what is being sent, and what the allocator does not give back.
const MEMORY_MAX: usize = 64 << 20;

/// What this process has in memory.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_floods_a_redis_that_hangs_neither_waits_nor_fills_the_memory() {
    let redis = RedisServer::start().await;
    let nodes = Nodes::over(&redis.config()).await;
    let mut traffic = Traffic::between(&nodes).await;
    redis.signal("STOP");
    let (before, began) = (memory(), Instant::now());
    for _ in 0..MESSAGES {
        let (space, user, device) = (SpaceId::from_bytes([3; 16]), "ann".to_owned(), DeviceId::from_bytes([1; 16]));
        let data = Some(ByteBuf::from(vec![7; MESSAGE_BYTES]));
        nodes.buses[0].publish(BusMessage::Presence(Presence { space, session: 1, user, device, data, ttl_ms: 1_000 }));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let grown = memory().saturating_sub(before);
    assert!(grown < MEMORY_MAX, "{grown} bytes");
    redis.signal("CONT");
    nodes.up().await;
    traffic.flows(5).await;
    drop(traffic);
    nodes.stop().await;
}
