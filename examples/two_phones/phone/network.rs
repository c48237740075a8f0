//! When a phone exchanges with the server: in the background by itself, and at once when the bell is rung.

use std::error::Error;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sync_client_ffi::Client;

use super::tell;
use crate::line::Report;

/// How long an acknowledgement is waited for before the exchange is asked for again.
const ACKNOWLEDGED: Duration = Duration::from_millis(100);
/// How long the last exchange of all may take, in one try.
const SETTLE: Duration = Duration::from_secs(5);
/// Tries of it.
const SETTLE_ATTEMPTS: u32 = 24;

/// Asks for an exchange now.
#[derive(Clone)]
pub struct Bell(SyncSender<()>);

impl Bell {
    /// Asks. Any number of rings until the exchange begins are one.
    pub fn ring(&self) {
        // Full means that it rings already.
        let _ = self.0.try_send(());
    }
}

/// A phone's exchanges.
pub struct Network {
    client: Client,
    bell: Bell,
    mode: Arc<Mutex<Mode>>,
}

/// Who exchanges.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The client, in the background.
    Background,
    /// Whoever asks, and nobody else.
    Asked,
}

impl Network {
    /// Starts the client's background exchange, and listens for the bell.
    pub fn start(client: Client) -> Result<Self, Box<dyn Error>> {
        client.start()?;
        let (sender, bells) = sync_channel(1);
        let mode = Arc::new(Mutex::new(Mode::Background));
        let (for_thread, its_mode) = (client.clone(), Arc::clone(&mode));
        std::thread::Builder::new().name("exchange".into()).spawn(move || {
            if let Err(error) = listen(&for_thread, &bells, &its_mode) {
                eprintln!("exchanges ended: {error}");
            }
        })?;
        Ok(Self { client, bell: Bell(sender), mode })
    }

    /// The bell, for whoever wants an exchange.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Ends the background exchange, and exchanges until there is nothing left to send or to fetch, through whatever
    /// network there is.
    pub fn settle(&self) -> Result<(), Box<dyn Error>> {
        *lock(&self.mode) = Mode::Asked;
        self.client.stop();
        let space = self.client.personal_space();
        let mut last = String::from("nothing was tried");
        for _ in 0..SETTLE_ATTEMPTS {
            match self.client.sync_once(SETTLE) {
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

fn lock(mode: &Mutex<Mode>) -> MutexGuard<'_, Mode> {
    mode.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for an exchange at every ring, and until what was there at the ring is acknowledged.
fn listen(client: &Client, bells: &Receiver<()>, mode: &Mutex<Mode>) -> Result<(), Box<dyn Error>> {
    let (space, device) = (client.personal_space(), client.device());
    let (mut told, mut wanted) = (0, 0);
    // Ends with the phone's process, at the latest.
    loop {
        // While something is not acknowledged, that is asked for again without a ring.
        let rung = match bells.try_recv() {
            Err(TryRecvError::Empty) if told >= wanted => bells.recv().map_err(|_| TryRecvError::Disconnected),
            rung => rung,
        };
        match rung {
            Ok(()) => wanted = client.feed(space)?.n,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
        let mode = lock(mode);
        if *mode == Mode::Asked {
            told = wanted;
            continue;
        }
        // Without time to wait for it, this only wakes the background exchange, also out of a long pause.
        let _ = client.sync_once(Duration::ZERO);
        drop(mode);
        if client.wait_for(space, device, wanted, ACKNOWLEDGED) && wanted > told {
            told = wanted;
            tell(&Report::Pushed { n: told })?;
        }
    }
}
