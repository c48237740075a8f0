//! When this phone typed, what it showed of the others, and when it was connected: appended to files, so that a kill loses
//! nothing of it. Times are of the machine's clock, which all phones of a play share; nothing is decided by them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use sync_client_ffi::Status;

/// Each edit: its number, and when it was on disk.
pub const TYPED_FILE: &str = "typed";
/// How far of the space's log the document showed, and since when.
pub const SHOWN_FILE: &str = "shown";
/// Whether the phone was connected (1) or not (0), and since when.
pub const CONNECTED_FILE: &str = "connected";

/// Bytes of a record: two numbers.
pub const RECORD_BYTES: usize = 16;

/// A file of records.
pub struct Log(Mutex<File>);

impl Log {
    /// Goes on with a file in that folder.
    pub fn open(folder: &Path, name: &str) -> io::Result<Self> {
        Ok(Self(Mutex::new(OpenOptions::new().create(true).append(true).open(folder.join(name))?)))
    }

    /// Adds a number and the time.
    pub fn add(&self, number: u64) {
        let mut record = [0; RECORD_BYTES];
        record[..8].copy_from_slice(&number.to_le_bytes());
        record[8..].copy_from_slice(&now_us().to_le_bytes());
        // One write a record: a kill leaves whole ones. A figure that cannot be written down is missing in the sum.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&record);
    }
}

/// Whether the server is reached, as far as a phone knows.
pub fn is_connected(status: Status) -> bool {
    matches!(status, Status::Idle | Status::Syncing)
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
