//! `POST /v1/accounts/password`: another password, which signs the user out everywhere else.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use sync_core::wire::account::ChangePasswordRequest;

use super::body;
use super::devices::of_this_schema;
use crate::app::App;
use crate::auth::{Caller, accounts};
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::observe::Note;

/// Changes the caller's password.
#[utoipa::path(
    post,
    path = "/v1/accounts/password",
    security(("token" = [])),
    request_body = ChangePasswordRequest,
    responses((status = 204, description = "Changed; all other sessions have ended."), Refusals),
)]
pub(crate) async fn change(
    State(app): State<App>,
    caller: Caller,
    Extension(note): Extension<Arc<Note>>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let asked: ChangePasswordRequest = body::frame(&app, request).await?;
    of_this_schema(asked.schema)?;
    accounts::change_password(&app, &note, &caller, &asked.old_password.0, &asked.new_password.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
