//! OpenID providers: whose ID tokens are believed, and that a provider is neither flooded nor waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jsonwebtoken::Algorithm;
use reqwest::Response;
use serde_json::{Value, json};
use sync_core::wire::ErrorCode;
use sync_server::{Clock, Config, IdentityError};
use tokio::time::timeout;

use crate::devices::signed_in;
use crate::provider::{CLIENT, Key, Provider};
use crate::world::{Phone, World, refused};

/// A time that passes when a test says so.
#[derive(Clone)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(2_000_000_000_000)))
    }

    fn clock(&self) -> Clock {
        let now_ms = Arc::clone(&self.0);
        Clock::new(move || now_ms.load(Ordering::Relaxed))
    }

    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    fn now_s(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / 1_000
    }
}

struct Scene {
    provider: Provider,
    world: World,
    time: Time,
    phone: Phone,
}

impl Scene {
    async fn new(keys: &[&Key]) -> Self {
        let provider = Provider::new(keys).await;
        let config = provider.config();
        Self::of(provider, config).await
    }

    async fn of(provider: Provider, config: Config) -> Self {
        let time = Time::new();
        let world = World::on(|server| server.config(config).clock(time.clock())).await;
        let mut phone = world.phone("example:ann");
        phone.device = signed_in(&world, "example:ann").await.device;
        Self { provider, world, time, phone }
    }

    /// Calls with an access token of that key and of now.
    async fn call(&self, key: &Key) -> Response {
        let token = key.sign(Some("at+jwt"), &self.provider.access_claims(self.time.now_s(), self.phone.device));
        let url = format!("http://{}/v1/spaces", self.phone.address);
        self.phone.client.get(url).bearer_auth(token).send().await.unwrap()
    }

    async fn is_taken(&self, key: &Key) {
        assert_eq!(self.call(key).await.status(), 200, "{}", key.id);
    }

    async fn is_unknown(&self, key: &Key) {
        refused(self.call(key).await, 401, ErrorCode::Unauthorized).await;
    }

    /// Nobody knows: the phone is to come again, and must not sign out.
    async fn is_put_off(&self, key: &Key) {
        refused(self.call(key).await, 503, ErrorCode::Unavailable).await;
    }

    /// Whom an ID token with that change is of.
    async fn identity(
        &self,
        key: &Key,
        change: impl FnOnce(&mut Value),
    ) -> Result<(String, Option<String>), IdentityError> {
        let mut claims = self.provider.id_claims(self.time.now_s());
        change(&mut claims);
        self.identity_of(&key.sign(Some("JWT"), &claims), None).await
    }

    async fn identity_of(&self, token: &str, nonce: Option<&str>) -> Result<(String, Option<String>), IdentityError> {
        let identity = self.world.server.identity(token, nonce).await?;
        Ok((identity.user, identity.display_name))
    }
}

#[tokio::test]
async fn an_id_token_says_who_somebody_is() {
    for algorithm in [Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA] {
        let key = Key::new("theirs", algorithm);
        let scene = Scene::new(&[&key]).await;
        let ann = Ok(("example:ann".to_owned(), Some("Ann".to_owned())));
        assert_eq!(scene.identity(&key, |_| ()).await, ann, "{algorithm:?}");
    }
    let key = Key::new("theirs", Algorithm::ES256);
    let scene = Scene::new(&[&key]).await;
    let claims = scene.provider.id_claims(scene.time.now_s());
    assert!(scene.identity_of(&key.sign(None, &claims), None).await.is_ok(), "a type is not needed");
    for (told, shown) in [
        (json!("  Ann\u{7}a  "), Some("Anna".to_owned())),
        (json!("x".repeat(300)), Some("x".repeat(100))),
        (json!(" \u{0} "), None),
        (json!({ "first": "Ann" }), None),
        (Value::Null, None),
    ] {
        let (_, name) = scene.identity(&key, |claims| claims["name"] = told.clone()).await.unwrap();
        assert_eq!(name, shown, "{told}");
    }
    let several = |claims: &mut Value| {
        claims["aud"] = json!([CLIENT, "their-api"]);
        claims["azp"] = json!(CLIENT);
    };
    assert!(scene.identity(&key, several).await.is_ok());
    let fractions = |claims: &mut Value| claims["exp"] = json!(scene.time.now_s() as f64 + 0.5);
    assert!(scene.identity(&key, fractions).await.is_ok());
}

