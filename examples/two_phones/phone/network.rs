//! How a phone exchanges with the server: live in the background, and once more of everything at the end.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use sync_client_ffi::{Client, Subscription};

use super::times::{Log, is_connected};

/// How long the last exchange of all may take, in one try.
const SETTLE: Duration = Duration::from_secs(5);
/// Tries of it.
const SETTLE_ATTEMPTS: u32 = 24;

/// A phone's exchanges.
#[derive(Clone)]
pub struct Network {
    client: Client,
    _status: Arc<Subscription>,
}

impl Network {
    /// Starts the client's background exchange; notes when it is connected.
    pub fn start(client: Client, connected: Log) -> Result<Self, Box<dyn Error>> {
        connected.add(0);
        let status = client.on_status(move |status| connected.add(u64::from(is_connected(status))));
        client.start()?;
        Ok(Self { client, _status: Arc::new(status) })
    }

    /// The operating system says that there is a network again.
    pub fn came_back(&self) {
        self.client.network_changed(true);
    }

    /// Ends the background exchange, and exchanges until there is nothing left to send or to fetch, through whatever
    /// network there is.
    pub fn settle(&self) -> Result<(), Box<dyn Error>> {
        self.client.stop();
        let space = self.client.personal_space();
        let mut last = String::from("nothing was tried");
        for _ in 0..SETTLE_ATTEMPTS {
            match self.client.sync_once(SETTLE) {
                Ok(report) if report.more => last = String::from("time ran out"),
                Ok(_) => {
                    let pending = self.client.pending(space)?;
                    if pending.journal_edits == 0 && pending.outbox_changes == 0 {
                        return Ok(());
                    }
                    last = format!("{pending:?}");
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(format!("not everything could be exchanged: {last}").into())
    }
}
