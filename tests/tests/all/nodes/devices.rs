//! Devices at three nodes: whoever is cut off at one is cut off at all within a second, and losing answers logs nobody out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Response, StatusCode};
use sync_core::wire::account::{NewDevice, TokenResponse};
use sync_core::wire::{self, AccessToken, CloseCode, LiveRequest, SCHEMA};
use sync_server::{Config, Server};
use sync_tests::nodes::Nodes;
use sync_tests::rig::Seeded;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

const SECOND: Duration = Duration::from_secs(1);
/// So long that nobody is cut off by it.
const HEARTBEAT_MS: u64 = 60_000;

/// Three nodes, and an app that signs its people in by its own means.
struct World {
    nodes: Nodes,
    app: Server,
    client: Client,
}

impl World {
    async fn start(database: String, redis: String, prefix: String) -> Self {
        let change = move |config: &mut Config| {
            config.live.heartbeat_ms = HEARTBEAT_MS;
            config.database.url = Some(database.clone().into());
            config.redis.url = Some(redis.clone().into());
            config.redis.prefix.clone_from(&prefix);
            config.limits.rules.clear();
        };
        let of_nodes = change.clone();
        let start = move || Nodes::with(env!("CARGO_BIN_EXE_child").as_ref(), 3, |_, config| of_nodes(config));
        let nodes = tokio::task::spawn_blocking(start).await.unwrap();
        let mut config = Config::default();
        change(&mut config);
        // Nobody tells from here: it is one more node, but has no Redis.
        config.redis.url = None;
        config.keys = Some(nodes.node(0).data().to_owned());
        let app = Server::builder().config(config).build().await.unwrap();
        Self { nodes, app, client: client() }
    }

    async fn sign_in(&self, user: &str) -> TokenResponse {
        let device = NewDevice {
            device: None,
            name: "Phone".to_owned(),
            platform: "android".to_owned(),
            app_version: "1.0.0".to_owned(),
            public_key: None,
        };
        self.app.begin_session(user, None, device).await.unwrap()
    }

    async fn ask(&self, node: usize, tokens: &TokenResponse) -> StatusCode {
        let request = self.client.get(format!("{}/v1/spaces", self.nodes.url(node)));
        request.bearer_auth(&tokens.access_token.0).send().await.unwrap().status()
    }

    async fn revoke(&self, node: usize, by: &TokenResponse, device: &TokenResponse) {
        let request = self.client.delete(format!("{}/v1/devices/{}", self.nodes.url(node), device.device));
        let answer = request.bearer_auth(&by.access_token.0).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    async fn refresh(&self, node: usize, tokens: &TokenResponse) -> Response {
        let request = self.client.post(format!("{}/v1/oauth/token", self.nodes.url(node)));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(form(tokens)).send().await.unwrap()
    }

    async fn refreshed(&self, node: usize, tokens: &TokenResponse) -> TokenResponse {
        let answer = self.refresh(node, tokens).await;
        let (status, body) = (answer.status(), answer.bytes().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// A refresh whose answer nobody hears, and perhaps only half of which is sent.
    async fn refresh_in_vain(&self, node: usize, tokens: &TokenResponse, whole: bool) {
        let body = form(tokens);
        let head = format!(
            "POST /v1/oauth/token HTTP/1.1\r\nHost: rejoin\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.nodes.node(node).address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let sent = if whole { body.len() } else { body.len() / 2 };
        stream.write_all(&body.as_bytes()[..sent]).await.unwrap();
        if whole {
            // Its first byte says that it was done; nothing of it is read.
            let _ = stream.read_u8().await;
        }
    }

    async fn connect(&self, node: usize, tokens: &TokenResponse) -> WebSocketStream<TcpStream> {
        let address = self.nodes.node(node).address();
        let request = format!("ws://{address}/v1/live").into_client_request().unwrap();
        let (mut socket, _) = client_async(request, TcpStream::connect(address).await.unwrap()).await.unwrap();
        let hello = LiveRequest::Hello { schema: SCHEMA, token: Some(AccessToken(tokens.access_token.0.clone())) };
        socket.send(Message::Binary(wire::encode(&hello).unwrap().into())).await.unwrap();
        assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))), "hello");
        socket
    }

