//! Ours beside what people would use instead: the same workloads, with each engine's own server and client as processes, one
//! after the other in one run.

pub mod drive;
mod machine;
mod paper;
mod plot;
mod process;
mod report;
mod system;
mod workload;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use sync_server::Config;

use machine::Machine;
use report::Report;
use system::System;
use workload::{Run, Size, WORKLOADS, Workload};

/// What is measured, and where the figures go.
#[derive(Args)]
pub struct Arguments {
    /// The folder with the others, installed by `bench/peers/setup`; without it, only ours is measured.
    #[arg(long)]
    peers: Option<PathBuf>,
    /// Another `sync-bench`, of another revision, measured beside this one.
    #[arg(long)]
    against: Option<PathBuf>,
    /// Only these workloads, separated by commas: W1, W2, W3, W4, W6, W5, W3t
    /// (which is W7 as well).
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Only these engines, separated by commas.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// How often each workload runs on each engine.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Small sizes, to see that everything works: no figures.
    #[arg(long)]
    quick: bool,
    /// A gzipped editing trace that stands for the long paper; without it, a text is typed with corrections and insertions.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Ours on this Postgres as well, which is emptied by nobody: give a new database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Where the figures go, as JSON.
    #[arg(long, default_value = "bench/results/latest.json")]
    json: PathBuf,
    /// The page whose tables and plots are replaced.
    #[arg(long)]
    page: Option<PathBuf>,
    /// Keep what the JSON has of workloads that are not measured now.
    #[arg(long)]
    keep: bool,
    /// Write the page from the JSON that is there; measure nothing.
    #[arg(long)]
    page_only: bool,
}

pub fn run(arguments: &Arguments) {
    if arguments.page_only {
        let told = std::fs::read(&arguments.json).expect("figures of a run before");
        let report: Value = serde_json::from_slice(&told).expect("figures in JSON");
        return report::write_page(&report, arguments.page.as_deref().expect("a page"));
    }
    crate::live::descriptors::at_least(16_384);
    let work = tempfile::tempdir().expect("a folder");
    let systems = systems(arguments, work.path());
    let size = if arguments.quick { Size::quick() } else { Size::full() };
    let paper = work.path().join("paper.json");
    paper::write(&paper, arguments.trace.as_deref(), size.long_keystrokes);
    let earlier = std::fs::read(&arguments.json).ok().filter(|_| arguments.keep);
    let earlier = earlier.and_then(|told| serde_json::from_slice(&told).ok()).unwrap_or_default();
    let mut report = Report::new(Machine::now(), &systems, &size, earlier);
    let wanted = |name: &str| arguments.workloads.is_empty() || arguments.workloads.iter().any(|one| one == name);
    for Workload { name, measure, repeats_max } in WORKLOADS.into_iter().filter(|workload| wanted(workload.name)) {
        for repeat in 0..arguments.repeats.min(repeats_max) {
            // One after the other within each repeat: what the machine does meanwhile meets all of them.
            for system in systems.iter().filter(|system| system.runs(name)) {
                let folder = tempfile::tempdir_in(work.path()).expect("a folder");
                let load = machine::load();
                let began = std::time::Instant::now();
                let run = Run { system, size: &size, folder: folder.path(), paper: &paper };
                let outcome = measure(&run);
                let took = began.elapsed().as_secs_f64();
                match &outcome {
                    Ok(outcome) => eprintln!("{name} {} #{repeat} ({took:.0} s): {:.2?}", system.name, outcome.values),
                    Err(error) => eprintln!("{name} {} #{repeat} ({took:.0} s) FAILED: {error}", system.name),
                }
                report.add(name, &system.name, repeat, load, &outcome);
                // What was measured is not lost with what follows.
                report.save(&arguments.json);
            }
        }
    }
    let report = report.finish();
    report::save(&report, &arguments.json);
    println!("{}", report::tables(&report));
    if let Some(page) = &arguments.page {
        report::write_page(&report, page);
    }
    let failed = report["failures"].as_array().map_or(0, Vec::len);
    assert_eq!(failed, 0, "every workload runs on every engine");
}

fn systems(arguments: &Arguments, work: &Path) -> Vec<System> {
    let program = std::env::current_exe().expect("this program");
    let mut systems =
        vec![system::ours("rejoin", &program, false, None), system::ours("rejoin-wire", &program, true, None)];
    if let Some(url) = &arguments.database_url {
        let config = work.join("postgres.toml");
        write_config(&config, url);
        systems.push(system::ours("rejoin-postgres", &program, false, Some(&config)));
    }
    if let Some(other) = &arguments.against {
        systems.push(system::ours("against", other, false, None));
        systems.push(system::ours("against-wire", other, true, None));
    }
    if let Some(peers) = &arguments.peers {
        systems.extend(system::peers(&std::path::absolute(peers).expect("a folder")));
    }
    systems.retain(|system| arguments.engines.is_empty() || arguments.engines.contains(&system.name));
    let missing = system::missing(&systems);
    assert!(missing.is_empty(), "run bench/peers/setup first: there is no {missing:?}");
    systems
}

fn write_config(path: &Path, url: &str) {
    let database =
        sync_server::config::Database { url: Some(url.to_owned().into()), prepare: true, ..Default::default() };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(sync_server::store::postgres::migrate(&database)).expect("the schema");
    let text = toml::to_string(&Config { database, ..Config::default() }).expect("a configuration is TOML");
    std::fs::write(path, text).expect("a file is written");
}

/// The middle, the lowest and the highest.
fn spread(mut measured: Vec<f64>) -> Value {
    measured.sort_by(f64::total_cmp);
    let Some((&lowest, &highest)) = measured.first().zip(measured.last()) else { return Value::Null };
    json!({ "median": measured[(measured.len() - 1) / 2], "min": lowest, "max": highest })
}
