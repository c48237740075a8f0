//! Nodes are killed in the midst of their work, one after the other.

mod needs_postgres_and_needs_redis {
    use sync_tests::nodes::Nodes;
    use sync_tests::services;

    use super::super::writers::Writers;

    const KILLS: usize = 20;

    #[test]
    fn twenty_kills_among_three_nodes_lose_nothing_and_double_nothing() {
        let (database, redis) = (services::database(), services::redis());
        let nodes = Nodes::start(env!("CARGO_BIN_EXE_child").as_ref(), 3, database.url(), &redis.url);
        let mut writers = Writers::start("kills of nodes", nodes);
        let count = writers.nodes.count();
        for kill in 0..KILLS {
            let (killed, next) = (kill % count, (kill + 1) % count);
            writers.progress(killed);
            writers.nodes.kill(killed);
            let acknowledged = writers.acknowledged();
            // The others have what it acknowledged, and go on without it.
            writers.demand(next, &acknowledged);
            writers.progress(next);
            writers.nodes.restart(killed);
            writers.phones[killed].network_changed(true);
            writers.demand(killed, &acknowledged);
        }
        writers.finish();
    }
}
