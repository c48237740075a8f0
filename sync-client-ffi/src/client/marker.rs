//! The mark that backups leave out: a token in the store, and the same one in a file that no backup holds. Where they differ,
//! the store was restored from a backup or copied from another device.

use std::io::Write;
use std::path::Path;

use super::clock;
use super::store::{Store, StoreError, Writer};

/// In the store: the token, and whether the file has it.
const TOKEN: &str = "instance";
const STATE: &str = "instance_state";
const WRITTEN: &[u8] = b"written";
const TOKEN_BYTES: usize = 16;

/// Compares the two, and makes them where there are none yet. `is_new`: nobody has used this store before. Gives whether the
/// store is where it was written.
pub(super) fn check(store: &mut Store, path: &Path, is_new: bool) -> Result<bool, StoreError> {
    let (token, written) = (store.read().meta(TOKEN)?, store.read().meta(STATE)?.as_deref() == Some(WRITTEN));
    let found = match std::fs::read(path) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    match (token, found) {
        (Some(token), found) if written => Ok(found.as_deref() == Some(&*token)),
        // A kill came between the two.
        (Some(token), _) => mark(store, path, &token).map(|()| true),
        // The app has marked its store before, and this one is from before that.
        (None, Some(_)) if !is_new => Ok(false),
        (None, _) => {
            let mut token = [0; TOKEN_BYTES];
            clock::fill(&mut token);
            mark(store, path, &token).map(|()| true)
        }
    }
}

/// The next [`check`] makes the mark anew: the file may be another installation's.
pub(super) fn forget(writer: &Writer<'_>) -> Result<(), StoreError> {
    if writer.meta(TOKEN)?.is_none() {
        return Ok(());
    }
    let mut token = [0; TOKEN_BYTES];
    clock::fill(&mut token);
    writer.set_meta(TOKEN, &token)?;
    writer.set_meta(STATE, b"")
}

fn mark(store: &mut Store, path: &Path, token: &[u8]) -> Result<(), StoreError> {
    store.transaction(|writer| writer.set_meta(TOKEN, token))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut file = std::fs::File::create(&name)?;
    file.write_all(token)?;
    file.sync_all()?;
    std::fs::rename(&name, path)?;
    // A flat battery must not take the file and leave what the store says of it. Windows opens no folders, and needs none.
    if cfg!(unix) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    store.transaction(|writer| writer.set_meta(STATE, WRITTEN))
}
