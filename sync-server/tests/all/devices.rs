//! `/v1/devices`, `POST /v1/oauth/token` and `POST /v1/logout`: devices come, stay signed in, and go.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use sync_core::id::DeviceId;
use sync_core::wire::ErrorCode;
use sync_core::wire::account::{DevicesResponse, NewDevice, TokenResponse};

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

#[tokio::test]
async fn whoever_uses_an_older_token_ends_the_family() {
    let world = World::new().await;
    let first = signed_in(&world, "ann").await;
    let second = refreshed(&world, &first).await;
    let third = refreshed(&world, &second).await;
    not_refreshed(
        refresh(&world, &first.refresh_token.0, first.device).await,
        "invalid_grant",
        ErrorCode::SessionEnded,
    )
    .await;
    not_refreshed(
        refresh(&world, &third.refresh_token.0, first.device).await,
        "invalid_grant",
        ErrorCode::SessionEnded,
    )
    .await;
    refused(call(&world, &third, Method::GET, "/v1/spaces", None).await, 401, ErrorCode::SessionEnded).await;
}
