//! `POST /v1/accounts`, `POST /v1/accounts/password`, and signing in at `POST /v1/devices`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use sync_core::id::Hash;
use sync_core::wire::ErrorCode;
use sync_core::wire::account::{SignUpResponse, TokenResponse};
use sync_server::store::audit::AuditFilter;
use sync_server::{Clock, Config};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::devices::{call, not_refreshed, refresh};
use crate::world::{JSON, World, client, frame, refused};

pub const EMAIL: &str = "ann@example.com";
pub const PASSWORD: &str = "Correct horse 7";

/// Hashes that cost next to nothing, and no limits but those of identities.
pub fn cheap() -> Config {
    let mut config = Config::default();
    (config.accounts.memory_kib, config.accounts.iterations) = (64, 1);
    config.limits.rules.clear();
    config
}

/// A server whose clock goes by hand.
pub async fn world(config: Config) -> (World, Arc<AtomicU64>) {
    let now_ms = Arc::new(AtomicU64::new(Clock::default().now_ms()));
    let clock = Clock::new({
        let now_ms = Arc::clone(&now_ms);
        move || now_ms.load(Ordering::Relaxed)
    });
    (World::on(|server| server.config(config).clock(clock)).await, now_ms)
}

async fn post(world: &World, path: &str, body: Value) -> Response {
    let request = client().post(format!("http://{}{path}", world.address));
    request.header("content-type", JSON).body(body.to_string()).send().await.unwrap()
}

fn signing_up(email: &str, password: &str) -> Value {
    json!({"schema": 1, "email": email, "password": password, "display_name": "Ann"})
}

pub async fn sign_up(world: &World) {
    let answer = post(world, "/v1/accounts", signing_up(EMAIL, PASSWORD)).await;
    assert_eq!(answer.status(), 202);
}

pub async fn sign_in(world: &World, email: &str, password: &str) -> Response {
    let proof = json!({"password": {"email": email, "password": password}});
    let device = json!({"name": "Phone", "platform": "ios", "app_version": "1.0.0"});
    post(world, "/v1/devices", json!({"schema": 1, "proof": proof, "device": device})).await
}

#[tokio::test]
async fn somebody_signs_up_signs_in_and_syncs() {
    let world = World::new().await;
    sign_up(&world).await;
    let tokens: TokenResponse = frame(sign_in(&world, " Ann@Example.COM", PASSWORD).await).await;
    assert!(tokens.user.starts_with("local:"), "{}", tokens.user);
    assert_eq!(call(&world, &tokens, Method::GET, "/v1/spaces", None).await.status(), 200);
    for (email, password) in [(EMAIL, "Correct horse 8"), ("eve@example.com", PASSWORD)] {
        refused(sign_in(&world, email, password).await, 401, ErrorCode::LoginFailed).await;
    }
}

