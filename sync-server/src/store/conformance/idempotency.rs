//! Idempotency keys: one works on a request, and all get its answer.

use std::sync::Arc;
use std::time::Duration;

use sync_core::id::Hash;
use tokio::time::{sleep, timeout};

use super::super::Store;
use super::super::idempotency::{ANSWER_KEPT, Claim, ClaimToken, KeptAnswer, NewClaim, RequestKey};
use super::author::{new_user, random};

/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(10);
const SHORT: Duration = Duration::from_millis(20);

fn key(user: &str, key: &str) -> RequestKey {
    RequestKey { user: user.to_owned(), route: "POST /v1/sync".to_owned(), key: key.to_owned() }
}

fn claim(of: &RequestKey, body: &[u8], lease: Duration) -> NewClaim {
    NewClaim { of: of.clone(), hash: Hash::of(&[body]), token: ClaimToken(random()), lease }
}

fn answer(text: &str) -> KeptAnswer {
    KeptAnswer { status: 201, content_type: Some("text/plain".to_owned()), body: text.into() }
}

async fn claimed(store: &dyn Store, claim: &NewClaim) -> Claim {
    store.claim(claim.clone()).await.expect("a claim")
}

async fn settled(store: &dyn Store, claim: &NewClaim, answer: &KeptAnswer, kept: Duration) -> bool {
    store.settle(claim.of.clone(), claim.token, answer.clone(), kept).await.expect("an answer that is kept")
}

/// Asks until it is somebody's turn.
async fn until_fresh(store: &dyn Store, claim: &NewClaim) {
    let asking = async {
        while claimed(store, claim).await != Claim::Fresh {
            sleep(SHORT).await;
        }
    };
    timeout(Duration::from_secs(30), asking).await.expect("what has expired is free");
}

/// One after the other.
pub async fn idempotency(store: &dyn Store) {
    let user = new_user();
    let of = key(&user, "a");
    let first = claim(&of, b"body", LONG);
    assert_eq!(claimed(store, &first).await, Claim::Fresh);
    let again = claim(&of, b"body", LONG);
    assert_eq!(claimed(store, &again).await, Claim::InFlight);
    assert_eq!(claimed(store, &claim(&of, b"another", LONG)).await, Claim::Mismatch);

    // Keys of others, of other routes, and other keys.
    let route = RequestKey { route: "PUT /v1/sync".to_owned(), ..of.clone() };
    for other in [key(&new_user(), "a"), key(&user, "A"), key(&user, "a "), route] {
        assert_eq!(claimed(store, &claim(&other, b"another", LONG)).await, Claim::Fresh, "{other:?}");
    }

    // Only whoever holds the claim settles it, and once.
    assert!(!settled(store, &again, &answer("not mine"), ANSWER_KEPT).await);
    store.release(of.clone(), again.token).await.expect("nothing to release is no error");
    assert_eq!(claimed(store, &again).await, Claim::InFlight);
    assert!(settled(store, &first, &answer("done"), ANSWER_KEPT).await);
    assert!(!settled(store, &first, &answer("once more"), ANSWER_KEPT).await);
    store.release(of.clone(), first.token).await.expect("too late to release is no error");
    assert_eq!(claimed(store, &again).await, Claim::Done(answer("done")));
    assert_eq!(claimed(store, &claim(&of, b"another", LONG)).await, Claim::Mismatch);

    // A bare answer, bytes that are no text, and a large one.
    for (at, body) in [Vec::new(), vec![0, 255, 128], vec![7; 64 << 10]].into_iter().enumerate() {
        let of = key(&user, &format!("body {at}"));
        let kept = KeptAnswer { status: 204, content_type: None, body };
        let first = claim(&of, b"body", LONG);
        assert_eq!(claimed(store, &first).await, Claim::Fresh);
        assert!(settled(store, &first, &kept, ANSWER_KEPT).await);
        assert_eq!(claimed(store, &first).await, Claim::Done(kept));
    }

    // What was released, anybody may do, also otherwise.
    let of = key(&user, "released");
    let first = claim(&of, b"body", LONG);
    assert_eq!(claimed(store, &first).await, Claim::Fresh);
    store.release(of.clone(), first.token).await.expect("a release");
    assert_eq!(claimed(store, &claim(&of, b"another", LONG)).await, Claim::Fresh);
}

/// A lease ends, and what comes after it changes nothing; an answer is forgotten in its time.
pub async fn leases(store: &dyn Store) {
    let of = key(&new_user(), "a");
    let (late, second) = (claim(&of, b"body", SHORT), claim(&of, b"another", LONG));
    assert_eq!(claimed(store, &late).await, Claim::Fresh);
    until_fresh(store, &second).await;
    assert!(!settled(store, &late, &answer("late"), ANSWER_KEPT).await);
    store.release(of.clone(), late.token).await.expect("a late release is no error");
    assert_eq!(claimed(store, &claim(&of, b"another", LONG)).await, Claim::InFlight);
    assert!(settled(store, &second, &answer("second"), SHORT).await);
    until_fresh(store, &claim(&of, b"a third", LONG)).await;
}

/// Fifty at once: one of them does it.
pub async fn one_of_many_claims(store: Arc<dyn Store>) {
    let of = key(&new_user(), "a");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (store, claim) = (Arc::clone(&store), claim(&of, b"body", LONG));
        tasks.spawn(async move { claimed(&*store, &claim).await });
    }
    let mut fresh = 0;
    while let Some(done) = tasks.join_next().await {
        match done.expect("a task") {
            Claim::Fresh => fresh += 1,
            other => assert_eq!(other, Claim::InFlight),
        }
    }
    assert_eq!(fresh, 1);
}
