//! The first message of a live connection: which version it speaks, and who it is.

use std::time::Duration;

use serde::Deserialize;
use sync_core::wire::{self, CloseCode, LiveRequest, SCHEMA};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::Phase;
use super::session::End;
use super::socket::{Incoming, Receiver};
use crate::app::App;
use crate::auth::Access;
use crate::error::ApiError;

/// A hello with the largest token.
pub(super) const HELLO_BYTES_MAX: usize = 8 << 10;

/// Waits for the hello. `access` is what the upgrade's own token allows, where it had one.
pub(super) async fn hello<S: AsyncRead + AsyncWrite + Unpin>(
    app: &App,
    receiver: &mut Receiver<S>,
    access: Option<Access>,
) -> Result<Access, End> {
    let mut phase = app.live.phase();
    let limit = Duration::from_millis(app.live.config.hello_timeout_ms);
    let frame = tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase != Phase::Open) => return Err(End::Close(CloseCode::GoingAway)),
        first = timeout(limit, first(receiver)) => first.map_err(|_| End::Close(CloseCode::Idle))??,
    };
    let token = match wire::decode(&frame) {
        Ok(LiveRequest::Hello { schema: SCHEMA, token }) => token,
        Ok(LiveRequest::Hello { .. }) => return Err(End::Close(CloseCode::UpgradeRequired)),
        Err(_) if is_of_another_schema(&frame) => return Err(End::Close(CloseCode::UpgradeRequired)),
        Ok(_) | Err(_) => return Err(End::Close(CloseCode::BadFrame)),
    };
    let told = match token {
        Some(token) => Some(Access::of_token(app, &token.0).await.map_err(|error| End::Close(refusal(&error)))?),
        None => None,
    };
    match (access, told) {
        (Some(access), Some(told)) if access.caller != told.caller => Err(End::Close(CloseCode::Unauthorized)),
        (_, Some(access)) | (Some(access), None) => Ok(access),
        (None, None) => Err(End::Close(CloseCode::Unauthorized)),
    }
}

/// What a token that is not taken ends a connection with.
pub(super) fn refusal(error: &ApiError) -> CloseCode {
    if error.is_of_the_server() { CloseCode::Unavailable } else { CloseCode::Unauthorized }
}

async fn first<S: AsyncRead + AsyncWrite + Unpin>(receiver: &mut Receiver<S>) -> Result<bytes::Bytes, End> {
    match receiver.next().await {
        Incoming::Frame(frame) => Ok(frame),
        // Nothing but a hello is wanted of strangers.
        Incoming::Sign | Incoming::Malformed => Err(End::Close(CloseCode::BadFrame)),
        Incoming::Text => Err(End::Close(CloseCode::NotBinary)),
        Incoming::TooLarge => Err(End::Close(CloseCode::TooLarge)),
        Incoming::TooSlow => Err(End::Close(CloseCode::Idle)),
        Incoming::Close(code) => Err(End::Closed(code)),
        Incoming::Gone => Err(End::Gone),
    }
}

/// A frame of another version need not be readable, but its first field is.
fn is_of_another_schema(frame: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Foreign {
        Hello { schema: u16 },
    }
    matches!(wire::decode(frame), Ok(Foreign::Hello { schema }) if schema != SCHEMA)
}
