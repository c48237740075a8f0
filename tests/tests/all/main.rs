//! The engine's integration tests: one binary, a module a subject.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sync_server::compaction::Workshop;

mod access;
mod account;
mod app_versions;
mod compaction;
mod deletion;
mod epochs;
mod exclusions;
mod ffi;
mod folds;
mod healing;
mod histories;
mod hostile;
mod kills;
mod leaving;
mod live;
mod nodes;
mod oidc;
mod postgres;
mod quarantine;
mod reader;
mod restored;
mod schemas;
mod schemathesis;
mod services;
mod simulation;
mod store;
mod sync;
mod tidy;
mod times;
mod transfer;
mod upgrades;
mod window;

/// This package's worker, with memory enough.
fn worker() -> Workshop {
    let arguments = ["compaction-worker", "1073741824"].map(str::to_owned).to_vec();
    Workshop::Program { program: env!("CARGO_BIN_EXE_child").into(), arguments }
}

/// This package's child, a phone on that store; it has begun with what it is told.
fn child(command: &str, store: &Path, url: &str, token: &str) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_child"))
        .args([command.as_ref(), store.as_os_str(), url.as_ref(), token.as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut line = String::new();
    let output = child.stdout.as_mut().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert_eq!(line, "begun\n");
    child
}
