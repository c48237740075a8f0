//! Malformed requests, made for every route from the description of the API: each is refused with one of the answers that are
//! described, by the field that is at fault, and no answer says anything of what is inside.

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Map, Value, json};
use sync_core::wire::{self, ErrorResponse};
use sync_server::Config;
use sync_server::config::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{JSON, MSGPACK, Phone, World, client};

/// Words of libraries, of storage and of the source: nothing that a caller could use.
const INSIDE: &[&str] = &[
    "serde",
    "rmp",
    "invalid type",
    "invalid value",
    "expected",
    "variant",
    "line ",
    "column",
    "position",
    "eof",
    "sql",
    "postgres",
    "redis",
    "constraint",
    "panicked",
    "unwrap",
    "backtrace",
    ".rs",
    "/src",
    "/tmp",
    "/root",
    "/home",
    "thread",
    "tokio",
    "hyper",
    "axum",
    "reqwest",
    "jsonwebtoken",
    "base64",
    "zstd",
    "automerge",
    "struct",
    "none",
    "null",
    "err(",
    "error(",
    "::",
];

/// Texts that may stand in messages, whatever words they have.
const OUTSIDE: &[&str] = &["application/msgpack", "application/json"];

/// Words that pages and their styles have of themselves.
const OF_PAGES: &[&str] = &["none", "line ", "column", "position"];

async fn world() -> World {
    World::with(Config { limits: Limits { rules: Vec::new() }, ..Config::default() }).await
}

/// An operation of the description.
struct Operation {
    method: Method,
    path: String,
    description: Value,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn schema(&self) -> Option<&Value> {
        self.description["requestBody"]["content"].get(JSON).map(|content| &content["schema"])
    }

    /// The first type of body that it takes.
    fn of_type(&self) -> &str {
        self.description["requestBody"]["content"].as_object().unwrap().keys().next().unwrap()
    }

    fn is_public(&self) -> bool {
        let security = self.description["security"].as_array();
        security.is_none_or(|all| all.iter().any(|one| one.as_object().is_some_and(Map::is_empty)))
    }

    /// The path, with something in its places.
    fn filled(&self, with: &str) -> String {
        let fill = |part: &str| if part.starts_with('{') { with.to_owned() } else { part.to_owned() };
        self.path.split('/').map(fill).collect::<Vec<_>>().join("/")
    }

    /// A live connection and a stream that begins well do not end by themselves.
    fn lasts(&self) -> bool {
        ["/v1/live", "/v1/events"].contains(&self.path.as_str())
    }
}

struct Api {
    description: Value,
    operations: Vec<Operation>,
}

impl Api {
    async fn of(world: &World) -> Self {
        let url = format!("http://{}/v1/openapi.json", world.address);
        let description: Value =
            serde_json::from_slice(&client().get(url).send().await.unwrap().bytes().await.unwrap()).unwrap();
        let mut operations = Vec::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let method = method.to_uppercase().parse().unwrap();
                operations.push(Operation { method, path: path.clone(), description: operation.clone() });
            }
        }
        assert!(operations.len() >= 8);
        Self { description, operations }
    }

    /// Follows references.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.resolve(self.description.pointer(&reference[1..]).unwrap()),
            None => schema,
        }
    }

    /// The first of several kinds, where null is none.
    fn kind<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let schema = self.resolve(schema);
        match schema["oneOf"].as_array() {
            Some(kinds) => self.kind(kinds.iter().find(|kind| kind["type"] != "null").unwrap()),
            None => schema,
        }
    }

    /// Something of that form.
    fn example(&self, schema: &Value) -> Value {
        let schema = self.kind(schema);
        if let Some(values) = schema["enum"].as_array() {
            return values[0].clone();
        }
        let of = match &schema["type"] {
            Value::Array(types) => types[0].as_str(),
            of => of.as_str(),
        };
        match of {
            Some("object") => {
                let properties = schema["properties"].as_object().cloned().unwrap_or_default();
                properties.iter().map(|(name, schema)| (name.clone(), self.example(schema))).collect()
            }
            Some("array") => json!([self.example(&schema["items"])]),
            Some("integer") => schema.get("minimum").cloned().unwrap_or(json!(1)),
            Some("boolean") => json!(true),
            Some("string") if schema["format"] == "uuid" => json!("6f9d0e3c-8f52-4c55-9b57-3a1c9d2f7b11"),
            Some("string") if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("{64}")) => {
                json!("0".repeat(64))
            }
            Some("string") => json!("AAAA"),
            other => panic!("{other:?} is not known here: {schema}"),
        }
    }

    /// Sees whether that answer may be given, and gives what it says where it is a refusal.
    async fn check(&self, operation: &Operation, response: Response, what: &str) -> (u16, String) {
        let status = response.status().as_u16();
        let name = operation.name();
        let described = &operation.description["responses"];
        assert!(described.get(status.to_string()).is_some(), "{name}: {status} is not described ({what})");
        assert!(status < 500, "{name}: {status} ({what})");
        let headers = format!("{:?}", response.headers()).to_lowercase();
        if status < 400 {
            return (status, String::new());
        }
        let of_type = response.headers()["content-type"].clone();
        let body = response.bytes().await.unwrap();
        let text = String::from_utf8_lossy(&body).to_lowercase();
        let text = OUTSIDE.iter().fold(text, |text, outside| text.replace(outside, ""));
        let is_page = of_type.as_bytes().starts_with(b"text/html");
        for inside in INSIDE.iter().filter(|inside| !(is_page && OF_PAGES.contains(inside))) {
            assert!(!text.contains(inside), "{name} says {inside:?} ({what}): {text}");
        }
        for inside in ["sqlite", "hyper", "axum", "panicked"] {
            assert!(!headers.contains(inside), "{name} has the headers {headers}");
        }
        if is_page {
            return (status, text);
        }
        let error: ErrorResponse =
            if of_type == MSGPACK { wire::decode(&body).unwrap() } else { wire::decode_json(&body).unwrap() };
        assert!(error.message.len() < 300, "{name} ({what}): {}", error.message);
        (status, error.message)
    }
}

