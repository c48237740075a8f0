//! `POST /v1/oauth/token`: what somebody has is exchanged for an access token and the next refresh token (RFC 6749).
//!
//! Refreshing takes `grant_type=refresh_token`, `refresh_token` and `device_id`, and may take `app_version`, and `proof`: the
//! device's Ed25519 signature, in base64url, over `rejoin refresh repeat`, a zero byte, and the SHA-256 of the refresh token's
//! text. With it a device that registered a public key may repeat its very last refresh however long the answer was lost.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use sync_core::wire::account::{Private, TokenResponse};
use utoipa::ToSchema;

use super::devices::secret;
use super::form::Form;
use crate::app::App;
use crate::auth::grants;
use crate::auth::sessions::{self, Refresh};
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;
use crate::router::observe::Note;

/// The form of a refresh.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by the macro")]
pub(crate) struct RefreshForm {
    /// `refresh_token`.
    grant_type: String,
    /// The refresh token.
    refresh_token: String,
    /// The device whose it is.
    device_id: uuid::Uuid,
    /// The app's version by now.
    app_version: Option<String>,
    /// The device's signature, for repeating its very last refresh later than half a minute.
    proof: Option<String>,
}

/// A new access token and the next refresh token. The one that came is good for this once: its device may repeat the request
/// for half a minute and gets the same again, and whoever uses it later ends the session.
#[utoipa::path(
    post,
    path = "/v1/oauth/token",
    request_body(content = RefreshForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = TokenResponse), Refusals),
)]
pub(crate) async fn token(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut form = Form::of(&app, request).await?;
    let Private(grant_type) = form.required("grant_type")?;
    let tokens = match grant_type.as_str() {
        "refresh_token" => sessions::refresh(&app, Some(&note), refresh(form)?).await?,
        other => grants::redeem(&app, Some(&note), other, form).await?,
    };
    // RFC 6749, section 5.1: JSON, whatever the caller reads besides.
    Ok(secret(Format::Json.answer(&tokens)?))
}

fn refresh(mut form: Form) -> Result<Refresh, ApiError> {
    let text = |Private(text)| text;
    let (token, device) = (form.required("refresh_token")?, form.required("device_id")?);
    let refresh = Refresh {
        token,
        device: device.0.parse().map_err(|_| ApiError::invalid("device_id", "a UUID"))?,
        app_version: form.optional("app_version").map(text),
        proof: form.optional("proof").map(text),
    };
    form.done()?;
    Ok(refresh)
}
