//! Bounded bytes to frames and back.

use std::io::Cursor;

use serde::de::{DeserializeOwned, IgnoredAny};
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
        _ => Err(trailing(bytes)),
    }
}

/// How much stands behind the frame. It is passed over as any value, and not read as what it is: that would be the code of
/// all frames once more.
fn trailing(bytes: &[u8]) -> FrameError {
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(DEPTH_MAX);
    match IgnoredAny::deserialize(&mut reader) {
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

/// Which value of a frame that could not be read is at fault, as in `push.items[3].hash`; what lacks a field, and what it has
/// too much, likewise; empty for the frame itself. `None`
/// where it is not msgpack at all. It reads the frame again, so that frames that can be read pay nothing for it.
pub fn at_fault<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    // Libraries do not tell apart what is not msgpack at all and what is of another type.
    decode::<IgnoredAny>(bytes).ok()?;
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEPTH_MAX);
    let error = serde_path_to_error::deserialize::<_, T>(&mut reader).err()?;
    Some(path(error.path()))
}

/// The same of a JSON frame.
pub fn at_fault_json<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    decode_json::<IgnoredAny>(bytes).ok()?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let error = serde_path_to_error::deserialize::<_, T>(&mut reader).err()?;
    Some(path(error.path()))
}

fn path(path: &serde_path_to_error::Path) -> String {
    if path.iter().next().is_none() { String::new() } else { path.to_string() }
}

fn bounded(bytes: &[u8]) -> Result<(), FrameError> {
    if bytes.len() > BODY_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes: bytes.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{FrameError, at_fault, at_fault_json, decode, encode};
    use crate::wire::SyncRequest;

    type Change = fn(&mut Value);

    #[test]
    fn what_is_at_fault_is_named_by_its_path() {
        let hash = "00".repeat(32);
        let doc = "00000000-0000-0000-0000-000000000000";
        let frame = |change: Change| {
            let item = json!({"kind": "delete", "doc": doc, "hash": hash});
            let push = json!({"device": doc, "base": {"n": 1, "chain": hash}, "items": [item, item]});
            let mut frame = json!({"schema": 1, "space": doc, "push": push, "pull": {"own": true}});
            change(&mut frame);
            frame
        };
        let of_json = |frame: &Value| at_fault_json::<SyncRequest>(frame.to_string().as_bytes());
        assert_eq!(of_json(&frame(|_| {})), None);
        let cases: [(&str, Change); 7] = [
            ("schema", |frame| frame["schema"] = json!(70_000)),
            ("pull.own", |frame| frame["pull"]["own"] = json!("yes")),
            ("pull.more", |frame| frame["pull"]["more"] = json!(1)),
            ("push.base.n", |frame| frame["push"]["base"]["n"] = json!(-1)),
            ("push.items[1]", |frame| frame["push"]["items"][1]["hash"] = json!("0")),
            ("push.items[1].kind", |frame| frame["push"]["items"][1] = json!({"kind": 7})),
            ("more", |frame| frame["more"] = json!(1)),
        ];
        for (path, change) in cases {
            assert_eq!(of_json(&frame(change)).as_deref(), Some(path));
        }
        assert_eq!(at_fault_json::<SyncRequest>(b"{\"schema\": "), None, "not JSON");

        let of_msgpack = |frame: &Value| at_fault::<SyncRequest>(&encode(frame).unwrap());
        let ids = encode(&uuid::Uuid::nil()).unwrap();
        assert_eq!(of_msgpack(&json!({"schema": -1})).as_deref(), Some("schema"));
        assert_eq!(of_msgpack(&json!({"schema": 1, "space": 7})).as_deref(), Some("space"));
        let pull = [&[0x82, 0xa5][..], b"space", &ids, &[0xa4], b"pull", &[0x81, 0xa3], b"own", &[0x05]].concat();
        assert_eq!(at_fault::<SyncRequest>(&pull).as_deref(), Some("pull.own"));
        assert_eq!(at_fault::<SyncRequest>(&[0x81]), None, "not msgpack");
    }

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
