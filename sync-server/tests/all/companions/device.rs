//! The device authorization flow.

use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sync_core::wire::ErrorCode;
use sync_core::wire::account::TokenResponse;

use super::{DEVICE_GRANT, Fields, device_fields, get, house, post, redeem, refusal, refused, tokens, with};
use crate::accounts::{EMAIL, PASSWORD, sign_in};
use crate::devices::call;
use crate::world::{self, World};

const BEGIN: &str = "/v1/oauth/device_authorization";
const PAGE: &str = "/v1/oauth/device";

struct Tv {
    device_code: String,
    user_code: String,
}

async fn begin(world: &World) -> Tv {
    let response = post(world, BEGIN, &with(Fields::new(), &[("client_id", "tv")])).await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    assert_eq!((&body["expires_in"], &body["interval"]), (&json!(600), &json!(5)));
    assert_eq!(text("verification_uri"), "https://sync.example.com/v1/oauth/device");
    let complete = format!("https://sync.example.com/v1/oauth/device?user_code={}", text("user_code"));
    assert_eq!(text("verification_uri_complete"), complete);
    Tv { device_code: text("device_code"), user_code: text("user_code") }
}

impl Tv {
    fn fields(&self) -> Fields {
        let fields = [("grant_type", DEVICE_GRANT), ("client_id", "tv"), ("device_code", &self.device_code)];
        with(device_fields(), &fields)
    }

    async fn poll(&self, world: &World) -> Response {
        redeem(world, &self.fields()).await
    }
}

async fn phone(world: &World) -> TokenResponse {
    world::frame(sign_in(world, EMAIL, PASSWORD).await).await
}

async fn approve(world: &World, phone: &TokenResponse, user_code: &str, approve: bool) -> Response {
    let body = json!({"schema": 1, "user_code": user_code, "approve": approve});
    call(world, phone, Method::POST, "/v1/oauth/device/approve", Some(body)).await
}

#[tokio::test]
async fn a_phone_lets_a_television_in() {
    let (world, now_ms) = house().await;
    let (tv, phone) = (begin(&world).await, phone(&world).await);
    let letters = tv.user_code.replace('-', "");
    assert!(letters.len() == 8 && letters.bytes().all(|byte| b"BCDFGHJKLMNPQRSTVWXZ".contains(&byte)), "{letters}");
    refused(tv.poll(&world).await, "authorization_pending").await;
    assert_eq!(approve(&world, &phone, &letters.to_lowercase(), true).await.status(), 204);
    now_ms.fetch_add(5_000, Ordering::Relaxed);
    let tokens = tokens(tv.poll(&world).await).await;
    assert_eq!(tokens.user, phone.user);
    assert_ne!(tokens.device, phone.device);
    assert_eq!(call(&world, &tokens, Method::GET, "/v1/spaces", None).await.status(), 200);
    let again = approve(&world, &phone, &letters, true).await;
    world::refused(again, 404, ErrorCode::NotFound).await;
}

