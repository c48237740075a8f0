//! Several nodes over one Postgres and one Redis, each a process of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use sync_client_ffi::{Client, DeviceId};
use sync_server::Config;
use sync_server::auth::keys::{Keys, RECEIPT_KEY, SIGNING_KEY};
use sync_server::config::Database;
use sync_server::store::postgres;

use crate::rig::{ServerProcess, device, token};
use crate::services::daemon::{free_port, random};

/// Nodes that are one server to phones: they have the same keys, and nothing else on disk. Killed when dropped.
pub struct Nodes {
    nodes: Vec<ServerProcess>,
    // After the processes that work in it.
    folder: tempfile::TempDir,
}

/// Brings a database's schema up to date, as the server's command does.
pub fn migrate(database: &Database) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(postgres::migrate(database)).expect("the schema");
}

impl Nodes {
    /// Starts so many of this package's `child`. In a Redis that others use too they have names of their own.
    pub fn start(program: &Path, count: usize, database: &str, redis: &str) -> Self {
        let prefix = format!("rejoin-test-{:016x}", random());
        Self::with(program, count, |node, config| {
            config.redis.prefix.clone_from(&prefix);
            // Whether a node prepares its statements is its own affair.
            config.database.prepare = node % 2 == 1;
            config.database.url = Some(database.to_owned().into());
            config.redis.url = Some(redis.to_owned().into());
            config.redis.nodes = count as u32;
        })
    }

    /// The same, each with a configuration of its own.
    pub fn with(program: &Path, count: usize, change: impl Fn(usize, &mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = |node: usize| folder.path().join(format!("node-{node}"));
        Keys::open(&data(0)).expect("the keys of all nodes");
        let start = |node: usize| {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            let mut config = Config { data: data(node), listen, ..Config::default() };
            change(node, &mut config);
            if node == 0 && config.database.url.is_some() {
                migrate(&config.database);
            }
            if node > 0 {
                fs::create_dir(data(node)).expect("a node's folder");
                for key in [SIGNING_KEY, RECEIPT_KEY] {
                    fs::copy(data(0).join(key), data(node).join(key)).expect("a key is copied");
                }
            }
            ServerProcess::configured(program, &config)
        };
        let nodes = (0..count).map(start).collect();
        Self { nodes, folder }
    }

    /// SIGKILL of one.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].restart();
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// One of them.
    pub fn node(&self, node: usize) -> &ServerProcess {
        &self.nodes[node]
    }

    /// Where it listens, also after a restart.
    pub fn url(&self, node: usize) -> String {
        self.nodes[node].url()
    }

    /// A token that all of them take.
    pub fn token(&self, user: &str, device: DeviceId) -> String {
        token(self.nodes[0].data(), user, device)
    }

    /// A phone on a new store, at one of them.
    pub fn phone(&self, user: &str, number: u8, node: usize) -> Client {
        let store = self.folder.path().join(format!("{user}-{number}.sqlite"));
        let token = self.token(user, device(number));
        Client::builder(store).server(self.url(node)).token(token).open().expect("a phone")
    }
}
