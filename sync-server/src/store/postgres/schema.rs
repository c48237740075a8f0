//! The schema: bringing it to this version, and making sure of it.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::types::Type;

use super::super::StoreError;
use super::error::PostgresError;
use super::pool::{self, Pool};
use super::row;
use super::session::Session;
use crate::config::Database;

mod embedded {
    //! The numbered SQL files, inside the binary.
    refinery::embed_migrations!("../migrations/postgres");
}

/// "RJoi": the advisory lock under which the schema is changed.
const MIGRATION_LOCK: i64 = 0x524a_6f69;
/// A database that does not answer yet is asked again after this, and then less and less often.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Settings without which a crash takes what was acknowledged.
const DURABILITY: [&str; 3] = ["fsync", "full_page_writes", "synchronous_commit"];

/// What migrating did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Names of the migrations that were applied now.
    pub applied: Vec<String>,
    /// The schema's version.
    pub version: i32,
}

/// Brings the schema to this version. Nodes that do so at once wait for each other. It speaks to the database in a session,
/// so its URL should be the database's own, not that of a pooler.
pub async fn migrate(config: &Database) -> Result<Migrated, PostgresError> {
    let url = config.url.as_ref().ok_or(PostgresError::NoUrl)?;
    let postgres = pool::parse(url, config)?;
    let tls = pool::tls(config, postgres.get_ssl_mode())?;
    // One holds the lock, in a transaction that ends with it, whatever happens; the other one works.
    let (guard, guarding) = postgres.connect(tls.clone()).await?;
    let guarding = tokio::spawn(guarding);
    let (mut worker, working) = postgres.connect(tls).await?;
    let working = tokio::spawn(working);
    guard.batch_execute("BEGIN").await?;
    guard.query_typed("SELECT pg_advisory_xact_lock($1)", &[(&MIGRATION_LOCK, Type::INT8)]).await?;
    let runner = embedded::migrations::runner();
    let report = runner.run_async(&mut worker).await?;
    guard.batch_execute("COMMIT").await?;
    drop((guard, worker));
    for connection in [guarding, working] {
        // All that was to be done is done, and answered.
        if let Ok(Err(error)) = connection.await {
            tracing::debug!(%error, "closing a connection");
        }
    }
    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
    Ok(Migrated { applied, version: needed() })
}

/// The version that this server was written for.
fn needed() -> i32 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or_default()
}

/// Waits for a database that cannot be reached yet, and refuses one that is not to be relied on.
pub(super) async fn wait_until_ready(pool: &Pool, patience: Duration) -> Result<(), PostgresError> {
    let until = Instant::now() + patience;
    let mut pause = RETRY_PAUSE;
    loop {
        match pool.with(async |client| Ok((version(client).await?, not_durable(client).await?))).await {
            Ok((_, Some(setting))) => return Err(PostgresError::NotDurable { setting }),
            Ok((found, None)) => return is_fit(found, needed()),
            Err(StoreError::Unavailable(error)) if Instant::now() < until => {
                tracing::warn!(%error, "waiting for the database");
            }
            Err(error) => return Err(error.into()),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}

/// Migrations only ever add, so yesterday's server runs on today's schema.
fn is_fit(found: i32, needed: i32) -> Result<(), PostgresError> {
    if found > needed {
        tracing::info!(found, needed, "the database's schema is of a newer version");
    }
    if found >= needed { Ok(()) } else { Err(PostgresError::Schema { found, needed }) }
}

async fn version(client: &Session) -> Result<i32, StoreError> {
    let found = client.query_typed("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[]).await?;
    if !found.first().map_or(Ok(false), |found| row::get(found, 0))? {
        return Ok(0);
    }
    let found = client.query_typed("SELECT coalesce(max(version), 0) FROM refinery_schema_history", &[]).await?;
    found.first().map_or(Ok(0), |found| row::get(found, 0))
}

async fn not_durable(client: &Session) -> Result<Option<String>, StoreError> {
    let names = DURABILITY.as_slice();
    let found = client
        .query_typed(
            "SELECT name FROM pg_settings WHERE name = ANY($1) AND setting = 'off'",
            &[(&names, Type::TEXT_ARRAY)],
        )
        .await?;
    found.first().map(|found| row::get(found, 0)).transpose()
}

/// Whether the database would be written to.
pub(super) async fn ping(client: &Session) -> Result<(), StoreError> {
    let found = client.query_typed("SELECT NOT pg_is_in_recovery()", &[]).await?;
    match found.first().map(|found| row::get(found, 0)).transpose()? {
        Some(true) => Ok(()),
        _ => Err(StoreError::Unavailable("the database takes no writes: it is a standby".into())),
    }
}
