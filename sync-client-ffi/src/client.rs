//! The client: what an app opens, edits, observes and synchronises.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sync_core::code::RejectCode;
use sync_core::feed::{ChangeId, FeedHead};
use sync_core::id::{DeviceId, DocId, SpaceId};
use sync_core::session::Status;
use sync_core::version::VersionVector;

mod access;
pub mod account;
mod builder;
mod clock;
mod device;
mod doc;
mod documents;
mod edits;
mod engine;
mod epoch;
mod error;
mod exchange;
mod export;
mod history;
mod identity;
mod leave;
mod marker;
mod moving;
mod observe;
mod presence;
mod push;
mod quarantine;
mod runner;
mod schema;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod simulated;
mod store;
mod transport;
mod undo;
mod watch;

pub use access::{Quarantined, Reason};
pub use builder::ClientBuilder;
pub use doc::{Doc, Edit, Hold};
pub use documents::{DocumentInfo, DocumentPage};
pub use edits::EditState;
pub use error::{ClientError, OpenError, SyncError};
pub use export::{ExportError, ExportProgress, ExportReport};
pub use history::HistoryEntry;
pub use leave::{Leave, Removal};
pub use observe::{
    CollectionChanges, CollectionEvent, CollectionNews, DocEvent, EditChange, EditEvent, EditNews, EventKind, Origin,
    Patched, Subscription,
};
pub use presence::PeerInfo;
pub use push::PushError;
pub use quarantine::QuarantinedExport;
pub use runner::SyncReport;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use runner::stepped;
pub use schema::{Migration, Schema, SchemaState, SchemaVersion};
pub use transport::{BadTrust, HttpAnswer, HttpPost, HttpStack, HttpWork, Traffic, Trust};
pub use undo::Undo;

use engine::{Engine, FoldRule};
use observe::{Observers, Turn};
use runner::Inbox;
use transport::Transport;
use watch::Watch;

/// How often whoever waits for an arrival looks again of itself, in case the wake-up came in between.
const WAIT_STEP: Duration = Duration::from_millis(250);

/// An open store and its connection to the server. Cheap to clone; the store is closed with the last clone and document.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Mutex<Engine>,
    /// Something arrived, was acknowledged, or was merged.
    arrived: Condvar,
    observers: Arc<Observers>,
    inbox: Arc<Inbox>,
    token: Mutex<Option<String>>,
    transport: Option<Arc<dyn Transport>>,
    /// Whether the background session keeps a live connection.
    live: bool,
    status: Mutex<Status>,
    runner: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// How often the app stopped the background session.
    stops: AtomicU64,
    /// What another process writes, for observers.
    watch: Watch,
    /// The store was restored or copied, so its feed may have been written on from there elsewhere.
    restored: bool,
    /// One export at a time.
    exporting: Mutex<()>,
    /// Where tokens come from, if not from the app.
    refresher: Option<account::Refresher>,
}

/// What the server has not got yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Edits that are not sealed into changes.
    pub journal_edits: u64,
    /// Changes that the server has not acknowledged.
    pub outbox_changes: u64,
}

/// An own change that the server refused. It stays in the store, out of its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Its place in this device's feed.
    pub n: u64,
    /// The document.
    pub doc: DocId,
    /// Why.
    pub code: RejectCode,
}

impl Client {
    /// A client on the store file at `path`.
    pub fn builder(path: impl AsRef<Path>) -> ClientBuilder {
        ClientBuilder::new(path.as_ref())
    }

    /// Saves what can be read of a damaged store into a new one in its place. The damaged file is copied aside first;
    /// gives the copy's path and how many rows were saved. What is missing then comes back from the server.
    pub fn repair(path: impl AsRef<Path>) -> Result<(PathBuf, u64), OpenError> {
        let (mut store, copy, saved) = store::repair(path.as_ref())?;
        if let Ok(identity) = identity::settle(&mut store, None) {
            let mut engine = Engine::open(store, identity.user, identity.device).map_err(OpenError::of_repair)?;
            engine.recover_what_can_be().map_err(OpenError::of_repair)?;
        }
        Ok((copy, saved))
    }

    /// Whose store this is.
    pub fn user(&self) -> String {
        self.engine().user.clone()
    }

    /// On which device.
    pub fn device(&self) -> DeviceId {
        self.engine().device
    }

    /// The user's own space, which every client takes part in.
    pub fn personal_space(&self) -> SpaceId {
        SpaceId::personal(&self.engine().user)
    }

    /// Takes part in a space. Where it does already but had no [access](Self::has_access), the server is asked once more.
    pub fn add_space(&self, space: SpaceId) -> Result<(), ClientError> {
        // Under the lock, so that a space that is removed again is removed behind this.
        let mut engine = self.engine();
        engine.add_space(space)?;
        self.shared.inbox.add(space);
        Ok(())
    }

