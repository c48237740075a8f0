//! Twelve months of a busy notebook: what the server and its phones keep, over time, as content and history grow.
//!
//! Five devices of one person write 500,000 times into 200 documents. In the first half of the year the text grows; in the
//! second as much is deleted as is typed, so that whatever goes on growing then grows with history. A third of the sessions is
//! live, where each keystroke is a change of its own, the others are offline until they sync at their end. Server and phones
//! are the real ones; only the server's clock goes faster, and compaction goes round once a day of it.

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
    let folder = tempfile::tempdir().expect("a folder");
    let months = live_through(folder.path());
    println!("{}", sizes::table(&months));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    plot::draw(&root.join(PLOT), &months).expect("a plot");
    eprintln!("drawn: {PLOT}");
    let (half, last) = (&months[months.len() / 2], &months[months.len() - 1]);
    let times = |of: fn(&Month) -> u64| of(last) as f64 / of(half) as f64;
    let growth = |server: fn(&Month) -> u64| format!("{:.2}", times(server));
    vec![
        Figure::note(
            "a year of a notebook: 500,000 edits, 200 documents, 5 devices: its text, and changes in the log",
            format!("{:.2} MB, {}", mb(last.text_bytes), last.changes),
        ),
        Figure::note(
            "the server's file at the end, and of that headers, payloads, snapshots",
            format!(
                "{:.1} MB: {:.1}, {:.1}, {:.1}",
                mb(last.server_bytes),
                mb(last.header_bytes),
                mb(last.payload_bytes),
                mb(last.snapshot_bytes)
            ),
        ),
        Figure::note("a phone that was there all the time", format!("{:.1} MB", mb(last.phone_bytes))),
        Figure::note("a fresh phone", format!("{:.1} MB", mb(last.fresh_bytes))),
        Figure::note(
            "second half of the year, in which the text does not grow: times of the server, a phone, a fresh one",
            format!(
                "{}, {}, {}",
                growth(|month| month.server_bytes),
                growth(|month| month.phone_bytes),
                growth(|month| month.fresh_bytes)
            ),
        ),
    ]
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn live_through(folder: &Path) -> Vec<Month> {
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
            eprintln!("month {} after {:.0?}: {month:?}", day / MONTH_DAYS, began.elapsed());
            months.push(month);
        }
    }
    let versions: Vec<_> = phones.iter().map(|phone| notebook.texts(phone)).collect();
    assert!(versions.windows(2).all(|pair| pair[0] == pair[1]), "all phones hold the same notebook");
    months
}
