//! Who wants the audit log append-only on Postgres grants nodes no more than docs/deploy.md says: then nobody who has a node's
//! password changes or drops a row.

mod needs_postgres {
    use sync_server::Clock;
    use sync_server::store::audit::{Audit, AuditFilter, AuditId, AuditRow};
    use sync_server::store::postgres::PostgresStore;
    use sync_server::store::{Store, StoreError};
    use tokio_postgres::NoTls;
    use tokio_postgres::error::SqlState;

    use sync_tests::services::database;

    use crate::postgres::{at, keys, open};

    /// As docs/deploy.md has it.
    fn recipe() -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, rest) = text.split_once("-- what nodes may").expect("the recipe");
        rest.split("```").next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_node_with_the_rights_of_the_recipe_adds_to_the_audit_log_and_changes_nothing_in_it() {
        let database = database();
        open(&at(database.url())).await.unwrap();
        let (owner, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let name: String = owner.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
        // Roles are the whole cluster's.
        let role = format!("node_{name}");
        let as_role = recipe().replace("rejoin_node", &role);
        owner.batch_execute(&format!("CREATE ROLE {role} LOGIN; {as_role}")).await.unwrap();
        let url = format!("{}?options=-c%20role%3D{role}", database.url());
        let store = PostgresStore::open(&at(&url), &keys("the same")).await.unwrap();
        let now_ms = Clock::default().now_ms();
        let row = AuditRow {
            user: "ann".to_owned(),
            at_ms: 1,
            id: AuditId([7; 16]),
            kind: "signin.done".to_owned(),
            device: None,
            space: None,
            address: None,
            request_id: None,
            detail: None,
        };
        store.append_audit(vec![row.clone()]).await.unwrap();
        store.append_audit(vec![row.clone()]).await.unwrap();
        let purged = store.purge_audit(2, now_ms, 10).await;
        assert!(matches!(purged, Err(StoreError::Fault(_) | StoreError::Unavailable(_))), "{purged:?}");
        let (node, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        for forbidden in
            ["UPDATE audit SET kind = 'x'", "DELETE FROM audit", "TRUNCATE audit", "ALTER TABLE audit DISABLE RULE x"]
        {
            let error = node.batch_execute(forbidden).await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}: {error}");
        }
        let filter = || AuditFilter { limit: 10, ..AuditFilter::default() };
        assert_eq!(store.read_audit(filter()).await.unwrap(), [row]);
        // All else works as ever.
        assert!(store.claim_flag("ann", "flag.burst", 1, std::time::Duration::from_secs(1)).await.unwrap());
        assert_eq!(store.see("ann", "DE", 1).await.unwrap(), None);
        Store::close(&store).await.unwrap();
        drop(node);
        let owners = PostgresStore::open(&at(database.url()), &keys("the same")).await.unwrap();
        assert_eq!(owners.purge_audit(2, now_ms, 10).await.unwrap(), 1, "the owner purges");
        owner.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    }
}