    /// A connection at each node, and a request that was just answered.
    async fn open(&self, tokens: &TokenResponse) -> Vec<WebSocketStream<TcpStream>> {
        let mut sockets = Vec::new();
        for node in 0..self.nodes.count() {
            sockets.push(self.connect(node, tokens).await);
            assert_eq!(self.ask(node, tokens).await, StatusCode::OK);
        }
        sockets
    }

    /// How long it takes until all of them are closed, and no node answers any more.
    async fn cut_off(&self, tokens: &TokenResponse, mut sockets: Vec<WebSocketStream<TcpStream>>) -> Duration {
        let began = Instant::now();
        let closing = join_all(sockets.iter_mut().map(async |socket| {
            loop {
                match timeout(10 * SECOND, socket.next()).await.expect("it is closed") {
                    Some(Ok(Message::Close(Some(frame)))) => {
                        assert_eq!(u16::from(frame.code), CloseCode::Unauthorized.number());
                        return;
                    }
                    // A heartbeat that was on its way.
                    Some(Ok(Message::Binary(_))) => {}
                    other => panic!("{other:?}"),
                }
            }
        }));
        let refusing = join_all((0..self.nodes.count()).map(async |node| {
            while self.ask(node, tokens).await != StatusCode::UNAUTHORIZED {
                assert!(began.elapsed() < 10 * SECOND);
                sleep(Duration::from_millis(5)).await;
            }
        }));
        tokio::join!(closing, refusing);
        began.elapsed()
    }

    /// Several are revoked, and robbed; each is cut off everywhere within a second, and their users' others are not.
    async fn everybody_is_cut_off_in_time(&self) {
        let stays = self.sign_in("ann").await;
        let mut open = self.open(&stays).await;
        let mut slowest = Duration::ZERO;
        for round in 0..6 {
            let lost = self.sign_in("ann").await;
            let sockets = self.open(&lost).await;
            self.revoke(round % 3, &stays, &lost).await;
            slowest = slowest.max(self.cut_off(&lost, sockets).await);

            let first = self.sign_in("ann").await;
            let second = self.refreshed(round % 3, &first).await;
            let third = self.refreshed((round + 1) % 3, &second).await;
            let sockets = self.open(&third).await;
            assert_eq!(self.refresh((round + 2) % 3, &first).await.status(), StatusCode::BAD_REQUEST);
            slowest = slowest.max(self.cut_off(&third, sockets).await);
            for node in 0..3 {
                assert_eq!(self.refresh(node, &third).await.status(), StatusCode::BAD_REQUEST, "the family is over");
            }
        }
        println!("the slowest was cut off after {slowest:?}");
        assert!(slowest < SECOND, "{slowest:?}");
        for (node, socket) in open.iter_mut().enumerate() {
            socket.send(Message::Binary(wire::encode(&LiveRequest::Ping { nonce: 1 }).unwrap().into())).await.unwrap();
            assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))), "nobody else at node {node}");
        }
    }
}

