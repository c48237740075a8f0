//! A server that stops says so to every connection.

use sync_core::wire::{CloseCode, LiveResponse};
use sync_server::Server;
use tokio::net::TcpListener;

use crate::world::{World, typing};

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_told_that_the_server_stops() {
    let mut world = World::new().await;
    let ann = world.phone("ann");
    let mut links = Vec::new();
    for _ in 0..20 {
        links.push(ann.link().await);
    }
    // One has not even said hello.
    links.push(ann.dial().await);
    world.stop();
    for link in &mut links {
        assert_eq!(link.closed().await, CloseCode::GoingAway);
    }
    drop(links);
    world.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_is_on_disk() {
    let mut world = World::new().await;
    let mut ann = world.phone("ann");
    let mut link = ann.link().await;
    let pushes = 50_u64;
    for _ in 0..pushes {
        let items = typing(ann.device, 1);
        let run = ann.run(items);
        link.ask(ann.space, Some(run), None, false).await;
    }
    let mut acked = match link.hear().await {
        LiveResponse::Answer { push: Some(push), .. } => push.acked(),
        other => panic!("{other:?}"),
    };
    world.stop();
    loop {
        match futures_util::StreamExt::next(&mut link.socket).await {
            Some(Ok(tokio_tungstenite::tungstenite::Message::Binary(frame))) => {
                if let Ok(Some(LiveResponse::Answer { push: Some(push), .. })) = LiveResponse::read(&frame) {
                    acked = push.acked();
                }
            }
            Some(Ok(tokio_tungstenite::tungstenite::Message::Close(Some(frame)))) => {
                assert_eq!(u16::from(frame.code), CloseCode::GoingAway.number());
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    drop(link);
    let folder = world.stopped().await;
    let server = Server::builder().data(folder.path()).build().await.unwrap();
    let stored = server.store().version(ann.space).await.unwrap().feeds.get(ann.device).unwrap();
    assert_eq!(stored, acked, "what was taken was also answered");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_take_its_leave_does_not_hold_the_server() {
    let mut config = sync_server::Config::default();
    config.http.shutdown_timeout_ms = 200;
    let mut world = World::with(config).await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let (mut writer, mut stalled) = (ann.link().await, tablet.link().await);
    stalled.follow(ann.space, None).await;
    for _ in 0..300 {
        let items = crate::world::pasting(ann.device, 30_000);
        let run = ann.run(items);
        writer.push(ann.space, run).await;
    }
    world.stop();
    world.stopped().await;
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_server_closes_its_connections_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::builder().data(folder.path()).build().await.unwrap();
    let app = axum::Router::new().nest("/rejoin", server.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut ann = World::phone_of(&server, address, "ann");
    ann.prefix = "/rejoin";
    let mut link = ann.link().await;
    link.follow(ann.space, None).await;
    let (closed, ()) = tokio::join!(link.closed(), server.shutdown());
    assert_eq!(closed, CloseCode::GoingAway);
    assert!(ann.dial_with(ann.upgrade()).await.is_err());
    serving.abort();
}
