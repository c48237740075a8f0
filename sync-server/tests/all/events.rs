//! `GET /v1/events`.

use std::io::Write;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;
use sync_core::id::{Hash, SpaceId};
use sync_core::ledger::Role;
use sync_core::log::Cursor;
use sync_core::wire::{ErrorCode, Page};
use sync_server::{Caller, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::link::chained;
use crate::world::{Phone, World, pasting, refused, typing};

struct Events {
    response: Response,
    text: String,
}

#[derive(Debug)]
struct Event {
    kind: String,
    id: Option<String>,
    data: Value,
}

impl Event {
    fn page(&self) -> Page {
        assert_eq!(self.kind, "page");
        serde_json::from_value(self.data["page"].clone()).unwrap()
    }
}

fn parse(text: &str) -> Event {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = serde_json::from_str(field("data").unwrap()).unwrap();
    Event { kind: field("event").unwrap().to_owned(), id: field("id").map(str::to_owned), data }
}

impl Phone {
    async fn events(&self, query: &str) -> Events {
        let response = self.request(Method::GET, &format!("/v1/events?{query}")).send().await.unwrap();
        Events::of(response)
    }

    async fn write(&mut self, changes: usize) {
        let items = typing(self.device, changes);
        let push = self.push(items);
        self.sync(&push).await;
    }
}

impl Events {
    fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event = parse(&self.text[..end]);
                self.text.drain(..end + 2);
                return Some(event);
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn page(&mut self) -> Event {
        loop {
            let event = self.next().await.unwrap();
            if event.kind != "beat" {
                event.page();
                return event;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_and_taken_up_again() {
    let world = World::new().await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let query = format!("space={}", ann.space);
    ann.write(2).await;
    let mut events = tablet.events(&query).await;
    let mut at = Cursor::start(ann.space);
    let first = events.page().await;
    assert_eq!(first.data["space"], ann.space.to_string());
    at = chained(at, &first.page());
    assert_eq!(at.seq, 3);
    ann.write(1).await;
    let second = events.page().await;
    at = chained(at, &second.page());
    assert_eq!(at.seq, 5);
    drop(events);

    ann.write(1).await;
    let id = second.id.unwrap();
    let mut again = tablet.events(&format!("{query}&since={id}")).await;
    assert_eq!(chained(at, &again.page().await.page()).seq, 7);
    let first = first.id.unwrap();
    let request = tablet.request(Method::GET, &format!("/v1/events?{query}&since={first}"));
    let mut again = Events::of(request.header("last-event-id", id).send().await.unwrap());
    at = chained(at, &again.page().await.page());
    ann.write(1).await;
    assert_eq!(chained(at, &again.page().await.page()).seq, 9);
}

#[tokio::test]
async fn several_spaces_come_in_one_stream() {
    let world = World::new().await;
    let (mut ann, bob) = (world.phone("ann"), world.phone("bob"));
    world.server.store().set_role(ann.space, "bob", Some(Role::Reader)).await.unwrap();
    let (own, shared) = (bob.space, ann.space);
    let mut events = bob.events(&format!("space={own}&space={shared}&space={shared}")).await;
    ann.write(1).await;
    let event = events.page().await;
    assert_eq!((event.data["space"].as_str(), event.id), (Some(shared.to_string().as_str()), None));
}

#[tokio::test]
async fn heartbeats_keep_it_alive_and_tell_where_the_logs_are() {
    let mut config = Config::default();
    config.live.heartbeat_ms = 50;
    let world = World::with(config).await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let mut events = tablet.events(&format!("space={}", ann.space)).await;
    ann.write(1).await;
    loop {
        let event = events.next().await.unwrap();
        if event.kind == "beat" && event.data["heads"][0]["head"]["seq"] == 2 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_gets_everything_when_it_does() {
    let world = World::new().await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let mut head = Vec::new();
    write!(head, "GET /v1/events?space={} HTTP/1.1\r\nhost: x\r\n", ann.space).unwrap();
    write!(head, "authorization: Bearer {}\r\n\r\n", tablet.token).unwrap();
    stream.write_all(&head).await.unwrap();
    let pushes = 300_u64;
    for _ in 0..pushes {
        let items = pasting(ann.device, 30_000);
        let push = ann.push(items);
        ann.sync(&push).await;
    }
    let mut text = Vec::new();
    let last = format!("\nid: {}.", 2 * pushes);
    let mut buffer = vec![0; 1 << 16];
    while !text.windows(last.len()).any(|window| window == last.as_bytes()) {
        let read = stream.read(&mut buffer).await.unwrap();
        // What may hold the end of it, or its two halves.
        text.drain(..text.len().saturating_sub(last.len()));
        text.extend_from_slice(&buffer[..read]);
        assert!(read > 0, "it ended early");
    }
}

#[tokio::test]
async fn it_ends_with_its_token() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let caller = Caller { user: "ann".to_owned(), device: ann.device };
    ann.token = world.server.issue_token(&caller, Duration::from_secs(2)).unwrap();
    let mut events = ann.events(&format!("space={}", ann.space)).await;
    let mut kinds = Vec::new();
    while let Some(event) = events.next().await {
        kinds.push(event.kind);
    }
    assert!(kinds.contains(&"token_expires".to_owned()), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_the_server_stops() {
    let mut world = World::new().await;
    let ann = world.phone("ann");
    let mut events = ann.events(&format!("space={}", ann.space)).await;
    world.stop();
    while events.next().await.is_some() {}
    world.stopped().await;
}

#[tokio::test]
async fn a_space_that_one_loses_is_told_of() {
    let mut config = Config::default();
    config.live.heartbeat_ms = 20;
    let world = World::with(config).await;
    let (ann, bob) = (world.phone("ann"), world.phone("bob"));
    world.server.store().set_role(ann.space, "bob", Some(Role::Reader)).await.unwrap();
    let mut events = bob.events(&format!("space={}", ann.space)).await;
    world.server.store().set_role(ann.space, "bob", None).await.unwrap();
    loop {
        let event = events.next().await.unwrap();
        if event.kind == "refused" {
            assert_eq!(event.data["error"]["code"], "not_found");
            break;
        }
    }
}

#[tokio::test]
async fn a_place_that_the_log_does_not_hold_is_told_of() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let lost = format!("{}.{}", 7, Hash::of(&[b"lost"]));
    let mut events = ann.events(&format!("space={}&since={lost}", ann.space)).await;
    assert_eq!(events.next().await.unwrap().kind, "refused");
}

#[tokio::test]
async fn bad_queries_and_strangers_are_refused() {
    let mut config = Config::default();
    config.live.connections_per_user_max = 1;
    let world = World::with(config).await;
    let ann = world.phone("ann");
    let own = ann.space;
    let get = |query: String| ann.request(Method::GET, &format!("/v1/events{query}")).send();
    let start = format!("0.{}", Cursor::start(own).chain);
    let table = [
        (String::new(), 400, ErrorCode::BadFrame),
        (format!("?space={own}&surprise=1"), 400, ErrorCode::BadFrame),
        (format!("?space={own}&since=1"), 400, ErrorCode::BadFrame),
        (format!("?space={own}&since=x.{start}"), 400, ErrorCode::BadFrame),
        (format!("?space={own}&space={}&since={start}", SpaceId::from_bytes([7; 16])), 400, ErrorCode::BadFrame),
        ("?space=abc".to_owned(), 404, ErrorCode::NotFound),
        (format!("?space={}", SpaceId::personal("bob")), 404, ErrorCode::NotFound),
    ];
    for (query, status, code) in table {
        refused(get(query).await.unwrap(), status, code).await;
    }
    let mut anonymous = crate::world::client().get(format!("http://{}/v1/events?space={own}", world.address));
    refused(anonymous.send().await.unwrap(), 401, ErrorCode::Unauthorized).await;
    anonymous =
        crate::world::client().get(format!("http://{}/v1/events?space={own}&token={}", world.address, ann.token));
    refused(anonymous.send().await.unwrap(), 401, ErrorCode::Unauthorized).await;
    let only = ann.events(&format!("space={own}&since={start}")).await;
    refused(get(format!("?space={own}")).await.unwrap(), 503, ErrorCode::Busy).await;
    drop(only);
}
