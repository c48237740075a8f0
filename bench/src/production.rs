//! Postgres beside SQLite, in one run: how many changes a second become durable, and what a bare program reaches that only
//! inserts the rows.

mod bare;
pub mod cold;
pub mod nodes;
mod recorder;
pub mod writers;

use std::sync::Arc;

use sync_server::auth::keys::KeyIds;
use sync_server::config::Database;
use sync_server::store::Store;
use sync_server::store::postgres::{PostgresStore, migrate};

/// A store on an empty database.
async fn postgres_store(url: &str) -> Arc<dyn Store> {
    let config = database(url);
    migrate(&config).await.expect("the schema");
    let keys = KeyIds { signing: "bench".into(), receipts: "bench".into(), ..KeyIds::default() };
    Arc::new(PostgresStore::open(&config, &keys).await.expect("a store"))
}

fn database(url: &str) -> Database {
    // Nothing stands between.
    Database { url: Some(url.to_owned().into()), prepare: true, ..Database::default() }
}
