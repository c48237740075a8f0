//! What an app does about own changes that are in quarantine.

use std::fmt::Write as _;

use sync_core::feed::ChangeId;
use sync_core::id::SpaceId;
use sync_core::quarantine::describe;

use super::access::Quarantined;
use super::engine::Engine;
use super::error::ClientError;
use super::observe::Turn;
use super::{Client, Shared};

/// A change in quarantine, for the app to keep or to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedExport {
    /// The automerge change, as it was made; `None` for the making or the deleting of a document.
    pub bytes: Option<Vec<u8>>,
    /// What and why, and the change's operations, as JSON text. `kept` names those of them that are in quarantine; all of
    /// them where it is null.
    pub json: String,
}

impl Client {
    /// A change in quarantine, with its operations as readable text. Also one that waits for access, so that whoever is no member
    /// any more, or whose space was deleted, gets out what was not sent.
    pub fn export_quarantined(&self, space: SpaceId, change: ChangeId) -> Result<QuarantinedExport, ClientError> {
        let (entry, bytes) = {
            let engine = self.engine();
            engine.space(space)?;
            engine.quarantined(space, change)?
        };
        let operations = bytes.as_deref().map_or_else(|| "null".to_owned(), describe);
        let mut json = String::new();
        let kept = entry.operations.as_ref().map_or_else(|| "null".to_owned(), |kept| format!("{kept:?}"));
        // Writing to a string cannot fail.
        write!(
            json,
            r#"{{"device":"{}","n":{},"document":"{}","code":"{}","kept":{kept},"change":{operations}}}"#,
            change.device, change.n, entry.doc, entry.code
        )
        .unwrap_or_default();
        Ok(QuarantinedExport { bytes, json })
    }

    /// Makes a change that is in quarantine anew, as an edit upon what its document is now; it goes to the server like any
    /// other. What of it makes no sense there stays in quarantine: `false` if anything does.
    ///
    /// ```no_run
    /// # use sync_client_ffi::{Client, ClientError, SpaceId};
    /// # fn f(client: &Client, space: SpaceId) -> Result<(), ClientError> {
    /// for kept in client.quarantine(space)?.iter().filter(|kept| !kept.waits) {
    ///     client.apply_quarantined(space, kept.id())?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn apply_quarantined(&self, space: SpaceId, change: ChangeId) -> Result<bool, ClientError> {
        let whole = {
            let mut engine = self.engine();
            let (doc, whole) = engine.apply_quarantined(space, change)?;
            self.shared.rebuilt(&engine, space, &[doc]);
            whole
        };
        self.shared.inbox.edited(space);
        Ok(whole)
    }

    /// Forgets what a change in quarantine says, for good. Its place, its hash and the reason [stay](Self::refused).
    pub fn drop_quarantined(&self, space: SpaceId, change: ChangeId) -> Result<(), ClientError> {
        let mut engine = self.engine();
        engine.space(space)?;
        engine.drop_quarantined(space, change)
    }
}

impl Quarantined {
    /// Its name.
    pub fn id(&self) -> ChangeId {
        ChangeId { device: self.device, n: self.n }
    }
}

impl Shared {
    /// Documents were made anew from the disk; under the engine's lock, so that observers hear of it in order.
    pub(super) fn rebuilt(&self, engine: &Engine, space: SpaceId, docs: &[sync_core::id::DocId]) {
        for doc in docs {
            self.collected(engine, space, *doc, Turn::Changed);
            self.observers.look_again(space, *doc);
        }
    }

    /// Offers the server again what it refused for a cause that may have cleared.
    pub(super) fn offer_again(&self, space: SpaceId, regained: bool) {
        let mut engine = super::lock(&self.engine);
        match engine.offer_again(space, regained) {
            Ok(docs) if docs.is_empty() => {}
            Ok(docs) => {
                self.rebuilt(&engine, space, &docs);
                drop(engine);
                self.inbox.edited(space);
            }
            // It stays where it is, and is offered the next time.
            Err(error) => tracing::warn!(%error, "what was refused is not offered again now"),
        }
    }
}
