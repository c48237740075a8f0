//! A deterministic simulation: phones and a server, all of them the real code, over a network, disks and clocks that one seed
//! drives. Every promise of the design is looked after; what breaks one is told with its number.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_client_ffi::simulated as phones;
use sync_client_ffi::stepped::Answered;
use sync_client_ffi::{DeviceId, SpaceId};
use sync_core::ledger::Role;
use sync_server::store::sqlite::simulated as servers;

mod acts;
mod check;
mod faults;
mod hostile;
mod lines;
mod live;
mod model;
mod network;
mod phone;
mod plan;
mod quiet;
mod rng;
mod seen;
mod server;
mod shrink;
mod trace;

pub use plan::{Case, Kind, Plan};
pub use shrink::shrink;

use live::Live;
use model::Model;
use network::Request;
use phone::SimPhone;
use rng::Rng;
use server::SimServer;
use trace::Trace;

/// A promise of the design that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its number there; 0 where the simulation itself does not come to its end.
    pub promise: u8,
    /// What was seen.
    pub what: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "promise {}: {}", self.promise, self.what)
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What two runs of one case agree on.
    pub hash: u64,
    /// How long it was for those within.
    pub simulated_ms: u64,
    /// What was wrong, if anything.
    pub broken: Option<Broken>,
}

type Checked = Result<(), Broken>;

fn broken<T>(promise: u8, what: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { promise, what: what.into() })
}

/// What happens at a time.
enum Happening {
    Step(u64),
    Wake(usize, u64),
    Reach(Request),
    Answer { phone: usize, life: u64, ticket: u64, answer: Answered },
    Patience { phone: usize, life: u64, ticket: u64 },
    Token { phone: usize, life: u64 },
    PhoneStart(usize),
    DiskHeals(usize),
    NetworkHeals(usize),
    ServerStart,
    Live(Live),
}

/// All there is.
pub struct World {
    case: Case,
    plan: Plan,
    folder: PathBuf,
    space: SpaceId,
    now_ms: u64,
    count: u64,
    events: BTreeMap<(u64, u64), Happening>,
    /// Requests whose answers are waited for.
    waiting: BTreeSet<(usize, u64, u64)>,
    /// When the last arrives of what is on a live connection, in each direction, …
    in_order: BTreeMap<(lines::Key, bool), u64>,
    /// … and those that will not get anything through any more.
    doomed: BTreeSet<lines::Key>,
    /// How far each live connection was sent the log.
    shown: BTreeMap<lines::Key, u64>,
    phones: Vec<SimPhone>,
    server: SimServer,
    server_offset_ms: i64,
    roles: BTreeMap<String, Role>,
    /// What each may do on the server, and from which place of its log on.
    granted: BTreeMap<String, (Role, u64)>,
    /// Users, and entries of the log behind which, and up to which, they might only read.
    read_only: Vec<(String, u64, u64)>,
    /// Whose devices are.
    owners: BTreeMap<DeviceId, String>,
    model: Model,
    network: Rng,
    trace: Trace,
    /// No more faults.
    calm: bool,
}

/// What waits for a live connection at most: a few frames.
const QUEUE_BYTES: usize = 4 << 10;

/// Where worlds are: in memory, where there is such a place.
fn base() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

struct Templates {
    folder: tempfile::TempDir,
}

/// Stores as they are first, made once.
fn templates() -> &'static Templates {
    static TEMPLATES: OnceLock<Templates> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("rejoin-worlds-").tempdir_in(base()).expect("a folder");
        server::template(&folder.path().join("server"));
        phone::template(&folder.path().join("phone"));
        Templates { folder }
    })
}

/// Removes what worlds leave; for the end of a process.
pub fn tidy_up() {
    std::fs::remove_dir_all(templates().folder.path()).ok();
}

/// Runs one case; with `printed`, tells what happens.
pub fn run(case: &Case, printed: bool) -> Outcome {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let folder = templates().folder.path().join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    let mut end = (0, 0);
    servers::stay_here(true);
    servers::set_queue_bytes_max(Some(QUEUE_BYTES));
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(case, folder.clone(), printed);
        let ran = world.run();
        end = (world.trace.hash(), world.now_ms);
        ran
    }));
    phones::enter(None);
    servers::fail_after(None);
    servers::stay_here(false);
    servers::set_now_ms(None);
    std::fs::remove_dir_all(&folder).ok();
    let broken = match ran {
        Ok(ran) => ran.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(Broken { promise: 8, what: format!("a panic: {}", text.unwrap_or_default()) })
        }
    };
    Outcome { hash: end.0, simulated_ms: end.1, broken }
}

