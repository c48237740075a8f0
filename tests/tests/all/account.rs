//! Accounts as a client uses them: signing in, staying signed in, devices and shared spaces.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_client_ffi::account::{Account, Credentials, Keychain, KeychainError, Refresher};
use sync_tests::desk::{Answers, Asked, Desk, Rules};
use sync_tests::rig::device;

mod crash;
mod notes;
mod refusals;
mod renewal;
mod routes;
mod running;

/// An access token that has to be renewed before it is used.
const SPENT: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_mins(15);

/// A keychain in memory, which outlives the refreshers that use it and can fail.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    kept: Option<Credentials>,
    saves: u64,
    fails: Fails,
}

/// What the next saving comes to.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Fails {
    #[default]
    Not,
    /// Nothing is saved.
    Before,
    /// It is saved, and nobody learns of it.
    After,
}

impl Memory {
    fn inside<R>(&self, work: impl FnOnce(&mut Inside) -> R) -> R {
        work(&mut self.0.lock().unwrap())
    }

    fn kept(&self) -> Credentials {
        self.inside(|inside| inside.kept.clone()).unwrap()
    }
}

impl Keychain for Memory {
    fn load(&self) -> Result<Option<Credentials>, KeychainError> {
        Ok(self.inside(|inside| inside.kept.clone()))
    }

    fn save(&self, credentials: &Credentials) -> Result<(), KeychainError> {
        self.inside(|inside| {
            if inside.fails == Fails::Before {
                return Err(KeychainError("locked".to_owned()));
            }
            inside.kept = Some(credentials.clone());
            inside.saves += 1;
            if inside.fails == Fails::After { Err(KeychainError("locked".to_owned())) } else { Ok(()) }
        })
    }

    fn clear(&self) -> Result<(), KeychainError> {
        self.inside(|inside| inside.kept = None);
        Ok(())
    }
}

/// Access tokens that nobody verifies.
fn access(n: u64) -> String {
    format!("access-{n}")
}

/// A desk that keeps the rules of refresh tokens.
fn desk(rules: &Arc<Rules>) -> Desk {
    let rules = rules.clone();
    Desk::start(move |asked| rules.answer(asked, access))
}

/// Ann's first device, whose session lasts by the rules; access tokens hold for `lifetime`.
fn rules(lifetime: Duration) -> Arc<Rules> {
    Arc::new(Rules::new("ann", device(1), lifetime))
}

/// What she signed in with at a server, with an access token that is spent.
fn spent(server: &str) -> Credentials {
    Credentials {
        server: server.to_owned(),
        user: "ann".to_owned(),
        device: device(1),
        access_token: "access-0".into(),
        access_expires_ms: 0,
        refresh_token: "rjr_0".into(),
        refresh_expires_ms: u64::MAX,
        device_key: None,
    }
}

/// A refresher on that keychain, with a spent token at first.
fn refresher(desk: &Desk, memory: &Memory) -> Refresher {
    Refresher::begin(memory.clone(), spent(&desk.url())).unwrap()
}

/// An account with a token that is not renewed.
fn with_token(desk: &Desk) -> Account {
    Account::with_token(&desk.url(), "token").unwrap()
}

/// One request that was made, and nothing else.
fn only(desk: &Desk) -> Asked {
    let mut all = desk.all();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// A desk that says the same to everybody.
fn says(answer: impl Fn() -> Answers + Send + Sync + 'static) -> Desk {
    Desk::start(move |_| answer())
}
