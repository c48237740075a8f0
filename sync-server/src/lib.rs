//! Rejoin's server: an axum router over a durable log.
//!
//! ```no_run
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::Router;
//! use sync_server::Server;
//!
//! let server = Server::builder().data("data").build().await?;
//! let app = Router::new().nest("/rejoin", server.router());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
//! axum::serve(listener, app).await?;
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Limits per address need to know it: serve with
//! `app.into_make_service_with_connect_info::<std::net::SocketAddr>()`, or have a layer put axum's `ConnectInfo<SocketAddr>`
//! into the extensions of requests; without, only the limits of users and devices apply.
//!
//! On its own: [`run`], or the binary `sync-server`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use axum::Router;
use sync_core::id::SpaceId;
use sync_core::ledger;
use sync_core::wire::account::{NewDevice, TokenResponse};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::app::{App, Parts};
use crate::audit::flags::Flags;
use crate::audit::keeper::Keeper;
use crate::auth::accounts::Accounts;
use crate::auth::callers::Callers;
use crate::auth::devices::DeviceGate;
use crate::auth::grants::clients::Clients;
use crate::auth::issuers::{Identity, Issuers};
use crate::auth::keys::{KeyError, Keys};
use crate::auth::sessions::{self, NotBegun};
use crate::auth::token::{TokenError, Tokens};
use crate::auth::upkeep;
use crate::bus::memory::MemoryBus;
use crate::bus::redis::{RedisBus, UrlError};
use crate::bus::{Bus, Publisher};
use crate::compaction::{Compactor, Round, Workshop};
use crate::limiter::Limiter;
use crate::limiter::memory::MemoryLimiter;
use crate::limiter::redis::{RedisLimiter, RedisOptions};
use crate::live::Live;
use crate::outbound::TlsError;
use crate::router::address::Addresses;
use crate::router::gate::Gate;
use crate::router::limit::Limits;
use crate::router::observe::RequestIds;
use crate::router::serve;
use crate::store::audit::Audit;
use crate::store::inspect::Inspect;
use crate::store::postgres::{PostgresError, PostgresStore};
use crate::store::registry::Registry;
use crate::store::sqlite::{MigrateError, SqliteStore};
use crate::store::{Store, StoreError};
use crate::validation::{Validate, Validator, Webhook};
use crate::versions::Manifest;
use crate::writer::Writer;

mod app;
mod audit;
pub mod auth;
pub mod bus;
mod clock;
pub mod compaction;
pub mod config;
mod error;
mod exchange;
mod fanout;
mod handlers;
mod levels;
pub mod limiter;
mod live;
mod outbound;
pub mod probe;
mod random;
mod router;
pub mod seed;
pub mod store;
pub mod telemetry;
pub mod transfer;
pub mod validation;
pub mod verify;
pub mod versions;
pub mod writer;

pub use audit::kinds as audit_kinds;
pub use audit::operator::{Deed, done_by_operator};
pub use auth::Caller;
pub use clock::Clock;
pub use config::Config;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use router::direct::Direct;
pub use router::routes;

