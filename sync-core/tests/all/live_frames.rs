//! Every frame of the live connection, for the golden files.

use serde_bytes::ByteBuf;
use sync_core::feed::{FeedHead, Run};
use sync_core::id::Hash;
use sync_core::log::Cursor;
use sync_core::wire::{
    AccessToken, Bytes, CloseCode, ErrorCode, ErrorResponse, ItemResult, ItemStatus, Limits, LiveRequest, LiveResponse,
    Page, Peer, Pull, PullAnswer, PushAnswer, SCHEMA, Snapshot, SnapshotPart, SnapshotWish, SpaceHead, Welcome, encode,
};

use crate::cases::{SPACE, device, doc};
use crate::golden::{Frame, frame};

/// Frames that carry that run and that page.
pub fn frames(run: Run, page: Page) -> Vec<Frame> {
    let cursor = Cursor { seq: 70_000, chain: Hash([1; 32]) };
    let pull = Pull { since: Some(cursor), bytes_max: None, own: false, version: true, snapshots: None };
    let token = || AccessToken("a.b.c".to_owned());
    let result = ItemResult { seq: 300, status: ItemStatus::Applied, code: None };
    let acked = FeedHead { n: 7, chain: Hash([7; 32]) };
    let taken = PushAnswer::Taken { acked, results: vec![result], need: Vec::new() };
    let limits = Limits::default();
    let welcome =
        Welcome { schema: SCHEMA, device: device(1), heartbeat_ms: 5_000, token_expires_in_ms: 900_000, limits };
    let error = ErrorResponse {
        code: ErrorCode::NotFound,
        message: "There is no such thing here.".to_owned(),
        request_id: "0193b7e2".to_owned(),
        retry_after_ms: None,
        update_url: None,
    };
    let peer = |data: Option<&[u8]>| Peer {
        user: "ann".to_owned(),
        device: device(2),
        data: data.map(ByteBuf::from),
        ttl_ms: if data.is_some() { 30_000 } else { 0 },
    };
    let sync = |push, pull, subscribe| LiveRequest::Sync { id: 3, space: SPACE, push, pull, subscribe, snapshot: None };
    let says = |name, value: &LiveRequest| frame(name, true, value);
    let hears = |name, value: &LiveResponse| frame(name, false, value);
    vec![
        says("live_hello", &LiveRequest::Hello { schema: SCHEMA, token: Some(token()) }),
        says("live_hello_bare", &LiveRequest::Hello { schema: SCHEMA, token: None }),
        says("live_subscribe", &sync(Some(run.clone()), Some(pull), true)),
        says("live_push", &sync(Some(run), None, false)),
        says(
            "live_wish",
            &LiveRequest::Sync {
                id: 3,
                space: SPACE,
                push: None,
                pull: None,
                subscribe: false,
                snapshot: Some(SnapshotWish { doc: doc(1), hash: Hash([4; 32]), offset: 0, bytes_max: None }),
            },
        ),
        says("live_unsubscribe", &LiveRequest::Unsubscribe { space: SPACE }),
        says(
            "live_show",
            &LiveRequest::Presence { space: SPACE, data: Some(ByteBuf::from(*b"\x00\xff")), ttl_ms: 30_000 },
        ),
        says("live_leave", &LiveRequest::Presence { space: SPACE, data: None, ttl_ms: 0 }),
        says("live_token", &LiveRequest::Token { token: token() }),
        says("live_ping", &LiveRequest::Ping { nonce: 1_000_000 }),
        hears("live_welcome", &LiveResponse::Hello(welcome)),
        hears(
            "live_answer",
            &LiveResponse::Answer {
                id: 3,
                space: SPACE,
                push: Some(taken),
                pull: Some(PullAnswer::Page(page.clone())),
                snapshot: None,
            },
        ),
        hears(
            "live_answer_diverged",
            &LiveResponse::Answer {
                id: 3,
                space: SPACE,
                push: None,
                pull: Some(PullAnswer::Diverged { head: cursor }),
                snapshot: None,
            },
        ),
        hears(
            "live_part",
            &LiveResponse::Answer {
                id: 3,
                space: SPACE,
                push: None,
                pull: None,
                snapshot: Some(SnapshotPart {
                    snapshot: Snapshot {
                        doc: doc(1),
                        seq: 7,
                        hash: Hash([4; 32]),
                        size: 2,
                        heads: vec![Hash([5; 32])],
                        bytes: None,
                        grafts: None,
                    },
                    offset: 0,
                    bytes: Bytes(b"\x00\xff".to_vec()),
                }),
            },
        ),
        hears("live_refused", &LiveResponse::Refused { id: Some(3), space: Some(SPACE), error: error.clone() }),
        hears("live_removed", &LiveResponse::Refused { id: None, space: Some(SPACE), error }),
        hears("live_page", &LiveResponse::Page { space: SPACE, page: Page { version: None, ..page } }),
        hears("live_page_times", &LiveResponse::Page { space: SPACE, page: crate::golden::timed() }),
        hears("live_beat", &LiveResponse::Beat { heads: vec![SpaceHead { space: SPACE, head: cursor }] }),
        hears("live_beat_bare", &LiveResponse::Beat { heads: Vec::new() }),
        hears("live_presence", &LiveResponse::Presence { space: SPACE, peers: vec![peer(Some(b"\x01")), peer(None)] }),
        hears("live_renewed", &LiveResponse::Renewed { expires_in_ms: 900_000 }),
        hears("live_token_expires", &LiveResponse::TokenExpires { in_ms: 60_000 }),
        hears("live_pong", &LiveResponse::Pong { nonce: 1_000_000 }),
    ]
}

#[test]
fn a_frame_of_tomorrow_is_passed_over_and_a_broken_one_is_not() {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Tomorrow {
        Weather { wind: u8 },
        Pong { rain: u8 },
    }
    assert_eq!(LiveResponse::read(&encode(&Tomorrow::Weather { wind: 9 }).unwrap()).unwrap(), None);
    assert!(LiveResponse::read(&encode(&Tomorrow::Pong { rain: 9 }).unwrap()).is_err());
    assert!(LiveResponse::read(b"\x93\x01\x02").is_err());
    assert!(LiveResponse::read(&encode(&LiveRequest::Unsubscribe { space: SPACE }).unwrap()).unwrap().is_none());
    let pong = LiveResponse::Pong { nonce: 1 };
    assert_eq!(LiveResponse::read(&encode(&pong).unwrap()).unwrap(), Some(pong));
}

#[test]
fn a_token_is_in_no_debug_text() {
    let frame = LiveRequest::Token { token: AccessToken("secret".to_owned()) };
    assert!(!format!("{frame:?}").contains("secret"));
}

#[test]
fn close_codes_keep_their_numbers() {
    let known: Vec<u16> = (0..=u16::MAX).filter(|number| CloseCode::from_number(*number).is_some()).collect();
    assert_eq!(known, [1000, 1001, 1003, 1009, 4400, 4401, 4408, 4426, 4429, 4500, 4503]);
    assert!(known.iter().all(|number| CloseCode::from_number(*number).unwrap().number() == *number));
}
