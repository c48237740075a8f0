//! Nothing that a caller says reaches the log, wherever it stands and however much is logged.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_bytes::ByteBuf;
use sync_core::feed::Item;
use sync_core::wire::{AccessToken, LiveRequest, SCHEMA};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::binary::binary;
use crate::metrics::phone;
use crate::process::{Process, lines};
use crate::world::{JSON, MSGPACK, client, new_doc};

/// In hex, each byte behind that.
fn written(word: &str, before: &str) -> String {
    word.bytes().flat_map(|byte| [before.to_owned(), format!("{byte:02x}")]).collect()
}

/// Hands out words that nobody else says.
#[derive(Default)]
struct Canaries(Vec<(&'static str, String)>);

impl Canaries {
    /// A word for that place.
    fn at(&mut self, place: &'static str) -> String {
        let canary = format!("zQ7Canary{:03}xK", self.0.len());
        self.0.push((place, canary.clone()));
        canary
    }

    /// The places whose word is in the text, in whichever form.
    fn sung(&self, text: &str) -> Vec<&'static str> {
        let lower = text.to_ascii_lowercase();
        let is_in = |canary: &str| {
            let hex = written(canary, "");
            let percent = written(canary, "%");
            let listed: Vec<String> = canary.bytes().map(|byte| byte.to_string()).collect();
            // Base64 of what it stands in depends on where it begins there; the middle of each is told by the word alone.
            let base64 = (0..3).flat_map(|shift| {
                let padded = format!("{}{canary}", "a".repeat(shift));
                [STANDARD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)]
                    .map(|encoded| encoded.trim_end_matches('=')[4..16].to_owned())
            });
            lower.contains(&canary.to_ascii_lowercase())
                || lower.contains(&hex)
                || lower.contains(&percent)
                || text.contains(&listed.join(", "))
                || base64.into_iter().any(|encoded| text.contains(&encoded))
        };
        self.0.iter().filter(|(_, canary)| is_in(canary)).map(|(place, _)| *place).collect()
    }
}

#[tokio::test]
async fn no_canary_is_in_the_log_at_the_finest_level() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), &["--log", "trace"]);
    let mut canaries = Canaries::default();
    let mut ann = phone(&process, folder.path(), "ann");
    let url = process.url.clone();
    let http = client();

    // Paths, queries, methods.
    let path = format!("{url}/v1/spaces/{}/version", canaries.at("an id in the path"));
    http.get(&path).bearer_auth(&ann.token).send().await.unwrap();
    http.get(format!("{url}/{}", canaries.at("an unknown path"))).send().await.unwrap();
    let percent = written(&canaries.at("an escaped path"), "%");
    http.get(format!("{url}/v1/{percent}")).send().await.unwrap();
    let query = format!("?space={}&password={}", canaries.at("a query"), canaries.at("a password in a query"));
    http.get(format!("{url}/v1/events{query}")).bearer_auth(&ann.token).send().await.unwrap();
    let since = format!("?space={}&since={}", ann.space, canaries.at("since"));
    http.get(format!("{url}/v1/events{since}")).bearer_auth(&ann.token).send().await.unwrap();
    let method = Method::from_bytes(canaries.at("the method").as_bytes()).unwrap();
    http.request(method, format!("{url}/v1/spaces")).send().await.unwrap();

    // Headers, on requests that are refused and on such that are not.
    for name in [
        "authorization",
        "cookie",
        "user-agent",
        "accept",
        "accept-language",
        "content-type",
        "origin",
        "referer",
        "x-request-id",
        "x-forwarded-for",
        "forwarded",
        "x-app-version",
        "x-app-platform",
        "idempotency-key",
        "last-event-id",
        "traceparent",
        "proxy-authorization",
        "x-api-key",
    ] {
        for with_token in [false, true] {
            let mut request = http.get(format!("{url}/v1/spaces"));
            if with_token && name != "authorization" {
                request = request.bearer_auth(&ann.token);
            }
            request.header(name, canaries.at(name)).send().await.unwrap();
        }
    }
    for scheme in ["Bearer", "Basic", "DPoP"] {
        let header = format!("{scheme} {}", canaries.at("credentials"));
        http.get(format!("{url}/v1/spaces")).header("authorization", header).send().await.unwrap();
    }
    let header = canaries.at("a header's name");
    http.get(format!("{url}/v1/spaces")).header(header, "1").send().await.unwrap();
    let suffix = format!("2.4.1-{}", &canaries.at("a version's suffix"));
    ann.request(Method::GET, "/v1/spaces")
        .header("x-app-version", suffix)
        .header("x-app-platform", "ios")
        .send()
        .await
        .unwrap();

    // A platform is a word, and this looks like one; that it is a card's number is told by its shape alone.
    ann.request(Method::GET, "/v1/spaces")
        .header("x-app-platform", "4111111111111111")
        .header("x-app-version", "2.4.2")
        .send()
        .await
        .unwrap();

    // Bodies.
    let json = |field: &str, value: &str| format!("{{\"schema\":{SCHEMA},\"{field}\":\"{value}\"}}");
    for (content_type, body) in [
        (JSON, json("password", &canaries.at("a field of JSON"))),
        (JSON, json(&canaries.at("a field's name"), "1")),
        (JSON, json("space", &canaries.at("a wrong value"))),
        (JSON, format!("{{\"{}", canaries.at("broken JSON"))),
        (JSON, format!("\"{}\"", canaries.at("a bare string"))),
        (MSGPACK, canaries.at("broken msgpack")),
        ("application/x-www-form-urlencoded", format!("password={}", canaries.at("a form"))),
        ("text/plain", canaries.at("plain text")),
    ] {
        ann.post(content_type, body.into_bytes()).await;
    }
    let keyed = ann.push(vec![Item::create(new_doc(), canaries.at("a collection"))]);
    let body = sync_core::wire::encode(&keyed).unwrap();
    let request = ann.request(Method::POST, "/v1/sync").header("content-type", MSGPACK).body(body);
    let request = request.header("idempotency-key", canaries.at("a key that is kept"));
    assert_eq!(request.send().await.unwrap().status(), 200);

    // What is no HTTP.
    for garbage in [
        format!("{}\r\n\r\n", canaries.at("no HTTP")),
        format!("GET / HTTP/1.1\r\nhost: x\r\n{} broken\r\n\r\n", canaries.at("a broken header")),
        format!("GET /{}\u{7f}\u{1} HTTP/1.1\r\n\r\n", canaries.at("a broken path")),
    ] {
        let mut socket = TcpStream::connect(process.address()).unwrap();
        socket.write_all(garbage.as_bytes()).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }

    // Live connections: before the hello, in it, and after it.
    let hello = |token: String| LiveRequest::Hello { schema: SCHEMA, token: Some(AccessToken(token)) };
    let mut refused = ann.dial().await;
    refused.say(&hello(canaries.at("the hello's token"))).await;
    refused.closed().await;
    let mut garbage = ann.dial().await;
    garbage.send(canaries.at("a first frame").into_bytes()).await;
    garbage.closed().await;
    let (mut text, _) = ann.greeted().await;
    text.socket.send(Message::Text(canaries.at("a text frame").into())).await.unwrap();
    text.closed().await;
    let (mut bad, _) = ann.greeted().await;
    bad.send(canaries.at("a frame").into_bytes()).await;
    bad.closed().await;
    let (mut renewing, _) = ann.greeted().await;
    renewing.say(&LiveRequest::Token { token: AccessToken(canaries.at("a new token")) }).await;
    renewing.closed().await;
    let (mut link, _) = ann.greeted().await;
    link.follow(ann.space, None).await;
    let data = Some(ByteBuf::from(canaries.at("presence").into_bytes()));
    link.say(&LiveRequest::Presence { space: ann.space, data, ttl_ms: 1_000 }).await;
    let run = ann.run(vec![Item::create(new_doc(), canaries.at("a collection on a live connection"))]);
    link.push(ann.space, run).await;
    link.socket.send(Message::Ping(Bytes::from(canaries.at("a ping")))).await.unwrap();
    let reason = canaries.at("a close reason").into();
    link.socket.send(Message::Close(Some(CloseFrame { code: 4001.into(), reason }))).await.unwrap();
    while link.socket.next().await.is_some_and(|message| message.is_ok()) {}

    let stderr = process.stop();
    let logged = lines(&stderr);
    assert!(logged.iter().filter(|line| line["message"] == "request").count() > 50, "it was logged at all");
    assert!(logged.iter().any(|line| line["message"] == "connection" && line["code"] == 4001));
    assert!(logged.iter().any(|line| line["level"] == "DEBUG" || line["level"] == "TRACE"), "and finely");
    assert_eq!(canaries.sung(&stderr), [""; 0]);
    assert!(!stderr.contains(&ann.token) && !stderr.contains(ann.token.split('.').next_back().unwrap()));
    assert!(!stderr.contains("4111111111111111"));
    assert_eq!(logged.iter().filter(|line| line["platform"] == "(redacted)").count(), 1, "lines pass the last defence");
    let with_version = logged.iter().find(|line| line["app_version"] == "2.4.1").unwrap();
    assert_eq!(with_version["status"], 200, "what is of the form is there, without its suffix");
}