/// Why a server cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration is at fault.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// The keys are.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The embedded store is.
    #[error(transparent)]
    Store(#[from] MigrateError),
    /// Postgres is.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// Asking others is: OpenID providers, or the app itself.
    #[error(transparent)]
    Outbound(#[from] TlsError),
    /// The URL of Redis is.
    #[error(transparent)]
    Redis(#[from] UrlError),
    /// Counting in Redis is.
    #[error("limits in Redis: {0}")]
    Limiter(#[source] store::Cause),
    /// What a password's hash is to cost is.
    #[error("[accounts]: {0}")]
    Passwords(#[from] argon2::Error),
    /// The operating system is.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The task that opens the files was cancelled.
    #[error("opening the data folder was cancelled")]
    Cancelled,
}

/// Why nobody was found to be who an ID token names. What was wrong with it is nothing for whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is not taken.
    #[error("the ID token is not taken")]
    Refused,
    /// The provider could not be asked for its keys.
    #[error("the provider cannot be asked now")]
    Unavailable,
}

/// A server that is ready to be routed to.
pub struct Server {
    app: App,
}

/// What a [`Server`] is built of.
#[derive(Default)]
pub struct ServerBuilder {
    config: Config,
    store: Option<Arc<dyn Store>>,
    registry: Option<Arc<dyn Registry>>,
    bus: Option<Arc<dyn Bus>>,
    hook: Option<Arc<dyn Validate>>,
    clock: Clock,
    workshop: Workshop,
}

impl ServerBuilder {
    /// The configuration; the defaults do without.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The data folder, for the keys and the embedded store. Set it after [`config`](Self::config), which names one too.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.data = folder.into();
        self
    }

    /// A store of your own for the logs, instead of the one that the configuration names.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// A registry of your own, instead of the one that the configuration names.
    #[must_use]
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// A clock of your own, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// This node's end of a bus that others are on, too, instead of the one that `redis.url` names; without either, the server
    /// is alone.
    #[must_use]
    pub fn bus(mut self, bus: Arc<dyn Bus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Asks the app whether changes may be taken, instead of the webhook that the configuration names; its bounds and its policy
    /// apply all the same. The function is called before changes are taken and must not block; what takes longer implements
    /// [`Validate`].
    ///
    /// ```
    /// use sync_server::Server;
    /// use sync_server::validation::{Proposal, Refusal, What};
    ///
    /// let builder = Server::builder().validate(|proposal: &Proposal| {
    ///     let private = |what: &What| matches!(what, What::Create { collection } if collection == "private");
    ///     let refused = proposal.items.iter().filter(|item| private(&item.what));
    ///     Ok(refused.map(|item| Refusal { n: item.n, reason: "a reserved collection".into() }).collect())
    /// });
    /// ```
    #[must_use]
    pub fn validate(mut self, hook: impl Validate) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Where documents are folded; in this process, where nothing is said.
    #[must_use]
    pub fn workshop(mut self, workshop: Workshop) -> Self {
        self.workshop = workshop;
        self
    }

    /// Opens keys and store, creating and migrating what is needed.
    pub async fn build(self) -> Result<Server, BuildError> {
        let Self { config, store, registry, bus, hook, clock, workshop } = self;
        config.validate()?;
        let folder = config.keys_folder().to_owned();
        let keys = aside({
            let folder = folder.clone();
            move || Keys::open(&folder)
        });
        let keys = keys.await??;
        let ids = keys.ids();
        let (store, registry) = match (store, registry) {
            (Some(store), Some(registry)) => (store, registry),
            (store, registry) => {
                let storage = open_storage(&config, &keys).await?;
                (store.unwrap_or(storage.store), registry.unwrap_or(storage.registry))
            }
        };
        let mut nodes = Arc::new(AtomicU32::new(config.redis.nodes));
        let bus: Arc<dyn Bus> = match (bus, &config.redis.url) {
            (Some(bus), _) => bus,
            (None, Some(url)) => {
                let bus = RedisBus::open(url, &config.redis)?;
                nodes = bus.nodes();
                Arc::new(bus)
            }
            (None, None) => Arc::new(MemoryBus::new()),
        };
        let publisher = Publisher::new(Arc::clone(&bus), keys.receipts.clone());
        let limits = limits(&config, nodes).await?;
        let clients = Clients::new(&config);
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let tokens = Tokens::new(keys.signing, &config.token).with_clock(clock.clone());
        let issuers = Issuers::new(&config.token, &clock)?;
        let devices = DeviceGate::new(Arc::clone(&registry));
        let live = Live::new(
            config.live,
            bus,
            Arc::clone(&store),
            Arc::clone(&registry),
            &devices,
            clock.clone(),
            u64::from_be_bytes(random),
        );
        let mut node = [0; 16];
        getrandom::fill(&mut node)?;
        let audit =
            Arc::new(Keeper::new(Arc::clone(&registry) as Arc<dyn Audit>, clock.clone(), config.audit.keep_days));
        let writer = Writer::audited(Arc::clone(&store), publisher, Arc::clone(&audit));
        let compaction = config.compaction.clone();
        let fanout = Arc::clone(&live.fanout);
        let compactor =
            Compactor::new(Arc::clone(&registry), writer.clone(), fanout, compaction, clock.clone(), workshop, node);
        let manifest = Manifest::open(Arc::clone(&registry), config.versions.period()).await;
        let hook = match hook {
            Some(hook) => Some(hook),
            None => Webhook::new(&config.validation, &clock)?.map(|webhook| Arc::new(webhook) as Arc<dyn Validate>),
        };
        let parts = Parts {
            manifest,
            validator: hook.map(|hook| Validator::new(hook, &config.validation)),
            writer,
            store,
            live,
            registry,
            callers: Callers::new(tokens, issuers, folder),
            accounts: Accounts::new(&config.accounts)?,
            clients,
            devices,
            refresh: keys.refresh,
            token: config.token,
            receipts: keys.receipts,
            limits,
            invite_link: config.spaces.invite_link,
            data: config.data,
            gate: Gate::new(config.http.requests_in_flight_max),
            addresses: Addresses::new(&config.http),
            flags: Flags::new(config.flags, Arc::clone(&audit), clock.clone()),
            clock,
            compactor,
            audit,
            http: config.http,
            request_ids: RequestIds::new()?,
        };
        let parts = Arc::new(parts);
        upkeep::start(&parts, ids);
        parts.compactor.start();
        Ok(Server { app: App(parts) })
    }
}

/// One database in its two roles.
#[derive(Clone)]
pub struct Storage {
    /// The logs.
    pub store: Arc<dyn Store>,
    /// All else.
    pub registry: Arc<dyn Registry>,
    /// Its rows as they are.
    pub inspect: Arc<dyn Inspect>,
}

impl Storage {
    fn of<T: Store + Registry + Inspect>(database: T) -> Self {
        let database = Arc::new(database);
        let registry = Arc::clone(&database) as Arc<dyn Registry>;
        Self { store: Arc::clone(&database) as Arc<dyn Store>, registry, inspect: database }
    }
}

/// The database that the configuration names: Postgres where it has a URL, else the embedded one.
pub async fn open_storage(config: &Config, keys: &Keys) -> Result<Storage, BuildError> {
    if config.database.url.is_some() {
        return Ok(Storage::of(PostgresStore::open(&config.database, &keys.ids()).await?));
    }
    let (data, options) = (config.data.clone(), config.sqlite.options());
    Ok(Storage::of(aside(move || SqliteStore::open(&data, &options)).await??))
}

/// Files are opened where nobody else is held up.
async fn aside<T: Send + 'static>(open: impl FnOnce() -> T + Send + 'static) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(open).await.map_err(|_| BuildError::Cancelled)
}

/// Who counts, where there are rules.
async fn limits(config: &Config, nodes: Arc<AtomicU32>) -> Result<Option<Limits>, BuildError> {
    if config.limits.rules.is_empty() {
        return Ok(None);
    }
    let limiter: Arc<dyn Limiter> = match &config.redis.url {
        Some(url) => {
            let options = RedisOptions { url: url.expose().to_owned(), prefix: config.redis.prefix.clone() };
            let opened = RedisLimiter::open(&options, nodes).await;
            Arc::new(opened.map_err(|error| BuildError::Limiter(error.into()))?)
        }
        None => Arc::new(MemoryLimiter::default()),
    };
    Ok(Some(Limits::new(config, limiter)))
}

impl Server {
    /// Begins to build a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Its routes, to be served as they are or nested in an app of your own.
    pub fn router(&self) -> Router {
        router::router(self.app.clone())
    }

    /// Its store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.app.store
    }

    /// What it keeps beside logs.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.app.registry
    }

    /// Sets what a user may do in a space, which comes into being where it was not; `None` ends the membership. Live
    /// connections on all nodes hear of it; of what is set in the [`store`](Self::store) alone they learn within half a minute.
    pub async fn set_role(&self, space: SpaceId, user: &str, role: Option<ledger::Role>) -> Result<(), StoreError> {
        self.app.store.set_role(space, user, role).await?;
        self.app.live.fanout.tell_access(space, user.to_owned());
        audit::record(&self.app, None, Deed::RoleSet(space, role).event(user, "the app")).await;
        Ok(())
    }

    /// A token for a user on a device, signed with the server's own key.
    pub fn issue_token(&self, caller: &Caller, lifetime: Duration) -> Result<String, TokenError> {
        self.app.callers.tokens().issue(caller, lifetime)
    }

    /// Whom an ID token of one of the configured OpenID providers is of, and that it was issued for this sign-in; `nonce` is
    /// the one that the sign-in was begun with, where there was one.
    pub async fn identity(&self, id_token: &str, nonce: Option<&str>) -> Result<Identity, IdentityError> {
        let identity = self.app.callers.issuers().identity(id_token, nonce).await;
        identity.map_err(|error| if error.is_passing() { IdentityError::Unavailable } else { IdentityError::Refused })
    }

    /// Registers a device of a user whom you have signed in by your own means, and begins a session on it: what
    /// `POST /v1/devices` does for proofs that this server checks.
    pub async fn begin_session(
        &self,
        user: &str,
        display_name: Option<&str>,
        device: NewDevice,
    ) -> Result<TokenResponse, NotBegun> {
        let begun = sessions::begin(&self.app, None, user, display_name, device).await;
        begun.map_err(|error| NotBegun::from(&error))
    }

    /// Numbers for Prometheus in its text format; `None` where [`telemetry::metrics::install`] was not called.
    pub async fn metrics(&self) -> Option<String> {
        levels::set(&self.app).await;
        telemetry::metrics::render()
    }

    /// Serves them at `GET /metrics` on a listener of their own, until `shutdown`.
    pub async fn serve_metrics(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        router::metrics::serve(self.app.clone(), listener, shutdown).await;
    }

    /// Serves on that listener until `shutdown`, then stops in good order: see [`shutdown`](Self::shutdown).
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let stop = || self.stop();
        serve::serve(listener, self.router(), &self.app.http, shutdown, stop).await;
        self.finish().await;
    }

    /// Goes round all documents now, as the background job does now and then: folds what has grown, drops what is not needed
    /// any more, purges what was deleted.
    pub async fn compact(&self) -> Result<Round, StoreError> {
        self.app.compactor.round().await
    }

    /// Excludes a change, as compaction does with one that breaks its document. `false` where the log does not have it, or
    /// excludes it already.
    #[cfg(feature = "testing")]
    pub async fn exclude(
        &self,
        space: SpaceId,
        doc: sync_core::id::DocId,
        hash: sync_core::id::Hash,
    ) -> Result<bool, StoreError> {
        self.app.compactor.exclude_any(space, doc, hash).await
    }

    /// Refuses new requests, closes live connections, answers those under way (or refuses them, to be sent again, when they take longer than
    /// `http.shutdown_timeout_ms`), commits what was taken, and closes the store.
    pub async fn shutdown(&self) {
        self.stop().await;
        self.finish().await;
    }

    async fn stop(&self) {
        tokio::join!(self.app.gate.stop(self.deadline()), self.app.live.stop(self.deadline()));
    }

    async fn finish(&self) {
        self.app.compactor.stop();
        if timeout(self.deadline(), self.app.writer.drain()).await.is_err() {
            tracing::warn!("the storage did not finish in time; nothing that it still holds was acknowledged");
        }
        if timeout(self.deadline(), self.app.accounts.settled()).await.is_err() {
            tracing::warn!("attempts to sign in are still under way after the deadline of the shutdown");
        }
        self.app.audit.close(self.deadline()).await;
        self.app.live.fanout.close().await;
        if let Err(error) = self.app.store.close().await {
            tracing::warn!(%error, "closing the store");
        }
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(self.app.http.shutdown_timeout_ms)
    }
}

/// Builds a server and serves on a bound listener until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), BuildError> {
    let server = Server::builder().config(config).build().await?;
    server.serve(listener, shutdown).await;
    Ok(())
}
