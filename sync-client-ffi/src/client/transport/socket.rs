//! The live connection: a WebSocket, opened through the same HTTP client as plain requests, so that TLS and proxies are
//! the same for both.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Sink, Stream};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONNECTION, UPGRADE};
use sync_core::limits::{
    BODY_BYTES_MAX, LIVE_FRAME_BYTES_MAX, LIVE_OPEN_TIMEOUT_MS, LIVE_PUSHES_IN_FLIGHT_MAX, PRESENCE_BYTES_MAX,
    SESSION_SPACES_MAX,
};
use sync_core::session::Ending;
use sync_core::wire::{self, CloseCode, ErrorCode, ErrorResponse, LiveRequest, LiveResponse, SCHEMA, Welcome};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::http::{MSGPACK, bounded_body, retry_after_ms};
use super::{App, Line, Meter, Opening};
use crate::client::clock;

/// Frames that wait for a slow network: the pushes that may be under way, and what is shown in every space.
const WAITING_BYTES_MAX: usize =
    LIVE_PUSHES_IN_FLIGHT_MAX * LIVE_FRAME_BYTES_MAX + 4 * SESSION_SPACES_MAX * PRESENCE_BYTES_MAX;
/// What is read off the network at once. Pages are a few times that at most.
const READ_BYTES: usize = 16 << 10;
/// The body of an answer that is no upgrade.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Opens a connection: it is open when the server has said hello.
pub(super) async fn open(
    client: &reqwest::Client,
    url: &str,
    token: Option<String>,
    meter: &Arc<Meter>,
    app: &Arc<App>,
) -> Opening {
    let token = token.ok_or(refused(ErrorCode::Unauthorized))?;
    let opened = async {
        let mut socket = Socket::connect(client, url, &token, meter.clone(), app.clone()).await?;
        let welcome = socket.greet().await?;
        let line: Box<dyn Line> = Box::new(socket);
        Ok((welcome, line))
    };
    // Whoever takes the connection and then says nothing lets no such connections through.
    tokio::time::timeout(Duration::from_millis(LIVE_OPEN_TIMEOUT_MS), opened).await.unwrap_or(Err(Ending::Blocked))
}

fn refused(code: ErrorCode) -> Ending {
    Ending::Refused { code, retry_after_ms: None }
}

struct Socket {
    stream: WebSocketStream<reqwest::Upgraded>,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Whether the stream holds something that is not out yet.
    unsent: bool,
    meter: Arc<Meter>,
    app: Arc<App>,
}

impl Socket {
    async fn connect(
        client: &reqwest::Client,
        url: &str,
        token: &str,
        meter: Arc<Meter>,
        app: Arc<App>,
    ) -> Result<Self, Ending> {
        let mut key = [0; 16];
        clock::fill(&mut key);
        let key = STANDARD.encode(key);
        let request = client
            .get(url)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(ACCEPT, MSGPACK)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", &key);
        let response = app.sign(request).send().await.map_err(|error| {
            tracing::info!(%error, "no live connection");
            // A server that cannot be reached is not reached by requests either.
            if error.is_connect() { Ending::Lost } else { Ending::Blocked }
        })?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(response, &meter, &app).await);
        }
        let accepted = response.headers().get("sec-websocket-accept");
        if accepted.is_none_or(|accept| accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(Ending::Blocked);
        }
        let upgraded = response.upgrade().await.map_err(|_| Ending::Blocked)?;
        // The first answer of a catch-up names how far every feed has come, so it may be as long as an answer over HTTP.
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * WAITING_BYTES_MAX)
            .max_message_size(Some(BODY_BYTES_MAX))
            .max_frame_size(Some(BODY_BYTES_MAX));
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        Ok(Self { stream, waiting: VecDeque::new(), waiting_bytes: 0, unsent: false, meter, app })
    }

    /// Both say hello.
    async fn greet(&mut self) -> Result<Welcome, Ending> {
        // The token went with the upgrade.
        self.say(&LiveRequest::Hello { schema: SCHEMA, token: None })?;
        match std::future::poll_fn(|context| self.poll_hear(context)).await {
            Ok(LiveResponse::Hello(welcome)) if welcome.schema == SCHEMA => {
                Meter::add(&self.meter.connections, 1);
                Ok(welcome)
            }
            Ok(LiveResponse::Hello(_)) => Err(refused(ErrorCode::UnsupportedSchema)),
            // Something else than our server speaks, or the way broke before it could.
            Ok(_) | Err(Ending::Lost) => Err(Ending::Blocked),
            Err(told) => Err(told),
        }
    }

    /// Sends what waits, in order.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        loop {
            if self.unsent {
                ready!(Pin::new(&mut self.stream).poll_flush(context)).map_err(|error| ending(&error))?;
                self.unsent = false;
            }
            let Some(frame) = self.waiting.pop_front() else { return Poll::Ready(Ok(())) };
            self.waiting_bytes -= frame.len();
            Meter::add(&self.meter.frames_sent, 1);
            Meter::add(&self.meter.bytes_sent, frame.len());
            self.unsent = true;
            Pin::new(&mut self.stream).start_send(Message::Binary(frame)).map_err(|error| ending(&error))?;
        }
    }

    /// Sends what the network takes at once; what it does not take is sent while the line is listened to.
    fn send_some(&mut self) -> Result<(), Ending> {
        match self.poll_send(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }
}

