//! A PgBouncer of the test's own, in transaction mode: a transaction gets some connection, and no two need get the same.

use std::path::PathBuf;

use super::daemon::{Daemon, Home, folder_of, free_port, path};
use super::postgres::{Postgres, sql};

const PROGRAM: &str = "pgbouncer";

/// Where Debian puts it, which is not in everybody's `PATH`.
const DEBIAN: &str = "/usr/sbin";

/// Connections to Postgres of one database: fewer than the nodes have, so that they really share.
const POOL: u32 = 20;

/// Connections that it takes.
const CLIENTS_MAX: u32 = 500;

/// A PgBouncer before one Postgres, on a port that it keeps through a kill. Stops when dropped.
pub struct PgBouncer {
    program: PathBuf,
    home: Home,
    port: u16,
    /// None while it is dead.
    daemon: Option<Daemon>,
}

impl PgBouncer {
    /// Where the program is, or what to do about it.
    pub fn find() -> Result<PathBuf, String> {
        let folder = folder_of(&[PROGRAM], path().into_iter().chain([PathBuf::from(DEBIAN)]));
        let missing = || format!("no {PROGRAM}: install it (Debian: {PROGRAM}), or set {}", super::PGBOUNCER_URL);
        folder.map(|folder| folder.join(PROGRAM)).ok_or_else(missing)
    }

    /// Starts one before all databases of a Postgres.
    pub fn start(postgres: &Postgres) -> Self {
        let program = Self::find().unwrap_or_else(|missing| panic!("{missing}"));
        let home = Home::of("postgres");
        let port = free_port();
        // After Postgres was away, the default would have clients wait for 15 s. All else stays as people have it.
        home.write(
            "pgbouncer.ini",
            &format!(
                "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
                 default_pool_size = {POOL}\nmax_client_conn = {CLIENTS_MAX}\nserver_login_retry = 1\n",
                postgres.port()
            ),
        );
        let mut pgbouncer = Self { program, home, port, daemon: None };
        pgbouncer.restart();
        pgbouncer
    }

    /// Starts it again after a kill.
    pub fn restart(&mut self) {
        assert!(self.daemon.is_none(), "it runs");
        let mut command = self.home.command(&self.program);
        command.arg("pgbouncer.ini");
        let url = self.url("postgres");
        self.daemon = Some(self.home.start(command, || sql(&url, "SELECT 1").is_ok()));
    }

    /// SIGKILL; whoever is connected sees the connection break.
    pub fn kill(&mut self) {
        self.daemon.take().expect("it runs").kill();
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").id()
    }

    /// A database of the Postgres behind it, as clients want it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // To it, SIGTERM is the immediate end.
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop("TERM");
        }
    }
}
