//! What every bus must do.

use std::env;

use sync_server::bus::conformance;
use sync_server::bus::redis::RedisBus;

use super::server::{RedisServer, config_of};

#[tokio::test]
async fn conforms() {
    let own = if env::var_os("REDIS_URL").is_none() { Some(RedisServer::start().await) } else { None };
    let config = own.as_ref().map_or_else(|| config_of(env::var("REDIS_URL").unwrap()), RedisServer::config);
    let node = || RedisBus::open(config.url.as_ref().unwrap(), &config).unwrap();
    let (one, other) = (node(), node());
    conformance::all(&one, &other).await;
}
