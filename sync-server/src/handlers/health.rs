//! `GET /healthz`: the process is alive. `GET /readyz`: it can do its work.

use std::time::Duration;

use axum::extract::State;
use sync_core::wire::ErrorResponse;
use tokio::time::timeout;

use crate::app::App;
use crate::error::ApiError;

/// A store that takes longer than this to say that it is there serves nobody.
const PING_MAX: Duration = Duration::from_secs(2);

/// Whether the process is alive.
///
/// Alive, whatever the storage does: restarting the process would not help it.
#[utoipa::path(
    get,
    path = "/healthz",
    responses((status = 200, description = "It is alive.", content_type = "text/plain", body = String)),
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests should be sent here.
///
/// Not while shutting down, not while the storage does not answer.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "It takes requests.", content_type = "text/plain", body = String),
        (status = 503, description = "It does not.", body = ErrorResponse),
    ),
)]
pub(crate) async fn readyz(State(app): State<App>) -> Result<&'static str, ApiError> {
    if !app.gate.is_open() {
        return Err(ApiError::unavailable("shutting down"));
    }
    match timeout(PING_MAX, app.store.ping()).await {
        Ok(Ok(())) => Ok("ready\n"),
        Ok(Err(error)) => Err(ApiError::unavailable(error)),
        Err(_) => Err(ApiError::unavailable("the storage does not answer")),
    }
}
