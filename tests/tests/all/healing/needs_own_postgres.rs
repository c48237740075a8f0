//! The same on a Postgres that is restored from a base backup.

use super::a_thousand_commits_come_back;
use super::disaster::Distributed;
use super::kills::the_server_is_killed_while_it_takes_back;

#[test]
fn a_thousand_commits_come_back_on_postgres() {
    a_thousand_commits_come_back(&mut Distributed::start(), false);
}

#[test]
fn a_thousand_commits_come_back_behind_what_was_written_since_on_postgres() {
    a_thousand_commits_come_back(&mut Distributed::start(), true);
}

#[test]
fn a_server_on_postgres_may_be_killed_while_it_takes_back() {
    the_server_is_killed_while_it_takes_back(&mut Distributed::start());
}
