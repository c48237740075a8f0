//! `GET /v1/spaces/{id}/version`: how far the log and every feed of a space have come.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use sync_core::feed::FeedHead;
use sync_core::id::SpaceId;
use sync_core::wire::{SCHEMA, VersionResponse};

use super::membership::of_path;
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::exchange::enter;
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;

/// How far the log and every feed of a space have come.
#[utoipa::path(
    get,
    path = "/v1/spaces/{id}/version",
    params(("id" = SpaceId, Path, description = "The space.")),
    security(("token" = [])),
    responses((status = 200, description = "The space's version.", body = VersionResponse), Refusals),
)]
pub(crate) async fn version(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let space = of_path(path)?.parse().map_err(|_| ApiError::not_found())?;
    enter(&app, &caller, space).await?;
    let version = app.store.version(space).await?;
    let device = caller.device;
    let acked = version.feeds.get(device).unwrap_or_else(|| FeedHead::start(space, device));
    let answer = VersionResponse { schema: SCHEMA, space, head: version.head, acked, device, version: version.feeds };
    Format::of_answer(&headers).answer(&answer)
}
