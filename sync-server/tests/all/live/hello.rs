//! Who may open a connection, and how it opens.

use serde_json::json;
use sync_core::limits::{LIVE_FRAME_BYTES_MAX, LIVE_PUSH_BYTES_MAX};
use sync_core::wire::{
    AccessToken, CloseCode, ErrorCode, ErrorResponse, LiveRequest, LiveResponse, SCHEMA, decode_json,
};
use sync_server::Config;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::link::Link;
use crate::world::{Phone, World, refused};

fn with(mut request: Request, name: &'static str, value: &str) -> Request {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

/// The upgrade was answered as any request that is refused.
fn not_upgraded(result: Result<Link, Error>, status: u16, code: ErrorCode) {
    let Err(Error::Http(response)) = result else { panic!("upgraded, or something else: {:?}", result.err()) };
    assert_eq!(response.status().as_u16(), status);
    let error: ErrorResponse = decode_json(response.body().as_ref().unwrap()).unwrap();
    assert_eq!(error.code, code);
    assert_eq!(response.headers()["x-request-id"], error.request_id);
}

async fn greet(phone: &Phone, hello: &LiveRequest) -> CloseCode {
    let mut link = phone.dial().await;
    link.say(hello).await;
    link.closed().await
}

#[tokio::test]
async fn hello_tells_the_limits() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let (_link, welcome) = ann.greeted().await;
    assert_eq!((welcome.schema, welcome.device), (SCHEMA, ann.device));
    assert_eq!(welcome.heartbeat_ms, Config::default().live.heartbeat_ms);
    assert_eq!(welcome.limits.frame_bytes_max, LIVE_FRAME_BYTES_MAX as u64);
    assert_eq!(welcome.limits.push_bytes_max, LIVE_PUSH_BYTES_MAX as u64);
    assert!((590_000..=600_000).contains(&welcome.token_expires_in_ms), "{}", welcome.token_expires_in_ms);
}

#[tokio::test]
async fn a_token_before_the_upgrade_needs_none_in_the_hello() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let request = with(ann.upgrade(), "authorization", &format!("Bearer {}", ann.token));
    let mut link = ann.dial_with(request).await.unwrap();
    link.say(&LiveRequest::Hello { schema: SCHEMA, token: None }).await;
    assert!(matches!(link.hear().await, LiveResponse::Hello(welcome) if welcome.device == ann.device));
}

#[tokio::test]
async fn a_bad_token_before_the_upgrade_is_never_upgraded() {
    let (world, elsewhere) = (World::new().await, World::new().await);
    let (ann, foreign) = (world.phone("ann"), elsewhere.phone("ann"));
    for bad in ["Bearer", "Bearer abc", &format!("Basic {}", ann.token), &format!("Bearer {}", foreign.token)] {
        let request = with(ann.upgrade(), "authorization", bad);
        not_upgraded(ann.dial_with(request).await, 401, ErrorCode::Unauthorized);
    }
    let good = format!("Bearer {}", ann.token);
    let twice = with(with(ann.upgrade(), "authorization", &good), "authorization", &good);
    not_upgraded(ann.dial_with(twice).await, 401, ErrorCode::Unauthorized);
}

#[tokio::test]
async fn no_other_header_is_believed() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let anonymous = LiveRequest::Hello { schema: SCHEMA, token: None };
    for (name, value) in [
        ("x-user", "ann".to_owned()),
        ("x-forwarded-user", "ann".to_owned()),
        ("cookie", format!("token={}; authorization=Bearer {}", ann.token, ann.token)),
        ("proxy-authorization", format!("Bearer {}", ann.token)),
        ("x-authorization", format!("Bearer {}", ann.token)),
    ] {
        let mut link = ann.dial_with(with(ann.upgrade(), name, &value)).await.unwrap();
        link.say(&anonymous).await;
        assert_eq!(link.closed().await, CloseCode::Unauthorized, "{name}");
    }
}

