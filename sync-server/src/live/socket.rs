//! A WebSocket, the server's side: tungstenite over an upgraded stream, with buffers that are small while nothing happens.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{FutureExt, Sink, Stream};
use sync_core::limits::LIVE_FRAME_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as Number;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use super::line::Traffic;
use metered::Metered;

mod metered;

/// What an idle connection reads into.
const READ_BYTES: usize = 4 << 10;
/// The shortest header of a client's frame.
const HEADER_BYTES: usize = 6;
/// What is gathered before it is written, if nobody flushes.
const WRITE_BYTES: usize = 4 << 10;

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A binary message.
    Frame(Bytes),
    /// A ping, which is answered by itself, or a pong.
    Sign,
    /// A text message.
    Text,
    /// A message larger than allowed.
    TooLarge,
    /// A message that takes too long.
    TooSlow,
    /// Not WebSocket.
    Malformed,
    /// The other side closes, with that code.
    Close(Option<u16>),
    /// It is gone.
    Gone,
}

/// Frames beyond this leave a mark: tungstenite keeps the buffers that it once needed.
const LARGE_BYTES: usize = 4 << 10;

type Shared<S> = Arc<Mutex<Socket<S>>>;

/// What both halves share.
struct Socket<S> {
    /// There but while it is exchanged.
    stream: Option<WebSocketStream<Metered<S>>>,
    /// What all messages took on the wire that have come in, at least.
    consumed: u64,
    /// Whether something large went through.
    is_bloated: bool,
    /// Whether neither side has begun to close, and nothing has failed.
    is_open: bool,
}

/// Both directions of a stream, for two halves of one task. `large` has room for so many large messages on their way, of all
/// connections; before [`Receiver::trust`] none is taken that is larger than `bytes_max`.
pub(crate) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    bytes_max: usize,
    large: Arc<Semaphore>,
) -> (Receiver<S>, Sender<S>) {
    let stream = Metered::new(stream, bytes_max, large);
    let stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await;
    let socket = Socket { stream: Some(stream), consumed: 0, is_bloated: false, is_open: true };
    let socket = Arc::new(Mutex::new(socket));
    let receiver = Receiver { socket: Arc::clone(&socket), ended: Ended::Nothing, traffic: Traffic::default() };
    (receiver, Sender { socket, ready: VecDeque::new(), traffic: Traffic::default() })
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(WRITE_BYTES + 2 * LIVE_FRAME_BYTES_MAX)
        .max_message_size(Some(LIVE_FRAME_BYTES_MAX))
        .max_frame_size(Some(LIVE_FRAME_BYTES_MAX))
}

fn lock<S>(socket: &Shared<S>) -> MutexGuard<'_, Socket<S>> {
    // Both halves are of one task, so nobody waits here.
    socket.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_next(context),
            None => Poll::Ready(None),
        }
    }

    /// A message of so many bytes came in. Its header took this much, or more.
    fn consumed(&mut self, bytes: usize) {
        let length = match bytes {
            0..126 => 0,
            126..0x1_0000 => 2,
            _ => 8,
        };
        self.consumed += (HEADER_BYTES + length + bytes) as u64;
        self.is_bloated |= bytes > LARGE_BYTES;
    }

    /// Exchanges the buffers for small ones, if nothing is in them: as much was read as the messages that came out of it took
    /// at least, and the caller has flushed what went out.
    fn shed(&mut self) {
        let is_empty = self.stream.as_ref().is_some_and(|stream| stream.get_ref().total() == self.consumed);
        if !(self.is_bloated && self.is_open && is_empty) {
            return;
        }
        self.is_bloated = false;
        let Some(stream) = self.stream.take().map(WebSocketStream::into_inner) else { return };
        // Nothing is exchanged with the other side, so it does not wait.
        self.stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).now_or_never();
    }
}

/// What ended last.
#[derive(Default)]
enum Ended {
    #[default]
    Nothing,
    Message,
    /// Of so many bytes. It may stand between the fragments of a message.
    Sign(usize),
}

