//! `POST /v1/accounts`: an account of our own. It answers alike whether the address has one already or not.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sync_core::wire::SCHEMA;
use sync_core::wire::account::{SignUpRequest, SignUpResponse};

use super::body;
use super::devices::of_this_schema;
use crate::app::App;
use crate::auth::accounts;
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;
use crate::router::observe::Note;

/// Signs up. Signing in tells whether it went well: this answer is the same where the address has an account already.
#[utoipa::path(
    post,
    path = "/v1/accounts",
    request_body = SignUpRequest,
    responses((status = 202, body = SignUpResponse), Refusals),
)]
pub(crate) async fn sign_up(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    request: Request,
) -> Result<Response, ApiError> {
    let format = Format::of_answer(request.headers());
    let asked: SignUpRequest = body::frame(&app, request).await?;
    of_this_schema(asked.schema)?;
    accounts::sign_up(&app, &note, &asked.email, &asked.password.0, &asked.display_name).await?;
    Ok((StatusCode::ACCEPTED, format.answer(&SignUpResponse { schema: SCHEMA })?).into_response())
}
