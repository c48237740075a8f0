//! A node that does not fit its database says why and does not start.

mod needs_postgres {
    use sync_server::store::postgres::{PostgresError, PostgresStore, migrate};
    use sync_server::{BuildError, Config, Server};
    use sync_tests::services;

    use crate::postgres::{at, keys};

    #[tokio::test]
    async fn nodes_that_migrate_at_once_wait_for_each_other() {
        let database = services::database();
        let config = at(database.url());
        let all = futures_util::future::join_all((0..4).map(|_| migrate(&config))).await;
        let applied: usize = all.into_iter().map(|migrated| migrated.unwrap().applied.len()).sum();
        let again = migrate(&config).await.unwrap();
        assert_eq!((applied as i32, again.applied.len()), (again.version, 0), "each migration once");
    }

    #[tokio::test]
    async fn an_old_schema_is_told() {
        let database = services::database();
        let error = PostgresStore::open(&at(database.url()), &keys("a")).await.err().unwrap();
        assert!(matches!(error, PostgresError::Schema { found: 0, .. }), "{error}");
        assert!(error.to_string().contains("sync-server migrate"));
        // Yesterday's server runs on tomorrow's schema.
        migrate(&at(database.url())).await.unwrap();
        database.ask("INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')");
        PostgresStore::open(&at(database.url()), &keys("a")).await.unwrap();
    }

    #[tokio::test]
    async fn a_node_with_other_keys_does_not_start() {
        let database = services::database();
        let config = at(database.url());
        migrate(&config).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let node = async |name: &str| {
            let data = folder.path().join(name);
            Server::builder().config(Config { data, database: config.clone(), ..Config::default() }).build().await
        };
        node("one").await.unwrap().shutdown().await;
        let error = node("two").await.err().unwrap();
        assert!(
            matches!(error, BuildError::Postgres(PostgresError::OtherKeys { which: "signing key", .. })),
            "{error}"
        );
        node("one").await.unwrap().shutdown().await;
        let two = sync_server::auth::keys::Keys::open(&folder.path().join("two")).unwrap().ids();
        PostgresStore::accept_keys(&config, &two).await.unwrap();
        node("two").await.unwrap().shutdown().await;
    }

    #[tokio::test]
    async fn a_database_that_forgets_is_refused() {
        let database = services::database();
        let config = at(database.url());
        migrate(&config).await.unwrap();
        let name = database.url().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
        database.ask(&format!("ALTER DATABASE {name} SET synchronous_commit = off"));
        let error = PostgresStore::open(&config, &keys("a")).await.err().unwrap();
        assert!(matches!(&error, PostgresError::NotDurable { setting } if setting == "synchronous_commit"), "{error}");
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_read_is_not_shown() {
        let error = PostgresStore::open(&at("postgres//ann:geheim@nowhere"), &keys("a")).await.err().unwrap();
        assert!(matches!(error, PostgresError::Url), "{error}");
        assert!(!format!("{error} {error:?}").contains("geheim"));
    }
}
