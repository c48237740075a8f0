//! Idempotency keys over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder, Response};
use sync_core::check::Push;
use sync_core::heal::Lost;
use sync_core::id::{Hash, SpaceId};
use sync_core::ledger::Role;
use sync_core::log::Cursor;
use sync_core::wire::{self, ErrorCode, SyncRequest};
use sync_server::store::idempotency::{Claim, ClaimToken, KeptAnswer, NewClaim, RequestKey};
use sync_server::store::sqlite::SqliteStore;
use sync_server::store::{Committed, Healed, PageAnswer, PageRequest, SpaceVersion, Store, StoreError};
use tokio::sync::{Semaphore, mpsc};

use crate::world::{MSGPACK, Phone, World, refused, typing};

const DEADLINE: Duration = Duration::from_secs(30);

fn keyed(phone: &Phone, key: &str, request: &SyncRequest) -> RequestBuilder {
    let body = wire::encode(request).unwrap();
    let request = phone.request(Method::POST, "/v1/sync").header("content-type", MSGPACK).body(body);
    request.header("idempotency-key", key)
}

async fn send(phone: &Phone, key: &str, request: &SyncRequest) -> Response {
    keyed(phone, key, request).send().await.unwrap()
}

fn is_replayed(response: &Response) -> bool {
    response.headers().get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_it_was() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 3);
    let push = ann.push(items);
    let first = send(&ann, "a", &push).await;
    assert_eq!((first.status().as_u16(), is_replayed(&first)), (200, false));
    let (id, content_type) = (first.headers()["x-request-id"].clone(), first.headers()["content-type"].clone());
    let bytes = first.bytes().await.unwrap();
    for _ in 0..3 {
        let again = send(&ann, "a", &push).await;
        assert_eq!((again.status().as_u16(), is_replayed(&again)), (200, true));
        assert_eq!(again.headers()["content-type"], content_type);
        assert_ne!(again.headers()["x-request-id"], id, "it is a request of its own");
        assert!(again.headers().contains_key("ratelimit"), "and counts");
        assert_eq!(again.bytes().await.unwrap(), bytes, "not `duplicate`, but as it was");
    }
    let without = ann.send(&push).await;
    assert_ne!(without.bytes().await.unwrap(), bytes);

    // Another body, another type, another key, another user.
    refused(send(&ann, "a", &ann.pull()).await, 422, ErrorCode::IdempotencyMismatch).await;
    let body = wire::encode(&push).unwrap();
    let other = ann.request(Method::POST, "/v1/sync").header("content-type", "application/x-msgpack").body(body);
    let other = other.header("idempotency-key", "a").send().await.unwrap();
    refused(other, 422, ErrorCode::IdempotencyMismatch).await;
    let other = ann.request(Method::POST, "/v1/sync?a=b").header("content-type", MSGPACK);
    let other = other.header("idempotency-key", "a").body(wire::encode(&push).unwrap()).send().await.unwrap();
    refused(other, 422, ErrorCode::IdempotencyMismatch).await;
    let other_key = send(&ann, "b", &push).await;
    assert_eq!((other_key.status().as_u16(), is_replayed(&other_key)), (200, false));
    let bob = world.phone("bob");
    let of_bob = send(&bob, "a", &bob.pull()).await;
    assert_eq!((of_bob.status().as_u16(), is_replayed(&of_bob)), (200, false), "a key is its user's");
}

#[tokio::test]
async fn keys_have_a_form_and_need_a_token() {
    let world = World::new().await;
    let ann = world.phone("ann");
    for key in [String::new(), "a b".to_owned(), "ä".to_owned(), "x".repeat(256)] {
        refused(send(&ann, &key, &ann.pull()).await, 400, ErrorCode::BadFrame).await;
    }
    let twice = keyed(&ann, "a", &ann.pull()).header("idempotency-key", "b").send().await.unwrap();
    refused(twice, 400, ErrorCode::BadFrame).await;
    assert_eq!(send(&ann, &"~!".repeat(127), &ann.pull()).await.status(), 200);
    let stranger = Phone { token: "none".to_owned(), ..world.phone("ann") };
    refused(send(&stranger, "a", &stranger.pull()).await, 401, ErrorCode::Unauthorized).await;
    let read = ann.request(Method::GET, "/v1/spaces").header("idempotency-key", "").send().await.unwrap();
    assert_eq!(read.status(), 200, "what changes nothing needs no key");
}

