//! What is kept of what was done: deletions and flags, whoever asks, and `sync-server audit` beside a running server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::Value;
use sync_core::feed::Item;
use sync_core::id::SpaceId;
use sync_core::wire::{ErrorCode, LiveRequest, LiveResponse};
use sync_server::store::audit::{Audit, AuditFilter, AuditRow};
use sync_server::store::sqlite::{SqliteOptions, SqliteStore};
use sync_server::{Clock, Config};

use crate::binary::binary;
use crate::link::since;
use crate::process::{Process, lines, token};
use crate::world::{Phone, World, client, new_doc, refused, typing};

mod trail;

/// What a server kept until it was stopped, oldest first.
async fn kept(mut world: World) -> Vec<AuditRow> {
    world.stop();
    let folder = world.stopped().await;
    let store = SqliteStore::open(folder.path(), &SqliteOptions::default()).unwrap();
    let mut rows = store.read_audit(AuditFilter { limit: 1_000, ..AuditFilter::default() }).await.unwrap();
    rows.reverse();
    rows
}

/// A clock that stands still: what is counted must not run into the next window.
fn still() -> Clock {
    let now_ms = Clock::default().now_ms();
    Clock::new(move || now_ms)
}

async fn spaces(phone: &Phone) {
    assert_eq!(phone.request(Method::GET, "/v1/spaces").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn deletions_are_kept_once_and_only_those_that_took_effect() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 1);
    let (doc, unknown) = (items[0].doc, new_doc());
    let create = ann.push(items);
    ann.sync(&create).await;
    let delete = ann.push(vec![Item::delete(doc), Item::delete(unknown)]);
    ann.sync(&delete).await;
    ann.sync(&delete).await;
    // The same on a live connection.
    let items = typing(ann.device, 1);
    let other = items[0].doc;
    let (mut link, _) = ann.greeted().await;
    let run = ann.run(items.into_iter().chain([Item::delete(other)]).collect());
    link.push(ann.space, run).await;
    drop(link);
    let rows = kept(world).await;
    let details: Vec<_> = rows.iter().map(|row| (row.kind.as_str(), row.detail.clone().unwrap())).collect();
    assert_eq!(details, [("document.deleted", doc.to_string()), ("document.deleted", other.to_string())]);
    for row in &rows {
        assert_eq!((row.user.as_str(), row.device, row.space), ("ann", Some(ann.device), Some(ann.space)));
    }
}

#[tokio::test]
async fn a_burst_of_calls_is_flagged_once_and_refused_nothing() {
    let mut config = Config::default();
    config.flags.burst_calls = 5;
    config.flags.burst_seconds = 3_600;
    let world = World::on(|server| server.config(config).clock(still())).await;
    let (ann, ben) = (world.phone("ann"), world.phone("ben"));
    for _ in 0..4 {
        spaces(&ann).await;
        spaces(&ben).await;
    }
    // Messages on a live connection count as requests do; the upgrade had no token.
    let mut link = ann.link().await;
    for id in 0..4 {
        let pull = Some(since(None));
        link.say(&LiveRequest::Sync { id, space: ann.space, push: None, pull, subscribe: false, snapshot: None }).await;
        assert!(matches!(link.hear().await, LiveResponse::Answer { .. }));
    }
    drop(link);
    let rows = kept(world).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let flag = &rows[0];
    assert_eq!((flag.kind.as_str(), flag.user.as_str(), flag.device), ("flag.burst", "ann", Some(ann.device)));
    assert_eq!(flag.address.as_deref(), Some("127.0.0.1"));
    assert!(flag.request_id.is_some() && flag.detail.as_deref().unwrap().starts_with("5 calls in 3600 s"), "{flag:?}");
}

#[tokio::test]
async fn reaching_for_what_is_not_ones_own_is_flagged() {
    let mut config = Config::default();
    config.flags.reach_refusals = 4;
    config.flags.reach_seconds = 3_600;
    let world = World::on(|server| server.config(config).clock(still())).await;
    let (eve, ben) = (world.phone("eve"), world.phone("ben"));
    for at in 0..2 {
        let path = format!("/v1/spaces/{}/version", SpaceId::from_bytes([at; 16]));
        refused(eve.request(Method::GET, &path).send().await.unwrap(), 404, ErrorCode::NotFound).await;
        refused(ben.request(Method::GET, &path).send().await.unwrap(), 404, ErrorCode::NotFound).await;
    }
    // Other refusals are no reaching.
    refused(ben.post("text/plain", Vec::new()).await, 415, ErrorCode::UnsupportedMediaType).await;
    refused(ben.post("application/json", b"{}".to_vec()).await, 400, ErrorCode::BadFrame).await;
    let mut link = eve.link().await;
    for id in 0..3 {
        let (space, pull) = (SpaceId::from_bytes([7; 16]), Some(since(None)));
        link.say(&LiveRequest::Sync { id, space, push: None, pull, subscribe: id == 0, snapshot: None }).await;
        assert!(matches!(link.hear().await, LiveResponse::Refused { .. }));
    }
    drop(link);
    let rows = kept(world).await;
    let flags: Vec<_> = rows.iter().map(|row| (row.kind.as_str(), row.user.as_str())).collect();
    assert_eq!(flags, [("flag.reaching", "eve")]);
}

