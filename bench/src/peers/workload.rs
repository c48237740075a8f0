//! The workloads: what a driver is told, what is read from the server meanwhile, and what comes out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::{Driver, Host};
use super::system::System;
use crate::quantiles;

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Size {
    pub edits: usize,
    pub pairs: usize,
    pub warm_up_s: f64,
    pub seconds: f64,
    pub keystrokes: usize,
    pub documents: usize,
    pub connections: Vec<usize>,
    pub kills: usize,
    pub long_keystrokes: usize,
    pub long_edits: usize,
}

impl Size {
    pub fn full() -> Self {
        Self {
            edits: 1_000,
            pairs: 50,
            warm_up_s: 2.0,
            seconds: 8.0,
            keystrokes: 10_000,
            documents: 2_000,
            connections: vec![500, 1_000, 2_000],
            kills: 20,
            long_keystrokes: 259_778,
            long_edits: 500,
        }
    }

    /// Shows that everything works; its figures say little.
    pub fn quick() -> Self {
        Self {
            edits: 100,
            pairs: 5,
            warm_up_s: 0.3,
            seconds: 1.0,
            keystrokes: 1_000,
            documents: 50,
            connections: vec![20, 40],
            kills: 2,
            long_keystrokes: 2_000,
            long_edits: 50,
        }
    }
}

/// What one run of one workload on one engine came to.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    pub values: BTreeMap<&'static str, f64>,
    /// In milliseconds, where the workload has them.
    pub latencies: Vec<f64>,
}

/// What a run stands on.
pub struct Run<'a> {
    pub system: &'a System,
    pub size: &'a Size,
    /// Empty, and thrown away afterwards.
    pub folder: &'a Path,
    /// Keystrokes as `[at, delete, insert]`: a long paper's.
    pub paper: &'a Path,
}

/// A workload, how it is run, and how often at most.
pub struct Workload {
    pub name: &'static str,
    pub measure: fn(&Run) -> Result<Outcome, String>,
    pub repeats_max: usize,
}

/// In the order in which they run.
pub const WORKLOADS: [Workload; 7] = [
    Workload { name: "W1", measure: propagation, repeats_max: usize::MAX },
    Workload { name: "W2", measure: fan_out, repeats_max: usize::MAX },
    Workload { name: "W3", measure: offline, repeats_max: usize::MAX },
    Workload { name: "W4", measure: cold, repeats_max: usize::MAX },
    // Twenty kills are repeats enough, and what a connection takes hardly varies.
    Workload { name: "W6", measure: kills, repeats_max: 1 },
    Workload { name: "W5", measure: idle, repeats_max: 1 },
    Workload { name: "W3t", measure: paper, repeats_max: 1 },
];

const PROSE: &str = include_str!("../../../LICENSE-APACHE");
const DOCUMENT_CHARACTERS: usize = 1_024;
const DOCUMENT_CHANGES: usize = 20;
/// Documents that are written to while the server is killed.
const KILLED_DOCUMENTS: usize = 20;
const KILLED_INTERVAL_MS: u64 = 10;
/// A data folder is looked at so often, and has settled when it has not changed for as long as its engine takes to store.
const SETTLING_LOOK: Duration = Duration::from_millis(250);
const SETTLING_MAX: Duration = Duration::from_mins(2);

impl Run<'_> {
    fn host(&self) -> Host {
        Host::start(&self.system.server, &self.folder.join("server"), 0)
    }

    fn driver(&self) -> Driver {
        Driver::start(&self.system.driver)
    }

    /// A step's order, with what every step has: where the server is, and where what is not the server's may be kept.
    fn step(&self, host: &Host, step: &str, mut more: Value) -> Value {
        more["step"] = step.into();
        more["server"] = host.address().to_string().into();
        more["data"] = host.data().to_string_lossy().into();
        more["folder"] = self.folder.to_string_lossy().into();
        more
    }

    /// Waits until everything is stored, as far as the folder shows it.
    fn settle(&self, host: &Host) {
        let until = Instant::now() + SETTLING_MAX;
        let mut last = (stored_bytes(host.data()), Instant::now());
        while Instant::now() < until && last.1.elapsed() < self.system.settles {
            std::thread::sleep(SETTLING_LOOK);
            let now = stored_bytes(host.data());
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
    }
}

