//! Export of everything that is here.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::background::blocking;
use super::client::RejoinClient;
use super::error::RejoinError;
use crate::client;

/// How far an export has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct ExportProgress {
    /// Documents that are written.
    pub documents: u64,
    /// Documents that there are, as far as was known when it began.
    pub total: u64,
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct ExportReport {
    /// Spaces.
    pub spaces: u64,
    /// Documents.
    pub documents: u64,
    /// Documents that are damaged in the store: the index names them, and has nothing else of them.
    pub damaged: u64,
    /// Changes in quarantine.
    pub quarantined: u64,
}

/// Hears how far an export has come.
#[uniffi::export(with_foreign)]
pub trait ExportObserver: Send + Sync {
    /// A document is written. `false` stops the export.
    fn on_progress(&self, progress: ExportProgress) -> Result<bool, RejoinError>;
}

#[uniffi::export]
impl RejoinClient {
    /// Writes everything that is here into a new folder: in a folder of each space `DOCUMENT.json` and
    /// `DOCUMENT.automerge` (a plain save, which any automerge library loads) of each document, and as
    /// `quarantine/N.change` the bytes of each own change that did not take effect for others; `index.json` names them all,
    /// with collections and reasons. The folder is there when all of it is on disk, and not before.
    ///
    /// It stops when the observer says so (`Stopped`), or when nobody waits for it any more.
    #[uniffi::method(default(observer = None))]
    pub async fn export_all(
        &self,
        folder: String,
        observer: Option<Arc<dyn ExportObserver>>,
    ) -> Result<ExportReport, RejoinError> {
        let client = self.open.client()?;
        let waited = Waited(Arc::new(AtomicBool::new(true)));
        let still = waited.0.clone();
        let export = move || {
            client.export(folder, |progress| {
                let client::ExportProgress { documents, total } = progress;
                let heard = |observer: &Arc<dyn ExportObserver>| {
                    observer.on_progress(ExportProgress { documents, total }).unwrap_or_else(|error| {
                        tracing::warn!(%error, "an observer failed");
                        true
                    })
                };
                let on = still.load(Ordering::Relaxed) && observer.as_ref().is_none_or(heard);
                if on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        };
        let report = blocking(export).await;
        drop(waited);
        let client::ExportReport { spaces, documents, damaged, quarantined } = report?;
        Ok(ExportReport { spaces, documents, damaged, quarantined })
    }
}

/// Whether somebody waits for it still.
struct Waited(Arc<AtomicBool>);

impl Drop for Waited {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
