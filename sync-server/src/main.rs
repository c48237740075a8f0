//! The binary: arguments, then the library.

use std::process::ExitCode;

use clap::Parser;
use sync_server::telemetry;

mod commands;

fn main() -> ExitCode {
    match commands::Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // It may quote what it could not use.
            eprintln!("sync-server: {}", telemetry::redacted(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}