impl World {
    fn new(case: &Case, folder: PathBuf, printed: bool) -> Self {
        let (seed, plan, base) = (case.seed, Plan::of(case.seed), templates().folder.path());
        let space = SpaceId::from_random(Rng::of(seed, 2).bytes());
        let server = SimServer::new(seed, &base.join("server"), folder.join("server"), &plan);
        let roles: BTreeMap<String, Role> = (0..plan.users).map(|user| (format!("user{user}"), Role::Writer)).collect();
        let phones = (0..plan.phones as usize).map(|at| {
            let user = format!("user{}", at as u64 % plan.users);
            SimPhone::new(
                seed,
                at,
                user,
                &base.join("phone"),
                folder.join(format!("phone{at}")),
                plan.markers,
                plan.live,
            )
        });
        let phones = phones.collect();
        Self {
            case: case.clone(),
            plan,
            space,
            now_ms: 0,
            count: 0,
            events: BTreeMap::new(),
            waiting: BTreeSet::new(),
            in_order: BTreeMap::new(),
            doomed: BTreeSet::new(),
            shown: BTreeMap::new(),
            phones,
            server,
            server_offset_ms: 0,
            roles,
            granted: BTreeMap::new(),
            read_only: Vec::new(),
            owners: BTreeMap::new(),
            model: Model::default(),
            network: Rng::of(seed, 3),
            trace: Trace::new(printed),
            calm: false,
            folder,
        }
    }

    fn run(&mut self) -> Checked {
        self.trace.note(format_args!("seed {} {:?}", self.case, self.plan));
        self.set_roles();
        for at in 0..self.phones.len() {
            self.start_phone(at)?;
        }
        if self.plan.live {
            self.after(lines::HEARTBEAT_MS, Happening::Live(Live::Beat));
        }
        let (mut at_ms, mut rng) = (0, Rng::of(self.case.seed, 4));
        for step in 0..self.plan.steps {
            at_ms += rng.within(1, self.plan.pause_ms);
            self.at(at_ms, Happening::Step(step));
        }
        while let Some(((at_ms, _), happening)) = self.events.pop_first() {
            self.go_to(at_ms);
            let last = matches!(happening, Happening::Step(step) if step + 1 == self.plan.steps);
            self.happen(happening)?;
            if last {
                break;
            }
        }
        self.come_to_rest()
    }

    fn at(&mut self, at_ms: u64, happening: Happening) {
        self.count += 1;
        self.events.insert((at_ms.max(self.now_ms), self.count), happening);
    }

    fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.at(self.now_ms + delay_ms, happening);
    }

    fn go_to(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.trace.now_ms = self.now_ms;
        self.server.set_clock(self.now_ms, self.server_offset_ms);
    }

    fn happen(&mut self, happening: Happening) -> Checked {
        match happening {
            Happening::Step(step) if self.case.skip.contains(&step) => Ok(()),
            Happening::Step(step) => self.step(step),
            Happening::Wake(at, life) => {
                if self.phones[at].life == life && self.phones[at].wake_ms.is_some_and(|wake| wake <= self.now_ms) {
                    self.settle(at)?;
                }
                Ok(())
            }
            Happening::Reach(request) => self.reach(request),
            Happening::Answer { phone, life, ticket, answer } => self.answered(phone, life, ticket, answer),
            Happening::Patience { phone, life, ticket } => self.out_of_patience(phone, life, ticket),
            Happening::Token { phone, life } => self.token_comes(phone, life),
            Happening::PhoneStart(at) => {
                if self.phones[at].is_up() || self.phones[at].gone {
                    Ok(())
                } else {
                    self.start_phone(at)
                }
            }
            Happening::DiskHeals(at) => {
                if !self.phones[at].has_failed() {
                    self.phones[at].set_disk(phones::Disk::Fine);
                }
                self.settle(at)
            }
            Happening::NetworkHeals(at) => self.network_heals(at),
            Happening::ServerStart => self.start_server(),
            Happening::Live(live) => self.live(live),
        }
    }

    fn set_roles(&mut self) {
        for (user, role) in &self.roles {
            if !self.server.set_role(self.space, user, Some(*role)) {
                continue;
            }
            let at = self.server.version(self.space).map_or(0, |(head, _)| head.seq);
            match self.granted.insert(user.clone(), (*role, at)) {
                Some((before, since)) if before == *role => {
                    self.granted.insert(user.clone(), (before, since));
                }
                Some((Role::Reader, since)) => self.read_only.push((user.clone(), since, at)),
                _ => {}
            }
        }
    }

    /// Lets a phone do what there is to do, and takes what it asks.
    fn settle(&mut self, at: usize) -> Checked {
        let asked = self.phones[at].turn(self.now_ms);
        let (life, wake_ms) = (self.phones[at].life, self.phones[at].wake_ms);
        if let Some(wake_ms) = wake_ms {
            self.at(wake_ms, Happening::Wake(at, life));
        }
        for ask in asked {
            self.send(at, ask);
        }
        if self.phones[at].has_failed() {
            self.trace.note(format_args!("phone {at}: the power fails"));
            return self.phone_dies(at);
        }
        self.want_token(at);
        Ok(())
    }
}
