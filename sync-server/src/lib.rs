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
//! On its own: [`run`], or the binary `sync-server`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::app::{App, Parts};
use crate::auth::keys::{KeyError, Keys};
use crate::auth::token::{TokenError, Tokens};
use crate::bus::memory::MemoryBus;
use crate::bus::{Bus, Publisher};
use crate::live::Live;
use crate::router::gate::Gate;
use crate::router::observe::RequestIds;
use crate::router::serve;
use crate::store::Store;
use crate::store::sqlite::{MigrateError, SqliteStore};
use crate::writer::Writer;

mod app;
pub mod auth;
pub mod bus;
pub mod config;
mod error;
mod exchange;
mod fanout;
mod handlers;
mod live;
pub mod probe;
mod router;
pub mod seed;
pub mod store;
pub mod telemetry;
pub mod writer;

pub use auth::Caller;
pub use config::Config;
pub use handlers::spaces::{Role, SpaceOfCaller, SpacesResponse};

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
    /// The operating system is.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The task that opens the files was cancelled.
    #[error("opening the data folder was cancelled")]
    Cancelled,
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
    bus: Option<Arc<dyn Bus>>,
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

    /// A store of your own, instead of the embedded one.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// This node's end of a bus that others are on, too; without, the server is alone.
    #[must_use]
    pub fn bus(mut self, bus: Arc<dyn Bus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Opens keys and store, creating and migrating what is needed.
    pub async fn build(self) -> Result<Server, BuildError> {
        let Self { config, store, bus } = self;
        config.validate()?;
        let (data, options) = (config.data.clone(), config.sqlite.options());
        let open = move || -> Result<_, BuildError> {
            let keys = Keys::open(&data)?;
            let store = match store {
                Some(store) => store,
                None => Arc::new(SqliteStore::open(&data, &options)?) as Arc<dyn Store>,
            };
            Ok((keys, store))
        };
        let (keys, store) = tokio::task::spawn_blocking(open).await.map_err(|_| BuildError::Cancelled)??;
        let bus = bus.unwrap_or_else(|| Arc::new(MemoryBus::new()));
        let publisher = Publisher::new(Arc::clone(&bus), keys.receipts.clone());
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let live = Live::new(config.live, bus, Arc::clone(&store), u64::from_be_bytes(random));
        let parts = Parts {
            writer: Writer::new(Arc::clone(&store), publisher),
            store,
            live,
            tokens: Tokens::new(keys.signing, &config.token),
            receipts: keys.receipts,
            gate: Gate::new(config.http.requests_in_flight_max),
            http: config.http,
            request_ids: RequestIds::new()?,
        };
        Ok(Server { app: App(Arc::new(parts)) })
    }
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

    /// A token for a user on a device, signed with the server's own key.
    pub fn issue_token(&self, caller: &Caller, lifetime: Duration) -> Result<String, TokenError> {
        self.app.tokens.issue(caller, lifetime)
    }

    /// Serves on that listener until `shutdown`, then stops in good order: see [`shutdown`](Self::shutdown).
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let stop = || self.stop();
        serve::serve(listener, self.router(), &self.app.http, shutdown, stop).await;
        self.finish().await;
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
        if timeout(self.deadline(), self.app.writer.drain()).await.is_err() {
            tracing::warn!("the storage did not finish in time; nothing that it still holds was acknowledged");
        }
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
