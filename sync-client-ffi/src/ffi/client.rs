//! The client: an open store and its connection to the server.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sync_core::feed::ChangeId;
use sync_core::id::{DeviceId, DocId, SpaceId};

use super::background::{blocking, guarded};
use super::document::Document;
use super::error::RejoinError;
use super::http::{HttpTransport, Stack, trust};
use super::observe::{
    AccessObserver, DeviceObserver, ListObserver, Peer, PresenceObserver, StatusObserver, Watch, told,
};
use super::provider::{self, TokenProvider};
use super::schema::CollectionSchema;
use super::session::Session;
use super::status::{QuarantinedChange, QuarantinedExport, SyncStatus, SyncSummary};
use crate::client::{Client, DocumentInfo, SyncError};

/// How a store is opened.
#[derive(Clone, uniffi::Record)]
pub struct OpenOptions {
    /// The store's file. It is made if it is not there.
    pub path: String,
    /// Who is signed in: server, user, device and tokens come from there, and are renewed by themselves.
    #[uniffi(default = None)]
    pub session: Option<Arc<Session>>,
    /// The server's address, for an app with tokens of its own, for example `https://sync.example.com`.
    #[uniffi(default = None)]
    pub server: Option<String>,
    /// An access token of the app's own; it names the user and the device.
    #[uniffi(default = None)]
    pub token: Option<String>,
    /// Where the next tokens come from, for an app with tokens of its own.
    #[uniffi(default = None)]
    pub token_provider: Option<Arc<dyn TokenProvider>>,
    /// Whose store this is, for an app that has no token yet.
    #[uniffi(default = None)]
    pub user: Option<String>,
    /// And on which device.
    #[uniffi(default = None)]
    pub device: Option<DeviceId>,
    /// Whether the background session keeps a live connection.
    #[uniffi(default = true)]
    pub live: bool,
    /// The app's platform: `ios`, `android`, `macos`, `windows`, `linux`, `web`, or another word.
    #[uniffi(default = None)]
    pub platform: Option<String>,
    /// The app's version, such as `2.4.1`.
    #[uniffi(default = None)]
    pub app_version: Option<String>,
    /// For a widget or an extension: reads beside the app that writes, takes no lock, and refuses edits with `ReadOnly`.
    #[uniffi(default = false)]
    pub read_only: bool,
    /// A file that backups leave out (Android: in `noBackupFilesDir`; iOS: with `isExcludedFromBackup` set), by which a store
    /// that was restored from a backup is known: `is_restored`. Give it at each opening.
    #[uniffi(default = None)]
    pub marker_path: Option<String>,
    /// The server's own keys, of which it must have one: base64 of the SHA-256 of the public key, as in `sha256/…=`. Pin two,
    /// one of them in reserve.
    #[uniffi(default = [])]
    pub pins: Vec<String>,
    /// Authorities that are trusted beyond the system's, such as a company's own: certificates in DER.
    #[uniffi(default = [])]
    pub roots: Vec<Vec<u8>>,
    /// What the documents of collections are made of. Give it at each opening.
    #[uniffi(default = [])]
    pub schemas: Vec<CollectionSchema>,
    /// HTTP of the app's own, instead of the library's. There is no live connection then.
    #[uniffi(default = None)]
    pub http: Option<Arc<dyn HttpTransport>>,
}

impl OpenOptions {
    /// The store at that path, and nothing else.
    pub fn at(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            session: None,
            server: None,
            token: None,
            token_provider: None,
            user: None,
            device: None,
            live: true,
            platform: None,
            app_version: None,
            read_only: false,
            marker_path: None,
            pins: Vec::new(),
            roots: Vec::new(),
            schemas: Vec::new(),
            http: None,
        }
    }
}

/// A document in a list.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct DocumentEntry {
    /// Its id.
    pub document: DocId,
    /// In which collection.
    pub collection: String,
}

impl From<DocumentInfo> for DocumentEntry {
    fn from(info: DocumentInfo) -> Self {
        Self { document: info.id, collection: info.collection }
    }
}

/// What the server has not got yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct PendingCounts {
    /// Edits that are not sealed into changes.
    pub edits: u64,
    /// Changes that the server has not acknowledged.
    pub changes: u64,
}

/// What is behind the handles: the client, until it is shut.
pub(super) struct Open {
    client: RwLock<Option<Client>>,
}

impl Open {
    pub(super) fn client(&self) -> Result<Client, RejoinError> {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        client.clone().ok_or_else(RejoinError::closed)
    }
}

/// An open store and its connection to the server.
#[derive(uniffi::Object)]
pub struct RejoinClient {
    pub(super) open: Arc<Open>,
    /// Asks for tokens as long as the client is open.
    renewing: RwLock<Option<Arc<Watch>>>,
}