/// W1: one writer, one reader, 100 edits a second; from the call of the edit to where the other client can read it.
fn propagation(run: &Run) -> Result<Outcome, String> {
    let host = run.host();
    let warm_up = run.size.edits / 10;
    let order = json!({"name": "w1", "edits": run.size.edits, "interval_ms": 10, "warm_up": warm_up});
    let told = run.driver().run(&run.step(&host, "propagate", order), |_| {})?;
    let latencies = numbers(&told["latencies_ms"]);
    let mut outcome = Outcome { latencies, ..Outcome::default() };
    let (median, p99) = quantiles(outcome.latencies.clone());
    outcome.values.extend([("p50_ms", median), ("p99_ms", p99), ("peak_mib", host.peak_memory_kib() / 1024.0)]);
    Ok(outcome)
}

/// W2: many documents, each with a writer, a reader, and one change in flight.
fn fan_out(run: &Run) -> Result<Outcome, String> {
    let host = run.host();
    let Size { pairs, warm_up_s, seconds, .. } = *run.size;
    let order = json!({"name": "w2", "pairs": pairs, "warm_up_s": warm_up_s, "seconds": seconds});
    let mut cpu = Vec::new();
    let told = run.driver().run(&run.step(&host, "fan_out", order), |_| cpu.push(host.cpu_seconds()))?;
    let [from, to] = cpu[..] else { return Err("it marks its beginning and its end".into()) };
    let delivered = number(&told, "delivered")?;
    let latencies = numbers(&told["latencies_ms"]);
    let (median, p99) = quantiles(latencies.clone());
    let values = BTreeMap::from([
        ("changes_s", delivered / number(&told, "seconds")?),
        ("cpu_s_per_10000", (to - from) / delivered * 1e4),
        ("peak_mib", host.peak_memory_kib() / 1024.0),
        ("p50_ms", median),
        ("p99_ms", p99),
    ]);
    Ok(Outcome { values, latencies })
}

/// W3: keystrokes made without a network, sent, and taken by a fresh client.
fn offline(run: &Run) -> Result<Outcome, String> {
    let strokes: Vec<_> = PROSE
        .chars()
        .cycle()
        .take(run.size.keystrokes)
        .enumerate()
        .map(|(at, c)| json!([at, 0, c.to_string()]))
        .collect();
    let file = run.folder.join("strokes.json");
    std::fs::write(&file, Value::from(strokes).to_string()).map_err(|error| error.to_string())?;
    let host = run.host();
    type_offline(run, &host, &file).map(|(outcome, _)| outcome)
}

/// W3t and W7: the same with a whole paper; then what it takes at rest on the server, and what edits of it cost.
fn paper(run: &Run) -> Result<Outcome, String> {
    let host = run.host();
    let (mut outcome, told) = type_offline(run, &host, run.paper)?;
    run.settle(&host);
    let stored = stored_bytes(host.data());
    let order = json!({"id": told["id"], "edits": run.size.long_edits});
    let edited = run.driver().run(&run.step(&host, "long", order), |_| {})?;
    let (edit, edit_p99) = quantiles(numbers(&edited["edits_us"]));
    let (stall, stall_worst) = worst(numbers(&edited["stalls_ms"]));
    outcome.values.extend([
        ("stored_kb", stored as f64 / 1e3),
        ("open_ms", number(&edited, "open_ms")?),
        ("long_edit_us", edit),
        ("long_edit_p99_us", edit_p99),
        ("stall_ms", stall),
        ("stall_worst_ms", stall_worst),
    ]);
    Ok(outcome)
}

