//! Tokens over HTTP and on live connections: the table of forged ones, those of other environments, rotated keys.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, encode};
use reqwest::Method;
use serde_json::{Value, json};
use sync_core::id::DeviceId;
use sync_core::wire::{AccessToken, CloseCode, ErrorCode, LiveRequest, LiveResponse, SCHEMA};
use sync_server::auth::keys::{self, SIGNING_KEY, SigningKey};
use sync_server::{Caller, Config};
use tokio::time::timeout;

use crate::devices::signed_in;
use crate::provider::{API, CLIENT, Key, Provider};
use crate::world::{Phone, World, client, refused};

/// What is changed in a good token.
type Change<'a> = Box<dyn Fn(&mut Header, &mut Value) + 'a>;

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The server's own key.
fn own_key(world: &World) -> Key {
    let pem = std::fs::read(world.folder.path().join(SIGNING_KEY)).unwrap();
    let id = SigningKey::from_pem(&pem).unwrap().id().to_owned();
    Key { id, algorithm: Algorithm::ES256, encoding: EncodingKey::from_ec_pem(&pem).unwrap() }
}

/// The blueprint of all forgeries: a token as the server issues it.
fn own_claims(device: DeviceId) -> Value {
    let now = now_s();
    json!({
        "iss": "rejoin/development", "aud": "rejoin", "sub": "ann", "device": device.to_string(),
        "iat": now, "nbf": now, "exp": now + 60,
    })
}

fn forge(key: &Key, claims: &Value, change: impl Fn(&mut Header, &mut Value)) -> String {
    let mut header = Header::new(key.algorithm);
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some(key.id.clone());
    let mut claims = claims.clone();
    change(&mut header, &mut claims);
    encode(&header, &claims, &key.encoding).unwrap()
}

/// What everybody may know of a key, as a secret for HS256.
fn as_secret(key: &Key) -> Key {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let public = match key.public().algorithm {
        AlgorithmParameters::EllipticCurve(point) => [vec![4], decode(&point.x), decode(&point.y)].concat(),
        AlgorithmParameters::RSA(rsa) => decode(&rsa.n),
        AlgorithmParameters::OctetKeyPair(pair) => decode(&pair.x),
        other => panic!("{other:?}"),
    };
    Key { id: key.id.clone(), algorithm: Algorithm::HS256, encoding: EncodingKey::from_secret(&public) }
}

