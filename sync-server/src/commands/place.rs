//! Where the server lives: arguments that most commands take.

use std::path::PathBuf;

use clap::Args;
use sync_server::{Config, config};

/// Where the server lives.
#[derive(Args)]
pub struct Place {
    /// Configuration file; see `sync-server config`
    #[arg(long, env = "REJOIN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data folder [default: ./data]
    #[arg(long, env = "REJOIN_DATA", value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Folder with the keys [default: the data folder]
    #[arg(long, env = "REJOIN_KEYS", value_name = "FOLDER")]
    pub keys: Option<PathBuf>,
    /// Postgres, instead of the embedded store in the data folder
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
}

/// What goes between nodes.
#[derive(Args)]
pub struct Between {
    /// Redis, for more than one node
    // The URL may hold a password: help is not to show what the environment has.
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<String>,
}

impl Place {
    /// The configuration that these name.
    pub fn config(&self) -> Result<Config, config::ConfigError> {
        let mut config = self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        if self.keys.is_some() {
            config.keys.clone_from(&self.keys);
        }
        if let Some(url) = &self.database_url {
            config.database.url = Some(url.clone().into());
        }
        Ok(config)
    }
}

impl Between {
    /// Has the configuration name them.
    pub fn configure(self, config: &mut Config) {
        if let Some(url) = self.redis_url {
            config.redis.url = Some(url.into());
        }
    }
}
