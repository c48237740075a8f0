//! What tests need beside themselves: real Postgres, Redis and PgBouncer. A test that only needs one of them takes what
//! `tests/run`, or whoever runs it, names in the environment; a test that kills one starts its own.
//!
//! The path of such a test says what it needs, so that a run can leave it out by name where that is missing:
//! `needs_postgres`, `needs_redis`, `needs_pgbouncer` for one that the environment may name, `needs_own_postgres`,
//! `needs_own_redis`, `needs_node`, `needs_schemathesis` for one that the test starts itself.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use self::daemon::random;
use self::pgbouncer::PgBouncer;
use self::postgres::{Postgres, sql};
use self::redis::Redis;

pub mod daemon;
pub mod oidc;
pub mod pgbouncer;
pub mod postgres;
pub mod redis;
pub mod schemathesis;

/// Names a Postgres in which databases may be made.
pub const DATABASE_URL: &str = "DATABASE_URL";
/// Names a Redis.
pub const REDIS_URL: &str = "REDIS_URL";
/// Names a PgBouncer in transaction mode that passes every database on.
pub const PGBOUNCER_URL: &str = "REJOIN_TEST_PGBOUNCER_URL";

/// A database with nothing in it, which is dropped with this.
pub struct Database {
    maintenance: String,
    url: String,
    _service: Option<Arc<dyn Send + Sync>>,
}

impl Database {
    fn by(maintenance: String, service: Option<Arc<dyn Send + Sync>>) -> Self {
        let name = format!("rejoin_test_{:016x}", random());
        sql(&maintenance, &format!("CREATE DATABASE {name}"))
            .unwrap_or_else(|error| panic!("cannot make a database: {error:?}"));
        Self { url: with_database(&maintenance, &name), maintenance, _service: service }
    }

    /// As clients want it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs SQL in it; see [`sql`].
    pub fn ask(&self, text: &str) -> String {
        sql(&self.url, text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (_, _, name) = parts(&self.url);
        // Connections of a server that has not stopped yet must not keep it.
        if let Err(error) = sql(&self.maintenance, &format!("DROP DATABASE {name} WITH (FORCE)")) {
            println!("the database {name} stays: {error:?}");
        }
    }
}

/// A new database: in the Postgres that `DATABASE_URL` names, else in one that this process's tests share.
pub fn database() -> Database {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    if let Ok(url) = std::env::var(DATABASE_URL) {
        return Database::by(url, None);
    }
    let postgres = shared(&SHARED, Postgres::start);
    Database::by(postgres.url("postgres"), Some(postgres))
}

/// A new database through a PgBouncer in transaction mode: `REJOIN_TEST_PGBOUNCER_URL`'s, else one with a Postgres behind
/// it that this process's tests share.
pub fn pooled_database() -> Database {
    static SHARED: Mutex<Weak<(PgBouncer, Postgres)>> = Mutex::new(Weak::new());
    if let Ok(url) = std::env::var(PGBOUNCER_URL) {
        return Database::by(url, None);
    }
    let pair = shared(&SHARED, || {
        let postgres = Postgres::start();
        (PgBouncer::start(&postgres), postgres)
    });
    Database::by(pair.0.url("postgres"), Some(pair))
}

/// A Redis, and a name to begin all keys and channels with.
pub struct SharedRedis {
    /// Where it is.
    pub url: String,
    /// What nobody else's keys begin with.
    pub prefix: String,
    _redis: Option<Arc<Redis>>,
}

/// The Redis that `REDIS_URL` names, else one that this process's tests share.
pub fn redis() -> SharedRedis {
    static SHARED: Mutex<Weak<Redis>> = Mutex::new(Weak::new());
    let prefix = format!("rejoin-test-{:016x}", random());
    if let Ok(url) = std::env::var(REDIS_URL) {
        return SharedRedis { url, prefix, _redis: None };
    }
    let redis = shared(&SHARED, Redis::start);
    SharedRedis { url: redis.url(), prefix, _redis: Some(redis) }
}

/// What others use already, else a new one: it ends with its last user, as nothing in a `static` would.
fn shared<T>(slot: &Mutex<Weak<T>>, start: impl FnOnce() -> T) -> Arc<T> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    slot.upgrade().unwrap_or_else(|| {
        let started = Arc::new(start());
        *slot = Arc::downgrade(&started);
        started
    })
}

/// The same URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (server, options, _) = parts(url);
    format!("{server}/{name}{options}")
}

/// Server, options and database of a URL.
fn parts(url: &str) -> (&str, &str, &str) {
    let (place, options) = url.find('?').map_or((url, ""), |at| url.split_at(at));
    let authority = place.find("://").map_or(0, |at| at + 3);
    match place[authority..].find('/') {
        Some(at) => (&place[..authority + at], options, &place[authority + at + 1..]),
        None => (place, options, ""),
    }
}
