//! A Redis of the test's own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use super::daemon::{Daemon, Home, folder_of, free_port, path};

const PROGRAM: &str = "redis-server";

/// An answer over the loopback comes at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A Redis that keeps nothing on disk, on a port that it keeps through a kill. Stops when dropped.
pub struct Redis {
    program: PathBuf,
    home: Home,
    port: u16,
    /// None while it is dead.
    daemon: Option<Daemon>,
}

impl Redis {
    /// Where the program is, or what to do about it.
    pub fn find() -> Result<PathBuf, String> {
        let folder = folder_of(&[PROGRAM], path());
        let missing = || format!("no {PROGRAM} in PATH: install it (Debian: redis-server), or set REDIS_URL");
        folder.map(|folder| folder.join(PROGRAM)).ok_or_else(missing)
    }

    /// Starts one with nothing in it.
    pub fn start() -> Self {
        let program = Self::find().unwrap_or_else(|missing| panic!("{missing}"));
        let mut redis = Self { program, home: Home::of("redis"), port: free_port(), daemon: None };
        redis.restart();
        redis
    }

    /// Starts it again after a kill, with nothing in it.
    pub fn restart(&mut self) {
        assert!(self.daemon.is_none(), "it runs");
        let mut command = self.home.command(&self.program);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "no"]);
        let port = self.port;
        self.daemon = Some(self.home.start(command, || ask(port, "PING").is_ok_and(|answer| answer == "+PONG")));
    }

    /// SIGKILL; whoever is connected sees the connection break.
    pub fn kill(&mut self) {
        self.daemon.take().expect("it runs").kill();
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").id()
    }

    /// Where it listens, also after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same as clients want it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Forgets all it holds; connections stay.
    pub fn flush(&self) {
        assert_eq!(self.ask("FLUSHALL"), "+OK");
    }

    /// Runs a command of plain words, and gives the first line of the answer as it comes over the wire: `+OK`, `:3`.
    pub fn ask(&self, command: &str) -> String {
        ask(self.port, command).unwrap_or_else(|error| panic!("{command}: {error}"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop("TERM");
        }
    }
}

fn ask(port: u16, command: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
