//! What ships for watching a deployment: the saved queries answer what they say, on lines of a real run, and every number
//! that rules and dashboard name is there.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data, unwrap_valr};
use jaq_json::{Val, read};
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use sync_core::feed::Item;
use sync_core::id::SpaceId;

use crate::metrics::{phone, scrape};
use crate::process::{Process, lines};
use crate::world::{JSON, client, typing};

fn file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/observability").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What jq answers to a saved query on these lines, with `-s` and `--arg`.
fn ask(query: &str, lines: &[Value], arguments: &[(&str, &str)]) -> Value {
    let code = file(&format!("queries/{query}.jq"));
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let modules = Loader::new(defs).load(&arena, File { code: code.as_str(), path: () }).unwrap();
    let names: Vec<String> = arguments.iter().map(|(name, _)| format!("${name}")).collect();
    let compiler = Compiler::default().with_funs(funs).with_global_vars(names.iter().map(String::as_str));
    let filter = compiler.compile(modules).unwrap_or_else(|errors| panic!("{query}: {errors:?}"));
    let values = arguments.iter().map(|(_, value)| Val::from((*value).to_owned()));
    let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new(values));
    let input = read::parse_single(json!(lines).to_string().as_bytes()).unwrap();
    let mut answers = filter.id.run((context, input)).map(unwrap_valr);
    let answer = answers.next().unwrap().unwrap_or_else(|error| panic!("{query}: {error}"));
    assert!(answers.next().is_none(), "one answer");
    serde_json::from_str(&answer.to_string()).unwrap()
}

#[tokio::test]
async fn the_saved_queries_answer_on_lines_of_a_real_run() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), &[]);
    let (mut ann, eve) = (phone(&process, folder.path(), "ann"), phone(&process, folder.path(), "eve"));
    let guess = json!({"schema": 1, "proof": {"password": {"email": "bob@example.com", "password": "Letmein-please-1A"}},
                       "device": {"name": "Phone", "platform": "ios", "app_version": "2.4.1"}});
    let guess =
        client().post(format!("{}/v1/devices", process.url)).header("content-type", JSON).body(guess.to_string());
    assert_eq!(guess.send().await.unwrap().status(), 401);
    let app = [("x-app-platform", "ios"), ("x-app-version", "2.4.1")];
    let spaces = ann.request(Method::GET, "/v1/spaces").header(app[0].0, app[0].1).header(app[1].0, app[1].1);
    assert_eq!(spaces.send().await.unwrap().status(), 200);
    let items = typing(ann.device, 1);
    let delete = Item::delete(items[0].doc);
    let push = ann.push(items.into_iter().chain([delete]).collect());
    ann.sync(&push).await;
    let version = format!("/v1/spaces/{}/version", SpaceId::from_bytes([7; 16]));
    for _ in 0..3 {
        assert_eq!(eve.request(Method::GET, &version).send().await.unwrap().status(), 404);
    }
    assert_eq!(client().get(format!("{}/v1/spaces", process.url)).send().await.unwrap().status(), 401);
    drop(ann.link().await);
    let lines = lines(&process.stop());

    let anns = ask("requests-of-user", &lines, &[("user", "ann")]);
    let routes: Vec<_> = anns.as_array().unwrap().iter().map(|line| (&line["method"], &line["route"])).collect();
    assert_eq!(routes, [(&json!("GET"), &json!("/v1/spaces")), (&json!("POST"), &json!("/v1/sync"))]);
    let first = &anns[0];
    for field in ["timestamp", "request_id", "device", "latency_us"] {
        assert!(!first[field].is_null(), "{field}: {first}");
    }
    assert_eq!(
        (&first["status"], &first["platform"], &first["app_version"], &first["address"]),
        (&json!(200), &json!("ios"), &json!("2.4.1"), &json!("127.0.0.1"))
    );
    assert_eq!(ask("requests-of-user", &lines, &[("user", "ben")]), json!([]));

    let all = [("from", "2020-01-01T00:00:00Z"), ("to", "2100-01-01T00:00:00Z")];
    let refusals = ask("refusals-in-window", &lines, &all);
    let last_404 = lines.iter().rfind(|line| line["status"] == 404).unwrap();
    assert_eq!(
        refusals,
        json!([
            { "method": "GET", "route": "/v1/spaces/{id}/version", "status": 404, "code": "not_found", "requests": 3,
              "users": 1, "last_request_id": last_404["request_id"] },
            { "method": "POST", "route": "/v1/devices", "status": 401, "code": "login_failed", "requests": 1,
              "users": 0, "last_request_id": refusals[1]["last_request_id"] },
            { "method": "GET", "route": "/v1/spaces", "status": 401, "code": "unauthorized", "requests": 1,
              "users": 0, "last_request_id": refusals[2]["last_request_id"] },
        ])
    );
    let at = last_404["timestamp"].as_str().unwrap();
    let before = ask("refusals-in-window", &lines, &[all[0], ("to", at)]);
    assert_eq!(before[0]["requests"], 2, "the end of the window is outside");
    let since = ask("refusals-in-window", &lines, &[("from", at), all[1]]);
    assert_eq!(since.as_array().unwrap().iter().map(|row| row["requests"].as_u64().unwrap()).sum::<u64>(), 2);

    let slow = ask("slow-endpoints", &lines, &[]);
    let rows = slow.as_array().unwrap();
    assert!(rows.is_sorted_by_key(|row| std::cmp::Reverse(row["p95_us"].as_u64().unwrap())), "{slow}");
    let row = rows.iter().find(|row| row["route"] == "/v1/spaces/{id}/version").unwrap();
    let mut took: Vec<u64> =
        lines.iter().filter(|line| line["status"] == 404).map(|line| line["latency_us"].as_u64().unwrap()).collect();
    took.sort_unstable();
    assert_eq!((&row["requests"], &row["median_us"], &row["max_us"]), (&json!(3), &json!(took[1]), &json!(took[2])));

    let failed = ask("failed-logins", &lines, &[]);
    let event = lines.iter().find(|line| line["audit"] == "signin.failed").unwrap();
    let expected = json!({ "address": "127.0.0.1", "failed": 1, "blocked": 0, "identities": 1,
                           "first": event["timestamp"], "last": event["timestamp"] });
    assert_eq!(failed, json!([expected]));

    // The recorded lines are still as those of today.
    let recorded = recorded();
    let fields = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    for of in [&json!({"audit": "signin.failed"}), &json!({"route": "/v1/devices", "status": 401})] {
        let is = |line: &&Value| of.as_object().unwrap().iter().all(|(name, value)| line[name] == *value);
        let (then, now) = (recorded.iter().rfind(is).unwrap(), lines.iter().rfind(is).unwrap());
        assert_eq!(fields(then), fields(now), "{of}");
    }
}