#[tokio::test]
async fn refusals_and_large_answers_are_not_kept() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let wrong = SyncRequest { space: SpaceId::from_bytes([9; 16]), ..ann.pull() };
    for _ in 0..2 {
        let response = send(&ann, "a", &wrong).await;
        assert!(!is_replayed(&response));
        refused(response, 404, ErrorCode::NotFound).await;
    }
    let items = crate::world::pasting(ann.device, 100_000);
    let push = ann.push(items);
    assert_eq!(send(&ann, "a", &push).await.status(), 200, "the key is free for another request");
    for _ in 0..2 {
        let response = send(&ann, "b", &ann.pull()).await;
        assert_eq!((response.status().as_u16(), is_replayed(&response)), (200, false));
        assert!(response.bytes().await.unwrap().len() > 64 << 10);
    }
}

/// A node that died while it worked on the request.
#[tokio::test]
async fn a_claim_of_a_dead_node_is_free_when_its_lease_ends() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 1);
    let push = ann.push(items);
    let claim = |lease| NewClaim {
        of: RequestKey { user: "ann".to_owned(), route: "POST /v1/sync".to_owned(), key: "a".to_owned() },
        hash: Hash::of(&[b"whatever it was"]),
        token: ClaimToken([1; 16]),
        lease,
    };
    let store = world.server.store();
    let dead = claim(Duration::from_mins(10));
    assert_eq!(store.claim(dead.clone()).await.unwrap(), Claim::Fresh);
    refused(send(&ann, "a", &push).await, 422, ErrorCode::IdempotencyMismatch).await;
    store.release(dead.of, dead.token).await.unwrap();
    assert_eq!(store.claim(claim(Duration::from_millis(300))).await.unwrap(), Claim::Fresh);
    let waiting = async {
        loop {
            let response = send(&ann, "a", &push).await;
            if response.status() == 200 {
                return response;
            }
        }
    };
    let response = tokio::time::timeout(DEADLINE, waiting).await.expect("the lease ends");
    assert!(!is_replayed(&response));
    assert!(is_replayed(&send(&ann, "a", &push).await));
}

/// A store whose commits wait for a word, and may fail.
struct Held {
    store: SqliteStore,
    begun: mpsc::UnboundedSender<usize>,
    go: Semaphore,
    fails: AtomicBool,
}

impl Held {
    fn open(folder: &tempfile::TempDir) -> (Arc<Self>, mpsc::UnboundedReceiver<usize>) {
        let store = SqliteStore::open(folder.path(), &sync_server::store::sqlite::SqliteOptions::default()).unwrap();
        let (begun, beginnings) = mpsc::unbounded_channel();
        let (go, fails) = (Semaphore::new(0), AtomicBool::new(false));
        (Arc::new(Self { store, begun, go, fails }), beginnings)
    }
}

#[async_trait]
impl Store for Held {
    async fn commit(&self, space: SpaceId, pushes: Vec<Push>) -> Result<Committed, StoreError> {
        self.begun.send(pushes.len()).unwrap();
        self.go.acquire().await.unwrap().forget();
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        self.store.commit(space, pushes).await
    }

    async fn take_back(&self, space: SpaceId, lost: Vec<Lost>) -> Result<Healed, StoreError> {
        self.store.take_back(space, lost).await
    }

    async fn places(&self, space: SpaceId, seqs: Vec<u64>) -> Result<(Cursor, Vec<Cursor>), StoreError> {
        self.store.places(space, seqs).await
    }

    async fn page(&self, space: SpaceId, request: PageRequest) -> Result<PageAnswer, StoreError> {
        self.store.page(space, request).await
    }

