//! Postgres, its replica, and databases of a shared one.

mod needs_own_postgres {
    use std::path::Path;

    use sync_tests::services::postgres::{Postgres, sql};

    use super::super::is_alive;

    #[test]
    fn what_was_committed_survives_kills() {
        let mut postgres = Postgres::start();
        let url = postgres.create_database("kept");
        sql(&url, "CREATE TABLE t (n int)").unwrap();
        for n in 1..=3 {
            sql(&url, &format!("INSERT INTO t VALUES ({n})")).unwrap();
            let process = postgres.id();
            postgres.kill();
            assert!(!is_alive(process));
            assert!(sql(&url, "SELECT 1").is_err());
            postgres.restart();
            assert_eq!(sql(&url, "SELECT count(*), max(n) FROM t").unwrap(), format!("{n}|{n}"));
        }
        assert_eq!(postgres.ask("SHOW fsync"), "on");
        assert_eq!(postgres.ask("SHOW synchronous_commit"), "on");
    }

    #[test]
    fn a_replica_pauses_and_catches_up() {
        let primary = Postgres::start();
        primary.ask("CREATE TABLE t (n int)");
        let replica = primary.replica();
        replica.catch_up(&primary);
        assert_eq!(replica.ask("SELECT count(*) FROM t"), "0");
        replica.pause_replay();
        primary.ask("INSERT INTO t VALUES (1)");
        assert_eq!(replica.ask("SELECT count(*) FROM t"), "0", "it is paused");
        replica.resume_replay();
        replica.catch_up(&primary);
        assert_eq!(replica.ask("SELECT count(*) FROM t"), "1");
        assert!(sql(&replica.url("postgres"), "INSERT INTO t VALUES (2)").is_err(), "it only reads");
    }

    #[test]
    fn nothing_is_left_after_it_neither_running_nor_dead() {
        let mut postgres = Postgres::start();
        let (process, folder) = (postgres.id(), postgres.folder().to_owned());
        drop(postgres);
        assert!(!is_alive(process) && !folder.exists());
        postgres = Postgres::start();
        let folder = postgres.folder().to_owned();
        postgres.kill();
        drop(postgres);
        assert!(!Path::new(&folder).exists());
    }
}

mod needs_postgres {
    use sync_tests::services;
    use sync_tests::services::postgres::sql;

    #[test]
    fn databases_are_apart_and_go_with_their_test() {
        let (one, other) = (services::database(), services::database());
        one.ask("CREATE TABLE t (n int)");
        assert!(sql(other.url(), "SELECT * FROM t").is_err());
        let url = one.url().to_owned();
        drop(one);
        assert!(sql(&url, "SELECT 1").is_err());
        assert_eq!(other.ask("SELECT 1, NULL, 'x'"), "1||x");
    }
}
