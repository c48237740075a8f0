//! The authorization code with PKCE.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use reqwest::Method;
use sync_core::wire::ErrorCode;

use super::{Fields, REDIRECT, VERIFIER, allowed, asked, device_fields, get, house, post, redeem, refusal, refused};
use super::{sent, tokens, with};
use crate::devices::{call, refreshed};
use crate::world;

const AUTHORIZE: &str = "/v1/oauth/authorize";

/// A code that somebody has given.
async fn code(world: &world::World) -> String {
    sent(&post(world, AUTHORIZE, &allowed()).await).1.remove("code").unwrap()
}

fn redeeming(code: &str) -> Fields {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", "desktop"),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    with(device_fields(), &fields)
}

#[tokio::test]
async fn somebody_lets_an_app_in_with_a_browser() {
    let (world, _) = house().await;
    assert_eq!(get(&world, AUTHORIZE, &asked()).await.status(), 200);
    let (place, mut answer) = sent(&post(&world, AUTHORIZE, &allowed()).await);
    assert_eq!(place, REDIRECT);
    let code = answer.remove("code").unwrap();
    let rest: Vec<_> = answer.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(rest, [("iss", "https://sync.example.com"), ("state", "a b&c=\"<'>")]);
    let first = tokens(redeem(&world, &redeeming(&code)).await).await;
    assert!(first.user.starts_with("local:"));
    assert_eq!(call(&world, &first, Method::GET, "/v1/spaces", None).await.status(), 200);
    refreshed(&world, &first).await;
}

