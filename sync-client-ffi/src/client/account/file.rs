//! A keychain in a file that only its owner can read, for systems that have no better one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Credentials, Held, Keychain, KeychainError};

/// A renewal of another process is waited for so long; the longest takes less.
const HELD_MAX: Duration = Duration::from_mins(3);
/// How often it is looked at meanwhile: the system tells of no end.
const HELD_STEP: Duration = Duration::from_millis(20);

/// [`Credentials`] in a file. It is replaced in one step: a kill at any moment leaves the old ones or the new ones.
#[derive(Debug, Clone)]
pub struct CredentialsFile {
    path: PathBuf,
}

impl CredentialsFile {
    /// In the file at `path`, which need not exist. Two files of similar names are made beside it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    fn failed(&self, error: impl std::fmt::Display) -> KeychainError {
        KeychainError(format!("{}: {error}", self.path.display()))
    }

    /// Puts something of the app's own in its place, with the same care. It is not [loaded](Keychain::load) as credentials.
    pub fn write(&self, bytes: &[u8]) -> Result<(), KeychainError> {
        self.replace(bytes).map_err(|error| self.failed(error))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.beside(".new");
        // Left by a kill: it may have been made by somebody with other rights.
        remove(&new)?;
        let mut file = private().write(true).create_new(true).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&new, &self.path)?;
        self.sync_folder()
    }

    /// A new name is on disk only when its folder is.
    fn sync_folder(&self) -> io::Result<()> {
        if cfg!(unix) {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

fn private() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "rights are given where there are any"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Keychain for CredentialsFile {
    fn load(&self) -> Result<Option<Credentials>, KeychainError> {
        match fs::read(&self.path) {
            // What is in it is not quoted: it is secret.
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| self.failed("damaged: sign in again")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn save(&self, credentials: &Credentials) -> Result<(), KeychainError> {
        let bytes = serde_json::to_vec_pretty(credentials).map_err(|error| self.failed(error))?;
        self.write(&bytes)
    }

    fn clear(&self) -> Result<(), KeychainError> {
        let clear = || {
            remove(&self.beside(".new"))?;
            remove(&self.path)?;
            self.sync_folder()
        };
        clear().map_err(|error| self.failed(error))
    }

    fn hold(&self) -> Result<Held, KeychainError> {
        let file = private().write(true).create(true).truncate(false).open(self.beside(".lock"));
        let file = file.map_err(|error| self.failed(error))?;
        let until = Instant::now() + HELD_MAX;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Box::new(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(HELD_STEP),
                Err(TryLockError::WouldBlock) => return Err(self.failed("another process holds it")),
                Err(TryLockError::Error(error)) => return Err(self.failed(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sync_core::id::DeviceId;

    use super::*;

    fn credentials(n: u64) -> Credentials {
        Credentials {
            server: "https://sync.example.com".to_owned(),
            user: "ann".to_owned(),
            device: DeviceId::from_random([1; 16]),
            access_token: "access-secret".into(),
            access_expires_ms: n,
            refresh_token: "refresh-secret".into(),
            refresh_expires_ms: n,
            device_key: Some("key-secret".into()),
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("login.json");
        let file = CredentialsFile::new(&path);
        assert_eq!(file.load().unwrap(), None);
        // What a kill between writing and renaming leaves.
        fs::write(file.beside(".new"), "half a").unwrap();
        for n in [1, 2] {
            file.save(&credentials(n)).unwrap();
            assert_eq!(file.load().unwrap(), Some(credentials(n)));
        }
        assert!(!file.beside(".new").exists());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        file.clear().unwrap();
        file.clear().unwrap();
        assert_eq!(file.load().unwrap(), None);
    }

    #[test]
    fn a_damaged_file_says_so_and_quotes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = CredentialsFile::new(folder.path().join("login.json"));
        fs::write(&file.path, r#"{"refresh_token": "rjr_secret"#).unwrap();
        let error = file.load().unwrap_err().to_string();
        assert!(error.contains("sign in again") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn one_at_a_time_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = CredentialsFile::new(folder.path().join("login.json"));
        let other = || File::open(file.beside(".lock")).unwrap().try_lock();
        let held = file.hold().unwrap();
        assert!(matches!(other(), Err(TryLockError::WouldBlock)));
        drop(held);
        assert!(other().is_ok());
        drop(file.hold().unwrap());
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", credentials(1)).contains("secret"));
    }
}
