//! What the tests run against: a server in this process on a port of its own, phones on stores of their own, and the
//! same as processes that can be killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sync_client_ffi::{Client, DeviceId};
use sync_server::auth::keys::Keys;
use sync_server::{Caller, Server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Long enough for a loaded machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server in this process. Stops in good order when dropped.
pub struct Rig {
    folder: tempfile::TempDir,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Rig {
    /// Starts a server on a folder of its own.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("server");
        let (ready, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async move {
                let server = Server::builder().data(data).build().await.expect("a server");
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                ready.send(listener.local_addr().expect("an address")).expect("the test waits");
                server.serve(listener, async { stopped.await.unwrap_or(()) }).await;
            });
        });
        let address = address.recv().expect("the server starts");
        Self { folder, address, stop: Some(stop), thread: Some(thread) }
    }

    /// Where the server listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder of this test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A token of the server's.
    pub fn token(&self, user: &str, device: DeviceId) -> String {
        token(&self.folder.path().join("server"), user, device)
    }

    /// A phone on a new store.
    pub fn phone(&self, user: &str, number: u8) -> Client {
        let device = device(number);
        let path = self.folder.path().join(format!("{user}-{number}.sqlite"));
        Client::builder(path).server(self.url()).token(self.token(user, device)).open().expect("a phone")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A server that panicked has failed the test already.
            assert!(thread.join().is_ok() || std::thread::panicking(), "the server panicked");
        }
    }
}

/// The device with that number.
pub fn device(number: u8) -> DeviceId {
    DeviceId::from_random([number; 16])
}

/// A token signed with the keys in a server's data folder.
pub fn token(data: &Path, user: &str, device: DeviceId) -> String {
    let keys = Keys::open(data).expect("the server's keys");
    let tokens = sync_server::auth::token::Tokens::new(keys.signing, &sync_server::Config::default().token);
    let caller = Caller { user: user.to_owned(), device };
    tokens.issue(&caller, Duration::from_secs(3600)).expect("a token")
}

/// A server in a process of its own, for killing.
pub struct ServerProcess {
    program: PathBuf,
    data: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl ServerProcess {
    /// Starts `program serve DATA PORT`; the program is this package's `child`.
    pub fn start(program: &Path, data: &Path) -> Self {
        let (child, address) = spawn(program, data, 0);
        Self { program: program.to_owned(), data: data.to_owned(), address, child }
    }

    /// Where it listens, also after a restart.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }

    /// Starts it again on the same data and port.
    pub fn restart(&mut self) {
        let (child, address) = spawn(&self.program, &self.data, self.address.port());
        assert_eq!(address, self.address);
        self.child = child;
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may be dead already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(program: &Path, data: &Path, port: u16) -> (Child, SocketAddr) {
    let mut child = Command::new(program)
        .args(["serve".as_ref(), data.as_os_str(), port.to_string().as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server's process");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("its address");
    let address = line.trim().parse().unwrap_or_else(|_| panic!("not an address: {line:?}"));
    (child, address)
}