fn set(name: &'static str, value: Value) -> Change<'static> {
    Box::new(move |_, claims| claims[name] = value.clone())
}

/// Every way to forge a token that we know of, each signed by whoever could.
fn forgeries(good: &Key, claims: &Value, elsewhere: &str) -> Vec<(&'static str, String)> {
    let foreign = Key::new("foreign", Algorithm::ES256);
    let now = now_s();
    let changed = |change: Change<'_>| forge(good, claims, change);
    let blueprint = changed(Box::new(|_, _| ()));
    let parts: Vec<&str> = blueprint.split('.').collect();
    // {"alg":"none","typ":"at+jwt"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0";
    let jku = format!("{elsewhere}/jwks");
    vec![
        ("not a token", "abc".to_owned()),
        ("none", format!("{none}.{}.", parts[1])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("HS256 with the public key", forge(&as_secret(good), claims, |_, _| ())),
        ("wrong issuer", changed(set("iss", json!("https://evil.example")))),
        ("wrong audience", changed(set("aud", json!("other")))),
        ("wrong environment", changed(set("iss", json!("rejoin/staging")))),
        ("expired by a second", changed(set("exp", json!(now - 1)))),
        ("not yet valid", changed(set("nbf", json!(now + 120)))),
        ("ID token as access token", changed(Box::new(|header, _| header.typ = Some("JWT".to_owned())))),
        ("key id from elsewhere", forge(&foreign, claims, |_, _| ())),
        ("another's key under our id", forge(&foreign, claims, |header, _| header.kid = Some(good.id.clone()))),
        ("no key id", changed(Box::new(|header, _| header.kid = None))),
        ("jku header", forge(&foreign, claims, |header, _| header.jku = Some(jku.clone()))),
        ("jku header, well signed", changed(Box::new(|header, _| header.jku = Some(jku.clone())))),
        ("jwk header", forge(&foreign, claims, |header, _| header.jwk = Some(foreign.public()))),
        ("x5u header", changed(Box::new(|header, _| header.x5u = Some(jku.clone())))),
        ("crit header", changed(Box::new(|header, _| header.crit = Some(vec!["b64".to_owned()])))),
        ("no device", changed(set("device", Value::Null))),
        ("no user", changed(set("sub", json!("")))),
        ("a long user", changed(set("sub", json!("x".repeat(256))))),
        ("a huge one", changed(set("padding", json!("x".repeat(4_096))))),
    ]
}

async fn spaces(phone: &Phone, token: &str) -> reqwest::Response {
    let url = format!("http://{}/v1/spaces", phone.address);
    phone.client.request(Method::GET, url).bearer_auth(token).send().await.unwrap()
}

/// How a connection ends that says hello with that token.
async fn hello(phone: &Phone, token: &str) -> CloseCode {
    let mut link = phone.dial().await;
    link.say(&LiveRequest::Hello { schema: SCHEMA, token: Some(AccessToken(token.to_owned())) }).await;
    link.closed().await
}

/// Tries them all, in each place where a token may stand.
async fn none_is_taken(phone: &Phone, forgeries: Vec<(&'static str, String)>) {
    for (what, token) in forgeries {
        println!("{what}");
        refused(spaces(phone, &token).await, 401, ErrorCode::Unauthorized).await;
        assert_eq!(hello(phone, &token).await, CloseCode::Unauthorized, "{what}: a hello");
        let mut link = phone.link().await;
        link.say(&LiveRequest::Token { token: AccessToken(token) }).await;
        assert_eq!(link.closed().await, CloseCode::Unauthorized, "{what}: a renewal");
    }
}

#[tokio::test]
async fn forged_tokens_of_ours_are_not_taken() {
    let elsewhere = Provider::new(&[]).await;
    let world = World::new().await;
    let phone = world.phone("ann");
    let (key, claims) = (own_key(&world), own_claims(phone.device));
    let blueprint = forge(&key, &claims, |_, _| ());
    assert_eq!(spaces(&phone, &blueprint).await.status(), 200, "the blueprint is good");
    let mut link = phone.link().await;
    link.say(&LiveRequest::Token { token: AccessToken(blueprint) }).await;
    assert!(matches!(link.hear().await, LiveResponse::Renewed { .. }));
    none_is_taken(&phone, forgeries(&key, &claims, &elsewhere.url)).await;
    assert_eq!(elsewhere.asked(), (0, 0), "nobody follows what a token says");
}

#[tokio::test]
async fn forged_tokens_of_a_provider_are_not_taken() {
    let elsewhere = Provider::new(&[]).await;
    for algorithm in [Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA] {
        let key = Key::new("theirs", algorithm);
        let provider = Provider::new(&[&key]).await;
        let world = World::with(provider.config()).await;
        let mut phone = world.phone("example:ann");
        let now = now_s();
        let claims = provider.access_claims(now, phone.device);
        let stranger = forge(&key, &claims, |_, _| ());
        refused(spaces(&phone, &stranger).await, 401, ErrorCode::Unauthorized).await;
        // A provider knows nothing of our devices: one is registered here first, and for that user.
        phone.device = signed_in(&world, "example:bob").await.device;
        let claims = provider.access_claims(now, phone.device);
        refused(spaces(&phone, &forge(&key, &claims, |_, _| ())).await, 401, ErrorCode::Unauthorized).await;
        phone.device = signed_in(&world, "example:ann").await.device;
        let claims = provider.access_claims(now, phone.device);
        phone.token = forge(&key, &claims, |_, _| ());
        assert_eq!(spaces(&phone, &phone.token).await.status(), 200, "the blueprint is good");
        let mut link = phone.link().await;
        link.say(&LiveRequest::Token { token: AccessToken(phone.token.clone()) }).await;
        assert!(matches!(link.hear().await, LiveResponse::Renewed { .. }));

        let mut forgeries = forgeries(&key, &claims, &elsewhere.url);
        // Their clock may differ from ours by a minute.
        forgeries.retain(|(what, _)| *what != "expired by a second");
        let changed = |change: Change<'_>| forge(&key, &claims, change);
        forgeries.push(("expired by two minutes", changed(set("exp", json!(now - 120)))));
        forgeries.push(("our issuer", changed(set("iss", json!("rejoin/development")))));
        forgeries.push(("our audience", changed(set("aud", json!("rejoin")))));
        forgeries.push(("its ID token", changed(Box::new(|header, _| header.typ = None))));
        forgeries.push(("our key", forge(&own_key(&world), &claims, |_, _| ())));
        forgeries.push(("its key for our user", forge(&key, &own_claims(phone.device), |_, _| ())));
        none_is_taken(&phone, forgeries).await;
        assert!(provider.asked().1 <= 1, "{:?}", provider.asked());
    }
    assert_eq!(elsewhere.asked(), (0, 0), "nobody follows what a token says");
}

#[tokio::test]
async fn without_an_audience_no_access_token_of_a_provider_is_taken() {
    let key = Key::new("theirs", Algorithm::ES256);
    let provider = Provider::new(&[&key]).await;
    let mut config = provider.config();
    config.token.issuers[0].access_audience = None;
    let world = World::with(config).await;
    let phone = world.phone("ann");
    for audience in [API, "rejoin", CLIENT] {
        let mut claims = provider.access_claims(now_s(), phone.device);
        claims["aud"] = json!(audience);
        refused(spaces(&phone, &key.sign(Some("at+jwt"), &claims)).await, 401, ErrorCode::Unauthorized).await;
    }
}

#[tokio::test]
async fn a_token_of_staging_fails_in_production() {
    let environment = |name: &str| {
        let mut config = Config::default();
        config.token.environment = name.to_owned();
        config
    };
    let staging = World::with(environment("staging")).await;
    let production = World::beside(&staging, |server| server.config(environment("production"))).await;
    let device = staging.phone("ann").device;
    let caller = Caller { user: "ann".to_owned(), device };
    for (issues, other) in [(&staging, &production), (&production, &staging)] {
        let token = issues.server.issue_token(&caller, Duration::from_mins(1)).unwrap();
        assert_eq!(spaces(&issues.phone("ann"), &token).await.status(), 200, "the keys are the same");
        refused(spaces(&other.phone("ann"), &token).await, 401, ErrorCode::Unauthorized).await;
        assert_eq!(hello(&other.phone("ann"), &token).await, CloseCode::Unauthorized);
    }
}

async fn key_set(world: &World) -> JwkSet {
    let answer = client().get(format!("http://{}/.well-known/jwks.json", world.address)).send().await.unwrap();
    assert_eq!(answer.status(), 200, "without a token");
    assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
    assert_eq!(answer.headers()["content-type"], "application/json");
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

fn key_id(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

#[tokio::test]
async fn anybody_can_verify_our_tokens() {
    let world = World::new().await;
    let phone = world.phone("ann");
    let shown = key_set(&world).await;
    assert_eq!(shown.keys.len(), 2, "the one that signs, and the one that will");
    let key = DecodingKey::from_jwk(shown.find(&key_id(&phone.token)).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["rejoin"]);
    validation.set_issuer(&["rejoin/development"]);
    let claims = jsonwebtoken::decode::<Value>(&phone.token, &key, &validation).unwrap().claims;
    assert_eq!(claims["sub"], "ann");
    let text = serde_json::to_string(&shown).unwrap();
    assert!(!text.contains("\"d\""), "no private key: {text}");
}

#[tokio::test]
async fn rotated_keys_reach_a_running_server() {
    let world = World::new().await;
    let phone = world.phone("ann");
    let folder = world.folder.path();
    let rotate = || keys::rotate(folder, SystemTime::now(), true).unwrap();
    let first = forge(&own_key(&world), &own_claims(phone.device), |_, _| ());
    rotate();
    let second = forge(&own_key(&world), &own_claims(phone.device), |_, _| ());
    assert_ne!(key_id(&first), key_id(&second));
    for token in [&first, &second] {
        assert_eq!(spaces(&phone, token).await.status(), 200, "one rotation ends no token");
    }
    rotate();
    rotate();
    // A key that the server has never seen: it looks, unless it did so within the last second.
    let fourth = forge(&own_key(&world), &own_claims(phone.device), |_, _| ());
    let taken = async { while spaces(&phone, &fourth).await.status() != 200 {} };
    timeout(Duration::from_secs(3), taken).await.expect("the new key is found");
    for forgotten in [&first, &second] {
        refused(spaces(&phone, forgotten).await, 401, ErrorCode::Unauthorized).await;
    }
    assert_eq!(key_id(&world.phone("ann").token), key_id(&fourth), "it signs with that key from now on");
    assert_eq!(key_set(&world).await.keys.len(), 3, "and shows all three");
}
