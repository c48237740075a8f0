//! The one route table, and the router that is built of it.

use axum::Router;
use axum::extract::MatchedPath;
use axum::http::{Extensions, Method};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use sync_core::limits::BODY_BYTES_MAX;

use crate::app::App;
use crate::error::ApiError;
use crate::handlers;

pub(crate) mod address;
pub(crate) mod app_version;
#[cfg(feature = "testing")]
pub(crate) mod direct;
pub(crate) mod format;
pub(crate) mod gate;
pub(crate) mod idempotent;
pub(crate) mod limit;
pub(crate) mod metrics;
pub(crate) mod observe;
pub(crate) mod serve;

/// A line of the table. The router, the limits, the description of the API, the threat model and tests all read it.
pub(crate) struct Route {
    /// The method, as the rules of the configuration name it.
    pub(crate) method: &'static str,
    /// The path, likewise.
    pub(crate) path: &'static str,
    /// Who may call.
    pub(crate) who: Who,
    /// What a body may have.
    pub(crate) body_bytes_max: usize,
    /// What its refusals look like.
    pub(crate) refusals: Refusals,
    serve: fn() -> MethodRouter<App>,
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Anybody, also while the server is full or stops: it does next to nothing, and stands before the gate.
    Probe,
    /// Anybody: who calls is said otherwise than by a token, or makes no difference.
    Anyone,
    /// Whoever has an access token: the handler names a caller.
    Caller,
}

/// What refusals look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusals {
    /// A frame.
    Frames,
    /// A frame that has RFC 6749's form, too.
    OAuth,
    /// A page, for people.
    Pages,
}

/// A body of names and numbers. The longest are a name of 100 characters, a token, a public key.
pub(crate) const SMALL_BYTES_MAX: usize = 64 << 10;

const fn route(method: &'static str, path: &'static str, who: Who, serve: fn() -> MethodRouter<App>) -> Route {
    Route { method, path, who, body_bytes_max: SMALL_BYTES_MAX, refusals: Refusals::Frames, serve }
}

impl Route {
    const fn taking(mut self, bytes_max: usize) -> Self {
        self.body_bytes_max = bytes_max;
        self
    }

    const fn refusing_in(mut self, refusals: Refusals) -> Self {
        self.refusals = refusals;
        self
    }

    /// The line that a request has come by.
    pub(crate) fn of(extensions: &Extensions, method: &Method) -> Option<&'static Self> {
        let matched = extensions.get::<MatchedPath>()?.as_str();
        // A route that answers GET answers HEAD with the same work.
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        // The table may be nested in another: then its paths are the ends of what matches, and none is the end of another.
        ROUTES.iter().find(|route| route.method == method && matched.ends_with(route.path))
    }
}

