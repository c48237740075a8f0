//! Spaces that one may enter, and may no longer.

use std::time::Duration;

use sync_core::feed::FeedHead;
use sync_core::id::SpaceId;
use sync_core::ledger::Role;
use sync_core::wire::{ErrorCode, LiveRequest, LiveResponse};
use sync_server::Config;
use tokio::time::timeout;

use crate::link::since;
use crate::world::{World, typing};

const SHARED: SpaceId = SpaceId::from_bytes([5; 16]);

#[tokio::test]
async fn who_loses_access_is_told_and_gets_nothing_more() {
    let mut config = Config::default();
    config.live.heartbeat_ms = 20;
    let world = World::with(config).await;
    let store = world.server.store();
    store.set_role(SHARED, "ann", Some(Role::Owner)).await.unwrap();
    store.set_role(SHARED, "bob", Some(Role::Writer)).await.unwrap();
    let (mut ann, bob) = (world.phone("ann"), world.phone("bob"));
    (ann.space, ann.head) = (SHARED, FeedHead::start(SHARED, ann.device));
    let (mut writer, mut reader) = (ann.link().await, bob.link().await);
    reader.follow(SHARED, None).await;
    reader.follow(bob.space, None).await;
    store.set_role(SHARED, "bob", None).await.unwrap();
    match reader.hear().await {
        LiveResponse::Refused { id: None, space: Some(SHARED), error } => assert_eq!(error.code, ErrorCode::NotFound),
        other => panic!("{other:?}"),
    }
    let items = typing(ann.device, 1);
    let run = ann.run(items);
    writer.push(SHARED, run).await;
    reader.ask(SHARED, None, Some(since(None)), true).await;
    reader.refused(ErrorCode::NotFound).await;
    reader.say(&LiveRequest::Ping { nonce: 1 }).await;
    assert_eq!(reader.hear().await, LiveResponse::Pong { nonce: 1 });
    reader.follow(bob.space, None).await;
}

#[tokio::test]
async fn who_loses_access_is_cut_off_within_a_second() {
    let mut config = Config::default();
    config.live.heartbeat_ms = 60_000;
    let world = World::with(config).await;
    for user in ["ann", "bob"] {
        world.server.set_role(SHARED, user, Some(Role::Writer)).await.unwrap();
    }
    let (ann, bob) = (world.phone("ann"), world.phone("bob"));
    let (mut stays, mut goes) = (ann.link().await, bob.link().await);
    stays.follow(SHARED, None).await;
    goes.follow(SHARED, None).await;
    world.server.set_role(SHARED, "bob", None).await.unwrap();
    match timeout(Duration::from_secs(1), goes.hear()).await.expect("in time") {
        LiveResponse::Refused { id: None, space: Some(SHARED), error } => assert_eq!(error.code, ErrorCode::NotFound),
        other => panic!("{other:?}"),
    }
    stays.say(&LiveRequest::Ping { nonce: 1 }).await;
    assert_eq!(stays.hear().await, LiveResponse::Pong { nonce: 1 }, "and nobody else");
}

#[tokio::test]
async fn what_one_may_not_see_is_refused_as_what_does_not_exist() {
    let world = World::new().await;
    let (mut ann, mut eve) = (world.phone("ann"), world.phone("eve"));
    let items = typing(ann.device, 1);
    let push = ann.push(items);
    ann.sync(&push).await;
    let mut link = eve.link().await;
    let mut told = Vec::new();
    for space in [ann.space, SpaceId::from_bytes([9; 16])] {
        eve.head = FeedHead::start(space, eve.device);
        let items = typing(eve.device, 1);
        let run = eve.run(items);
        let mut messages = Vec::new();
        for (push, pull, subscribe) in [
            (None, Some(since(None)), true),
            (None, Some(since(None)), false),
            (Some(run), None, false),
            (None, None, false),
        ] {
            let asked = link.ask(space, push, pull, subscribe).await;
            match link.hear().await {
                LiveResponse::Refused { id: Some(id), space: Some(of), error } => {
                    assert_eq!((id, of, error.code), (asked, space, ErrorCode::NotFound));
                    messages.push(error.message);
                }
                other => panic!("{other:?}"),
            }
        }
        told.push(messages);
    }
    assert_eq!(told[0], told[1]);
}
