//! What was acknowledged is on disk; what was in flight is answered, or refused to be sent again.

use std::io::Write;

use sync_core::wire::{self, PullAnswer};
use sync_server::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{MSGPACK, Phone, World, typing};

/// A push whose head the server has read, and whose body it is waiting for.
async fn begun(phone: &mut Phone) -> (TcpStream, Vec<u8>) {
    let items = typing(phone.device, 3);
    let body = wire::encode(&phone.push(items)).unwrap();
    let mut stream = TcpStream::connect(phone.address).await.unwrap();
    let mut head = Vec::new();
    write!(head, "POST /v1/sync HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", phone.token).unwrap();
    write!(head, "content-type: {MSGPACK}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(&head).await.unwrap();
    let mut line = [0; 25];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    (stream, body)
}

/// Until nobody listens any more.
async fn no_longer_accepting(phone: &Phone) {
    while TcpStream::connect(phone.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

async fn answer(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_in_flight_is_answered_and_on_disk() {
    let mut world = World::new().await;
    let mut ann = world.phone("ann");
    let (mut stream, body) = begun(&mut ann).await;
    world.stop();
    no_longer_accepting(&ann).await;
    stream.write_all(&body).await.unwrap();
    let answer = answer(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let folder = world.stopped().await;

    let server = Server::builder().data(folder.path()).build().await.unwrap();
    let version = server.store().version(ann.space).await.unwrap();
    assert_eq!(version.feeds.get(ann.device), Some(ann.head));
    server.shutdown().await;
    assert!(!folder.path().join("rejoin.sqlite-wal").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_takes_too_long_is_refused_and_can_be_sent_again() {
    let mut config = Config::default();
    config.http.shutdown_timeout_ms = 100;
    let mut world = World::with(config).await;
    let mut ann = world.phone("ann");
    let (stream, _) = begun(&mut ann).await;
    world.stop();
    let answer = answer(stream).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("retry-after: 1"), "{answer}");
    world.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_server_refuses_what_comes_after_its_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::builder().data(folder.path()).build().await.unwrap();
    let app = axum::Router::new().nest("/rejoin", server.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let caller = sync_server::Caller { user: "ann".to_owned(), device: sync_core::id::DeviceId::from_bytes([1; 16]) };
    let token = server.issue_token(&caller, std::time::Duration::from_mins(1)).unwrap();
    let get = |path: &str| {
        let url = format!("http://{address}/rejoin/{path}");
        crate::world::client().get(url).bearer_auth(&token).send()
    };
    assert_eq!(get("v1/spaces").await.unwrap().status(), 200);
    assert_eq!(get("v1/nothing").await.unwrap().status(), 404);
    server.shutdown().await;
    assert_eq!(get("v1/spaces").await.unwrap().status(), 503);
    assert_eq!(get("readyz").await.unwrap().status(), 503);
    assert_eq!(get("healthz").await.unwrap().status(), 200);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_does_not_hold_the_server() {
    let mut world = World::new().await;
    let ann = world.phone("ann");
    let answer = ann.sync(&ann.pull()).await;
    assert!(matches!(answer.pull, Some(PullAnswer::Page(_))));
    world.stop();
    world.stopped().await;
}
