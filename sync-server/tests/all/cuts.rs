//! Who is cut off loses its open connections and its requests within a second, and nobody else does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Method, Response};
use rusqlite::Connection;
use serde_json::json;
use sync_core::feed::FeedHead;
use sync_core::id::SpaceId;
use sync_core::wire::account::{NewDevice, TokenResponse};
use sync_core::wire::{AccessToken, CloseCode, ErrorCode, LiveRequest, LiveResponse};
use sync_server::bus::memory::MemoryBus;
use sync_server::bus::{Bus, BusMessage, Cut};
use sync_server::{Caller, Clock, Config};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::devices::{call, phone, refresh, refreshed, signed_in};
use crate::link::Link;
use crate::world::{Phone, World, client, refused};

/// So long that nobody is cut off by it.
const HEARTBEAT_MS: u64 = 60_000;
const SECOND: Duration = Duration::from_secs(1);

pub fn quiet() -> Config {
    let mut config = Config::default();
    config.live.heartbeat_ms = HEARTBEAT_MS;
    config
}

/// What a signed-in device has open at a node.
pub struct Open {
    link: Link,
    events: Response,
    phone: Phone,
}

/// A phone with those tokens, at that node.
pub fn at(world: &World, tokens: &TokenResponse) -> Phone {
    let (space, device) = (SpaceId::personal(&tokens.user), tokens.device);
    let (token, head) = (tokens.access_token.0.clone(), FeedHead::start(space, device));
    Phone { client: client(), address: world.address, prefix: "", token, device, space, head }
}

impl Open {
    /// A WebSocket that follows nothing, a stream of events, and a request that was just answered.
    pub async fn at(world: &World, tokens: &TokenResponse) -> Self {
        let phone = at(world, tokens);
        let link = phone.link().await;
        let events = phone.request(Method::GET, &format!("/v1/events?space={}", phone.space)).send().await.unwrap();
        assert_eq!(events.status(), 200);
        assert_eq!(phone.request(Method::GET, "/v1/spaces").send().await.unwrap().status(), 200);
        Self { link, events, phone }
    }

    /// All of it ends, and nothing new is let in.
    pub async fn ends(mut self, code: ErrorCode) {
        let began = Instant::now();
        let ends = async {
            assert_eq!(self.link.closed().await, CloseCode::Unauthorized);
            while let Ok(Some(_)) = self.events.chunk().await {}
        };
        timeout(SECOND, ends).await.expect("within a second");
        // Whatever a node remembers, it remembers for less.
        while self.phone.request(Method::GET, "/v1/spaces").send().await.unwrap().status() == 200 {
            assert!(began.elapsed() < SECOND, "requests, too");
            sleep(Duration::from_millis(10)).await;
        }
        refused(self.phone.request(Method::GET, "/v1/spaces").send().await.unwrap(), 401, code).await;
        assert_eq!(self.phone.dial_round().await, Err(CloseCode::Unauthorized));
    }

    /// All of it is as it was.
    pub async fn goes_on(&mut self) {
        self.link.say(&LiveRequest::Ping { nonce: 7 }).await;
        assert_eq!(self.link.hear().await, LiveResponse::Pong { nonce: 7 });
        let nothing = timeout(Duration::from_millis(1), self.events.chunk()).await;
        assert!(!matches!(nothing, Ok(Ok(None) | Err(_))), "{nothing:?}");
        assert_eq!(self.phone.request(Method::GET, "/v1/spaces").send().await.unwrap().status(), 200);
    }
}

async fn revoke(world: &World, tokens: &TokenResponse, device: &TokenResponse) {
    let path = format!("/v1/devices/{}", device.device);
    assert_eq!(call(world, tokens, Method::DELETE, &path, None).await.status(), 204);
}

#[tokio::test]
async fn a_revoked_device_is_cut_off_within_a_second_and_no_other() {
    let world = World::with(quiet()).await;
    let (phone, lost, eve) =
        (signed_in(&world, "ann").await, signed_in(&world, "ann").await, signed_in(&world, "eve").await);
    let cut = Open::at(&world, &lost).await;
    let mut others = [Open::at(&world, &phone).await, Open::at(&world, &eve).await];
    revoke(&world, &phone, &lost).await;
    cut.ends(ErrorCode::DeviceRevoked).await;
    for other in &mut others {
        other.goes_on().await;
    }
}

