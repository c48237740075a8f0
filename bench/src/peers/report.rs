//! Figures as JSON, as tables, and as a page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::machine::{Machine, load};
use super::system::System;
use super::workload::{Outcome, Size};
use super::{plot, spread};

/// Of all latencies of a run so many are kept, evenly spread over their ranks.
const RANKS: usize = 200;
/// Between these the page is replaced.
const BEGIN: &str = "<!-- figures: written by bench/run -->";
const END: &str = "<!-- end of figures -->";

pub struct Report {
    machine: Value,
    engines: Vec<Value>,
    size: Value,
    samples: Vec<Value>,
    failures: Vec<Value>,
    values: BTreeMap<(String, String), BTreeMap<&'static str, Vec<f64>>>,
    latencies: BTreeMap<(String, String), Vec<f64>>,
    /// Of an earlier run: what of it is not measured again stays.
    earlier: Value,
}

impl Report {
    pub fn new(machine: Machine, systems: &[System], size: &Size, earlier: Value) -> Self {
        let engines = systems.iter().map(|system| {
            json!({
                "name": system.name, "version": system.version, "ours": system.ours,
                "acknowledgement": system.acknowledgement, "disk": system.disk,
            })
        });
        Self {
            machine: machine.into_json(),
            engines: engines.collect(),
            size: Value::String(format!("{size:?}")),
            samples: Vec::new(),
            failures: Vec::new(),
            values: BTreeMap::new(),
            latencies: BTreeMap::new(),
            earlier,
        }
    }

    pub fn add(&mut self, workload: &str, engine: &str, repeat: usize, load: f64, outcome: &Result<Outcome, String>) {
        let at = json!({ "workload": workload, "engine": engine, "repeat": repeat, "load": load });
        let key = (workload.to_owned(), engine.to_owned());
        match outcome {
            Ok(outcome) => {
                let mut sample = at;
                sample["values"] = json!(outcome.values);
                self.samples.push(sample);
                for (name, value) in &outcome.values {
                    self.values.entry(key.clone()).or_default().entry(name).or_default().push(*value);
                }
                self.latencies.entry(key).or_default().extend(&outcome.latencies);
            }
            Err(error) => {
                let mut failure = at;
                failure["error"] = error.as_str().into();
                self.failures.push(failure);
            }
        }
    }

    /// What is known by now.
    pub fn finish(&self) -> Value {
        let kept = |part: &str| self.earlier[part].as_object().cloned().unwrap_or_default();
        let (mut summary, mut latencies, mut runs) = (kept("summary"), kept("latencies"), kept("runs"));
        let mut machine = self.machine.clone();
        machine["load_after"] = load().into();
        let measured = |list: &Vec<Value>, workload: &str| list.iter().any(|sample| sample["workload"] == workload);
        for (workload, _) in self.values.keys() {
            let loads = self.samples.iter().filter(|sample| sample["workload"] == workload.as_str());
            let loads = loads.filter_map(|sample| sample["load"].as_f64()).collect();
            summary.insert(workload.clone(), json!({}));
            latencies.remove(workload);
            runs.insert(workload.clone(), json!({ "machine": machine, "load": spread(loads) }));
        }
        for ((workload, engine), values) in &self.values {
            let spreads: BTreeMap<_, _> = values.iter().map(|(name, all)| (name, spread(all.clone()))).collect();
            summary.entry(workload).or_insert_with(|| json!({}))[engine] = json!(spreads);
        }
        for ((workload, engine), all) in &self.latencies {
            if !all.is_empty() {
                latencies.entry(workload).or_insert_with(|| json!({}))[engine] = ranks(all.clone());
            }
        }
        let mut samples = self.samples.clone();
        let mut failures = self.failures.clone();
        for (list, part) in [(&mut samples, "samples"), (&mut failures, "failures")] {
            let old = self.earlier[part].as_array().cloned().unwrap_or_default();
            let again = |one: &Value| {
                let workload = one["workload"].as_str().unwrap_or_default();
                measured(&self.samples, workload) || measured(&self.failures, workload)
            };
            list.extend(old.into_iter().filter(|one| !again(one)));
        }
        json!({
            "machine": machine, "engines": self.engines, "size": self.size, "summary": summary, "latencies": latencies,
            "samples": samples, "failures": failures, "runs": runs,
        })
    }

