//! Bounded bytes to frames and back.

use std::io::Cursor;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits::BODY_BYTES_MAX;

/// A frame that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// More bytes than any frame may have.
    #[error("frame of {bytes} bytes exceeds the limit of {BODY_BYTES_MAX}")]
    TooLarge {
        /// How many there were.
        bytes: usize,
    },
    /// Bytes behind the frame.
    #[error("{bytes} bytes behind the end of the frame")]
    Trailing {
        /// How many there were.
        bytes: u64,
    },
    /// Not a msgpack frame of this kind.
    #[error("not a valid frame: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    /// Not a JSON frame of this kind.
    #[error("not a valid JSON frame: {0}")]
    Json(#[from] serde_json::Error),
    /// A frame of ours that cannot be written.
    #[error("frame cannot be written: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// Frames nest a few levels; what nests deeper is none.
const DEPTH_MAX: usize = 32;

/// Writes a frame as msgpack.
pub fn encode<T: Serialize>(frame: &T) -> Result<Vec<u8>, FrameError> {
    Ok(rmp_serde::to_vec_named(frame)?)
}

/// Reads a msgpack frame that fills `bytes` exactly.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    bounded(bytes)?;
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEPTH_MAX);
    let frame = T::deserialize(&mut reader)?;
    // This reader copies nothing, but does not say how far it came: at the end alone it finds no marker of a next value.
    match <()>::deserialize(&mut reader) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(frame),
        _ => Err(trailing::<T>(bytes)),
    }
}

/// How much stands behind the frame.
fn trailing<T: DeserializeOwned>(bytes: &[u8]) -> FrameError {
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(DEPTH_MAX);
    match T::deserialize(&mut reader) {
        Ok(_) => FrameError::Trailing { bytes: bytes.len() as u64 - reader.position() },
        Err(error) => error.into(),
    }
}

/// Writes a frame as JSON.
pub fn encode_json<T: Serialize>(frame: &T) -> Result<Vec<u8>, FrameError> {
    Ok(serde_json::to_vec(frame)?)
}

/// Reads a JSON frame.
pub fn decode_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    bounded(bytes)?;
    Ok(serde_json::from_slice(bytes)?)
}

fn bounded(bytes: &[u8]) -> Result<(), FrameError> {
    if bytes.len() > BODY_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes: bytes.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FrameError, decode, encode};

    #[test]
    fn whatever_stands_behind_a_frame_is_noticed() {
        let frame = encode(&("a", 1u8)).unwrap();
        assert_eq!(decode::<(String, u8)>(&frame).unwrap(), ("a".to_owned(), 1));
        for first in 0..=u8::MAX {
            for behind in [&[first][..], &[first, 0], &[first, first, 0xff]] {
                let bytes = [&frame, behind].concat();
                let error = decode::<(String, u8)>(&bytes).unwrap_err();
                let counted = matches!(error, FrameError::Trailing { bytes } if bytes == behind.len() as u64);
                assert!(counted, "{behind:x?}: {error}");
            }
        }
    }
}
