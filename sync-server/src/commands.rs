//! What the binary can be told to do, a file each.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use clap::{Parser, Subcommand};
use sync_server::store::StoreError;
use sync_server::telemetry::redacted;
use sync_server::{config, probe};

mod accounts;
mod audit;
mod compaction_worker;
mod devices;
mod export;
mod keys;
mod members;
mod migrate;
mod min_version;
mod place;
mod seed;
mod serve;
mod spaces;
mod token;
mod verify;

/// Rejoin's sync server: phones push what they wrote offline and pull what others wrote, over one durable log a space.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve until SIGINT or SIGTERM
    ///
    /// Creates what is missing in the data folder (the database, the keys) and prints one line with the bound address to
    /// standard output, as soon as requests are taken. Logs go to standard error, one JSON line a request.
    Serve(serve::Serve),
    /// Bring the database to this version's schema, and say what was done
    ///
    /// On the embedded store `serve` does so by itself. On Postgres it only makes sure: migrate first, then start nodes of
    /// the new version; those of the old one keep running on the new schema. Give this command the database's own URL, not
    /// that of a pooler.
    Migrate(migrate::Migrate),
    /// Print an access token for development
    ///
    /// The token alone goes to standard output, so that it can be taken into a variable; the device's id goes to standard
    /// error. It works while the server runs, and needs nothing but the key in the data folder.
    Token(token::Token),
    /// Say who may enter which space, for development
    #[command(subcommand)]
    Members(members::Members),
    /// Say which versions of apps are too old, while the server runs
    #[command(subcommand)]
    MinVersion(min_version::MinVersion),
    /// Show what was done: who signed in, whose device was revoked, who was let into a space, what was flagged
    ///
    /// The newest first, beside a running server or without one. Without options, everything of the last 24 hours.
    #[command(args_conflicts_with_subcommands = true)]
    Audit(audit::Audit),
    /// Delete a space for good, and say what became of deletions
    #[command(subcommand)]
    Spaces(spaces::Spaces),
    /// Delete a user's account, with what is the user's alone
    #[command(subcommand)]
    Accounts(accounts::Accounts),
    /// List a user's devices, and revoke what is lost
    #[command(subcommand)]
    Devices(devices::Devices),
    /// Fill a store with users, shared spaces and documents that several devices wrote, for trying out and load tests
    ///
    /// Needs no running server and works beside one. The same amounts and seed give the same data: doing it twice adds
    /// nothing, and one that was stopped is completed. Another seed, or other amounts, add more spaces.
    Seed(seed::Amounts),
    /// Make the key files that all nodes need, and rotate those that sign tokens
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Check every log, feed, document and payload against the hashes that they are chained by
    ///
    /// Works beside a running server, which it takes a reader's time from. Prints a line for each thing that is wrong, with
    /// its space and entry, and at the end how much was looked at; ends with 0 only if all is well.
    Verify(verify::Verify),
    /// Write a space to one file: its documents, also as JSON, and its log
    ///
    /// Works beside a running server, and writes the space as it is at one moment. The file appears under its name when it is
    /// whole. Other programs can read it: see docs/export.md.
    Export(export::Export),
    /// Fill an empty space, or one that does not exist, from a file that `export` wrote
    ///
    /// On any database, beside a running server. Nobody sees the space before all of it is there and was checked; an import
    /// that was killed begins anew when it is started again. Phones that synced with the other server go on where they were.
    Import(export::Import),
    /// Ask a running server whether it is ready, for health checks
    ///
    /// Ends with 0 if it takes requests, else with 1 and the reason on standard error.
    Health {
        /// Where the server listens; plain HTTP
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8787")]
        url: String,
    },
    /// Fold documents for a server: it starts this itself
    #[command(hide = true)]
    CompactionWorker(compaction_worker::CompactionWorker),
    /// Print the default configuration, with the reason for each key
    Config,
}

/// How a command ends.
pub type Done = Result<(), Box<dyn Error>>;

impl Command {
    /// Does it.
    pub fn run(self) -> Done {
        match self {
            Self::Serve(arguments) => serve::serve(arguments),
            Self::Migrate(arguments) => migrate::migrate(&arguments),
            Self::Token(arguments) => token::token(&arguments),
            Self::Members(command) => members::members(command),
            Self::MinVersion(command) => min_version::min_version(command),
            Self::Audit(arguments) => audit::audit(arguments),
            Self::Spaces(command) => spaces::spaces(command),
            Self::Accounts(command) => accounts::accounts(command),
            Self::Devices(command) => devices::devices(command),
            Self::Seed(arguments) => seed::seed(&arguments),
            Self::Keys(command) => keys::keys(command),
            Self::Verify(arguments) => verify::verify(&arguments),
            Self::Export(arguments) => export::export(arguments),
            Self::Import(arguments) => export::import(arguments),
            Self::Health { url } => probe::is_ready(&url).map_err(Into::into),
            Self::CompactionWorker(arguments) => compaction_worker::work(&arguments),
            Self::Config => print(config::DEFAULTS),
        }
    }
}

/// To standard output and out of the buffer: a parent process may be waiting for it.
fn print(text: &str) -> Done {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// What was done is done, whether or not the audit log has it.
fn kept(result: Result<(), StoreError>) {
    if let Err(error) = result {
        eprintln!("sync-server: it is done, but not in the audit log: {}", redacted(&error.to_string()));
    }
}

/// A length of time on the command line.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number with s, m, h or d, such as 15m or 30d".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(wrong)
}
