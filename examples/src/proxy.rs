//! A network between a phone and a server that can be cut and restored, and counts what passes.
//!
//! A TCP proxy on a free port of this machine, in threads of its own. While it is cut, connections are refused, as they are
//! where nothing listens; those that were open are dropped in the middle of whatever they carried.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Connections at once; further ones are dropped.
const CONNECTIONS_MAX: usize = 256;
/// A target that does not answer for so long is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What is read at once.
const BUFFER_BYTES: usize = 16 << 10;
/// Tries to listen on the old port again. While the network was cut, somebody else may have had it for a moment.
const BIND_ATTEMPTS: u32 = 50;
/// Between two of them.
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// Bytes that passed since the proxy was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Towards the target.
    pub up: u64,
    /// From the target.
    pub down: u64,
}

/// A network that can be cut. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    up: AtomicU64,
    down: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    wish: Wish,
    /// Whether the port is open.
    listening: bool,
    /// Both ends of every connection, to be dropped by a cut.
    open: BTreeMap<u64, (TcpStream, TcpStream)>,
    next: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wish {
    #[default]
    Up,
    Cut,
    Stop,
}

impl Proxy {
    /// Starts one in front of a target, which need not be there yet.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Mutex::new(State { listening: true, ..State::default() });
        let shared =
            Arc::new(Shared { target, state, changed: Condvar::new(), up: AtomicU64::new(0), down: AtomicU64::new(0) });
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("proxy".into()).spawn(move || for_thread.serve(listener, address))?;
        Ok(Self { address, shared, listener: Some(thread) })
    }

    /// Where to connect to instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops all connections and refuses new ones, from now until [`restore`](Self::restore).
    pub fn cut(&self) {
        self.shared.wish(Wish::Cut, self.address);
        drop(self.shared.wait(|state| !state.listening));
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.shared.wish(Wish::Up, self.address);
        drop(self.shared.wait(|state| state.listening));
    }

    /// What has passed so far.
    pub fn traffic(&self) -> Traffic {
        Traffic { up: self.shared.up.load(Ordering::Relaxed), down: self.shared.down.load(Ordering::Relaxed) }
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.lock().open.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.wish(Wish::Stop, self.address);
        if let Some(thread) = self.listener.take() {
            // A thread that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        // The listener's thread always comes to one of these; should it have died, nobody waits for it for ever.
        let longest = BIND_PAUSE * (BIND_ATTEMPTS + 1) + CONNECT_TIMEOUT;
        let waited = self.changed.wait_timeout_while(self.lock(), longest, |state| !until(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn wish(&self, wish: Wish, own: SocketAddr) {
        let mut state = self.lock();
        state.wish = wish;
        if wish != Wish::Up {
            for (near, far) in std::mem::take(&mut state.open).into_values() {
                // An end that is gone already is what is wanted.
                let _ = near.shutdown(Shutdown::Both);
                let _ = far.shutdown(Shutdown::Both);
            }
        }
        drop(state);
        self.changed.notify_all();
        if wish != Wish::Up {
            // Wakes the listener out of `accept`, which nothing else interrupts; refused when it does not listen.
            let _ = TcpStream::connect_timeout(&own, CONNECT_TIMEOUT);
        }
    }

    /// Listens while the network is up, closes the port while it is cut.
    fn serve(self: &Arc<Self>, first: TcpListener, address: SocketAddr) {
        let mut listener = Some(first);
        loop {
            if let Some(open) = listener.take() {
                self.accept_until_cut(&open);
            }
            self.lock().listening = false;
            self.changed.notify_all();
            let guard = self.lock();
            let waited = self.changed.wait_while(guard, |state| state.wish == Wish::Cut);
            let wish = waited.unwrap_or_else(PoisonError::into_inner).wish;
            if wish == Wish::Stop {
                return;
            }
            listener = bind_again(address);
            if listener.is_none() {
                return;
            }
            self.lock().listening = true;
            self.changed.notify_all();
        }
    }

    fn accept_until_cut(self: &Arc<Self>, listener: &TcpListener) {
        for near in listener.incoming() {
            if self.lock().wish != Wish::Up {
                return;
            }
            let shared = Arc::clone(self);
            // A connection that breaks at once is the phone's business: it tries again.
            let Ok(near) = near else { continue };
            let carried = thread::Builder::new().name("proxy-carry".into()).spawn(move || shared.carry(near));
            if carried.is_err() {
                return;
            }
        }
    }

    fn carry(&self, near: TcpStream) {
        let Ok(far) = TcpStream::connect_timeout(&self.target, CONNECT_TIMEOUT) else { return };
        let Ok(id) = self.register(&near, &far) else { return };
        thread::scope(|scope| {
            scope.spawn(|| pump(&near, &far, &self.up));
            pump(&far, &near, &self.down);
        });
        self.lock().open.remove(&id);
    }

    fn register(&self, near: &TcpStream, far: &TcpStream) -> io::Result<u64> {
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ends = (near.try_clone()?, far.try_clone()?);
        let mut state = self.lock();
        // Looked at under the lock: a cut either finds this connection registered or is seen here.
        if state.wish != Wish::Up || state.open.len() >= CONNECTIONS_MAX {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let id = state.next;
        state.next += 1;
        state.open.insert(id, ends);
        Ok(id)
    }
}

fn bind_again(address: SocketAddr) -> Option<TcpListener> {
    for _ in 0..BIND_ATTEMPTS {
        match TcpListener::bind(address) {
            Ok(listener) => return Some(listener),
            Err(_) => thread::sleep(BIND_PAUSE),
        }
    }
    None
}

/// Carries bytes one way until that way ends, then passes the end on.
fn pump(mut from: &TcpStream, mut to: &TcpStream, count: &AtomicU64) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        // Before they are passed on: who has got an answer finds its bytes counted.
        count.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, until the test ends.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        address
    }

    fn ask(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(text)?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn it_carries_and_counts_both_ways() {
        let proxy = Proxy::start(echo()).expect("a free port");
        let mut stream = TcpStream::connect(proxy.address()).expect("it listens");
        assert_eq!(ask(&mut stream, b"hello").expect("it answers"), b"hello");
        assert_eq!(proxy.traffic(), Traffic { up: 5, down: 5 });
        assert_eq!(proxy.connections(), 1);
    }

    #[test]
    fn a_cut_drops_what_is_open_and_refuses_what_is_new() {
        let proxy = Proxy::start(echo()).expect("a free port");
        for round in 0..5 {
            let mut stream = TcpStream::connect(proxy.address()).expect("it listens");
            ask(&mut stream, b"a").expect("it answers");
            proxy.cut();
            assert!(ask(&mut stream, b"b").is_err(), "round {round}: an open connection lived on");
            let refused = TcpStream::connect(proxy.address()).expect_err("the port is closed");
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "round {round}");
            proxy.restore();
            let mut stream = TcpStream::connect(proxy.address()).expect("it listens again");
            ask(&mut stream, b"c").expect("it answers again");
        }
    }

    #[test]
    fn cutting_twice_and_restoring_twice_does_no_harm() {
        let proxy = Proxy::start(echo()).expect("a free port");
        proxy.cut();
        proxy.cut();
        proxy.restore();
        proxy.restore();
        ask(&mut TcpStream::connect(proxy.address()).expect("it listens"), b"x").expect("it answers");
        proxy.cut();
    }
}