fn recorded() -> Vec<Value> {
    crate::process::lines(&file("recorded.jsonl"))
}

/// What is expected here was counted from the lines without jq.
#[test]
fn the_saved_queries_answer_on_the_recorded_lines() {
    let lines = recorded();
    assert_eq!(
        ask("failed-logins", &lines, &[]),
        json!([
            { "address": "198.51.100.7", "failed": 4, "blocked": 1, "identities": 2,
              "first": "2026-11-26T22:08:55.126546Z", "last": "2026-11-26T22:08:55.674833Z" },
            { "address": "203.0.113.9", "failed": 1, "blocked": 0, "identities": 1,
              "first": "2026-11-26T22:08:54.576033Z", "last": "2026-11-26T22:08:54.576033Z" },
        ])
    );
    let window = [("from", "2026-11-26T22:08:54.5Z"), ("to", "2026-11-26T22:08:55.6Z")];
    assert_eq!(
        ask("refusals-in-window", &lines, &window),
        json!([
            { "method": "POST", "route": "/v1/devices", "status": 401, "code": "login_failed", "requests": 4,
              "users": 0, "last_request_id": "edc3dfa17fccef2e-14" },
            { "method": "GET", "route": "/v1/spaces/{id}/version", "status": 404, "code": "not_found", "requests": 2,
              "users": 1, "last_request_id": "edc3dfa17fccef2e-11" },
            { "method": "GET", "route": "/v1/spaces", "status": 429, "code": "rate_limited", "requests": 1,
              "users": 1, "last_request_id": "edc3dfa17fccef2e-7" },
        ])
    );
    // Hashes of passwords are slow on purpose.
    let slow = ask("slow-endpoints", &lines, &[]);
    assert_eq!(
        slow.as_array().unwrap()[..2],
        [
            json!({ "method": "POST", "route": "/v1/accounts", "requests": 1, "median_us": 308_448, "p95_us": 308_448,
                    "max_us": 308_448, "slowest_request_id": "edc3dfa17fccef2e-1" }),
            json!({ "method": "POST", "route": "/v1/devices", "requests": 7, "median_us": 195_638, "p95_us": 198_575,
                    "max_us": 206_905, "slowest_request_id": "edc3dfa17fccef2e-14" }),
        ]
    );
    let user = "local:d99bddd6-365f-4555-b4db-e9f3963178c7";
    let requests = ask("requests-of-user", &lines, &[("user", user)]);
    let ids: Vec<_> = requests.as_array().unwrap().iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [4, 5, 6, 7, 8, 9, 10, 11].map(|n| format!("edc3dfa17fccef2e-{n}")));
}