#[tokio::test]
async fn a_code_that_is_redeemed_again_ends_what_it_began() {
    let (world, _) = house().await;
    let code = code(&world).await;
    let first = tokens(redeem(&world, &redeeming(&code)).await).await;
    assert_eq!(call(&world, &first, Method::GET, "/v1/spaces", None).await.status(), 200);
    refused(redeem(&world, &redeeming(&code)).await, "invalid_grant").await;
    let over = call(&world, &first, Method::GET, "/v1/spaces", None).await;
    world::refused(over, 401, ErrorCode::SessionEnded).await;
    refused(redeem(&world, &redeeming(&code)).await, "invalid_grant").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_redemptions_at_once_one_at_most_wins_and_keeps_nothing() {
    let (world, now_ms) = house().await;
    for _ in 0..5 {
        let code = code(&world).await;
        let answers = join_all((0..20).map(|_| async { redeem(&world, &redeeming(&code)).await })).await;
        let mut won = Vec::new();
        for answer in answers {
            if answer.status() == 200 {
                won.push(tokens(answer).await);
            } else {
                refused(answer, "invalid_grant").await;
            }
        }
        assert!(won.len() <= 1, "{} won", won.len());
        for first in won {
            let over = call(&world, &first, Method::GET, "/v1/spaces", None).await;
            world::refused(over, 401, ErrorCode::SessionEnded).await;
        }
        now_ms.fetch_add(900_000, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_code_holds_for_a_minute() {
    let (world, now_ms) = house().await;
    let (late, timely) = (code(&world).await, code(&world).await);
    now_ms.fetch_add(59_999, Ordering::Relaxed);
    tokens(redeem(&world, &redeeming(&timely)).await).await;
    now_ms.fetch_add(1, Ordering::Relaxed);
    refused(redeem(&world, &redeeming(&late)).await, "invalid_grant").await;
}

#[tokio::test]
async fn a_code_in_other_hands_is_spoilt_for_all() {
    let (world, now_ms) = house().await;
    for (field, value) in [
        ("client_id", "tv"),
        ("redirect_uri", "http://127.0.0.1:4712/callback"),
        ("code_verifier", "eBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        ("code_verifier", "short"),
        // The challenge itself, as `plain` would have it.
        ("code_verifier", &super::challenge()),
    ] {
        let code = code(&world).await;
        refused(redeem(&world, &with(redeeming(&code), &[(field, value)])).await, "invalid_grant").await;
        refused(redeem(&world, &redeeming(&code)).await, "invalid_grant").await;
        now_ms.fetch_add(900_000, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_request_uses_nothing_up() {
    let (world, _) = house().await;
    let code = code(&world).await;
    for (field, value, error, named) in [
        ("grant_type", "password", "unsupported_grant_type", "grant_type"),
        ("grant_type", "client_credentials", "unsupported_grant_type", "grant_type"),
        ("client_id", "", "invalid_request", "client_id"),
        ("client_id", "unknown", "invalid_client", "client_id"),
        ("code", "", "invalid_request", "code"),
        ("redirect_uri", "", "invalid_request", "redirect_uri"),
        ("code_verifier", "", "invalid_request", "code_verifier"),
        ("device_name", "", "invalid_request", "device_name"),
        ("device_name", "\u{7}", "invalid_request", "device_name"),
        ("platform", "", "invalid_request", "platform"),
        ("platform", "Linux!", "invalid_request", "platform"),
        ("app_version", "", "invalid_request", "app_version"),
        ("device_id", "mine", "invalid_request", "device_id"),
        ("public_key", "x", "invalid_request", "public_key"),
        ("client_secret", "x", "invalid_request", "client_secret"),
        ("scope", "everything", "invalid_request", "scope"),
        ("role", "owner", "invalid_request", "role"),
    ] {
        let body = refusal(redeem(&world, &with(redeeming(&code), &[(field, value)])).await).await;
        assert_eq!(body["error"], error, "{field}={value}: {body}");
        assert!(body["message"].as_str().unwrap().contains(&format!("`{named}`")), "{field}={value}: {body}");
    }
    refused(redeem(&world, &with(redeeming("unknown"), &[])).await, "invalid_grant").await;
    tokens(redeem(&world, &redeeming(&code)).await).await;
}

#[tokio::test]
async fn an_app_is_told_what_is_wrong_with_what_it_asks() {
    let (world, _) = house().await;
    for (field, value, error) in [
        ("response_type", "", "unsupported_response_type"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code token", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "s256", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c=", "invalid_request"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cMx", "invalid_request"),
    ] {
        for (method, fields) in [("GET", asked()), ("POST", allowed())] {
            let fields = with(fields, &[(field, value)]);
            let response = if method == "GET" {
                get(&world, AUTHORIZE, &fields).await
            } else {
                post(&world, AUTHORIZE, &fields).await
            };
            let (place, answer) = sent(&response);
            assert_eq!((place.as_str(), answer["error"].as_str()), (REDIRECT, error), "{method} {field}={value}");
            assert_eq!((answer["state"].as_str(), answer["iss"].as_str()), ("a b&c=\"<'>", "https://sync.example.com"));
            assert!(!answer.contains_key("code"));
        }
    }
    for state in ["a\nb", "ä", &"x".repeat(1_025)] {
        let (_, answer) = sent(&get(&world, AUTHORIZE, &with(asked(), &[("state", state)])).await);
        assert_eq!(answer["error"], "invalid_request");
        assert!(!answer.contains_key("state"), "what is no state is not sent on");
    }
    // RFC 6749, section 3.1: what is not known is not looked at, and an app need not have a state.
    let more = with(asked(), &[("nonce", "n"), ("prompt", "login"), ("state", "")]);
    assert_eq!(get(&world, AUTHORIZE, &more).await.status(), 200);
}

#[tokio::test]
async fn nobody_is_sent_where_no_app_said() {
    let (world, _) = house().await;
    for (field, value) in [
        ("client_id", ""),
        ("client_id", "unknown"),
        ("client_id", "tv"),
        ("redirect_uri", ""),
        ("redirect_uri", "https://eve.example/callback"),
        ("redirect_uri", "http://127.0.0.1:4711/callback/../eve"),
        ("redirect_uri", "http://localhost:4711/callback"),
        ("redirect_uri", "com.example.eve:/callback"),
        ("redirect_uri", "javascript:alert(1)"),
    ] {
        for response in [
            get(&world, AUTHORIZE, &with(asked(), &[(field, value)])).await,
            post(&world, AUTHORIZE, &with(allowed(), &[(field, value)])).await,
        ] {
            assert_eq!(response.status(), 400, "{field}={value}");
            assert!(!response.headers().contains_key("location"));
            assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
            let page = response.text().await.unwrap();
            assert!(!page.contains("eve") && !page.contains("javascript"), "{page}");
        }
    }
    // The same name twice: nobody knows which one is meant.
    let twice = format!("client_id=desktop&{}", super::encoded(&asked()));
    let url = format!("http://{}{AUTHORIZE}?{twice}", world.address);
    assert_eq!(super::browser().get(url).send().await.unwrap().status(), 400);
    let scheme = with(allowed(), &[("redirect_uri", "com.example.notes:/callback")]);
    assert_eq!(sent(&post(&world, AUTHORIZE, &scheme).await).0, "com.example.notes:/callback");
}

#[tokio::test]
async fn a_wrong_password_shows_the_page_again_and_counts() {
    let (world, now_ms) = house().await;
    let wrong = with(allowed(), &[("password", "Wrong horse 77")]);
    let response = post(&world, AUTHORIZE, &wrong).await;
    assert_eq!(response.status(), 403);
    let page = response.text().await.unwrap();
    assert!(page.contains("role=\"alert\"") && page.contains("name=\"password\""), "{page}");
    assert!(!page.contains("horse") && !page.contains("ann@"), "what was typed is not shown: {page}");
    let response = post(&world, AUTHORIZE, &allowed()).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    now_ms.fetch_add(1_000, Ordering::Relaxed);
    // Without an address or a password, the page says so and nothing is counted.
    for field in ["email", "password"] {
        let status = post(&world, AUTHORIZE, &with(allowed(), &[(field, "")])).await.status().as_u16();
        assert!([400, 403].contains(&status), "{field}: {status}");
        now_ms.fetch_add(5_000, Ordering::Relaxed);
    }
    sent(&post(&world, AUTHORIZE, &allowed()).await);
}

#[tokio::test]
async fn who_says_no_sends_the_app_away_without_signing_in() {
    let (world, _) = house().await;
    let (place, answer) = sent(&post(&world, AUTHORIZE, &with(asked(), &[("answer", "deny")])).await);
    assert_eq!((place.as_str(), answer["error"].as_str()), (REDIRECT, "access_denied"));
    for answer in ["", "perhaps"] {
        assert_eq!(post(&world, AUTHORIZE, &with(allowed(), &[("answer", answer)])).await.status(), 400);
    }
    assert_eq!(post(&world, AUTHORIZE, &with(allowed(), &[("role", "owner")])).await.status(), 400);
}
