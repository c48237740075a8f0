//! `GET /.well-known/oauth-authorization-server`: what libraries need to know of this server (RFC 8414).

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::grants::GRANT_TYPES;

/// RFC 8414, section 2, and RFC 9207.
#[derive(Serialize, ToSchema)]
pub(crate) struct Metadata {
    /// This server.
    issuer: String,
    /// Where browsers are sent.
    authorization_endpoint: String,
    /// Where codes and refresh tokens are redeemed.
    token_endpoint: String,
    /// Where companions without a keyboard begin.
    device_authorization_endpoint: String,
    /// The keys of access tokens.
    jwks_uri: String,
    /// `code`.
    response_types_supported: [&'static str; 1],
    /// `query`.
    response_modes_supported: [&'static str; 1],
    /// What is redeemed.
    grant_types_supported: [&'static str; 3],
    /// `S256`.
    code_challenge_methods_supported: [&'static str; 1],
    /// `none`: apps have no secrets.
    token_endpoint_auth_methods_supported: [&'static str; 1],
    /// Answers to browsers say who gives them.
    authorization_response_iss_parameter_supported: bool,
}

/// The server's endpoints, and what they take.
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    responses((status = 200, body = Metadata)),
)]
pub(crate) async fn metadata(State(app): State<App>) -> Json<Metadata> {
    let place = |route| app.clients.place(route);
    let [code, device] = GRANT_TYPES;
    Json(Metadata {
        issuer: app.clients.issuer().to_owned(),
        authorization_endpoint: place("/v1/oauth/authorize"),
        token_endpoint: place("/v1/oauth/token"),
        device_authorization_endpoint: place("/v1/oauth/device_authorization"),
        jwks_uri: place("/.well-known/jwks.json"),
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: [code, device, "refresh_token"],
        code_challenge_methods_supported: ["S256"],
        token_endpoint_auth_methods_supported: ["none"],
        authorization_response_iss_parameter_supported: true,
    })
}
