//! The server of a world: the real one, with its routes, its writer and its SQLite store, on a disk that can fail and be put
//! back, asked without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use sync_client_ffi::{DeviceId, DocId, Hash, SpaceId};
use sync_core::feed::ItemKind;
use sync_core::ledger::Role;
use sync_core::log::Verdict;
use sync_core::session::Ending;
use sync_core::version::FeedHeads;
use sync_core::wire::{ErrorCode, ErrorResponse, Welcome, decode};
use sync_server::bus::memory::MemoryBus;
use sync_server::bus::{Bus, BusMessage, Listener};
use sync_server::store::sqlite::{FILE, SqliteStore, migrate, simulated};
use sync_server::{Caller, Clock, Config, Server, config};
use tokio::runtime::Runtime;

use super::lines::{Heard, Key, Lines};
use super::plan::Plan;
use super::rng::Rng;

/// What the server's clock shows first: far from the real one, by which nothing is decided.
const BEGIN_MS: u64 = 1_900_000_000_000;
/// How long tokens hold.
const TOKEN: Duration = Duration::from_hours(24 * 30);
const FILES: [&str; 2] = ["", "-wal"];

/// Makes what every server begins with.
pub fn template(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    migrate(folder).expect("a database");
    sync_server::auth::keys::Keys::open(folder).expect("keys");
}

/// A server that may be down.
pub struct SimServer {
    data: PathBuf,
    config: Config,
    clock_ms: Arc<AtomicU64>,
    up: Option<Up>,
    backed_up: bool,
    seed: u64,
    lives: u64,
    /// So many of a thousand messages the bus loses.
    lost: u64,
}

struct Up {
    runtime: Runtime,
    server: Server,
    store: Arc<SqliteStore>,
    direct: sync_server::Direct,
    lines: Lines,
}

/// A bus that loses some of what it is told.
struct LossyBus {
    bus: MemoryBus,
    rng: Mutex<Rng>,
    lost: u64,
}

impl Bus for LossyBus {
    fn listen(&self, listener: Weak<dyn Listener>) {
        self.bus.listen(listener);
    }

    fn join(&self, space: SpaceId) {
        self.bus.join(space);
    }

    fn leave(&self, space: SpaceId) {
        self.bus.leave(space);
    }

    fn publish(&self, message: BusMessage) {
        if !self.rng.lock().expect("a lock").chance(self.lost) {
            self.bus.publish(message);
        }
    }
}

/// An answer to a request.
pub type Reply = Result<Vec<u8>, ErrorCode>;

impl SimServer {
    /// A server on a copy of the template.
    pub fn new(seed: u64, template: &Path, data: PathBuf, plan: &Plan) -> Self {
        fs::create_dir_all(&data).expect("a folder");
        for entry in fs::read_dir(template).expect("the template") {
            let path = entry.expect("its files").path();
            if let Some(name) = path.file_name().filter(|_| path.is_file()) {
                fs::copy(&path, data.join(name)).expect("a copy");
            }
        }
        let compaction = config::Compaction {
            enabled: false,
            tail_changes_max: plan.tail_changes_max,
            pause_ms: 0,
            active_days: 36_500,
            retention_days: if plan.drops_at_once { 0 } else { 36_500 },
            ..config::Compaction::default()
        };
        let config = Config {
            data: data.clone(),
            compaction,
            limits: config::Limits { rules: Vec::new() },
            // Heartbeats are the world's, and nobody says too much in no time.
            live: config::Live {
                heartbeat_ms: 3_600_000,
                idle_timeout_ms: 3_600_000,
                messages_per_second_max: 1_000_000,
                messages_burst_max: 1_000_000,
                ..config::Live::default()
            },
            ..Config::default()
        };
        let clock_ms = Arc::new(AtomicU64::new(BEGIN_MS));
        let (lost, lives) = (plan.weather.lost, 0);
        let mut server = Self { data, config, clock_ms, up: None, backed_up: false, seed, lives, lost };
        server.start();
        server
    }

