//! `POST /v1/oauth/device/approve`: a signed-in user lets in the companion that shows a code (RFC 8628).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use sync_core::wire::account::ApproveDeviceRequest;

use super::body;
use super::devices::of_this_schema;
use crate::app::App;
use crate::auth::Caller;
use crate::auth::grants::device::{self, Word};
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::observe::Note;

/// Lets a companion in, or turns it away. A code that no companion shows is not found, and after a few of them the caller has to
/// wait.
#[utoipa::path(
    post,
    path = "/v1/oauth/device/approve",
    security(("token" = [])),
    request_body = ApproveDeviceRequest,
    responses((status = 204, description = "The companion is told when it asks again."), Refusals),
)]
pub(crate) async fn approve(
    State(app): State<App>,
    caller: Caller,
    Extension(note): Extension<Arc<Note>>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let asked: ApproveDeviceRequest = body::frame(&app, request).await?;
    of_this_schema(asked.schema)?;
    let word = Word { user: &caller.user, display_name: None, on: Some(caller.device), approve: asked.approve };
    device::decide(&app, &note, word, &asked.user_code.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
