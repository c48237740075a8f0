//! A way to the server with something on it: a firewall that knows no WebSockets, a network that is gone without a word, one
//! that takes nothing for a while, or one that is slow and loses connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::rig::{PATIENCE, Seeded};

/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What becomes of requests for an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrades {
    /// They get through.
    Pass,
    /// The way answers for the server.
    Forbidden,
    /// Nothing ever answers.
    Swallowed,
}

/// A slow and lossy way.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// What a connection carries in each direction.
    pub bytes_per_s: u64,
    /// How long everything takes besides.
    pub latency: Duration,
    /// Of so many connections one is lost, never two in a row; 0: none is.
    pub one_in: u64,
    /// It carries up to so many bytes before that; every other one is then silent, the rest are closed.
    pub lost_after_max: u64,
}

/// How a connection fares.
#[derive(Clone, Copy)]
struct Fate {
    weather: Option<Weather>,
    /// After how many bytes it is lost, and whether in silence.
    lost: Option<(u64, bool)>,
}

/// What becomes of bytes on connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Passes,
    /// Nothing passes for now.
    Stalls,
    /// Nothing will ever pass again, and nobody is told.
    Gone,
}

struct Shared {
    target: SocketAddr,
    upgrades: watch::Sender<Upgrades>,
    flow: Mutex<watch::Sender<Flow>>,
    weather: Mutex<Option<(Weather, Seeded, u64)>>,
    /// Upgrades that were asked for.
    asked: Mutex<u64>,
    changed: Condvar,
}

/// A proxy in a thread of its own, until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// Starts one in front of a server.
    pub fn start(target: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            target,
            upgrades: watch::Sender::new(Upgrades::Pass),
            flow: Mutex::new(watch::Sender::new(Flow::Passes)),
            weather: Mutex::new(None),
            asked: Mutex::default(),
            changed: Condvar::new(),
        });
        let (ready, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
                ready.send(listener.local_addr().expect("an address")).expect("the test waits");
                tokio::select! {
                    () = accept(&listener, &serving) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv().expect("the proxy starts");
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What becomes of upgrades from now on.
    pub fn set_upgrades(&self, upgrades: Upgrades) {
        self.shared.upgrades.send_replace(upgrades);
    }

    /// Connections from now on are slow and get lost.
    pub fn set_weather(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((weather, Seeded::new("weather"), 0));
    }

    /// Connections that are open take and give nothing until [`resume`](Self::resume).
    pub fn stall(&self) {
        self.shared.flow().send_replace(Flow::Stalls);
    }

    /// They go on.
    pub fn resume(&self) {
        self.shared.flow().send_replace(Flow::Passes);
    }

    /// Connections that are open are gone, and neither end is told; new ones get through.
    pub fn lose(&self) {
        let before = std::mem::replace(&mut *self.shared.flow(), watch::Sender::new(Flow::Passes));
        before.send_replace(Flow::Gone);
    }

    /// How many upgrades were asked for so far.
    pub fn asked(&self) -> u64 {
        *self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many upgrades were asked for.
    pub fn wait_asked(&self, count: u64) {
        let until = Instant::now() + PATIENCE;
        let mut asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        while *asked < count {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{asked} of {count} upgrades were asked for in time");
            asked = self.shared.changed.wait_timeout(asked, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the proxy panicked");
        }
    }
}

impl Shared {
    /// What becomes of the next connection.
    fn fate(&self) -> Fate {
        let mut weather = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((weather, random, connections)) = &mut *weather else { return Fate { weather: None, lost: None } };
        *connections += 1;
        let lost = weather.one_in > 0 && *connections % weather.one_in == 0;
        let lost = lost.then(|| (random.below(weather.lost_after_max), (*connections / weather.one_in) % 2 == 0));
        Fate { weather: Some(*weather), lost }
    }

    fn flow(&self) -> std::sync::MutexGuard<'_, watch::Sender<Flow>> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        client.set_nodelay(true).ok();
        // A connection that breaks is what this is for.
        tokio::spawn(carry(client, Arc::clone(shared)));
    }
}

async fn carry(mut client: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let head = head(&mut client).await?;
    let upgrades = shared.upgrades.subscribe();
    if String::from_utf8_lossy(&head).to_lowercase().contains("\r\nupgrade: websocket\r\n") {
        *shared.asked.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        shared.changed.notify_all();
        let mode = *upgrades.borrow();
        match mode {
            Upgrades::Pass => {}
            Upgrades::Forbidden => {
                let body = "<html>no such thing here</html>";
                let answer = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                return client.write_all(answer.as_bytes()).await;
            }
            Upgrades::Swallowed => {
                let mut unheard = [0; 1024];
                while client.read(&mut unheard).await? > 0 {}
                return Ok(());
            }
        }
    }
    let flow = shared.flow().subscribe();
    let fate = shared.fate();
    let mut server = TcpStream::connect(shared.target).await?;
    server.set_nodelay(true)?;
    server.write_all(&head).await?;
    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
    tokio::select! {
        there = pass(client_in, server_out, flow.clone(), fate) => there,
        back = pass(server_in, client_out, flow, fate) => back,
    }
}

async fn head(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        if client.read_buf(&mut head).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flow: watch::Receiver<Flow>,
    fate: Fate,
) -> std::io::Result<()> {
    let mut buffer = vec![0; if fate.weather.is_some() { 1 << 10 } else { 16 << 10 }];
    let mut carried = 0;
    loop {
        // Whoever made the other connections is gone with the test.
        while *flow.borrow_and_update() != Flow::Passes {
            if flow.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            _ = flow.changed() => continue,
        };
        if read == 0 {
            return to.shutdown().await;
        }
        carried += read as u64;
        if let Some((bytes, silent)) = fate.lost
            && carried > bytes
        {
            if silent {
                std::future::pending::<()>().await;
            }
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        if let Some(weather) = fate.weather {
            // It does not wait for an event: it is the slowness of the network.
            let takes = Duration::from_micros(read as u64 * 1_000_000 / weather.bytes_per_s.max(1));
            tokio::time::sleep(takes + if read < buffer.len() { weather.latency } else { Duration::ZERO }).await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