#[tokio::test]
async fn who_logs_out_is_cut_off_and_with_all_so_are_all() {
    let world = World::with(quiet()).await;
    let (phone, tablet, watch) =
        (signed_in(&world, "ann").await, signed_in(&world, "ann").await, signed_in(&world, "ann").await);
    let (one, mut two, mut three) =
        (Open::at(&world, &phone).await, Open::at(&world, &tablet).await, Open::at(&world, &watch).await);
    call(&world, &phone, Method::POST, "/v1/logout", Some(json!({ "schema": 1 }))).await;
    one.ends(ErrorCode::SessionEnded).await;
    two.goes_on().await;
    three.goes_on().await;
    call(&world, &tablet, Method::POST, "/v1/logout", Some(json!({ "schema": 1, "all": true }))).await;
    two.ends(ErrorCode::SessionEnded).await;
    three.ends(ErrorCode::SessionEnded).await;
}

#[tokio::test]
async fn a_theft_cuts_the_family_off() {
    let world = World::with(quiet()).await;
    let first = signed_in(&world, "ann").await;
    let second = refreshed(&world, &first).await;
    let third = refreshed(&world, &second).await;
    let open = Open::at(&world, &third).await;
    assert_eq!(refresh(&world, &first.refresh_token.0, first.device).await.status(), 400);
    open.ends(ErrorCode::SessionEnded).await;
}

#[tokio::test]
async fn a_device_that_signs_in_again_leaves_its_old_connections() {
    let world = World::with(quiet()).await;
    let first = signed_in(&world, "ann").await;
    let old = Open::at(&world, &first).await;
    let again = NewDevice { device: Some(first.device), ..phone("Phone") };
    let second = world.server.begin_session("ann", None, again).await.unwrap();
    old.ends(ErrorCode::SessionEnded).await;
    Open::at(&world, &second).await.goes_on().await;
}

/// A connection that was given the token of a newer session stands and falls with that.
#[tokio::test]
async fn a_connection_is_of_the_session_of_its_newest_token() {
    let world = World::with(quiet()).await;
    let tokens = signed_in(&world, "ann").await;
    let caller = Caller { user: "ann".to_owned(), device: tokens.device };
    let phone = Phone { token: world.server.issue_token(&caller, SECOND * 60).unwrap(), ..at(&world, &tokens) };
    let mut link = phone.link().await;
    link.say(&LiveRequest::Token { token: AccessToken(tokens.access_token.0.clone()) }).await;
    assert!(matches!(link.hear().await, LiveResponse::Renewed { .. } | LiveResponse::TokenExpires { .. }));
    call(&world, &tokens, Method::POST, "/v1/logout", Some(json!({ "schema": 1 }))).await;
    assert_eq!(timeout(SECOND, link.closed()).await.expect("within a second"), CloseCode::Unauthorized);
    let link = phone.link().await;
    let mut stays = link;
    stays.say(&LiveRequest::Token { token: AccessToken(tokens.access_token.0.clone()) }).await;
    assert_eq!(stays.closed().await, CloseCode::Unauthorized, "nor is the token of a session that is over taken");
}

/// Two servers on one database, and nothing between them that could tell: as when the bus is down, or somebody revokes by
/// the command line.
#[tokio::test]
async fn what_nobody_tells_is_found_in_the_database_within_a_second() {
    let one = World::with(quiet()).await;
    let other = World::beside(&one, |server| server.config(quiet())).await;
    let (phone, lost) = (signed_in(&one, "ann").await, signed_in(&one, "ann").await);
    for _ in 0..3 {
        let again = NewDevice { device: None, ..self::phone("Phone") };
        let victim = one.server.begin_session("ann", None, again).await.unwrap();
        let cut = Open::at(&other, &victim).await;
        revoke(&one, &phone, &victim).await;
        cut.ends(ErrorCode::DeviceRevoked).await;
    }
    let (mut stays, goes) = (Open::at(&other, &phone).await, Open::at(&other, &lost).await);
    call(&one, &lost, Method::POST, "/v1/logout", Some(json!({ "schema": 1 }))).await;
    goes.ends(ErrorCode::SessionEnded).await;
    stays.goes_on().await;
}

/// So far ahead is the other node's clock that it does not find in the database what happens now.
pub const AHEAD: Duration = Duration::from_mins(1);

