//! What this user's shared spaces are called, remembered in the store folder so that they can be named with no network.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sync_client_ffi::SpaceId;
use sync_client_ffi::account::{Account, AccountError, SpaceOfCaller};

/// The file, in the store folder.
const FILE: &str = "spaces.json";

/// A space and what it is called.
#[derive(Clone, Serialize, Deserialize)]
pub struct Known {
    /// Which space.
    pub space: SpaceId,
    /// Its name.
    pub name: String,
}

impl Known {
    fn is_called(&self, named: &str) -> bool {
        let id = self.space.to_string();
        self.name.to_lowercase() == named.to_lowercase() || id.starts_with(named) || id.ends_with(named)
    }
}

/// What is remembered. A damaged file is as good as none: the server knows.
pub fn known(folder: &Path) -> Vec<Known> {
    fs::read(folder.join(FILE)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Adds what the server says. A space that it names no more stays known: its notes are still here.
pub fn remember(folder: &Path, spaces: &[SpaceOfCaller]) -> Result<Vec<Known>, Box<dyn Error>> {
    let mut known = known(folder);
    for space in spaces {
        let Some(name) = &space.name else { continue };
        known.retain(|known| known.space != space.space);
        known.push(Known { space: space.space, name: name.clone() });
    }
    fs::write(folder.join(FILE), serde_json::to_vec_pretty(&known)?)?;
    Ok(known)
}

/// The space of that name. The server is asked if it is not known here.
pub fn find(folder: &Path, account: Result<Account, AccountError>, named: &str) -> Result<Known, Box<dyn Error>> {
    let mut found = known(folder);
    found.retain(|known| known.is_called(named));
    if found.is_empty() {
        let spaces = account
            .and_then(|account| account.spaces())
            .map_err(|error| format!("no space {named} is known here, and: {error}"))?;
        found = remember(folder, &spaces)?;
        found.retain(|known| known.is_called(named));
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(format!(
            "you share no space {named}: `notes share` lists yours, `notes share create {named}` makes one"
        )
        .into()),
        count => Err(format!("{count} spaces are called {named}: give the id that `notes share` shows").into()),
    }
}
