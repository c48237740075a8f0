//! Access that ends on one node ends on all.

use std::fs;
use std::time::Duration;

use sync_core::id::SpaceId;
use sync_core::ledger::Role;
use sync_core::wire::{ErrorCode, LiveResponse};
use tokio::time::timeout;

use super::nodes::Nodes;
use super::server::RedisServer;
use crate::binary::binary;
use crate::link::Link;

const SHARED: SpaceId = SpaceId::from_bytes([6; 16]);

async fn cut_off(link: &mut Link) {
    match timeout(Duration::from_secs(1), link.hear()).await.expect("in time") {
        LiveResponse::Refused { id: None, space: Some(SHARED), error } => assert_eq!(error.code, ErrorCode::NotFound),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_loses_access_on_one_node_is_cut_off_on_the_other_within_a_second() {
    let redis = RedisServer::start().await;
    let config = redis.config();
    let nodes = Nodes::over(&config).await;
    let bob = nodes.other.phone("bob");
    let mut link = bob.link().await;
    for _ in 0..3 {
        nodes.one.server.set_role(SHARED, "bob", Some(Role::Writer)).await.unwrap();
        link.follow(SHARED, None).await;
        nodes.one.server.set_role(SHARED, "bob", None).await.unwrap();
        cut_off(&mut link).await;
    }

    nodes.one.server.set_role(SHARED, "bob", Some(Role::Writer)).await.unwrap();
    link.follow(SHARED, None).await;
    let data = nodes.one.folder.path();
    let file = data.join("config.toml");
    fs::write(&file, format!("[redis]\nprefix = {:?}\n", config.prefix)).unwrap();
    let space = SHARED.to_string();
    let mut set = binary(data, &["members", "set", "--user", "bob", "--role", "none", "--space", &space]);
    set.arg("--config").arg(&file).arg("--redis-url").arg(redis.url());
    let set = tokio::task::spawn_blocking(move || set.status().unwrap());
    assert!(set.await.unwrap().success());
    cut_off(&mut link).await;
}
