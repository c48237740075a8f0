//! Reading a request's body: bounded in bytes and in time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::CONTENT_ENCODING;
use axum::http::request::Parts;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sync_core::wire::SCHEMA;
use tokio::time::timeout;

use crate::app::App;
use crate::error::ApiError;
use crate::router::format::Format;
use crate::router::observe::Note;
use crate::router::{Route, SMALL_BYTES_MAX};

/// A body that is too large is read on up to so many times what it may have, and thrown away, so that its sender, who is still
/// sending, gets to read the answer instead of a broken connection. What says beforehand that it is larger still is not read.
const READ_ON_FACTOR: u64 = 2;

/// The whole body.
pub(super) async fn read(app: &App, request: Request) -> Result<Vec<u8>, ApiError> {
    let (parts, body) = request.into_parts();
    let body = whole(app, &parts, body).await?;
    if let Some(note) = parts.extensions.get::<Arc<Note>>() {
        note.read(body.len());
    }
    Ok(body)
}

/// The whole body as a frame, which names itself by its `Content-Type`. Unknown fields are refused by the frame's type.
pub(super) async fn frame<T: DeserializeOwned>(app: &App, request: Request) -> Result<T, ApiError> {
    let format = Format::of_body(request.headers()).ok_or_else(ApiError::unsupported_media_type)?;
    let bytes = read(app, request).await?;
    decode(format, &bytes)
}

/// Bytes as a frame of the version that is served here. Of a large one that can be read, whoever takes it checks the version,
/// so that it need not be read twice.
pub(super) fn decode<T: DeserializeOwned>(format: Format, bytes: &[u8]) -> Result<T, ApiError> {
    /// A frame of another version need not be readable, but its first field is.
    #[derive(Deserialize)]
    struct Version {
        schema: u16,
    }
    let read = format.decode(bytes);
    let is_to_be_checked = read.is_err() || bytes.len() <= SMALL_BYTES_MAX;
    if is_to_be_checked && matches!(format.decode::<Version>(bytes), Ok(Version { schema }) if schema != SCHEMA) {
        return Err(ApiError::unsupported_schema());
    }
    read.map_err(|unreadable| ApiError::bad_frame(&unreadable))
}

/// As [`read`], for a layer before the handler that notes it.
pub(crate) async fn whole(app: &App, parts: &Parts, body: Body) -> Result<Vec<u8>, ApiError> {
    if parts.headers.contains_key(CONTENT_ENCODING) {
        return Err(ApiError::unsupported_media_type());
    }
    let bytes_max = Route::of(&parts.extensions, &parts.method).map_or(0, |route| route.body_bytes_max);
    if body.size_hint().lower() > READ_ON_FACTOR * bytes_max as u64 {
        return Err(ApiError::body_too_large(bytes_max));
    }
    let limit = Duration::from_millis(app.http.body_timeout_ms);
    timeout(limit, collect(body, bytes_max)).await.map_err(|_| ApiError::body_timeout())?
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    let (mut kept, mut total) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(ApiError::body_broken)?;
        let Some(data) = frame.data_ref() else { continue };
        total += data.len();
        if total <= bytes_max {
            kept.extend_from_slice(data);
        } else {
            kept = Vec::new();
        }
        if total as u64 > READ_ON_FACTOR * bytes_max as u64 {
            break;
        }
    }
    if total > bytes_max { Err(ApiError::body_too_large(bytes_max)) } else { Ok(kept) }
}
