//! A server on a free port, and phones that talk to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{Automerge, ROOT, ReadDoc};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::id::{Actor, DeviceId, DocId, SpaceId};
use sync_core::wire::{self, ErrorCode, ErrorResponse, Pull, SCHEMA, SyncRequest, SyncResponse};
use sync_server::{Caller, Config, Server, ServerBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const MSGPACK: &str = "application/msgpack";
pub const JSON: &str = "application/json";

pub struct World {
    pub server: Arc<Server>,
    pub address: SocketAddr,
    pub folder: Arc<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        Self::on(|server| server.config(config)).await
    }

    /// A server that was built otherwise.
    pub async fn on(build: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self::within(folder, build).await
    }

    /// A second one, with the keys of the first.
    pub async fn beside(first: &Self, build: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::within(Arc::clone(&first.folder), build).await
    }

    /// On a data folder that there is.
    pub async fn within(folder: Arc<TempDir>, build: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let server = build(Server::builder()).data(folder.path()).build().await.unwrap();
        let server = Arc::new(server);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn({
            let server = Arc::clone(&server);
            async move { server.serve(listener, async { stopped.await.unwrap() }).await }
        });
        Self { server, address, folder, stop: Some(stop), serving }
    }

    /// Asks the server to stop.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until it has.
    pub async fn stopped(self) -> Arc<TempDir> {
        self.serving.await.unwrap();
        self.folder
    }

    pub fn phone(&self, user: &str) -> Phone {
        Self::phone_of(&self.server, self.address, user)
    }

    pub fn phone_of(server: &Server, address: SocketAddr, user: &str) -> Phone {
        let mut random = [0; 16];
        getrandom::fill(&mut random).unwrap();
        let device = DeviceId::from_random(random);
        let caller = Caller { user: user.to_owned(), device };
        let token = server.issue_token(&caller, Duration::from_mins(10)).unwrap();
        let space = SpaceId::personal(user);
        let head = FeedHead::start(space, device);
        Phone { client: client(), address, prefix: "", token, device, space, head }
    }
}

pub fn client() -> Client {
    // reqwest wants a TLS provider even where it only ever speaks plain HTTP.
    static PROVIDER: std::sync::Once = std::sync::Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    Client::builder().no_proxy().build().unwrap()
}

pub fn new_doc() -> DocId {
    let mut random = [0; 10];
    getrandom::fill(&mut random).unwrap();
    DocId::mint(1, random)
}

/// One device of a user, with a feed in one space.
pub struct Phone {
    pub client: Client,
    pub address: SocketAddr,
    /// Where the server's routes begin.
    pub prefix: &'static str,
    pub token: String,
    pub device: DeviceId,
    pub space: SpaceId,
    pub head: FeedHead,
}

impl Phone {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address)).bearer_auth(&self.token)
    }

    /// A run of the next items of this device's feed.
    pub fn run(&mut self, items: Vec<Item>) -> Run {
        let run = Run { device: self.device, base: self.head, items };
        self.head = run.end();
        run
    }

    pub fn push(&mut self, items: Vec<Item>) -> SyncRequest {
        let push = Some(self.run(items));
        SyncRequest { schema: SCHEMA, space: self.space, push, pull: None, snapshot: None }
    }

    pub fn pull(&self) -> SyncRequest {
        let pull = Some(Pull { since: None, bytes_max: None, own: true, version: true, snapshots: None });
        SyncRequest { schema: SCHEMA, space: self.space, push: None, pull, snapshot: None }
    }

    pub async fn post(&self, content_type: &str, body: Vec<u8>) -> Response {
        self.request(Method::POST, "/v1/sync").header("content-type", content_type).body(body).send().await.unwrap()
    }

    pub async fn send(&self, request: &SyncRequest) -> Response {
        self.post(MSGPACK, wire::encode(request).unwrap()).await
    }

    pub async fn sync(&self, request: &SyncRequest) -> SyncResponse {
        frame(self.send(request).await).await
    }
}

/// A new document of that device with so many changes, one character each.
pub fn typing(device: DeviceId, changes: usize) -> Vec<Item> {
    let doc = new_doc();
    let mut items = vec![Item::create(doc, "notes".to_owned())];
    let mut automerge = Automerge::new().with_actor(Actor::new(device, [0; 4]).into());
    for at in 0..changes {
        let made = automerge.transact_with::<_, _, automerge::AutomergeError, _>(
            |()| CommitOptions::default().with_time(at as i64),
            |edit| edit.put(ROOT, "title", at as i64),
        );
        let hash = made.unwrap().hash.unwrap();
        let bytes = automerge.get_change_by_hash(&hash).unwrap().raw_bytes().to_vec();
        items.push(Item::change(doc, hash.into(), bytes));
    }
    items
}

/// A new document of that device with one change of so many bytes that do not compress.
pub fn pasting(device: DeviceId, bytes: usize) -> Vec<Item> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).unwrap();
    let doc = new_doc();
    let mut automerge = Automerge::new().with_actor(Actor::new(device, [0; 4]).into());
    let made = automerge.transact_with::<_, _, automerge::AutomergeError, _>(
        |()| CommitOptions::default().with_time(1),
        |edit| edit.put(ROOT, "picture", random),
    );
    let hash = made.unwrap().hash.unwrap();
    let bytes = automerge.get_change_by_hash(&hash).unwrap().raw_bytes().to_vec();
    vec![Item::create(doc, "notes".to_owned()), Item::change(doc, hash.into(), bytes)]
}

/// The frame of a good answer.
pub async fn frame<T: DeserializeOwned>(response: Response) -> T {
    let status = response.status();
    let content_type = response.headers()["content-type"].clone();
    let bytes = response.bytes().await.unwrap();
    assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&bytes));
    if content_type == JSON { wire::decode_json(&bytes).unwrap() } else { wire::decode(&bytes).unwrap() }
}

/// An answer that is a refusal: with that status and code, an id, and nothing else.
pub async fn refused(response: Response, status: u16, code: ErrorCode) -> ErrorResponse {
    assert_eq!(response.status().as_u16(), status, "{code:?}");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let again = response.headers().contains_key("retry-after");
    let msgpack = response.headers()["content-type"] == MSGPACK;
    let bytes = response.bytes().await.unwrap();
    let error: ErrorResponse = if msgpack { wire::decode(&bytes).unwrap() } else { wire::decode_json(&bytes).unwrap() };
    assert_eq!(error.code, code, "{error:?}");
    assert_eq!(error.request_id, id);
    assert_eq!(error.retry_after_ms.is_some(), again);
    error
}
