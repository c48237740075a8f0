//! `POST /v1/sync`.

use std::io::Write;

use serde_json::{Value, json};
use sync_core::code::RejectCode;
use sync_core::feed::{Body, Item};
use sync_core::id::{Hash, SpaceId};
use sync_core::limits::{BODY_BYTES_MAX, PAGE_BYTES_MAX};
use sync_core::log::Cursor;
use sync_core::wire::{self, ErrorCode, ItemStatus, Page, PullAnswer, PushAnswer, SCHEMA, SyncResponse};
use sync_server::Config;
use sync_server::auth::keys::Keys;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{JSON, MSGPACK, World, frame, new_doc, refused, typing};

fn page(response: SyncResponse) -> Page {
    match response.pull {
        Some(PullAnswer::Page(page)) => page,
        other => panic!("no page: {other:?}"),
    }
}

fn statuses(response: &SyncResponse) -> Vec<(ItemStatus, Option<RejectCode>)> {
    match &response.push {
        Some(PushAnswer::Taken { results, .. }) => results.iter().map(|result| (result.status, result.code)).collect(),
        other => panic!("not taken: {other:?}"),
    }
}

#[tokio::test]
async fn what_one_phone_pushes_another_pulls() {
    let world = World::new().await;
    let (mut ann, tablet) = (world.phone("ann"), world.phone("ann"));
    let items = typing(ann.device, 20);
    let push = ann.push(items.clone());
    let answer = ann.sync(&push).await;
    assert!(statuses(&answer).iter().all(|status| *status == (ItemStatus::Applied, None)), "{answer:?}");
    assert!(answer.pull.is_none(), "nobody asked for it");
    let again = ann.sync(&push).await;
    assert!(statuses(&again).iter().all(|status| *status == (ItemStatus::Duplicate, None)));

    let got = page(tablet.sync(&tablet.pull()).await);
    let bodies: Vec<Body> = got.entries.0.iter().filter_map(|entry| entry.body.clone()).collect();
    assert_eq!(bodies, items.into_iter().map(|item| item.body).collect::<Vec<_>>());
    assert!(!got.more);
    assert_eq!(got.version.unwrap().get(ann.device), Some(ann.head));
    let keys = Keys::open(world.folder.path()).unwrap();
    assert!(keys.receipts.verify(ann.space, &got.next, &got.receipt));
}

#[tokio::test]
async fn the_push_is_taken_before_the_page_is_read() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 1);
    let mut request = ann.push(items);
    request.pull = ann.pull().pull;
    let got = page(ann.sync(&request).await);
    assert_eq!(got.entries.0.len(), 2);
    request = ann.pull();
    if let Some(pull) = &mut request.pull {
        (pull.since, pull.own) = (Some(Cursor::start(ann.space)), false);
    }
    let got = page(ann.sync(&request).await);
    assert!(got.entries.0.iter().all(|entry| entry.body.is_none()), "a phone has what it wrote");
}

#[tokio::test]
async fn json_says_the_same() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 2);
    let push = ann.push(items);
    let response = ann.post(JSON, wire::encode_json(&push).unwrap()).await;
    assert_eq!(response.headers()["content-type"], JSON);
    let answer: SyncResponse = frame(response).await;
    assert_eq!(statuses(&answer).len(), 3);
    let readable = ann.post(JSON, wire::encode_json(&ann.pull()).unwrap()).await;
    let readable: SyncResponse = frame(readable).await;
    assert_eq!(page(readable), page(ann.sync(&ann.pull()).await));
    // Accept decides over the request's own type.
    let request = ann.request(reqwest::Method::POST, "/v1/sync").header("content-type", JSON);
    let request = request.header("accept", "text/html, application/x-msgpack;q=0.9");
    let response = request.body(wire::encode_json(&ann.pull()).unwrap()).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], MSGPACK);
}

#[tokio::test]
async fn a_bad_item_does_not_stop_the_others() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let mut items = typing(ann.device, 2);
    let doc = items[0].doc;
    items.insert(1, Item::change(doc, Hash::of(&[b"no change"]), b"no change".to_vec()));
    items.insert(2, typing(world.phone("eve").device, 1).remove(1));
    let answer = ann.push(items);
    let answer = ann.sync(&answer).await;
    let applied = (ItemStatus::Applied, None);
    let rejected = |code| (ItemStatus::Rejected, Some(code));
    let expected = [applied, rejected(RejectCode::Malformed), rejected(RejectCode::ForgedActor), applied, applied];
    assert_eq!(statuses(&answer), expected);
}