fn type_offline(run: &Run, host: &Host, strokes: &Path) -> Result<(Outcome, Value), String> {
    let order = json!({"name": "typed", "strokes_file": strokes.to_string_lossy()});
    let mut cpu = Vec::new();
    let told = run.driver().run(&run.step(host, "offline", order), |_| cpu.push(host.cpu_seconds()))?;
    let [from, _, to] = cpu[..] else { return Err("it marks three places".into()) };
    let (up, fresh) = (number(&told, "up_ms")?, number(&told, "fresh_ms")?);
    let values = BTreeMap::from([
        ("up_ms", up),
        ("fresh_ms", fresh),
        ("both_ms", up + fresh),
        ("edit_us", number(&told, "edit_us")?),
        ("kb_up", number(&told, "bytes_up")? / 1e3),
        ("kb_down", number(&told, "bytes_down")? / 1e3),
        ("kb", number(&told, "bytes")? / 1e3),
        ("server_cpu_s", to - from),
        ("peak_mib", host.peak_memory_kib() / 1024.0),
    ]);
    Ok((Outcome { values, ..Outcome::default() }, told))
}

/// W4: many documents of 1 KiB, written in 20 changes each, to a fresh client from a server that has just started.
fn cold(run: &Run) -> Result<Outcome, String> {
    let file = run.folder.join("texts.json");
    std::fs::write(&file, texts(run.size.documents).to_string()).map_err(|error| error.to_string())?;
    let mut host = run.host();
    let order = json!({"name": "w4", "documents": run.size.documents, "texts_file": file.to_string_lossy()});
    let filled = run.driver().run(&run.step(&host, "fill", order), |_| {})?;
    run.settle(&host);
    host.stop();
    let stored = stored_bytes(host.data());
    let host = host.again();
    let order = json!({"ids": filled["ids"], "length": DOCUMENT_CHARACTERS, "documents": run.size.documents});
    let mut cpu = Vec::new();
    let told = run.driver().run(&run.step(&host, "cold", order), |_| cpu.push(host.cpu_seconds()))?;
    let [from, to] = cpu[..] else { return Err("it marks its beginning and its end".into()) };
    let mut values = BTreeMap::from([
        ("cold_s", number(&told, "cold_s")?),
        ("mb_down", number(&told, "bytes_down")? / 1e6),
        ("server_cpu_s", to - from),
        ("peak_mib", host.peak_memory_kib() / 1024.0),
        ("fill_s", number(&filled, "fill_s")?),
        ("stored_mb", stored as f64 / 1e6),
    ]);
    // A client that keeps documents on disk can have them all before it has opened any.
    if let Ok(held) = number(&told, "held_s") {
        values.insert("held_s", held);
    }
    Ok(Outcome { values, ..Outcome::default() })
}

/// W5: clients with a document each that say nothing.
fn idle(run: &Run) -> Result<Outcome, String> {
    let host = run.host();
    let most = run.system.connections_max;
    // Where an engine cannot have as many, the same shares of what it can.
    let whole = run.size.connections.iter().copied().max().unwrap_or(0).max(1);
    let steps: Vec<usize> = run.size.connections.iter().map(|step| step * most.min(whole) / whole).collect();
    let order = json!({"name": "w5", "steps": steps});
    let mut seen = Vec::new();
    run.driver().run(&run.step(&host, "idle", order), |mark| {
        seen.push((mark.parse::<f64>().unwrap_or(0.0), host.memory_kib(), host.cpu_seconds()));
    })?;
    let (Some(first), Some(last)) = (seen.first(), seen.last()) else { return Err("it marks its steps".into()) };
    let (half, end) = (seen[seen.len() / 2], *last);
    let mut values = BTreeMap::from([
        ("connections", end.0),
        ("kib_each", (end.1 - first.1) / end.0),
        ("connect_cpu_ms", (end.2 - first.2) / end.0 * 1e3),
    ]);
    if end.0 > half.0 {
        values.insert("kib_each_of_last_half", (end.1 - half.1) / (end.0 - half.0));
        values.insert("connect_cpu_ms_of_last_half", (end.2 - half.2) / (end.0 - half.0) * 1e3);
    }
    Ok(Outcome { values, ..Outcome::default() })
}

