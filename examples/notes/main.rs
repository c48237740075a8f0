//! Notes for the command line, on the client library: add and edit them with no network, watch them arrive elsewhere, share
//! them with others.
//!
//! Needs a running server, and once an account there (`notes signup`, `notes login`); the store folder remembers both.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sync_client_ffi::account::AccountError;

mod account;
mod app;
mod devices;
mod login;
mod share;
mod spaces;
mod terminal;
mod watch;

use account::SignIn;
use app::App;
use devices::DeviceCommand;
use share::ShareCommand;

/// Notes that are written with no network, reach every device of their owner, and can be shared
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// The folder that this device keeps its notes in
    #[arg(long, global = true, env = "NOTES_STORE", default_value = "notes-data", value_name = "FOLDER")]
    store: PathBuf,
    /// The shared space that the command is about; without it, your own notes
    #[arg(long, global = true, env = "NOTES_SPACE", value_name = "NAME")]
    space: Option<String>,
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
    /// For development: an access token, as `sync-server token` prints it
    #[arg(long, global = true, env = "NOTES_TOKEN", hide_env_values = true, conflicts_with = "token_file")]
    token: Option<String>,
    /// For development: a file with the access token
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Make an account on a server, and sign in with it
    Signup {
        #[command(flatten)]
        sign_in: SignIn,
        /// What others call you
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
    },
    /// Sign in, on this device, in this folder
    Login {
        #[command(flatten)]
        sign_in: SignIn,
        /// Show a code instead, to be typed on a device that is signed in (`notes companion`)
        #[arg(long, conflicts_with_all = ["email", "password_file"])]
        code: bool,
    },
    /// Sign out; the notes stay in the folder
    Logout {
        /// Sign out all your devices
        #[arg(long)]
        all: bool,
    },
    /// Let in a device that shows a code
    Companion {
        /// The code
        code: String,
        /// Say no to it
        #[arg(long)]
        deny: bool,
    },
    /// List your devices; rename or revoke one
    Devices {
        #[command(subcommand)]
        command: Option<DeviceCommand>,
    },
    /// List the spaces that you share; make one, invite others, join, leave
    Share {
        #[command(subcommand)]
        command: Option<ShareCommand>,
    },
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

/// How a command ends.
pub type Done = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let again = matches!(error.downcast_ref(), Some(AccountError::SessionEnded | AccountError::NotSignedIn));
            eprintln!("notes: {error}{}", if again { " (`notes login`)" } else { "" });
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Done {
    let (folder, access): (&Path, &Access) = (&cli.store, &cli.access);
    match &cli.command {
        Command::Signup { sign_in, display_name } => account::sign_up(folder, access, sign_in, display_name.as_deref()),
        Command::Login { code: true, sign_in } => account::sign_in_by_code(folder, access, sign_in),
        Command::Login { sign_in, .. } => account::sign_in(folder, access, sign_in),
        Command::Logout { all } => account::log_out(folder, access, *all),
        Command::Companion { code, deny } => account::companion(folder, access, code, !deny),
        Command::Devices { command } => devices::run(folder, access, command.as_ref()),
        Command::Share { command } => share::run(folder, access, command.as_ref()),
        command => {
            let app = App::open(folder, access, cli.space.as_deref())?;
            match command {
                Command::Add { title, text } => app.add(title, text),
                Command::Edit { id, text, replace, title } => app.edit(id, text.as_deref(), *replace, title.as_deref()),
                Command::List => app.list(),
                Command::Show { id } => app.show(id),
                Command::Remove { id } => app.remove(id),
                Command::Watch => watch::watch(&app),
                Command::Sync => app.sync(),
                _ => app.status(),
            }
        }
    }
}
