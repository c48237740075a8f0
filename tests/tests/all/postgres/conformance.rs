//! What every store must do, done by Postgres.

use std::sync::Arc;

use sync_server::config::Database;
use sync_server::store::postgres::PostgresStore;
use sync_server::store::registry::Registry;
use sync_server::store::{Store, conformance};

use super::{at, keys, open};

/// All of it, also over a connection that is opened anew.
async fn conforms(config: &Database) {
    let store = Arc::new(PostgresStore::open(config, &keys("the same")).await.unwrap());
    conformance::registry(Arc::clone(&store) as Arc<dyn Registry>).await;
    conformance::sharing::sharing(&store).await;
    conformance::snapshots(&*store).await;
    conformance::lifecycle(&*store).await;
    conformance::epochs(&*store).await;
    conformance::exclusions(&*store).await;
    let store: Arc<dyn Store> = store;
    conformance::all(Arc::clone(&store)).await;
    let memory = conformance::remember(&*store).await;
    store.close().await.unwrap();
    assert!(store.ping().await.is_err(), "it is closed");
    conformance::recall(&PostgresStore::open(config, &keys("the same")).await.unwrap(), memory).await;
}

mod needs_postgres {
    use super::*;
    use sync_tests::services;

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres_conforms() {
        let database = services::database();
        let config = at(database.url());
        open(&config).await.unwrap().close().await.unwrap();
        conforms(&config).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_connection_is_enough() {
        let database = services::database();
        let config = Database { connections_max: 1, ..at(database.url()) };
        open(&config).await.unwrap().close().await.unwrap();
        conforms(&config).await;
    }
}

mod prepared_needs_postgres {
    use super::*;
    use sync_tests::services;

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres_with_prepared_statements_conforms() {
        let database = services::database();
        // Few connections, so that each statement is soon a prepared one.
        let config = Database { connections_max: 2, prepare: true, ..at(database.url()) };
        open(&config).await.unwrap().close().await.unwrap();
        conforms(&config).await;
    }
}

mod needs_pgbouncer {
    use super::*;
    use sync_tests::services;

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres_behind_a_pooler_conforms() {
        let database = services::pooled_database();
        let config = at(database.url());
        open(&config).await.unwrap().close().await.unwrap();
        conforms(&config).await;
    }
}
