//! The typed configuration. `config.default.toml` documents every key and holds the defaults.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sync_core::limits::REQUESTS_IN_FLIGHT_MAX;

use crate::router::ROUTES;
use crate::store::sqlite::SqliteOptions;

/// The defaults, each with its reason: `sync-server config` prints them.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// Each request asks every rule, so they are few.
const LIMIT_RULES_MAX: usize = 32;

/// All that can be configured. An unknown key is an error: a misspelt limit is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The data folder: the embedded database and the keys.
    pub data: PathBuf,
    /// Where the keys are instead.
    pub keys: Option<PathBuf>,
    /// Connections and requests.
    pub http: Http,
    /// Live connections.
    pub live: Live,
    /// Access tokens.
    pub token: Token,
    /// The embedded store.
    pub sqlite: Sqlite,
    /// Postgres, instead of the embedded store.
    pub database: Database,
    /// Redis, between nodes.
    pub redis: Redis,
    /// How often callers may call.
    pub limits: Limits,
    /// Logs.
    pub log: Log,
}

/// Connections and requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Open connections.
    pub connections_max: usize,
    /// Requests worked on at the same time.
    pub requests_in_flight_max: usize,
    /// How long a request's head may take to arrive, from the connection or the answer before it.
    pub header_timeout_ms: u64,
    /// How long a request's body may take to arrive.
    pub body_timeout_ms: u64,
    /// How long a request may take in all.
    pub request_timeout_ms: u64,
    /// How long requests in flight may take at shutdown.
    pub shutdown_timeout_ms: u64,
    /// What `Retry-After` says when the server is busy or unavailable.
    pub retry_after_ms: u64,
    /// Proxies that are believed when they say for whom they ask.
    pub proxies: Vec<IpNet>,
    /// The header in which they say so.
    pub forwarded_header: String,
}

/// Live connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Live {
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one user.
    pub connections_per_user_max: usize,
    /// Connections that have not said hello yet.
    pub hello_pending_max: usize,
    /// How long saying hello may take.
    pub hello_timeout_ms: u64,
    /// How often a connection is told where the logs are.
    pub heartbeat_ms: u64,
    /// How long a connection may say nothing.
    pub idle_timeout_ms: u64,
    /// Messages a second of one user, on all its connections.
    pub messages_per_second_max: u32,
    /// And how many at once.
    pub messages_burst_max: u32,
    /// Large frames that are being received or worked on at the same time.
    pub large_frames_max: usize,
}

/// Access tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// Who issues tokens.
    pub issuer: String,
    /// For whom tokens are meant.
    pub audience: String,
}

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

/// How often callers may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A request passes if every rule that fits it has room.
    pub rules: Vec<LimitRule>,
}

/// So many requests in so much time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitRule {
    /// What the rule is called in the answers' headers.
    pub name: String,
    /// Of whom requests are counted together.
    pub of: LimitOf,
    /// Method and route, such as `POST /v1/sync`; `*` stands for all that need a token.
    pub route: String,
    /// How many requests.
    pub requests: u32,
    /// In any stretch of time of this length.
    pub seconds: u32,
}

/// Of whom requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitOf {
    /// One address; of IPv6 one /64.
    Address,
    /// One user.
    User,
    /// One device.
    Device,
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

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged.
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            data: PathBuf::from("data"),
            keys: None,
            http: Http::default(),
            live: Live::default(),
            token: Token::default(),
            sqlite: Sqlite::default(),
            database: Database::default(),
            redis: Redis::default(),
            limits: Limits::default(),
            log: Log::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            requests_in_flight_max: REQUESTS_IN_FLIGHT_MAX,
            header_timeout_ms: 30_000,
            body_timeout_ms: 20_000,
            request_timeout_ms: 30_000,
            shutdown_timeout_ms: 5_000,
            retry_after_ms: 1_000,
            proxies: Vec::new(),
            forwarded_header: "x-forwarded-for".to_owned(),
        }
    }
}

impl Default for Live {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_user_max: 128,
            hello_pending_max: 256,
            hello_timeout_ms: 5_000,
            heartbeat_ms: 5_000,
            idle_timeout_ms: 60_000,
            messages_per_second_max: 1_000,
            messages_burst_max: 2_000,
            large_frames_max: REQUESTS_IN_FLIGHT_MAX,
        }
    }
}

impl Default for Token {
    fn default() -> Self {
        Self { issuer: "rejoin".to_owned(), audience: "rejoin".to_owned() }
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

impl Default for Limits {
    fn default() -> Self {
        let rule = |name: &str, of, requests| LimitRule {
            name: name.to_owned(),
            of,
            route: "*".to_owned(),
            requests,
            seconds: 60,
        };
        let rules = vec![
            rule("address", LimitOf::Address, 12_000),
            rule("user", LimitOf::User, 6_000),
            rule("device", LimitOf::Device, 3_000),
        ];
        Self { rules }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,refinery_core=warn".to_owned() }
    }
}

impl Sqlite {
    /// As the store takes them.
    pub fn options(&self) -> SqliteOptions {
        SqliteOptions { readers: self.readers, busy_timeout: Duration::from_millis(self.busy_timeout_ms) }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is not TOML of this form.
    #[error("{0}")]
    Syntax(#[from] Box<toml::de::Error>),
    /// A value is out of range.
    #[error("{key} must be {must}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What it must be.
        must: &'static str,
    },
}

impl Config {
    /// The folder with the keys.
    pub fn keys_folder(&self) -> &Path {
        self.keys.as_deref().unwrap_or(&self.data)
    }

    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| ConfigError::File { path: path.to_owned(), error })?;
        Self::parse(&text)
    }

    /// Reads a configuration.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(Box::new)?;
        config.validate()?;
        Ok(config)
    }

