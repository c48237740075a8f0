//! What every store must do, done by Postgres.

mod needs_postgres {
    use std::sync::Arc;

    use sync_server::auth::keys::KeyIds;
    use sync_server::store::postgres::{PostgresStore, migrate};
    use sync_server::store::{Store, conformance};

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres_conforms() {
        let mut config = sync_server::Config::default().database;
        config.url = Some(std::env::var("DATABASE_URL").unwrap().into());
        migrate(&config).await.unwrap();
        let keys = KeyIds { signing: "a".into(), receipts: "b".into() };
        let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&config, &keys).await.unwrap());
        conformance::all(Arc::clone(&store)).await;
        let memory = conformance::remember(&*store).await;
        store.close().await.unwrap();
        let store = PostgresStore::open(&config, &keys).await.unwrap();
        conformance::recall(&store, memory).await;
    }
}
