//! `GET /v1/events`: followed logs as server-sent events, where WebSockets are blocked and for people with curl.
//!
//! ```text
//! curl -N -H "Authorization: Bearer $TOKEN" "http://localhost:8787/v1/events?space=$SPACE"
//! ```
//!
//! `space` names a space, and may come several times. With one space, `since=<seq>.<chain>` or the header `Last-Event-ID`
//! says where to begin, otherwise it is at the beginning. The events are the frames of `/v1/live` as JSON, named after their
//! kind: `page` with the space and its entries, whose id is where to begin the next time; `beat` every few seconds, with
//! where the logs of the spaces are; `refused` for a space of which nothing more comes, with the reason; `token_expires`.
//! What the token's own device wrote comes without its payload. The stream ends with the token, and when the server stops.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use hyper::body::Frame;
use sync_core::id::SpaceId;
use sync_core::limits::SESSION_SPACES_MAX;
use sync_core::log::Cursor;
use sync_core::wire::ErrorResponse;
use tokio::sync::mpsc;

use crate::app::App;
use crate::auth::Access;
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::live::{Audience, EventId, stream};
use crate::router::observe::Note;

const LAST_EVENT_ID: &str = "last-event-id";

/// Followed logs, as server-sent events.
///
/// Events are the frames of the live connection as JSON, named after their kind: `page`, `beat`, `refused`, `token_expires`.
#[utoipa::path(
    get,
    path = "/v1/events",
    security(("token" = [])),
    params(
        ("space" = Vec<SpaceId>, Query, description = "The spaces to follow.", min_items = 1, max_items = 128),
        ("since" = Option<String>, Query, description = "With one space: where to begin, the id of an event.",
         pattern = "^[0-9]{1,19}\\.[0-9a-fA-F]{64}$"),
        ("Last-Event-ID" = Option<String>, Header, description = "The same, as browsers send it.",
         pattern = "^[0-9]{1,19}\\.[0-9a-fA-F]{64}$"),
    ),
    responses(
        (status = 200, description = "The stream; it ends with the token.", content_type = "text/event-stream", body = String),
        (status = 413, description = "More spaces than one connection follows.", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn events(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    access: Access,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let spaces = wanted(query.as_deref().unwrap_or_default(), &headers)?;
    let place = app.live.enter()?;
    // One event on its way is enough: what waits behind it waits where it can be dropped.
    let (sender, receiver) = mpsc::channel(1);
    stream(app, Audience { note, access, place, spaces }, sender).await?;
    let mut response = Response::new(Body::new(Events(receiver)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies must hand on each event at once.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The spaces, and where to begin in each.
fn wanted(query: &str, headers: &HeaderMap) -> Result<Vec<(SpaceId, Option<Cursor>)>, ApiError> {
    let (mut spaces, mut since) = (Vec::new(), None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("space", space)) => {
                let space = space.parse::<SpaceId>().map_err(|_| ApiError::not_found())?;
                if !spaces.contains(&space) {
                    spaces.push(space);
                }
            }
            Some(("since", place)) => since = Some(place),
            _ => return Err(ApiError::bad_query("The query has `space` once or more, and perhaps `since`.")),
        }
        if spaces.len() > SESSION_SPACES_MAX {
            return Err(ApiError::too_many_spaces());
        }
    }
    // A browser that connects again knows better than the link that it was given first.
    let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    let since = last.or(since).map(str::parse::<EventId>).transpose();
    let since = since.map_err(|()| ApiError::bad_query("`since` is the id of an event: `<seq>.<chain>`."))?;
    match (&spaces[..], since) {
        ([], _) => Err(ApiError::bad_query("Say which: `?space=<id>`.")),
        ([space], since) => Ok(vec![(*space, since.map(|EventId(place)| place))]),
        (_, Some(_)) => Err(ApiError::bad_query("`since` goes with one space.")),
        (_, None) => Ok(spaces.into_iter().map(|space| (space, None)).collect()),
    }
}

/// The body: events as they come.
struct Events(mpsc::Receiver<Bytes>);

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