    /// Creates a document, with what its collection's [schema](ClientBuilder::schema) says. It is durable when this returns, and
    /// exists on the server after the next exchange.
    pub fn create(&self, space: SpaceId, collection: &str) -> Result<Doc, ClientError> {
        let id = {
            let mut engine = self.engine();
            let id = engine.create(space, collection)?;
            self.shared.collected(&engine, space, id, Turn::Added);
            id
        };
        self.shared.observers.listed(space);
        self.shared.inbox.edited(space);
        self.open_doc(space, id)
    }

    /// Opens a document that is here.
    pub fn open_doc(&self, space: SpaceId, doc: DocId) -> Result<Doc, ClientError> {
        self.engine().loaded(space, doc)?;
        Ok(Doc::new(self.clone(), space, doc))
    }

    /// Opens a document that is here, held at what this device last wrote upon. What has arrived beside that is merged as
    /// the hold is told to, and when it is dropped.
    pub fn open_doc_held(&self, space: SpaceId, doc: DocId) -> Result<(Doc, Hold), ClientError> {
        let doc = self.open_doc(space, doc)?;
        let hold = doc.hold_at_own()?;
        Ok((doc, hold))
    }

    /// Deletes a document for good, on every device.
    pub fn delete(&self, space: SpaceId, doc: DocId) -> Result<(), ClientError> {
        {
            let mut engine = self.engine();
            engine.delete(space, doc)?;
            self.shared.collected(&engine, space, doc, Turn::Removed);
        }
        self.shared.observers.listed(space);
        self.shared.observers.deleted(space, doc);
        self.shared.inbox.edited(space);
        Ok(())
    }

    /// A new access token, of the same user and device.
    pub fn set_token(&self, token: impl Into<String>) {
        self.shared.set_token(token.into());
    }

    /// The access token that is used now.
    pub(crate) fn token(&self) -> Option<String> {
        lock(&self.shared.token).clone()
    }

    /// Calls `callback` when a new access token is wanted: the one there is runs out soon, or is not taken any more. It is
    /// called on a thread of the client's own, also for a wish from before, and may be called again until
    /// [`set_token`](Self::set_token).
    ///
    /// ```no_run
    /// # fn fetch_token() -> String { String::new() }
    /// # fn f(client: &sync_client_ffi::Client) {
    /// let renewing = client.clone();
    /// let subscription = client.on_token_wanted(move || renewing.set_token(fetch_token()));
    /// # drop(subscription);
    /// # }
    /// ```
    pub fn on_token_wanted(&self, callback: impl Fn() + Send + Sync + 'static) -> Subscription {
        self.shared.observers.observe_token(Arc::new(callback))
    }

    /// Tells the client that the operating system's network came, went or changed. What is open is looked at at once, and
    /// replaced if it does not answer.
    pub fn network_changed(&self, online: bool) {
        self.shared.inbox.network_changed(online);
        self.shared.nudge(online);
    }

    /// Tells the client that the app came to the foreground, or went to the background. There it sends what is pending,
    /// closes the connection and does nothing more, until it comes back or [`sync_once`](Self::sync_once) is called.
    pub fn set_foreground(&self, foreground: bool) {
        self.shared.inbox.foreground(foreground);
        self.shared.nudge(false);
    }

    /// Starts exchanging changes in the background, until [`stop`](Self::stop) or until the last handle is dropped.
    pub fn start(&self) -> Result<(), ClientError> {
        self.engine().is_open()?;
        runner::start(&self.shared)?;
        self.shared.nudge(false);
        Ok(())
    }

    /// Stops exchanging changes; what is under way is given up, and comes again.
    pub fn stop(&self) {
        self.shared.stops.fetch_add(1, Ordering::AcqRel);
        runner::stop(&self.shared);
    }

    /// How synchronisation stands.
    pub fn status(&self) -> Status {
        *lock(&self.shared.status)
    }

    /// Where the app is updated, once the server has found it too old ([`Trouble::UpgradeRequired`](crate::Trouble)).
    pub fn update_url(&self) -> Option<String> {
        self.shared.transport.as_ref().and_then(|transport| transport.update_url())
    }

    /// Tells `callback` of changes of the status, at once, on a thread of its own. While it is busy, later ones replace
    /// earlier ones.
    pub fn on_status(&self, callback: impl Fn(Status) + Send + Sync + 'static) -> Subscription {
        self.shared.observers.observe_status(Arc::new(callback))
    }

    /// What of a space the server has not got yet.
    pub fn pending(&self, space: SpaceId) -> Result<Pending, ClientError> {
        let (journal_edits, outbox_changes) = self.engine().pending(space)?;
        Ok(Pending { journal_edits, outbox_changes })
    }

