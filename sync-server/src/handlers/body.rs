//! Reading a request's body: bounded in bytes and in time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use sync_core::limits::{BODY_BYTES_MAX, PAGE_BYTES_MAX};
use tokio::time::timeout;

use crate::app::App;
use crate::error::ApiError;
use crate::router::format::Format;
use crate::router::observe::Note;

/// A body that is too large is read on up to here and thrown away, so that its sender, who is still sending, gets to read
/// the answer instead of a broken connection.
const READ_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;

/// The whole body.
pub(super) async fn read(app: &App, request: Request) -> Result<Vec<u8>, ApiError> {
    let (parts, body) = request.into_parts();
    let body = whole(app, &parts.headers, body).await?;
    if let Some(note) = parts.extensions.get::<Arc<Note>>() {
        note.read(body.len());
    }
    Ok(body)
}

/// The whole body as a frame, which names itself by its `Content-Type`. Unknown fields are refused by the frame's type.
pub(super) async fn frame<T: DeserializeOwned>(app: &App, request: Request) -> Result<T, ApiError> {
    let format = Format::of_body(request.headers()).ok_or_else(ApiError::unsupported_media_type)?;
    let bytes = read(app, request).await?;
    format.decode(&bytes).map_err(|error| ApiError::bad_frame(&error))
}

/// As [`read`], for a layer before the handler that notes it.
pub(crate) async fn whole(app: &App, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, ApiError> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(ApiError::unsupported_media_type());
    }
    let limit = Duration::from_millis(app.http.body_timeout_ms);
    timeout(limit, collect(body)).await.map_err(|_| ApiError::body_timeout())?
}

async fn collect(mut body: Body) -> Result<Vec<u8>, ApiError> {
    let (mut kept, mut total) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(ApiError::body_broken)?;
        let Some(data) = frame.data_ref() else { continue };
        total += data.len();
        if total <= BODY_BYTES_MAX {
            kept.extend_from_slice(data);
        } else {
            kept = Vec::new();
        }
        if total > READ_BYTES_MAX {
            break;
        }
    }
    if total > BODY_BYTES_MAX { Err(ApiError::too_large(PAGE_BYTES_MAX)) } else { Ok(kept) }
}