    pub fn save(&self, path: &Path) {
        save(&self.finish(), path);
    }
}

pub fn save(report: &Value, path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("a folder for figures");
    std::fs::write(path, serde_json::to_string_pretty(report).expect("JSON")).expect("the figures are written");
}

/// Milliseconds at evenly spaced ranks.
fn ranks(mut all: Vec<f64>) -> Value {
    all.sort_by(f64::total_cmp);
    let at = |rank: usize| all[(all.len() - 1) * rank / RANKS];
    (0..=RANKS).map(at).collect::<Vec<_>>().into()
}

/// A column of a table: what it is called, which value it shows, and with how many digits after the point.
type Column = (&'static str, &'static str, usize);

struct Table {
    workload: &'static str,
    title: &'static str,
    columns: &'static [Column],
}

const TABLES: [Table; 8] = [
    Table {
        workload: "W1",
        title: "W1, propagation: one writer, one reader, 100 edits a second, from the call of an edit to readable on the other side",
        columns: &[("p50 ms", "p50_ms", 2), ("p99 ms", "p99_ms", 1), ("server's peak MiB", "peak_mib", 0)],
    },
    Table {
        workload: "W2",
        title: "W2, fan-out: 50 documents, each with a writer, a reader, and one change in flight",
        columns: &[
            ("changes/s", "changes_s", 0),
            ("server CPU s for 10,000", "cpu_s_per_10000", 2),
            ("server's peak MiB", "peak_mib", 0),
            ("p50 ms", "p50_ms", 1),
            ("p99 ms", "p99_ms", 1),
        ],
    },
    Table {
        workload: "W3",
        title: "W3, offline: 10,000 keystrokes without a network, upload, a fresh second client",
        columns: &[
            ("up ms", "up_ms", 0),
            ("fresh ms", "fresh_ms", 0),
            ("KB up", "kb_up", 1),
            ("KB down", "kb_down", 1),
            ("KB both ways, both clients", "kb", 1),
            ("a keystroke µs", "edit_us", 0),
        ],
    },
    Table {
        workload: "W3t",
        title: "W3t, the same with the paper of 259,778 keystrokes",
        columns: &[
            ("up ms", "up_ms", 0),
            ("fresh ms", "fresh_ms", 0),
            ("KB both ways", "kb", 0),
            ("server CPU s", "server_cpu_s", 2),
            ("server's peak MiB", "peak_mib", 0),
            ("a keystroke µs", "edit_us", 0),
        ],
    },
    Table {
        workload: "W4",
        title: "W4, cold start: 2,000 documents of 1 KiB with 20 changes each, to a fresh client from a server that has just started",
        columns: &[
            ("all read s", "cold_s", 2),
            ("all held s", "held_s", 2),
            ("MB down", "mb_down", 2),
            ("server CPU s", "server_cpu_s", 2),
            ("server's peak MiB", "peak_mib", 0),
            ("filling it s", "fill_s", 1),
            ("stored MB", "stored_mb", 1),
        ],
    },
    Table {
        workload: "W5",
        title: "W5, idle: connections with a document each",
        columns: &[
            ("connections", "connections", 0),
            ("KiB each", "kib_each", 1),
            ("of the last half", "kib_each_of_last_half", 1),
            ("CPU ms to connect one", "connect_cpu_ms", 2),
            ("of the last half", "connect_cpu_ms_of_last_half", 2),
        ],
    },
    Table {
        workload: "W6",
        title: "W6, `kill -9` of the server under load: acknowledged edits that it does not have afterwards",
        columns: &[
            ("kills", "kills", 0),
            ("acknowledged", "acknowledged", 0),
            ("lost", "lost", 0),
            ("kills with losses", "kills_with_losses", 0),
        ],
    },
    Table {
        workload: "W3t",
        title: "W7, the paper: at rest on the server, and edited",
        columns: &[
            ("stored KB", "stored_kb", 0),
            ("fetched and open ms", "open_ms", 0),
            ("edit µs", "long_edit_us", 0),
            ("edit p99 µs", "long_edit_p99_us", 0),
            ("stall by a remote edit ms", "stall_ms", 2),
            ("the worst", "stall_worst_ms", 1),
        ],
    },
];

