//! A Postgres of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio_postgres::{Error, NoTls, SimpleQueryMessage};

use super::daemon::{self, Daemon, Home, folder_of, free_port, path, wait_until};

/// The folder of the programs, where they are not in `PATH` nor where Debian puts them.
pub const BINARIES: &str = "REJOIN_POSTGRES_BIN";

const PROGRAMS: [&str; 3] = ["initdb", "pg_basebackup", "postgres"];

/// Debian's place, a folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Many tests at the same time, each with several nodes and a pool a node.
const CONNECTIONS_MAX: u32 = 400;

/// A connection to the loopback either comes at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A primary or a replica, on a folder and a port that it keeps through a kill. Stops when dropped.
pub struct Postgres {
    programs: PathBuf,
    home: Home,
    port: u16,
    /// None while it is dead.
    daemon: Option<Daemon>,
}

/// A copy of a Postgres.
pub struct Backup(Home);

impl Postgres {
    /// Where the programs are, or what to do about it.
    pub fn find() -> Result<PathBuf, String> {
        let found = match std::env::var_os(BINARIES) {
            Some(folder) => folder_of(&PROGRAMS, [PathBuf::from(folder)]),
            None => folder_of(&PROGRAMS, path().into_iter().chain(debian())),
        };
        found.ok_or_else(|| {
            format!("no Postgres: install it (Debian: postgresql), set {BINARIES} to the folder of its programs, or DATABASE_URL")
        })
    }

    /// Starts one with nothing in it. It is as durable as one in production.
    pub fn start() -> Self {
        let programs = Self::find().unwrap_or_else(|missing| panic!("{missing}"));
        let home = Home::of("postgres");
        let mut initdb = home.command(&programs.join("initdb"));
        // Its own files need not survive a power cut; those of the tests do (`fsync` below).
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"]);
        initdb.arg(data(&home));
        daemon::run(initdb);
        Self::on(programs, home)
    }

