//! The disk of a simulated server: it fails when it is told to. It holds for the thread that told it.

use std::cell::Cell;

thread_local! {
    static QUEUE: Cell<Option<usize>> = const { Cell::new(None) };
    static HERE: Cell<bool> = const { Cell::new(false) };
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    static FAILED: Cell<bool> = const { Cell::new(false) };
    static NOW_MS: Cell<Option<i64>> = const { Cell::new(None) };
}

/// What the clock by which rows are dated shows; `None`: the machine's.
pub fn set_now_ms(now_ms: Option<i64>) {
    NOW_MS.set(now_ms);
}

/// The same.
pub(super) fn now_ms() -> Option<i64> {
    NOW_MS.get()
}

/// What may wait for one live connection, so that few bytes fill it.
pub fn set_queue_bytes_max(bytes_max: Option<usize>) {
    QUEUE.set(bytes_max);
}

/// The same.
pub(crate) fn queue_bytes_max() -> Option<usize> {
    QUEUE.get()
}

/// Whether this thread is a simulation's: then nothing is done on another one, however long it takes.
pub fn stay_here(here: bool) {
    HERE.set(here);
}

/// Whether it is.
pub(crate) fn is_here() -> bool {
    HERE.get()
}

/// After so many transactions nothing is written any more; `None`: everything is.
pub fn fail_after(writes: Option<u64>) {
    LEFT.set(writes);
    FAILED.set(false);
}

/// Whether something was not written.
pub fn has_failed() -> bool {
    FAILED.get()
}

/// Asked before each transaction is committed.
pub(super) fn writes() -> bool {
    match LEFT.get() {
        None => true,
        Some(0) => {
            FAILED.set(true);
            false
        }
        Some(left) => {
            LEFT.set(Some(left - 1));
            true
        }
    }
}
