//! The same on a Postgres.

use super::super::healing::disaster::Distributed;

#[test]
fn a_server_on_postgres_is_killed_under_a_new_epoch() {
    super::killed::the_server_is_killed_under_a_new_epoch(&mut Distributed::start());
}

#[test]
fn an_epoch_that_a_server_on_postgres_lost_comes_back() {
    super::lost::an_epoch_comes_back(&mut Distributed::start());
}
