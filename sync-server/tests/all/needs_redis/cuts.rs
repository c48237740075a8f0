//! Who is cut off at one node is told of at the other, and not merely found in the database.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use sync_core::wire::ErrorCode;
use sync_server::Clock;
use sync_server::bus::Bus;
use sync_server::bus::redis::RedisBus;

use super::server::{RedisServer, until};
use crate::binary::binary;
use crate::cuts::{Open, quiet};
use crate::devices::{call, signed_in};
use crate::world::World;

/// So far ahead is the other node's clock that it does not find in the database what happens now.
const AHEAD: Duration = Duration::from_mins(1);

#[tokio::test]
async fn redis_tells_who_was_cut_off() {
    let redis = RedisServer::start().await;
    let config = redis.config();
    let [here, there] = [(); 2].map(|()| Arc::new(RedisBus::open(config.url.as_ref().unwrap(), &config).unwrap()));
    let buses = [Arc::clone(&here), Arc::clone(&there)];
    let one = World::on(|server| server.config(quiet()).bus(here)).await;
    let clock = Clock::new(|| Clock::default().now_ms() + AHEAD.as_millis() as u64);
    let other = World::beside(&one, |server| server.config(quiet()).bus(there).clock(clock)).await;
    until("both nodes are connected", || buses.iter().all(|bus| bus.is_up())).await;

    let phone = signed_in(&one, "ann").await;
    let lost = signed_in(&one, "ann").await;
    let (mut stays, goes) = (Open::at(&other, &phone).await, Open::at(&other, &lost).await);
    let path = format!("/v1/devices/{}", lost.device);
    assert_eq!(call(&one, &phone, Method::DELETE, &path, None).await.status(), 204);
    goes.ends(ErrorCode::DeviceRevoked).await;
    stays.goes_on().await;

    let data = one.folder.path();
    let file = data.join("config.toml");
    fs::write(&file, format!("[redis]\nprefix = {:?}\n", config.prefix)).unwrap();
    let mut revoke = binary(data, &["devices", "revoke", "--user", "ann", "--all"]);
    revoke.arg("--config").arg(&file).arg("--redis-url").arg(redis.url());
    assert!(tokio::task::spawn_blocking(move || revoke.status().unwrap()).await.unwrap().success());
    stays.ends(ErrorCode::DeviceRevoked).await;
}