/// Whoever hangs up before the answer has tried all the same: it is counted, and the audit log has it.
#[tokio::test]
async fn who_hangs_up_before_the_answer_has_tried() {
    let mut config = Config::default();
    // A hash that takes much longer than hanging up; and the second failure blocks.
    (config.accounts.iterations, config.accounts.block_after, config.accounts.backoff_ms) = (40, 2, 0);
    let world = World::with(config).await;
    let body = json!({"schema": 1, "proof": {"password": {"email": EMAIL, "password": "Wrong horse 77"}},
                      "device": {"name": "Phone", "platform": "ios", "app_version": "1.0.0"}})
    .to_string();
    let request = format!(
        "POST /v1/devices HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let registry = world.server.registry();
    let identity = Hash::of(&[b"rejoin identity\0", EMAIL.as_bytes()]);
    let counted = async || registry.attempts(identity).await.unwrap().map_or(0, |record| record.attempts.recent.len());
    for attempt in 1..=2 {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        while counted().await < attempt {}
        drop(socket);
    }
    let wanted = AuditFilter { kind: Some("signin.*".to_owned()), limit: 10, ..AuditFilter::default() };
    let all = async {
        loop {
            let rows = registry.read_audit(wanted.clone()).await.unwrap();
            if rows.len() == 3 {
                return rows;
            }
        }
    };
    let rows = timeout(Duration::from_mins(1), all).await.expect("both failures and the block");
    let mut kinds: Vec<_> = rows.iter().map(|row| row.kind.as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["signin.blocked", "signin.failed", "signin.failed"]);
    assert!(rows.iter().all(|row| row.address.as_deref() == Some("127.0.0.1")), "{rows:?}");
    refused(sign_in(&world, EMAIL, PASSWORD).await, 429, ErrorCode::RateLimited).await;
}

/// All of an answer that a caller could compare.
async fn all_of(answer: Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let status = answer.status().as_u16();
    let headers = answer.headers().iter().filter(|(name, _)| *name != "date" && *name != "x-request-id");
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    (status, headers, answer.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn signing_up_answers_alike_whether_the_address_was_free_or_not() {
    let world = World::with(cheap()).await;
    let first = all_of(post(&world, "/v1/accounts", signing_up(EMAIL, PASSWORD)).await).await;
    let again = all_of(post(&world, "/v1/accounts", signing_up("ANN@example.com", "Another horse 8")).await).await;
    assert_eq!(first, again);
    assert_eq!(first.0, 202);
    let frame: SignUpResponse = serde_json::from_slice(&first.2).unwrap();
    assert_eq!(frame, SignUpResponse { schema: 1 });
    assert_eq!(sign_in(&world, EMAIL, PASSWORD).await.status(), 201, "the first one stands");
}

#[tokio::test]
async fn bad_sign_ups_are_refused_by_the_name_of_the_field() {
    let world = World::with(cheap()).await;
    let with = |field: &str, value: Value| {
        let mut body = signing_up(EMAIL, PASSWORD);
        body[field] = value;
        body
    };
    let mut missing = signing_up(EMAIL, PASSWORD);
    missing.as_object_mut().unwrap().remove("display_name");
    for (body, code, field) in [
        (with("email", json!("ann")), ErrorCode::Invalid, "email"),
        (with("email", json!("ann@a@b")), ErrorCode::Invalid, "email"),
        (with("email", json!(format!("{}@example.com", "a".repeat(244)))), ErrorCode::Invalid, "email"),
        (with("password", json!("Short horse1!"[..11])), ErrorCode::Invalid, "password"),
        (with("password", json!("correct horse 7")), ErrorCode::Invalid, "password"),
        (with("password", json!("Correct horse x")), ErrorCode::Invalid, "password"),
        (with("password", json!("Correcthorse777")), ErrorCode::Invalid, "password"),
        (with("password", json!(format!("{PASSWORD}{}", "x".repeat(1_024)))), ErrorCode::Invalid, "password"),
        (with("display_name", json!("")), ErrorCode::Invalid, "display_name"),
        (with("display_name", json!(" \t ")), ErrorCode::Invalid, "display_name"),
        (with("display_name", json!("x".repeat(101))), ErrorCode::Invalid, "display_name"),
        (with("display_name", json!("a\u{0}b")), ErrorCode::Invalid, "display_name"),
        (with("role", json!("owner")), ErrorCode::BadFrame, "role"),
        (with("is_admin", json!(true)), ErrorCode::BadFrame, "is_admin"),
        (with("user", json!("local:1")), ErrorCode::BadFrame, "user"),
        (missing, ErrorCode::BadFrame, "display_name"),
    ] {
        let error = refused(post(&world, "/v1/accounts", body.clone()).await, 400, code).await;
        assert!(error.message.contains(&format!("`{field}`")), "{body}: {}", error.message);
        assert!(!error.message.contains("horse"), "{}", error.message);
    }
    let other = post(&world, "/v1/accounts", with("schema", json!(9))).await;
    refused(other, 400, ErrorCode::UnsupportedSchema).await;
    refused(sign_in(&world, EMAIL, PASSWORD).await, 401, ErrorCode::LoginFailed).await;
    let longest = with("display_name", json!("é".repeat(100)));
    assert_eq!(post(&world, "/v1/accounts", longest).await.status(), 202);
}

#[tokio::test]
async fn nobody_signs_up_where_that_is_off() {
    let mut config = cheap();
    config.accounts.sign_up = false;
    let world = World::with(config).await;
    refused(post(&world, "/v1/accounts", signing_up(EMAIL, PASSWORD)).await, 404, ErrorCode::NotFound).await;
}

#[tokio::test]
async fn guessing_is_slowed_down_alike_for_those_who_have_an_account_and_those_who_have_none() {
    let (world, now_ms) = world(cheap()).await;
    sign_up(&world).await;
    let mut seen = Vec::new();
    for email in [EMAIL, "eve@example.com"] {
        let mut answers = Vec::new();
        for _ in 0..12 {
            let (status, headers, body) = all_of(sign_in(&world, email, "Wrong horse 77").await).await;
            let mut body: Value = serde_json::from_slice(&body).unwrap();
            body.as_object_mut().unwrap().remove("request_id");
            // Ids are of different lengths.
            let headers: Vec<_> = headers.into_iter().filter(|(name, _)| name != "content-length").collect();
            answers.push((status, headers, body));
            now_ms.fetch_add(3_000, Ordering::Relaxed);
        }
        seen.push(answers);
    }
    assert_eq!(seen[0], seen[1]);
    let statuses: Vec<u16> = seen[0].iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 401, 429, 429, 401, 429, 429, 429, 429]);
    let (_, headers, body) = seen[0].last().unwrap();
    let seconds = headers.iter().find(|(name, _)| name == "retry-after").unwrap().1.parse::<u64>().unwrap();
    assert!((800..900).contains(&seconds) && body["code"] == "rate_limited", "{seconds}: {body}");
}

#[tokio::test]
async fn passwords_tried_on_many_identities_are_bounded_by_the_address_they_come_from() {
    let mut config = Config::default();
    (config.accounts.memory_kib, config.accounts.iterations) = (64, 1);
    let world = World::with(config).await;
    let mut statuses = Vec::new();
    for number in 0..130 {
        statuses.push(sign_in(&world, &format!("user{number}@example.com"), PASSWORD).await.status().as_u16());
    }
    let tried = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!((tried, statuses.len() - tried), (120, 10));
    assert_eq!(statuses[120..], [429; 10]);
}

#[tokio::test]
async fn another_password_ends_all_other_sessions() {
    let (world, now_ms) = world(cheap()).await;
    sign_up(&world).await;
    let phone: TokenResponse = frame(sign_in(&world, EMAIL, PASSWORD).await).await;
    let tablet: TokenResponse = frame(sign_in(&world, EMAIL, PASSWORD).await).await;
    let change = async |old: &str, new: &str| {
        let body = json!({"schema": 1, "old_password": old, "new_password": new});
        call(&world, &phone, Method::POST, "/v1/accounts/password", Some(body)).await
    };
    refused(change("Wrong horse 77", "Another horse 8").await, 401, ErrorCode::LoginFailed).await;
    refused(change(PASSWORD, "Another horse 8").await, 429, ErrorCode::RateLimited).await;
    now_ms.fetch_add(2_000, Ordering::Relaxed);
    let error = refused(change(PASSWORD, "another").await, 400, ErrorCode::Invalid).await;
    assert!(error.message.contains("`new_password`"), "{}", error.message);
    assert_eq!(change(PASSWORD, "Another horse 8").await.status(), 204);

    assert_eq!(call(&world, &phone, Method::GET, "/v1/spaces", None).await.status(), 200);
    refused(call(&world, &tablet, Method::GET, "/v1/spaces", None).await, 401, ErrorCode::SessionEnded).await;
    let answer = refresh(&world, &tablet.refresh_token.0, tablet.device).await;
    not_refreshed(answer, "invalid_grant", ErrorCode::SessionEnded).await;
    now_ms.fetch_add(900_000, Ordering::Relaxed);
    refused(sign_in(&world, EMAIL, PASSWORD).await, 401, ErrorCode::LoginFailed).await;
    now_ms.fetch_add(2_000, Ordering::Relaxed);
    assert_eq!(sign_in(&world, EMAIL, "Another horse 8").await.status(), 201);
}

#[tokio::test]
async fn who_has_no_password_here_changes_none() {
    let world = World::with(cheap()).await;
    let ann = crate::devices::signed_in(&world, "https://accounts.example.com:ann").await;
    let body = json!({"schema": 1, "old_password": PASSWORD, "new_password": "Another horse 8"});
    let answer = call(&world, &ann, Method::POST, "/v1/accounts/password", Some(body)).await;
    refused(answer, 404, ErrorCode::NotFound).await;
}
