//! The store on Postgres: it conforms, alone and behind a pooler; its schema can be sharded; a replica answers only what it
//! provably knows; a node that does not fit does not start.

use sync_server::auth::keys::KeyIds;
use sync_server::config::Database;
use sync_server::store::postgres::{PostgresError, PostgresStore, migrate};

mod audit;
mod conformance;
mod replica;
mod schema;
mod start;

/// A configuration for that database.
fn at(url: &str) -> Database {
    Database { url: Some(url.to_owned().into()), ..Database::default() }
}

fn keys(name: &str) -> KeyIds {
    KeyIds { signing: name.to_owned(), receipts: name.to_owned(), ..KeyIds::default() }
}

/// A store on that database, with its schema.
async fn open(config: &Database) -> Result<PostgresStore, PostgresError> {
    migrate(config).await?;
    PostgresStore::open(config, &keys("the same")).await
}
