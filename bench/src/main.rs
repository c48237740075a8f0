//! Measures what the engine promises to be fast at, and prints a table. Compare ratios within one run: machines are noisy.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use sync_server::compaction::Workshop;
use sync_server::{Config, Server};

mod admit;
mod calls;
mod cold;
mod compaction;
mod edit;
mod floor;
mod hot;
mod live;
mod long;
mod offline;
mod peers;
mod phone;
mod production;
mod year;

/// Measures Rejoin on this machine and prints a Markdown table: local edits, an offline session, a cold start, the dedupe
/// rule, a keystroke's way through frames and checks, compaction in the background, live connections, Postgres and several nodes (`production`, which
/// starts a Postgres and a Redis of its own), and the floors under them (an fsync, SHA-256).
#[derive(Parser)]
#[command(name = "sync-bench")]
struct Arguments {
    /// Only the measurements whose name contains this.
    filter: Option<String>,
    #[command(subcommand)]
    child: Option<Child>,
}

#[derive(Subcommand)]
enum Child {
    /// The server that is measured, as a process of its own.
    #[command(hide = true)]
    Serve { data: PathBuf, port: u16, config: Option<PathBuf> },
    /// Folds documents for the server that is measured.
    #[command(hide = true)]
    CompactionWorker { memory_bytes: u64 },
    /// Measures ours beside what people would use instead (see bench/run).
    Peers(peers::Arguments),
    /// Works with the client library as it is told on its input, for `peers`.
    #[command(hide = true)]
    Drive {
        /// Without the library, where that can be.
        #[arg(long)]
        wire: bool,
    },
    /// Makes the edits and reads that `python_costs.py` makes, on a new store, and prints what each costs.
    #[command(hide = true)]
    Calls { store: PathBuf },
    /// Opens a store, as a process of its own.
    #[command(hide = true)]
    Open { store: PathBuf },
    /// Opens a document of a store, as a process of its own.
    #[command(hide = true)]
    OpenDoc { store: PathBuf, space: String, doc: String },
}

/// One line of the table.
pub struct Figure {
    what: &'static str,
    measured: String,
    target: &'static str,
    met: Option<bool>,
}

impl Figure {
    /// A figure with a bound to keep.
    pub fn against(what: &'static str, measured: String, target: &'static str, met: bool) -> Self {
        Self { what, measured, target, met: Some(met) }
    }

    /// A figure that explains another.
    pub fn note(what: &'static str, measured: String) -> Self {
        Self { what, measured, target: "", met: None }
    }
}

/// The middle of the measurements, and the 99th of a hundred.
pub fn quantiles(mut measured: Vec<f64>) -> (f64, f64) {
    measured.sort_by(f64::total_cmp);
    let at = |share: f64| measured[((measured.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.99))
}

fn main() {
    let arguments = Arguments::parse();
    match arguments.child {
        Some(Child::Serve { data, port, config }) => return serve(data, port, config.as_deref()),
        Some(Child::CompactionWorker { memory_bytes }) => {
            return sync_server::compaction::work(memory_bytes).expect("a worker");
        }
        Some(Child::Peers(arguments)) => return peers::run(&arguments),
        Some(Child::Drive { wire }) => return peers::drive::drive(wire),
        Some(Child::Calls { store }) => return calls::print(&store),
        Some(Child::Open { store }) => return phone::open(&store),
        Some(Child::OpenDoc { store, space, doc }) => return long::open(&store, &space, &doc),
        None => {}
    }
    let wanted = |name: &str| arguments.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    type Measure = fn() -> Vec<Figure>;
    let measurements: [(&str, Measure); 17] = [
        ("floor", floor::measure),
        ("edit", edit::measure),
        ("offline", offline::measure),
        ("cold", cold::measure),
        ("phone", phone::measure),
        ("long", long::measure),
        ("admit", admit::measure),
        ("hot", hot::measure),
        ("compaction", compaction::measure),
        ("live-latency", live::latency::measure),
        ("live-throughput", live::throughput::measure),
        ("live-idle", live::idle::measure),
        ("live-stalled", live::stalled::measure),
        ("production-writers", production::writers::measure),
        ("production-cold", production::cold::measure),
        ("production-nodes", production::nodes::measure),
        ("year", year::measure),
    ];
    let mut figures = Vec::new();
    for (name, measure) in measurements.into_iter().filter(|(name, _)| wanted(name)) {
        eprintln!("measuring: {name}");
        figures.extend(measure());
    }
    println!("| what | measured | target | met |\n| --- | --- | --- | --- |");
    for Figure { what, measured, target, met } in figures {
        let met = met.map_or("", |met| if met { "yes" } else { "no" });
        println!("| {what} | {measured} | {target} | {met} |");
    }
}

fn serve(data: PathBuf, port: u16, config: Option<&Path>) {
    let config = config.map_or_else(Config::default, |path| Config::read(path).expect("a configuration"));
    let mut config = Config { data, ..config };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async move {
        // All of a crowd's connections come from one address here.
        config.limits.rules.clear();
        let arguments = vec!["compaction-worker".to_owned(), config.compaction.worker_memory_bytes.to_string()];
        let workshop = Workshop::Program { program: std::env::current_exe().expect("this program"), arguments };
        let server = Server::builder().workshop(workshop).config(config).build().await.expect("a server");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = tokio::net::TcpListener::bind(address).await.expect("the port");
        println!("{}", listener.local_addr().expect("an address"));
        std::io::stdout().flush().expect("somebody reads");
        let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals");
        server.serve(listener, async move { _ = stop.recv().await }).await;
    });
}