    /// Starts it, unless it is up.
    pub fn start(&mut self) {
        if self.up.is_some() {
            return;
        }
        simulated::fail_after(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let store = Arc::new(SqliteStore::open_here(&self.data).expect("the database"));
        let clock_ms = Arc::clone(&self.clock_ms);
        let builder = Server::builder()
            .config(self.config.clone())
            .store(Arc::clone(&store) as _)
            .registry(Arc::clone(&store) as _)
            .bus(Arc::new(self.bus()))
            .clock(Clock::new(move || clock_ms.load(Ordering::Relaxed)));
        let server = runtime.block_on(builder.build()).expect("a server");
        let direct = server.direct();
        self.up = Some(Up { runtime, server, store, direct, lines: Lines::default() });
    }

    fn bus(&mut self) -> LossyBus {
        self.lives += 1;
        let rng = Mutex::new(Rng::of(self.seed, 2_000 + self.lives));
        LossyBus { bus: MemoryBus::new(), rng, lost: self.lost }
    }

    /// Kills it: what was committed is there.
    pub fn kill(&mut self) {
        self.up = None;
        simulated::fail_after(None);
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Has the power fail behind so many commits.
    pub fn fail_after(&mut self, commits: u64) {
        if self.is_up() {
            simulated::fail_after(Some(commits));
        }
    }

    /// Whether it has failed.
    pub fn has_failed(&self) -> bool {
        self.is_up() && simulated::has_failed()
    }

    /// Moves its clock.
    pub fn set_clock(&self, now_ms: u64, offset_ms: i64) {
        let now_ms = (BEGIN_MS + now_ms).saturating_add_signed(offset_ms);
        self.clock_ms.store(now_ms, Ordering::Relaxed);
        simulated::set_now_ms(Some(now_ms.cast_signed()));
    }

    /// Asks it several things at once. `None` where there is no answer.
    pub fn ask(&self, requests: Vec<(&'static str, String, Vec<u8>)>) -> Vec<Option<Reply>> {
        let Some(up) = &self.up else { return requests.iter().map(|_| None).collect() };
        let asked = requests.into_iter().map(|(path, token, body)| {
            let direct = up.direct.clone();
            async move {
                let (status, body) = direct.ask("POST", path, &token, body).await?;
                Some(if status == 200 {
                    Ok(body)
                } else {
                    Err(decode::<ErrorResponse>(&body).map_or(ErrorCode::Internal, |error| error.code))
                })
            }
        });
        up.runtime.block_on(futures_util::future::join_all(asked))
    }

    /// Opens a live connection.
    pub fn open(&mut self, key: Key, token: &str) -> Result<Welcome, Ending> {
        let up = self.up.as_mut().ok_or(Ending::Lost)?;
        up.runtime.block_on(up.lines.open(key, up.direct.clone(), token))
    }

    /// Something is said on it.
    pub fn say(&mut self, key: Key, frame: Vec<u8>) {
        if let Some(up) = &mut self.up {
            up.runtime.block_on(up.lines.say(key, frame));
        }
    }

    /// It ends.
    pub fn cut(&mut self, key: Key) {
        if let Some(up) = &mut self.up {
            up.lines.cut(key);
        }
    }

    /// Whether a phone's live connections are read.
    pub fn set_reads(&mut self, phone: usize, reads: bool) {
        if let Some(up) = &mut self.up {
            up.lines.set_reads(phone, reads);
        }
    }

    /// A heartbeat.
    pub fn beat(&mut self) {
        if let Some(up) = &mut self.up {
            up.runtime.block_on(up.server.beat());
        }
    }

    /// What was said on live connections.
    pub fn pump(&mut self) -> Vec<(Key, Heard)> {
        let Some(up) = &mut self.up else { return Vec::new() };
        up.runtime.block_on(up.lines.pump())
    }

    /// A token of a user on a device.
    pub fn token(&self, user: &str, device: DeviceId) -> Option<String> {
        let up = self.up.as_ref()?;
        Some(up.server.issue_token(&Caller { user: user.to_owned(), device }, TOKEN).expect("a token"))
    }

    /// Sets what a user may do; `false` if it is down.
    pub fn set_role(&self, space: SpaceId, user: &str, role: Option<Role>) -> bool {
        let Some(up) = &self.up else { return false };
        up.runtime.block_on(up.server.set_role(space, user, role)).is_ok()
    }

    /// Folds and drops; `false` where the power failed within.
    pub fn compact(&self) -> bool {
        let Some(up) = &self.up else { return false };
        up.runtime.block_on(up.server.compact()).is_ok()
    }

    /// Excludes a change; `false` where it did not, or the power failed within.
    pub fn exclude(&self, space: SpaceId, doc: DocId, hash: Hash) -> bool {
        let Some(up) = &self.up else { return false };
        up.runtime.block_on(up.server.exclude(space, doc, hash)).unwrap_or(false)
    }

    /// Where its log ends, and how far every feed has come.
    pub fn version(&self, space: SpaceId) -> Option<(sync_core::log::Cursor, FeedHeads)> {
        let up = self.up.as_ref()?;
        let version = up.runtime.block_on(sync_server::store::Store::version(&*up.store, space)).ok()?;
        Some((version.head, version.feeds))
    }

    /// Entries of its log that took effect: their places, and whose they are.
    pub fn applied(&self, space: SpaceId) -> Vec<(u64, DeviceId)> {
        let Some(up) = &self.up else { return Vec::new() };
        let rows = up.runtime.block_on(sync_server::store::inspect::Inspect::log_rows(&*up.store, space, 0, 100_000));
        let applied = rows.unwrap_or_default().into_iter().filter(|row| row.header.verdict == Verdict::Applied);
        applied.map(|row| (row.at.seq, row.header.id.device)).collect()
    }

    /// Changes that its log still has whole, in its order.
    pub fn changes(&self, space: SpaceId) -> Vec<(DocId, Vec<u8>)> {
        let Some(up) = &self.up else { return Vec::new() };
        let rows = up.runtime.block_on(sync_server::store::inspect::Inspect::log_rows(&*up.store, space, 0, 100_000));
        let changes = rows.unwrap_or_default().into_iter().filter(|row| row.header.kind == ItemKind::Change);
        changes.filter_map(|row| Some((row.header.doc, row.payload?))).collect()
    }

    /// What is wrong with what it has stored.
    pub fn findings(&self, space: SpaceId) -> Vec<String> {
        let Some(up) = &self.up else { return Vec::new() };
        let report = up.runtime.block_on(sync_server::verify::space(&*up.store, space, &mut |_| {}));
        match report {
            Ok(report) => report.findings.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    /// Copies its database aside.
    pub fn back_up(&mut self) {
        copy(&self.data.join(FILE), &self.data.join("backup"));
        self.backed_up = true;
    }

    /// Puts back what was copied, while it is down; `false` if there is nothing.
    pub fn put_back(&mut self) -> bool {
        if self.backed_up {
            self.kill();
            copy(&self.data.join("backup"), &self.data.join(FILE));
        }
        self.backed_up
    }
}

/// Copies a database that nobody writes at the moment, with its log.
pub fn copy(from: &Path, to: &Path) {
    for suffix in FILES {
        let (from, to) = (format!("{}{suffix}", from.display()), format!("{}{suffix}", to.display()));
        if Path::new(&from).exists() {
            fs::copy(from, to).expect("a copy");
        } else if Path::new(&to).exists() {
            fs::remove_file(to).expect("a file that goes");
        }
    }
}
