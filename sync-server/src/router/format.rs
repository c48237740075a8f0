//! msgpack or JSON: what a caller sends, and what it reads.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::wire::{self, FrameError};

use crate::error::ApiError;

/// How a frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// MessagePack.
    Msgpack,
    /// JSON.
    Json,
}

/// A body that could not be read.
pub(crate) struct Unreadable {
    /// What the library says, which is for nobody to read.
    pub(crate) error: FrameError,
    /// Which value is at fault, if it is one.
    pub(crate) path: Option<String>,
}

impl Format {
    /// Of a request's body.
    pub(crate) fn of_body(headers: &HeaderMap) -> Option<Self> {
        Self::named(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
    }

    /// Of the answer: the first type in `Accept` that is served here, else that of the request, else JSON.
    pub(crate) fn of_answer(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut accepted = accepted.flat_map(|value| value.split(','));
        accepted.find_map(Self::named).or_else(|| Self::of_body(headers)).unwrap_or(Self::Json)
    }

    fn named(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/msgpack") || is("application/vnd.msgpack") || is("application/x-msgpack") {
            Some(Self::Msgpack)
        } else if is("application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Msgpack => "application/msgpack",
            Self::Json => "application/json",
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Unreadable> {
        let (read, at_fault) = match self {
            Self::Msgpack => (wire::decode(bytes), wire::at_fault::<T> as fn(&[u8]) -> Option<String>),
            Self::Json => (wire::decode_json(bytes), wire::at_fault_json::<T> as fn(&[u8]) -> Option<String>),
        };
        read.map_err(|error| Unreadable { error, path: at_fault(bytes) })
    }

    pub(crate) fn encode<T: Serialize>(self, frame: &T) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Msgpack => wire::encode(frame),
            Self::Json => wire::encode_json(frame),
        }
    }

    /// A frame as an answer.
    pub(crate) fn answer<T: Serialize>(self, frame: &T) -> Result<Response, ApiError> {
        let bytes = self.encode(frame).map_err(ApiError::internal)?;
        Ok(([(header::CONTENT_TYPE, self.content_type())], bytes).into_response())
    }
}
