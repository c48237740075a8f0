//! Opening a client.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex};

use sync_core::id::{DeviceId, SpaceId};
use sync_core::session::Status;

use super::account::Refresher;
use super::engine::Engine;
use super::error::{ClientError, OpenError};
use super::identity::{self, Identity};
use super::runner::Inbox;
use super::schema::{self, Schema};
use super::transport::{Foreign, Http, HttpStack, Transport, Trust};
use super::watch::Watch;
use super::{Client, Shared, marker, store};

/// Opens a client.
#[must_use]
pub struct ClientBuilder {
    path: PathBuf,
    server: Option<String>,
    token: Option<String>,
    identity: Option<Identity>,
    refresher: Option<Refresher>,
    live: bool,
    app: Option<(String, String)>,
    read_only: bool,
    marker: Option<PathBuf>,
    trust: Trust,
    pins: Vec<String>,
    stack: Option<Arc<dyn HttpStack>>,
    schemas: Vec<Schema>,
}

impl ClientBuilder {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            server: None,
            token: None,
            identity: None,
            refresher: None,
            live: true,
            app: None,
            read_only: false,
            marker: None,
            trust: Trust::default(),
            pins: Vec::new(),
            stack: None,
            schemas: Vec::new(),
        }
    }

    /// The server's address, for example `https://sync.example.com`. Without one the client works offline.
    pub fn server(mut self, address: impl Into<String>) -> Self {
        self.server = Some(address.into());
        self
    }

    /// An access token. It names the user and the device, which a new store needs to know.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Whose store this is, for an app that has no token yet.
    pub fn identity(mut self, user: impl Into<String>, device: DeviceId) -> Self {
        self.identity = Some(Identity { user: user.into(), device });
        self
    }

    /// Server, user, device and tokens of whoever is signed in; the client asks for new tokens there by itself.
    pub fn signed_in(mut self, refresher: &Refresher) -> Self {
        let credentials = refresher.credentials();
        self.identity = Some(Identity { user: credentials.user, device: credentials.device });
        self.server = Some(credentials.server);
        self.token = Some(credentials.access_token.0);
        self.refresher = Some(refresher.clone());
        self
    }

    /// Whether the background session keeps a live connection, over which changes come and go in milliseconds. It does by
    /// default, and falls back to plain requests where something on the way does not let such connections through; with
    /// `false` it makes plain requests alone.
    ///
    /// ```no_run
    /// # use sync_client_ffi::Client;
    /// let client = Client::builder("store").server("https://sync.example.com").live(false).open()?;
    /// # Ok::<(), sync_client_ffi::OpenError>(())
    /// ```
    pub fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// The app that this is part of, for the server to know: its platform (`ios`, `android`, `macos`, `windows`, `linux`, `web`,
    /// or another word of a-z, 0-9 and -) and its version, such as `2.4.1`. A server that no longer serves that version says
    /// so, and where to update: [`SyncError::UpgradeRequired`](super::SyncError::UpgradeRequired). Where somebody is
    /// [signed in](Self::signed_in), it is said on account routes too.
    pub fn app(mut self, platform: impl Into<String>, version: impl Into<String>) -> Self {
        self.app = Some((platform.into(), version.into()));
        self
    }

    /// Reads a store that another process writes: a widget, an extension. No lock is taken; whatever the writer has committed
    /// is seen, also after it was killed, with what is in its journal. Edits are refused with
    /// [`ReadOnly`](ClientError::ReadOnly), nothing is synchronised, and observers of documents, lists and access hear
    /// of what the writer does within two seconds, a tenth of one where much happens: documents are told to be looked
    /// at again. The process must be allowed to write in the store's folder, where SQLite keeps an index beside the file.
    ///
    /// ```no_run
    /// # use sync_client_ffi::Client;
    /// let reader = Client::builder("store").read_only().open()?;
    /// let space = reader.personal_space();
    /// println!("{} documents", reader.documents(space, None).map_or(0, |documents| documents.len()));
    /// # Ok::<(), sync_client_ffi::OpenError>(())
    /// ```
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// A file that backups leave out, in which the store leaves a mark: on Android in `noBackupFilesDir`, on iOS with
    /// `isExcludedFromBackup` set. Where the store is there without it, it was restored from a backup or copied from another
    /// device: it [says so](Client::is_restored), and goes on as [another device](Client::wanted_device). Give it at each
    /// opening. Without it that is found out when the server is asked.
    pub fn marker(mut self, path: impl Into<PathBuf>) -> Self {
        self.marker = Some(path.into());
        self
    }

    /// Which servers are trusted beyond, or less than, what the system says. Where somebody is
    /// [signed in](Self::signed_in), what was said [there](Refresher::trust) holds unless this is called.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// [Pins](Trust::pin) on top: several keys, of which the server has to have one.
    pub fn pins(mut self, pins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.pins.extend(pins.into_iter().map(Into::into));
        self
    }

    /// What the documents of a collection are made of: new ones are made so, and older ones are brought to it when they are first
    /// edited. Give it at each opening, a collection at a time.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schemas.push(schema);
        self
    }

    /// HTTP of the app's own. There is no live connection then; [trust](Self::trust) is the app's own affair too.
    pub fn http_stack(mut self, stack: Arc<dyn HttpStack>) -> Self {
        self.stack = Some(stack);
        self
    }

    /// Opens the store, or creates it; replays and seals what a kill left in the journal.
    pub fn open(mut self) -> Result<Client, OpenError> {
        let app = self.refresher.as_ref().map(Refresher::of_app).unwrap_or_default();
        if let Some((platform, version)) = self.app.take() {
            app.named(&platform, &version).map_err(|_| OpenError::BadApp { platform, version })?;
        }
        if self.trust.is_default()
            && let Some(refresher) = &self.refresher
        {
            self.trust = refresher.trusts();
        }
        for pin in std::mem::take(&mut self.pins) {
            self.trust = self.trust.pin(&pin)?;
        }
        let transport: Option<Arc<dyn Transport>> = match (&self.server, self.stack.take()) {
            (Some(server), Some(stack)) => {
                self.live = false;
                Some(Arc::new(Foreign::new(server, app, stack)?))
            }
            (Some(server), None) => Some(Arc::new(Http::new(server, app, self.trust.clone())?)),
            (None, _) => None,
        };
        self.open_over(transport)
    }

    pub(super) fn open_over(mut self, transport: Option<Arc<dyn Transport>>) -> Result<Client, OpenError> {
        let schemas = schema::declare(std::mem::take(&mut self.schemas))?;
        let claimed = match (self.identity, &self.token) {
            (Some(identity), _) => Some(identity),
            (None, Some(token)) => Some(Identity::of_token(token).ok_or(OpenError::BadToken)?),
            (None, None) => None,
        };
        let mut store =
            if self.read_only { store::open_read_only(&self.path)? } else { store::create_or_open(&self.path)? };
        // Who only reads leaves copies to whoever writes.
        let corrupt = || {
            if self.read_only { OpenError::Store(store::StoreError::Corrupt) } else { store::corrupt(&self.path) }
        };
        let damaged = |error: ClientError| match error {
            ClientError::Store(error) => OpenError::Store(error),
            ClientError::DiskFull => OpenError::Store(store::StoreError::DiskFull),
            // Anything else that an opening meets means that the file does not hold what it should.
            _ => corrupt(),
        };
        let is_new = store.read().meta("device").is_ok_and(|device| device.is_none());
        let identity = identity::settle(&mut store, claimed).map_err(|error| match error {
            OpenError::Store(store::StoreError::Corrupt) => corrupt(),
            other => other,
        })?;
        let personal = SpaceId::personal(&identity.user);
        let marker = self.marker.filter(|_| !self.read_only);
        let restored = match &marker {
            Some(path) => !marker::check(&mut store, path, is_new)?,
            None => false,
        };
        let mut engine = Engine::open(store, identity.user, identity.device).map_err(damaged)?;
        engine.schemas = schemas;
        if !self.read_only {
            engine.recover().map_err(damaged)?;
            engine.add_space(personal).map_err(damaged)?;
        }
        if restored {
            tracing::warn!("this store was restored from a backup or copied");
            engine.begin_anew().map_err(damaged)?;
        }
        if let Some(path) = marker.filter(|_| restored) {
            marker::check(&mut engine.store, &path, false)?;
        }
        // With a token of a device that this store was, nothing would be exchanged as this one.
        let token = match self.token {
            Some(token) if self.read_only || engine.takes_token(&token).map_err(damaged)? => Some(token),
            _ => None,
        };
        let spaces: Vec<SpaceId> = engine.spaces.keys().copied().collect();
        let shared = Shared {
            engine: Mutex::new(engine),
            arrived: Condvar::new(),
            observers: Arc::default(),
            inbox: Arc::new(Inbox::new(spaces)),
            token: Mutex::new(token),
            transport,
            live: self.live,
            status: Mutex::new(Status::Offline),
            runner: Mutex::new(None),
            stops: AtomicU64::new(0),
            watch: Watch::default(),
            restored,
            exporting: Mutex::new(()),
            refresher: self.refresher,
        };
        let shared = Arc::new(shared);
        if let Some(refresher) = &shared.refresher {
            refresher.attach(Arc::downgrade(&shared));
        }
        Ok(Client { shared })
    }
}