/// The metrics' names in an expression, without what Prometheus adds for histograms; and the labels that are asked for.
fn named(expression: &str) -> BTreeSet<String> {
    let names = Regex::new(r"\brejoin_[a-z_]+").unwrap();
    names.find_iter(expression).map(|name| name.as_str().to_owned()).collect()
}

fn labels(expression: &str) -> BTreeSet<String> {
    let labels = Regex::new(r#"([a-z_]+)(?:=|!=|=~|!~)""#).unwrap();
    let by = Regex::new(r"\bby \(([a-z_, ]+)\)").unwrap();
    let by = by.captures_iter(expression).flat_map(|found| found[1].split(", ").map(str::to_owned).collect::<Vec<_>>());
    labels.captures_iter(expression).map(|found| found[1].to_owned()).chain(by).collect()
}

#[tokio::test]
async fn every_number_in_rules_and_dashboard_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("rejoin.toml");
    let rule =
        "[[limits.rules]]\nname = \"few\"\nof = \"user\"\nroute = \"GET /v1/spaces\"\nrequests = 1\nseconds = 600\n";
    std::fs::write(&config, rule).unwrap();
    let data = folder.path().join("data");
    let mut process = Process::serve(&data, &["--metrics-listen", "127.0.0.1:0", "--config", config.to_str().unwrap()]);
    let metrics = process.line().strip_prefix("metrics on ").unwrap().to_owned();
    let (mut ann, mut tablet) = (phone(&process, &data, "ann"), phone(&process, &data, "ann"));
    let (mut link, _) = ann.greeted().await;
    link.follow(ann.space, None).await;
    let push = tablet.push(typing(tablet.device, 1));
    tablet.sync(&push).await;
    link.page(ann.space).await;
    let push = ann.push(typing(ann.device, 1));
    ann.sync(&push).await;
    for status in [200, 429] {
        assert_eq!(ann.request(Method::GET, "/v1/spaces").send().await.unwrap().status(), status);
    }
    let events = ann.request(Method::GET, &format!("/v1/events?space={}", ann.space)).send().await.unwrap();
    drop(events);
    drop(link);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let samples = loop {
        let samples = scrape(&metrics).await;
        let ended = samples.keys().any(|name| name.starts_with("rejoin_live_connections_ended_total"));
        if ended {
            break samples;
        }
        assert!(std::time::Instant::now() < deadline, "a connection that ended is counted");
    };
    process.stop();
    let there: BTreeSet<&str> = samples.keys().map(|name| name.split('{').next().unwrap()).collect();
    let known = |label: &str| {
        ["job", "instance"].contains(&label) || samples.keys().any(|name| name.contains(&format!("{label}=\"")))
    };

    let rules: Value = serde_saphyr::from_str(&file("alerts.yml")).unwrap();
    let mut expressions = Vec::new();
    let mut alerts = BTreeSet::new();
    for group in rules["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let name = rule["alert"].as_str().unwrap();
            assert!(alerts.insert(name.to_owned()), "{name} twice");
            assert!(["page", "look"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
            for text in ["summary", "description"] {
                assert!(rule["annotations"][text].is_string(), "{name}: {text}");
            }
            expressions.push((name.to_owned(), rule["expr"].as_str().unwrap().to_owned()));
        }
    }
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            expressions.push((panel["title"].to_string(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    let mut shown = BTreeSet::new();
    for (place, expression) in &expressions {
        for name in named(expression) {
            assert!(there.contains(name.as_str()), "{place}: there is no {name}");
            shown.insert(family(&name).to_owned());
        }
        for label in labels(expression) {
            assert!(known(&label), "{place}: nothing is labelled {label}");
        }
        let brackets = |open: char, close: char| expression.matches(open).count() == expression.matches(close).count();
        assert!(brackets('(', ')') && brackets('{', '}') && brackets('[', ']'), "{place}: {expression}");
    }
    // And nothing is counted that nobody looks at.
    let unseen: BTreeSet<&str> = there.iter().map(|name| family(name)).filter(|name| !shown.contains(*name)).collect();
    assert_eq!(unseen, BTreeSet::new());
    for kind in ["session.refresh_theft", "signin.failed", "signin.blocked"] {
        assert!(samples.contains_key(&format!("rejoin_audit_events_total{{kind=\"{kind}\"}}")), "{kind}");
    }
}

fn family(name: &str) -> &str {
    ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}