#[tokio::test]
async fn forged_id_tokens_are_not_taken() {
    let key = Key::new("theirs", Algorithm::ES256);
    let scene = Scene::new(&[&key]).await;
    assert!(scene.identity(&key, |_| ()).await.is_ok(), "the blueprint is good");
    let now = scene.time.now_s();
    let table: Vec<(&str, Value)> = vec![
        ("another issuer", json!({ "iss": "https://evil.example" })),
        ("no issuer", json!({ "iss": null })),
        ("another app", json!({ "aud": "another-app" })),
        ("no app", json!({ "aud": null })),
        ("several, without whose it is", json!({ "aud": [CLIENT, "other"] })),
        ("several, issued to another", json!({ "aud": [CLIENT, "other"], "azp": "other" })),
        ("expired by more than clocks differ", json!({ "exp": now - 60 })),
        ("no expiry", json!({ "exp": null })),
        ("from the future", json!({ "iat": now + 61 })),
        ("of long ago", json!({ "iat": now - 661 })),
        ("no time of issue", json!({ "iat": null })),
        ("not yet valid", json!({ "nbf": now + 61 })),
        ("a nonce that nobody asked for", json!({ "nonce": "abc" })),
        ("a logout token", json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } })),
        ("no subject", json!({ "sub": "" })),
        ("a long subject", json!({ "sub": "x".repeat(255) })),
        ("a zero byte", json!({ "sub": "a\u{0}b" })),
    ];
    for (what, changes) in table {
        let change = |claims: &mut Value| {
            for (name, value) in changes.as_object().unwrap() {
                claims[name] = value.clone();
            }
        };
        assert_eq!(scene.identity(&key, change).await, Err(IdentityError::Refused), "{what}");
    }
    let claims = scene.provider.id_claims(now);
    let foreign = Key { id: key.id.clone(), ..Key::new("foreign", Algorithm::ES256) };
    let rsa = Key { id: key.id.clone(), ..Key::new("rsa", Algorithm::RS256) };
    for (what, token) in [
        ("an access token", key.sign(Some("at+jwt"), &claims)),
        ("an access token in full", key.sign(Some("application/at+jwt"), &claims)),
        ("a logout token by its type", key.sign(Some("logout+jwt"), &claims)),
        ("another's key under its id", foreign.sign(Some("JWT"), &claims)),
        ("another algorithm under its id", rsa.sign(Some("JWT"), &claims)),
        ("an unknown key", Key::new("unknown", Algorithm::ES256).sign(Some("JWT"), &claims)),
        ("a token of ours", scene.phone.token.clone()),
        ("nothing", String::new()),
        ("a huge one", "x".repeat(20_000)),
    ] {
        assert_eq!(scene.identity_of(&token, None).await, Err(IdentityError::Refused), "{what}");
    }
}

#[tokio::test]
async fn a_nonce_ties_an_id_token_to_its_sign_in() {
    let key = Key::new("theirs", Algorithm::ES256);
    let scene = Scene::new(&[&key]).await;
    let plain = scene.provider.id_claims(scene.time.now_s());
    let mut tied = plain.clone();
    tied["nonce"] = json!("n-0S6");
    let (plain, tied) = (key.sign(Some("JWT"), &plain), key.sign(Some("JWT"), &tied));
    assert!(scene.identity_of(&tied, Some("n-0S6")).await.is_ok());
    for (token, nonce) in [(&tied, None), (&tied, Some("other")), (&tied, Some("")), (&plain, Some("n-0S6"))] {
        assert_eq!(scene.identity_of(token, nonce).await, Err(IdentityError::Refused), "{nonce:?}");
    }
}

