//! Twelve months of a busy notebook: what the server and its phones keep, over time, as content and history grow.
//!
//! Five devices of one person write 500,000 times into 200 documents. In the first half of the year the text grows; in the
//! second as much is deleted as is typed, so that whatever goes on growing then grows with history. A third of the sessions is
//! live, where each keystroke is a change of its own, the others are offline until they sync at their end. Server and phones
//! are the real ones; only the server's clock goes faster, and compaction goes round once a day of it.
//!
//! It is lived through twice, the second time with a new epoch of every document each quarter.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sync_client_ffi::{Client, SpaceId};
use sync_server::auth::keys::Keys;
use sync_server::auth::token::Tokens;
use sync_server::compaction::Workshop;
use sync_server::{Caller, Clock, Config, Server};
use sync_tests::rig::{Seeded, device};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::Figure;

mod notebook;
mod plot;
mod sizes;

use notebook::Notebook;
use sizes::Month;

const EDITS: u64 = 500_000;
const DEVICES: u8 = 5;
const DAYS: u64 = 360;
const MONTH_DAYS: u64 = 30;
const SESSIONS_A_DAY: u64 = 15;
const DAY_MS: u64 = 86_400_000;
const PATIENCE: Duration = Duration::from_mins(2);
/// After so many days the owner begins all documents anew, where that is done.
const QUARTER_DAYS: u64 = 90;
/// A device that has not read for so long holds up nothing: the fresh ones read once a month.
const ACTIVE_DAYS: u32 = 20;
/// Where the plot goes, from the repository's root.
const PLOT: &str = "docs/images/year.svg";

/// A server whose clock is moved by hand.
struct Machine {
    runtime: Runtime,
    server: Arc<Server>,
    stop: Option<oneshot::Sender<()>>,
    url: String,
    tokens: Tokens,
    passed_ms: Arc<AtomicU64>,
}

