//! `POST /v1/oauth/token`: a refresh token is good for once, and losing an answer logs nobody out.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use reqwest::Method;
use sync_core::id::Hash;
use sync_core::wire::ErrorCode;
use sync_core::wire::account::{NewDevice, Private, TokenResponse};
use sync_server::Clock;

use crate::devices::{call, form, not_refreshed, phone, refresh, refreshed, signed_in};
use crate::world::{World, client, frame, refused};

const DAY_MS: u64 = 86_400_000;
/// Longer than an answer may be lost, whatever the clocks do.
const TOO_LATE_MS: u64 = 30_000 + 5_000 + 1;

/// A server whose clock goes by hand.
async fn world() -> (World, Arc<AtomicU64>) {
    let now_ms = Arc::new(AtomicU64::new(Clock::default().now_ms()));
    let clock = Clock::new({
        let now_ms = Arc::clone(&now_ms);
        move || now_ms.load(Ordering::Relaxed)
    });
    (World::on(|server| server.clock(clock)).await, now_ms)
}

async fn is_over(world: &World, tokens: &TokenResponse) {
    let answer = refresh(world, &tokens.refresh_token.0, tokens.device).await;
    not_refreshed(answer, "invalid_grant", ErrorCode::SessionEnded).await;
    refused(call(world, tokens, Method::GET, "/v1/spaces", None).await, 401, ErrorCode::SessionEnded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_racing_refreshes_give_one_successor() {
    let (world, _) = world().await;
    let mut tokens = signed_in(&world, "ann").await;
    for _ in 0..4 {
        let answers = join_all((0..50).map(|_| refreshed(&world, &tokens))).await;
        let successors: BTreeSet<&str> = answers.iter().map(|answer| answer.refresh_token.0.as_str()).collect();
        assert_eq!(successors.len(), 1);
        assert!(!successors.contains(tokens.refresh_token.0.as_str()));
        tokens = answers.into_iter().next().unwrap();
    }
    assert_eq!(call(&world, &tokens, Method::GET, "/v1/spaces", None).await.status(), 200);
}

#[tokio::test]
async fn the_very_last_refresh_may_be_repeated_for_half_a_minute() {
    let (world, now_ms) = world().await;
    let first = signed_in(&world, "ann").await;
    let second = refreshed(&world, &first).await;
    for after_ms in [0, 1, 29_998] {
        now_ms.fetch_add(after_ms, Ordering::Relaxed);
        assert_eq!(refreshed(&world, &first).await.refresh_token, second.refresh_token);
    }
    // Repeating it does not make it last longer.
    now_ms.fetch_add(TOO_LATE_MS - 29_999, Ordering::Relaxed);
    is_over(&world, &first).await;
    is_over(&world, &second).await;
}

#[tokio::test]
async fn an_older_token_ends_the_family_at_once() {
    let (world, _) = world().await;
    let other = signed_in(&world, "ann").await;
    let first = signed_in(&world, "ann").await;
    let second = refreshed(&world, &first).await;
    let third = refreshed(&world, &second).await;
    assert_eq!(call(&world, &third, Method::GET, "/v1/spaces", None).await.status(), 200);
    is_over(&world, &first).await;
    is_over(&world, &third).await;
    refreshed(&world, &other).await;
}

#[tokio::test]
async fn a_token_on_another_device_ends_the_family() {
    let (world, _) = world().await;
    let (ann, tablet, eve) =
        (signed_in(&world, "ann").await, signed_in(&world, "ann").await, signed_in(&world, "eve").await);
    let answer = refresh(&world, &ann.refresh_token.0, eve.device).await;
    not_refreshed(answer, "invalid_grant", ErrorCode::SessionEnded).await;
    is_over(&world, &ann).await;
    refreshed(&world, &tablet).await;
    refreshed(&world, &eve).await;
}

/// Whoever knows nothing but names can end nobody's session.
#[tokio::test]
async fn what_is_not_genuine_changes_nothing() {
    let (world, _) = world().await;
    let elsewhere = World::new().await;
    let (first, foreign) = (signed_in(&world, "ann").await, signed_in(&elsewhere, "ann").await);
    let tokens = refreshed(&world, &first).await;
    let bytes = |token: &Private| URL_SAFE_NO_PAD.decode(&token.0["rjr_".len()..]).unwrap();
    let text = |bytes: &[u8]| format!("rjr_{}", URL_SAFE_NO_PAD.encode(bytes));
    let good = bytes(&tokens.refresh_token);
    let mut forged = vec![String::new(), "rjr_".to_owned(), "x".repeat(10_000), foreign.refresh_token.0.clone()];
    // Each byte in turn, which are also the session, the number, and the user's name.
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        forged.push(text(&bytes));
    }
    // Older and newer numbers with the secret of this one.
    for n in [0_u64, 1, 3, u64::MAX] {
        forged.push(text(&[&good[..17], &n.to_be_bytes(), &good[25..]].concat()));
    }
    let mut told = BTreeSet::new();
    for token in forged {
        let answer = refresh(&world, &token, tokens.device).await;
        if token.is_empty() {
            not_refreshed(answer, "invalid_request", ErrorCode::BadFrame).await;
        } else {
            let body = not_refreshed(answer, "invalid_grant", ErrorCode::SessionEnded).await;
            told.insert(body["message"].to_string());
        }
    }
    assert_eq!(told.len(), 1, "{told:?}");
    refreshed(&world, &tokens).await;
}

#[tokio::test]
async fn a_session_lasts_30_days_from_its_last_refresh() {
    let (world, now_ms) = world().await;
    let mut tokens = signed_in(&world, "ann").await;
    for _ in 0..5 {
        now_ms.fetch_add(30 * DAY_MS - 1, Ordering::Relaxed);
        tokens = refreshed(&world, &tokens).await;
        assert_eq!(tokens.refresh_expires_in, 30 * 86_400);
    }
    now_ms.fetch_add(30 * DAY_MS + 5_000, Ordering::Relaxed);
    let answer = refresh(&world, &tokens.refresh_token.0, tokens.device).await;
    not_refreshed(answer, "invalid_grant", ErrorCode::SessionEnded).await;
}

#[tokio::test]
async fn a_device_with_a_key_may_repeat_its_last_refresh_however_late() {
    let (world, now_ms) = world().await;
    let pair = Ed25519KeyPair::generate().unwrap();
    let key = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let device = NewDevice { public_key: Some(key), ..phone("Phone") };
    let first = world.server.begin_session("ann", None, device).await.unwrap();
    let second = refreshed(&world, &first).await;
    now_ms.fetch_add(DAY_MS, Ordering::Relaxed);
    let prove = |pair: &Ed25519KeyPair, tokens: &TokenResponse| {
        let hash = Hash::of(&[tokens.refresh_token.0.as_bytes()]);
        let signed = [b"rejoin refresh repeat\0".as_slice(), &hash.0].concat();
        URL_SAFE_NO_PAD.encode(pair.sign(&signed).as_ref())
    };
    let proved = async |tokens: &TokenResponse, proof: String| {
        let (token, device) = (tokens.refresh_token.0.as_str(), tokens.device.to_string());
        let fields =
            [("grant_type", "refresh_token"), ("refresh_token", token), ("device_id", &device), ("proof", &proof)];
        form(&world, &fields).await
    };
    for wrong in ["abc".to_owned(), prove(&Ed25519KeyPair::generate().unwrap(), &first), prove(&pair, &second)] {
        not_refreshed(proved(&first, wrong).await, "invalid_request", ErrorCode::Invalid).await;
    }
    let again: TokenResponse = frame(proved(&first, prove(&pair, &first)).await).await;
    assert_eq!(again.refresh_token, second.refresh_token);
    refreshed(&world, &second).await;
    // Its successor was used since: whatever is proved, this is an older one.
    let answer = proved(&first, prove(&pair, &first)).await;
    not_refreshed(answer, "invalid_grant", ErrorCode::SessionEnded).await;
    is_over(&world, &again).await;
}

/// Whoever reads the database cannot refresh.
#[tokio::test]
async fn no_secret_of_a_token_is_in_the_database() {
    let (mut world, _) = world().await;
    let first = signed_in(&world, "ann").await;
    let second = refreshed(&world, &first).await;
    world.stop();
    let folder = world.stopped().await;
    let mut searched = 0;
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        if !path.to_string_lossy().contains("sqlite") {
            continue;
        }
        let content = fs::read(&path).unwrap();
        searched += content.len();
        let contains = |needle: &[u8]| content.windows(needle.len()).any(|window| window == needle);
        for tokens in [&first, &second] {
            let bytes = URL_SAFE_NO_PAD.decode(&tokens.refresh_token.0["rjr_".len()..]).unwrap();
            assert!(!contains(&bytes[25..57]) && !contains(tokens.refresh_token.0.as_bytes()), "{path:?}");
            assert!(!contains(tokens.access_token.0.as_bytes()));
        }
        let secret = &URL_SAFE_NO_PAD.decode(&second.refresh_token.0["rjr_".len()..]).unwrap()[25..57];
        assert!(contains(&Hash::of(&[secret]).0), "but the hash of the current one is");
    }
    assert!(searched > 0);
}