/// Saves what can be read of a damaged store into a new one in its place; gives where the untouched copy is.
#[uniffi::export]
pub async fn repair_store(path: String) -> Result<String, RejoinError> {
    blocking(move || Client::repair(path).map(|(copy, _)| copy.display().to_string())).await
}

#[uniffi::export]
impl RejoinClient {
    /// Opens a store, or makes it; replays what a kill left. Nothing waits for the network.
    #[uniffi::constructor]
    pub async fn open(options: OpenOptions) -> Result<Arc<Self>, RejoinError> {
        blocking(move || Self::open_now(options)).await
    }

    /// Opens as `open` does, on the caller's thread, in the time of some disk reads.
    #[uniffi::constructor]
    pub fn open_blocking(options: OpenOptions) -> Result<Arc<Self>, RejoinError> {
        guarded(|| Self::open_now(options))
    }

    /// Shuts the store: the session ends, the lock is given back, and every handle of this client says `Closed`.
    pub fn shutdown(&self) {
        drop(self.renewing.write().unwrap_or_else(PoisonError::into_inner).take());
        let client = self.open.client.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(client) = client {
            client.stop();
        }
    }

    /// Whose store this is.
    pub fn user(&self) -> Result<String, RejoinError> {
        self.with(|client| Ok::<_, RejoinError>(client.user()))
    }

    /// On which device.
    pub fn device(&self) -> Result<DeviceId, RejoinError> {
        self.with(|client| Ok::<_, RejoinError>(client.device()))
    }

    /// The user's own space, which every client takes part in.
    pub fn personal_space(&self) -> Result<SpaceId, RejoinError> {
        self.with(|client| Ok::<_, RejoinError>(client.personal_space()))
    }

    /// Takes part in a space; asks for access once more where there was none.
    pub fn add_space(&self, space: SpaceId) -> Result<(), RejoinError> {
        self.with(|client| client.add_space(space))
    }

    /// Whether the server lets this user into a space, as far as is known here.
    pub fn has_access(&self, space: SpaceId) -> Result<bool, RejoinError> {
        self.with(|client| client.has_access(space))
    }

    /// Creates a document; it is on disk when this returns.
    pub fn create_document(&self, space: SpaceId, collection: String) -> Result<Arc<Document>, RejoinError> {
        let doc = self.with(|client| client.create(space, &collection))?;
        Ok(Document::new(self.open.clone(), space, doc.id()))
    }

    /// Opens a document that is here.
    pub fn document(&self, space: SpaceId, document: DocId) -> Result<Arc<Document>, RejoinError> {
        self.with(|client| client.open_doc(space, document))?;
        Ok(Document::new(self.open.clone(), space, document))
    }

    /// Deletes a document for good, on every device.
    pub fn delete_document(&self, space: SpaceId, document: DocId) -> Result<(), RejoinError> {
        self.with(|client| client.delete(space, document))
    }

    /// The documents of a space, or of one collection in it, in the order in which they were made. Where there may be many,
    /// ask for `document_page`.
    #[uniffi::method(default(collection = None))]
    pub fn documents(&self, space: SpaceId, collection: Option<String>) -> Result<Vec<DocumentEntry>, RejoinError> {
        let all = self.with(|client| client.documents(space, collection.as_deref()))?;
        Ok(all.into_iter().map(Into::into).collect())
    }

    /// What of a space the server has not got yet.
    pub fn pending(&self, space: SpaceId) -> Result<PendingCounts, RejoinError> {
        let pending = self.with(|client| client.pending(space))?;
        Ok(PendingCounts { edits: pending.journal_edits, changes: pending.outbox_changes })
    }

    /// Own changes that did not take effect for others.
    pub fn quarantine(&self, space: SpaceId) -> Result<Vec<QuarantinedChange>, RejoinError> {
        Ok(self.with(|client| client.quarantine(space))?.into_iter().map(Into::into).collect())
    }

    /// A change in quarantine, with its operations as readable text.
    pub fn export_quarantined(
        &self,
        space: SpaceId,
        device: DeviceId,
        n: u64,
    ) -> Result<QuarantinedExport, RejoinError> {
        self.with(|client| client.export_quarantined(space, ChangeId { device, n })).map(Into::into)
    }

    /// Makes a change that is in quarantine anew, as an edit upon what its document is now; it goes to the server like any
    /// other. What of it makes no sense there stays in quarantine: `false` if anything does.
    pub fn apply_quarantined(&self, space: SpaceId, device: DeviceId, n: u64) -> Result<bool, RejoinError> {
        self.with(|client| client.apply_quarantined(space, ChangeId { device, n }))
    }

    /// Forgets what a change in quarantine says, for good. Its place, its hash and the reason stay.
    pub fn drop_quarantined(&self, space: SpaceId, device: DeviceId, n: u64) -> Result<(), RejoinError> {
        self.with(|client| client.drop_quarantined(space, ChangeId { device, n }))
    }

