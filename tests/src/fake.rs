//! A server that is none of ours: it takes live connections and says whatever a test has it say.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use sync_client_ffi::DeviceId;
use sync_core::wire::{self, ErrorCode, ErrorResponse, LiveRequest, LiveResponse, SCHEMA, Welcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::seen::Seen;

/// What it says to a frame.
pub enum Says {
    /// These bytes, in one binary message.
    Binary(Vec<u8>),
    /// A text.
    Text(&'static str),
    /// These bytes, which need not be a WebSocket's.
    Raw(Vec<u8>),
    /// Goodbye, with that code.
    Close(u16),
}

impl Says {
    /// A frame.
    pub fn frame(frame: &LiveResponse) -> Self {
        Self::Binary(wire::encode(frame).expect("a frame"))
    }

    /// A hello that is in order.
    pub fn hello(device: DeviceId) -> Self {
        Self::frame(&LiveResponse::Hello(welcome(device)))
    }
}

/// What our server would say.
pub fn welcome(device: DeviceId) -> Welcome {
    let (heartbeat_ms, token_expires_in_ms, limits) = (60_000, 3_600_000, wire::Limits::default());
    Welcome { schema: SCHEMA, device, heartbeat_ms, token_expires_in_ms, limits }
}

type Script = dyn Fn(LiveRequest) -> Vec<Says> + Send + Sync;

/// A server in a thread of its own, until it is dropped.
pub struct Fake {
    address: SocketAddr,
    /// Live connections that it took.
    pub connections: Seen<()>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    /// Starts one that answers frames by a script; it takes nothing back that it lost, as servers of before, and ends other
    /// requests without a word.
    pub fn start(script: impl Fn(LiveRequest) -> Vec<Says> + Send + Sync + 'static) -> Self {
        Self::with(derive_accept_key, script)
    }

    /// The same, with a proof of its own for having understood.
    pub fn with(
        accept: impl Fn(&[u8]) -> String + Send + Sync + 'static,
        script: impl Fn(LiveRequest) -> Vec<Says> + Send + Sync + 'static,
    ) -> Self {
        let connections = Seen::default();
        let (ready, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (taken, accept, script): (_, Arc<_>, Arc<Script>) =
            (connections.clone(), Arc::new(accept), Arc::new(script));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
                ready.send(listener.local_addr().expect("an address")).expect("the test waits");
                let serve = async {
                    while let Ok((client, _)) = listener.accept().await {
                        let (taken, accept, script) = (taken.clone(), accept.clone(), script.clone());
                        // Clients that have enough of it break the connection.
                        tokio::spawn(async move { talk(client, &taken, &*accept, &*script).await });
                    }
                };
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv().expect("the server starts");
        Self { address, connections, stop: Some(stop), thread: Some(thread) }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the fake server panicked");
        }
    }
}

fn no_such_route() -> Vec<u8> {
    let error = ErrorResponse {
        code: ErrorCode::NotFound,
        message: String::new(),
        request_id: String::new(),
        retry_after_ms: None,
        update_url: None,
    };
    let body = wire::encode(&error).expect("a frame");
    let head = format!("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

async fn talk(
    mut client: TcpStream,
    taken: &Seen<()>,
    accept: &(dyn Fn(&[u8]) -> String + Send + Sync),
    script: &Script,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 << 10 {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let named = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    if head.starts_with("POST /v1/heal ") {
        client.write_all(&no_such_route()).await.ok()?;
        return Some(());
    }
    let key = named("sec-websocket-key")?;
    taken.see(());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept(key.as_bytes())
    );
    client.write_all(answer.as_bytes()).await.ok()?;
    let mut socket = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(bytes) = message else { continue };
        for says in script(wire::decode(&bytes).expect("clients say what is a frame")) {
            match says {
                Says::Binary(bytes) => socket.send(Message::Binary(bytes.into())).await.ok()?,
                Says::Text(text) => socket.send(Message::Text(text.into())).await.ok()?,
                Says::Raw(bytes) => socket.get_mut().write_all(&bytes).await.ok()?,
                Says::Close(code) => {
                    let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::default() };
                    socket.close(Some(frame)).await.ok()?;
                }
            }
        }
    }
    Some(())
}