#[tokio::test]
async fn bodies_that_are_no_frames() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 3);
    let whole = wire::encode(&ann.push(items)).unwrap();
    for end in [0, 1, whole.len() / 2, whole.len() - 1] {
        refused(ann.post(MSGPACK, whole[..end].to_vec()).await, 400, ErrorCode::BadFrame).await;
    }
    let mut longer = whole.clone();
    longer.push(0);
    refused(ann.post(MSGPACK, longer).await, 400, ErrorCode::BadFrame).await;
    refused(ann.post(JSON, whole.clone()).await, 400, ErrorCode::BadFrame).await;
    let mut frame: Value = serde_json::to_value(ann.pull()).unwrap();
    frame["surprise"] = json!(1);
    let error = refused(ann.post(JSON, frame.to_string().into_bytes()).await, 400, ErrorCode::BadFrame).await;
    assert!(error.message.contains("surprise"), "the error names the field: {}", error.message);
    for schema in [json!(SCHEMA + 1), json!(0)] {
        frame["schema"] = schema;
        let response = ann.post(JSON, frame.to_string().into_bytes()).await;
        refused(response, 400, ErrorCode::UnsupportedSchema).await;
    }
    assert!(matches!(ann.post(MSGPACK, whole).await.status().as_u16(), 200), "none of it consumed anything");
}

#[tokio::test]
async fn what_is_too_large_is_told_so() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let error = refused(ann.post(MSGPACK, vec![0; BODY_BYTES_MAX + 1]).await, 413, ErrorCode::TooLarge).await;
    assert!(error.retry_after_ms.is_none(), "trying again does not help");
    let doc = new_doc();
    let items = (0..5).map(|at: u8| Item::change(doc, Hash::of(&[&[at]]), vec![at; PAGE_BYTES_MAX / 5 + 1]));
    let request = ann.push(items.collect());
    refused(ann.send(&request).await, 413, ErrorCode::TooLarge).await;
}

#[tokio::test]
async fn a_cursor_that_the_log_does_not_hold_is_diverged() {
    let world = World::new().await;
    let ann = world.phone("ann");
    let mut request = ann.pull();
    if let Some(pull) = &mut request.pull {
        pull.since = Some(Cursor { seq: 7, chain: Hash::of(&[b"lost"]) });
    }
    let answer = ann.sync(&request).await;
    assert_eq!(answer.pull, Some(PullAnswer::Diverged { head: Cursor::start(ann.space) }));
}

#[tokio::test]
async fn too_many_at_once_come_again_and_slow_bodies_are_given_up() {
    let mut config = Config::default();
    config.http.requests_in_flight_max = 1;
    config.http.body_timeout_ms = 2_000;
    let world = World::with(config).await;
    let ann = world.phone("ann");
    let mut slow = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let mut head = Vec::new();
    write!(head, "POST /v1/sync HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", ann.token).unwrap();
    write!(head, "content-type: {MSGPACK}\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n").unwrap();
    slow.write_all(&head).await.unwrap();
    // "100 Continue" comes when the server begins to read the body: from then on the one place is taken.
    let mut line = [0; 12];
    slow.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100");
    refused(ann.send(&ann.pull()).await, 503, ErrorCode::Busy).await;
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("HTTP/1.1 408"), "{rest}");
    assert!(page(ann.sync(&ann.pull()).await).entries.0.is_empty(), "and the place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_phones_at_once() {
    let world = World::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut phone = world.phone("ann");
        tasks.spawn(async move {
            let items = typing(phone.device, 10);
            let push = phone.push(items);
            phone.sync(&push).await
        });
    }
    let mut seqs = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        match answer.unwrap().push {
            Some(PushAnswer::Taken { results, .. }) => seqs.extend(results.into_iter().map(|result| result.seq)),
            other => panic!("not taken: {other:?}"),
        }
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=550).collect::<Vec<u64>>());
    let ann = world.phone("ann");
    assert_eq!(ann.space, SpaceId::personal("ann"));
    assert_eq!(page(ann.sync(&ann.pull()).await).entries.0.len(), 550);
}
