//! The server of a world: the real one, with its routes, its writer and its SQLite store, on a disk that can fail and be put
//! back, asked without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sync_client_ffi::{DeviceId, SpaceId};
use sync_core::ledger::Role;
use sync_core::log::Verdict;
use sync_core::version::FeedHeads;
use sync_core::wire::{ErrorCode, ErrorResponse, decode};
use sync_server::store::sqlite::{FILE, SqliteStore, migrate, simulated};
use sync_server::{Caller, Clock, Config, Server, config};
use tokio::runtime::Runtime;

use super::plan::Plan;

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
    /// The last that was up: it issues tokens.
    backed_up: bool,
}

struct Up {
    runtime: Runtime,
    server: Server,
    store: Arc<SqliteStore>,
    direct: sync_server::Direct,
}

/// An answer to a request.
pub type Reply = Result<Vec<u8>, ErrorCode>;

impl SimServer {
    /// A server on a copy of the template.
    pub fn new(template: &Path, data: PathBuf, plan: &Plan) -> Self {
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
            limits: config::Limits { rules: Vec::new(), ..config::Limits::default() },
            ..Config::default()
        };
        let mut server = Self { data, config, clock_ms: Arc::new(AtomicU64::new(BEGIN_MS)), up: None, backed_up: false };
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
            .clock(Clock::new(move || clock_ms.load(Ordering::Relaxed)));
        let server = runtime.block_on(builder.build()).expect("a server");
        let direct = server.direct();
        self.up = Some(Up { runtime, server, store, direct });
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
        self.clock_ms.store((BEGIN_MS + now_ms).saturating_add_signed(offset_ms), Ordering::Relaxed);
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
