//! The folder of the keys: files that appear whole or not at all, and that nobody else may read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::KeyError;

/// Held by whoever changes the folder.
const LOCK: &str = "keys.lock";

pub(super) fn failed(name: &str) -> impl Fn(io::Error) -> KeyError {
    move |error| KeyError::File { file: name.to_owned(), error }
}

pub(super) fn read(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, KeyError> {
    match fs::read(folder.join(name)) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(name)(error)),
    }
}

/// Until it is dropped, nobody else changes the folder.
pub(super) fn lock(folder: &Path) -> Result<File, KeyError> {
    let name = folder.display().to_string();
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK));
    let lock = lock.map_err(failed(&name))?;
    lock.lock().map_err(failed(&name))?;
    Ok(lock)
}

/// The caller holds the lock.
pub(super) fn read_or_make(
    folder: &Path,
    name: &str,
    make: fn() -> Result<Vec<u8>, KeyError>,
) -> Result<Vec<u8>, KeyError> {
    if let Some(content) = read(folder, name)? {
        return Ok(content);
    }
    let content = make()?;
    write(folder, name, &content)?;
    Ok(content)
}

/// The file holds this, or what it held before, also when the machine stops half-way. The caller holds the lock.
pub(super) fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), KeyError> {
    let new = folder.join(format!("{name}.new"));
    write_private(&new, content).map_err(failed(name))?;
    fs::rename(&new, folder.join(name)).map_err(failed(name))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(name))
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

pub(super) fn create(path: &Path) -> Result<(), KeyError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(failed(&path.display().to_string()))
}
