//! Postgres crashes under load, again and again, with and without a PgBouncer before it.

use sync_tests::services::postgres::Postgres;

use super::writers::Writers;

/// Each time from the midst of the work; meanwhile every node refuses in good order, and goes on by itself.
fn crash_restarts(crashes: usize, postgres: &mut Postgres, mut writers: Writers) {
    let count = writers.phones.len();
    for crash in 0..crashes {
        writers.progress(crash % count);
        postgres.kill();
        let acknowledged = writers.acknowledged();
        writers.demand_refusals();
        postgres.restart();
        writers.demand(crash % count, &acknowledged);
        // Every second time nothing tells the phones; the others spare them their pauses, and the test its time.
        if crash % 2 == 1 {
            writers.phones.iter().for_each(|phone| phone.network_changed(true));
        }
    }
    writers.finish();
}

mod needs_own_postgres_and_needs_redis {
    use sync_tests::nodes::Nodes;
    use sync_tests::services;
    use sync_tests::services::postgres::Postgres;

    use super::super::writers::Writers;
    use super::crash_restarts;

    #[test]
    fn twenty_crashes_of_postgres_lose_nothing_and_double_nothing() {
        let (mut postgres, redis) = (Postgres::start(), services::redis());
        let url = postgres.create_database("rejoin");
        let nodes = Nodes::start(env!("CARGO_BIN_EXE_child").as_ref(), 3, &url, &redis.url);
        crash_restarts(20, &mut postgres, Writers::start("crashes of Postgres", nodes));
    }
}

mod needs_own_postgres_and_needs_redis_and_needs_pgbouncer {
    use sync_tests::nodes::Nodes;
    use sync_tests::services;
    use sync_tests::services::pgbouncer::PgBouncer;
    use sync_tests::services::postgres::Postgres;

    use super::super::writers::Writers;
    use super::crash_restarts;

    /// PgBouncer lets its clients wait for a database that is away: the nodes must not.
    const STATEMENT_TIMEOUT_MS: u64 = 2_000;

    #[test]
    fn five_crashes_behind_a_pgbouncer_lose_nothing_and_double_nothing() {
        let (mut postgres, redis) = (Postgres::start(), services::redis());
        postgres.create_database("rejoin");
        let pgbouncer = PgBouncer::start(&postgres);
        let nodes = Nodes::with(env!("CARGO_BIN_EXE_child").as_ref(), 3, |_, config| {
            config.database.url = Some(pgbouncer.url("rejoin").into());
            config.database.statement_timeout_ms = STATEMENT_TIMEOUT_MS;
            config.redis.url = Some(redis.url.clone().into());
            config.redis.prefix.clone_from(&redis.prefix);
        });
        crash_restarts(5, &mut postgres, Writers::start("crashes behind a PgBouncer", nodes));
    }
}
