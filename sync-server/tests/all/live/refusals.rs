//! What is wrong with one request, or with one connection, is nobody else's trouble.

use std::collections::BTreeSet;

use futures_util::SinkExt;
use sync_core::feed::Item;
use sync_core::id::{Hash, SpaceId};
use sync_core::ledger::Role;
use sync_core::limits::{LIVE_FRAME_BYTES_MAX, LIVE_PUSH_BYTES_MAX, SESSION_SPACES_MAX};
use sync_core::wire::{CloseCode, ErrorCode, LiveRequest, LiveResponse, PushAnswer};
use tokio_tungstenite::tungstenite::Message;

use crate::link::since;
use crate::world::{World, new_doc, typing};

#[tokio::test]
async fn a_request_that_is_refused_consumes_nothing_and_the_connection_goes_on() {
    let world = World::new().await;
    let (mut ann, mut tablet) = (world.phone("ann"), world.phone("ann"));
    let mut link = ann.link().await;
    link.follow(ann.space, None).await;
    let mut ids = BTreeSet::new();

    let items = typing(tablet.device, 1);
    link.ask(ann.space, Some(tablet.run(items)), None, false).await;
    ids.insert(link.refused(ErrorCode::WrongDevice).await.request_id);

    let before = ann.head;
    let doc = new_doc();
    let items = (0..3).map(|at: u8| Item::change(doc, Hash::of(&[&[at]]), vec![at; LIVE_PUSH_BYTES_MAX / 3 + 1]));
    link.ask(ann.space, Some(ann.run(items.collect())), None, false).await;
    let error = link.refused(ErrorCode::TooLarge).await;
    assert!(error.message.contains("1 MiB"), "{}", error.message);
    ids.insert(error.request_id);
    ann.head = before;

    link.ask(ann.space, None, None, true).await;
    ids.insert(link.refused(ErrorCode::BadFrame).await.request_id);
    assert_eq!(ids.len(), 3, "each refusal can be found in the log");

    link.follow(ann.space, None).await;
    let items = typing(ann.device, 1);
    let (answer, page) = link.push(ann.space, ann.run(items)).await;
    assert!(matches!(answer, PushAnswer::Taken { .. }) && page.is_some());
}

#[tokio::test]
async fn one_change_may_be_as_large_as_it_may_be() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let mut link = ann.link().await;
    let item = Item::change(new_doc(), Hash::of(&[b"large"]), vec![7; LIVE_PUSH_BYTES_MAX + 1]);
    let (answer, _) = link.push(ann.space, ann.run(vec![item])).await;
    assert!(matches!(answer, PushAnswer::Taken { .. }), "refused by its verdict alone: {answer:?}");
}

#[tokio::test]
async fn no_more_spaces_than_a_session_has() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let mut link = ann.link().await;
    let space = |number: usize| {
        let mut bytes = [9; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        SpaceId::from_bytes(bytes)
    };
    for number in 0..=SESSION_SPACES_MAX {
        world.server.store().set_role(space(number), "ann", Some(Role::Reader)).await.unwrap();
    }
    for number in 0..SESSION_SPACES_MAX {
        link.follow(space(number), None).await;
    }
    link.ask(space(SESSION_SPACES_MAX), None, Some(since(None)), true).await;
    link.refused(ErrorCode::TooLarge).await;
    link.follow(space(0), None).await;
    link.say(&LiveRequest::Unsubscribe { space: space(1) }).await;
    link.follow(space(SESSION_SPACES_MAX), None).await;
}

#[tokio::test]
async fn a_storage_that_is_gone_is_told_of_and_the_connection_goes_on() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let mut link = ann.link().await;
    world.server.store().close().await.unwrap();
    link.ask(ann.space, None, Some(since(None)), true).await;
    let error = link.refused(ErrorCode::Unavailable).await;
    assert!(error.retry_after_ms.is_some());
    assert!(!error.message.contains("store"), "internals stay inside: {}", error.message);
    link.say(&LiveRequest::Ping { nonce: 5 }).await;
    assert_eq!(link.hear().await, LiveResponse::Pong { nonce: 5 });
}

#[tokio::test]
async fn bad_messages_end_their_own_connection_alone() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let eve = world.phone("eve");
    let mut bystander = ann.link().await;
    bystander.follow(ann.space, None).await;
    let ping = sync_core::wire::encode(&LiveRequest::Ping { nonce: 1 }).unwrap();
    let mut longer = ping.clone();
    longer.push(0);
    let unknown = sync_core::wire::encode(&serde_json::json!({"dance": {}})).unwrap();
    let surprise = sync_core::wire::encode(&serde_json::json!({"ping": {"nonce": 1, "loud": true}})).unwrap();
    let table = [
        (Message::text("ping"), CloseCode::NotBinary),
        (Message::binary(Vec::new()), CloseCode::BadFrame),
        (Message::binary(ping[..ping.len() - 1].to_vec()), CloseCode::BadFrame),
        (Message::binary(longer), CloseCode::BadFrame),
        (Message::binary(unknown), CloseCode::BadFrame),
        (Message::binary(surprise), CloseCode::BadFrame),
        (Message::binary(vec![0xc1; 1_000]), CloseCode::BadFrame),
        (Message::binary(vec![0xdd; 200_000]), CloseCode::BadFrame),
        (Message::binary(vec![0; LIVE_FRAME_BYTES_MAX + 1]), CloseCode::TooLarge),
    ];
    for (message, code) in table {
        let mut link = eve.link().await;
        // The server may close before it has read all of it.
        let _ = link.socket.send(message).await;
        assert_eq!(link.closed().await, code);
    }
    let items = typing(ann.device, 1);
    let (_, page) = bystander.push(ann.space, ann.run(items)).await;
    assert_eq!(page.unwrap().next.seq, 2);
}

#[tokio::test]
async fn random_bytes_end_in_a_code() {
    let world = World::new().await;
    let eve = world.phone("eve");
    for size in 0..64_usize {
        let mut bytes = vec![0; size * size];
        getrandom::fill(&mut bytes).unwrap();
        let mut link = eve.link().await;
        link.send(bytes).await;
        assert_eq!(link.closed().await, CloseCode::BadFrame, "{size}");
    }
}
