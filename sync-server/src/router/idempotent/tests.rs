//! What is kept under a key, read where it is kept.

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use sync_core::wire::account::NewDevice;
use tokio::net::TcpListener;

use super::*;
use crate::Server;
use crate::config::{Config, OAuthClient};
use crate::router::observe::observe;
use crate::router::{Who, routes_for, serve};
use crate::store::sqlite::idempotency::answers_kept;
use axum::middleware::from_fn_with_state;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const PROOF: &str = r#"{"password":{"email":"ann@example.com","password":"Correct horse 7"}}"#;

/// Every answer with a secret, with the layer over all routes: which of them keys are for may change, and what is kept of
/// such an answer may not.
#[tokio::test]
async fn no_answer_that_holds_a_secret_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    (config.accounts.memory_kib, config.accounts.iterations) = (64, 1);
    config.oauth.clients =
        vec![OAuthClient { id: "notes-tv".to_owned(), name: "Notes".to_owned(), redirect_uris: Vec::new() }];
    let server = Server::builder().config(config).data(folder.path()).build().await.unwrap();
    let app = server.app.clone();
    let router = routes_for(Who::Caller)
        .merge(routes_for(Who::Anyone))
        .route_layer(from_fn_with_state(app.clone(), once))
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        serve::serve(listener, router, &app.http, std::future::pending(), async || ()).await;
    });

    let device = NewDevice {
        device: None,
        name: "Phone".to_owned(),
        platform: "ios".to_owned(),
        app_version: "1.0.0".to_owned(),
        public_key: None,
    };
    let begun = server.begin_session("ann", Some("Ann"), device).await.unwrap();
    // reqwest wants a TLS provider even where it only ever speaks plain HTTP; another test may have set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = Client::builder().no_proxy().build().unwrap();
    let post = |path: &str, content_type: &str, body: String| {
        let request = http.post(format!("{url}{path}")).bearer_auth(&begun.access_token.0);
        request.header("content-type", content_type).header("idempotency-key", "the-same").body(body)
    };
    let answer = async |request: RequestBuilder| -> Value {
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    };
    let account =
        json!({"schema": 1, "email": "ann@example.com", "password": "Correct horse 7", "display_name": "Ann"});
    answer(post("/v1/accounts", JSON, account.to_string())).await;
    let space = answer(post("/v1/spaces", JSON, r#"{"schema":1,"name":"Household"}"#.to_owned())).await;
    let space = space["space"].as_str().unwrap();

    let signing_in = format!(
        r#"{{"schema":1,"proof":{PROOF},"device":{{"name":"Tablet","platform":"ios","app_version":"1.0.0"}}}}"#
    );
    let (refresh, device) = (&begun.refresh_token.0, begun.device);
    let refresh = format!("grant_type=refresh_token&refresh_token={refresh}&device_id={device}");
    let invite = r#"{"schema":1,"role":"reader"}"#.to_owned();
    for (path, content_type, body, secrets) in [
        ("/v1/devices", JSON, signing_in, &["access_token", "refresh_token"][..]),
        ("/v1/oauth/token", FORM, refresh, &["access_token", "refresh_token"]),
        ("/v1/oauth/device_authorization", FORM, "client_id=notes-tv".to_owned(), &["device_code", "user_code"]),
        (&format!("/v1/spaces/{space}/invites"), JSON, invite, &["token"]),
    ] {
        let told = answer(post(path, content_type, body)).await;
        let kept = answers_kept(folder.path());
        for secret in secrets {
            let secret = told[secret].as_str().unwrap_or_else(|| panic!("{path}: {told}"));
            assert!(!kept.iter().any(|(_, body)| body.contains(secret)), "{path}: {kept:?}");
        }
        // The layer is there, and it is read from where it keeps.
        let routes: Vec<&str> = kept.iter().map(|(route, _)| route.as_str()).collect();
        assert_eq!(routes, ["POST /v1/accounts", "POST /v1/spaces"], "{path}");
    }
    serving.abort();
    server.shutdown().await;
}
