//! Signing up and in, with a clock that is set by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_core::wire::ErrorCode;
use tempfile::TempDir;

use super::*;
use crate::config::Config;
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
        sign_up(self.app(), &Note::test(), email, GOOD, "Ann").await.unwrap();
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