fn request(client: &Client, phone: &Phone, operation: &Operation, path: &str) -> RequestBuilder {
    client.request(operation.method.clone(), format!("http://{}{path}", phone.address)).bearer_auth(&phone.token)
}

/// Bodies that are no frame of any route.
fn bodies() -> Vec<Vec<u8>> {
    let deep = |open: &[u8], close: &[u8]| [open.repeat(20_000), close.repeat(20_000)].concat();
    let mut bodies = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"{".to_vec(),
        b"}".to_vec(),
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"true".to_vec(),
        b"1e999".to_vec(),
        b"-0".to_vec(),
        b"99999999999999999999999999".to_vec(),
        b"\"text".to_vec(),
        b"\"\\ud800\"".to_vec(),
        b"\xff\xfe\xfd".to_vec(),
        b"{\"schema\":1".to_vec(),
        b"{\"schema\":1}}".to_vec(),
        b"{\"schema\":1,\"schema\":1}".to_vec(),
        b"{\"schema\":65536}".to_vec(),
        b"{\"schema\":2}".to_vec(),
        b"{\"schema\":\"1\"}".to_vec(),
        b"{\"schema\":1,\"__proto__\":{}}".to_vec(),
        b"{\"schema\":1,\"serde: expected struct at line 1\":0}".to_vec(),
        b"{\"schema\":1,\"\\u0000\":0}".to_vec(),
        b"a=b&c=d".to_vec(),
        b"%00=%ff".to_vec(),
        deep(b"[", b"]"),
        deep(b"{\"a\":", b"}"),
        vec![0x91; 30_000],
        vec![0xc1],
        vec![0xc7, 0xff, 0x01],
        vec![0xdf, 0xff, 0xff, 0xff, 0xff],
        vec![0xdd, 0xff, 0xff, 0xff, 0xff],
        vec![0xc6, 0xff, 0xff, 0xff, 0xff],
        vec![0x81, 0xa6, b's', b'c', b'h', b'e', b'm', b'a', 0xc0],
        vec![0x81, 0xc0, 0x01],
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for length in [1, 7, 64, 500] {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        bodies.push((0..length).map(|_| next()).collect());
    }
    bodies
}

