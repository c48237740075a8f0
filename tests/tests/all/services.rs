//! The services beside the tests do what tests rely on: they come back from a kill as they must, and leave nothing behind.

use std::path::Path;

use sync_tests::services::daemon::signal;

mod pgbouncer;
mod postgres;
mod redis;

/// Whether there is such a process.
fn is_alive(process: u32) -> bool {
    signal(process, "0") && Path::new("/proc").join(process.to_string()).exists()
}
