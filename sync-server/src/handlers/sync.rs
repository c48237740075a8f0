//! `POST /v1/sync`: a push, a pull, or both in one exchange, of one space.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use sync_core::check::Push;
use sync_core::feed::{Item, Run};
use sync_core::id::SpaceId;
use sync_core::limits::{PAGE_BYTES_MAX, PAGE_CHANGES_MAX};
use sync_core::wire::{Entries, FrameError, Page, Pull, PullAnswer, PushAnswer, SCHEMA, SyncRequest, SyncResponse};

use super::{body, enter};
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::router::format::Format;
use crate::store::{PageAnswer, PageRequest};

/// Frames up to this are read and written on the runtime's own threads: it takes less than moving them elsewhere, also
/// where one inflates a hundredfold.
const INLINE_BYTES_MAX: usize = 4 << 10;

/// One exchange. The push is taken first, so the page may hold what it added.
pub(crate) async fn sync(State(app): State<App>, caller: Caller, request: Request) -> Result<Response, ApiError> {
    let headers = request.headers();
    let format = Format::of_body(headers).ok_or_else(ApiError::unsupported_media_type)?;
    let answer_format = Format::of_answer(headers);
    let bytes = body::read(&app, request).await?;
    let SyncRequest { space, push, pull, .. } =
        aside(bytes.len() > INLINE_BYTES_MAX, move || read(format, &bytes)).await??;
    if let Some(run) = &push {
        admissible(run, &caller)?;
    }
    enter(&app, &caller, space).await?;
    let push = match push {
        Some(run) => Some(take(&app, &caller, space, run).await?),
        None => None,
    };
    let (pull, page_bytes) = match pull {
        Some(pull) => {
            let (answer, bytes) = page(&app, &caller, space, &pull).await?;
            (Some(answer), bytes)
        }
        None => (None, 0),
    };
    let answer = SyncResponse { schema: SCHEMA, push, pull };
    aside(page_bytes > INLINE_BYTES_MAX, move || answer_format.answer(&answer)).await?
}

/// Work that would hold up other requests goes to a thread of its own; the gate bounds how many there are.
async fn aside<T: Send + 'static>(long: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    if !long {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}

fn read(format: Format, bytes: &[u8]) -> Result<SyncRequest, ApiError> {
    /// A frame of another version need not be readable, but its first field is.
    #[derive(Deserialize)]
    struct Version {
        schema: u16,
    }
    let foreign = |error: FrameError| match format.decode::<Version>(bytes) {
        Ok(version) if version.schema != SCHEMA => ApiError::unsupported_schema(),
        _ => ApiError::bad_frame(&error),
    };
    let request = format.decode::<SyncRequest>(bytes).map_err(foreign)?;
    if request.schema == SCHEMA { Ok(request) } else { Err(ApiError::unsupported_schema()) }
}

fn admissible(run: &Run, caller: &Caller) -> Result<(), ApiError> {
    if run.device != caller.device {
        return Err(ApiError::wrong_device());
    }
    let bytes: usize = run.items.iter().map(Item::payload_bytes).sum();
    if run.items.len() > PAGE_CHANGES_MAX || bytes > PAGE_BYTES_MAX {
        return Err(ApiError::too_large());
    }
    Ok(())
}

async fn take(app: &App, caller: &Caller, space: SpaceId, run: Run) -> Result<PushAnswer, ApiError> {
    let user = caller.user.clone();
    // A hundred bytes may stand for a hundred thousand operations, so size says nothing about how long this takes.
    let push = aside(!run.items.is_empty(), move || Push::check(user, run)).await?;
    Ok(app.writer.submit(space, push).await?)
}

/// The page, and its payload bytes.
async fn page(app: &App, caller: &Caller, space: SpaceId, pull: &Pull) -> Result<(PullAnswer, usize), ApiError> {
    let wanted = pull.bytes_max.map_or(PAGE_BYTES_MAX, |bytes| bytes as usize);
    let request = PageRequest {
        since: pull.since,
        bytes_max: wanted.min(PAGE_BYTES_MAX),
        changes_max: PAGE_CHANGES_MAX,
        reader: caller.device,
        own: pull.own,
        version: pull.version,
    };
    match app.store.page(space, request).await? {
        PageAnswer::Diverged { head } => Ok((PullAnswer::Diverged { head }, 0)),
        PageAnswer::Page(page) => {
            let receipt = app.receipts.sign(space, &page.next);
            let bytes = page.payload_bytes + page.entries.len() * size_of::<sync_core::id::Hash>();
            let (next, more, version) = (page.next, page.more, page.version);
            let page = Page { entries: Entries(page.entries), next, more, receipt, version };
            Ok((PullAnswer::Page(page), bytes))
        }
    }
}
