//! A process beside the tests: how its program is found, whose it is, how it starts and ends.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::rig::PATIENCE;

/// Ports for services and nodes, below those that Linux gives to outgoing connections (from 32,768 on): who is restarted
/// must find its port free, although others try to reach it all the time.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How often a state that nobody announces is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How long an end in good order may take before the process is killed.
const STOP: Duration = Duration::from_secs(10);

/// How much of a log is shown when a process does not start.
const LAST_WORDS_BYTES: usize = 4_000;

/// A port of the loopback on which nobody listens; within one process no port is given twice.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let count = PORTS.end - PORTS.start;
    // Processes begin at different places.
    let next = NEXT.get_or_init(|| AtomicU16::new((random() % u64::from(count)) as u16));
    for _ in PORTS {
        let port = PORTS.start + next.fetch_add(1, Ordering::Relaxed) % count;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// A number that no other run has: the standard library draws its hash keys at random.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Waits for a state that nobody announces, and fails when it does not come.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(POLL);
    }
}

/// Sends a signal, such as `KILL`; whether there was somebody to take it.
pub fn signal(process: u32, signal: &str) -> bool {
    // The shell's own `kill`: a program of that name need not be installed.
    let command = format!("kill -{signal} {process}");
    let status = Command::new("sh").args(["-c", &command]).stderr(Stdio::null()).status();
    status.expect("a shell").success()
}

/// The folders of `PATH`.
pub(super) fn path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// The first of these folders that holds all these programs.
pub(super) fn folder_of(programs: &[&str], folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let holds = |folder: &PathBuf| programs.iter().all(|program| is_program(&folder.join(program)));
    folders.into_iter().find(holds)
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Runs a command to its end, and fails with what it says.
pub(super) fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    assert!(
        output.status.success(),
        "{}: {}{}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A temporary folder, and whose it is.
pub(super) struct Home {
    folder: tempfile::TempDir,
    account: Option<Account>,
}

/// Whom a service runs as, since some refuse to be root.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Home {
    /// A new folder. When we are root it belongs to `user`, or to nobody where there is no such user.
    pub fn of(user: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let is_root = folder.path().metadata().expect("the folder").uid() == 0;
        let account = is_root.then(|| account(user).or_else(|| account("nobody")).expect("a user who is not root"));
        let home = Self { folder, account };
        home.give(home.path());
        home
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file that the service may read.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).expect("a file is written");
        self.give(&path);
        path
    }

    fn give(&self, path: &Path) {
        if let Some(Account { user, group }) = self.account {
            chown(path, Some(user), Some(group)).expect("a file is given away");
        }
    }

    /// A command that runs here, as the folder's owner.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).stdin(Stdio::null()).env("LC_ALL", "C");
        if let Some(Account { user, group }) = self.account {
            // Besides, this leaves root's groups behind.
            command.gid(group).uid(user);
        }
        command
    }

    /// Where the service complains.
    pub fn log(&self) -> PathBuf {
        self.path().join("log")
    }

    /// Starts a command that stays, and waits until it is ready.
    pub fn start(&self, mut command: Command, ready: impl Fn() -> bool) -> Daemon {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log");
        let name = command.get_program().display().to_string();
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let mut daemon = Daemon(command.spawn().unwrap_or_else(|error| panic!("{name}: {error}")));
        wait_until(&name, || {
            if let Ok(Some(status)) = daemon.0.try_wait() {
                panic!("{name} ended with {status}:\n{}", self.last_words());
            }
            ready()
        });
        daemon
    }

    fn last_words(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LAST_WORDS_BYTES)..]).into_owned()
    }
}

/// A user's ids.
fn account(name: &str) -> Option<Account> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let mut fields =
        users.lines().map(|line| line.split(':')).find_map(|mut line| (line.next()? == name).then_some(line))?;
    let (user, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Account { user, group })
}

/// A process that stays; it is killed when this is dropped.
pub(super) struct Daemon(Child);

impl Daemon {
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        // It may be dead already.
        self.0.kill().ok();
        self.0.wait().expect("its end");
    }

    /// Asks it to end by that signal; what does not is killed.
    pub fn stop(&mut self, how: &str) {
        let until = Instant::now() + STOP;
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            signal(self.id(), how);
        }
        while self.0.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        self.kill();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
