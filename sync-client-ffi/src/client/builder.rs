//! Opening a client.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use sync_core::id::{DeviceId, SpaceId};
use sync_core::session::Status;

use super::account::Refresher;
use super::engine::Engine;
use super::error::{ClientError, OpenError};
use super::identity::{self, Identity};
use super::runner::Inbox;
use super::store;
use super::transport::{Http, Transport};
use super::{Client, Shared};

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

    /// Opens the store, or creates it; replays and seals what a kill left in the journal.
    pub fn open(mut self) -> Result<Client, OpenError> {
        let app = self.refresher.as_ref().map(Refresher::of_app).unwrap_or_default();
        if let Some((platform, version)) = self.app.take() {
            app.named(&platform, &version).map_err(|_| OpenError::BadApp { platform, version })?;
        }
        let transport: Option<Arc<dyn Transport>> = match &self.server {
            Some(server) => Some(Arc::new(Http::new(server, app)?)),
            None => None,
        };
        self.open_over(transport)
    }

    pub(super) fn open_over(self, transport: Option<Arc<dyn Transport>>) -> Result<Client, OpenError> {
        let claimed = match (self.identity, &self.token) {
            (Some(identity), _) => Some(identity),
            (None, Some(token)) => Some(Identity::of_token(token).ok_or(OpenError::BadToken)?),
            (None, None) => None,
        };
        let mut store = store::create_or_open(&self.path)?;
        let damaged = |error: ClientError| match error {
            ClientError::Store(error) => OpenError::Store(error),
            ClientError::DiskFull => OpenError::Store(store::StoreError::DiskFull),
            // Anything else that an opening meets means that the file does not hold what it should.
            _ => store::corrupt(&self.path),
        };
        let identity = identity::settle(&mut store, claimed).map_err(|error| match error {
            OpenError::Store(store::StoreError::Corrupt) => store::corrupt(&self.path),
            other => other,
        })?;
        let personal = SpaceId::personal(&identity.user);
        let mut engine = Engine::open(store, identity.user, identity.device).map_err(damaged)?;
        engine.recover().map_err(damaged)?;
        engine.add_space(personal).map_err(damaged)?;
        let spaces: Vec<SpaceId> = engine.spaces.keys().copied().collect();
        let shared = Shared {
            engine: Mutex::new(engine),
            arrived: Condvar::new(),
            observers: Arc::default(),
            inbox: Arc::new(Inbox::new(spaces)),
            token: Mutex::new(self.token),
            transport,
            live: self.live,
            status: Mutex::new(Status::Offline),
            runner: Mutex::new(None),
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
