//! Companions over HTTP: a code for a browser, a code on a screen, and what libraries find out by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, Response, redirect};
use serde_json::Value;
use sync_core::id::Hash;
use sync_core::wire::account::TokenResponse;
use sync_server::config::OAuthClient;
use url::Url;

use crate::accounts::{cheap, sign_up, world};
use crate::devices;
use crate::world::{World, client};

mod code;
mod device;
mod metadata;
mod pages;

pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const REDIRECT: &str = "http://127.0.0.1:4711/callback";
pub const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Two apps, somebody with an account, and a clock that goes by hand.
pub async fn house() -> (World, Arc<AtomicU64>) {
    let mut config = cheap();
    config.oauth.url = Some("https://sync.example.com/".to_owned());
    let app = |id: &str, name: &str, redirect_uris: &[&str]| OAuthClient {
        id: id.to_owned(),
        name: name.to_owned(),
        redirect_uris: redirect_uris.iter().map(ToString::to_string).collect(),
    };
    let desktop = ["http://127.0.0.1/callback", "com.example.notes:/callback"];
    config.oauth.clients = vec![app("desktop", "Notes & <Friends>", &desktop), app("tv", "Notes on TV", &[])];
    let (world, now_ms) = world(config).await;
    sign_up(&world).await;
    (world, now_ms)
}

/// A browser, but for following where it is sent.
pub fn browser() -> Client {
    // Sets the TLS provider, too.
    drop(client());
    Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap()
}

pub fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Hash::of(&[VERIFIER.as_bytes()]).0)
}

pub type Fields = BTreeMap<&'static str, String>;

/// With other values; an empty one leaves the field out.
pub fn with(mut fields: Fields, others: &[(&'static str, &str)]) -> Fields {
    for (name, value) in others {
        fields.insert(name, (*value).to_owned());
    }
    fields.retain(|_, value| !value.is_empty());
    fields
}

pub fn encoded(fields: &Fields) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

pub async fn get(world: &World, path: &str, fields: &Fields) -> Response {
    browser().get(format!("http://{}{path}?{}", world.address, encoded(fields))).send().await.unwrap()
}

pub async fn post(world: &World, path: &str, fields: &Fields) -> Response {
    let request = browser().post(format!("http://{}{path}", world.address));
    request.header("content-type", "application/x-www-form-urlencoded").body(encoded(fields)).send().await.unwrap()
}

/// What an app asks for.
pub fn asked() -> Fields {
    let fields = [
        ("client_id", "desktop".to_owned()),
        ("redirect_uri", REDIRECT.to_owned()),
        ("response_type", "code".to_owned()),
        ("state", "a b&c=\"<'>".to_owned()),
        ("code_challenge", challenge()),
        ("code_challenge_method", "S256".to_owned()),
    ];
    fields.into_iter().collect()
}

/// What somebody answers.
pub fn allowed() -> Fields {
    with(asked(), &[("email", crate::accounts::EMAIL), ("password", crate::accounts::PASSWORD), ("answer", "allow")])
}

/// The device that is to be signed in.
pub fn device_fields() -> Fields {
    let fields = [("device_name", "Desk"), ("platform", "linux"), ("app_version", "2.4.1")];
    fields.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

/// Where a browser is sent, and with what.
pub fn sent(response: &Response) -> (String, BTreeMap<String, String>) {
    assert_eq!(response.status(), 303);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let url = Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
    let pairs = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let mut place = url.clone();
    place.set_query(None);
    (place.to_string(), pairs)
}

pub async fn redeem(world: &World, fields: &Fields) -> Response {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    devices::form(world, &fields).await
}

/// A refusal of the token route.
pub async fn refusal(response: Response) -> Value {
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert!(body["code"].is_string() && body["message"].is_string() && body["request_id"].is_string(), "{body}");
    body
}

pub async fn refused(response: Response, error: &str) {
    let body = refusal(response).await;
    assert_eq!(body["error"], error, "{body}");
}

pub async fn tokens(response: Response) -> TokenResponse {
    assert_eq!(response.headers()["cache-control"], "no-store");
    crate::world::frame(response).await
}
