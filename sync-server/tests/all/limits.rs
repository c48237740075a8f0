//! Limits over real sockets: who is counted, what is told, and when it is one's turn again.

use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use sync_core::wire::ErrorCode;
use sync_server::config::{LimitOf, LimitRule};
use sync_server::{Caller, Config};

use crate::cuts::at;
use crate::devices::{call, signed_in};
use crate::world::{Phone, World, client, refused};

fn rule(of: LimitOf, route: &str, requests: u32, seconds: u32) -> LimitRule {
    let name = match of {
        LimitOf::Address => "address",
        LimitOf::User => "user",
        LimitOf::Device => "device",
    };
    LimitRule { name: name.to_owned(), of, route: route.to_owned(), requests, seconds }
}

fn config(rules: Vec<LimitRule>) -> Config {
    let mut config = Config::default();
    config.limits.rules = rules;
    config
}

async fn spaces(phone: &Phone) -> Response {
    phone.request(Method::GET, "/v1/spaces").send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

/// Longer than any test takes.
const WINDOW_S: u32 = 600;

#[tokio::test]
async fn a_user_is_told_where_it_stands_refused_and_told_when_to_come_again() {
    let world = World::with(config(vec![rule(LimitOf::User, "*", 3, WINDOW_S)])).await;
    let (phone, tablet, bob) = (world.phone("ann"), world.phone("ann"), world.phone("bob"));
    for (remaining, phone) in [(2, &phone), (1, &tablet), (0, &phone)] {
        let response = spaces(phone).await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "ratelimit-policy"), "\"user\";q=3;w=600");
        let stands = header(&response, "ratelimit").to_owned();
        let seconds = stands.strip_prefix(&format!("\"user\";r={remaining};t=")).unwrap_or_else(|| panic!("{stands}"));
        assert!((1..=600).contains(&seconds.parse::<u32>().unwrap()), "{stands}");
        assert!(!response.headers().contains_key("retry-after"));
    }
    for phone in [&phone, &tablet, &phone] {
        let response = spaces(phone).await;
        assert_eq!(header(&response, "ratelimit-policy"), "\"user\";q=3;w=600");
        assert!(header(&response, "ratelimit").starts_with("\"user\";r=0;t="));
        let seconds: u64 = header(&response, "retry-after").parse().unwrap();
        let error = refused(response, 429, ErrorCode::RateLimited).await;
        let told = error.retry_after_ms.unwrap();
        assert!(told <= 600_000 && told.div_ceil(1_000) == seconds, "{told} ms, {seconds} s");
    }
    assert_eq!(spaces(&bob).await.status(), 200, "others are not concerned");
    for path in ["/healthz", "/readyz"] {
        let response = phone.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path} is never limited");
        assert!(!response.headers().contains_key("ratelimit"));
    }
}

#[tokio::test]
async fn who_comes_again_when_it_was_told_passes() {
    let world = World::with(config(vec![rule(LimitOf::Device, "*", 2, 1)])).await;
    let phone = world.phone("ann");
    for _ in 0..3 {
        let began = Instant::now();
        let mut response = spaces(&phone).await;
        while response.status() == 200 {
            assert!(began.elapsed() < Duration::from_secs(30), "never refused");
            response = spaces(&phone).await;
        }
        let error = refused(response, 429, ErrorCode::RateLimited).await;
        // Attempts meanwhile do not put it off.
        let attempt = refused(spaces(&phone).await, 429, ErrorCode::RateLimited);
        let told = Instant::now() + Duration::from_millis(error.retry_after_ms.unwrap());
        attempt.await;
        tokio::time::sleep_until(told.into()).await;
        assert_eq!(spaces(&phone).await.status(), 200);
    }
}