impl Machine {
    fn start(data: &Path) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let config = Config { data: data.to_owned(), ..Config::default() };
        let (began, passed_ms) = (wall_ms(), Arc::new(AtomicU64::new(0)));
        let passed = Arc::clone(&passed_ms);
        let clock = Clock::new(move || began + passed.load(Ordering::Relaxed));
        let arguments = vec!["compaction-worker".to_owned(), config.compaction.worker_memory_bytes.to_string()];
        let workshop = Workshop::Program { program: std::env::current_exe().expect("this program"), arguments };
        let server = runtime.block_on(async {
            let mut config = config.clone();
            // The days are called out below.
            config.compaction.every_ms = 3_600_000;
            config.compaction.pause_ms = 0;
            config.compaction.active_days = ACTIVE_DAYS;
            config.limits.rules.clear();
            Server::builder().clock(clock.clone()).workshop(workshop).config(config).build().await.expect("a server")
        });
        let server = Arc::new(server);
        let keys = Keys::open(data).expect("the server's keys");
        let tokens = Tokens::new(keys.signing, &config.token).with_clock(clock);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Arc::clone(&server);
        runtime.spawn(async move { serving.serve(listener, async { stopped.await.unwrap_or(()) }).await });
        Self { runtime, server, stop: Some(stop), url, tokens, passed_ms }
    }

    fn token(&self, number: u8) -> String {
        let caller = Caller { user: "ann".to_owned(), device: device(number) };
        self.tokens.issue(&caller, Duration::from_hours(24)).expect("a token")
    }

    fn a_day_passes(&self) {
        self.passed_ms.fetch_add(DAY_MS, Ordering::Relaxed);
    }

    fn compact(&self) {
        self.runtime.block_on(self.server.compact()).expect("a round");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

pub fn measure() -> Vec<Figure> {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let [plain, anew] = std::thread::scope(|scope| {
        let lives = [false, true].map(|epochs| {
            let folder = folders[usize::from(epochs)].path();
            scope.spawn(move || live_through(folder, epochs))
        });
        lives.map(|life| life.join().expect("a year"))
    });
    println!("{}\nWith a new epoch of every document each quarter:\n\n{}", sizes::table(&plain), sizes::table(&anew));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    plot::draw(&root.join(PLOT), &plain, &anew).expect("a plot");
    eprintln!("drawn: {PLOT}");
    let mut figures = Vec::new();
    for (months, what) in [(&plain, "a year of a notebook"), (&anew, "the same with epochs")] {
        figures.extend(figures_of(months, what));
    }
    figures
}

fn figures_of(months: &[Month], what: &'static str) -> [Figure; 3] {
    let (half, last) = (&months[months.len() / 2 - 1], &months[months.len() - 1]);
    let times = |of: fn(&Month) -> u64| format!("{:.2}", of(last) as f64 / of(half) as f64);
    [
        Figure::note(what, format!("{:.2} MB of text, {} changes in the log", mb(last.text_bytes), last.changes)),
        Figure::note(
            "the server's file at the end, of that headers, payloads, snapshots; a phone; a fresh one",
            format!(
                "{:.1} MB: {:.1}, {:.1}, {:.1}; {:.1}; {:.1} MB",
                mb(last.server_bytes),
                mb(last.header_bytes),
                mb(last.payload_bytes),
                mb(last.snapshot_bytes),
                mb(last.phone_bytes),
                mb(last.fresh_bytes)
            ),
        ),
        Figure::note(
            "second half, in which the text does not grow: times of the server, a phone, a fresh one",
            format!(
                "{}, {}, {}",
                times(|month| month.server_bytes),
                times(|month| month.phone_bytes),
                times(|month| month.fresh_bytes)
            ),
        ),
    ]
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn live_through(folder: &Path, epochs: bool) -> Vec<Month> {
    let machine = Machine::start(&folder.join("server"));
    let space = SpaceId::personal("ann");
    let mut random = Seeded::new("year");
    let store = |number: u8| folder.join(format!("phone-{number}"));
    let open = |number: u8| {
        let client = Client::builder(store(number)).server(&machine.url).token(machine.token(number)).live(false);
        client.open().expect("a phone")
    };
    let phones: Vec<Client> = (1..=DEVICES).map(open).collect();
    let mut notebook = Notebook::new(space);
    let mut months = vec![];
    let began = Instant::now();
    for day in 1..=DAYS {
        machine.a_day_passes();
        for (phone, number) in phones.iter().zip(1..) {
            phone.set_token(machine.token(number));
        }
        for session in 0..SESSIONS_A_DAY {
            let edits = EDITS * ((day - 1) * SESSIONS_A_DAY + session + 1) / (DAYS * SESSIONS_A_DAY) - notebook.edits;
            let phone = &phones[random.below(u64::from(DEVICES)) as usize];
            // What others wrote is there when somebody begins, but for those who begin without a network.
            if random.below(4) > 0 {
                phone.sync_once(PATIENCE).expect("an exchange");
            }
            let live = random.below(3) == 0;
            notebook.session(phone, edits, live, day * 2 <= DAYS, &mut random);
            phone.sync_once(PATIENCE).expect("an exchange");
        }
        // Each has read once a day.
        for phone in &phones {
            phone.sync_once(PATIENCE).expect("an exchange");
        }
        if epochs && day % QUARTER_DAYS == 0 {
            begin_anew(&notebook, &phones);
        }
        machine.compact();
        if day % MONTH_DAYS == 0 {
            let number = 100 + (day / MONTH_DAYS) as u8;
            let fresh = open(number);
            let received = fresh.traffic().bytes_received;
            fresh.sync_once(PATIENCE).expect("a cold start");
            let received = fresh.traffic().bytes_received - received;
            drop(fresh);
            let month = Month {
                edits: notebook.edits,
                text_bytes: notebook.text_bytes(&phones[0]),
                received_bytes: received,
                fresh_bytes: sizes::store_bytes(&store(number)),
                phone_bytes: sizes::store_bytes(&store(1)),
                ..sizes::server(&folder.join("server"))
            };
            eprintln!("epochs {epochs}, month {} after {:.0?}: {month:?}", day / MONTH_DAYS, began.elapsed());
            months.push(month);
        }
    }
    let versions: Vec<_> = phones.iter().map(|phone| notebook.texts(phone)).collect();
    assert!(versions.windows(2).all(|pair| pair[0] == pair[1]), "all phones hold the same notebook");
    months
}

/// The owner begins every document anew, and all phones take that in.
fn begin_anew(notebook: &Notebook, phones: &[Client]) {
    let sync = || {
        for phone in phones {
            phone.sync_once(PATIENCE).expect("an exchange");
        }
    };
    // With its second request a phone says that it has what the first one brought.
    sync();
    sync();
    let begun = notebook.begin_anew(&phones[0]);
    sync();
    sync();
    let there = notebook.epochs(&phones[phones.len() - 1]);
    eprintln!("{begun} documents were begun anew, the last phone knows of {there} epochs");
}
