//! Signing up and in, with a clock that is set by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_core::id::DeviceId;
use sync_core::wire::ErrorCode;
use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::store::audit::AuditFilter;
use crate::{Clock, Server};

const GOOD: &str = "Correct horse 7";
const START_MS: u64 = 1_800_000_000_000;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

struct House {
    server: Server,
    now_ms: Arc<AtomicU64>,
    folder: Arc<TempDir>,
}

impl House {
    async fn new() -> Self {
        Self::with(Arc::new(tempfile::tempdir().unwrap()), Config::default()).await
    }

    async fn with(folder: Arc<TempDir>, config: Config) -> Self {
        let now_ms = Arc::new(AtomicU64::new(START_MS));
        let clock = Arc::clone(&now_ms);
        let clock = Clock::new(move || clock.load(Ordering::SeqCst));
        let server = Server::builder().config(config).data(folder.path()).clock(clock).build().await.unwrap();
        Self { server, now_ms, folder }
    }

    fn app(&self) -> &App {
        &self.server.app
    }

    fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    async fn sign_up(&self, email: &str) {
        sign_up(self.app(), &Arc::new(Note::test()), email, GOOD, "Ann").await.unwrap();
    }

    async fn sign_in(&self, email: &str, password: &str) -> Result<Account, ApiError> {
        sign_in(self.app(), None, email, password).await
    }
}

fn code(result: Result<Account, ApiError>) -> ErrorCode {
    result.unwrap_err().frame("", std::time::Duration::ZERO).code
}

#[tokio::test]
async fn who_signed_up_signs_in() {
    let house = House::new().await;
    house.sign_up(" Ann@Example.com ").await;
    let ann = house.sign_in("ann@EXAMPLE.com", GOOD).await.unwrap();
    assert!(ann.user.starts_with("local:") && ann.display_name == "Ann", "{ann:?}");
    assert_eq!(house.sign_in("ann@example.com", GOOD).await.unwrap(), ann);
    assert_eq!(code(house.sign_in("ann@example.com", "Correct horse 8").await), ErrorCode::LoginFailed);
    assert_eq!(code(house.sign_in("eve@example.com", GOOD).await), ErrorCode::LoginFailed);
}

/// How long the answer says to wait.
fn wait_ms(result: Result<Account, ApiError>) -> u64 {
    let frame = result.unwrap_err().frame("", std::time::Duration::ZERO);
    assert_eq!(frame.code, ErrorCode::RateLimited);
    frame.retry_after_ms.unwrap()
}

/// What one sees who tries so often, waiting a second between.
async fn seen(house: &House, email: &str, times: usize) -> Vec<(ErrorCode, Option<u64>, String)> {
    let mut seen = Vec::new();
    for _ in 0..times {
        let frame = house.sign_in(email, "Wrong horse 77").await.unwrap_err().frame("", std::time::Duration::ZERO);
        seen.push((frame.code, frame.retry_after_ms, frame.message));
        house.pass(1_500);
    }
    seen
}

#[tokio::test]
async fn known_and_unknown_identities_see_the_same_and_cost_the_same() {
    let house = House::new().await;
    house.sign_up("ann@example.com").await;
    let before = house.app().accounts.hashes();
    let known = seen(&house, "ann@example.com", 12).await;
    let cost = house.app().accounts.hashes() - before;
    let unknown = seen(&house, "eve@example.com", 12).await;
    assert_eq!(house.app().accounts.hashes() - before, 2 * cost);
    assert_eq!(known, unknown);
    let failed = known.iter().filter(|(code, ..)| *code == ErrorCode::LoginFailed).count();
    assert!(failed < 5 && cost == failed as u64, "{known:?}");
}

#[tokio::test]
async fn signing_up_with_a_taken_address_costs_the_same_and_changes_nothing() {
    let house = House::new().await;
    let before = house.app().accounts.hashes();
    house.sign_up("ann@example.com").await;
    assert_eq!(house.app().accounts.hashes() - before, 1);
    let ann = house.sign_in("ann@example.com", GOOD).await.unwrap();
    let before = house.app().accounts.hashes();
    sign_up(house.app(), &Arc::new(Note::test()), "ANN@example.com", "Another horse 8", "Eve").await.unwrap();
    assert_eq!(house.app().accounts.hashes() - before, 1);
    assert_eq!(house.sign_in("ann@example.com", GOOD).await.unwrap(), ann);
    assert_eq!(code(house.sign_in("ann@example.com", "Another horse 8").await), ErrorCode::LoginFailed);
}

