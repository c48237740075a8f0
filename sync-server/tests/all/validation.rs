//! The app's say in what is taken: by a function, and by a webhook of a real server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sync_core::code::RejectCode;
use sync_core::feed::Item;
use sync_core::wire::{ErrorCode, ItemStatus, PushAnswer, SyncResponse};
use sync_server::Config;
use sync_server::config::{OnFailure, Validation};
use sync_server::validation::{Proposal, Refusal, Unable, What};

use crate::world::{World, refused, typing};

type Status = (ItemStatus, Option<RejectCode>);

const APPLIED: Status = (ItemStatus::Applied, None);
const REFUSED: Status = (ItemStatus::Rejected, Some(RejectCode::Validation));

fn statuses(answer: Option<&PushAnswer>) -> Vec<Status> {
    match answer {
        Some(PushAnswer::Taken { results, need, .. }) if need.is_empty() => {
            results.iter().map(|result| (result.status, result.code)).collect()
        }
        other => panic!("not taken: {other:?}"),
    }
}

fn of(response: &SyncResponse) -> Vec<Status> {
    statuses(response.push.as_ref())
}

/// Titles may be 0 and 1 only.
fn small_titles(proposal: &Proposal) -> Result<Vec<Refusal>, Unable> {
    let mut refused = Vec::new();
    for item in &proposal.items {
        let Some(json) = item.json() else { continue };
        let change: Value = serde_json::from_str(&json).map_err(|error| Unable(error.to_string()))?;
        let too_large = |op: &Value| op["key"] == "title" && op["value"].as_i64().is_none_or(|value| value > 1);
        if change["ops"].as_array().is_none_or(|ops| ops.iter().any(too_large)) {
            refused.push(Refusal { n: item.n, reason: "a large title".to_owned() });
        }
    }
    Ok(refused)
}

