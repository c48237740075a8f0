//! The database answers, but not now: the only connection of a node waits for a lock.

mod needs_postgres {
    use sync_tests::nodes::Nodes;
    use sync_tests::services;
    use sync_tests::services::daemon::wait_until;
    use sync_tests::services::postgres::Held;

    use super::super::writers::{Writers, check_refusal};

    /// How many requests must have been refused.
    const REFUSALS: usize = 10;

    #[test]
    fn a_node_without_a_free_connection_refuses_in_good_order_and_recovers_by_itself() {
        let database = services::database();
        let nodes = Nodes::with(env!("CARGO_BIN_EXE_child").as_ref(), 1, |_, config| {
            config.database.url = Some(database.url().to_owned().into());
            config.database.connections_max = 1;
            config.database.acquire_timeout_ms = 200;
            config.database.statement_timeout_ms = 2_000;
        });
        let mut writers = Writers::start("an exhausted pool", nodes);
        writers.progress(0);
        let lock = format!("SELECT 1 FROM spaces WHERE space_id = '{}' FOR UPDATE", writers.space);
        let held = Held::by(database.url(), &lock);
        let mut refusals = 0;
        wait_until("requests are refused", || {
            let answer = writers.ask(0, &writers.phones[0]);
            // Between two tries of the phone's, the connection is free for somebody who only reads.
            if answer.status != 200 {
                check_refusal(&answer);
                refusals += 1;
            }
            refusals >= REFUSALS
        });
        let acknowledged = writers.acknowledged();
        drop(held);
        writers.demand(0, &acknowledged);
        writers.progress(0);
        writers.finish();
    }
}
