//! `notes devices`: which devices a user has, and cutting one off.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use sync_client_ffi::account::{Account, DeviceOfCaller};

use crate::login::Login;
use crate::{Access, Done};

/// What can be done with a device.
#[derive(Subcommand)]
pub enum DeviceCommand {
    /// Give a device another name
    Rename {
        /// Its name or id, or the beginning or end of the id
        device: String,
        /// The new name
        name: String,
    },
    /// Cut a device off for good, if it was lost for instance
    Revoke {
        /// Its name or id, or the beginning or end of the id
        device: String,
    },
}

/// Does what the command says; without one, lists them.
pub fn run(folder: &Path, access: &Access, command: Option<&DeviceCommand>) -> Done {
    let account = Login::find(folder, access)?.account()?;
    match command {
        None => list(&account),
        Some(DeviceCommand::Rename { device, name }) => {
            let device = find(&account, device)?;
            account.rename_device(device.device, name)?;
            println!("{} is called {name} now", device.name);
            Ok(())
        }
        Some(DeviceCommand::Revoke { device }) => {
            let device = find(&account, device)?;
            account.revoke_device(device.device)?;
            println!("{} is cut off: it gets and sends nothing any more", device.name);
            if device.current {
                println!(
                    "that was this device: sign in with a folder of its own, as in `notes --store notes-data/new login`"
                );
            }
            Ok(())
        }
    }
}

fn list(account: &Account) -> Done {
    let devices = account.devices()?;
    let width = devices.iter().map(|device| device.name.chars().count()).max().unwrap_or(0);
    for device in devices {
        let id = device.device.to_string();
        let state = match (device.current, device.signed_in) {
            (true, _) => "this device",
            (false, true) => "signed in",
            (false, false) => "signed out",
        };
        let (name, platform) = (&device.name, &device.platform);
        println!("{}  {name:width$}  {platform}  {state}, seen {}", &id[id.len() - 8..], ago(device.seen_ms));
    }
    Ok(())
}

fn find(account: &Account, named: &str) -> Result<DeviceOfCaller, Box<dyn std::error::Error>> {
    let mut found: Vec<DeviceOfCaller> = account.devices()?;
    found.retain(|device| {
        let id = device.device.to_string();
        device.name == named || id.starts_with(named) || id.ends_with(named)
    });
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(format!("you have no device {named}: `notes devices` lists them").into()),
        count => Err(format!("{count} devices are called {named}: give the id that `notes devices` shows").into()),
    }
}

fn ago(ms: u64) -> String {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let seconds = now_ms.saturating_sub(ms) / 1_000;
    match seconds {
        0..60 => "just now".to_owned(),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