    /// Whether each value is in its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let within = |fine: bool, key, must| if fine { Ok(()) } else { Err(ConfigError::Value { key, must }) };
        let time = |ms: u64| (1..=3_600_000).contains(&ms);
        let http = &self.http;
        within((1..=1_000_000).contains(&http.connections_max), "http.connections_max", "1 to 1,000,000")?;
        within((1..=65_536).contains(&http.requests_in_flight_max), "http.requests_in_flight_max", "1 to 65,536")?;
        within(time(http.header_timeout_ms), "http.header_timeout_ms", "1 ms to 1 h")?;
        within(time(http.body_timeout_ms), "http.body_timeout_ms", "1 ms to 1 h")?;
        within(time(http.request_timeout_ms), "http.request_timeout_ms", "1 ms to 1 h")?;
        within(time(http.shutdown_timeout_ms), "http.shutdown_timeout_ms", "1 ms to 1 h")?;
        within(time(http.retry_after_ms), "http.retry_after_ms", "1 ms to 1 h")?;
        let live = &self.live;
        within((1..=1 << 20).contains(&live.connections_max), "live.connections_max", "1 to 1,048,576")?;
        within(
            (1..=1 << 20).contains(&live.connections_per_user_max),
            "live.connections_per_user_max",
            "1 to 1,048,576",
        )?;
        within((1..=1 << 20).contains(&live.hello_pending_max), "live.hello_pending_max", "1 to 1,048,576")?;
        within(time(live.hello_timeout_ms), "live.hello_timeout_ms", "1 ms to 1 h")?;
        within(time(live.heartbeat_ms), "live.heartbeat_ms", "1 ms to 1 h")?;
        within(time(live.idle_timeout_ms), "live.idle_timeout_ms", "1 ms to 1 h")?;
        within(live.messages_per_second_max > 0, "live.messages_per_second_max", "at least 1")?;
        within(live.messages_burst_max > 0, "live.messages_burst_max", "at least 1")?;
        within((1..=65_536).contains(&live.large_frames_max), "live.large_frames_max", "1 to 65,536")?;
        within(!self.token.issuer.is_empty(), "token.issuer", "a name")?;
        within(!self.token.audience.is_empty(), "token.audience", "a name")?;
        within((1..=64).contains(&self.sqlite.readers), "sqlite.readers", "1 to 64")?;
        within(self.sqlite.busy_timeout_ms <= 60_000, "sqlite.busy_timeout_ms", "at most 1 min")?;
        let database = &self.database;
        within((1..=1_024).contains(&database.connections_max), "database.connections_max", "1 to 1,024")?;
        within(time(database.connect_timeout_ms), "database.connect_timeout_ms", "1 ms to 1 h")?;
        within(time(database.acquire_timeout_ms), "database.acquire_timeout_ms", "1 ms to 1 h")?;
        within(time(database.statement_timeout_ms), "database.statement_timeout_ms", "1 ms to 1 h")?;
        within(
            database.url.is_some() || database.read_url.is_none(),
            "database.url",
            "set where database.read_url is",
        )?;
        within(!self.redis.prefix.is_empty(), "redis.prefix", "a name")?;
        within((1..=65_536).contains(&self.redis.nodes), "redis.nodes", "1 to 65,536")?;
        let of_header = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let header = &http.forwarded_header;
        within(!header.is_empty() && header.bytes().all(of_header), "http.forwarded_header", "a header's name")?;
        within(self.limits.rules.len() <= LIMIT_RULES_MAX, "limits.rules", "at most 32 rules")?;
        self.limits.rules.iter().try_for_each(|rule| {
            within((1..=1_000_000).contains(&rule.requests), "limits.rules.requests", "1 to 1,000,000")?;
            within((1..=86_400).contains(&rule.seconds), "limits.rules.seconds", "1 to 86,400")?;
            let name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            within(!rule.name.is_empty() && rule.name.bytes().all(name), "limits.rules.name", "of a-z, 0-9 and -")?;
            let of_that_name = self.limits.rules.iter().filter(|other| other.name == rule.name).count();
            within(of_that_name == 1, "limits.rules.name", "another for each rule")?;
            let known = ROUTES.iter().any(|(method, route)| rule.route.split_once(' ') == Some((method, route)));
            within(known || rule.route == "*", "limits.rules.route", "* or a method and a route, as in POST /v1/sync")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_defaults_are_the_defaults_and_complete() {
        assert_eq!(Config::parse(DEFAULTS).unwrap(), Config::default());
        let documented: toml::Table = DEFAULTS.parse().unwrap();
        assert_eq!(documented, toml::Table::try_from(Config::default()).unwrap(), "every key stands in the file");
    }

    #[test]
    fn unknown_keys_and_values_out_of_range_are_errors() {
        assert!(matches!(Config::parse("lisen = '127.0.0.1:1'"), Err(ConfigError::Syntax(_))));
        assert!(matches!(Config::parse("[http]\nrequests_max = 3"), Err(ConfigError::Syntax(_))));
        let error = Config::parse("[http]\nbody_timeout_ms = 0").unwrap_err();
        assert_eq!(error.to_string(), "http.body_timeout_ms must be 1 ms to 1 h");
    }
}
