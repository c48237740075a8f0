//! The server goes and comes back.

use sync_client_ffi::Status;
use sync_tests::rig::{PATIENCE, Rig};

use super::{Pair, append, count, counts, shows, statuses};

#[test]
fn after_a_restart_on_the_same_port_everything_goes_on_from_where_it_was() {
    let mut rig = Rig::start();
    let pair = Pair::start(&rig);
    let mut text = String::new();
    for round in 1..=3 {
        let (seen, subscription) = statuses(&pair.other);
        append(&pair.doc, "before ");
        count(&pair.same, 1);
        rig.stop();
        seen.wait_for(0, &Status::Offline);
        append(&pair.doc, "while it is away ");
        count(&pair.same, 1);
        count(&pair.doc, 1);
        rig.restart();
        text.push_str("before while it is away ");
        assert!(shows(&pair.same, &text), "round {round}");
        assert!(counts(&pair.doc, 3 * round), "round {round}");
        drop(subscription);
    }
    for phone in [&pair.ann, &pair.other] {
        phone.sync_once(PATIENCE).unwrap();
        assert_eq!(phone.traffic().requests, 0, "it was never taken for blocked");
    }
    // Each entry came once: the log was read from where it was.
    assert_eq!(pair.ann.version(pair.space).unwrap(), pair.other.version(pair.space).unwrap());
    assert_eq!(pair.doc.canonical_save().unwrap(), pair.same.canonical_save().unwrap());
}