#[tokio::test]
async fn five_attempts_in_a_quarter_of_an_hour_also_with_the_right_password_and_after_a_restart() {
    let house = House::new().await;
    house.sign_up("ann@example.com").await;
    for _ in 0..5 {
        assert_eq!(code(house.sign_in("ann@example.com", "Wrong horse 77").await), ErrorCode::LoginFailed);
        assert!(wait_ms(house.sign_in("ann@example.com", GOOD).await) > 0, "not even with the right one");
        house.pass(20 * SECOND);
    }
    let wait = wait_ms(house.sign_in("ann@example.com", GOOD).await);
    assert_eq!(wait, 15 * MINUTE - 100 * SECOND);
    house.server.shutdown().await;
    let again = House::with(Arc::clone(&house.folder), Config::default()).await;
    again.pass(100 * SECOND);
    assert_eq!(wait_ms(again.sign_in("ann@example.com", GOOD).await), wait);
    again.pass(wait);
    again.sign_in("ann@example.com", GOOD).await.unwrap();
}

#[tokio::test]
async fn ten_failures_block_the_owner_too_and_then_no_more() {
    let house = House::new().await;
    house.sign_up("ann@example.com").await;
    for _ in 0..10 {
        assert_eq!(code(house.sign_in("ann@example.com", "Wrong horse 77").await), ErrorCode::LoginFailed);
        house.pass(5 * MINUTE);
    }
    // Neither the window nor the back-off would refuse.
    assert_eq!(wait_ms(house.sign_in("ann@example.com", GOOD).await), 10 * MINUTE);
    house.pass(10 * MINUTE);
    house.sign_in("ann@example.com", GOOD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_guesses_at_once_are_five() {
    let mut config = Config::default();
    (config.accounts.backoff_ms, config.accounts.hashes_waiting_max) = (0, 64);
    let house = House::with(Arc::new(tempfile::tempdir().unwrap()), config).await;
    house.sign_up("ann@example.com").await;
    let house = Arc::new(house);
    let before = house.app().accounts.hashes();
    let mut tasks = tokio::task::JoinSet::new();
    for guess in 0..50 {
        let house = Arc::clone(&house);
        tasks.spawn(async move { code(house.sign_in("ann@example.com", &format!("Wrong horse {guess}")).await) });
    }
    let (mut failed, mut refused) = (0, 0);
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            ErrorCode::LoginFailed => failed += 1,
            ErrorCode::RateLimited => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((failed, refused, house.app().accounts.hashes() - before), (5, 45, 5));
}

#[tokio::test]
async fn who_finds_no_room_has_not_tried() {
    let mut config = Config::default();
    (config.accounts.hashes_at_once, config.accounts.hashes_waiting_max) = (1, 0);
    let house = House::with(Arc::new(tempfile::tempdir().unwrap()), config).await;
    house.sign_up("ann@example.com").await;
    let held = house.app().accounts.passwords.enter().unwrap();
    for _ in 0..20 {
        assert_eq!(code(house.sign_in("ann@example.com", GOOD).await), ErrorCode::Busy);
    }
    drop(held);
    house.sign_in("ann@example.com", GOOD).await.unwrap();
}

#[tokio::test]
async fn an_attempt_ends_without_its_caller_and_before_the_server() {
    let mut config = Config::default();
    config.accounts.iterations = 20;
    let house = House::with(Arc::new(tempfile::tempdir().unwrap()), config).await;
    let (app, email) = (house.app().clone(), "ann@example.com");
    let attempt = tokio::spawn(async move { sign_in(&app, None, email, "Wrong horse 77").await });
    let identity = Email::new(email).unwrap().identity();
    while house.app().registry.attempts(identity).await.unwrap().is_none() {}
    attempt.abort();
    assert!(attempt.await.unwrap_err().is_cancelled(), "its hash takes longer");
    house.server.shutdown().await;

    let folder = Arc::clone(&house.folder);
    drop(house);
    let house = House::with(folder, Config::default()).await;
    let wanted = AuditFilter { kind: Some("signin.*".to_owned()), limit: 10, ..AuditFilter::default() };
    let rows = house.app().registry.read_audit(wanted).await.unwrap();
    let [failed] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((failed.kind.as_str(), &failed.user), ("signin.failed", &stand_in(identity)));
}

#[tokio::test]
async fn a_password_that_is_being_changed_is_changed_without_its_caller() {
    let mut config = Config::default();
    config.accounts.iterations = 20;
    let house = House::with(Arc::new(tempfile::tempdir().unwrap()), config).await;
    house.sign_up("ann@example.com").await;
    let ann = house.sign_in("ann@example.com", GOOD).await.unwrap();
    let (app, before) = (house.app().clone(), house.app().accounts.hashes());
    let caller = Caller { user: ann.user.clone(), device: DeviceId::from_bytes([7; 16]) };
    let change =
        tokio::spawn(
            async move { change_password(&app, &Arc::new(Note::test()), &caller, GOOD, "Another horse 8").await },
        );
    while house.app().accounts.hashes() < before + 2 {
        tokio::task::yield_now().await;
    }
    change.abort();
    assert!(change.await.unwrap_err().is_cancelled(), "the hash of the new one takes longer");
    house.server.shutdown().await;

    let folder = Arc::clone(&house.folder);
    drop(house);
    let house = House::with(folder, Config::default()).await;
    house.pass(MINUTE);
    assert_eq!(house.sign_in("ann@example.com", "Another horse 8").await.unwrap(), ann);
    let wanted = AuditFilter { kind: Some("account.password_changed".to_owned()), limit: 10, ..AuditFilter::default() };
    assert_eq!(house.app().registry.read_audit(wanted).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_hash_of_another_cost_is_replaced_when_its_owner_signs_in() {
    let mut config = Config::default();
    (config.accounts.memory_kib, config.accounts.iterations) = (64, 1);
    let house = House::with(Arc::new(tempfile::tempdir().unwrap()), config).await;
    house.sign_up("ann@example.com").await;
    let kept =
        async |house: &House| house.app().registry.account("ann@example.com").await.unwrap().unwrap().password_hash;
    let cheap = kept(&house).await;
    assert!(cheap.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{cheap}");
    let ann = house.sign_in("ann@example.com", GOOD).await.unwrap();
    assert_eq!(kept(&house).await, cheap, "of the same cost");
    house.server.shutdown().await;

    let house = House::with(Arc::clone(&house.folder), Config::default()).await;
    house.pass(MINUTE);
    assert_eq!(code(house.sign_in("ann@example.com", "Wrong horse 77").await), ErrorCode::LoginFailed);
    assert_eq!(kept(&house).await, cheap, "nobody knows the password of whom");
    house.pass(MINUTE);
    assert_eq!(house.sign_in("ann@example.com", GOOD).await.unwrap(), ann);
    let dear = kept(&house).await;
    assert!(dear.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{dear}");
    assert_eq!(house.sign_in("ann@example.com", GOOD).await.unwrap(), ann);
}

#[test]
fn passwords_of_the_policy() {
    for good in [GOOD, "ABCdefghij1!", "Ünïcödé pässwörd 1", "            A1", &format!("Aa1!{}", "x".repeat(1_020))]
    {
        assert!(password::admissible("password", good).is_ok(), "{good:?}");
    }
    for bad in [
        "",
        "ABCdefghi1!",
        "abcdefghijk1!",
        "ABCdefghijkl!",
        "ABCdefghijkl1",
        "ABCdefghijk1é",
        &format!("Aa1!{}", "x".repeat(1_021)),
    ] {
        assert!(password::admissible("password", bad).is_err(), "{bad:?}");
    }
}

#[test]
fn addresses_in_one_form() {
    for (text, form) in [
        ("ann@example.com", "ann@example.com"),
        ("  Ann@EXAMPLE.com\n", "ann@example.com"),
        ("a.b+c@x", "a.b+c@x"),
        ("jörg@EXÄMPLE.de", "jörg@exämple.de"),
        (&format!("{}@x.yz", "a".repeat(250)), &format!("{}@x.yz", "a".repeat(250))),
    ] {
        assert_eq!(Email::new(text).unwrap().0, form);
    }
    for text in [
        "",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a b@c",
        "a@b c",
        "a\0@b",
        "a\u{7f}@b",
        "a@.b",
        "ann",
        &format!("{}@x.yz", "a".repeat(251)),
        &format!("{}@x.yz", "ⱥ".repeat(84)).to_uppercase(),
        &"a@b".repeat(1 << 20),
    ] {
        assert!(Email::new(text).is_err(), "{:?}", text.chars().take(20).collect::<String>());
    }
}

#[tokio::test]
async fn known_and_unknown_identities_take_as_long() {
    // Each may fail a few times before its back-off and its window are in the way.
    const IDENTITIES: usize = 12;
    const ROUNDS: usize = 4;
    let house = House::new().await;
    for number in 0..IDENTITIES {
        house.sign_up(&format!("known{number}@example.com")).await;
    }
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for number in 0..IDENTITIES {
            // In turn, so that whatever else the machine does, it does to both.
            for (of, name) in ["known", "unknown"].into_iter().enumerate() {
                let email = format!("{name}{number}@example.com");
                let began = std::time::Instant::now();
                let answer = house.sign_in(&email, "Wrong horse 77").await;
                times[of].push(began.elapsed());
                assert_eq!(code(answer), ErrorCode::LoginFailed, "round {round}");
            }
        }
        house.pass(20 * SECOND);
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3
    });
    println!("medians of {} each: known {known:.2} ms, unknown {unknown:.2} ms", IDENTITIES * ROUNDS);
    // Without the hash that is computed in vain, it is twenty times as fast or more.
    assert!((0.5..2.0).contains(&(known / unknown)), "known {known} ms, unknown {unknown} ms");
}
