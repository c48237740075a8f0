//! `sync-server verify`: whether what is stored is what the logs say.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use sync_core::id::SpaceId;
use sync_server::auth::keys::Keys;
use sync_server::{Storage, verify};

use super::place::Place;
use super::{Done, print};

/// Spaces that are looked up at once.
const SPACES_MAX: usize = 256;
/// How often it says how far it has come.
const TOLD_EVERY: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    place: Place,
    /// One space alone (a UUID) [default: all]
    #[arg(long, value_name = "UUID")]
    space: Option<SpaceId>,
}

#[tokio::main(flavor = "current_thread")]
pub async fn verify(arguments: &Verify) -> Done {
    let config = arguments.place.config()?;
    let Storage { store, inspect, .. } = sync_server::open_storage(&config, &Keys::open(config.keys_folder())?).await?;
    let (mut spaces, mut entries, mut broken, mut after) = (0_u64, 0_u64, 0_u64, None);
    let mut progress = Progress::new();
    loop {
        let some = match arguments.space {
            Some(space) => vec![space],
            None => inspect.spaces_after(after, SPACES_MAX).await?,
        };
        for space in &some {
            let seen = entries;
            let report = verify::space(&*inspect, *space, &mut |seq| progress.tell(spaces, seen + seq)).await?;
            for finding in &report.findings {
                print(&format!("{space} {finding}\n"))?;
            }
            if report.more > 0 {
                print(&format!("{space} and {} more\n", report.more))?;
            }
            (spaces, entries) = (spaces + 1, entries + report.head.seq);
            broken += u64::from(!report.findings.is_empty());
        }
        after = some.last().copied();
        if after.is_none() || arguments.space.is_some() {
            break;
        }
    }
    store.close().await?;
    print(&format!("{spaces} spaces with {entries} entries: {broken} of them are damaged\n"))?;
    if broken > 0 { Err(format!("{broken} of {spaces} spaces are damaged").into()) } else { Ok(()) }
}

/// Says on standard error how far it has come.
struct Progress {
    told: Instant,
    every: Duration,
}

impl Progress {
    fn new() -> Self {
        let every = if std::io::stderr().is_terminal() { Duration::from_secs(1) } else { TOLD_EVERY };
        Self { told: Instant::now(), every }
    }

    fn tell(&mut self, spaces: u64, entries: u64) {
        if self.told.elapsed() >= self.every {
            self.told = Instant::now();
            eprintln!("sync-server: {spaces} spaces are done, {entries} entries walked");
        }
    }
}
