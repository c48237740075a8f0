//! One exchange with the server, in the time and bytes that there are.

use std::time::Duration;

use super::error::SyncError;
use super::runner::{self, SyncReport};
use super::{Client, account};

impl Client {
    /// Exchanges changes until everything is up to date or time runs out; what is left then is exchanged by the next call,
    /// which goes on from there. Blocks; not for an async task.
    pub fn sync_once(&self, deadline: Duration) -> Result<SyncReport, SyncError> {
        self.exchange(runner::Allowance::new(deadline, None))
    }

    /// The same within a byte budget, which the bodies of its requests and answers (but of those that renew a token) never
    /// exceed together: for the time that the
    /// operating system gives to an app in the background. A change comes in one piece, so a budget below
    /// 1.1 MB may be too small for a large one, which is said. A background session pauses meanwhile.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn f(client: &sync_client_ffi::Client) -> Result<(), sync_client_ffi::SyncError> {
    /// let report = client.sync_once_within(Duration::from_secs(25), 64 << 10)?;
    /// println!("{} bytes, more: {}", report.traffic.bytes_sent + report.traffic.bytes_received, report.more);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sync_once_within(&self, deadline: Duration, byte_budget: u64) -> Result<SyncReport, SyncError> {
        self.exchange(runner::Allowance::new(deadline, Some(byte_budget)))
    }

    fn exchange(&self, allowance: runner::Allowance) -> Result<SyncReport, SyncError> {
        self.engine().is_open().map_err(|_| SyncError::Left)?;
        match &self.shared.refresher {
            Some(refresher) => account::sync_once(self, refresher, allowance),
            None => runner::sync_once(&self.shared, allowance),
        }
    }
}
