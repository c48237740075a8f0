//! What the tests run against: a server in this process on a port of its own, phones on stores of their own, and the
//! same as processes that can be killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use sync_client_ffi::{Client, ClientBuilder, DeviceId, SpaceId};
use sync_core::id::{DocId, Hash};
use sync_core::ledger::Role;
use sync_core::wire::{self, ErrorCode, ErrorResponse, SyncRequest, VersionResponse};
use sync_server::auth::keys::Keys;
use sync_server::compaction::{Round, Workshop};
use sync_server::store::Store;
use sync_server::store::sqlite::{SqliteOptions, SqliteStore};
use sync_server::{Caller, Config, Server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::services::daemon::signal;

/// Long enough for a loaded machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A server in this process. Stops in good order when dropped.
pub struct Rig {
    folder: tempfile::TempDir,
    config: Config,
    workshop: Workshop,
    address: SocketAddr,
    running: Option<Running>,
}

struct Running {
    server: Arc<Server>,
    runtime: tokio::runtime::Handle,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Rig {
    /// Starts a server on a folder of its own.
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// The same with another configuration.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config { data: folder.path().join("server"), ..Config::default() };
        change(&mut config);
        let workshop = Workshop::default();
        let (running, address) = run(config.clone(), workshop.clone(), 0);
        Self { folder, config, workshop, address, running: Some(running) }
    }

    /// Folds documents elsewhere from the next start on.
    pub fn fold_in(&mut self, workshop: Workshop) {
        self.workshop = workshop;
    }

    /// Has the server go round all documents.
    pub fn compact(&self) -> Round {
        let Running { server, runtime, .. } = self.running.as_ref().expect("a server that runs");
        let server = Arc::clone(server);
        // The server's own runtime, whatever thread this is.
        let (sender, round) = std::sync::mpsc::channel();
        runtime.spawn(async move { sender.send(server.compact().await) });
        round.recv_timeout(PATIENCE).expect("an end").expect("a round")
    }

    /// Has the server exclude a change, whether it breaks its document or not.
    pub fn exclude(&self, space: SpaceId, doc: DocId, hash: Hash) {
        let Running { server, runtime, .. } = self.running.as_ref().expect("a server that runs");
        let server = Arc::clone(server);
        let (sender, done) = std::sync::mpsc::channel();
        runtime.spawn(async move { sender.send(server.exclude(space, doc, hash).await) });
        let excluded = done.recv_timeout(PATIENCE).expect("an end").expect("an answer");
        assert!(excluded, "the change is not in the log, or is excluded already");
    }

    /// The server's data folder.
    pub fn data(&self) -> &Path {
        &self.config.data
    }

    /// Stops the server in good order.
    pub fn stop(&mut self) {
        let Some(Running { server, runtime: _, stop, thread }) = self.running.take() else { return };
        drop(server);
        drop(stop);
        // A server that panicked has failed the test already.
        assert!(thread.join().is_ok() || std::thread::panicking(), "the server panicked");
    }

    /// Starts it again, on the same data and port.
    pub fn restart(&mut self) {
        self.stop();
        let (running, address) = run(self.config.clone(), self.workshop.clone(), self.address.port());
        assert_eq!(address, self.address);
        self.running = Some(running);
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a client wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder of this test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A token of the server's.
    pub fn token(&self, user: &str, device: DeviceId) -> String {
        token(&self.config.data, user, device)
    }

    /// A token that holds for so long, in whole seconds.
    pub fn token_for(&self, user: &str, device: DeviceId, lifetime: Duration) -> String {
        token_for(&self.config.data, user, device, lifetime)
    }

    /// Makes tokens like [`token_for`](Self::token_for), for whoever outlives a borrow.
    pub fn minter(
        &self,
        user: &str,
        device: DeviceId,
        lifetime: Duration,
    ) -> impl Fn() -> String + Send + Sync + use<> {
        let (data, user) = (self.config.data.clone(), user.to_owned());
        move || token_for(&data, &user, device, lifetime)
    }

    /// Sets what a user may do in a space, as the server's command does.
    pub fn set_role(&self, space: SpaceId, user: &str, role: Option<Role>) {
        set_role(&self.config.data, space, user, role);
    }

    /// Asks a route for something in a user's name, with a frame in msgpack.
    pub fn ask(&self, user: &str, method: &str, path: &str, frame: &[u8]) -> Raw {
        request(self.address, method, path, &self.token(user, device(99)), frame).expect("an answer")
    }

    /// A phone on a new store.
    pub fn phone(&self, user: &str, number: u8) -> Client {
        self.phone_by(user, number, &self.url())
    }

    /// A phone on a new store that reaches the server by another address.
    pub fn phone_by(&self, user: &str, number: u8, url: &str) -> Client {
        let token = self.token(user, device(number));
        self.builder(user, number).server(url).token(token).open().expect("a phone")
    }

    /// The same, to be completed.
    pub fn builder(&self, user: &str, number: u8) -> ClientBuilder {
        Client::builder(self.folder.path().join(format!("{user}-{number}.sqlite")))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(config: Config, workshop: Workshop, port: u16) -> (Running, SocketAddr) {
    let (ready, address) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async move {
            let server = Server::builder().config(config).workshop(workshop).build().await.expect("a server");
            let server = Arc::new(server);
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let runtime = tokio::runtime::Handle::current();
            ready.send((address, Arc::clone(&server), runtime)).expect("the test waits");
            server.serve(listener, async { stopped.await.unwrap_or(()) }).await;
        });
    });
    let (address, server, runtime) = address.recv().expect("the server starts");
    (Running { server, runtime, stop, thread }, address)
}

/// The device with that number.
pub fn device(number: u8) -> DeviceId {
    DeviceId::from_random([number; 16])
}

/// A token signed with the keys in a server's data folder.
pub fn token(data: &Path, user: &str, device: DeviceId) -> String {
    token_for(data, user, device, Duration::from_hours(1))
}

fn set_role(data: &Path, space: SpaceId, user: &str, role: Option<Role>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open(data, &SqliteOptions::default()).expect("the server's store");
        store.set_role(space, user, role).await.expect("a role");
        store.close().await.expect("the store closes");
    });
}

