//! Who is cut off at one node is told of at the other, and not merely found in the database.

use std::fs;
use std::sync::Arc;

use reqwest::Method;
use sync_core::wire::ErrorCode;
use sync_server::bus::Bus;
use sync_server::bus::redis::RedisBus;

use super::server::{RedisServer, until};
use crate::binary::binary;
use crate::cuts::{Open, ahead, quiet};
use crate::devices::{call, signed_in};
use crate::world::World;

#[tokio::test]
async fn redis_tells_who_was_cut_off() {
    let redis = RedisServer::start().await;
    let config = redis.config();
    let [here, there] = [(); 2].map(|()| Arc::new(RedisBus::open(config.url.as_ref().unwrap(), &config).unwrap()));
    let buses = [Arc::clone(&here), Arc::clone(&there)];
    let one = World::on(|server| server.config(quiet()).bus(here)).await;
    let other = World::beside(&one, |server| server.config(quiet()).bus(there).clock(ahead())).await;
    until("both nodes are connected", || buses.iter().all(|bus| bus.is_up())).await;

    let phone = signed_in(&one, "ann").await;
    let (lost, last) = (signed_in(&one, "ann").await, signed_in(&one, "ann").await);
    let (mut stays, goes) = (Open::at(&other, &phone).await, Open::at(&other, &lost).await);
    // What comes last is looked up last, as every connection is soon after it has begun.
    let looked_up = Open::at(&other, &last).await;
    for (device, open) in [(last.device, looked_up), (lost.device, goes)] {
        let path = format!("/v1/devices/{device}");
        assert_eq!(call(&one, &phone, Method::DELETE, &path, None).await.status(), 204);
        open.ends(ErrorCode::DeviceRevoked).await;
    }
    stays.goes_on().await;

    let data = one.folder.path();
    let file = data.join("config.toml");
    fs::write(&file, format!("[redis]\nprefix = {:?}\n", config.prefix)).unwrap();
    let mut revoke = binary(data, &["devices", "revoke", "--user", "ann", "--all"]);
    revoke.arg("--config").arg(&file).arg("--redis-url").arg(redis.url());
    assert!(tokio::task::spawn_blocking(move || revoke.status().unwrap()).await.unwrap().success());
    stays.ends(ErrorCode::DeviceRevoked).await;
}
