//! `POST /v1/sync`: a push, a pull, or both in one exchange, of one space.

use axum::extract::{Request, State};
use axum::response::Response;
use sync_core::limits::{PAGE_BYTES_MAX, PAGE_CHANGES_MAX, SNAPSHOT_PART_BYTES_MAX};
use sync_core::wire::{ErrorResponse, SCHEMA, SyncRequest, SyncResponse};

use super::body;
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::exchange::{self, INLINE_BYTES_MAX, PageMax, aside};
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;

/// A push, a pull, or both in one exchange.
///
/// The push is taken first, so the page may hold what it added. What was pushed before is answered as it was then.
#[utoipa::path(
    post,
    path = "/v1/sync",
    security(("token" = [])),
    request_body(content = SyncRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "What became of the push, and the page.", body = SyncResponse),
        (status = 403, description = "The run is not of the device that the token names.", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn sync(State(app): State<App>, caller: Caller, request: Request) -> Result<Response, ApiError> {
    let headers = request.headers();
    let format = Format::of_body(headers).ok_or_else(ApiError::unsupported_media_type)?;
    let answer_format = Format::of_answer(headers);
    let bytes = body::read(&app, request).await?;
    let SyncRequest { schema, space, push, pull, snapshot } =
        aside(bytes.len() > INLINE_BYTES_MAX, move || body::decode::<SyncRequest>(format, &bytes)).await??;
    if schema != SCHEMA {
        return Err(ApiError::unsupported_schema());
    }
    if let Some(run) = &push {
        exchange::admissible(run, &caller, PAGE_BYTES_MAX)?;
    }
    exchange::enter(&app, &caller, space).await?;
    let push = match push {
        Some(run) => Some(exchange::take(&app, &caller, space, run).await?),
        None => None,
    };
    let (pull, page_bytes) = match pull {
        Some(pull) => {
            let max = PageMax { bytes: PAGE_BYTES_MAX, changes: PAGE_CHANGES_MAX };
            let answer = exchange::page(&app, caller.device, space, &pull, max).await?;
            let bytes = exchange::weigh_answer(&answer);
            (Some(answer), bytes)
        }
        None => (None, 0),
    };
    let snapshot = match snapshot {
        Some(wish) => Some(exchange::part(&app, space, &wish, SNAPSHOT_PART_BYTES_MAX).await?),
        None => None,
    };
    let bytes = page_bytes + snapshot.as_ref().map_or(0, |part| part.bytes.0.len());
    let answer = SyncResponse { schema: SCHEMA, push, pull, snapshot };
    aside(bytes > INLINE_BYTES_MAX, move || answer_format.answer(&answer)).await?
}
