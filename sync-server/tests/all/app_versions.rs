//! Apps that are too old are told so, and where to update, as soon as a node has looked.

use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use sync_core::wire::{CloseCode, ErrorCode, LiveRequest, LiveResponse};
use sync_server::Config;
use sync_server::config::Versions;
use sync_server::store::versions::AppMinimum;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::binary::{Serving, binary};
use crate::world::{Phone, World, client, refused};

const UPDATE_URL: &str = "https://example.com/update";
/// Longer than any look takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn world() -> World {
    World::with(Config { versions: Versions { poll_ms: 20 }, ..Config::default() }).await
}

async fn set(world: &World, platform: &str, minimum: &str) {
    let (platform, minimum, update_url) = (platform.to_owned(), minimum.to_owned(), UPDATE_URL.to_owned());
    assert!(world.server.registry().set_app_minimum(AppMinimum { platform, minimum, update_url }).await.unwrap());
}

async fn spaces_as(phone: &Phone, app: &[(&str, &str)]) -> Response {
    let request = phone.request(Method::GET, "/v1/spaces");
    app.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

const fn app<'a>(platform: &'a str, version: &'a str) -> [(&'static str, &'a str); 2] {
    [("X-App-Platform", platform), ("X-App-Version", version)]
}

/// Asks again until the answer has that status.
async fn until_status(phone: &Phone, app: &[(&str, &str)], status: u16) -> Response {
    let began = Instant::now();
    loop {
        let response = spaces_as(phone, app).await;
        if response.status() == status {
            return response;
        }
        assert!(began.elapsed() < PATIENCE, "{} and never {status}", response.status());
    }
}

#[tokio::test]
async fn an_app_that_is_too_old_is_told_where_to_update_and_others_are_served() {
    let world = world().await;
    let phone = world.phone("ann");
    assert_eq!(spaces_as(&phone, &app("ios", "1.9")).await.status(), 200);
    set(&world, "ios", "2.0.0").await;
    let response = until_status(&phone, &app("ios", "1.9"), 426).await;
    assert_eq!(response.headers()["upgrade"], "rejoin-app/2.0.0", "as RFC 9110 wants it");
    assert_eq!(response.headers()["connection"], "upgrade");
    let error = refused(response, 426, ErrorCode::UpgradeRequired).await;
    assert_eq!(error.update_url.as_deref(), Some(UPDATE_URL));
    assert!(error.message.contains("2.0.0"), "{}", error.message);

    for too_old in ["1.99.99", "2.0.0-beta.9", "0"] {
        assert_eq!(spaces_as(&phone, &app("ios", too_old)).await.status(), 426, "{too_old}");
    }
    for recent in ["2", "2.0", "2.0.0+77", "2.0.1-alpha", "10.0"] {
        assert_eq!(spaces_as(&phone, &app("ios", recent)).await.status(), 200, "{recent}");
    }
    for other in [&app("android", "1.0")[..], &[("X-App-Version", "1.0")], &[("X-App-Platform", "ios")], &[]] {
        assert_eq!(spaces_as(&phone, other).await.status(), 200, "{other:?}");
    }
    for probe in ["/healthz", "/readyz", "/v1/openapi.json"] {
        let request = phone.request(Method::GET, probe).header("X-App-Platform", "ios").header("X-App-Version", "1.0");
        assert_eq!(request.send().await.unwrap().status(), 200, "{probe}");
    }
    // Without a token too: who cannot speak this version of the protocol need not be let in first.
    let request = phone.client.post(format!("http://{}/v1/sync", phone.address));
    let request = request.header("X-App-Platform", "ios").header("X-App-Version", "1.0");
    refused(request.send().await.unwrap(), 426, ErrorCode::UpgradeRequired).await;

    assert!(world.server.registry().clear_app_minimum("ios").await.unwrap());
    until_status(&phone, &app("ios", "1.9"), 200).await;
}

