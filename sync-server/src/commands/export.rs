//! `sync-server export` and `sync-server import`: a space in one file, and back.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use sync_core::id::SpaceId;
use sync_server::auth::keys::Keys;
use sync_server::transfer::{self, Imported, Progress};
use sync_server::{Config, Storage};

use super::place::Place;
use super::{Done, compaction_worker, print};

#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    place: Place,
    /// Id of the space (a UUID)
    #[arg(long, value_name = "UUID")]
    space: SpaceId,
    /// The file to write; it must not exist [default: <UUID>.rejoin]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    place: Place,
    /// The file that `export` wrote
    #[arg(value_name = "FILE", required_unless_present = "abandon")]
    file: Option<PathBuf>,
    /// Make this user an owner of the space; the members that it had elsewhere do not come with the file
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Only say whether the file is whole and would be taken; needs no database
    #[arg(long, conflicts_with_all = ["owner", "abandon"])]
    check: bool,
    /// Empty the space of an import that was killed, and open it again, instead of importing anew
    #[arg(long, value_name = "UUID", conflicts_with_all = ["file", "owner"])]
    abandon: Option<SpaceId>,
}

async fn open(config: &Config) -> Result<(Storage, Keys), Box<dyn std::error::Error>> {
    let keys = Keys::open(config.keys_folder())?;
    Ok((sync_server::open_storage(config, &keys).await?, keys))
}

#[tokio::main(flavor = "current_thread")]
pub async fn export(arguments: Export) -> Done {
    let config = arguments.place.config()?;
    let (storage, keys) = open(&config).await?;
    let workshop = (compaction_worker::workshop(&config)?, &config.compaction);
    let out = arguments.out.unwrap_or_else(|| PathBuf::from(format!("{}.rejoin", arguments.space)));
    let mut telling = Telling::new();
    let told = &mut |progress| telling.tell(progress);
    let written = transfer::export(&storage, &keys.receipts, arguments.space, workshop, &out, told).await;
    storage.store.close().await?;
    let (manifest, Progress { entries, documents }) = written?;
    let seq = manifest.head.seq;
    print(&format!("{}: {documents} documents, {entries} entries up to {seq}\n", out.display()))
}

#[tokio::main(flavor = "current_thread")]
pub async fn import(arguments: Import) -> Done {
    let config = arguments.place.config()?;
    let mut telling = Telling::new();
    let told = &mut |progress| telling.tell(progress);
    let workshop = (compaction_worker::workshop(&config)?, &config.compaction);
    if let (true, Some(file)) = (arguments.check, &arguments.file) {
        let keys = Keys::open(config.keys_folder())?;
        let checked = transfer::check(&keys.receipts, workshop, file, told).await?;
        return print(&format!("{}: whole\n{}", file.display(), summary(&checked)));
    }
    let (storage, keys) = open(&config).await?;
    if let Some(space) = arguments.abandon {
        let abandoned = transfer::abandon(&*storage.registry, space).await;
        storage.store.close().await?;
        abandoned?;
        return print(&format!("{space} is empty\n"));
    }
    let Some(file) = arguments.file else { return Err("which file?".into()) };
    let owner = arguments.owner.as_deref();
    let imported = transfer::import(&*storage.registry, &keys.receipts, workshop, &file, owner, told).await;
    storage.store.close().await?;
    print(&summary(&imported?))
}

fn summary(imported: &Imported) -> String {
    let Imported { manifest, counts: Progress { entries, documents }, same_receipts } = imported;
    let receipts = if *same_receipts {
        ""
    } else {
        "This server has another receipt key than the one that wrote the file: phones sync on, but what they have from \
         there they cannot hand back here.\n"
    };
    let (space, server, seq) = (manifest.space, &manifest.server, manifest.head.seq);
    format!("space {space}, {documents} documents, {entries} entries up to {seq}, by version {server}\n{receipts}")
}

/// Says on standard error how far it has come.
struct Telling {
    told: Instant,
    every: Duration,
}

impl Telling {
    fn new() -> Self {
        let every = Duration::from_secs(if std::io::stderr().is_terminal() { 1 } else { 5 });
        Self { told: Instant::now(), every }
    }

    fn tell(&mut self, Progress { entries, documents }: Progress) {
        if self.told.elapsed() >= self.every {
            self.told = Instant::now();
            eprintln!("sync-server: {documents} documents and {entries} entries are done");
        }
    }
}
