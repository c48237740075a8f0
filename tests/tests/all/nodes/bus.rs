//! Redis goes and comes, or forgets everything: what one node takes the others' phones see all the same.

mod needs_own_redis_and_needs_postgres {
    use std::time::Duration;

    use sync_tests::nodes::Nodes;
    use sync_tests::services;
    use sync_tests::services::redis::Redis;

    use super::super::writers::Writers;

    const FAULTS: usize = 40;

    /// Without Redis nodes look into the log every second; the rest is for a loaded machine.
    const DELIVERY_MAX: Duration = Duration::from_secs(15);

    #[test]
    fn twenty_kills_of_redis_and_twenty_flushes_cost_nothing_but_time() {
        let (database, mut redis) = (services::database(), Redis::start());
        let nodes = Nodes::start(env!("CARGO_BIN_EXE_child").as_ref(), 3, database.url(), &redis.url());
        let mut writers = Writers::start("kills of Redis", nodes);
        let mut slowest = Duration::ZERO;
        for fault in 0..FAULTS {
            let phone = fault % writers.phones.len();
            writers.progress(phone);
            if fault % 2 == 1 {
                redis.flush();
                slowest = slowest.max(writers.demand_delivery(phone));
                continue;
            }
            redis.kill();
            let acknowledged = writers.acknowledged();
            slowest = slowest.max(writers.demand_delivery(phone));
            for node in 0..writers.nodes.count() {
                assert_eq!(writers.ask(node, &writers.phones[node]).status, 200, "node {node} does without Redis");
            }
            writers.demand(phone, &acknowledged);
            redis.restart();
        }
        println!("the slowest delivery took {slowest:?}");
        assert!(slowest < DELIVERY_MAX, "{slowest:?}");
        writers.finish();
    }
}
