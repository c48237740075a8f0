//! `/v1/devices`, `POST /v1/oauth/token` and `POST /v1/logout`: devices come, stay signed in, and go.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use sync_core::id::DeviceId;
use sync_core::wire::ErrorCode;
use sync_core::wire::account::{DeviceOfCaller, DevicesResponse, NewDevice, Private, TokenResponse};
use sync_server::Caller;

use crate::world::{JSON, World, client, frame, refused};

pub fn phone(name: &str) -> NewDevice {
    NewDevice {
        device: None,
        name: name.to_owned(),
        platform: "ios".to_owned(),
        app_version: "1.0.0".to_owned(),
        public_key: None,
    }
}

/// A device that has signed in.
pub async fn signed_in(world: &World, user: &str) -> TokenResponse {
    world.server.begin_session(user, Some("Ann"), phone("Phone")).await.unwrap()
}

pub async fn call(world: &World, tokens: &TokenResponse, method: Method, path: &str, body: Option<Value>) -> Response {
    let mut request = client().request(method, format!("http://{}{path}", world.address));
    request = request.bearer_auth(&tokens.access_token.0);
    if let Some(body) = body {
        request = request.header("content-type", JSON).body(body.to_string());
    }
    request.send().await.unwrap()
}

pub async fn form(world: &World, fields: &[(&str, &str)]) -> Response {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = client().post(format!("http://{}/v1/oauth/token", world.address));
    request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap()
}

pub async fn refresh(world: &World, token: &str, device: DeviceId) -> Response {
    let device = device.to_string();
    form(world, &[("grant_type", "refresh_token"), ("refresh_token", token), ("device_id", &device)]).await
}

pub async fn refreshed(world: &World, tokens: &TokenResponse) -> TokenResponse {
    frame(refresh(world, &tokens.refresh_token.0, tokens.device).await).await
}

/// A refusal of the token route: RFC 6749's form and ours at once.
pub async fn not_refreshed(response: Response, error: &str, code: ErrorCode) -> Value {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{error}");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!((&body["error"], &body["code"]), (&json!(error), &serde_json::to_value(code).unwrap()), "{body}");
    assert!(body["error_description"].is_string() && body["message"].is_string() && body["request_id"].is_string());
    body
}

#[tokio::test]
async fn a_device_signs_in_refreshes_and_goes_on() {
    let world = World::new().await;
    let first = signed_in(&world, "ann").await;
    assert_eq!((first.user.as_str(), first.token_type.as_str(), first.expires_in), ("ann", "Bearer", 900));
    assert_eq!(first.refresh_expires_in, 30 * 86_400);
    assert_eq!(call(&world, &first, Method::GET, "/v1/spaces", None).await.status(), 200);
    let answer = refresh(&world, &first.refresh_token.0, first.device).await;
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let second: TokenResponse = frame(answer).await;
    assert_eq!((second.device, second.user.as_str()), (first.device, "ann"));
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_eq!(call(&world, &second, Method::GET, "/v1/spaces", None).await.status(), 200);
    let devices: DevicesResponse = frame(call(&world, &second, Method::GET, "/v1/devices", None).await).await;
    let [device] = &devices.devices[..] else { panic!("{devices:?}") };
    assert!(device.current && device.signed_in && device.name == "Phone" && device.platform == "ios");
}

/// The ways to say which device: none of them exists for the caller.
const NOT_THEIRS: [&str; 3] = ["00000000-0000-4000-8000-000000000000", "not-an-id", "%20"];

#[tokio::test]
async fn devices_are_listed_and_renamed_by_their_user_alone() {
    let world = World::new().await;
    let (phone, tablet) = (signed_in(&world, "ann").await, signed_in(&world, "ann").await);
    let eve = signed_in(&world, "eve").await;
    let path = format!("/v1/devices/{}", tablet.device);
    let rename = |name: &str| Some(json!({ "schema": 1, "name": name }));
    let renamed = call(&world, &phone, Method::PATCH, &path, rename("Ann's tablet")).await;
    assert_eq!(renamed.status(), StatusCode::NO_CONTENT);
    let listed = listed(&world, &phone).await;
    let names: Vec<(&str, bool)> = listed.iter().map(|device| (device.name.as_str(), device.current)).collect();
    assert_eq!(names, [("Phone", true), ("Ann's tablet", false)]);

    let mut told = Vec::new();
    for device in NOT_THEIRS.into_iter().chain([tablet.device.to_string().as_str()]) {
        let path = format!("/v1/devices/{device}");
        for (method, body) in [(Method::PATCH, rename("Eve's now")), (Method::DELETE, None)] {
            let answer = call(&world, &eve, method, &path, body).await;
            told.push(refused(answer, 404, ErrorCode::NotFound).await.message);
        }
    }
    assert!(told.iter().all(|message| *message == told[0]), "whose they are is not told: {told:?}");
    let long = "x".repeat(101);
    for name in ["", " ", " x", "x ", "a\tb", "a\0b", &long] {
        let answer = call(&world, &phone, Method::PATCH, &path, rename(name)).await;
        assert!(refused(answer, 400, ErrorCode::Invalid).await.message.contains("`name`"), "{name:?}");
    }
    assert_eq!(self::listed(&world, &tablet).await.len(), 2, "nothing was revoked");
    let hundred = "ü".repeat(100);
    assert_eq!(call(&world, &phone, Method::PATCH, &path, rename(&hundred)).await.status(), StatusCode::NO_CONTENT);
}