    /// Devices that this store was before it was restored from a backup or copied.
    pub fn former_devices(&self) -> Result<Vec<DeviceId>, RejoinError> {
        self.with(Client::former_devices)
    }

    /// Starts exchanging changes in the background.
    pub fn start(&self) -> Result<(), RejoinError> {
        self.with(Client::start)
    }

    /// Stops it; what is under way is given up, and comes again.
    pub fn stop(&self) -> Result<(), RejoinError> {
        self.with(|client| {
            client.stop();
            Ok::<_, RejoinError>(())
        })
    }

    /// Exchanges changes until everything is up to date, or until time or the byte budget (of all bodies, in both directions)
    /// runs out; the next call goes on from there. For the time that the system gives to an app in the background.
    #[uniffi::method(default(byte_budget = None))]
    pub async fn sync_once(&self, deadline_ms: u64, byte_budget: Option<u64>) -> Result<SyncSummary, RejoinError> {
        let client = self.open.client()?;
        blocking(move || exchange(&client, deadline_ms, byte_budget)).await
    }

    /// The same on the caller's thread.
    #[uniffi::method(default(byte_budget = None))]
    pub fn sync_once_blocking(&self, deadline_ms: u64, byte_budget: Option<u64>) -> Result<SyncSummary, RejoinError> {
        self.with(|client| exchange(client, deadline_ms, byte_budget))
    }

    /// Waits until the server has everything that this device wrote in a space. `false` if it has not in time.
    pub async fn wait_durable(&self, space: SpaceId, timeout_ms: u64) -> Result<bool, RejoinError> {
        let client = self.open.client()?;
        let wait = move || Ok::<_, RejoinError>(client.wait_acknowledged(space, Duration::from_millis(timeout_ms)));
        blocking(wait).await
    }

    /// A silent push arrived: a JSON object with an optional list of spaces in `spaces`. Gives which of them are used here;
    /// where there are any, `sync_once` is to be called, which asks for those first.
    pub fn on_push(&self, payload: &str) -> Result<Vec<SpaceId>, RejoinError> {
        self.with(|client| client.on_push(payload))
    }

    /// Whether the store was restored from a backup or copied, as its marker shows: then it goes on as another device.
    pub fn is_restored(&self) -> Result<bool, RejoinError> {
        self.with(|client| Ok::<_, RejoinError>(client.is_restored()))
    }

    /// The device that the store goes on as, since it was restored from a backup or copied, while there is no token for it: get one
    /// for it, or for any other device that is new, and call `set_token`. Who is signed in signs in once more, as a device without
    /// an id. Edits go on meanwhile, and nothing is exchanged.
    pub fn wanted_device(&self) -> Result<Option<DeviceId>, RejoinError> {
        self.with(|client| Ok::<_, RejoinError>(client.wanted_device()))
    }

    /// Tells an observer of that device, each time that a token for it is wanted.
    pub fn observe_wanted_device(&self, observer: Arc<dyn DeviceObserver>) -> Result<Arc<Watch>, RejoinError> {
        let client = self.open.client()?;
        Ok(Watch::of(client.on_device_wanted(move |device| told(|| observer.on_device_wanted(device)))))
    }

    /// Whether it was opened for reading alone.
    pub fn is_read_only(&self) -> Result<bool, RejoinError> {
        self.with(|client| Ok::<_, RejoinError>(client.is_read_only()))
    }

    /// The operating system's network came, went or changed.
    pub fn on_network_changed(&self, online: bool) -> Result<(), RejoinError> {
        self.with(|client| {
            client.network_changed(online);
            Ok::<_, RejoinError>(())
        })
    }

    /// The app came to the foreground.
    pub fn on_foreground(&self) -> Result<(), RejoinError> {
        self.foreground(true)
    }

    /// The app went to the background: what is pending is sent, then the connection is closed.
    pub fn on_background(&self) -> Result<(), RejoinError> {
        self.foreground(false)
    }

    /// How synchronisation stands.
    pub fn status(&self) -> Result<SyncStatus, RejoinError> {
        self.with(|client| Ok::<_, RejoinError>(client.status().into()))
    }

    /// Where the app is updated, once the server has found it too old.
    pub fn update_url(&self) -> Result<Option<String>, RejoinError> {
        self.with(|client| Ok::<_, RejoinError>(client.update_url()))
    }

    /// A new access token, for an app with tokens of its own.
    pub fn set_token(&self, token: String) -> Result<(), RejoinError> {
        self.with(|client| {
            client.set_token(token);
            Ok::<_, RejoinError>(())
        })
    }

