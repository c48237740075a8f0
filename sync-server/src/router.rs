//! The one route table.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::app::App;
use crate::error::ApiError;
use crate::handlers;

pub(crate) mod format;
pub(crate) mod gate;
pub(crate) mod observe;
pub(crate) mod serve;

/// Every route there is. `/v1` stands behind the gate; each of its handlers names a caller, so needs a token.
pub(crate) fn router(app: App) -> Router {
    let v1 = Router::new()
        .route("/v1/sync", post(handlers::sync::sync))
        .route("/v1/live", get(handlers::live::live))
        .route("/v1/events", get(handlers::events::events))
        .route("/v1/spaces", get(handlers::spaces::spaces))
        .route("/v1/spaces/{id}/version", get(handlers::version::version))
        .route_layer(from_fn_with_state(app.clone(), gate::pass));
    Router::new()
        .merge(v1)
        .route("/healthz", get(handlers::health::healthz))
        .route("/readyz", get(handlers::health::readyz))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}