#[tokio::test]
async fn the_form_is_read_strictly() {
    let (world, _) = world().await;
    let tokens = signed_in(&world, "ann").await;
    let (token, device) = (tokens.refresh_token.0.as_str(), tokens.device.to_string());
    let good = format!("grant_type=refresh_token&refresh_token={token}&device_id={device}");
    let post = async |content_type: &str, body: String| {
        let request = client().post(format!("http://{}/v1/oauth/token", world.address));
        request.header("content-type", content_type).body(body).send().await.unwrap()
    };
    const FORM: &str = "application/x-www-form-urlencoded";
    let wrong = [
        ("", "invalid_request", ErrorCode::BadFrame),
        ("grant_type=refresh_token", "invalid_request", ErrorCode::BadFrame),
        (&format!("refresh_token={token}&device_id={device}"), "invalid_request", ErrorCode::BadFrame),
        (&format!("grant_type=refresh_token&refresh_token={token}"), "invalid_request", ErrorCode::BadFrame),
        (
            &format!("grant_type=refresh_token&refresh_token={token}&device_id=phone"),
            "invalid_request",
            ErrorCode::Invalid,
        ),
        (&format!("{good}&scope=all"), "invalid_request", ErrorCode::BadFrame),
        (&format!("{good}&device_id={device}"), "invalid_request", ErrorCode::BadFrame),
        (&format!("{good}&app_version=%ff"), "invalid_request", ErrorCode::BadFrame),
        (&format!("{good}&app_version={}", "1".repeat(33)), "invalid_request", ErrorCode::Invalid),
        ("grant_type=password&username=ann&password=x", "unsupported_grant_type", ErrorCode::Invalid),
    ];
    for (body, error, code) in wrong {
        not_refreshed(post(FORM, body.to_owned()).await, error, code).await;
    }
    for content_type in ["application/json", "text/plain"] {
        assert_eq!(post(content_type, good.clone()).await.status(), 415);
    }
    let answer =
        post("application/x-www-form-urlencoded;charset=UTF-8", format!("{good}&app_version=2.0.0&proof=")).await;
    let tokens: TokenResponse = frame(answer).await;
    let devices: sync_core::wire::account::DevicesResponse =
        frame(call(&world, &tokens, Method::GET, "/v1/devices", None).await).await;
    assert_eq!(devices.devices[0].app_version, "2.0.0");
}

