//! Two phones type into one document at the same time, through dead zones and kills, and end up with the same one.
//!
//! `cargo run --release --example two_phones` starts a server and two phones as processes of their own, each with a folder
//! of its own. The networks between them are cut and restored, phones and the server are killed with SIGKILL and started
//! again on what they had on disk. The exit status is 0 only if all replicas hold exactly the expected document. With
//! `--database-url`, `--redis-url` and `--nodes` several nodes serve, and each phone talks to another one.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod child;
mod director;
mod display;
mod faults;
mod line;
mod node;
mod phone;
mod proof;
mod random;
mod script;
mod seen;
mod stage;

/// Two phones type into one document at the same time, through dead zones and kills, and end up with the same one.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    source: script::Source,
    #[command(flatten)]
    backends: node::Backends,
    /// Keep the phones' and the server's folders in this one, instead of a temporary one
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Show the end only
    #[arg(long)]
    quiet: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is when it is started by itself.
#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Node { data: PathBuf, port: u16 },
    #[command(hide = true)]
    Phone {
        folder: PathBuf,
        #[command(flatten)]
        source: script::Source,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result: Result<(), Box<dyn Error>> = match &cli.role {
        Some(Role::Node { data, port }) => node::run(data, *port),
        Some(Role::Phone { folder, source }) => phone::run(folder, source),
        None => director::run(&cli.source, &cli.backends, cli.keep.as_deref(), cli.quiet),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("two_phones: {error}");
            ExitCode::FAILURE
        }
    }
}
