//! The one route table.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::app::App;
use crate::error::ApiError;
use crate::handlers;

pub(crate) mod address;
pub(crate) mod app_version;
pub(crate) mod format;
pub(crate) mod gate;
mod idempotent;
pub(crate) mod limit;
pub(crate) mod metrics;
pub(crate) mod observe;
pub(crate) mod serve;

/// The routes of version 1 with their methods, as the rules of the configuration name them.
pub(crate) const ROUTES: [(&str, &str); 5] =
    [("POST", SYNC), ("GET", LIVE), ("GET", EVENTS), ("GET", SPACES), ("GET", VERSION)];

const SYNC: &str = "/v1/sync";
const LIVE: &str = "/v1/live";
const EVENTS: &str = "/v1/events";
const SPACES: &str = "/v1/spaces";
const VERSION: &str = "/v1/spaces/{id}/version";

/// The route as it stands in the table, wherever the table is nested.
pub(crate) fn route_of(matched: &str) -> &str {
    matched.rfind("/v1/").map_or(matched, |at| &matched[at..])
}

/// Every route there is. `/v1` stands behind the gate and the limits; each of its handlers names a caller, so needs a token.
pub(crate) fn router(app: App) -> Router {
    let v1 = Router::new()
        .route(SYNC, post(handlers::sync::sync))
        .route(LIVE, get(handlers::live::live))
        .route(EVENTS, get(handlers::events::events))
        .route(SPACES, get(handlers::spaces::spaces))
        .route(VERSION, get(handlers::version::version))
        .route_layer(from_fn_with_state(app.clone(), idempotent::once))
        .route_layer(from_fn_with_state(app.clone(), limit::limit))
        .route_layer(from_fn_with_state(app.clone(), gate::pass));
    Router::new()
        .merge(v1)
        .route("/v1/openapi.json", get(handlers::openapi::openapi))
        .route("/healthz", get(handlers::health::healthz))
        .route("/readyz", get(handlers::health::readyz))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}