/// No layer keeps an answer with tokens to give it again.
#[tokio::test]
async fn answers_with_tokens_are_not_kept() {
    let (world, now_ms) = world().await;
    let first = signed_in(&world, "ann").await;
    let device = first.device.to_string();
    let fields = [("grant_type", "refresh_token"), ("refresh_token", &first.refresh_token.0), ("device_id", &device)];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let keyed = async || {
        let request =
            client().post(format!("http://{}/v1/oauth/token", world.address)).bearer_auth(&first.access_token.0);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.header("idempotency-key", "1").body(body.clone()).send().await.unwrap()
    };
    let _: TokenResponse = frame(keyed().await).await;
    now_ms.fetch_add(TOO_LATE_MS, Ordering::Relaxed);
    not_refreshed(keyed().await, "invalid_grant", ErrorCode::SessionEnded).await;
}

#[tokio::test]
async fn a_database_that_was_restored_logs_nobody_out() {
    let mut world = World::new().await;
    let first = refreshed(&world, &signed_in(&world, "ann").await).await;
    world.stop();
    let folder = world.stopped().await;
    let backup = Arc::new(tempfile::tempdir().unwrap());
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, backup.path().join(path.file_name().unwrap())).unwrap();
    }
    let world = World::within(folder, |server| server).await;
    let second = refreshed(&world, &refreshed(&world, &first).await).await;
    let restored = World::within(backup, |server| server).await;
    let third = refreshed(&restored, &second).await;
    assert_eq!(refreshed(&restored, &second).await.refresh_token, third.refresh_token);
    let fourth = refreshed(&restored, &third).await;
    is_over(&restored, &first).await;
    is_over(&restored, &fourth).await;
}
