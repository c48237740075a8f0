//! `/v1/spaces/{id}/deletions/{doc}`: what became of a document's deletion: who has it, and what is left.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use sync_core::id::DocId;
use sync_core::wire::account::{DeletionOnDevice, DeletionResponse};
use sync_core::wire::{ErrorResponse, SCHEMA};

use super::membership::{of_path, owner};
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;
use crate::store::lifecycle::Place;

/// What became of a document's deletion, for owners: which devices that read the space of late have said that they have the
/// deletion, and whether the content is gone from the server. A device says so with its next question, so one may have it and
/// not be told of yet.
#[utoipa::path(
    get,
    path = "/v1/spaces/{id}/deletions/{doc}",
    security(("token" = [])),
    params(("id" = uuid::Uuid, Path, description = "The space"), ("doc" = uuid::Uuid, Path, description = "The document")),
    responses(
        (status = 200, body = DeletionResponse),
        (status = 403, description = "The caller is no owner", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn deletion(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (space, doc) = of_path(path)?;
    let space = owner(&app, &caller, &space).await?;
    let doc: DocId = doc.parse().map_err(|_| ApiError::not_found())?;
    // What this node heard since it last wrote it down; others write theirs down with each round of compaction.
    app.compactor.write_places().await?;
    let told = app.registry.deletion(space, doc).await?.ok_or_else(ApiError::not_found)?;
    let since_ms = app.compactor.active_since_ms();
    let on_device = |Place { device, seq, seen_ms }: Place| {
        (seen_ms >= since_ms).then_some(DeletionOnDevice { device, applied: seq >= told.seq, seen_ms })
    };
    let devices = told.readers.iter().copied().filter_map(on_device).collect();
    let (seq, deleted_ms, purged, purged_ms) = (told.seq, told.deleted_ms, told.purged, told.purged_ms);
    let answer = DeletionResponse { schema: SCHEMA, seq, deleted_ms, purged, purged_ms, devices };
    Format::of_answer(&headers).answer(&answer)
}