async fn listed(world: &World, tokens: &TokenResponse) -> Vec<DeviceOfCaller> {
    frame::<DevicesResponse>(call(world, tokens, Method::GET, "/v1/devices", None).await).await.devices
}

#[tokio::test]
async fn a_revoked_device_is_refused_everything_and_does_not_come_back() {
    let world = World::new().await;
    let (phone, lost) = (signed_in(&world, "ann").await, signed_in(&world, "ann").await);
    // Its token is known to be good.
    assert_eq!(call(&world, &lost, Method::GET, "/v1/spaces", None).await.status(), 200);
    let path = format!("/v1/devices/{}", lost.device);
    for _ in 0..2 {
        assert_eq!(call(&world, &phone, Method::DELETE, &path, None).await.status(), StatusCode::NO_CONTENT);
    }
    refused(call(&world, &lost, Method::GET, "/v1/spaces", None).await, 401, ErrorCode::DeviceRevoked).await;
    let refresh = refresh(&world, &lost.refresh_token.0, lost.device).await;
    not_refreshed(refresh, "invalid_grant", ErrorCode::DeviceRevoked).await;
    assert_eq!(listed(&world, &phone).await.len(), 1);
    let renamed = call(&world, &phone, Method::PATCH, &path, Some(json!({ "schema": 1, "name": "x" }))).await;
    refused(renamed, 404, ErrorCode::NotFound).await;
    let again = NewDevice { device: Some(lost.device), ..self::phone("Phone") };
    let again = world.server.begin_session("ann", None, again).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::DeviceRevoked);
    // Also without a session, as a token for development is.
    let caller = Caller { user: "ann".to_owned(), device: lost.device };
    let token = world.server.issue_token(&caller, Duration::from_mins(1)).unwrap();
    let own = TokenResponse { access_token: Private(token), ..lost };
    refused(call(&world, &own, Method::GET, "/v1/spaces", None).await, 401, ErrorCode::DeviceRevoked).await;
    // One may revoke the device in one's hand.
    let path = format!("/v1/devices/{}", phone.device);
    assert_eq!(call(&world, &phone, Method::DELETE, &path, None).await.status(), StatusCode::NO_CONTENT);
    refused(call(&world, &phone, Method::DELETE, &path, None).await, 401, ErrorCode::DeviceRevoked).await;
}

#[tokio::test]
async fn a_device_that_signs_in_again_keeps_its_id_and_loses_its_earlier_session() {
    let world = World::new().await;
    let (first, eve) = (signed_in(&world, "ann").await, signed_in(&world, "eve").await);
    let again = NewDevice { device: Some(first.device), app_version: "2.0.0".to_owned(), ..phone("New name") };
    let second = world.server.begin_session("ann", None, again.clone()).await.unwrap();
    assert_eq!(second.device, first.device);
    refused(call(&world, &first, Method::GET, "/v1/spaces", None).await, 401, ErrorCode::SessionEnded).await;
    let answer = refresh(&world, &first.refresh_token.0, first.device).await;
    not_refreshed(answer, "invalid_grant", ErrorCode::SessionEnded).await;
    let devices = listed(&world, &second).await;
    let [device] = &devices[..] else { panic!("{devices:?}") };
    assert_eq!((device.name.as_str(), device.app_version.as_str()), ("New name", "2.0.0"));
    refreshed(&world, &second).await;

    let mut told = Vec::new();
    for foreign in [eve.device, DeviceId::from_bytes([9; 16])] {
        let device = NewDevice { device: Some(foreign), ..again.clone() };
        let refused = world.server.begin_session("ann", None, device).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotFound);
        told.push(refused.message);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(call(&world, &eve, Method::GET, "/v1/spaces", None).await.status(), 200);
}

#[tokio::test]
async fn a_user_has_64_devices_and_revoking_one_makes_room() {
    let world = World::new().await;
    let first = signed_in(&world, "ann").await;
    for _ in 1..64 {
        signed_in(&world, "ann").await;
    }
    let begin = |device| world.server.begin_session("ann", None, NewDevice { device, ..phone("One more") });
    assert_eq!(begin(None).await.unwrap_err().code, ErrorCode::TooMany);
    assert_eq!(begin(Some(first.device)).await.unwrap().device, first.device, "one of the 64 signs in again");
    assert_eq!(listed(&world, &begin(Some(first.device)).await.unwrap()).await.len(), 64);
    signed_in(&world, "eve").await;
    let tokens = begin(Some(first.device)).await.unwrap();
    let path = format!("/v1/devices/{}", first.device);
    assert_eq!(call(&world, &tokens, Method::DELETE, &path, None).await.status(), StatusCode::NO_CONTENT);
    begin(None).await.unwrap();
    assert_eq!(begin(None).await.unwrap_err().code, ErrorCode::TooMany);
}

