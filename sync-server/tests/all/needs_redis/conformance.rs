//! What every bus must do.

use std::env;
use std::sync::{Arc, Mutex, Weak};

use sync_core::id::SpaceId;
use sync_server::bus::redis::RedisBus;
use sync_server::bus::{Bus, BusMessage, Listener, conformance};

use super::server::{RedisServer, config_of, until};

#[tokio::test]
async fn conforms() {
    let own = if env::var_os("REDIS_URL").is_none() { Some(RedisServer::start().await) } else { None };
    let config = own.as_ref().map_or_else(|| config_of(env::var("REDIS_URL").unwrap()), RedisServer::config);
    let node = || RedisBus::open(config.url.as_ref().unwrap(), &config).unwrap();
    let (one, other) = (node(), node());
    conformance::all(&one, &other).await;
}

/// Writes down where it is to look.
#[derive(Default)]
struct Looks(Mutex<Vec<Option<SpaceId>>>);

impl Listener for Looks {
    fn hear(&self, _: BusMessage) {}

    fn lost(&self, space: Option<SpaceId>) {
        self.0.lock().unwrap().push(space);
    }
}

#[tokio::test]
async fn who_joins_is_told_to_look_when_it_is_heard_and_all_when_redis_is_back() {
    let mut redis = RedisServer::start().await;
    let config = redis.config();
    let bus = RedisBus::open(config.url.as_ref().unwrap(), &config).unwrap();
    let looks = Arc::new(Looks::default());
    let weak: Weak<dyn Listener> = Arc::downgrade(&(Arc::clone(&looks) as Arc<dyn Listener>));
    bus.listen(weak);
    until("connected", || bus.is_up()).await;
    let told = || looks.0.lock().unwrap().clone();
    until("told to look everywhere", || told() == [None]).await;
    let space = SpaceId::from_bytes([1; 16]);
    bus.join(space);
    until("told to look there", || told() == [None, Some(space)]).await;
    redis.kill();
    until("told that nothing is heard", || told() == [None, Some(space), None]).await;
    assert!(!bus.is_up());
    redis.restart().await;
    until("told to look everywhere again", || told() == [None, Some(space), None, None]).await;
    assert!(bus.is_up());
}