fn client() -> Client {
    // It wants a provider of TLS even where it only ever speaks plain HTTP. Whoever was faster has installed one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

fn form(tokens: &TokenResponse) -> String {
    // Neither has a character that a form would escape.
    format!("grant_type=refresh_token&refresh_token={}&device_id={}", tokens.refresh_token.0, tokens.device)
}

mod needs_postgres_and_needs_redis {
    use super::*;
    use sync_tests::services;

    async fn world() -> (World, services::Database, services::SharedRedis) {
        let (database, redis) =
            tokio::task::spawn_blocking(|| (services::database(), services::redis())).await.unwrap();
        let world = World::start(database.url().to_owned(), redis.url.clone(), redis.prefix.clone()).await;
        (world, database, redis)
    }

    async fn done(world: World, services: impl Send + 'static) {
        world.app.shutdown().await;
        // Both block.
        tokio::task::spawn_blocking(move || drop((world, services))).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_is_revoked_or_robbed_is_cut_off_on_three_nodes_within_a_second() {
        let (world, database, redis) = world().await;
        world.everybody_is_cut_off_in_time().await;
        done(world, (database, redis)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn fifty_racing_refreshes_at_three_nodes_give_one_successor() {
        let (world, database, redis) = world().await;
        let mut tokens = world.sign_in("ann").await;
        for _ in 0..5 {
            let answers = join_all((0..50).map(|at| world.refreshed(at % 3, &tokens))).await;
            let successors: BTreeSet<String> = answers.iter().map(|answer| answer.refresh_token.0.clone()).collect();
            assert_eq!(successors.len(), 1);
            tokens = answers.into_iter().next().unwrap();
        }
        done(world, (database, redis)).await;
    }

    /// Ten phones refresh a hundred times each; before each answer that is heard, requests and answers are lost as chance will.
    #[tokio::test(flavor = "multi_thread")]
    async fn losing_answers_logs_nobody_out_over_1000_random_interleavings() {
        const PHONES: u64 = 10;
        const REFRESHES: u64 = 100;
        let (world, database, redis) = world().await;
        let phones = join_all((0..PHONES).map(async |phone| {
            let mut random = Seeded::new(&format!("phone {phone}"));
            let mut tokens = world.sign_in("ann").await;
            let (mut lost, mut raced) = (0, 0);
            for _ in 0..REFRESHES {
                for _ in 0..random.below(4) {
                    world.refresh_in_vain(random.below(3) as usize, &tokens, random.below(3) > 0).await;
                    lost += 1;
                }
                let racing = 1 + random.below(3);
                raced += racing - 1;
                let asked = (0..racing).map(|_| random.below(3) as usize).collect::<Vec<_>>();
                let answers = join_all(asked.into_iter().map(|node| world.refreshed(node, &tokens))).await;
                let next = answers.into_iter().reduce(|one, other| {
                    assert_eq!(one.refresh_token, other.refresh_token, "one successor");
                    other
                });
                tokens = next.unwrap();
            }
            for node in 0..3 {
                assert_eq!(world.ask(node, &tokens).await, StatusCode::OK);
            }
            (lost, raced)
        }))
        .await;
        let (lost, raced) = phones.iter().fold((0, 0), |sum, phone| (sum.0 + phone.0, sum.1 + phone.1));
        println!("{} refreshes, {lost} requests or answers lost, {raced} races", PHONES * REFRESHES);
        assert!(lost > PHONES * REFRESHES);
        done(world, (database, redis)).await;
    }
}

mod needs_own_redis_and_needs_postgres {
    use super::*;
    use sync_tests::services;
    use sync_tests::services::redis::Redis;

    #[tokio::test(flavor = "multi_thread")]
    async fn so_is_everybody_while_redis_is_dead_and_when_it_hangs() {
        let (database, mut redis) =
            tokio::task::spawn_blocking(|| (services::database(), Redis::start())).await.unwrap();
        let world = World::start(database.url().to_owned(), redis.url(), "rejoin".to_owned()).await;
        world.everybody_is_cut_off_in_time().await;
        // Nobody has noticed that it hangs when the first one is revoked.
        assert!(sync_tests::services::daemon::signal(redis.id(), "STOP"));
        world.everybody_is_cut_off_in_time().await;
        assert!(sync_tests::services::daemon::signal(redis.id(), "CONT"));
        redis.kill();
        world.everybody_is_cut_off_in_time().await;
        world.app.shutdown().await;
        tokio::task::spawn_blocking(move || drop((world, database, redis))).await.unwrap();
    }
}