/// Every route there is.
pub(crate) const ROUTES: &[Route] = &[
    route("POST", "/v1/sync", Who::Caller, || post(handlers::sync::sync)).taking(BODY_BYTES_MAX),
    route("POST", "/v1/heal", Who::Caller, || post(handlers::heal::heal)).taking(BODY_BYTES_MAX),
    // A token, or a hello that has one.
    route("GET", "/v1/live", Who::Anyone, || get(handlers::live::live)),
    route("GET", "/v1/events", Who::Caller, || get(handlers::events::events)),
    route("GET", "/v1/spaces", Who::Caller, || get(handlers::spaces::spaces)),
    route("GET", "/v1/spaces/{id}/version", Who::Caller, || get(handlers::version::version)),
    route("POST", "/v1/spaces", Who::Caller, || post(handlers::spaces::create)),
    route("DELETE", "/v1/spaces/{id}", Who::Caller, || delete(handlers::spaces::remove)),
    route("GET", "/v1/spaces/{id}/deletions/{doc}", Who::Caller, || get(handlers::deletions::deletion)),
    route("GET", "/v1/spaces/{id}/members", Who::Caller, || get(handlers::members::members)),
    route("PUT", "/v1/spaces/{id}/members/{user}", Who::Caller, || put(handlers::members::set_role)),
    route("DELETE", "/v1/spaces/{id}/members/{user}", Who::Caller, || delete(handlers::members::remove)),
    route("GET", "/v1/spaces/{id}/invites", Who::Caller, || get(handlers::invites::invites)),
    route("POST", "/v1/spaces/{id}/invites", Who::Caller, || post(handlers::invites::invite)),
    route("DELETE", "/v1/spaces/{id}/invites/{invite}", Who::Caller, || delete(handlers::invites::revoke)),
    route("POST", "/v1/invites/accept", Who::Caller, || post(handlers::invites::accept)),
    route("POST", "/v1/accounts", Who::Anyone, || post(handlers::accounts::sign_up)),
    route("POST", "/v1/accounts/password", Who::Caller, || post(handlers::password::change)),
    route("POST", "/v1/accounts/delete", Who::Caller, || post(handlers::account_delete::delete)),
    // Answers that hold secrets: no key has one kept.
    route("POST", "/v1/devices", Who::Anyone, || post(handlers::devices::register)),
    route("GET", "/v1/devices", Who::Caller, || get(handlers::devices::devices)),
    route("PATCH", "/v1/devices/{device}", Who::Caller, || patch(handlers::devices::rename)),
    route("DELETE", "/v1/devices/{device}", Who::Caller, || delete(handlers::devices::revoke)),
    route("POST", "/v1/logout", Who::Caller, || post(handlers::logout::logout)),
    route("POST", "/v1/oauth/token", Who::Anyone, || post(handlers::oauth_token::token)).refusing_in(Refusals::OAuth),
    route("GET", "/v1/oauth/authorize", Who::Anyone, || get(handlers::oauth_authorize::page))
        .refusing_in(Refusals::Pages),
    route("POST", "/v1/oauth/authorize", Who::Anyone, || post(handlers::oauth_authorize::answer))
        .refusing_in(Refusals::Pages),
    route("GET", "/v1/oauth/device", Who::Anyone, || get(handlers::oauth_device::page)).refusing_in(Refusals::Pages),
    route("POST", "/v1/oauth/device", Who::Anyone, || post(handlers::oauth_device::answer))
        .refusing_in(Refusals::Pages),
    route("POST", "/v1/oauth/device/approve", Who::Caller, || post(handlers::oauth_device_approve::approve)),
    route("POST", "/v1/oauth/device_authorization", Who::Anyone, || post(handlers::oauth_device_authorization::begin))
        .refusing_in(Refusals::OAuth),
    route("GET", "/v1/openapi.json", Who::Probe, || get(handlers::openapi::openapi)),
    route("GET", "/.well-known/jwks.json", Who::Anyone, || get(handlers::jwks::jwks)),
    route("GET", "/.well-known/oauth-authorization-server", Who::Anyone, || get(handlers::oauth_metadata::metadata)),
    route("GET", "/healthz", Who::Probe, || get(handlers::health::healthz)),
    route("GET", "/readyz", Who::Probe, || get(handlers::health::readyz)),
];

/// Method and path of every route.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.iter().map(|route| (route.method, route.path))
}

/// The routes of the table for those who may call them.
fn routes_for(who: Who) -> Router<App> {
    let routes = ROUTES.iter().filter(|route| route.who == who);
    routes.fold(Router::new(), |router, route| router.route(route.path, (route.serve)()))
}

/// All but probes stand behind the gate, the versions and the limits. Idempotency keys are their callers'.
pub(crate) fn router(app: App) -> Router {
    let working = routes_for(Who::Caller)
        .route_layer(from_fn_with_state(app.clone(), idempotent::once))
        .merge(routes_for(Who::Anyone))
        .route_layer(from_fn_with_state(app.clone(), limit::limit))
        .route_layer(from_fn_with_state(app.clone(), app_version::recent))
        .route_layer(from_fn_with_state(app.clone(), gate::pass));
    Router::new()
        .merge(working)
        .merge(routes_for(Who::Probe))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}