/// All tables in Markdown.
pub fn tables(report: &Value) -> String {
    let mut out = String::new();
    let empty = Vec::new();
    let engines = report["engines"].as_array().unwrap_or(&empty);
    writeln!(out, "| engine | an acknowledgement means | on disk |\n| --- | --- | --- |").expect("a string");
    for engine in engines {
        let text = |key: &str| engine[key].as_str().unwrap_or_default();
        let line = (text("name"), text("version"), text("acknowledgement"), text("disk"));
        writeln!(out, "| {} {} | {} | {} |", line.0, line.1, line.2, line.3).expect("a string");
    }
    for Table { workload, title, columns } in TABLES {
        let of_workload = &report["summary"][workload];
        if of_workload.is_null() {
            continue;
        }
        let heads: Vec<&str> = columns.iter().map(|(head, ..)| *head).collect();
        write!(out, "\n**{title}**\n\n| engine | {} |\n|{}\n", heads.join(" | "), " --- |".repeat(heads.len() + 1))
            .expect("a string");
        for name in engines.iter().filter_map(|engine| engine["name"].as_str()) {
            let values = &of_workload[name];
            if values.is_null() {
                continue;
            }
            let cells: Vec<String> = columns.iter().map(|(_, key, digits)| cell(&values[key], *digits)).collect();
            writeln!(out, "| {name} | {} |", cells.join(" | ")).expect("a string");
        }
        let run = &report["runs"][workload];
        let when = run["machine"]["date"].as_str().unwrap_or_default();
        let fsync = run["machine"]["fsync_us"].as_f64().unwrap_or_default();
        writeln!(out, "\n{when}, load {}, an fdatasync {fsync:.0} µs.", cell(&run["load"], 1)).expect("a string");
    }
    for failure in report["failures"].as_array().unwrap_or(&empty) {
        let text = |key: &str| failure[key].as_str().unwrap_or_default().lines().next().unwrap_or_default();
        writeln!(out, "\n{} on {} failed: {}", text("workload"), text("engine"), text("error")).expect("a string");
    }
    out
}

/// The median, and the lowest and highest where they differ.
fn cell(spread: &Value, digits: usize) -> String {
    let of = |key: &str| spread[key].as_f64().map(|value| format!("{value:.digits$}"));
    match (of("median"), of("min"), of("max")) {
        (Some(median), Some(min), Some(max)) if min != max => format!("{median} ({min}–{max})"),
        (Some(median), ..) => median,
        _ => "–".into(),
    }
}

/// Replaces the page's figures, and the plots beside it.
pub fn write_page(report: &Value, page: &Path) {
    let text = std::fs::read_to_string(page).expect("the page");
    let (before, rest) = text.split_once(BEGIN).expect("the page says where its figures begin");
    let (_, after) = rest.split_once(END).expect("and where they end");
    let images = page.parent().unwrap_or(Path::new(".")).join("images");
    let plots = plot::draw_all(report, &images).into_iter();
    let plots: Vec<String> = plots.map(|(title, file)| format!("![{title}](images/{file})\n\n")).collect();
    let plots = plots.concat();
    let machine = &report["machine"];
    let text = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
    let heading = format!(
        "Revision {} on {} processors ({}), {} of memory, {}, {}. Medians of the repeats, with the lowest and the highest; the \
         load is what the machine had to do when each run began (this bench's own runs before are in it), and the fdatasync is of \
         4 KiB, before the first.",
        text("revision"),
        machine["processors"],
        text("processor"),
        text("memory"),
        text("kernel"),
        text("rust"),
    );
    let new = format!("{before}{BEGIN}\n\n{heading}\n\n{}\n{plots}{END}{after}", tables(report));
    std::fs::write(page, new).expect("the page is written");
}
