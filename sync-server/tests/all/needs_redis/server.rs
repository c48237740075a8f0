//! A Redis in a temporary folder, to be killed at will.

use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use sync_server::config;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Within which all that is waited for has come.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often it is looked for.
const POLL: Duration = Duration::from_millis(5);

pub struct RedisServer {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl RedisServer {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder, port, child: None };
        server.restart().await;
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A configuration of this Redis, with names that nobody else has.
    pub fn config(&self) -> config::Redis {
        config_of(self.url())
    }

    pub async fn restart(&mut self) {
        assert!(self.child.is_none());
        let log = File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let spawned = command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(log).spawn();
        match spawned {
            Ok(child) => self.child = Some(child),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("this test needs Redis: no `redis-server` in PATH (Debian: apt-get install redis-server)")
            }
            Err(error) => panic!("redis-server: {error}"),
        }
        let give_up_at = Instant::now() + DEADLINE;
        while redis::Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.is_err() {
            assert!(Instant::now() < give_up_at, "redis-server does not come up");
            sleep(POLL).await;
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub async fn admin(&self) -> MultiplexedConnection {
        redis::Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

pub fn config_of(url: String) -> config::Redis {
    let mut random = [0; 8];
    getrandom::fill(&mut random).unwrap();
    let prefix = format!("test-{:016x}", u64::from_be_bytes(random));
    config::Redis { url: Some(url.into()), prefix, nodes: 1 }
}

/// Waits for it.
pub async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let give_up_at = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < give_up_at, "not in time: {what}");
        sleep(POLL).await;
    }
}