    /// A replica that streams from this one, and answers once it does.
    #[must_use]
    pub fn replica(&self) -> Self {
        let home = Home::of("postgres");
        let mut copy = home.command(&self.programs.join("pg_basebackup"));
        copy.args([
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
            "--username=postgres",
        ]);
        copy.args(["--host=127.0.0.1", &format!("--port={}", self.port), "--pgdata"]).arg(data(&home));
        daemon::run(copy);
        let replica = Self::on(self.programs.clone(), home);
        wait_until("the replica streams", || {
            replica.ask("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"
        });
        replica
    }

    /// A copy of all it has, taken while it runs.
    #[must_use]
    pub fn backup(&self) -> Backup {
        let home = Home::of("postgres");
        let mut copy = home.command(&self.programs.join("pg_basebackup"));
        copy.args(["--wal-method=stream", "--checkpoint=fast", "--no-sync", "--username=postgres"]);
        copy.args(["--host=127.0.0.1", &format!("--port={}", self.port), "--pgdata"]).arg(data(&home));
        daemon::run(copy);
        Backup(home)
    }

    /// Puts a copy in place of what it has, as of when it was taken.
    pub fn restore(&mut self, backup: Backup) {
        self.kill();
        self.home = backup.0;
        self.restart();
    }

    fn on(programs: PathBuf, home: Home) -> Self {
        let mut postgres = Self { programs, home, port: free_port(), daemon: None };
        postgres.restart();
        postgres
    }

    /// Starts it again after a kill, and waits until it has recovered.
    pub fn restart(&mut self) {
        assert!(self.daemon.is_none(), "it runs");
        let url = self.url("postgres");
        self.daemon = Some(self.home.start(self.serve(), || sql(&url, "SELECT 1").is_ok()));
    }

    fn serve(&self) -> Command {
        let mut command = self.home.command(&self.programs.join("postgres"));
        command.arg("-D").arg(data(&self.home)).arg("-p").arg(self.port.to_string());
        let sockets = format!("unix_socket_directories={}", self.home.path().display());
        let connections = format!("max_connections={CONNECTIONS_MAX}");
        let settings = [
            "listen_addresses=127.0.0.1",
            &sockets,
            &connections,
            "fsync=on",
            "synchronous_commit=on",
            // In the folder, which goes with the test, and not in /dev/shm, where a kill would leave it.
            "dynamic_shared_memory_type=mmap",
            "logging_collector=off",
        ];
        for setting in settings {
            command.args(["-c", setting]);
        }
        command
    }

    /// SIGKILL of the postmaster, as by the kernel when memory is short. Its children notice and leave; only then is the
    /// folder free for a restart.
    pub fn kill(&mut self) {
        self.daemon.take().expect("it runs").kill();
        wait_until("the children of Postgres leave", || processes_in(&data(&self.home)).is_empty());
    }

    /// The postmaster's process.
    pub fn id(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").id()
    }

    /// Where it listens, also after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder, with the socket in it.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// A database of it, as clients want it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database, and gives its URL.
    pub fn create_database(&self, name: &str) -> String {
        self.ask(&format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// Runs SQL in the database `postgres`; see [`sql`].
    pub fn ask(&self, text: &str) -> String {
        sql(&self.url("postgres"), text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    /// On a replica: what comes from the primary is kept, and not shown.
    pub fn pause_replay(&self) {
        self.ask("SELECT pg_wal_replay_pause()");
        wait_until("replay pauses", || self.ask("SELECT pg_get_wal_replay_pause_state()") == "paused");
    }

    /// On a replica: goes on.
    pub fn resume_replay(&self) {
        self.ask("SELECT pg_wal_replay_resume()");
    }

    /// On a replica: waits until it shows all that the primary has committed by now.
    pub fn catch_up(&self, primary: &Self) {
        let end = primary.ask("SELECT pg_current_wal_flush_lsn()");
        let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'::pg_lsn");
        wait_until("the replica catches up", || self.ask(&reached) == "t");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        match self.daemon.take() {
            // Immediate: nothing of it is needed any more.
            Some(mut daemon) => daemon.stop("QUIT"),
            None => forget_memory(&data(&self.home)),
        }
    }
}

fn data(home: &Home) -> PathBuf {
    home.path().join("data")
}

/// Debian's folders, the newest version first.
fn debian() -> Vec<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<u32> = versions.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|version| Path::new(DEBIAN).join(version.to_string()).join("bin")).collect()
}

/// Every process of a Postgres works in its data folder, also those whose postmaster is dead.
fn processes_in(data: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let works_there =
        |process: &fs::DirEntry| fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == data);
    let processes = processes.filter(works_there);
    processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
}

/// A restart would take over the few bytes of shared memory by which a postmaster claims its folder; without one they
/// would stay until the machine stops.
fn forget_memory(data: &Path) {
    let pid_file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let segment = pid_file.lines().nth(6).and_then(|line| line.split_whitespace().nth(1));
    if let Some(segment) = segment {
        Command::new("ipcrm").args(["-m", segment]).output().ok();
    }
}

/// Runs SQL on a connection of its own, and gives the rows as text: a line a row, `|` between columns.
pub fn sql(url: &str, text: &str) -> Result<String, Error> {
    // A thread of its own, since tests that are async themselves must not block on a runtime.
    std::thread::scope(|scope| scope.spawn(|| run(url, text)).join().expect("the query's thread"))
}

/// A transaction that stays open until this is dropped, with all that it has locked.
pub struct Held {
    // Its thread serves the connection; with it the connection ends.
    _runtime: tokio::runtime::Runtime,
}

impl Held {
    /// Begins one with this SQL.
    pub fn by(url: &str, text: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
            tokio::spawn(connection);
            client.batch_execute(&format!("BEGIN; {text}")).await.expect("a transaction");
            // A client that is dropped would end the connection.
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(client);
            });
        });
        Self { _runtime: runtime }
    }
}

fn run(url: &str, text: &str) -> Result<String, Error> {
    let mut config: tokio_postgres::Config = url.parse()?;
    config.connect_timeout(CONNECT_TIMEOUT);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        let messages = client.simple_query(text).await?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let columns: Vec<&str> = (0..row.len()).map(|column| row.get(column).unwrap_or_default()).collect();
                Some(columns.join("|"))
            }
            _ => None,
        });
        Ok(rows.collect::<Vec<String>>().join("\n"))
    })
}
