//! Numbers for Prometheus: what they say after a known story, and that nobody fills them with made-up names.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::BTreeMap;

use reqwest::Method;
use sync_core::feed::Item;
use sync_core::id::SpaceId;

use crate::process::{Process, token};
use crate::world::{Phone, client, typing};

/// A phone at a server that is a process.
pub fn phone(process: &Process, data: &std::path::Path, user: &str) -> Phone {
    use sync_core::feed::FeedHead;
    let token = token(data, user);
    let claims = token.split('.').nth(1).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&base64url(claims)).unwrap();
    let device = claims["device"].as_str().or(claims["device_id"].as_str()).unwrap().parse().unwrap();
    let space = SpaceId::personal(user);
    let head = FeedHead::start(space, device);
    Phone { client: client(), address: process.address(), prefix: "", token, device, space, head }
}

fn base64url(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Samples by their name and labels.
pub async fn scrape(url: &str) -> BTreeMap<String, f64> {
    let response = client().get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = response.text().await.unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

#[tokio::test]
async fn numbers_say_what_happened_and_their_names_are_no_callers() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::serve(folder.path(), &["--metrics-listen", "127.0.0.1:0"]);
    let metrics = process.line().strip_prefix("metrics on ").unwrap().to_owned();
    let fresh = scrape(&metrics).await;
    assert_eq!(fresh["rejoin_audit_events_total{kind=\"session.refresh_theft\"}"], 0.0, "before the first of them");

    let mut ann = phone(&process, folder.path(), "ann");
    let items = typing(ann.device, 3);
    let doc = items[0].doc;
    let push = ann.push(items);
    ann.sync(&push).await;
    ann.sync(&push).await;
    let delete = ann.push(vec![Item::delete(doc)]);
    ann.sync(&delete).await;
    ann.sync(&ann.pull()).await;
    let (mut link, _) = ann.greeted().await;
    link.follow(ann.space, None).await;
    for at in 0..5 {
        let nowhere = format!("/v1/spaces/{}/version", SpaceId::from_bytes([at; 16]));
        assert_eq!(ann.request(Method::GET, &nowhere).send().await.unwrap().status(), 404);
        let made_up = Method::from_bytes(format!("CANARY{at}").as_bytes()).unwrap();
        ann.request(made_up, &format!("/canary-{at}")).send().await.unwrap();
    }
    let now = scrape(&metrics).await;
    let value = |name: &str| *now.get(name).unwrap_or_else(|| panic!("{name} among {:?}", now.keys()));
    assert_eq!(value("rejoin_changes_total{verdict=\"applied\"}"), 5.0);
    assert_eq!(value("rejoin_changes_total{verdict=\"duplicate\"}"), 4.0);
    assert_eq!(value("rejoin_pushes_total{answer=\"taken\"}"), 3.0);
    assert_eq!(value("rejoin_group_pushes_count"), 3.0);
    assert_eq!(value("rejoin_commit_duration_seconds_count{outcome=\"committed\"}"), 3.0);
    assert!(value("rejoin_pulled_entries_total") >= 5.0);
    assert_eq!(value("rejoin_errors_total{code=\"not_found\"}"), 10.0);
    let requests = |route: &str, method: &str, status: &str| {
        let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
        value(&format!("rejoin_request_duration_seconds_count{{{labels}}}"))
    };
    assert_eq!(requests("/v1/sync", "POST", "2xx"), 4.0);
    assert_eq!(requests("/v1/spaces/{id}/version", "GET", "4xx"), 5.0);
    assert_eq!(requests("unknown", "other", "4xx"), 5.0);
    assert_eq!(value("rejoin_live_connections"), 1.0);
    assert_eq!(value("rejoin_followed_spaces"), 1.0);
    assert_eq!(value("rejoin_bus_up"), 1.0);
    assert_eq!(value("rejoin_store_up"), 1.0);
    assert_eq!(value("rejoin_audit_events_total{kind=\"document.deleted\"}"), 1.0);
    assert!(value("rejoin_writer_queue_pushes_max") > 0.0 && value("rejoin_writer_queue_pushes") == 0.0);
    assert!(value("rejoin_data_free_bytes") > 0.0);
    for name in now.keys() {
        let is_made_up = ["CANARY", "canary"].iter().any(|text| name.contains(text));
        assert!(!is_made_up && !name.contains(&SpaceId::from_bytes([1; 16]).to_string()), "{name}");
        assert!(name.starts_with("rejoin_"), "{name}");
    }

    // What is committed elsewhere is delivered, so long after it was heard of.
    let mut tablet = phone(&process, folder.path(), "ann");
    let items = typing(tablet.device, 1);
    let push = tablet.push(items);
    tablet.sync(&push).await;
    link.page(tablet.space).await;
    let now = scrape(&metrics).await;
    assert_eq!(now["rejoin_log_lag_seconds_count"], 1.0);
    assert!(now["rejoin_log_lag_seconds_sum"] < 5.0);
    drop(link);

    // The routes of callers lead nowhere near.
    assert_eq!(client().get(format!("{}/metrics", process.url)).send().await.unwrap().status(), 404);
    process.stop();
}

#[tokio::test]
async fn without_a_listener_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), &[]);
    assert_eq!(client().get(format!("{}/metrics", process.url)).send().await.unwrap().status(), 404);
    process.stop();
}