    /// How far every feed of a space has arrived here, the own one included.
    pub fn version(&self, space: SpaceId) -> Result<VersionVector, ClientError> {
        let engine = self.engine();
        let state = engine.space(space)?;
        let mut version = state.shown_version();
        // What is to be written anew has no place in any feed yet.
        if engine.feed_of(space)? == engine.device {
            version.advance(engine.device, state.row.own.n);
        }
        Ok(version)
    }

    /// The place in this device's own feed.
    pub fn feed(&self, space: SpaceId) -> Result<FeedHead, ClientError> {
        Ok(self.engine().row(space)?.own)
    }

    /// How far the server has acknowledged this device's own feed.
    pub fn acknowledged(&self, space: SpaceId) -> Result<FeedHead, ClientError> {
        Ok(self.engine().row(space)?.acked)
    }

    /// How many entries of the space's log have been read.
    pub fn log_position(&self, space: SpaceId) -> Result<u64, ClientError> {
        Ok(self.engine().row(space)?.cursor.seq)
    }

    /// Own changes that the server refused.
    pub fn refused(&self, space: SpaceId) -> Result<Vec<Refused>, ClientError> {
        let engine = self.engine();
        engine.space(space)?;
        let refused = engine.store.read().refused(space)?;
        Ok(refused.into_iter().map(|(n, doc, code)| Refused { n, doc, code }).collect())
    }

    /// Waits until a change of some device has arrived here (or, of this device, is acknowledged). `false` if it has not
    /// in time.
    pub fn wait_for(&self, space: SpaceId, device: DeviceId, n: u64, timeout: Duration) -> bool {
        let id = ChangeId { device, n };
        self.wait_until(timeout, |engine| {
            let Ok(state) = engine.space(space) else { return false };
            if engine.feed_of(space).is_ok_and(|feed| feed == device) {
                state.row.acked.n >= n
            } else {
                state.shown_version().contains(id)
            }
        })
    }

    /// Waits until everything this device wrote in a space is acknowledged by the server. `false` if it is not in time.
    pub fn wait_acknowledged(&self, space: SpaceId, timeout: Duration) -> bool {
        self.wait_until(timeout, |engine| engine.pending(space).is_ok_and(|pending| pending == (0, 0)))
    }

    fn wait_until(&self, timeout: Duration, holds: impl Fn(&Engine) -> bool) -> bool {
        let until = Instant::now() + timeout;
        let mut engine = self.engine();
        loop {
            if holds(&engine) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.arrived.wait_timeout(engine, left.min(WAIT_STEP));
            engine = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What went over the wire since the client was opened.
    pub fn traffic(&self) -> Traffic {
        self.shared.transport.as_ref().map_or_else(Traffic::default, |transport| transport.traffic())
    }

    /// Lets the store grow by so many pages and no more, as if the disk were full; 0 lifts the limit. For tests.
    #[doc(hidden)]
    pub fn limit_store_pages(&self, pages: u32) -> Result<(), ClientError> {
        Ok(self.engine().store.limit_pages(pages)?)
    }

    /// Folds the store when so few entries of a log are left as they are, and so few changes of a document are old. For tests.
    #[doc(hidden)]
    pub fn fold_sooner(&self, entries_kept: u64, changes_min: u64) {
        self.engine().folds = FoldRule { entries_kept, changes_min, step: 1 };
    }

    /// Whether the client was opened for [reading](ClientBuilder::read_only).
    pub fn is_read_only(&self) -> bool {
        lock(&self.shared.engine).is_read_only()
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        let mut engine = lock(&self.shared.engine);
        engine.refresh();
        engine
    }
}

impl Shared {
    /// Shows how synchronisation stands.
    fn show(&self, status: Status) {
        let before = std::mem::replace(&mut *lock(&self.status), status);
        if before != status {
            self.observers.status(status);
        }
    }

    fn want_token(&self) {
        tracing::info!("the server wants a new access token");
        self.observers.token_wanted();
        if let Some(refresher) = &self.refresher {
            // For another device the user has to sign in.
            if lock(&self.engine).wanted_device().is_none() {
                refresher.want(lock(&self.token).clone());
            }
        }
    }

    fn set_token(&self, token: String) {
        match lock(&self.engine).takes_token(&token) {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("a token of a device that this store was is of no use");
                return;
            }
            // It is asked for again.
            Err(error) => return tracing::error!(%error, "the token's device could not be stored"),
        }
        *lock(&self.token) = Some(token);
        self.observers.token_came();
        self.inbox.token_changed();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inbox.stop();
        self.observers.close();
        self.nudge(false);
    }
}

/// A panic under the lock leaves what SQLite and the pure core hold whole: both change in one step at the end.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
