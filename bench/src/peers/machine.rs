//! The machine that a run stands on, and how busy it is.

use std::process::Command;

use serde_json::{Value, json};

use crate::floor;

pub struct Machine(Value);

impl Machine {
    pub fn now() -> Self {
        let (fsync, fsync_p99) = floor::fsyncs();
        let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        Self(json!({
            "date": told_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            "revision": told_by("git", &["describe", "--always", "--dirty"]),
            "rust": told_by("rustc", &["--version"]),
            "kernel": told_by("uname", &["-sr"]),
            "processors": processors,
            "processor": line_of("/proc/cpuinfo", "model name"),
            "memory": line_of("/proc/meminfo", "MemTotal"),
            "load_before": load(),
            "fsync_us": fsync,
            "fsync_p99_us": fsync_p99,
        }))
    }

    pub fn into_json(self) -> Value {
        self.0
    }
}

/// Processes that ran or waited for a processor, on average of the last minute.
pub fn load() -> f64 {
    let told = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    told.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(-1.0)
}

/// Empty where there is no such program.
fn told_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

fn line_of(file: &str, key: &str) -> String {
    let told = std::fs::read_to_string(file).unwrap_or_default();
    let line = told.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
    line.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}