/// The direction in.
pub(crate) struct Receiver<S> {
    socket: Shared<S>,
    /// What was handed out last, which keeps its place until the next is asked for.
    ended: Ended,
    traffic: Traffic,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Receiver<S> {
    /// What arrived in all.
    pub(in crate::live) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// From now on messages may be as large as any. Large ones need one of the user's `own` places, too.
    pub(crate) fn trust(&mut self, own: Arc<Semaphore>) {
        self.metered(|metered| metered.trust(own));
    }

    /// What comes next. Whoever stops waiting for it loses nothing.
    pub(crate) async fn next(&mut self) -> Incoming {
        match mem::take(&mut self.ended) {
            Ended::Nothing => {}
            Ended::Message => self.metered(Metered::message_ended),
            Ended::Sign(bytes) => self.metered(|metered| metered.sign_ended(bytes)),
        }
        let next = poll_fn(|context| lock(&self.socket).poll_next(context)).await;
        match next {
            Some(Ok(Message::Binary(frame))) => {
                self.ended = Ended::Message;
                self.traffic.count(frame.len());
                lock(&self.socket).consumed(frame.len());
                return Incoming::Frame(frame);
            }
            Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => {
                self.ended = Ended::Sign(HEADER_BYTES + payload.len());
                lock(&self.socket).consumed(payload.len());
                return Incoming::Sign;
            }
            _ => lock(&self.socket).is_open = false,
        }
        match next {
            Some(Ok(Message::Text(_))) => Incoming::Text,
            Some(Ok(Message::Close(frame))) => Incoming::Close(frame.map(|frame| frame.code.into())),
            Some(Err(Error::Capacity(_))) => Incoming::TooLarge,
            Some(Err(Error::Io(error))) if metered::is_too_large(&error) => Incoming::TooLarge,
            Some(Err(Error::Io(error))) if error.kind() == ErrorKind::TimedOut => Incoming::TooSlow,
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::Io(_))) => Incoming::Gone,
            Some(Err(Error::Protocol(_) | Error::Utf8(_))) => Incoming::Malformed,
            Some(Ok(_) | Err(_)) | None => Incoming::Gone,
        }
    }

    fn metered(&self, change: impl FnOnce(&mut Metered<S>)) {
        if let Some(stream) = &mut lock(&self.socket).stream {
            change(stream.get_mut());
        }
    }

    /// Reads on to the end of the stream, and throws it away.
    pub(crate) async fn drain(&mut self) {
        let mut scratch = [0; 1024];
        poll_fn(|context| {
            let mut socket = lock(&self.socket);
            let Some(stream) = &mut socket.stream else { return Poll::Ready(()) };
            loop {
                let mut into = ReadBuf::new(&mut scratch);
                match Pin::new(stream.get_mut().unmetered()).poll_read(context, &mut into) {
                    Poll::Ready(Ok(())) if !into.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }
}

/// The direction out: what is put in leaves with the next flush.
pub(crate) struct Sender<S> {
    socket: Shared<S>,
    ready: VecDeque<Message>,
    traffic: Traffic,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sender<S> {
    /// What was put in in all.
    pub(in crate::live) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// A binary message. Answers how large it is.
    pub(crate) fn put(&mut self, payload: Bytes) -> usize {
        let length = payload.len();
        self.traffic.count(length);
        lock(&self.socket).is_bloated |= length > LARGE_BYTES;
        self.ready.push_back(Message::Binary(payload));
        length
    }

    /// The last message: nothing may follow it.
    pub(crate) fn put_close(&mut self, code: u16, reason: &'static str) {
        lock(&self.socket).is_open = false;
        self.ready.push_back(Message::Close(Some(CloseFrame { code: Number::from(code), reason: reason.into() })));
    }

    /// Writes all that was put in. Whoever stops waiting may flush again: no message is lost or doubled.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        let Self { socket, ready, .. } = self;
        poll_fn(|context| {
            let mut socket = lock(socket);
            let Some(stream) = &mut socket.stream else { return Poll::Ready(Err(Error::AlreadyClosed)) };
            let mut stream = Pin::new(stream);
            while !ready.is_empty() {
                ready!(stream.as_mut().poll_ready(context))?;
                if let Some(message) = ready.pop_front() {
                    stream.as_mut().start_send(message)?;
                }
            }
            stream.as_mut().poll_flush(context)
        })
        .await
    }

    /// Gives back the memory that large messages took, if nothing is under way. To be called now and then, after a flush.
    pub(crate) fn shed(&mut self) {
        // The other half waits in this task, which polls it again before long: what woke it before still does.
        lock(&self.socket).shed();
    }
}

#[cfg(test)]
mod tests;