#[test]
fn a_canary_that_sings_is_heard() {
    let mut canaries = Canaries::default();
    let word = canaries.at("here");
    let hex = written(&word, "");
    let listed: Vec<String> = word.bytes().map(|byte| byte.to_string()).collect();
    for shift in 0..3 {
        let encoded = STANDARD.encode(format!("{}{word} and more", "x".repeat(shift)));
        assert_eq!(canaries.sung(&format!("payload {encoded}")), ["here"], "{shift}");
    }
    for text in [word.to_uppercase(), hex.to_uppercase(), format!("[{}]", listed.join(", "))] {
        assert_eq!(canaries.sung(&text), ["here"], "{text}");
    }
    assert_eq!(canaries.sung("nothing"), [""; 0]);
}

#[test]
fn what_is_said_before_there_is_a_log_is_redacted_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("rejoin.toml");
    // The parser shows the line that it cannot read.
    std::fs::write(&config, "[database]\nurll = \"postgres://rejoin:hunter2@db.example.com/rejoin\"\n").unwrap();
    let output = binary(folder.path(), &["serve", "--config", config.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("urll") && said.contains("(redacted)"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

/// What the next test runs in a process of its own.
#[test]
#[ignore = "panics on purpose"]
fn a_process_that_panics() {
    sync_server::telemetry::init("info").unwrap();
    let input = String::from("token=hunter2 und noch mehr ü");
    let panicked = std::thread::Builder::new().name("at-fault".to_owned()).spawn(move || {
        let end = input.len() - 1;
        drop(input[..end].to_owned());
    });
    assert!(panicked.unwrap().join().is_err());
}

#[test]
fn a_panic_is_one_line_without_what_it_quotes() {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", "logs::a_process_that_panics", "--ignored", "--nocapture"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = lines(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert_eq!(
        (&line["level"], &line["message"], &line["thread"]),
        (&"ERROR".into(), &"panic".into(), &"at-fault".into())
    );
    assert!(line["location"].as_str().unwrap().contains("logs.rs:"), "{line}");
    assert!(!line.to_string().contains("hunter2") && !line.to_string().contains("mehr"), "{line}");
}