fn token_for(data: &Path, user: &str, device: DeviceId, lifetime: Duration) -> String {
    let keys = Keys::open(data).expect("the server's keys");
    let tokens = sync_server::auth::token::Tokens::new(keys.signing, &Config::default().token);
    let caller = Caller { user: user.to_owned(), device };
    tokens.issue(&caller, lifetime).expect("a token")
}

/// A server in a process of its own, for killing.
pub struct ServerProcess {
    program: PathBuf,
    data: PathBuf,
    /// Its configuration's file, where it is not the default.
    config: Option<PathBuf>,
    address: SocketAddr,
    child: Child,
}

impl ServerProcess {
    /// Starts `program serve DATA PORT [CONFIG]`; the program is this package's `child`.
    pub fn start(program: &Path, data: &Path) -> Self {
        let (child, address) = spawn(program, data, None, 0);
        Self { program: program.to_owned(), data: data.to_owned(), config: None, address, child }
    }

    /// The same with a configuration, on its data folder and its port.
    pub fn configured(program: &Path, config: &Config) -> Self {
        std::fs::create_dir_all(&config.data).expect("a data folder");
        let file = config.data.join("config.toml");
        std::fs::write(&file, toml::to_string(config).expect("a configuration is TOML")).expect("a file is written");
        let (child, address) = spawn(program, &config.data, Some(&file), config.listen.port());
        Self { program: program.to_owned(), data: config.data.clone(), config: Some(file), address, child }
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where it listens, also after a restart.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it where it is, without its noticing: requests wait, connections stay.
    pub fn freeze(&self) {
        assert!(signal(self.child.id(), "STOP"), "it is dead");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        assert!(signal(self.child.id(), "CONT"), "it is dead");
    }

    /// Sets what a user may do in a space, as the server's command does.
    pub fn set_role(&self, space: SpaceId, user: &str, role: Option<Role>) {
        set_role(&self.data, space, user, role);
    }

    /// The same as an address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }

    /// Starts it again on the same data and port.
    pub fn restart(&mut self) {
        let (child, address) = spawn(&self.program, &self.data, self.config.as_deref(), self.address.port());
        assert_eq!(address, self.address);
        self.child = child;
    }

    /// What the server has acknowledged of the caller's feed.
    pub fn acked(&self, space: SpaceId, token: &str) -> u64 {
        let path = format!("/v1/spaces/{space}/version");
        let answer: VersionResponse = self.exchange("GET", &path, token, &[]).expect("a version");
        answer.acked.n
    }

    /// Asks for something, and gives the answer as it is; an error when there is nobody to answer.
    pub fn get(&self, path: &str, token: &str) -> std::io::Result<Raw> {
        self.request("GET", path, token, &[])
    }

    /// Posts a frame to `/v1/sync`.
    pub fn post<T: DeserializeOwned>(&self, token: &str, frame: &SyncRequest) -> Result<T, Answer> {
        self.exchange("POST", "/v1/sync", token, &wire::encode(frame).expect("a frame"))
    }

    fn exchange<T: DeserializeOwned>(&self, method: &str, path: &str, token: &str, body: &[u8]) -> Result<T, Answer> {
        let answer = self.request(method, path, token, body).expect("an answer");
        if answer.status == 200 {
            return Ok(wire::decode(&answer.body).expect("a frame"));
        }
        Err(Answer { status: answer.status, code: answer.code() })
    }

    fn request(&self, method: &str, path: &str, token: &str, body: &[u8]) -> std::io::Result<Raw> {
        request(self.address, method, path, token, body)
    }

    /// Its resident memory.
    pub fn memory_kib(&self) -> u64 {
        self.proc_status("VmRSS:")
    }

    /// The most it was since [`reset_peak_memory`](Self::reset_peak_memory).
    pub fn peak_memory_kib(&self) -> u64 {
        self.proc_status("VmHWM:")
    }

    /// Begins to measure the peak anew.
    pub fn reset_peak_memory(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("Linux measures memory");
    }

    fn proc_status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }
}

