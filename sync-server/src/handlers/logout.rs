//! `POST /v1/logout`: the end of the caller's session, or of all sessions of its user.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use sync_core::wire::account::LogoutRequest;

use super::body;
use super::devices::of_this_schema;
use crate::app::App;
use crate::auth::{Access, sessions};
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::observe::Note;

/// Ends the caller's session, or those of all its user's devices: neither their tokens nor their open connections are good
/// for anything within a second. Devices stay registered.
#[utoipa::path(
    post,
    path = "/v1/logout",
    security(("token" = [])),
    request_body = LogoutRequest,
    responses((status = 204, description = "Logged out"), Refusals),
)]
pub(crate) async fn logout(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    access: Access,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let LogoutRequest { schema, all } = body::frame(&app, request).await?;
    of_this_schema(schema)?;
    sessions::log_out(&app, Some(&note), &access.caller, access.session, all).await?;
    Ok(StatusCode::NO_CONTENT)
}
