//! `GET /v1/live`: the upgrade to a WebSocket, over which clients push, pull and follow logs; see
//! [`LiveRequest`](sync_core::wire::LiveRequest). The token comes as `Authorization: Bearer …`, and is checked before the
//! upgrade, or in the first message.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::app::App;
use crate::auth::Access;
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::live::{Arrival, converse};
use crate::router::observe::Note;

/// The live connection, a WebSocket.
///
/// Its frames are binary messages in MessagePack; the token comes with the upgrade, or in the first of them. Nothing but
/// `Authorization` says who calls: whatever else a client may send is not looked at.
#[utoipa::path(
    get,
    path = "/v1/live",
    security((), ("token" = [])),
    params(
        ("Connection" = Option<String>, Header, description = "`upgrade`."),
        ("Upgrade" = Option<String>, Header, description = "`websocket`."),
        ("Sec-WebSocket-Version" = Option<String>, Header, description = "`13`."),
        ("Sec-WebSocket-Key" = Option<String>, Header, description = "As RFC 6455 has it."),
    ),
    responses((status = 101, description = "The connection is a WebSocket from here on."), Refusals),
)]
pub(crate) async fn live(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let is_named = parts.headers.contains_key(header::AUTHORIZATION);
    let access = if is_named { Some(Access::from_request_parts(&mut parts, &app).await?) } else { None };
    let accept = accept(&parts.headers).ok_or_else(ApiError::not_a_websocket)?;
    let place = app.live.enter()?;
    let stranger = if is_named { None } else { Some(app.live.stranger()?) };
    let arrival = Arrival { note, access, place, stranger };
    let upgrade = hyper::upgrade::on(Request::from_parts(parts, body));
    tokio::spawn(async move {
        match upgrade.await {
            Ok(stream) => converse(app, TokioIo::new(stream), arrival).await,
            Err(error) => tracing::debug!(%error, request_id = arrival.note.id(), "upgrade"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// The proof that the server understood, if it is asked for a WebSocket.
fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let lists = |name: HeaderName, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    let asks = lists(header::CONNECTION, "upgrade") && lists(header::UPGRADE, "websocket");
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    if !asks || !lists(header::SEC_WEBSOCKET_VERSION, "13") {
        return None;
    }
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        assert_eq!(accept(&headers), None, "no key");
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("8"));
        assert_eq!(accept(&headers), None);
    }
}
