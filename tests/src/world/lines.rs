//! Live connections as the server has them: the real route, over a stream within the process.

use std::collections::BTreeMap;

use futures_util::{FutureExt, SinkExt, StreamExt};
use sync_core::session::Ending;
use sync_core::wire::{self, CloseCode, ErrorCode, LiveRequest, LiveResponse, SCHEMA, Welcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Which phone, in which of its lives, and which of its connections.
pub type Key = (usize, u64, u64);

/// What the stream takes before somebody reads.
const STREAM_BYTES: usize = 1 << 10;
/// Turns that the server's tasks get before nothing is left to do for them.
const TURNS: u32 = 24;
/// And to take what is said to it, some at a time.
const SAY_TURNS: u32 = 500;
/// Of a connection that the server does not want to have.
const REFUSED: Ending = Ending::Refused { code: ErrorCode::Unauthorized, retry_after_ms: None };

/// The client's ends.
#[derive(Default)]
pub struct Lines {
    open: BTreeMap<Key, Line>,
}

struct Line {
    socket: WebSocketStream<DuplexStream>,
    reads: bool,
}

/// What was heard on a connection: a frame, or its end.
pub type Heard = Result<LiveResponse, Ending>;

impl Lines {
    /// Opens a connection, as a phone does.
    pub async fn open(&mut self, key: Key, direct: sync_server::Direct, token: &str) -> Result<Welcome, Ending> {
        let (mut stream, served) = duplex(STREAM_BYTES);
        tokio::spawn(direct.serve(served));
        let upgrade = format!(
            "GET /v1/live HTTP/1.1\r\nHost: world\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(upgrade.as_bytes()).await.map_err(|_| Ending::Lost)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.map_err(|_| Ending::Lost)?);
        }
        if head.starts_with(b"HTTP/1.1 401") {
            return Err(REFUSED);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(Ending::Lost);
        }
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let hello = wire::encode(&LiveRequest::Hello { schema: SCHEMA, token: None }).map_err(|_| Ending::Lost)?;
        socket.send(Message::Binary(hello.into())).await.map_err(|_| Ending::Lost)?;
        match socket.next().await.and_then(heard) {
            Some(Ok(LiveResponse::Hello(welcome))) => {
                self.open.insert(key, Line { socket, reads: true });
                Ok(welcome)
            }
            Some(Err(ending)) => Err(ending),
            _ => Err(Ending::Lost),
        }
    }

    /// Says something; a connection that takes no more is gone.
    pub async fn say(&mut self, key: Key, frame: Vec<u8>) {
        let Some(line) = self.open.get_mut(&key) else { return };
        let mut sending = line.socket.send(Message::Binary(frame.into()));
        for _ in 0..SAY_TURNS {
            match (&mut sending).now_or_never() {
                Some(Ok(())) => return,
                Some(Err(_)) => break,
                None => tokio::task::yield_now().await,
            }
        }
        self.open.remove(&key);
    }

    /// Drops a connection.
    pub fn cut(&mut self, key: Key) {
        self.open.remove(&key);
    }

    /// Whether a phone's connections are read.
    pub fn set_reads(&mut self, phone: usize, reads: bool) {
        for (_, line) in self.open.iter_mut().filter(|((of, ..), _)| *of == phone) {
            line.reads = reads;
        }
    }

    /// Lets the server's tasks work, and gives what they have said.
    pub async fn pump(&mut self) -> Vec<(Key, Heard)> {
        let mut all = Vec::new();
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
            let mut ended = Vec::new();
            for (key, line) in self.open.iter_mut().filter(|(_, line)| line.reads) {
                while let Some(next) = line.socket.next().now_or_never() {
                    match next.map_or(Some(Err(Ending::Lost)), heard) {
                        Some(Err(ending)) => {
                            ended.push(*key);
                            all.push((*key, Err(ending)));
                            break;
                        }
                        Some(frame) => all.push((*key, frame)),
                        None => {}
                    }
                }
            }
            for key in ended {
                self.open.remove(&key);
            }
        }
        all
    }
}

/// `None`: nothing that a phone hears of.
fn heard(message: Result<Message, tokio_tungstenite::tungstenite::Error>) -> Option<Heard> {
    match message {
        Ok(Message::Binary(bytes)) => match LiveResponse::read(&bytes) {
            Ok(frame) => frame.map(|frame| Ok(steady(frame))),
            Err(_) => Some(Err(Ending::Lost)),
        },
        Ok(Message::Close(frame)) => {
            let code = frame.and_then(|frame| CloseCode::from_number(frame.code.into()));
            let ending = |code: CloseCode| Ending::Refused { code: code.as_error(), retry_after_ms: None };
            Some(Err(code.filter(|code| *code != CloseCode::Normal).map_or(Ending::Lost, ending)))
        }
        Ok(_) => None,
        Err(_) => Some(Err(Ending::Lost)),
    }
}

/// How often a server says that it lives, as phones of a world hear it.
pub const HEARTBEAT_MS: u64 = 5_000;

/// Without what the real clock has in it.
fn steady(frame: LiveResponse) -> LiveResponse {
    let whole = |ms: u64| (ms + 30_000) / 60_000 * 60_000;
    match frame {
        LiveResponse::Hello(mut welcome) => {
            welcome.heartbeat_ms = HEARTBEAT_MS;
            welcome.token_expires_in_ms = whole(welcome.token_expires_in_ms);
            LiveResponse::Hello(welcome)
        }
        LiveResponse::TokenExpires { in_ms } => LiveResponse::TokenExpires { in_ms: whole(in_ms) },
        LiveResponse::Renewed { expires_in_ms } => LiveResponse::Renewed { expires_in_ms: whole(expires_in_ms) },
        other => other,
    }
}
