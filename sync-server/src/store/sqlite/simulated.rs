//! The disk of a simulated server: it fails when it is told to. It holds for the thread that told it.

use std::cell::Cell;

thread_local! {
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// After so many transactions nothing is written any more; `None`: everything is.
pub fn fail_after(writes: Option<u64>) {
    LEFT.set(writes);
}

/// Whether the power has failed.
pub fn has_failed() -> bool {
    LEFT.get() == Some(0)
}

/// Asked before each transaction is committed.
pub(super) fn writes() -> bool {
    match LEFT.get() {
        None => true,
        Some(0) => false,
        Some(left) => {
            LEFT.set(Some(left - 1));
            true
        }
    }
}