#[tokio::test]
async fn headers_that_say_nothing_sensible_are_named() {
    let world = world().await;
    let phone = world.phone("ann");
    for (headers, named) in [
        (&app("iOS!", "1")[..], "`X-App-Platform`"),
        (&app("ios", "latest"), "`X-App-Version`"),
        (&[("X-App-Version", "1"), ("X-App-Version", "2")], "`X-App-Version`"),
    ] {
        let error = refused(spaces_as(&phone, headers).await, 400, ErrorCode::Invalid).await;
        assert!(error.message.contains(named), "{}", error.message);
    }
}

fn upgrade(phone: &Phone, platform: &'static str, version: &'static str) -> tungstenite::handshake::client::Request {
    let mut request = phone.upgrade();
    request.headers_mut().insert("x-app-platform", HeaderValue::from_static(platform));
    request.headers_mut().insert("x-app-version", HeaderValue::from_static(version));
    request
}

#[tokio::test]
async fn live_connections_of_apps_that_have_become_too_old_are_closed() {
    let world = world().await;
    let phone = world.phone("ann");
    let mut links = Vec::new();
    for (platform, version) in [("ios", "1.9"), ("ios", "2.0"), ("android", "1.0")] {
        let mut link = phone.dial_with(upgrade(&phone, platform, version)).await.unwrap();
        link.say(&phone.hello()).await;
        assert!(matches!(link.hear().await, LiveResponse::Hello(_)));
        links.push(link);
    }
    let events = format!("/v1/events?space={}", phone.space);
    // The space is there as soon as somebody has asked for it.
    phone.sync(&phone.pull()).await;
    let events = phone.request(Method::GET, &events).header("X-App-Platform", "ios").header("X-App-Version", "1.9");
    let mut events = events.send().await.unwrap();
    assert_eq!(events.status(), 200);

    set(&world, "ios", "2.0").await;
    let error = links[0].refused(ErrorCode::UpgradeRequired).await;
    assert_eq!(error.update_url.as_deref(), Some(UPDATE_URL));
    assert_eq!(links[0].closed().await, CloseCode::UpgradeRequired);
    while events.chunk().await.unwrap().is_some() {}
    for link in &mut links[1..] {
        link.say(&LiveRequest::Ping { nonce: 7 }).await;
        assert!(matches!(link.hear().await, LiveResponse::Pong { nonce: 7 }), "it is open");
    }
    match phone.dial_with(upgrade(&phone, "ios", "1.9")).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 426),
        other => panic!("let in: {}", other.is_ok()),
    }
    // Who connects without saying what it is, is a companion or a person.
    phone.link().await;
}

#[tokio::test]
async fn the_command_takes_effect_while_a_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[versions]\npoll_ms = 20\n").unwrap();
    let serving = Serving::start(&data, &["--config", config.to_str().unwrap()]);
    let run = |arguments: &[&str]| binary(&data, &[&["min-version"], arguments].concat()).output().unwrap();
    let stdout = |output: std::process::Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(stdout(run(&["list"])), "");
    let set = |version: &'static str, url: &'static str| {
        run(&["set", "--platform", "ios", "--version", version, "--update-url", url])
    };
    stdout(set("2.0.0", UPDATE_URL));
    assert_eq!(stdout(run(&["list"])), format!("ios 2.0.0 {UPDATE_URL}\n"));

    let status = async || {
        let request = client().get(format!("{}/v1/spaces", serving.url));
        request.header("X-App-Platform", "ios").header("X-App-Version", "1").send().await.unwrap().status()
    };
    let until = async |wanted: u16| {
        let began = Instant::now();
        while status().await != wanted {
            assert!(began.elapsed() < PATIENCE, "never {wanted}");
        }
    };
    until(426).await;
    stdout(run(&["clear", "--platform", "ios"]));
    until(401).await;

    for (version, url) in [("two", UPDATE_URL), ("2", "http://example.com"), ("2", "javascript:alert(1)"), ("2", "")] {
        assert!(!set(version, url).status.success(), "{version} {url}");
    }
    let nothing = run(&["clear", "--platform", "ios"]);
    assert!(!nothing.status.success() && String::from_utf8_lossy(&nothing.stderr).contains("nothing is set for ios"));
    assert!(!Command::new(env!("CARGO_BIN_EXE_sync-server")).arg("min-version").status().unwrap().success());
}
