//! Rotated keys reach a node that runs: it looks at the files again.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::signing::SigningKeys;

/// Who asks for keys that nobody has must not have files read all the time. A rotated key is known to nodes an hour before it
/// signs, so this is for a node whose files came late.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The folder of the keys, looked at now and then.
pub(crate) struct Watch {
    folder: PathBuf,
    looked: Mutex<Option<Instant>>,
}

impl Watch {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, looked: Mutex::new(None) }
    }

    /// Hands over the keys that are there now, unless somebody looked just before or they cannot be read. Who comes while
    /// another looks waits until that one is done.
    pub(crate) async fn look(&self, take: impl FnOnce(SigningKeys)) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        let folder = self.folder.clone();
        let read = tokio::task::spawn_blocking(move || SigningKeys::read(&folder)).await;
        *looked = Some(Instant::now());
        match read {
            Ok(Ok(Some(keys))) => take(keys),
            Ok(Ok(None)) => tracing::warn!("the signing key's file is gone; the keys of before go on"),
            Ok(Err(error)) => tracing::warn!(%error, "the signing keys cannot be read; those of before go on"),
            Err(error) => tracing::warn!(%error, "looking at the signing keys"),
        }
    }
}