#[tokio::test]
async fn what_a_device_says_of_itself_is_checked() {
    let world = World::new().await;
    let fine = || NewDevice { public_key: Some("A".repeat(43)), ..phone("Phone") };
    let begin = async |device| world.server.begin_session("ann", None, device).await;
    begin(fine()).await.unwrap();
    let text = |text: &str| text.to_owned();
    let wrong = [
        ("name", NewDevice { name: String::new(), ..fine() }),
        ("name", NewDevice { name: "x".repeat(101), ..fine() }),
        ("name", NewDevice { name: text("a\u{7}b"), ..fine() }),
        ("platform", NewDevice { platform: String::new(), ..fine() }),
        ("platform", NewDevice { platform: text("iOS"), ..fine() }),
        ("platform", NewDevice { platform: "a".repeat(33), ..fine() }),
        ("app_version", NewDevice { app_version: String::new(), ..fine() }),
        ("app_version", NewDevice { app_version: "1".repeat(33), ..fine() }),
        ("app_version", NewDevice { app_version: text("1\n2"), ..fine() }),
        ("public_key", NewDevice { public_key: Some(String::new()), ..fine() }),
        ("public_key", NewDevice { public_key: Some("A".repeat(42)), ..fine() }),
        ("public_key", NewDevice { public_key: Some(format!("{}=", "A".repeat(43))), ..fine() }),
    ];
    for (field, device) in wrong {
        let refused = begin(device.clone()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Invalid, "{device:?}");
        assert!(refused.message.contains(&format!("`{field}`")), "{device:?}: {}", refused.message);
    }
}

#[tokio::test]
async fn who_proves_nothing_registers_nothing() {
    let world = World::new().await;
    let device = json!({ "name": "Phone", "platform": "ios", "app_version": "1.0.0" });
    let password = json!({ "password": { "email": "ann@example.com", "password": "wrong" } });
    let id_token = json!({ "id_token": { "token": "abc" } });
    let post = async |body: Value| {
        let request = client().post(format!("http://{}/v1/devices", world.address)).header("content-type", JSON);
        request.body(body.to_string()).send().await.unwrap()
    };
    for proof in [&password, &id_token] {
        let body = json!({ "schema": 1, "proof": proof, "device": device });
        refused(post(body).await, 401, ErrorCode::LoginFailed).await;
    }
    let wrong = [
        (json!({ "schema": 1, "proof": password, "device": device, "role": "owner" }), ErrorCode::BadFrame),
        (json!({ "schema": 1, "proof": {}, "device": device }), ErrorCode::BadFrame),
        (json!({ "schema": 1, "proof": { "user": "ann" }, "device": device }), ErrorCode::BadFrame),
        (json!({ "schema": 1, "device": device }), ErrorCode::BadFrame),
        (json!({ "schema": 2, "proof": password, "device": device }), ErrorCode::UnsupportedSchema),
    ];
    for (body, code) in wrong {
        refused(post(body).await, 400, code).await;
    }
}

#[tokio::test]
async fn one_logs_out_of_one_device_or_of_all() {
    let world = World::new().await;
    let (phone, tablet, watch) =
        (signed_in(&world, "ann").await, signed_in(&world, "ann").await, signed_in(&world, "ann").await);
    let eve = signed_in(&world, "eve").await;
    for tokens in [&phone, &tablet, &watch, &eve] {
        assert_eq!(call(&world, tokens, Method::GET, "/v1/spaces", None).await.status(), 200);
    }
    let log_out = async |tokens: &TokenResponse, body: Value| {
        let answer = call(&world, tokens, Method::POST, "/v1/logout", Some(body)).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    };
    let is_out = async |tokens: &TokenResponse| {
        refused(call(&world, tokens, Method::GET, "/v1/spaces", None).await, 401, ErrorCode::SessionEnded).await;
        let answer = refresh(&world, &tokens.refresh_token.0, tokens.device).await;
        not_refreshed(answer, "invalid_grant", ErrorCode::SessionEnded).await;
    };
    log_out(&phone, json!({ "schema": 1 })).await;
    is_out(&phone).await;
    let devices = listed(&world, &tablet).await;
    assert_eq!(devices.iter().map(|device| device.signed_in).collect::<Vec<_>>(), [false, true, true]);
    log_out(&tablet, json!({ "schema": 1, "all": true })).await;
    is_out(&tablet).await;
    is_out(&watch).await;
    refreshed(&world, &eve).await;
    // They stay registered.
    let again = NewDevice { device: Some(phone.device), ..self::phone("Phone") };
    let phone = world.server.begin_session("ann", None, again).await.unwrap();
    assert_eq!(listed(&world, &phone).await.len(), 3);
    let unknown = call(&world, &phone, Method::POST, "/v1/logout", Some(json!({ "schema": 1, "device": 1 }))).await;
    refused(unknown, 400, ErrorCode::BadFrame).await;
}