/// One request over a connection of its own, by hand: no client library smooths anything over.
fn request(address: SocketAddr, method: &str, path: &str, token: &str, body: &[u8]) -> std::io::Result<Raw> {
    let mut stream = TcpStream::connect(address)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: rejoin\r\nAuthorization: Bearer {token}\r\nContent-Type: application/msgpack\r\n\
         Accept: application/msgpack\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Raw::parse(&answer).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

/// An answer as it came.
#[derive(Debug)]
pub struct Raw {
    /// HTTP's status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// What follows.
    pub body: Vec<u8>,
}

impl Raw {
    fn parse(answer: &[u8]) -> Option<Self> {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head, body: answer[end + 4..].to_vec() })
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The stable code in the body of an error.
    pub fn code(&self) -> Option<ErrorCode> {
        wire::decode::<ErrorResponse>(&self.body).ok().map(|error| error.code)
    }
}

/// An answer that is not 200.
#[derive(Debug)]
pub struct Answer {
    /// HTTP's status.
    pub status: u16,
    /// The stable code in its body.
    pub code: Option<ErrorCode>,
}

/// Random numbers from a name, the same in every run; `SEED` in the environment gives others.
pub struct Seeded(u64);

impl Seeded {
    /// Begins a sequence and prints its seed.
    pub fn new(name: &str) -> Self {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
        println!("{name}: SEED={given}");
        let state = name.bytes().fold(given, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(state)
    }

    /// The next number below `bound` (SplitMix64, Steele, Lea and Flood, 2014).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may be dead already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(program: &Path, data: &Path, config: Option<&Path>, port: u16) -> (Child, SocketAddr) {
    let mut child = Command::new(program)
        .args(["serve".as_ref(), data.as_os_str(), port.to_string().as_ref()])
        .args(config)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server's process");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("its address");
    let address = line.trim().parse().unwrap_or_else(|_| panic!("not an address: {line:?}"));
    (child, address)
}
