//! `POST /v1/oauth/device_authorization`: a companion without a keyboard asks for a code to show (RFC 8628).

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use sync_core::wire::ErrorCode;
use sync_core::wire::account::Private;
use url::form_urlencoded;
use utoipa::ToSchema;

use super::devices::secret;
use super::form::Form;
use crate::app::App;
use crate::auth::grants::device::{self, EXPIRES_S, INTERVAL_S};
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;

/// Who asks.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by the macro")]
pub(crate) struct DeviceAuthorizationForm {
    /// The app.
    client_id: String,
}

/// RFC 8628, section 3.2.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeviceAuthorization {
    /// What the companion redeems at `POST /v1/oauth/token`.
    device_code: Private,
    /// What it shows.
    user_code: String,
    /// Where people type that.
    verification_uri: String,
    /// The same with the code in it, for a QR code.
    verification_uri_complete: String,
    /// How long both codes hold, in seconds.
    expires_in: u64,
    /// How long to wait between two questions, in seconds.
    interval: u32,
}

/// A code to show, and one to redeem once somebody has approved.
#[utoipa::path(
    post,
    path = "/v1/oauth/device_authorization",
    request_body(content = DeviceAuthorizationForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = DeviceAuthorization), Refusals),
)]
pub(crate) async fn begin(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let mut form = Form::of(&app, request).await?;
    let client = form.required("client_id")?;
    if form.optional("scope").is_some() {
        let message = "There are no scopes here: a companion does what its user may.";
        return Err(ApiError::oauth("invalid_scope", ErrorCode::Invalid, message));
    }
    form.done()?;
    let begun = device::begin(&app, &client.0).await?;
    let verification_uri = app.clients.place("/v1/oauth/device");
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("user_code", &begun.user_code).finish();
    Ok(secret(Format::Json.answer(&DeviceAuthorization {
        device_code: Private(begun.device_code),
        user_code: begun.user_code,
        verification_uri_complete: format!("{verification_uri}?{query}"),
        verification_uri,
        expires_in: EXPIRES_S,
        interval: INTERVAL_S,
    })?))
}
