//! `POST /v1/heal`: what the log of a space has lost is handed back by a device that holds it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use sync_core::feed::Body;
use sync_core::heal::{LostEntries, Refused, TakenBack};
use sync_core::id::SpaceId;
use sync_core::limits::{HEAL_PLACES_MAX, PAGE_BYTES_MAX, PAGE_CHANGES_MAX};
use sync_core::log::{Cursor, Receipt};
use sync_core::wire::{ErrorResponse, HandedBack, HealRequest, HealResponse, SCHEMA};

use super::body;
use super::membership::Happened;
use crate::app::App;
use crate::audit::Kind;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::exchange::{self, INLINE_BYTES_MAX, aside};
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;
use crate::router::observe::Note;
use crate::telemetry::metrics;

/// Hands back what the log lost.
///
/// A server that was restored from a backup, or a failover, may have lost the newest entries of a log. A device that finds
/// its cursor diverged asks for the chain's value at `places`, finds the last that both logs share, and hands back what follows
/// it with the receipt for its end. The chain and the receipt prove that the server once accepted the entries, so they are
/// taken with their verdicts, whoever wrote them. What the log has is passed over.
#[utoipa::path(
    post,
    path = "/v1/heal",
    security(("token" = [])),
    request_body(content = HealRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Where the log stands, and what became of the entries.", body = HealResponse),
        (status = 403, description = "The receipt does not prove the entries, or they were altered. Nothing was taken.",
            body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn heal(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers();
    let format = Format::of_body(headers).ok_or_else(ApiError::unsupported_media_type)?;
    let answer_format = Format::of_answer(headers);
    let bytes = body::read(&app, request).await?;
    let HealRequest { schema, space, places, lost } =
        aside(bytes.len() > INLINE_BYTES_MAX, move || body::decode::<HealRequest>(format, &bytes)).await??;
    if schema != SCHEMA {
        return Err(ApiError::unsupported_schema());
    }
    if places.len() > HEAL_PLACES_MAX {
        return Err(ApiError::invalid("places", "a list of at most 64 numbers"));
    }
    if let Some(HandedBack { lost, .. }) = &lost {
        admissible(lost)?;
    }
    exchange::enter(&app, &caller, space).await?;
    let (receipt, taken) = match lost {
        Some(handed) => {
            hand_back(&app, &caller, &note, space, handed).await.map(|(receipt, taken)| (Some(receipt), taken))?
        }
        None => (None, None),
    };
    let (head, places) = app.store.places(space, places).await?;
    answer_format.answer(&HealResponse { schema: SCHEMA, head, places, receipt, taken })
}

/// Within the bounds of a page.
fn admissible(lost: &LostEntries) -> Result<(), ApiError> {
    let bytes: usize = lost.entries.iter().filter_map(|entry| entry.body.as_ref().map(Body::payload_bytes)).sum();
    let entries = lost.entries.len();
    if entries > PAGE_CHANGES_MAX || (bytes > PAGE_BYTES_MAX && entries > 1) {
        return Err(ApiError::too_large(PAGE_BYTES_MAX));
    }
    Ok(())
}

async fn hand_back(
    app: &App,
    caller: &Caller,
    note: &Arc<Note>,
    space: SpaceId,
    HandedBack { lost, prove }: HandedBack,
) -> Result<(Receipt, Option<TakenBack>), ApiError> {
    let (receipts, base, entries) = (app.receipts.clone(), lost.base, lost.entries.len());
    let check = move || match (lost.is_proven(space, &receipts), prove) {
        (false, _) => Err(Refused::Receipt),
        (true, true) => Ok((Vec::new(), 0)),
        (true, false) => lost.check(),
    };
    let checked = aside(true, check).await?;
    let (lost, left) = checked.map_err(|refused| {
        metrics::heal_refused();
        tracing::warn!(%space, user = caller.user, device = %caller.device, base = base.seq, entries, %refused,
            "lost entries were handed back without proof; nothing of them was taken");
        ApiError::receipt_refused(refused)
    })?;
    let receipt = app.receipts.sign(space, &base);
    if prove {
        return Ok((receipt, None));
    }
    let (head, mut taken) = app.writer.take_back(space, lost).await?;
    taken.left += left;
    told(app, caller, note, space, (base, head), taken).await;
    Ok((receipt, Some(taken)))
}

/// Who is woken at night finds out what was lost and who brought it back.
async fn told(
    app: &App,
    caller: &Caller,
    note: &Arc<Note>,
    space: SpaceId,
    (base, head): (Cursor, Cursor),
    taken: TakenBack,
) {
    let TakenBack { taken: count, known, left } = taken;
    metrics::healed(taken);
    if count == 0 && left == 0 {
        return;
    }
    tracing::warn!(%space, user = caller.user, device = %caller.device, after = base.seq, head = head.seq, taken = count,
        known, left, "the log had lost entries, and a device handed them back");
    let detail = format!(
        "after entry {}: {count} taken back, {known} known, {left} left; the log ends at {}",
        base.seq, head.seq
    );
    Happened { kind: Kind::LogHealed, space, detail: Some(detail), caller, note }.record(app).await;
}