    /// Tells an observer how synchronisation stands, at each change.
    pub fn observe_status(&self, observer: Arc<dyn StatusObserver>) -> Result<Arc<Watch>, RejoinError> {
        let client = self.open.client()?;
        Ok(Watch::of(client.on_status(move |status| told(|| observer.on_status(status.into())))))
    }

    /// Tells an observer that documents of a space came or went.
    pub fn observe_documents(
        &self,
        space: SpaceId,
        observer: Arc<dyn ListObserver>,
    ) -> Result<Arc<Watch>, RejoinError> {
        let client = self.open.client()?;
        Ok(Watch::of(client.on_documents(space, move || told(|| observer.on_list()))))
    }

    /// Tells an observer that access to a space was lost or came back.
    pub fn observe_access(&self, space: SpaceId, observer: Arc<dyn AccessObserver>) -> Result<Arc<Watch>, RejoinError> {
        let client = self.open.client()?;
        Ok(Watch::of(client.on_access(space, move || told(|| observer.on_access()))))
    }

    /// Shows something to whoever else is in a space, for as long as this client is connected, and `ttl_ms` longer.
    pub fn set_presence(&self, space: SpaceId, data: Vec<u8>, ttl_ms: u64) -> Result<(), RejoinError> {
        self.with(|client| client.set_presence(space, data, Duration::from_millis(ttl_ms)))
    }

    /// Shows nothing any more in a space.
    pub fn clear_presence(&self, space: SpaceId) -> Result<(), RejoinError> {
        self.with(|client| client.clear_presence(space))
    }

    /// Who else shows itself in a space now.
    pub fn peers(&self, space: SpaceId) -> Result<Vec<Peer>, RejoinError> {
        self.with(|client| Ok::<_, RejoinError>(client.peers(space).into_iter().map(Into::into).collect()))
    }

    /// Tells an observer who else shows itself in a space.
    pub fn observe_presence(
        &self,
        space: SpaceId,
        observer: Arc<dyn PresenceObserver>,
    ) -> Result<Arc<Watch>, RejoinError> {
        let client = self.open.client()?;
        let tell = move |peers: &[crate::client::PeerInfo]| {
            let peers = peers.iter().cloned().map(Into::into).collect();
            told(|| observer.on_presence(peers));
        };
        Ok(Watch::of(client.on_presence(space, tell)))
    }
}

impl RejoinClient {
    fn open_now(options: OpenOptions) -> Result<Arc<Self>, RejoinError> {
        let mut builder = Client::builder(&options.path).live(options.live);
        if let Some(session) = &options.session {
            builder = builder.signed_in(session.refresher());
        }
        if let Some(server) = options.server {
            builder = builder.server(server);
        }
        if let Some(token) = options.token {
            builder = builder.token(token);
        }
        match (options.user, options.device) {
            (Some(user), Some(device)) => builder = builder.identity(user, device),
            (None, None) => {}
            _ => return Err(RejoinError::invalid("a store's user and device are given together, or neither is")),
        }
        match (options.platform, options.app_version) {
            (Some(platform), Some(version)) => builder = builder.app(platform, version),
            (None, None) => {}
            _ => return Err(RejoinError::invalid("an app's platform and version are given together, or neither is")),
        }
        if options.read_only {
            builder = builder.read_only();
        }
        if let Some(path) = options.marker_path {
            builder = builder.marker(path);
        }
        // Where nothing is said here, what the session holds to holds.
        builder = builder.trust(trust(&options.pins, options.roots)?);
        if let Some(http) = options.http {
            builder = builder.http_stack(Arc::new(Stack(http)));
        }
        for schema in options.schemas {
            builder = builder.schema(schema.try_into()?);
        }
        let client = builder.open()?;
        let renewing = options.token_provider.map(|provider| provider::attach(&client, provider));
        let open = Arc::new(Open { client: RwLock::new(Some(client)) });
        Ok(Arc::new(Self { open, renewing: RwLock::new(renewing) }))
    }

    pub(super) fn with<T, E: Into<RejoinError>>(
        &self,
        work: impl FnOnce(&Client) -> Result<T, E>,
    ) -> Result<T, RejoinError> {
        let client = self.open.client()?;
        guarded(|| work(&client))
    }

    fn foreground(&self, foreground: bool) -> Result<(), RejoinError> {
        self.with(|client| {
            client.set_foreground(foreground);
            Ok::<_, RejoinError>(())
        })
    }
}

fn exchange(client: &Client, deadline_ms: u64, byte_budget: Option<u64>) -> Result<SyncSummary, SyncError> {
    let deadline = Duration::from_millis(deadline_ms);
    let report = match byte_budget {
        Some(budget) => client.sync_once_within(deadline, budget)?,
        None => client.sync_once(deadline)?,
    };
    Ok(report.into())
}

impl Drop for RejoinClient {
    fn drop(&mut self) {
        self.shutdown();
    }
}
