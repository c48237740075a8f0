//! A WebSocket (RFC 6455), the server's side, over any stream of bytes. Ours, because of what a connection may cost: a large
//! frame takes memory as its bytes arrive and gives it back, and a page goes to all its receivers from the same buffer.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadHalf, WriteHalf};

mod header;
mod sender;

use super::line::Traffic;
use header::{Header, Opcode};
pub(crate) use sender::Sender;

/// What an idle connection reads into.
const BUFFER_BYTES: usize = 4 << 10;
/// The memory of frames that are larger than that grows by this much at a time, as their bytes arrive.
const STEP_BYTES: usize = 64 << 10;
/// Messages beyond this are announced before they are read.
const LARGE_BYTES: usize = 64 << 10;
/// Parts of one message. Libraries that split messages at all do so at some kilobytes.
const FRAGMENTS_MAX: usize = 1_024;

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A binary message.
    Frame(Bytes),
    /// A large message begins. It is read by asking again, when there is room for it.
    Large,
    /// A ping, to be answered with the same bytes.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// A text message.
    Text,
    /// A message larger than allowed.
    TooLarge,
    /// Not WebSocket.
    Malformed,
    /// The other side closes, with that code.
    Close(Option<u16>),
    /// It is gone.
    Gone,
}

/// Both directions of a stream.
pub(crate) fn split<S: AsyncRead + tokio::io::AsyncWrite>(
    stream: S,
    bytes_max: usize,
) -> (Receiver<ReadHalf<S>>, Sender<WriteHalf<S>>) {
    let (read, write) = tokio::io::split(stream);
    (Receiver::new(read, bytes_max), Sender::new(write))
}

/// The direction in.
pub(crate) struct Receiver<R> {
    stream: R,
    bytes_max: usize,
    buffer: BytesMut,
    /// The frame whose payload is being read.
    frame: Option<Header>,
    /// What has arrived of that payload, where it is larger than the buffer.
    large: BytesMut,
    /// What has arrived of a message in fragments, and how many they were.
    message: Option<(BytesMut, usize)>,
    /// Whether the message was announced as large.
    is_large: bool,
    traffic: Traffic,
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    fn new(stream: R, bytes_max: usize) -> Self {
        let (buffer, large) = (BytesMut::new(), BytesMut::new());
        Self { stream, bytes_max, buffer, frame: None, large, message: None, is_large: false, traffic: Traffic::default() }
    }

    /// How large a message may be from now on.
    pub(crate) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// What has arrived in all, frame by frame.
    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What comes next. Whoever stops waiting for it loses nothing.
    pub(crate) async fn next(&mut self) -> Incoming {
        loop {
            let Some(header) = self.frame else {
                match Header::read(&mut self.buffer) {
                    Ok(Some(header)) => {
                        if let Some(refused) = self.refuse(&header) {
                            return refused;
                        }
                        self.frame = Some(header);
                        if self.grows_large(&header) {
                            return Incoming::Large;
                        }
                    }
                    Ok(None) if self.read(BUFFER_BYTES).await => {}
                    Ok(None) => return Incoming::Gone,
                    Err(header::Malformed) => return Incoming::Malformed,
                }
                continue;
            };
            let Some(payload) = self.payload(&header).await else { return Incoming::Gone };
            self.frame = None;
            self.traffic.count(payload.len());
            if let Some(incoming) = self.complete(&header, payload) {
                return incoming;
            }
        }
    }

    fn grows_large(&mut self, header: &Header) -> bool {
        let before = self.is_large;
        self.is_large |= self.gathered().unwrap_or(0) + header.length > LARGE_BYTES;
        self.is_large && !before
    }

    /// The bytes of a message in fragments, as far as it has arrived.
    fn gathered(&self) -> Option<usize> {
        self.message.as_ref().map(|(bytes, _)| bytes.len())
    }

    fn refuse(&self, header: &Header) -> Option<Incoming> {
        let gathered = self.gathered();
        match header.opcode {
            Opcode::Ping | Opcode::Pong | Opcode::Close => None,
            Opcode::Text => Some(Incoming::Text),
            Opcode::Continuation if gathered.is_none() => Some(Incoming::Malformed),
            Opcode::Binary if gathered.is_some() => Some(Incoming::Malformed),
            _ if header.length > self.bytes_max - gathered.unwrap_or(0).min(self.bytes_max) => Some(Incoming::TooLarge),
            _ => None,
        }
    }

    /// The whole payload, unmasked; `None` where the stream ends before.
    async fn payload(&mut self, header: &Header) -> Option<BytesMut> {
        let mut payload = if header.length <= BUFFER_BYTES {
            while self.buffer.len() < header.length {
                if !self.read(header.length.max(BUFFER_BYTES)).await {
                    return None;
                }
            }
            self.buffer.split_to(header.length)
        } else {
            while self.large.len() < header.length {
                let missing = header.length - self.large.len();
                if self.buffer.is_empty() {
                    self.large.reserve(missing.min(STEP_BYTES));
                    let mut limited = (&mut self.stream).take(missing as u64);
                    if !matches!(limited.read_buf(&mut self.large).await, Ok(1..)) {
                        return None;
                    }
                } else {
                    let there = missing.min(self.buffer.len());
                    self.large.extend_from_slice(&self.buffer[..there]);
                    self.buffer.advance(there);
                }
            }
            std::mem::take(&mut self.large)
        };
        header.unmask(&mut payload);
        Some(payload)
    }

    fn complete(&mut self, header: &Header, payload: BytesMut) -> Option<Incoming> {
        match header.opcode {
            Opcode::Ping => Some(Incoming::Ping(payload.freeze())),
            Opcode::Pong => Some(Incoming::Pong),
            Opcode::Close => Some(match payload.len() {
                0 => Incoming::Close(None),
                1 => Incoming::Malformed,
                _ => Incoming::Close(Some(u16::from_be_bytes([payload[0], payload[1]]))),
            }),
            Opcode::Text => Some(Incoming::Text),
            Opcode::Binary if header.last => Some(self.finish(payload)),
            Opcode::Binary => {
                // Not the shared buffer itself, of which a fragment may be a small part.
                self.message = Some((BytesMut::from(&payload[..]), 1));
                None
            }
            Opcode::Continuation => {
                let Some((mut bytes, fragments)) = self.message.take() else { return Some(Incoming::Malformed) };
                if fragments == FRAGMENTS_MAX {
                    return Some(Incoming::Malformed);
                }
                bytes.extend_from_slice(&payload);
                if header.last {
                    return Some(self.finish(bytes));
                }
                self.message = Some((bytes, fragments + 1));
                None
            }
        }
    }

    fn finish(&mut self, message: BytesMut) -> Incoming {
        self.is_large = false;
        Incoming::Frame(message.freeze())
    }

    /// Reads on to the end of the stream, and throws it away.
    pub(crate) async fn drain(&mut self) {
        (self.frame, self.message) = (None, None);
        self.large = BytesMut::new();
        loop {
            self.buffer.clear();
            if !self.read(BUFFER_BYTES).await {
                return;
            }
        }
    }

    /// Reads what there is into the buffer; false at the end of the stream.
    async fn read(&mut self, room: usize) -> bool {
        // A frame that was handed out shares this memory until it is dropped; then all of it is used again.
        self.buffer.reserve(room - self.buffer.len().min(room - 1));
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }
}

#[cfg(test)]
mod tests;
