//! `sync-server keys`: the files that all nodes need, made and rotated.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use sync_server::auth::keys::{self, Rotated};

use super::place::Place;
use super::{Done, print};

#[derive(Subcommand)]
pub enum Keys {
    /// Make the key files that all nodes need, in a folder to be mounted read-only
    ///
    /// What is there already stays. Prints the id of the signing key, by which tokens name it.
    Make {
        /// The folder; it is created where it is missing
        folder: PathBuf,
    },
    /// Have the next key sign tokens, and make another to follow; tokens of the key before hold until the next rotation
    ///
    /// Nodes that see the folder go on without a restart, within seconds; to others, copy the files. It is refused within an
    /// hour of the last one, which is what nodes and tokens need. Do it now and then, and at once when a key may be known to
    /// somebody: then twice, with --force, which ends all sessions' access tokens and costs phones a refresh.
    Rotate {
        #[command(flatten)]
        place: Place,
        /// The folder [default: that of --keys, else the data folder]
        folder: Option<PathBuf>,
        /// Also within an hour of the last rotation
        #[arg(long)]
        force: bool,
    },
}

pub fn keys(command: Keys) -> Done {
    match command {
        Keys::Make { folder } => make(&folder),
        Keys::Rotate { place, folder, force } => {
            let config = place.config()?;
            rotate(folder.as_deref().unwrap_or(config.keys_folder()), force)
        }
    }
}

fn make(folder: &Path) -> Done {
    let keys = keys::Keys::open(folder)?;
    print(&format!("{}\n", keys.signing.id()))
}

fn rotate(folder: &Path, force: bool) -> Done {
    let copied = "Nodes that do not see this folder need its files: signing-key.pem, signing-key.next.pem and \
                  signing-key.previous.pem.";
    let told = match keys::rotate(folder, SystemTime::now(), force)? {
        Rotated::Prepared { current, next } => format!(
            "signs as before  {current}\nmade to follow   {next}\n\
             Nothing was rotated: there was no key to follow. Once all nodes have signing-key.next.pem, and in an hour at \
             the earliest, run this again.\n"
        ),
        Rotated::Done { previous, current, next, forgotten } => {
            let forgotten = forgotten.map_or_else(String::new, |key| format!("forgotten        {key}\n"));
            format!(
                "signs now        {current}\nsigned before    {previous}\nmade to follow   {next}\n{forgotten}{copied}\n\
                 Tokens of the key before hold until they expire, or until the next rotation. Back the files up.\n"
            )
        }
    };
    print(&told)
}
