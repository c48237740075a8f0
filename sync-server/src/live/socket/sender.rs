//! The direction out of a WebSocket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::super::line::Traffic;
use super::header::{self, Opcode};

/// Payloads up to this are copied behind their header, larger ones go out from where they are.
const COPIED_BYTES_MAX: usize = 1 << 10;
/// Pieces of memory that one call of the operating system writes.
const SLICES: usize = 16;

/// The direction out: what is put in leaves with the next flush.
pub(crate) struct Sender<W> {
    stream: W,
    ready: VecDeque<Bytes>,
    small: BytesMut,
    traffic: Traffic,
}

impl<W: AsyncWrite + Unpin> Sender<W> {
    pub(super) fn new(stream: W) -> Self {
        Self { stream, ready: VecDeque::new(), small: BytesMut::new(), traffic: Traffic::default() }
    }

    /// What was put in in all.
    pub(in crate::live) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// A binary message. Answers how large it is.
    pub(crate) fn put(&mut self, payload: Bytes) -> usize {
        let length = payload.len();
        self.traffic.count(length);
        header::write(&mut self.small, Opcode::Binary, length);
        if length <= COPIED_BYTES_MAX {
            self.small.extend_from_slice(&payload);
        } else {
            self.ready.push_back(self.small.split().freeze());
            self.ready.push_back(payload);
        }
        length
    }

    /// The answer to a ping.
    pub(crate) fn put_pong(&mut self, payload: &[u8]) {
        header::write(&mut self.small, Opcode::Pong, payload.len());
        self.small.extend_from_slice(payload);
    }

    /// The last message: nothing may follow it.
    pub(crate) fn put_close(&mut self, code: u16, reason: &'static str) {
        header::write(&mut self.small, Opcode::Close, 2 + reason.len());
        self.small.extend_from_slice(&code.to_be_bytes());
        self.small.extend_from_slice(reason.as_bytes());
    }

    /// Writes all that was put in. Whoever stops waiting may flush again: no byte is lost or doubled.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if !self.small.is_empty() {
            self.ready.push_back(self.small.split().freeze());
        }
        while !self.ready.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.ready) {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            let written = self.stream.write_vectored(&slices[..count]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(written);
        }
        // What is idle holds no memory.
        self.small = BytesMut::new();
        self.stream.flush().await
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.ready.front_mut() {
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.ready.pop_front();
        }
    }
}