    async fn version(&self, space: SpaceId) -> Result<SpaceVersion, StoreError> {
        self.store.version(space).await
    }

    async fn heads(&self, spaces: &[SpaceId]) -> Result<Vec<(SpaceId, Cursor)>, StoreError> {
        self.store.heads(spaces).await
    }

    async fn role(&self, space: SpaceId, user: &str) -> Result<Option<Role>, StoreError> {
        self.store.role(space, user).await
    }

    async fn ensure_personal(&self, user: &str) -> Result<(), StoreError> {
        self.store.ensure_personal(user).await
    }

    async fn set_role(&self, space: SpaceId, user: &str, role: Option<Role>) -> Result<(), StoreError> {
        self.store.set_role(space, user, role).await
    }

    async fn spaces_of(&self, user: &str) -> Result<Vec<(SpaceId, Role)>, StoreError> {
        self.store.spaces_of(user).await
    }

    async fn claim(&self, claim: NewClaim) -> Result<Claim, StoreError> {
        self.store.claim(claim).await
    }

    async fn settle(
        &self,
        of: RequestKey,
        token: ClaimToken,
        answer: KeptAnswer,
        kept: Duration,
    ) -> Result<bool, StoreError> {
        self.store.settle(of, token, answer, kept).await
    }

    async fn release(&self, of: RequestKey, token: ClaimToken) -> Result<(), StoreError> {
        self.store.release(of, token).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_requests_at_the_same_time_one_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (held, mut begun) = Held::open(&folder);
    let world = World::on(|server| server.store(Arc::clone(&held) as Arc<dyn Store>)).await;
    let (mut ann, bob) = (world.phone("ann"), world.phone("bob"));
    let items = typing(ann.device, 1);
    let push = ann.push(items);
    let first = tokio::spawn(keyed(&ann, "a", &push).send());
    assert_eq!(begun.recv().await, Some(1));
    for _ in 0..20 {
        refused(send(&ann, "a", &push).await, 409, ErrorCode::IdempotencyInFlight).await;
    }
    refused(send(&ann, "a", &ann.pull()).await, 422, ErrorCode::IdempotencyMismatch).await;
    assert_eq!(send(&bob, "a", &bob.pull()).await.status(), 200);
    held.go.add_permits(1);
    let first = first.await.unwrap().unwrap();
    assert_eq!(first.status(), 200);
    let again = send(&ann, "a", &push).await;
    assert!(is_replayed(&again));
    assert_eq!(again.bytes().await.unwrap(), first.bytes().await.unwrap());
    assert!(begun.try_recv().is_err(), "one commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hung_up_finds_the_answer_when_it_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (held, mut begun) = Held::open(&folder);
    let world = World::on(|server| server.store(Arc::clone(&held) as Arc<dyn Store>)).await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 1);
    let push = ann.push(items);
    let first = tokio::spawn(keyed(&ann, "a", &push).send());
    assert_eq!(begun.recv().await, Some(1));
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    held.go.add_permits(1);
    let waiting = async {
        loop {
            let response = send(&ann, "a", &push).await;
            if response.status() == 200 {
                return response;
            }
            refused(response, 409, ErrorCode::IdempotencyInFlight).await;
        }
    };
    let response = tokio::time::timeout(DEADLINE, waiting).await.expect("it was done without its caller");
    assert!(is_replayed(&response));
    assert!(begun.try_recv().is_err(), "one commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_server_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (held, _begun) = Held::open(&folder);
    held.go.add_permits(10);
    let world = World::on(|server| server.store(Arc::clone(&held) as Arc<dyn Store>)).await;
    let mut ann = world.phone("ann");
    let items = typing(ann.device, 1);
    let push = ann.push(items);
    held.fails.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        refused(send(&ann, "a", &push).await, 503, ErrorCode::Unavailable).await;
    }
    held.fails.store(false, Ordering::Relaxed);
    let response = send(&ann, "a", &push).await;
    assert_eq!((response.status().as_u16(), is_replayed(&response)), (200, false));
    assert!(is_replayed(&send(&ann, "a", &push).await));
}
