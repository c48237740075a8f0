//! `GET /v1/openapi.json`: what every route takes and answers, generated from the handlers.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa::openapi::OpenApi;
use utoipa::{IntoResponses, Modify, OpenApi as _, ToSchema};

use sync_core::wire::ErrorResponse;

use super::{
    account_delete, accounts, deletions, devices, events, heal, health, invites, jwks, live, logout, members,
    oauth_authorize, oauth_device, oauth_device_approve, oauth_device_authorization, oauth_metadata, oauth_token,
    password, spaces, sync, version,
};

use common::Common;
use plain::plain;
use strict::Strict;

mod common;
mod plain;
mod strict;

/// The answers that any route may give besides its own. What else follows from who may call it and what it takes is added to
/// every operation, and so are the headers: see [`common`].
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the macro")]
pub(crate) enum Refusals {
    /// The request is not of the form that the route takes; the message names the field.
    #[response(status = 400)]
    Bad(ErrorResponse),
    /// No valid access token.
    #[response(status = 401)]
    Unauthorized(ErrorResponse),
    /// It does not exist, or the caller may not know that it does.
    #[response(status = 404)]
    NotFound(ErrorResponse),
    /// Too often; `Retry-After` says when to come again.
    #[response(status = 429)]
    RateLimited(ErrorResponse),
    /// Come again.
    #[response(status = 503)]
    Unavailable(ErrorResponse),
}

/// A refusal that has RFC 6749's form, too.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by the macro")]
struct OAuthRefusal {
    /// As OAuth calls it.
    error: String,
    /// The message, in plain ASCII.
    error_description: String,
    /// As the engine calls it.
    #[schema(inline)]
    #[serde(flatten)]
    frame: ErrorResponse,
}

/// What all routes have in common.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Rejoin",
        description = "Offline-first synchronisation: phones push what they wrote offline and pull what others wrote, over one \
                       durable log a space.\n\nBodies are JSON as described here, or MessagePack: the same frames with \
                       named fields, in which hashes are 32 bytes, changes are bytes, and runs and entries are packed. \
                       Requests are strict: a field that is not described here is refused. Answers may get new fields."
    ),
    paths(
        sync::sync,
        heal::heal,
        live::live,
        events::events,
        spaces::spaces,
        spaces::create,
        spaces::remove,
        deletions::deletion,
        version::version,
        members::members,
        members::set_role,
        members::remove,
        invites::invites,
        invites::invite,
        invites::revoke,
        invites::accept,
        accounts::sign_up,
        password::change,
        account_delete::delete,
        devices::register,
        devices::devices,
        devices::rename,
        devices::revoke,
        logout::logout,
        oauth_token::token,
        oauth_authorize::page,
        oauth_authorize::answer,
        oauth_device::page,
        oauth_device::answer,
        oauth_device_approve::approve,
        oauth_device_authorization::begin,
        oauth_metadata::metadata,
        jwks::jwks,
        openapi,
        health::healthz,
        health::readyz
    ),
    components(schemas(ErrorResponse, OAuthRefusal)),
    modifiers(&Security, &Common, &Strict)
)]
pub(crate) struct Api;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        openapi.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// It does not change while the server runs.
static DESCRIPTION: LazyLock<Bytes> = LazyLock::new(|| written().unwrap_or_default().into());

fn written() -> serde_json::Result<String> {
    Api::openapi().to_json().map(|json| plain(&json))
}

/// This description.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json", body = Object)),
)]
pub(crate) async fn openapi() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], DESCRIPTION.clone()).into_response()
}

#[cfg(test)]
mod tests;