impl Line for Socket {
    fn say(&mut self, frame: &LiveRequest) -> Result<(), Ending> {
        let bytes = wire::encode(frame).map_err(|_| refused(ErrorCode::BadFrame))?;
        if self.waiting_bytes + bytes.len() > WAITING_BYTES_MAX {
            return Err(Ending::Lost);
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes.into());
        self.send_some()
    }

    fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Result<LiveResponse, Ending>> {
        // What the network does not take must not keep anything from being heard.
        if let Poll::Ready(Err(lost)) = self.poll_send(context) {
            return Poll::Ready(Err(lost));
        }
        loop {
            let message = match ready!(Pin::new(&mut self.stream).poll_next(context)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Err(ending(&error))),
                None => return Poll::Ready(Err(Ending::Lost)),
            };
            match message {
                Message::Binary(bytes) => {
                    Meter::add(&self.meter.frames_received, 1);
                    Meter::add(&self.meter.bytes_received, bytes.len());
                    match LiveResponse::read(&bytes) {
                        Ok(Some(frame)) => {
                            if let LiveResponse::Refused { error, .. } = &frame {
                                self.app.hear(error);
                            }
                            return Poll::Ready(Ok(frame));
                        }
                        Ok(None) => {}
                        Err(error) => {
                            tracing::warn!(%error, "what the server said is not a frame");
                            return Poll::Ready(Err(refused(ErrorCode::BadFrame)));
                        }
                    }
                }
                Message::Close(frame) => return Poll::Ready(Err(closed(frame.as_ref()))),
                Message::Text(_) => return Poll::Ready(Err(refused(ErrorCode::BadFrame))),
                // The answer to a ping goes with the next read or write.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    fn hang_up(&mut self) {
        // Whether it gets there matters to nobody: the server finds out either way.
        if self.send_some().is_ok() && self.waiting.is_empty() && !self.unsent {
            let mut context = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut self.stream).poll_close(&mut context).is_ready();
        }
    }
}

/// What an answer that is no upgrade means.
async fn refusal(mut response: reqwest::Response, meter: &Meter, app: &App) -> Ending {
    let status = response.status();
    let header_ms = retry_after_ms(&response);
    let body = bounded_body(&mut response, REFUSAL_BYTES_MAX, meter).await.ok().flatten().unwrap_or_default();
    if let Ok(error) = wire::decode::<ErrorResponse>(&body).or_else(|_| wire::decode_json(&body)) {
        app.hear(&error);
        return Ending::Refused { code: error.code, retry_after_ms: error.retry_after_ms.or(header_ms) };
    }
    let code = match status {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthorized,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
        // Somebody on the way answers for the server.
        _ => return Ending::Blocked,
    };
    Ending::Refused { code, retry_after_ms: header_ms }
}

/// What the server's goodbye means.
fn closed(frame: Option<&CloseFrame>) -> Ending {
    match frame.and_then(|frame| CloseCode::from_number(frame.code.into())) {
        None | Some(CloseCode::Normal) => Ending::Lost,
        Some(code) => refused(code.as_error()),
    }
}

fn ending(error: &Error) -> Ending {
    tracing::info!(%error, "the live connection ended");
    match error {
        Error::Capacity(_) => refused(ErrorCode::TooLarge),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => Ending::Lost,
        Error::Protocol(_) | Error::Utf8(_) => refused(ErrorCode::BadFrame),
        _ => Ending::Lost,
    }
}