#[tokio::test]
async fn a_hello_without_a_good_token_is_closed() {
    let (world, elsewhere) = (World::new().await, World::new().await);
    let (ann, bob, foreign) = (world.phone("ann"), world.phone("bob"), elsewhere.phone("ann"));
    for token in [None, Some(String::new()), Some("abc".to_owned()), Some(foreign.token.clone())] {
        let hello = LiveRequest::Hello { schema: SCHEMA, token: token.map(AccessToken) };
        assert_eq!(greet(&ann, &hello).await, CloseCode::Unauthorized);
    }
    let request = with(ann.upgrade(), "authorization", &format!("Bearer {}", ann.token));
    let mut link = ann.dial_with(request).await.unwrap();
    link.say(&bob.hello()).await;
    assert_eq!(link.closed().await, CloseCode::Unauthorized, "two tokens of two people");
}

#[tokio::test]
async fn another_schema_is_told_so_whatever_else_it_says() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let hello = LiveRequest::Hello { schema: SCHEMA + 1, token: Some(AccessToken(ann.token.clone())) };
    assert_eq!(greet(&ann, &hello).await, CloseCode::UpgradeRequired);
    let mut link = ann.dial().await;
    let foreign = json!({"hello": {"schema": SCHEMA + 1, "proof": [1, 2, 3], "features": {"a": true}}});
    link.send(sync_core::wire::encode(&foreign).unwrap()).await;
    assert_eq!(link.closed().await, CloseCode::UpgradeRequired);
}

#[tokio::test]
async fn hello_comes_first_and_once() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let early = [
        LiveRequest::Ping { nonce: 1 },
        LiveRequest::Sync { id: 1, space: ann.space, push: None, pull: None, subscribe: false, snapshot: None },
        LiveRequest::Token { token: AccessToken(ann.token.clone()) },
        LiveRequest::Unsubscribe { space: ann.space },
    ];
    for request in early {
        assert_eq!(greet(&ann, &request).await, CloseCode::BadFrame, "{request:?}");
    }
    let mut link = ann.link().await;
    link.say(&ann.hello()).await;
    assert_eq!(link.closed().await, CloseCode::BadFrame);
}

#[tokio::test]
async fn what_is_no_hello_is_closed_with_a_code() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let table = [
        (Message::text("hello"), CloseCode::NotBinary),
        (Message::binary(Vec::new()), CloseCode::BadFrame),
        (Message::binary(b"hello".to_vec()), CloseCode::BadFrame),
        (Message::binary(vec![0; 100_000]), CloseCode::TooLarge),
        (Message::Ping(vec![1].into()), CloseCode::BadFrame),
    ];
    for (message, code) in table {
        let mut link = ann.dial().await;
        futures_util::SinkExt::send(&mut link.socket, message).await.unwrap();
        assert_eq!(link.closed().await, code);
    }
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let mut config = Config::default();
    config.live.hello_timeout_ms = 50;
    let world = World::with(config).await;
    let ann = world.phone("ann");
    assert_eq!(ann.dial().await.closed().await, CloseCode::Idle);
    let named = with(ann.upgrade(), "authorization", &format!("Bearer {}", ann.token));
    assert_eq!(ann.dial_with(named).await.unwrap().closed().await, CloseCode::Idle);
}

#[tokio::test]
async fn few_may_be_strangers_at_once() {
    let mut config = Config::default();
    config.live.hello_pending_max = 1;
    let world = World::with(config).await;
    let ann = world.phone("ann");
    let mut stranger = ann.dial().await;
    not_upgraded(ann.dial_with(ann.upgrade()).await, 503, ErrorCode::Busy);
    let named = with(ann.upgrade(), "authorization", &format!("Bearer {}", ann.token));
    ann.dial_with(named).await.expect("who says who it is gets in");
    stranger.say(&ann.hello()).await;
    assert!(matches!(stranger.hear().await, LiveResponse::Hello(_)));
    ann.link().await;
}

#[tokio::test]
async fn a_plain_request_is_no_websocket() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let plain = ann.request(reqwest::Method::GET, "/v1/live");
    refused(plain.send().await.unwrap(), 400, ErrorCode::BadFrame).await;
    let old = ann.request(reqwest::Method::GET, "/v1/live").header("connection", "upgrade");
    let old = old.header("upgrade", "websocket").header("sec-websocket-key", "x").header("sec-websocket-version", "8");
    refused(old.send().await.unwrap(), 400, ErrorCode::BadFrame).await;
    refused(ann.request(reqwest::Method::POST, "/v1/live").send().await.unwrap(), 405, ErrorCode::MethodNotAllowed)
        .await;
}