#[tokio::test]
async fn a_rule_of_one_route_leaves_the_others_alone_and_every_fitting_rule_counts() {
    let rules = vec![rule(LimitOf::Device, "GET /v1/spaces", 1, WINDOW_S), rule(LimitOf::User, "*", 3, WINDOW_S)];
    let world = World::with(config(rules)).await;
    let phone = world.phone("ann");
    assert_eq!(spaces(&phone).await.status(), 200);
    for _ in 0..5 {
        let response = spaces(&phone).await;
        assert_eq!(header(&response, "ratelimit-policy"), "\"device\";q=1;w=600", "the tightest");
        refused(response, 429, ErrorCode::RateLimited).await;
    }
    let head = phone.request(Method::HEAD, "/v1/spaces").send().await.unwrap();
    assert_eq!(head.status(), 429, "HEAD is GET");
    for _ in 0..2 {
        let response = phone.send(&phone.pull()).await;
        assert_eq!(response.status(), 200, "what one rule refused was not counted by the other");
    }
    refused(phone.send(&phone.pull()).await, 429, ErrorCode::RateLimited).await;
}

#[tokio::test]
async fn an_invalid_token_counts_for_its_address_alone() {
    let rules = vec![rule(LimitOf::Address, "*", 4, WINDOW_S), rule(LimitOf::User, "*", 2, WINDOW_S)];
    let world = World::with(config(rules)).await;
    let phone = world.phone("ann");
    let url = format!("http://{}/v1/spaces", world.address);
    for token in ["none", "x.y.z"] {
        let response = client().get(&url).bearer_auth(token).send().await.unwrap();
        assert_eq!(header(&response, "ratelimit-policy"), "\"address\";q=4;w=600");
        refused(response, 401, ErrorCode::Unauthorized).await;
    }
    let first = spaces(&phone).await;
    assert!(header(&first, "ratelimit").contains(";r=1;"), "{:?}", first.headers());
    assert_eq!(spaces(&phone).await.status(), 200);
    let response = client().get(&url).send().await.unwrap();
    refused(response, 429, ErrorCode::RateLimited).await;
    refused(spaces(&world.phone("bob")).await, 429, ErrorCode::RateLimited).await;
}

/// Anybody may have a token with a device of that id: whoever uses up its limit uses up their own.
#[tokio::test]
async fn a_device_is_counted_for_its_user() {
    let world = World::with(config(vec![rule(LimitOf::Device, "*", 1, WINDOW_S)])).await;
    let (ann, eve) = (world.phone("ann"), world.phone("eve"));
    let token =
        world.server.issue_token(&Caller { user: "eve".to_owned(), device: ann.device }, Duration::from_mins(1));
    let eve = Phone { token: token.unwrap(), ..eve };
    assert_eq!(spaces(&eve).await.status(), 200);
    refused(spaces(&eve).await, 429, ErrorCode::RateLimited).await;
    assert_eq!(spaces(&ann).await.status(), 200);
}

/// What a token that is over its limit costs is a look into a table: it is not even asked whether it still holds.
#[tokio::test]
async fn a_token_that_was_refused_is_not_verified_again_meanwhile() {
    let world = World::with(config(vec![rule(LimitOf::Device, "*", 1, WINDOW_S)])).await;
    let (tokens, tablet) = (signed_in(&world, "ann").await, signed_in(&world, "ann").await);
    let phone = at(&world, &tokens);
    assert_eq!(spaces(&phone).await.status(), 200);
    refused(spaces(&phone).await, 429, ErrorCode::RateLimited).await;
    let path = format!("/v1/devices/{}", tokens.device);
    assert_eq!(call(&world, &tablet, Method::DELETE, &path, None).await.status(), 204);
    // Whoever verified it would find that it holds no longer.
    refused(spaces(&phone).await, 429, ErrorCode::RateLimited).await;
}

#[tokio::test]
async fn behind_a_proxy_each_caller_is_counted_by_its_own_address() {
    let mut config = config(vec![rule(LimitOf::Address, "*", 2, WINDOW_S)]);
    config.http.proxies = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    let world = World::with(config).await;
    let phone = world.phone("ann");
    let status = async |forwarded: &str| {
        let request = phone.request(Method::GET, "/v1/spaces").header("x-forwarded-for", forwarded);
        request.send().await.unwrap().status().as_u16()
    };
    for (forwarded, expected) in [
        ("203.0.113.1", 200),
        ("203.0.113.1", 200),
        ("203.0.113.1", 429),
        ("8.8.8.8, 203.0.113.1", 429),
        ("8.8.8.8, 203.0.113.1, 10.0.0.3", 429),
        ("203.0.113.2", 200),
        ("2001:db8::1", 200),
        ("2001:db8::2", 200),
        ("2001:db8::3", 429),
        ("2001:db8:0:1::3", 200),
    ] {
        assert_eq!(status(forwarded).await, expected, "{forwarded}");
    }
}