#[tokio::test]
async fn one_provider_does_not_speak_for_another() {
    let (one, two) = (Key::new("same", Algorithm::ES256), Key::new("same", Algorithm::ES256));
    let (first, second) = (Provider::new(&[&one]).await, Provider::new(&[&two]).await);
    let mut config = first.config();
    let mut entry = second.entry();
    entry.name = "other".to_owned();
    config.token.issuers.push(entry);
    let scene = Scene::of(first, config).await;
    let now = scene.time.now_s();
    let user = async |key: &Key, claims: Value| {
        scene.identity_of(&key.sign(Some("JWT"), &claims), None).await.map(|(user, _)| user)
    };
    assert_eq!(user(&one, scene.provider.id_claims(now)).await, Ok("example:ann".to_owned()));
    assert_eq!(user(&two, second.id_claims(now)).await, Ok("other:ann".to_owned()));
    assert_eq!(user(&one, second.id_claims(now)).await, Err(IdentityError::Refused));
    assert_eq!(user(&two, scene.provider.id_claims(now)).await, Err(IdentityError::Refused));
}

#[tokio::test]
async fn a_thousand_unknown_keys_are_one_question() {
    let good = Key::new("good", Algorithm::ES256);
    let scene = Scene::new(&[&good]).await;
    scene.is_taken(&good).await;
    assert_eq!(scene.provider.asked(), (1, 1));
    scene.time.pass(Duration::from_secs(61));
    let unknown = Key::new("unknown", Algorithm::ES256);
    let flood = futures_util::stream::iter(0..1_000).map(async |number| {
        let forged = Key { id: format!("unknown-{number}"), ..unknown.clone() };
        let status = scene.call(&forged).await.status().as_u16();
        if number % 50 == 0 {
            scene.is_taken(&good).await;
        }
        status
    });
    let statuses: Vec<u16> = flood.buffer_unordered(24).collect().await;
    assert!(statuses.iter().all(|status| [401, 503].contains(status)), "{statuses:?}");
    // Those that came while the provider was asked may have been put off.
    let refused = statuses.iter().filter(|status| **status == 401).count();
    assert!(refused > 900, "{refused} were refused for good");
    assert_eq!(scene.provider.asked(), (2, 2), "one question, whatever came");
    scene.time.pass(Duration::from_secs(59));
    scene.is_unknown(&unknown).await;
    assert_eq!(scene.provider.asked(), (2, 2));
    scene.time.pass(Duration::from_secs(1));
    scene.is_unknown(&unknown).await;
    assert_eq!(scene.provider.asked(), (3, 3), "the next minute");
}

#[tokio::test]
async fn nobody_waits_behind_a_provider_that_hangs() {
    let good = Key::new("good", Algorithm::ES256);
    let scene = Scene::new(&[&good]).await;
    scene.is_taken(&good).await;
    scene.time.pass(Duration::from_secs(61));
    scene.provider.hold(true);
    let unknown = Key::new("unknown", Algorithm::ES256);
    let patience = async {
        let mut flood: FuturesUnordered<_> = (0..24).map(|_| scene.call(&unknown)).collect();
        let flood = async {
            // Eight wait for the provider; nobody waits behind them.
            let at_once = timeout(Duration::from_secs(2), flood.by_ref().take(16).collect::<Vec<_>>());
            let mut answers = at_once.await.expect("few wait");
            answers.extend(flood.collect::<Vec<_>>().await);
            answers
        };
        let good = async {
            scene.provider.asked_for_configuration(2).await;
            for _ in 0..10 {
                // Less than anybody who waits does.
                let taken = timeout(Duration::from_secs(2), scene.is_taken(&good));
                taken.await.expect("a good token is not held up");
            }
        };
        futures_util::future::join(flood, good).await.0
    };
    let answers = timeout(Duration::from_secs(10), patience).await.expect("a bounded wait");
    assert_eq!(answers.len(), 24);
    for answer in answers {
        refused(answer, 503, ErrorCode::Unavailable).await;
    }
    scene.provider.hold(false);
}

#[tokio::test]
async fn a_provider_that_rotates_is_followed() {
    let (old, new) = (Key::new("old", Algorithm::ES256), Key::new("new", Algorithm::RS256));
    let scene = Scene::new(&[&old]).await;
    scene.is_taken(&old).await;
    scene.provider.show(&[&new, &old]);
    scene.is_unknown(&new).await;
    scene.time.pass(Duration::from_mins(1));
    scene.is_taken(&new).await;
    scene.is_taken(&old).await;
    assert_eq!(scene.provider.asked(), (2, 2));
    // What is removed is believed until the next hour.
    scene.provider.show(&[&new]);
    scene.time.pass(Duration::from_mins(59));
    scene.is_taken(&old).await;
    scene.time.pass(Duration::from_mins(1));
    scene.provider.asked_for_keys(3).await;
    // The answer may still be under way.
    timeout(Duration::from_secs(5), async { while scene.call(&old).await.status() == 200 {} }).await.unwrap();
    scene.is_unknown(&old).await;
    scene.is_taken(&new).await;
}

