//! PgBouncer.

mod needs_pgbouncer {
    use sync_tests::services;

    #[test]
    fn a_shared_one_passes_new_databases_on() {
        let database = services::pooled_database();
        database.ask("CREATE TABLE t (n int)");
        assert_eq!(database.ask("INSERT INTO t VALUES (1) RETURNING n"), "1");
    }

    mod needs_own_postgres {
        use sync_tests::services::daemon::wait_until;
        use sync_tests::services::pgbouncer::PgBouncer;
        use sync_tests::services::postgres::{Postgres, sql};

        use super::super::super::is_alive;

        #[test]
        fn it_answers_again_after_postgres_was_killed_and_after_itself_was() {
            let mut postgres = Postgres::start();
            let mut pgbouncer = PgBouncer::start(&postgres);
            let url = pgbouncer.url("postgres");
            assert_eq!(sql(&url, "SELECT 1").unwrap(), "1");
            assert!(sql(&pgbouncer.url("pgbouncer"), "SHOW POOLS").unwrap().contains("|transaction"));
            // Meanwhile it lets its clients wait.
            postgres.kill();
            postgres.restart();
            wait_until("PgBouncer answers", || sql(&url, "SELECT 1").is_ok());
            pgbouncer.kill();
            assert!(sql(&url, "SELECT 1").is_err());
            pgbouncer.restart();
            assert_eq!(sql(&url, "SELECT 1").unwrap(), "1");
            let process = pgbouncer.id();
            drop(pgbouncer);
            assert!(!is_alive(process));
        }
    }
}
