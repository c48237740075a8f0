//! Notes for the command line, on the client library: add and edit them with no network, watch them arrive elsewhere.
//!
//! Needs a running server and a token of it once (`notes login`); the store folder remembers both.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

mod app;
mod login;
mod watch;

use app::App;

/// Notes that are written with no network and reach every device of their owner
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// The folder that this device keeps its notes in
    #[arg(long, global = true, env = "NOTES_STORE", default_value = "notes-data", value_name = "FOLDER")]
    store: PathBuf,
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    command: Command,
}

/// How to reach the server; what is given once is remembered by `login`.
#[derive(Args)]
pub struct Access {
    /// The server's address, such as http://127.0.0.1:8787
    #[arg(long, global = true, env = "NOTES_SERVER", value_name = "URL")]
    server: Option<String>,
    /// An access token, as `sync-server token` prints it
    #[arg(long, global = true, env = "NOTES_TOKEN", hide_env_values = true, conflicts_with = "token_file")]
    token: Option<String>,
    /// A file with the access token
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Remember the server and the token in the store folder
    Login,
    /// Write a new note
    Add {
        /// Its title
        title: String,
        /// Its text
        #[arg(long, default_value = "")]
        text: String,
    },
    /// Append to a note, or replace its text
    ///
    /// What others write into the note meanwhile is kept: only what you changed is sent.
    Edit {
        /// The note's id, or the beginning of it
        id: String,
        /// The text; without it, it is read from standard input
        #[arg(long)]
        text: Option<String>,
        /// Replace the whole text instead of appending a line
        #[arg(long)]
        replace: bool,
        /// Give the note another title
        #[arg(long)]
        title: Option<String>,
    },
    /// List all notes
    List,
    /// Show a note
    Show {
        /// The note's id, or the beginning of it
        id: String,
    },
    /// Delete a note, on all devices and for good
    Remove {
        /// The note's id, or the beginning of it
        id: String,
    },
    /// Show changes as they come, until Ctrl-C
    Watch,
    /// Exchange with the server now
    Sync,
    /// Say what is on the server and what waits for it
    Status,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("notes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    if let Command::Login = cli.command {
        return login::login(&cli.store, &cli.access);
    }
    let app = App::open(&cli.store, &cli.access)?;
    match &cli.command {
        Command::Login => Ok(()),
        Command::Add { title, text } => app.add(title, text),
        Command::Edit { id, text, replace, title } => app.edit(id, text.as_deref(), *replace, title.as_deref()),
        Command::List => app.list(),
        Command::Show { id } => app.show(id),
        Command::Remove { id } => app.remove(id),
        Command::Watch => watch::watch(&app),
        Command::Sync => app.sync(),
        Command::Status => app.status(),
    }
}
