//! What the storage says of the oldest versions that are served, looked up every few seconds: it is changed while nodes run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::Version;
use crate::random::jittered;
use crate::router::app_version::AppVersion;
use crate::store::StoreError;
use crate::store::registry::Registry;
use crate::store::versions::{AppMinimum, Versions};

/// Oldest versions, by platform.
type Minimums = BTreeMap<String, TooOld>;

/// What is said to an app that is older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TooOld {
    /// What it would have to be at least.
    pub(crate) minimum: Version,
    /// Where it is updated.
    pub(crate) update_url: String,
}

/// What was looked up last.
pub(crate) struct Manifest {
    minimums: watch::Receiver<Arc<Minimums>>,
    looking: AbortHandle,
}

impl Manifest {
    /// Looks it up, and again and again. While the storage is away, what it said last holds. Needs a runtime.
    pub(crate) async fn open(registry: Arc<dyn Registry>, period: Duration) -> Self {
        let sender = watch::Sender::new(Arc::default());
        look(&*registry, &sender).await;
        let minimums = sender.subscribe();
        let looking = async move {
            loop {
                // Nodes that were started together do not ask together.
                sleep(jittered(period)).await;
                look(&*registry, &sender).await;
            }
        };
        Self { minimums, looking: tokio::spawn(looking).abort_handle() }
    }

    /// What an app is told that is older than it has to be.
    pub(crate) fn too_old(&self, app: &AppVersion) -> Option<TooOld> {
        of(&self.minimums.borrow(), app)
    }

    /// Waits until that app is.
    pub(crate) async fn outgrows(&self, app: &AppVersion) -> TooOld {
        let mut minimums = self.minimums.clone();
        loop {
            if let Some(too_old) = of(&minimums.borrow_and_update(), app) {
                return too_old;
            }
            if minimums.changed().await.is_err() {
                // Nobody looks any more: the server has ended.
                return std::future::pending().await;
            }
        }
    }
}

impl Drop for Manifest {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

fn of(minimums: &Minimums, app: &AppVersion) -> Option<TooOld> {
    minimums.get(&app.platform).filter(|wanted| app.version < wanted.minimum).cloned()
}

async fn look(registry: &(impl Versions + Sync + ?Sized), sender: &watch::Sender<Arc<Minimums>>) {
    match registry.app_minimums().await {
        Ok(rows) => {
            let found: Minimums = rows.into_iter().filter_map(read).collect();
            sender.send_if_modified(|known| {
                let is_new = **known != found;
                if is_new {
                    tracing::info!(platforms = found.len(), "the oldest versions of apps that are served have changed");
                    *known = Arc::new(found);
                }
                is_new
            });
        }
        // Whoever waits for the storage has been told of it already.
        Err(StoreError::Busy) => {}
        Err(error) => tracing::warn!(%error, "the oldest versions of apps that are served"),
    }
}

/// A row that was written by hand and cannot be read locks nobody out.
fn read(row: AppMinimum) -> Option<(String, TooOld)> {
    let Ok(minimum) = row.minimum.parse() else {
        tracing::warn!(row.platform, "the oldest version of this platform's apps is none, and is passed over");
        return None;
    };
    Some((row.platform, TooOld { minimum, update_url: row.update_url }))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    /// A storage that says this, or is away.
    struct Says(Mutex<Option<Vec<AppMinimum>>>);

    #[async_trait]
    impl Versions for Says {
        async fn app_minimums(&self) -> Result<Vec<AppMinimum>, StoreError> {
            self.0.lock().unwrap().clone().ok_or_else(|| StoreError::Unavailable("away".into()))
        }

        async fn set_app_minimum(&self, _: AppMinimum) -> Result<bool, StoreError> {
            unreachable!("it is read only")
        }

        async fn clear_app_minimum(&self, _: &str) -> Result<bool, StoreError> {
            unreachable!("it is read only")
        }
    }

    fn row(platform: &str, minimum: &str) -> AppMinimum {
        let (platform, minimum) = (platform.to_owned(), minimum.to_owned());
        AppMinimum { platform, minimum, update_url: "https://example.com".to_owned() }
    }

    fn is_served(sender: &watch::Sender<Arc<Minimums>>, platform: &str, version: &str) -> bool {
        let app = AppVersion { platform: platform.to_owned(), version: version.parse().unwrap() };
        of(&sender.borrow(), &app).is_none()
    }

    #[tokio::test]
    async fn while_the_storage_is_away_what_it_said_last_holds() {
        let (storage, sender) = (Says(Mutex::new(Some(vec![row("ios", "2.0")]))), watch::Sender::new(Arc::default()));
        look(&storage, &sender).await;
        assert!(!is_served(&sender, "ios", "1.9") && is_served(&sender, "ios", "2.0"));
        *storage.0.lock().unwrap() = None;
        look(&storage, &sender).await;
        assert!(!is_served(&sender, "ios", "1.9"));
        *storage.0.lock().unwrap() = Some(Vec::new());
        look(&storage, &sender).await;
        assert!(is_served(&sender, "ios", "1.9"));
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_locks_nobody_out() {
        let rows = vec![row("android", "3"), row("ios", "the newest")];
        let (storage, sender) = (Says(Mutex::new(Some(rows))), watch::Sender::new(Arc::default()));
        look(&storage, &sender).await;
        assert!(is_served(&sender, "ios", "0.1"));
        assert!(!is_served(&sender, "android", "2.9"), "and takes no other with it");
    }
}
