//! Connections: how they are made, how many, and that none goes back to the pool in the middle of something.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, PoolError, TimeoutType};
use deadpool_postgres::{ManagerConfig, RecyclingMethod};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::{PoolLevels, StoreError};
use super::error::{self, PostgresError};
use super::session::{Manager, Session};
use crate::config::{Database, Secret};

/// What a node calls itself in `pg_stat_activity`.
const APPLICATION: &str = "rejoin";
/// A connection that says nothing is asked whether it lives, so that one which a firewall forgot is found.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Connections to one database, each made when it is needed first.
#[derive(Clone)]
pub(super) struct Pool {
    connections: deadpool::managed::Pool<Manager>,
    /// How long one step may take, waiting for locks included.
    step_max: Duration,
    /// How a transaction that writes is opened.
    begin: Arc<str>,
}

/// A node that is cut off in the middle must not hold a space's lock for longer than one that works would.
const BOUNDED: [&str; 2] = ["statement_timeout", "idle_in_transaction_session_timeout"];

impl Pool {
    pub(super) fn new(url: &Secret, config: &Database) -> Result<Self, PostgresError> {
        let postgres = parse(url, config)?;
        let tls = tls(config, postgres.get_ssl_mode())?;
        // No query upon taking one: a connection that broke is known to be closed, and what fails half-way never comes back.
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = deadpool_postgres::Manager::from_config(postgres, tls, manager);
        let step_ms = config.statement_timeout_ms;
        let mut begin = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
        // A session is a pooler's; a transaction is one's own.
        let setup = if config.prepare {
            // All that a commit asks are look-ups by whole keys: the plan is the same for all of them, and making it anew
            // each time took longer than carrying it out.
            begin.push_str("; SET LOCAL plan_cache_mode = force_generic_plan");
            Some(BOUNDED.map(|setting| format!("SET {setting} = {step_ms}")).join("; "))
        } else {
            begin.extend(BOUNDED.map(|setting| format!("; SET LOCAL {setting} = {step_ms}")));
            None
        };
        let manager = Manager::new(manager, setup);
        let connect = Duration::from_millis(config.connect_timeout_ms);
        let connections = deadpool::managed::Pool::builder(manager)
            .max_size(config.connections_max)
            .wait_timeout(Some(Duration::from_millis(config.acquire_timeout_ms)))
            .create_timeout(Some(connect))
            .recycle_timeout(Some(connect))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| PostgresError::Pool(Box::new(error)))?;
        Ok(Self { connections, step_max: Duration::from_millis(step_ms), begin: begin.into() })
    }

    /// Works with a connection, for no longer than a step may take. Whatever does not end well costs the connection, and
    /// with it what was begun in the database: a transaction never outlives the work that it was opened for.
    pub(super) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lease = Lease(Some(self.connections.get().await.map_err(unavailable)?));
        let Some(client) = lease.client() else { return Err(StoreError::Fault("a lease without a connection".into())) };
        let done = timeout(self.step_max, work(client)).await;
        match done.unwrap_or_else(|_| Err(StoreError::Unavailable("the database took too long".into()))) {
            Ok(done) => {
                // What was done is done, whatever becomes of the connection.
                if matches!(timeout(self.step_max, client.prepare()).await, Ok(Ok(()))) {
                    lease.give_back();
                }
                Ok(done)
            }
            // Told before anything was begun, or after it was ended.
            Err(error @ (StoreError::UnknownSpace | StoreError::DeletedSpace)) => {
                lease.give_back();
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// How a transaction that writes is opened. Each of its statements sees what was committed before it.
    pub(super) fn begin(&self) -> &str {
        &self.begin
    }

    /// How busy they are.
    pub(super) fn levels(&self) -> PoolLevels {
        let status = self.connections.status();
        PoolLevels { connections: status.size, connections_max: status.max_size, waiters: status.waiting }
    }

    pub(super) fn close(&self) {
        self.connections.close();
    }
}

/// A connection that is closed when it is dropped before it is given back.
struct Lease(Option<Object<Manager>>);

impl Lease {
    fn client(&self) -> Option<&Session> {
        self.0.as_deref()
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

fn unavailable(error: PoolError<tokio_postgres::Error>) -> StoreError {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => StoreError::Busy,
        // Whatever it is, the database is not to be had now.
        PoolError::Backend(error) => StoreError::Unavailable(error::text(&error)),
        other => StoreError::Unavailable(Box::new(other)),
    }
}

/// Reads the URL. What it says of certificates beyond "require" is what `require` means here: they are always verified.
pub(super) fn parse(url: &Secret, config: &Database) -> Result<tokio_postgres::Config, PostgresError> {
    let text =
        url.expose().replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
    // The library's text may quote what it could not read, and a password with it.
    let mut postgres: tokio_postgres::Config = text.parse().map_err(|_| PostgresError::Url)?;
    if postgres.get_hosts().is_empty() && postgres.get_hostaddrs().is_empty() {
        return Err(PostgresError::Url);
    }
    postgres.connect_timeout(Duration::from_millis(config.connect_timeout_ms));
    postgres.tcp_user_timeout(Duration::from_millis(config.statement_timeout_ms));
    postgres
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES);
    if postgres.get_application_name().is_none() {
        postgres.application_name(APPLICATION);
    }
    Ok(postgres)
}

/// TLS with the system's certificate authorities and those of the configuration.
pub(super) fn tls(config: &Database, mode: SslMode) -> Result<MakeRustlsConnect, PostgresError> {
    let mut roots = RootCertStore::empty();
    if mode != SslMode::Disable {
        let system = rustls_native_certs::load_native_certs();
        let (_, unusable) = roots.add_parsable_certificates(system.certs);
        if unusable > 0 || !system.errors.is_empty() {
            tracing::debug!(unusable, errors = ?system.errors, "certificates of the system");
        }
    }
    if let Some(path) = &config.ca_file {
        let file = |error| PostgresError::CaFile { path: path.clone(), error };
        let mut reader = BufReader::new(File::open(path).map_err(|error| file(error.to_string()))?);
        for certificate in CertificateDer::pem_reader_iter(&mut reader) {
            let certificate = certificate.map_err(|error| file(error.to_string()))?;
            roots.add(certificate).map_err(|error| file(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.map_err(|error| PostgresError::Tls(error.to_string()))?;
    Ok(MakeRustlsConnect::new(client.with_root_certificates(roots).with_no_client_auth()))
}
