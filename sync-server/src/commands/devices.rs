//! `sync-server devices`: which devices a user has, and cutting off those that are lost.

use std::time::Duration;

use clap::Subcommand;
use sync_core::id::DeviceId;
use sync_server::auth::keys::Keys;
use sync_server::bus::{BusMessage, Cut, redis};
use sync_server::{Clock, Config, Deed, Storage, done_by_operator};

use super::place::{Between, Place};
use super::{Done, kept, print};

#[derive(Subcommand)]
pub enum Devices {
    /// List a user's devices that are not revoked, the oldest first
    ///
    /// A line each: id, name, platform, app version, how long ago it signed in or refreshed, and whether it is signed in.
    List {
        #[command(flatten)]
        place: Place,
        /// Name of the user
        #[arg(long)]
        user: String,
    },
    /// Revoke a device of a user, or all of them: they are cut off within a second, also on open connections
    ///
    /// A revoked device does not come back under its id: its user signs in anew. Prints the id of each that was revoked.
    Revoke {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        between: Between,
        /// Name of the user
        #[arg(long)]
        user: String,
        #[command(flatten)]
        which: Which,
    },
}

/// Which devices.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Id of the device (a UUID)
    #[arg(long, value_name = "UUID")]
    pub device: Option<DeviceId>,
    /// All that the user has
    #[arg(long)]
    pub all: bool,
}

pub fn devices(command: Devices) -> Done {
    match command {
        Devices::List { place, user } => list(&place.config()?, &user),
        Devices::Revoke { place, between, user, which } => {
            let mut config = place.config()?;
            between.configure(&mut config);
            revoke(&config, user, which.device)
        }
    }
}

async fn open(config: &Config) -> Result<Storage, Box<dyn std::error::Error>> {
    Ok(sync_server::open_storage(config, &Keys::open(config.keys_folder())?).await?)
}

#[tokio::main(flavor = "current_thread")]
async fn list(config: &Config, user: &str) -> Done {
    let (storage, now_ms) = (open(config).await?, Clock::default().now_ms());
    let devices = storage.registry.devices(user, now_ms).await?;
    storage.store.close().await?;
    let lines = devices.iter().map(|device| {
        let (seen, state) = (ago(now_ms, device.seen_ms), if device.signed_in { "signed in" } else { "signed out" });
        // Names hold no control characters, so they cannot speak to the terminal.
        format!("{}  {}  {}  {}  {seen}  {state}\n", device.device, device.name, device.platform, device.app_version)
    });
    print(&lines.collect::<String>())
}

/// How long ago, in the largest unit that it fills.
fn ago(now_ms: u64, then_ms: u64) -> String {
    let seconds = Duration::from_millis(now_ms.saturating_sub(then_ms)).as_secs();
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn revoke(config: &Config, user: String, device: Option<DeviceId>) -> Done {
    let (storage, now_ms) = (open(config).await?, Clock::default().now_ms());
    let of = match device {
        Some(device) => vec![device],
        None => storage.registry.devices(&user, now_ms).await?.iter().map(|known| known.device).collect(),
    };
    let mut revoked = Vec::new();
    for id in of {
        match storage.registry.revoke(&user, id, now_ms).await? {
            Some(true) => {
                kept(done_by_operator(&*storage.registry, now_ms, &user, Deed::Revoked(id)).await);
                revoked.push(format!("{id}\n"));
            }
            // It was before.
            Some(false) => {}
            None => return Err(format!("{user} has no device {id}").into()),
        }
    }
    storage.store.close().await?;
    print(&revoked.concat())?;
    let Some(url) = &config.redis.url else { return Ok(()) };
    if let Err(error) = redis::announce(url, &config.redis, &BusMessage::Cut(Cut { user, device })).await {
        eprintln!("sync-server: revoked; nodes find out from the database, since they cannot be told: {error}");
    }
    Ok(())
}