#[tokio::test]
async fn a_provider_that_is_away_is_believed_for_a_day() {
    let key = Key::new("theirs", Algorithm::ES256);
    let scene = Scene::new(&[&key]).await;
    scene.is_taken(&key).await;
    scene.provider.answer_with(500);
    scene.time.pass(Duration::from_hours(23));
    scene.is_taken(&key).await;
    scene.is_unknown(&Key::new("unknown", Algorithm::ES256)).await;
    scene.time.pass(Duration::from_hours(1));
    scene.is_put_off(&key).await;
    scene.provider.answer_with(200);
    scene.time.pass(Duration::from_mins(1));
    scene.is_taken(&key).await;
}

#[tokio::test]
async fn a_provider_that_was_never_there_is_waited_for() {
    let key = Key::new("theirs", Algorithm::ES256);
    let provider = Provider::new(&[&key]).await;
    provider.answer_with(404);
    let config = provider.config();
    let scene = Scene::of(provider, config).await;
    scene.is_put_off(&key).await;
    assert_eq!(scene.identity(&key, |_| ()).await, Err(IdentityError::Unavailable));
    let asked = scene.provider.asked().0;
    scene.is_put_off(&key).await;
    assert_eq!(scene.provider.asked().0, asked, "it is left alone for a while");
    scene.provider.answer_with(200);
    scene.time.pass(Duration::from_secs(10));
    scene.is_taken(&key).await;
}

/// What a provider may answer with.
const KEYS_BYTES_MAX: usize = 256 << 10;

/// The right key is there, behind so many spaces that nothing but the length is against it.
#[tokio::test]
async fn a_key_set_has_256_kib_at_most() {
    let key = Key::new("theirs", Algorithm::ES256);
    let of_length = |provider: &Provider, length: usize| {
        let keys = provider.shown();
        provider.show_text(" ".repeat(length - keys.len()) + &keys);
    };
    let provider = Provider::new(&[&key]).await;
    of_length(&provider, KEYS_BYTES_MAX + 1);
    let config = provider.config();
    let scene = Scene::of(provider, config).await;
    scene.is_put_off(&key).await;
    assert_eq!(scene.provider.asked(), (1, 1));
    scene.provider.show(&[&key]);
    of_length(&scene.provider, KEYS_BYTES_MAX);
    scene.time.pass(Duration::from_secs(10));
    scene.is_taken(&key).await;
}

#[tokio::test]
async fn keys_come_from_where_the_configuration_says() {
    let key = Key::new("theirs", Algorithm::ES256);
    let elsewhere = Provider::new(&[&key]).await;
    let other_keys = format!("{}/jwks", elsewhere.url);
    type Lie<'a> = &'a dyn Fn(&Provider);
    let lies: [(&str, Lie<'_>); 5] = [
        ("keys of another host", &|provider| provider.claim_jwks_uri(&other_keys)),
        ("keys that are no URL", &|provider| provider.claim_jwks_uri("keys")),
        ("another issuer", &|provider| provider.claim_issuer(&format!("{}/", provider.url))),
        ("a redirection", &|provider| provider.redirect_to(&other_keys)),
        ("no document", &|provider| provider.show_text("<html>".to_owned())),
    ];
    for (what, lie) in lies {
        let provider = Provider::new(&[&key]).await;
        lie(&provider);
        let config = provider.config();
        let scene = Scene::of(provider, config).await;
        println!("{what}");
        scene.is_put_off(&key).await;
    }
    assert_eq!(elsewhere.asked(), (0, 0));
    // Unless the operator says so.
    let provider = Provider::new(&[]).await;
    let mut config = provider.config();
    config.token.issuers[0].jwks_url = Some(other_keys);
    let scene = Scene::of(provider, config).await;
    scene.is_taken(&key).await;
    assert_eq!((scene.provider.asked(), elsewhere.asked()), ((0, 0), (0, 1)));
}
