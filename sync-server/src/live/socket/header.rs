//! The header of a WebSocket frame.

use bytes::{Buf, BytesMut};

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The header of a frame that a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) last: bool,
    pub(super) length: usize,
    mask: [u8; 4],
}

/// It breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

const LAST: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// A payload of a control frame.
const CONTROL_BYTES_MAX: usize = 125;

impl Header {
    /// Takes a header off the front; `None` where it is not all there yet.
    pub(super) fn read(buffer: &mut BytesMut) -> Result<Option<Self>, Malformed> {
        let [first, second, ..] = buffer[..] else { return Ok(None) };
        // No extension was agreed on, and clients must mask what they send.
        if first & RESERVED != 0 || second & MASKED == 0 {
            return Err(Malformed);
        }
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Malformed),
        };
        let last = first & LAST != 0;
        let (length_bytes, short) = match second & !MASKED {
            126 => (2, 0),
            127 => (8, 0),
            length => (0, usize::from(length)),
        };
        let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        if is_control && (!last || length_bytes > 0) {
            return Err(Malformed);
        }
        if buffer.len() < 2 + length_bytes + 4 {
            return Ok(None);
        }
        buffer.advance(2);
        let length = match length_bytes {
            2 => usize::from(buffer.get_u16()),
            8 => usize::try_from(buffer.get_u64()).unwrap_or(usize::MAX),
            _ => short,
        };
        let mask = buffer.get_u32().to_be_bytes();
        Ok(Some(Self { opcode, last, length, mask }))
    }

    /// Undoes the mask.
    pub(super) fn unmask(&self, payload: &mut [u8]) {
        for chunk in payload.chunks_mut(4) {
            for (byte, mask) in chunk.iter_mut().zip(self.mask) {
                *byte ^= mask;
            }
        }
    }
}

/// The header of a whole message from the server.
pub(super) fn write(out: &mut BytesMut, opcode: Opcode, length: usize) {
    let number = match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    let first = LAST | number;
    if length <= CONTROL_BYTES_MAX {
        out.extend_from_slice(&[first, length as u8]);
    } else if let Ok(length) = u16::try_from(length) {
        out.extend_from_slice(&[first, 126]);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.extend_from_slice(&[first, 127]);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}
