//! `GET /.well-known/jwks.json`: the public keys that tokens of this server are signed with, so that others can verify them.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::Refusals;
use crate::app::App;
use crate::auth::keys::PublicKey;

/// A key is shown an hour before it signs, and an hour after it signed last: whoever keeps the list for a few minutes misses
/// nothing.
const CACHED: &str = "public, max-age=300";

/// A key set (RFC 7517).
#[derive(Serialize, ToSchema)]
pub(crate) struct KeySet {
    /// The one that signs first, then the one that will and the one that did.
    keys: Vec<PublicKey>,
}

/// The public keys of this server's tokens
#[utoipa::path(get, path = "/.well-known/jwks.json", responses((status = 200, body = KeySet), Refusals))]
pub(crate) async fn jwks(State(app): State<App>) -> impl IntoResponse {
    let keys = app.callers.tokens().keys();
    let keys = keys.believed().map(crate::auth::keys::SigningKey::public).collect();
    ([(CACHE_CONTROL, CACHED)], Json(KeySet { keys }))
}
