//! A node of the server as a process of its own, and tokens from the key that all nodes share.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use sync_client_ffi::DeviceId;
use sync_server::auth::keys::{Keys, RECEIPT_KEY, SIGNING_KEY};
use sync_server::auth::token::Tokens;
use sync_server::store::postgres;
use sync_server::{Caller, Config, Server, telemetry};
use tokio::net::TcpListener;

/// The user whose phones these are. A database keeps what earlier runs wrote, so there the name goes on at random.
const USER: &str = "ann";
/// Longer than any run.
const TOKEN_LIFETIME: Duration = Duration::from_hours(24);
/// What the line with the address begins with.
pub const LISTENING: &str = "listening on http://";
/// A node's configuration, in its folder.
const CONFIG_FILE: &str = "config.json";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What serves the phones, as the command line says it.
#[derive(Debug, Clone, Default, Args)]
pub struct Backends {
    /// Postgres, instead of the server's embedded store. Its schema is brought up to date first
    #[arg(long, value_name = "URL", requires = "redis_url")]
    database_url: Option<String>,
    /// Redis, which tells nodes of each other's commits
    #[arg(long, value_name = "URL", requires = "database_url")]
    redis_url: Option<String>,
    /// Nodes of the server. Each phone talks to another one; more than one need Postgres and Redis
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=NODES_MAX))]
    nodes: u16,
}

/// Each is a process with a pool of connections.
const NODES_MAX: i64 = 16;

impl Backends {
    /// Whether so many nodes can share what they have.
    pub fn check(&self) -> Result<()> {
        if self.nodes > 1 && self.database_url.is_none() {
            let needs = "--nodes above 1 needs --database-url and --redis-url: nodes share a Postgres and a Redis, \
                         such as --database-url postgres://rejoin@127.0.0.1/rejoin --redis-url redis://127.0.0.1";
            return Err(needs.into());
        }
        Ok(())
    }

    fn config(&self, data: &Path) -> Config {
        let mut config = Config { data: data.to_owned(), ..Config::default() };
        // Port 0 takes a free one.
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.database.url = self.database_url.clone().map(Into::into);
        config.redis.url = self.redis_url.clone().map(Into::into);
        config.redis.nodes = self.nodes.into();
        config
    }

    /// The user whose phones these are.
    pub fn user(&self) -> Result<String> {
        if self.database_url.is_none() {
            return Ok(USER.into());
        }
        let mut random = [0; 4];
        getrandom::fill(&mut random)?;
        Ok(format!("{USER}-{:08x}", u32::from_be_bytes(random)))
    }

    /// Makes the nodes' data folders, with the same keys in all of them, and prepares what the nodes share.
    pub fn prepare(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let folders: Vec<PathBuf> = (1..=self.nodes).map(|node| folder.join(format!("node-{node}"))).collect();
        for data in &folders {
            std::fs::create_dir_all(data)?;
            std::fs::write(data.join(CONFIG_FILE), serde_json::to_vec(&self.config(data))?)?;
        }
        if let Some((first, others)) = folders.split_first() {
            Keys::open(first)?;
            for (data, file) in others.iter().flat_map(|data| [(data, SIGNING_KEY), (data, RECEIPT_KEY)]) {
                std::fs::copy(first.join(file), data.join(file))?;
            }
        }
        if let Some(url) = &self.database_url {
            migrate(url)?;
        }
        Ok(folders)
    }
}

/// Brings a database's schema up to date, which nodes only check.
fn migrate(database_url: &str) -> Result<()> {
    let mut config = Config::default();
    config.database.url = Some(database_url.to_owned().into());
    config.validate()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(postgres::migrate(&config.database))?;
    Ok(())
}

/// Serves out of a prepared data folder until standard input ends; port 0 takes a free one.
pub fn run(data: &Path, port: u16) -> Result<()> {
    let mut config: Config = serde_json::from_slice(&std::fs::read(data.join(CONFIG_FILE))?)?;
    config.listen.set_port(port);
    telemetry::init("warn")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let server = Server::builder().config(config).build().await?;
        println!("{LISTENING}{address}");
        std::io::stdout().flush()?;
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("input".into()).spawn(move || {
            // Whatever comes, and an error too, means the end of input.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            let _ = ended.send(());
        })?;
        server.serve(listener, async { end.await.unwrap_or(()) }).await;
        Ok(())
    })
}

/// A token for a user's device, signed with the key in a node's data folder.
pub fn token(data: &Path, user: &str, device: DeviceId) -> Result<String> {
    let tokens = Tokens::new(Keys::open(data)?.signing, &Config::default().token);
    Ok(tokens.issue(&Caller { user: user.into(), device }, TOKEN_LIFETIME)?)
}
