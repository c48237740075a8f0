//! `GET /v1/openapi.json`: what every route takes and answers, generated from the handlers.

use axum::Json;
use utoipa::openapi::OpenApi;
use utoipa::{IntoResponses, Modify, OpenApi as _, ToSchema};

use super::{
    accounts, devices, invites, jwks, logout, members, oauth_authorize, oauth_device, oauth_device_approve,
    oauth_device_authorization, oauth_metadata, oauth_token, password, spaces,
};

/// The answers that any route may give besides its own. Their body is an [`ErrorBody`].
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the macro")]
pub(crate) enum Refusals {
    /// The request is not of the form that the route takes.
    #[response(status = 400)]
    Bad(ErrorBody),
    /// No valid access token.
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// It does not exist, or the caller may not know that it does.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// Too often; `Retry-After` says when to come again.
    #[response(status = 429)]
    RateLimited(ErrorBody),
    /// Come again.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// What is answered where a request is not.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by the macro")]
pub(crate) struct ErrorBody {
    /// For programs.
    code: String,
    /// For people: what happened and what to do.
    message: String,
    /// For whoever reads the server's logs.
    request_id: String,
    /// How long to wait before the next try.
    retry_after_ms: Option<u64>,
}

/// What all routes have in common.
#[derive(utoipa::OpenApi)]
#[openapi(info(title = "Rejoin"), paths(
    accounts::sign_up,
    password::change,
    spaces::spaces,
    spaces::create,
    members::members,
    members::set_role,
    members::remove,
    invites::invites,
    invites::invite,
    invites::revoke,
    invites::accept,
    devices::register,
    devices::devices,
    devices::rename,
    devices::revoke,
    logout::logout,
    oauth_token::token,
    jwks::jwks,
    oauth_authorize::page,
    oauth_authorize::answer,
    oauth_device::page,
    oauth_device::answer,
    oauth_device_approve::approve,
    oauth_device_authorization::begin,
    oauth_metadata::metadata,
), modifiers(&Security))]
pub(crate) struct Api;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        openapi.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The description.
pub(crate) async fn openapi() -> Json<OpenApi> {
    Json(Api::openapi())
}
