//! How much one user may take, and what that costs others: nothing.

use futures_util::SinkExt;
use sync_core::wire::{CloseCode, LiveRequest, LiveResponse};
use sync_server::Config;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::world::World;

#[tokio::test]
async fn a_flood_ends_and_others_do_not_feel_it() {
    let mut config = Config::default();
    (config.live.messages_per_second_max, config.live.messages_burst_max) = (1, 20);
    let world = World::with(config).await;
    let (eve, tablet, ann) = (world.phone("eve"), world.phone("eve"), world.phone("ann"));
    for pings in [false, true] {
        let (mut one, mut two, mut other) = (eve.link().await, tablet.link().await, ann.link().await);
        for nonce in 0..20 {
            two.say(&LiveRequest::Ping { nonce }).await;
        }
        for nonce in 0..20 {
            assert_eq!(two.hear().await, LiveResponse::Pong { nonce });
        }
        // The user's, on whichever connection.
        if pings {
            one.socket.send(Message::Ping(vec![1].into())).await.unwrap();
        } else {
            one.say(&LiveRequest::Ping { nonce: 0 }).await;
        }
        // A slow machine gets one more a second.
        for nonce in 0..10 {
            let _ =
                one.socket.send(Message::binary(sync_core::wire::encode(&LiveRequest::Ping { nonce }).unwrap())).await;
        }
        assert_eq!(one.closed().await, CloseCode::Flood);
        other.say(&LiveRequest::Ping { nonce: 3 }).await;
        assert_eq!(other.hear().await, LiveResponse::Pong { nonce: 3 });
        drop((one, two));
        // The next round begins with a new measure, when the server has noticed.
        while eve.dial_round().await.is_err() {}
    }
}

#[tokio::test]
async fn a_user_has_so_many_connections() {
    let mut config = Config::default();
    config.live.connections_per_user_max = 2;
    let world = World::with(config).await;
    let (eve, ann) = (world.phone("eve"), world.phone("ann"));
    let (first, _second) = (eve.link().await, eve.link().await);
    let mut third = eve.dial().await;
    third.say(&eve.hello()).await;
    assert_eq!(third.closed().await, CloseCode::Flood);
    ann.link().await;
    drop(first);
    while eve.dial_round().await.is_err() {}
}

#[tokio::test]
async fn a_server_has_so_many_connections() {
    let mut config = Config::default();
    config.live.connections_max = 1;
    let world = World::with(config).await;
    let (eve, ann) = (world.phone("eve"), world.phone("ann"));
    let first = eve.link().await;
    let Err(Error::Http(response)) = ann.dial_with(ann.upgrade()).await else { panic!("there is no room") };
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    drop(first);
    while ann.dial_with(ann.upgrade()).await.is_err() {}
}

#[tokio::test]
async fn live_connections_do_not_count_as_requests() {
    let mut config = Config::default();
    (config.http.connections_max, config.http.requests_in_flight_max) = (2, 1);
    let world = World::with(config).await;
    let ann = world.phone("ann");
    let mut links = Vec::new();
    for _ in 0..5 {
        links.push(ann.link().await);
    }
    assert!(ann.sync(&ann.pull()).await.pull.is_some());
}

#[tokio::test]
async fn silence_ends() {
    let mut config = Config::default();
    (config.live.idle_timeout_ms, config.live.heartbeat_ms) = (300, 100);
    let world = World::with(config).await;
    let ann = world.phone("ann");
    let mut link = ann.link().await;
    for nonce in 0..10 {
        // Kept awake for longer than the timeout.
        assert!(matches!(link.hear_any().await, LiveResponse::Beat { .. }));
        link.say(&LiveRequest::Ping { nonce }).await;
        assert_eq!(link.hear().await, LiveResponse::Pong { nonce });
    }
    assert_eq!(link.closed().await, CloseCode::Idle);
}

#[tokio::test]
async fn a_ping_of_the_websocket_is_answered() {
    let world = World::new().await;
    let mut link = world.phone("ann").link().await;
    link.socket.send(Message::Ping(b"there?".to_vec().into())).await.unwrap();
    loop {
        if let Message::Pong(payload) = futures_util::StreamExt::next(&mut link.socket).await.unwrap().unwrap() {
            assert_eq!(&payload[..], b"there?");
            break;
        }
    }
}
