//! The typed configuration. `config.default.toml` documents every key and holds the defaults.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod accounts;
mod audit;
mod compaction;
mod flags;
mod http;
mod limits;
mod live;
mod metrics;
pub(crate) mod oauth;
mod spaces;
mod storage;
mod token;
mod validation;
mod versions;

pub use accounts::Accounts;
pub use audit::Audit;
pub use compaction::Compaction;
pub use flags::Flags;
pub use http::Http;
pub use limits::{LimitOf, LimitRule, Limits};
pub use live::Live;
pub use metrics::Metrics;
pub use oauth::{OAuth, OAuthClient};
pub use spaces::Spaces;
pub(crate) use spaces::TOKEN;
pub use storage::{Database, Redis, Secret, Sqlite};
pub use token::{Token, TokenIssuer};
pub(crate) use validation::key as webhook_key;
pub use validation::{OnFailure, Validation};
pub use versions::Versions;

/// The defaults, each with its reason: `sync-server config` prints them.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

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
    /// Accounts of our own.
    pub accounts: Accounts,
    /// Shared spaces.
    pub spaces: Spaces,
    /// Companions.
    pub oauth: OAuth,
    /// The embedded store.
    pub sqlite: Sqlite,
    /// Postgres, instead of the embedded store.
    pub database: Database,
    /// Redis, between nodes.
    pub redis: Redis,
    /// Compaction.
    pub compaction: Compaction,
    /// How often callers may call.
    pub limits: Limits,
    /// Which versions of apps are served.
    pub versions: Versions,
    /// Asking the app whether changes may be taken.
    pub validation: Validation,
    /// What was done, as it is kept.
    pub audit: Audit,
    /// What is flagged for people to look at.
    pub flags: Flags,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    /// Logs.
    pub log: Log,
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
            accounts: Accounts::default(),
            spaces: Spaces::default(),
            oauth: OAuth::default(),
            sqlite: Sqlite::default(),
            database: Database::default(),
            redis: Redis::default(),
            compaction: Compaction::default(),
            limits: Limits::default(),
            versions: Versions::default(),
            validation: Validation::default(),
            audit: Audit::default(),
            flags: Flags::default(),
            metrics: Metrics::default(),
            log: Log::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,refinery_core=warn".to_owned() }
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

fn within(fine: bool, key: &'static str, must: &'static str) -> Result<(), ConfigError> {
    if fine { Ok(()) } else { Err(ConfigError::Value { key, must }) }
}

fn time(ms: u64) -> bool {
    (1..=3_600_000).contains(&ms)
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
        self.http.validate()?;
        self.live.validate()?;
        self.token.validate()?;
        self.accounts.validate()?;
        self.spaces.validate()?;
        self.oauth.validate()?;
        self.sqlite.validate()?;
        self.database.validate()?;
        self.redis.validate()?;
        self.compaction.validate()?;
        self.limits.validate()?;
        self.versions.validate()?;
        self.validation.validate()?;
        self.audit.validate()?;
        self.flags.validate()
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
