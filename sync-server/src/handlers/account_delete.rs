//! `POST /v1/accounts/delete`: the account goes, and with it what is the user's alone.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use sync_core::wire::ErrorResponse;
use sync_core::wire::account::DeleteAccountRequest;

use super::body;
use super::devices::of_this_schema;
use crate::app::App;
use crate::auth::{Caller, accounts};
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::observe::Note;

/// Deletes the caller's account for good, upon its password: the personal space and the spaces that nobody else is in,
/// memberships, devices, sessions. Refused where others would be left in a space without an owner.
#[utoipa::path(
    post,
    path = "/v1/accounts/delete",
    security(("token" = [])),
    request_body = DeleteAccountRequest,
    responses(
        (status = 204, description = "It is gone, and so are the caller's devices."),
        (status = 409, description = "Others are in a space that nobody else owns", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Extension(note): Extension<Arc<Note>>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let asked: DeleteAccountRequest = body::frame(&app, request).await?;
    of_this_schema(asked.schema)?;
    accounts::delete(&app, &note, &caller, &asked.password.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
