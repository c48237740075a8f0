//! What every bus must do.

use std::env;

use sync_server::bus::conformance;
use sync_server::bus::redis::RedisBus;

use super::server::{RedisServer, config_of};

#[tokio::test]
async fn conforms() {
    let (_own, config) = match env::var("REDIS_URL") {
        Ok(url) => (None, config_of(url)),
        Err(_) => {
            let server = RedisServer::start().await;
            let config = server.config();
            (Some(server), config)
        }
    };
    let node = || RedisBus::open(config.url.as_ref().unwrap(), &config).unwrap();
    let (one, other) = (node(), node());
    conformance::all(&one, &other).await;
}