pub fn ahead() -> Clock {
    Clock::new(|| Clock::default().now_ms() + AHEAD.as_millis() as u64)
}

/// Connections are looked up soon after they have begun. Once one has ended, those that came before it at the same node were
/// looked up too, and whatever ends them later, somebody has told.
#[tokio::test]
async fn whatever_cuts_off_is_told_to_other_nodes_and_not_merely_found() {
    let bus = Arc::new(MemoryBus::new());
    let beside = Arc::new(bus.node());
    let one = World::on(|server| server.config(quiet()).bus(bus)).await;
    let other = World::beside(&one, |server| server.config(quiet()).bus(beside).clock(ahead())).await;
    let phone = signed_in(&one, "ann").await;
    let victims = [(); 5].map(|()| signed_in(&one, "ann"));
    let [lost, out, again, stolen, last] = futures_util::future::join_all(victims).await.try_into().unwrap();
    let second = refreshed(&one, &stolen).await;
    let third = refreshed(&one, &second).await;
    let mut open = Vec::new();
    for tokens in [&lost, &out, &again, &third, &last] {
        open.push(Open::at(&other, tokens).await);
    }
    let looked_up = open.pop().unwrap();
    revoke(&one, &phone, &last).await;
    looked_up.ends(ErrorCode::DeviceRevoked).await;
    let [at_lost, at_out, at_again, at_stolen] = open.try_into().ok().unwrap();

    revoke(&one, &phone, &lost).await;
    at_lost.ends(ErrorCode::DeviceRevoked).await;
    call(&one, &out, Method::POST, "/v1/logout", Some(json!({ "schema": 1 }))).await;
    at_out.ends(ErrorCode::SessionEnded).await;
    let device = NewDevice { device: Some(again.device), ..self::phone("Phone") };
    one.server.begin_session("ann", None, device).await.unwrap();
    at_again.ends(ErrorCode::SessionEnded).await;
    assert_eq!(refresh(&one, &stolen.refresh_token.0, stolen.device).await.status(), 400);
    at_stolen.ends(ErrorCode::SessionEnded).await;
}

/// Whoever is said to be cut off does not stay because nobody can say that it was not.
#[tokio::test]
async fn who_is_told_to_be_cut_off_goes_even_while_the_database_is_away() {
    let bus = Arc::new(MemoryBus::new());
    let telling = bus.node();
    let world = World::on(|server| server.config(quiet()).bus(bus)).await;
    let (ann, eve) = (signed_in(&world, "ann").await, signed_in(&world, "eve").await);
    let (mut cut, mut stays) = (at(&world, &ann).link().await, at(&world, &eve).link().await);
    let database = Connection::open(world.folder.path().join("rejoin.sqlite")).unwrap();
    database.execute_batch("ALTER TABLE devices RENAME TO away").unwrap();
    telling.publish(BusMessage::Cut(Cut { user: "ann".to_owned(), device: Some(ann.device) }));
    assert_eq!(timeout(SECOND, cut.closed()).await.expect("within a second"), CloseCode::Unavailable);
    stays.say(&LiveRequest::Ping { nonce: 7 }).await;
    assert_eq!(stays.hear().await, LiveResponse::Pong { nonce: 7 });
    // Nobody new is let in, and told to come again rather than to sign in.
    assert_eq!(at(&world, &ann).dial_round().await, Err(CloseCode::Unavailable));
    database.execute_batch("ALTER TABLE away RENAME TO devices").unwrap();
    at(&world, &ann).link().await;
}

/// Who is cut off in the moment between being let in and being listed is found as well.
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_slips_in_while_its_device_is_revoked() {
    let world = Arc::new(World::with(quiet()).await);
    let phone = signed_in(&world, "ann").await;
    for _ in 0..50 {
        let lost = signed_in(&world, "ann").await;
        let tokens = lost.clone();
        let here = Arc::clone(&world);
        let connecting = tokio::spawn(async move {
            let phone = at(&here, &tokens);
            let mut link = phone.dial().await;
            link.say(&phone.hello()).await;
            // Either it is not let in, or cut off: in both cases it ends.
            while !matches!(link.socket.next().await, Some(Ok(Message::Close(_)) | Err(_)) | None) {}
        });
        revoke(&world, &phone, &lost).await;
        timeout(SECOND, connecting).await.expect("within a second").unwrap();
    }
}