#[tokio::test]
async fn another_country_after_a_long_time_is_flagged() {
    const DAY_MS: u64 = 86_400_000;
    let day = Arc::new(AtomicU64::new(0));
    let started_ms = Clock::default().now_ms();
    let clock = Clock::new({
        let day = Arc::clone(&day);
        move || started_ms + day.load(Ordering::SeqCst) * DAY_MS
    });
    let mut config = Config::default();
    config.http.proxies = vec!["127.0.0.0/8".parse().unwrap()];
    config.http.country_header = Some("X-Country".to_owned());
    let world = World::on(|server| server.config(config).clock(clock)).await;
    let call = async |country: &str| {
        // A new token, whatever the clock.
        let phone = world.phone("ann");
        let request = phone.request(Method::GET, "/v1/spaces").header("x-country", country);
        assert_eq!(request.send().await.unwrap().status(), 200);
    };
    for (at, country) in [(0, "DE"), (1, "FR"), (60, "FR"), (120, "US"), (120, "FR")] {
        day.store(at, Ordering::SeqCst);
        call(country).await;
    }
    let rows = kept(world).await;
    let details: Vec<_> = rows.iter().map(|row| (row.kind.as_str(), row.detail.clone().unwrap())).collect();
    assert_eq!(details, [("flag.new_country", "US, after 60 days; before that FR".to_owned())]);
}

#[tokio::test]
async fn the_command_shows_what_was_kept_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = folder.path().join("rejoin.toml");
    std::fs::write(&config, "[flags]\nburst_calls = 1\nreach_refusals = 1\n").unwrap();
    let serving = Process::serve(&data, &["--config", config.to_str().unwrap()]);
    let call = async |user: &str, path: &str| {
        let token = token(&data, user);
        client().get(format!("{}{path}", serving.url)).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let nowhere = format!("/v1/spaces/{}/version", SpaceId::from_bytes([9; 16]));
    for _ in 0..2 {
        assert_eq!(call("ann", "/v1/spaces").await, 200);
        assert_eq!(call("eve", &nowhere).await, 404);
    }
    let audit = |arguments: &[&str]| {
        let output = binary(&data, &[&["audit"], arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // Flags are kept behind the answers; asking until they are there is what a person would do.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while audit(&["--json"]).lines().count() < 3 {
        assert!(std::time::Instant::now() < deadline, "{}", audit(&[]));
    }
    let table = audit(&[]);
    assert!(table.starts_with("WHEN") && table.lines().count() == 4, "{table}");
    let flags = audit(&["--flags", "--user", "eve"]);
    assert!(flags.contains("flag.reaching") && flags.contains("flag.burst") && !flags.contains("ann"), "{flags}");
    let one: Value = serde_json::from_str(&audit(&["--json", "--user", "ann"])).unwrap();
    assert_eq!((&one["audit"], &one["user"]), (&"flag.burst".into(), &"ann".into()));
    assert_eq!(audit(&["--json", "--limit", "1"]).lines().count(), 1);
    assert_eq!(audit(&["--json", "--kind", "flag.reaching"]).lines().count(), 1);
    assert_eq!(audit(&["--json", "--kind", "signin.*"]), "");
    assert_eq!(audit(&["--json", "--until", "1h"]), "");
    assert!(audit(&["purge", "--older-than", "400d"]).starts_with("0 events"));
    let young = binary(&data, &["audit", "purge", "--older-than", "30d"]).output().unwrap();
    assert!(!young.status.success() && String::from_utf8_lossy(&young.stderr).contains("a year"), "{young:?}");

    // The same event, with the same id, is in the log.
    let logged = lines(&serving.stop());
    let line = logged.iter().find(|line| line["audit_id"] == one["audit_id"]).unwrap();
    for field in ["audit", "user", "device", "address", "request_id", "detail"] {
        assert_eq!(line[field], one[field], "{field}");
        assert!(!line[field].is_null(), "{field}: {line}");
    }
}