/// W6: the server is killed under load, again and again; what it had acknowledged and has not afterwards.
fn kills(run: &Run) -> Result<Outcome, String> {
    let (mut acknowledged, mut lost, mut kills_with_losses) = (0.0, 0.0, 0.0);
    let mut host = run.host();
    for round in 0..run.size.kills {
        let order = json!({
            "name": format!("w6-{round}"), "documents": KILLED_DOCUMENTS, "interval_ms": KILLED_INTERVAL_MS,
        });
        // Not always at the same moment of whatever it does by the clock.
        let load = Duration::from_millis(700 + 97 * (round as u64 % 13));
        let mut driver = run.driver();
        let step = run.step(&host, "load", order);
        let told = driver.run(&step, |mark| match mark {
            "loading" => std::thread::sleep(load),
            _ => host.kill(),
        })?;
        // A client that has it all would fill the server again.
        drop(driver);
        host = host.again();
        let (ids, counts) = acknowledged_of(&told)?;
        let order = json!({"name": format!("w6-{round}"), "ids": ids});
        let read = run.driver().run(&run.step(&host, "lengths", order), |_| {})?;
        let lengths = numbers(&read["lengths"]);
        if lengths.len() != counts.len() {
            return Err("it tells the length of each document".into());
        }
        let gone: f64 = counts.iter().zip(&lengths).map(|(count, length)| (count - length).max(0.0)).sum();
        acknowledged += counts.iter().sum::<f64>();
        lost += gone;
        kills_with_losses += f64::from(u8::from(gone > 0.0));
    }
    let values = BTreeMap::from([
        ("kills", run.size.kills as f64),
        ("acknowledged", acknowledged),
        ("lost", lost),
        ("kills_with_losses", kills_with_losses),
    ]);
    Ok(Outcome { values, ..Outcome::default() })
}

fn acknowledged_of(told: &Value) -> Result<(Vec<Value>, Vec<f64>), String> {
    let all = told["acknowledged"].as_array().ok_or("it tells what was acknowledged")?;
    let counts: Vec<f64> = all.iter().filter_map(|one| one["count"].as_f64()).collect();
    Ok((all.iter().map(|one| one["id"].clone()).collect(), counts))
}

/// The middle and the highest.
fn worst(measured: Vec<f64>) -> (f64, f64) {
    let highest = measured.iter().copied().fold(0.0, f64::max);
    (quantiles(measured).0, highest)
}

/// Texts of one length, each in as many parts.
fn texts(documents: usize) -> Value {
    let prose: Vec<char> = PROSE.chars().collect();
    let part = |document: usize, change: usize| -> String {
        let length =
            DOCUMENT_CHARACTERS * (change + 1) / DOCUMENT_CHANGES - DOCUMENT_CHARACTERS * change / DOCUMENT_CHANGES;
        // Steps that have no divisor in common with the text's length take other passages for each document.
        let from = (document * 7_919 + change * 104_729) % (prose.len() - 64);
        prose[from..from + length].iter().collect()
    };
    let text = |document| (0..DOCUMENT_CHANGES).map(|change| part(document, change)).collect::<Vec<_>>();
    (0..documents).map(text).collect::<Vec<_>>().into()
}

/// All files below a folder.
fn stored_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => stored_bytes(&entry.path()),
        // It may be gone by now.
        _ => entry.metadata().map_or(0, |metadata| metadata.len()),
    };
    entries.flatten().map(size).sum()
}

fn number(told: &Value, key: &str) -> Result<f64, String> {
    told[key].as_f64().ok_or_else(|| format!("the driver does not tell {key}"))
}

fn numbers(told: &Value) -> Vec<f64> {
    told.as_array().map(|all| all.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
}