#[tokio::test]
async fn a_function_refuses_changes_and_nothing_behind_them_is_held_up() {
    let seen: Arc<Mutex<Vec<Proposal>>> = Arc::default();
    let hook = {
        let seen = Arc::clone(&seen);
        move |proposal: &Proposal| {
            seen.lock().unwrap().push(proposal.clone());
            small_titles(proposal)
        }
    };
    let world = World::on(|server| server.validate(hook)).await;
    let mut ann = world.phone("ann");
    let mut items = typing(ann.device, 3);
    items.extend(typing(ann.device, 1));
    items.push(Item::delete(items[4].doc));
    let push = ann.push(items.clone());
    let answer = ann.sync(&push).await;
    assert_eq!(of(&answer), [APPLIED, APPLIED, APPLIED, REFUSED, APPLIED, APPLIED, APPLIED]);
    {
        let seen = seen.lock().unwrap();
        let [proposal] = &seen[..] else { panic!("asked once: {seen:?}") };
        assert_eq!((proposal.user.as_str(), proposal.device, proposal.space), ("ann", ann.device, ann.space));
        assert_eq!(proposal.items.iter().map(|item| item.n).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(proposal.items[0].what, What::Create { collection: "notes".to_owned() });
        assert_eq!(proposal.items[6].what, What::Delete);
        assert_eq!(proposal.items[3].hash, items[3].hash);
    }
    // What is made upon it needs it, and is not shown to the app if the server refuses it itself.
    let again = ann.sync(&push).await;
    assert!(of(&again).iter().all(|(status, _)| *status == ItemStatus::Duplicate));
    assert_eq!(of(&again)[3].1, Some(RejectCode::Validation), "the verdict is for good");
    let mut forged = typing(world.phone("ann").device, 1);
    forged.remove(0);
    let push = ann.push(forged);
    assert_eq!(of(&ann.sync(&push).await), [(ItemStatus::Rejected, Some(RejectCode::ForgedActor))]);
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn live_pushes_are_asked_about_as_well() {
    let world = World::on(|server| server.validate(small_titles)).await;
    let mut ann = world.phone("ann");
    let mut link = ann.link().await;
    link.follow(ann.space, None).await;
    let items = typing(ann.device, 3);
    let (answer, _) = link.push(ann.space, ann.run(items)).await;
    assert_eq!(statuses(Some(&answer)), [APPLIED, APPLIED, APPLIED, REFUSED]);
}

#[tokio::test]
async fn a_function_that_fails_or_panics_decides_by_the_policy() {
    for (on_failure, panics) in
        [(OnFailure::Closed, false), (OnFailure::Closed, true), (OnFailure::Open, false), (OnFailure::Open, true)]
    {
        let asked = Arc::new(AtomicUsize::new(0));
        let hook = {
            let asked = Arc::clone(&asked);
            move |_: &Proposal| {
                asked.fetch_add(1, Ordering::Relaxed);
                assert!(!panics, "the app's own fault");
                Err(Unable("the database of the app is away".to_owned()))
            }
        };
        let config = Config { validation: Validation { on_failure, ..Validation::default() }, ..Config::default() };
        let world = World::on(|server| server.config(config).validate(hook)).await;
        let mut ann = world.phone("ann");
        let items = typing(ann.device, 1);
        let push = ann.push(items);
        match on_failure {
            OnFailure::Closed => {
                let error = refused(ann.send(&push).await, 503, ErrorCode::Unavailable).await;
                assert!(error.retry_after_ms.is_some());
                assert!(!error.message.contains("database"), "{}", error.message);
            }
            OnFailure::Open => assert_eq!(of(&ann.sync(&push).await), [APPLIED, APPLIED]),
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "as often as is configured");
    }
}

/// An app's own server, with what it was asked.
struct AppServer {
    url: String,
    asked: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl AppServer {
    /// Answers by the number of the question.
    async fn start(answer: impl Fn(usize, &Value) -> Response + Clone + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<(HeaderMap, Bytes)>>> = Arc::default();
        let route = {
            let asked = Arc::clone(&asked);
            move |headers: HeaderMap, body: Bytes| async move {
                let question = serde_json::from_slice(&body).unwrap();
                let number = {
                    let mut asked = asked.lock().unwrap();
                    asked.push((headers, body));
                    asked.len()
                };
                answer(number, &question)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/validate", listener.local_addr().unwrap());
        let app = Router::new().route("/validate", post(route));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, asked }
    }

    fn config(&self, on_failure: OnFailure) -> Config {
        let secret = format!("whsec_{}", STANDARD.encode([7; 32])).into();
        let (url, timeout_ms) = (Some(self.url.clone()), 1_000);
        let validation = Validation { url, secret: Some(secret), timeout_ms, on_failure, ..Validation::default() };
        validation_only(validation)
    }
}

fn validation_only(validation: Validation) -> Config {
    Config { validation, ..Config::default() }
}

fn accept() -> Response {
    (StatusCode::OK, json!({"refused": []}).to_string()).into_response()
}

#[tokio::test]
async fn a_webhook_is_signed_and_refuses_what_it_says() {
    let app = AppServer::start(|_, question| {
        let items = question["data"]["items"].as_array().unwrap();
        let large = items.iter().filter(|item| {
            let ops = item["decoded"]["ops"].as_array();
            ops.is_some_and(|ops| ops.iter().any(|op| op["key"] == "title" && op["value"].as_i64() > Some(1)))
        });
        let refused: Vec<Value> = large.map(|item| json!({"n": item["n"], "reason": "too large", "more": 1})).collect();
        (StatusCode::OK, json!({"refused": refused}).to_string()).into_response()
    })
    .await;
    let world = World::with(app.config(OnFailure::Closed)).await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 3);
    let push = ann.push(items.clone());
    assert_eq!(of(&ann.sync(&push).await), [APPLIED, APPLIED, APPLIED, REFUSED]);
    // The device never got the answer and sends it again: the app sees that it is the same.
    ann.sync(&push).await;

    let asked = app.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].0["webhook-id"], asked[1].0["webhook-id"]);
    let (headers, body) = &asked[0];
    let text = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(text("content-type"), "application/json");
    let signed = [format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).as_bytes(), body].concat();
    let signature = STANDARD.decode(text("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), &signed, &signature).unwrap();
    let question: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(question["type"], "changes.proposed");
    assert_eq!(question["timestamp"].to_string(), text("webhook-timestamp"));
    let data = &question["data"];
    assert_eq!((&data["user"], &data["space"]), (&json!("ann"), &json!(ann.space.to_string())));
    assert_eq!(data["items"][0]["collection"], "notes");
    let change = STANDARD.decode(data["items"][1]["change"].as_str().unwrap()).unwrap();
    let sync_core::feed::Body::Change { bytes } = &items[1].body else { panic!("a change") };
    assert_eq!(change, *bytes);
}

#[tokio::test]
async fn a_webhook_that_recovers_in_time_costs_nothing() {
    let app = AppServer::start(|number, _| match number {
        1 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => accept(),
    })
    .await;
    let world = World::with(app.config(OnFailure::Closed)).await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 1);
    let push = ann.push(items);
    assert_eq!(of(&ann.sync(&push).await), [APPLIED, APPLIED]);
    assert_eq!(app.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_webhook_that_lies_or_is_away_decides_by_the_policy_and_takes_bounded_time() {
    let answers: [fn() -> Response; 5] = [
        || StatusCode::NO_CONTENT.into_response(),
        || (StatusCode::OK, "fine").into_response(),
        || (StatusCode::OK, json!({"refused": [{"n": "one"}]}).to_string()).into_response(),
        || (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://127.0.0.1:1/")]).into_response(),
        || (StatusCode::OK, vec![b' '; 2 << 20]).into_response(),
    ];
    for answer in answers {
        for on_failure in [OnFailure::Closed, OnFailure::Open] {
            let app = AppServer::start(move |_, _| answer()).await;
            let world = World::with(app.config(on_failure)).await;
            let mut ann = world.phone("ann");
            let items = typing(ann.device, 1);
            let push = ann.push(items);
            match on_failure {
                OnFailure::Closed => _ = refused(ann.send(&push).await, 503, ErrorCode::Unavailable).await,
                OnFailure::Open => assert_eq!(of(&ann.sync(&push).await), [APPLIED, APPLIED]),
            }
            assert_eq!(app.asked.lock().unwrap().len(), 2);
        }
    }
    // It takes connections and says nothing; then nobody listens at all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let app = AppServer { url: format!("http://{}/", silent.local_addr().unwrap()), asked: Arc::default() };
    let world = World::with(app.config(OnFailure::Closed)).await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 1);
    let push = ann.push(items);
    let began = Instant::now();
    refused(ann.send(&push).await, 503, ErrorCode::Unavailable).await;
    // Two attempts of a second each.
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    drop(silent);
    refused(ann.send(&push).await, 503, ErrorCode::Unavailable).await;
}

#[tokio::test]
async fn what_it_was_not_asked_about_is_not_refused() {
    let app = AppServer::start(|_, _| {
        let refused = json!({"refused": [{"n": 0}, {"n": 99}, {"n": u64::MAX}, {"n": 2}]});
        (StatusCode::OK, refused.to_string()).into_response()
    })
    .await;
    let world = World::with(app.config(OnFailure::Closed)).await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 1);
    let push = ann.push(items);
    assert_eq!(of(&ann.sync(&push).await), [APPLIED, REFUSED]);
}

#[test]
fn a_webhook_without_a_good_secret_is_no_configuration() {
    let with = |lines: &str| Config::parse(&format!("[validation]\nurl = 'https://app.example.com/'\n{lines}"));
    let short = format!("secret = 'whsec_{}'", STANDARD.encode([7; 8]));
    for lines in ["", "secret = 'hello'", short.as_str()] {
        let error = with(lines).unwrap_err().to_string();
        assert!(error.starts_with("validation.secret must be `whsec_`"), "{error}");
    }
    let good = format!("secret = 'whsec_{}'", STANDARD.encode([7; 24]));
    assert!(with(&good).is_ok());
    let error = with(&format!("{good}\ntries_max = 9")).unwrap_err().to_string();
    assert_eq!(error, "validation.tries_max must be 1 to 3");
    assert!(Config::parse("[validation]\nurl = 'ftp://app.example.com/'").is_err());
}