#[tokio::test]
async fn a_code_is_good_for_one_session_which_ends_when_it_is_redeemed_again() {
    let (world, _) = house().await;
    let (tv, phone) = (begin(&world).await, phone(&world).await);
    assert_eq!(approve(&world, &phone, &tv.user_code, true).await.status(), 204);
    let first = tokens(tv.poll(&world).await).await;
    refused(tv.poll(&world).await, "invalid_grant").await;
    let over = call(&world, &first, Method::GET, "/v1/spaces", None).await;
    world::refused(over, 401, ErrorCode::SessionEnded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_polls_at_once_one_at_most_wins() {
    let (world, _) = house().await;
    let phone = phone(&world).await;
    for _ in 0..3 {
        let tv = begin(&world).await;
        assert_eq!(approve(&world, &phone, &tv.user_code, true).await.status(), 204);
        let answers = join_all((0..20).map(|_| tv.poll(&world))).await;
        let won = answers.iter().filter(|answer| answer.status() == 200).count();
        assert!(won <= 1, "{won} won");
    }
}

#[tokio::test]
async fn who_asks_too_often_has_to_ask_less_often() {
    let (world, now_ms) = house().await;
    let tv = begin(&world).await;
    let poll = async |after_ms: u64| {
        now_ms.fetch_add(after_ms, Ordering::Relaxed);
        refusal(tv.poll(&world).await).await["error"].as_str().unwrap().to_owned()
    };
    for (after_ms, error) in [
        (0, "authorization_pending"),
        (5_000, "authorization_pending"),
        // The network may have held up the one before.
        (4_500, "authorization_pending"),
        (4_499, "slow_down"),
        // Ten seconds from now on, counted from the last question.
        (9_499, "slow_down"),
        (14_499, "slow_down"),
        (20_000, "authorization_pending"),
        (20_000, "authorization_pending"),
        (5_000, "slow_down"),
    ] {
        assert_eq!(poll(after_ms).await, error, "after {after_ms} ms");
    }
}

#[tokio::test]
async fn nobody_waits_for_longer_than_ten_minutes() {
    let (world, now_ms) = house().await;
    let (tv, approved, phone) = (begin(&world).await, begin(&world).await, phone(&world).await);
    assert_eq!(approve(&world, &phone, &approved.user_code, true).await.status(), 204);
    now_ms.fetch_add(599_999, Ordering::Relaxed);
    refused(tv.poll(&world).await, "authorization_pending").await;
    now_ms.fetch_add(1, Ordering::Relaxed);
    refused(tv.poll(&world).await, "expired_token").await;
    refused(approved.poll(&world).await, "expired_token").await;
    world::refused(approve(&world, &phone, &tv.user_code, true).await, 404, ErrorCode::NotFound).await;
    assert_eq!(get(&world, PAGE, &with(Fields::new(), &[("user_code", &tv.user_code)])).await.status(), 404);
}

#[tokio::test]
async fn who_says_no_is_heard() {
    let (world, _) = house().await;
    let (tv, phone) = (begin(&world).await, phone(&world).await);
    assert_eq!(approve(&world, &phone, &tv.user_code, false).await.status(), 204);
    for _ in 0..2 {
        refused(tv.poll(&world).await, "access_denied").await;
    }
    world::refused(approve(&world, &phone, &tv.user_code, true).await, 404, ErrorCode::NotFound).await;
}

#[tokio::test]
async fn seeing_the_code_on_the_screen_is_not_enough() {
    let (world, _) = house().await;
    let (tv, other, phone) = (begin(&world).await, begin(&world).await, phone(&world).await);
    // A row of one, the secret of another.
    let bytes = |tv: &Tv| URL_SAFE_NO_PAD.decode(&tv.device_code).unwrap();
    let forged = URL_SAFE_NO_PAD.encode([&bytes(&tv)[..32], &bytes(&other)[32..]].concat());
    let forged = Tv { device_code: forged, user_code: String::new() };
    let mine = with(tv.fields(), &[("client_id", "desktop")]);
    refused(forged.poll(&world).await, "invalid_grant").await;
    assert_eq!(approve(&world, &phone, &tv.user_code, true).await.status(), 204);
    refused(forged.poll(&world).await, "invalid_grant").await;
    refused(redeem(&world, &mine).await, "invalid_grant").await;
    for garbage in ["x", &tv.user_code, &"A".repeat(86), &"A".repeat(10_000)] {
        let garbage = Tv { device_code: garbage.to_owned(), user_code: String::new() };
        refused(garbage.poll(&world).await, "invalid_grant").await;
    }
    tokens(tv.poll(&world).await).await;
}

#[tokio::test]
async fn guessing_codes_is_slowed_down() {
    let (world, now_ms) = house().await;
    let (tv, ann) = (begin(&world).await, phone(&world).await);
    let mut seen = Vec::new();
    for guess in ["BCDF-GHJK", "BCDF-GHJL", "nonsense", "BCDF-GHJM", "BCDF-GHJN"] {
        seen.push(approve(&world, &ann, guess, true).await.status().as_u16());
        now_ms.fetch_add(20_000, Ordering::Relaxed);
    }
    assert_eq!(seen, [404; 5]);
    world::refused(approve(&world, &ann, &tv.user_code, true).await, 429, ErrorCode::RateLimited).await;
    now_ms.fetch_add(900_000, Ordering::Relaxed);
    // Meanwhile the access token has run out.
    let (fresh, ann) = (begin(&world).await, phone(&world).await);
    assert_eq!(approve(&world, &ann, &fresh.user_code, true).await.status(), 204);
    // Nobody else is held up.
    let bob = crate::devices::signed_in(&world, "bob").await;
    let another = begin(&world).await;
    assert_eq!(approve(&world, &bob, &another.user_code, true).await.status(), 204);
}

#[tokio::test]
async fn somebody_lets_a_television_in_with_a_browser() {
    let (world, now_ms) = house().await;
    let tv = begin(&world).await;
    assert_eq!(get(&world, PAGE, &Fields::new()).await.status(), 200);
    let shown = get(&world, PAGE, &with(Fields::new(), &[("user_code", &tv.user_code.to_lowercase())])).await;
    let shown = shown.text().await.unwrap();
    assert!(shown.contains("Notes on TV") && shown.contains(&tv.user_code), "{shown}");
    let fields = [("user_code", tv.user_code.as_str()), ("email", EMAIL), ("password", PASSWORD), ("answer", "allow")];
    let fields = with(Fields::new(), &fields);
    let response = post(&world, PAGE, &with(fields.clone(), &[("password", "Wrong horse 77")])).await;
    assert_eq!(response.status(), 403);
    assert!(!response.text().await.unwrap().contains("horse"));
    now_ms.fetch_add(2_000, Ordering::Relaxed);
    refused(tv.poll(&world).await, "authorization_pending").await;
    let unknown = post(&world, PAGE, &with(fields.clone(), &[("user_code", "BCDF-GHJK")])).await;
    assert_eq!(unknown.status(), 404);
    assert_eq!(post(&world, PAGE, &with(fields.clone(), &[("role", "owner")])).await.status(), 400);
    assert_eq!(post(&world, PAGE, &fields).await.status(), 200);
    tokens(tv.poll(&world).await).await;
    assert_eq!(post(&world, PAGE, &fields).await.status(), 404, "once");

    let other = begin(&world).await;
    let denied = with(fields, &[("user_code", &other.user_code), ("answer", "deny")]);
    assert_eq!(post(&world, PAGE, &denied).await.status(), 200);
    refused(other.poll(&world).await, "access_denied").await;
}

#[tokio::test]
async fn bad_questions_of_companions() {
    let (world, _) = house().await;
    for (fields, error) in [
        (&[][..], "invalid_request"),
        (&[("client_id", "unknown")], "invalid_client"),
        (&[("client_id", "tv"), ("scope", "all")], "invalid_scope"),
        (&[("client_id", "tv"), ("role", "owner")], "invalid_request"),
    ] {
        refused(post(&world, BEGIN, &with(Fields::new(), fields)).await, error).await;
    }
    let tv = begin(&world).await;
    for (field, value, error) in [
        ("device_code", "", "invalid_request"),
        ("client_id", "", "invalid_request"),
        ("client_id", "unknown", "invalid_client"),
        ("device_name", "", "invalid_request"),
        ("platform", "T V", "invalid_request"),
        ("code_verifier", "x", "invalid_request"),
    ] {
        refused(redeem(&world, &with(tv.fields(), &[(field, value)])).await, error).await;
    }
    let ann = phone(&world).await;
    for body in [
        json!({"schema": 1, "user_code": tv.user_code}),
        json!({"schema": 1, "user_code": tv.user_code, "approve": true, "user": "bob"}),
        json!({"schema": 1, "user_code": 7, "approve": true}),
    ] {
        let answer = call(&world, &ann, Method::POST, "/v1/oauth/device/approve", Some(body)).await;
        world::refused(answer, 400, ErrorCode::BadFrame).await;
    }
    let nobody = crate::world::client().post(format!("http://{}/v1/oauth/device/approve", world.address));
    world::refused(nobody.send().await.unwrap(), 401, ErrorCode::Unauthorized).await;
}
