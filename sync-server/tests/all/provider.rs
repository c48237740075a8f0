//! An OpenID provider on a free port that counts what it is asked, and forges whatever a test wants.

use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::Ed25519KeyPair;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sync_core::id::DeviceId;
use sync_server::Config;
use sync_server::auth::keys::new_signing_key;
use sync_server::config::TokenIssuer;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the provider's app is called there.
pub const CLIENT: &str = "notes";
/// What it calls this server.
pub const API: &str = "https://sync.example.com";

/// A key of some issuer.
#[derive(Clone)]
pub struct Key {
    pub id: String,
    pub algorithm: Algorithm,
    pub encoding: EncodingKey,
}

impl Key {
    pub fn new(id: &str, algorithm: Algorithm) -> Self {
        let pem = |der: &[u8]| {
            let text = STANDARD.encode(der);
            let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
        };
        let encoding = match algorithm {
            Algorithm::RS256 => {
                let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
                let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                EncodingKey::from_rsa_pem(pem(der.as_ref()).as_bytes()).unwrap()
            }
            Algorithm::EdDSA => {
                let der: Pkcs8V1Der<'_> = Ed25519KeyPair::generate().unwrap().as_der().unwrap();
                EncodingKey::from_ed_pem(pem(der.as_ref()).as_bytes()).unwrap()
            }
            _ => EncodingKey::from_ec_pem(&new_signing_key().unwrap()).unwrap(),
        };
        Self { id: id.to_owned(), algorithm, encoding }
    }

    pub fn public(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.encoding, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        jwk
    }

    /// A token with that type and those claims.
    pub fn sign(&self, kind: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.typ = kind.map(str::to_owned);
        header.kid = Some(self.id.clone());
        encode(&header, claims, &self.encoding).unwrap()
    }
}

struct Shown {
    issuer: String,
    jwks_uri: String,
    jwks: Vec<u8>,
    status: StatusCode,
    /// Where every request is sent instead.
    redirect: Option<String>,
}

#[derive(Clone)]
struct Shared {
    shown: Arc<Mutex<Shown>>,
    /// Requests that came for the configuration, and for the keys.
    asked: watch::Sender<(u32, u32)>,
    /// Whether requests are answered.
    answers: watch::Sender<bool>,
}

pub struct Provider {
    pub url: String,
    shared: Shared,
}

impl Provider {
    pub async fn new(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shown = Shown {
            issuer: url.clone(),
            jwks_uri: format!("{url}/jwks"),
            jwks: Vec::new(),
            status: StatusCode::OK,
            redirect: None,
        };
        let shared = Shared {
            shown: Arc::new(Mutex::new(shown)),
            asked: watch::channel((0, 0)).0,
            answers: watch::channel(true).0,
        };
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/jwks", get(jwks))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let provider = Self { url, shared };
        provider.show(keys);
        provider
    }

    /// Publishes these keys from now on.
    pub fn show(&self, keys: &[&Key]) {
        let keys: Vec<Jwk> = keys.iter().map(|key| key.public()).collect();
        self.show_text(json!({ "keys": keys }).to_string());
    }

    pub fn show_text(&self, jwks: String) {
        self.shared.shown.lock().unwrap().jwks = jwks.into_bytes();
    }

    /// The key set as it is published.
    pub fn shown(&self) -> String {
        String::from_utf8(self.shared.shown.lock().unwrap().jwks.clone()).unwrap()
    }

    pub fn answer_with(&self, status: u16) {
        self.shared.shown.lock().unwrap().status = StatusCode::from_u16(status).unwrap();
    }

    pub fn claim_issuer(&self, issuer: &str) {
        issuer.clone_into(&mut self.shared.shown.lock().unwrap().issuer);
    }

    pub fn claim_jwks_uri(&self, url: &str) {
        url.clone_into(&mut self.shared.shown.lock().unwrap().jwks_uri);
    }

    pub fn redirect_to(&self, url: &str) {
        self.shared.shown.lock().unwrap().redirect = Some(url.to_owned());
    }

    /// Lets requests wait, or answers them.
    pub fn hold(&self, hold: bool) {
        self.shared.answers.send_replace(!hold);
    }

    /// How often its configuration and its keys were asked for.
    pub fn asked(&self) -> (u32, u32) {
        *self.shared.asked.borrow()
    }

    /// Waits until its keys were asked for so often.
    pub async fn asked_for_keys(&self, times: u32) {
        self.shared.asked.subscribe().wait_for(|(_, keys)| *keys >= times).await.unwrap();
    }

    /// Waits until its configuration was asked for so often.
    pub async fn asked_for_configuration(&self, times: u32) {
        self.shared.asked.subscribe().wait_for(|(configuration, _)| *configuration >= times).await.unwrap();
    }

    /// As a server is told of it.
    pub fn entry(&self) -> TokenIssuer {
        TokenIssuer {
            name: "example".to_owned(),
            url: self.url.clone(),
            client_ids: vec![CLIENT.to_owned(), "notes-web".to_owned()],
            access_audience: Some(API.to_owned()),
            jwks_url: None,
        }
    }

    /// A server's configuration with it.
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.token.issuers = vec![self.entry()];
        config
    }

    /// The claims of an ID token of that second.
    pub fn id_claims(&self, now_s: u64) -> Value {
        json!({
            "iss": self.url, "aud": CLIENT, "sub": "ann", "name": "Ann", "iat": now_s, "exp": now_s + 3_600,
        })
    }

    /// The claims of an access token of that second.
    pub fn access_claims(&self, now_s: u64, device: DeviceId) -> Value {
        json!({
            "iss": self.url, "aud": API, "sub": "ann", "device": device.to_string(), "client_id": CLIENT,
            "iat": now_s, "exp": now_s + 900,
        })
    }
}

async fn configuration(State(shared): State<Shared>) -> Response {
    shared.asked.send_modify(|(configuration, _)| *configuration += 1);
    let body = {
        let shown = shared.shown.lock().unwrap();
        json!({ "issuer": shown.issuer, "jwks_uri": shown.jwks_uri }).to_string().into_bytes()
    };
    answer(&shared, body).await
}

async fn jwks(State(shared): State<Shared>) -> Response {
    shared.asked.send_modify(|(_, keys)| *keys += 1);
    let body = shared.shown.lock().unwrap().jwks.clone();
    answer(&shared, body).await
}

async fn answer(shared: &Shared, body: Vec<u8>) -> Response {
    shared.answers.subscribe().wait_for(|answers| *answers).await.unwrap();
    let shown = shared.shown.lock().unwrap();
    match &shown.redirect {
        Some(url) => (StatusCode::FOUND, [(header::LOCATION, url.clone())]).into_response(),
        None => (shown.status, Body::from(body)).into_response(),
    }
}
