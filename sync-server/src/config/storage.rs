//! Where things are kept, and what goes between nodes.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigError, time, within};
use crate::store::sqlite::SqliteOptions;

/// The embedded store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sqlite {
    /// Threads that read.
    pub readers: usize,
    /// How long to wait for another process that writes.
    pub busy_timeout_ms: u64,
}

/// Postgres. Without `url` the server runs on the embedded store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The primary, or a PgBouncer before it.
    pub url: Option<Secret>,
    /// A replica for long reads.
    pub read_url: Option<Secret>,
    /// Whether statements are prepared: nothing that pools by transaction may stand before the database then.
    pub prepare: bool,
    /// Certificates that are believed besides those of the system, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Connections of this node to the primary, and as many to the replica.
    pub connections_max: usize,
    /// How long opening one may take.
    pub connect_timeout_ms: u64,
    /// How long to wait for one that is free.
    pub acquire_timeout_ms: u64,
    /// How long one group of pushes, or one page, may take.
    pub statement_timeout_ms: u64,
}

/// Redis. Without `url` the node is alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// Where it is.
    pub url: Option<Secret>,
    /// What the names of all keys and channels begin with.
    pub prefix: String,
    /// Nodes that there are at least: while Redis is away, each lets its share of a limit pass.
    pub nodes: u32,
}

/// A text that no log shows, such as a URL with a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Default for Sqlite {
    fn default() -> Self {
        let options = SqliteOptions::default();
        Self { readers: options.readers, busy_timeout_ms: options.busy_timeout.as_millis() as u64 }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            read_url: None,
            prepare: false,
            ca_file: None,
            connections_max: 16,
            connect_timeout_ms: 3_000,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 15_000,
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self { url: None, prefix: "rejoin".to_owned(), nodes: 1 }
    }
}

impl Sqlite {
    /// As the store takes them.
    pub fn options(&self) -> SqliteOptions {
        SqliteOptions { readers: self.readers, busy_timeout: Duration::from_millis(self.busy_timeout_ms) }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within((1..=64).contains(&self.readers), "sqlite.readers", "1 to 64")?;
        within(self.busy_timeout_ms <= 60_000, "sqlite.busy_timeout_ms", "at most 1 min")
    }
}

impl Database {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within((1..=1_024).contains(&self.connections_max), "database.connections_max", "1 to 1,024")?;
        within(time(self.connect_timeout_ms), "database.connect_timeout_ms", "1 ms to 1 h")?;
        within(time(self.acquire_timeout_ms), "database.acquire_timeout_ms", "1 ms to 1 h")?;
        within(time(self.statement_timeout_ms), "database.statement_timeout_ms", "1 ms to 1 h")?;
        within(self.url.is_some() || self.read_url.is_none(), "database.url", "set where database.read_url is")
    }
}

impl Redis {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within(!self.prefix.is_empty(), "redis.prefix", "a name")?;
        within((1..=65_536).contains(&self.nodes), "redis.nodes", "1 to 65,536")
    }
}