#[tokio::test]
async fn bodies_that_are_no_frames_are_refused_in_our_own_words() {
    let world = world().await;
    let (api, phone) = (Api::of(&world).await, world.phone("ann"));
    for operation in api.operations.iter().filter(|operation| operation.description.get("requestBody").is_some()) {
        let path = operation.filled(&phone.space.to_string());
        for body in bodies() {
            for content_type in
                [JSON, MSGPACK, "application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ";", ""]
            {
                let what = format!("{content_type}: {}", String::from_utf8_lossy(&body[..body.len().min(60)]));
                let request = request(&phone.client, &phone, operation, &path).header("content-type", content_type);
                let (status, _) = api.check(operation, request.body(body.clone()).send().await.unwrap(), &what).await;
                let is_taken = operation.description["requestBody"]["content"].get(content_type).is_some();
                assert!(is_taken || status == 415 || operation.is_public(), "{}: {status} ({what})", operation.name());
                assert!(status >= 400, "{}: {status} ({what})", operation.name());
            }
        }
        for (name, value) in [("content-encoding", "gzip"), ("content-encoding", "br"), ("idempotency-key", "a b")] {
            let request =
                request(&phone.client, &phone, operation, &path).header("content-type", JSON).header(name, value);
            let (status, _) = api.check(operation, request.body("{}").send().await.unwrap(), value).await;
            assert!(status >= 400, "{}: {name}: {value}", operation.name());
        }
    }
}

/// Where a value stands, and what it is changed into.
fn mutations(value: &Value, at: &mut Vec<String>, found: &mut Vec<(Vec<String>, Value)>) {
    let others = [json!(-1), json!(1.5), json!("\u{0}"), json!({}), json!([[]]), json!(true), Value::from(u64::MAX)];
    let same = |other: &&Value| std::mem::discriminant(*other) != std::mem::discriminant(value);
    found.extend(others.iter().filter(same).map(|other| (at.clone(), other.clone())));
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                at.push(name.clone());
                mutations(value, at, found);
                at.pop();
            }
            let mut more = fields.clone();
            more.insert("unknown_to_all".to_owned(), json!(1));
            found.push((at.clone(), Value::Object(more)));
        }
        Value::Array(values) => {
            for (n, value) in values.iter().enumerate() {
                at.push(n.to_string());
                mutations(value, at, found);
                at.pop();
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_field_at_fault_is_named_and_its_value_is_not() {
    let world = world().await;
    let (api, phone) = (Api::of(&world).await, world.phone("ann"));
    let mut named = 0;
    for operation in &api.operations {
        let Some(schema) = operation.schema() else { continue };
        let path = operation.filled(&phone.space.to_string());
        let example = api.example(schema);
        let mut found = Vec::new();
        mutations(&example, &mut Vec::new(), &mut found);
        // Of what is missing, too.
        for name in api.kind(schema)["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let mut less = example.as_object().unwrap().clone();
            less.remove(name);
            let response = request(&phone.client, &phone, operation, &path).header("content-type", JSON);
            let response = response.body(Value::Object(less).to_string()).send().await.unwrap();
            let (status, message) = api.check(operation, response, name).await;
            assert!(status == 400 && message.contains(&format!("missing field `{name}`")), "{message}");
        }
        for (at, wrong) in found {
            let mut body = example.clone();
            let pointer = at.iter().fold(String::new(), |pointer, part| pointer + "/" + part);
            *body.pointer_mut(&pointer).unwrap() = wrong.clone();
            let what = format!("{pointer} = {wrong}");
            for content_type in [JSON, MSGPACK] {
                let bytes =
                    if content_type == JSON { body.to_string().into_bytes() } else { wire::encode(&body).unwrap() };
                let request = request(&phone.client, &phone, operation, &path).header("content-type", content_type);
                let (status, message) = api.check(operation, request.body(bytes).send().await.unwrap(), &what).await;
                assert!(status >= 400, "{}: {status} ({what})", operation.name());
                // In msgpack, ids are bytes: what was made from an example in JSON fails at the first of them.
                if content_type == JSON && status == 400 && !at.is_empty() && wrong.get("unknown_to_all").is_none() {
                    assert!(message.contains(&format!("`{}", at[0])), "{} ({what}): {message}", operation.name());
                    named += 1;
                }
                if content_type == JSON && wrong.get("unknown_to_all").is_some() {
                    // Of several kinds, each has a name of its own: another is none of them.
                    let is_of_kinds = at.first().is_some_and(|first| message.contains(&format!("`{first}")));
                    let is_named = message.contains("unknown_to_all") || is_of_kinds;
                    assert!(is_named, "{} ({what}): {message}", operation.name());
                }
            }
        }
    }
    assert!(named > 50, "{named} fields were named");
}

#[tokio::test]
async fn paths_queries_and_headers_that_make_no_sense_are_refused_in_our_own_words() {
    let world = world().await;
    let (api, phone) = (Api::of(&world).await, world.phone("ann"));
    for operation in &api.operations {
        let places = [
            "x",
            "%00",
            "%ff",
            "%2e%2e",
            "..%2f..%2fetc%2fpasswd",
            "'%20OR%201=1--",
            "00000000-0000-0000-0000-000000000000",
        ];
        for place in places.into_iter().filter(|_| operation.path.contains('{')) {
            let request = request(&phone.client, &phone, operation, &operation.filled(place));
            let response = request.header("content-type", JSON).body("{}").send().await.unwrap();
            let (status, _) = api.check(operation, response, place).await;
            assert!(status >= 400, "{}: {place}", operation.name());
        }
        let path = operation.filled(&phone.space.to_string());
        for query in ["space", "space=x", "space=%00", "a=b", "since=1", "=", "&&", "%ff=%ff", "space[]=1"] {
            let request = request(&phone.client, &phone, operation, &format!("{path}?{query}"));
            api.check(operation, request.send().await.unwrap(), query).await;
        }
        for (name, value) in [
            ("authorization", &b"Bearer"[..]),
            ("authorization", b"Bearer a.b.c"),
            ("authorization", b"Bearer eyJhbGciOiJub25lIn0.e30."),
            ("authorization", b"Basic YTpi"),
            ("authorization", b"\xff"),
            ("accept", b"application/\xff"),
            ("x-app-platform", b"\xff"),
            ("x-app-version", b"1;drop table"),
            ("idempotency-key", b"\xff"),
            ("idempotency-key", b""),
            ("last-event-id", b"\xff"),
            ("last-event-id", b"1.2"),
            ("sec-websocket-key", b"\xff"),
            ("origin", b"null"),
            ("cookie", b"a=\xff"),
        ] {
            let url = format!("http://{}{path}", phone.address);
            let request = client().request(operation.method.clone(), url);
            let request = if name == "authorization" { request } else { request.bearer_auth(&phone.token) };
            let response = request.header(name, value).header("content-type", JSON).body("{}").send().await.unwrap();
            let (status, _) = api.check(operation, response, name).await;
            if name == "authorization" && !operation.is_public() {
                assert_eq!(status, 401, "{}: {}", operation.name(), String::from_utf8_lossy(value));
            }
            assert!(!operation.lasts() || status >= 400, "{}: {name}", operation.name());
        }
    }
    // What is no route at all.
    for path in
        ["/", "/v1", "/v1/", "/v1/none", "/v2/sync", "//v1/sync", "/v1/sync/", "/v1/spaces/x/y/z", "/%00", "/metrics"]
    {
        let response = phone.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        let text = response.text().await.unwrap();
        assert!(serde_json::from_str::<ErrorResponse>(&text).is_ok(), "{path}: {text}");
    }
}

/// Asks with that head alone, and gives the status of the answer.
async fn answer_to_head(phone: &Phone, operation: &Operation, of_type: &str, length: u64) -> u16 {
    let mut stream = TcpStream::connect(phone.address).await.unwrap();
    let path = operation.filled(&phone.space.to_string());
    let head = format!(
        "{} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: {of_type}\r\ncontent-length: {length}\r\n\r\n",
        operation.method, phone.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    std::str::from_utf8(&status[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn bodies_are_bounded_by_route_and_what_says_that_it_is_far_too_large_is_not_read() {
    let world = world().await;
    let (api, phone) = (Api::of(&world).await, world.phone("ann"));
    for operation in &api.operations {
        let Some(told) = operation.description["requestBody"]["description"].as_str() else { continue };
        let of_type = operation.of_type();
        let mut words = told.rsplit("At most ").next().unwrap().split(' ');
        let number: u64 = words.next().unwrap().parse().unwrap();
        let bytes_max = number << if words.next() == Some("MiB.") { 20 } else { 10 };
        assert_eq!(answer_to_head(&phone, operation, of_type, 2 * bytes_max + 1).await, 413, "{}", operation.name());

        let path = operation.filled(&phone.space.to_string());
        for (bytes, fits) in [(bytes_max, true), (bytes_max + 1, false)] {
            let request = request(&phone.client, &phone, operation, &path).header("content-type", of_type);
            let response = request.body(vec![b' '; bytes as usize]).send().await.unwrap();
            let (status, _) = api.check(operation, response, "spaces").await;
            assert_eq!(status != 413, fits, "{}: {bytes} bytes: {status}", operation.name());
        }
    }
}
