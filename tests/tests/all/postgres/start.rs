//! A node that does not fit its database says why and does not start.

mod needs_postgres {
    use sync_server::auth::keys::{self, KeyIds};
    use sync_server::store::cluster::Cluster;
    use sync_server::store::postgres::{PostgresError, PostgresStore, migrate};
    use sync_server::{BuildError, Config, Server};
    use sync_tests::services;

    use crate::postgres::{at, keys as named};

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
        let error = PostgresStore::open(&at(database.url()), &named("a")).await.err().unwrap();
        assert!(matches!(error, PostgresError::Schema { found: 0, .. }), "{error}");
        assert!(error.to_string().contains("sync-server migrate"));
        // Yesterday's server runs on tomorrow's schema.
        migrate(&at(database.url())).await.unwrap();
        database.ask("INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')");
        PostgresStore::open(&at(database.url()), &named("a")).await.unwrap();
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
        let two = keys::Keys::open(&folder.path().join("two")).unwrap().ids();
        PostgresStore::accept_keys(&config, &two).await.unwrap();
        node("two").await.unwrap().shutdown().await;
    }

    /// A node's signing keys, the one that signs in the middle.
    fn rotated(previous: &str, signing: &str, next: &str) -> KeyIds {
        let some = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let (previous, next) = (some(previous), some(next));
        KeyIds { signing: signing.to_owned(), previous, next, receipts: "the same".to_owned() }
    }

    #[tokio::test]
    async fn nodes_fit_while_keys_follow_each_other() {
        let database = services::database();
        let config = at(database.url());
        migrate(&config).await.unwrap();
        let node = async |keys: &KeyIds| PostgresStore::open(&config, keys).await;
        let written = || database.ask("SELECT signing_key FROM cluster");
        let (first, second, third) = (rotated("", "a", "b"), rotated("a", "b", "c"), rotated("b", "c", "d"));
        let old = node(&first).await.unwrap();
        assert_eq!(written(), "a");
        node(&second).await.unwrap();
        assert_eq!(written(), "b", "what is written down moves with the first node that signs with the next key");
        node(&first).await.unwrap();
        assert_eq!(written(), "b", "one that is behind moves nothing back");
        let error = node(&third).await.map(|_| ()).and(node(&first).await.map(|_| ())).unwrap_err();
        assert!(matches!(error, PostgresError::OtherKeys { which: "signing key", .. }), "two behind: {error}");
        assert_eq!(written(), "c");
        let receipts = KeyIds { receipts: "another".to_owned(), ..third.clone() };
        let error = node(&receipts).await.err().unwrap();
        assert!(matches!(error, PostgresError::OtherKeys { which: "receipt key", .. }), "{error}");
        // A node that runs through it all, and saw no other start.
        database.ask("UPDATE cluster SET signing_key = 'a'");
        old.keys_rotated(&first, &second).await.unwrap();
        assert_eq!(written(), "b");
        old.keys_rotated(&first, &second).await.unwrap();
        database.ask("UPDATE cluster SET signing_key = 'c'");
        old.keys_rotated(&first, &second).await.unwrap();
        assert_eq!(written(), "c", "others are ahead");
        database.ask("UPDATE cluster SET signing_key = 'x'");
        old.keys_rotated(&first, &second).await.unwrap_err();
        assert_eq!(written(), "x", "keys of others are not written over");
    }

    #[tokio::test]
    async fn a_running_node_writes_down_rotated_keys() {
        let database = services::database();
        let config = at(database.url());
        migrate(&config).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_owned();
        let node =
            || Server::builder().config(Config { data: data.clone(), database: config.clone(), ..Config::default() });
        let server = node().build().await.unwrap();
        let rotate = || keys::rotate(&data, std::time::SystemTime::now(), true).unwrap();
        for _ in 0..2 {
            rotate();
            let id = keys::Keys::open(&data).unwrap().ids().signing;
            let told = async {
                while database.ask("SELECT signing_key FROM cluster") != id {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            // It looks every five seconds.
            tokio::time::timeout(std::time::Duration::from_secs(20), told).await.expect("the database is told");
        }
        // Its first key is forgotten by now: without what was written down, no node could start.
        node().build().await.unwrap().shutdown().await;
        server.shutdown().await;
    }

    #[tokio::test]
    async fn a_database_that_forgets_is_refused() {
        let database = services::database();
        let config = at(database.url());
        migrate(&config).await.unwrap();
        let name = database.url().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
        database.ask(&format!("ALTER DATABASE {name} SET synchronous_commit = off"));
        let error = PostgresStore::open(&config, &named("a")).await.err().unwrap();
        assert!(matches!(&error, PostgresError::NotDurable { setting } if setting == "synchronous_commit"), "{error}");
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_read_is_not_shown() {
        let error = PostgresStore::open(&at("postgres//ann:geheim@nowhere"), &named("a")).await.err().unwrap();
        assert!(matches!(error, PostgresError::Url), "{error}");
        assert!(!format!("{error} {error:?}").contains("geheim"));
    }
}
