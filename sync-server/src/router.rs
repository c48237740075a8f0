//! The one route table.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, patch, post};

use crate::app::App;
use crate::error::ApiError;
use crate::handlers;

pub(crate) mod address;
pub(crate) mod format;
pub(crate) mod gate;
mod idempotent;
pub(crate) mod limit;
pub(crate) mod observe;
pub(crate) mod serve;

/// The routes of version 1 with their methods, as the rules of the configuration name them.
pub(crate) const ROUTES: [(&str, &str); 19] = [
    ("POST", SYNC),
    ("GET", LIVE),
    ("GET", EVENTS),
    ("GET", SPACES),
    ("GET", VERSION),
    ("POST", ACCOUNTS),
    ("POST", PASSWORD),
    ("POST", DEVICES),
    ("GET", DEVICES),
    ("PATCH", DEVICE),
    ("DELETE", DEVICE),
    ("POST", LOGOUT),
    ("POST", TOKEN),
    ("GET", AUTHORIZE),
    ("POST", AUTHORIZE),
    ("GET", COMPANION),
    ("POST", COMPANION),
    ("POST", COMPANION_APPROVE),
    ("POST", COMPANION_BEGIN),
];

const SYNC: &str = "/v1/sync";
const LIVE: &str = "/v1/live";
const EVENTS: &str = "/v1/events";
const SPACES: &str = "/v1/spaces";
const VERSION: &str = "/v1/spaces/{id}/version";
const ACCOUNTS: &str = "/v1/accounts";
const PASSWORD: &str = "/v1/accounts/password";
const DEVICES: &str = "/v1/devices";
const DEVICE: &str = "/v1/devices/{device}";
const LOGOUT: &str = "/v1/logout";
const TOKEN: &str = "/v1/oauth/token";
const AUTHORIZE: &str = "/v1/oauth/authorize";
const COMPANION: &str = "/v1/oauth/device";
const COMPANION_APPROVE: &str = "/v1/oauth/device/approve";
const COMPANION_BEGIN: &str = "/v1/oauth/device_authorization";
/// The routes whose refusals have RFC 6749's form, too.
const OAUTH: [&str; 2] = [TOKEN, COMPANION_BEGIN];
/// The routes that browsers show.
const PAGES: [&str; 2] = [AUTHORIZE, COMPANION];

/// The route as it stands in the table, wherever the table is nested.
pub(crate) fn route_of(matched: &str) -> &str {
    matched.rfind("/v1/").map_or(matched, |at| &matched[at..])
}

/// Whether refusals of that route have RFC 6749's form, too.
pub(crate) fn speaks_oauth(matched: &str) -> bool {
    OAUTH.contains(&route_of(matched))
}

/// Whether people see what that route answers.
pub(crate) fn is_page(matched: &str) -> bool {
    PAGES.contains(&route_of(matched))
}

/// Every route there is. `/v1` stands behind the gate and the limits; each of its handlers names
/// a caller, so needs a token, but for those by which one gets a token. Their answers are secrets, so no key has one kept.
pub(crate) fn router(app: App) -> Router {
    let v1 = Router::new()
        .route(SYNC, post(handlers::sync::sync))
        .route(LIVE, get(handlers::live::live))
        .route(EVENTS, get(handlers::events::events))
        .route(SPACES, get(handlers::spaces::spaces))
        .route(VERSION, get(handlers::version::version))
        .route(DEVICES, get(handlers::devices::devices))
        .route(DEVICE, patch(handlers::devices::rename).delete(handlers::devices::revoke))
        .route(LOGOUT, post(handlers::logout::logout))
        .route(PASSWORD, post(handlers::password::change))
        .route(COMPANION_APPROVE, post(handlers::oauth_device_approve::approve))
        .route_layer(from_fn_with_state(app.clone(), idempotent::once))
        .route(ACCOUNTS, post(handlers::accounts::sign_up))
        .route(DEVICES, post(handlers::devices::register))
        .route(TOKEN, post(handlers::oauth_token::token))
        .route(AUTHORIZE, get(handlers::oauth_authorize::page).post(handlers::oauth_authorize::answer))
        .route(COMPANION, get(handlers::oauth_device::page).post(handlers::oauth_device::answer))
        .route(COMPANION_BEGIN, post(handlers::oauth_device_authorization::begin))
        .route_layer(from_fn_with_state(app.clone(), limit::limit))
        .route_layer(from_fn_with_state(app.clone(), gate::pass));
    Router::new()
        .merge(v1)
        .route("/v1/openapi.json", get(handlers::openapi::openapi))
        .route("/.well-known/oauth-authorization-server", get(handlers::oauth_metadata::metadata))
        .route("/healthz", get(handlers::health::healthz))
        .route("/readyz", get(handlers::health::readyz))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}