#[tokio::test]
async fn without_proxies_nobody_changes_its_address() {
    let world = World::with(config(vec![rule(LimitOf::Address, "*", 2, WINDOW_S)])).await;
    let phone = world.phone("ann");
    for (at, expected) in [(1, 200), (2, 200), (3, 429), (4, 429)] {
        let request = phone.request(Method::GET, "/v1/spaces").header("x-forwarded-for", format!("203.0.113.{at}"));
        assert_eq!(request.send().await.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn without_rules_nothing_is_said() {
    let world = World::with(config(Vec::new())).await;
    let response = spaces(&world.phone("ann")).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("ratelimit-policy"));
}

#[tokio::test]
async fn linked_into_an_app_the_routes_keep_their_names() {
    let rules = vec![rule(LimitOf::User, "POST /v1/sync", 1, WINDOW_S), rule(LimitOf::Address, "*", 2, WINDOW_S)];
    let world = World::with(config(rules)).await;
    let app = axum::Router::new().nest("/rejoin", world.server.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Without ConnectInfo, rules about addresses do not apply.
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let phone = Phone { prefix: "/rejoin", ..World::phone_of(&world.server, address, "ann") };
    let sync = async || {
        let body = sync_core::wire::encode(&phone.pull()).unwrap();
        let request = phone.request(Method::POST, "/rejoin/v1/sync").header("content-type", crate::world::MSGPACK);
        request.body(body).send().await.unwrap().status().as_u16()
    };
    assert_eq!((sync().await, sync().await), (200, 429));
    for _ in 0..4 {
        let response = phone.request(Method::GET, "/rejoin/v1/spaces").send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    serving.abort();
}

/// Who changes nothing has limits of each address, user and device, and tighter ones where anybody may ask.
#[test]
fn there_are_limits_without_configuration() {
    let rules = Config::default().limits.rules;
    for of in [LimitOf::Address, LimitOf::User, LimitOf::Device] {
        assert!(rules.iter().any(|rule| rule.of == of && rule.route == "*"), "{of:?}");
    }
    for route in ["POST /v1/accounts", "POST /v1/devices", "POST /v1/oauth/token", "POST /v1/oauth/authorize"] {
        assert!(rules.iter().any(|rule| rule.of == LimitOf::Address && rule.route == route), "{route}");
    }
}

#[test]
fn rules_that_could_not_work_are_errors() {
    let base = "[[limits.rules]]\nname = \"a\"\nof = \"user\"\nrequests = 1\nseconds = 1\n";
    assert!(Config::parse(&format!("{base}route = \"GET /v1/spaces\"")).is_ok());
    for route in ["/v1/spaces", "GET", "PUT /v1/spaces", "GET /v1/space", "get /v1/spaces", ""] {
        let error = Config::parse(&format!("{base}route = \"{route}\"")).unwrap_err();
        assert!(error.to_string().starts_with("limits.rules.route"), "{route}: {error}");
    }
    for (key, good, bad) in [("requests", 1, [0, 1_000_001]), ("seconds", 1, [0, 86_401])] {
        for bad in bad {
            let wrong = format!("{base}route = \"*\"").replace(&format!("{key} = {good}"), &format!("{key} = {bad}"));
            let error = Config::parse(&wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("limits.rules.{key}")), "{bad}: {error}");
        }
    }
    let many =
        |rules: usize| (0..rules).map(|at| format!("{base}route = \"*\"\n").replace("\"a\"", &format!("\"a{at}\"")));
    assert!(Config::parse(&many(32).collect::<String>()).is_ok());
    assert!(Config::parse(&many(33).collect::<String>()).unwrap_err().to_string().starts_with("limits.rules"));
    let twice = format!("{base}route = \"*\"\n{base}route = \"*\"");
    assert!(Config::parse(&twice).unwrap_err().to_string().starts_with("limits.rules.name"));
}
