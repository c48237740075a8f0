//! `sync-server seed`: users, spaces and documents for trying out.

use std::time::{Duration, Instant};

use clap::Args;
use sync_server::auth::keys::Keys;
use sync_server::seed as seeds;

use super::place::Place;
use super::{Done, print};

#[derive(Args)]
pub struct Amounts {
    #[command(flatten)]
    place: Place,
    /// Users; each has a personal space
    #[arg(long, default_value_t = 10)]
    users: u32,
    /// Shared spaces, with an owner, writers and readers
    #[arg(long, default_value_t = 5)]
    spaces: u32,
    /// Documents of each space: notes, lists and tallies
    #[arg(long, default_value_t = 50)]
    documents: u32,
    /// Changes of each document
    #[arg(long, default_value_t = 20)]
    changes: u32,
    /// What everything that looks like chance follows from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
pub async fn seed(arguments: &Amounts) -> Done {
    let config = arguments.place.config()?;
    let store = sync_server::open_storage(&config, &Keys::open(config.keys_folder())?).await?.store;
    let &Amounts { users, spaces, documents, changes, seed, .. } = arguments;
    let amounts = seeds::Amounts { users, spaces, documents, changes, seed };
    let mut told = Instant::now();
    let seeded = seeds::seed(&*store, &amounts, |progress| {
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            eprintln!("space {} of {spaces}: {} of {documents} documents", progress.space, progress.documents);
        }
    });
    let seeded = seeded.await;
    store.close().await?;
    print(&seeded?.to_string())
}
