//! `/v1/devices`: registering a device, and what its user does with it afterwards.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sync_core::id::DeviceId;
use sync_core::wire::SCHEMA;
use sync_core::wire::account::{
    DeviceOfCaller, DevicesResponse, Private, Proof, RegisterRequest, RenameDeviceRequest, TokenResponse,
};

use super::body;
use super::membership::of_path;
use crate::app::App;
use crate::auth::{Caller, accounts, sessions};
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;
use crate::router::idempotent::Secret;
use crate::router::observe::Note;

/// Registers a device for whoever the proof is of, and signs it in. A device that has been registered before names itself and
/// keeps its id.
#[utoipa::path(
    post,
    path = "/v1/devices",
    request_body = RegisterRequest,
    responses((status = 201, body = TokenResponse), Refusals),
)]
pub(crate) async fn register(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    request: Request,
) -> Result<Response, ApiError> {
    let format = Format::of_answer(request.headers());
    let RegisterRequest { schema, proof, device } = body::frame(&app, request).await?;
    of_this_schema(schema)?;
    let (user, display_name) = match proof {
        Proof::Password { email, password: Private(password) } => {
            let account = accounts::sign_in(&app, Some(&note), &email, &password).await?;
            (account.user, Some(account.display_name))
        }
        Proof::IdToken { token: Private(token), nonce } => {
            let identity = app.callers.issuers().identity(&token, nonce.as_deref()).await?;
            (identity.user, identity.display_name)
        }
    };
    let begun = sessions::begin(&app, Some(&note), &user, display_name.as_deref(), device).await?;
    Ok((StatusCode::CREATED, secret(format.answer(&begun)?)).into_response())
}

/// The caller's devices.
#[utoipa::path(
    get,
    path = "/v1/devices",
    security(("token" = [])),
    responses((status = 200, body = DevicesResponse), Refusals),
)]
pub(crate) async fn devices(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    let devices = app.registry.devices(&caller.user, app.clock.now_ms()).await?.into_iter();
    let devices = devices.map(|known| DeviceOfCaller {
        device: known.device,
        name: known.name,
        platform: known.platform,
        app_version: known.app_version,
        created_ms: known.created_ms,
        seen_ms: known.seen_ms,
        signed_in: known.signed_in,
        current: known.device == caller.device,
    });
    Format::of_answer(&headers).answer(&DevicesResponse { schema: SCHEMA, devices: devices.collect() })
}

/// Gives one of the caller's devices another name.
#[utoipa::path(
    patch,
    path = "/v1/devices/{device}",
    params(("device" = uuid::Uuid, Path, description = "Which device")),
    security(("token" = [])),
    request_body = RenameDeviceRequest,
    responses((status = 204, description = "It has that name now"), Refusals),
)]
pub(crate) async fn rename(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let RenameDeviceRequest { schema, name } = body::frame(&app, request).await?;
    of_this_schema(schema)?;
    let name = sessions::name_of_device(name)?;
    let renamed = app.registry.rename(&caller.user, device_of(&of_path(path)?)?, &name).await?;
    if renamed { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found()) }
}

/// Revokes one of the caller's devices, which may be the one that asks: it is cut off within a second, and does not come back
/// under this id. Doing it again changes nothing.
#[utoipa::path(
    delete,
    path = "/v1/devices/{device}",
    params(("device" = uuid::Uuid, Path, description = "Which device")),
    security(("token" = [])),
    responses((status = 204, description = "It is revoked"), Refusals),
)]
pub(crate) async fn revoke(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    sessions::revoke(&app, Some(&note), &caller.user, device_of(&of_path(path)?)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn device_of(text: &str) -> Result<DeviceId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found())
}

pub(super) fn of_this_schema(schema: u16) -> Result<(), ApiError> {
    if schema == SCHEMA { Ok(()) } else { Err(ApiError::unsupported_schema()) }
}

/// An answer that neither we keep nor anything on its way.
pub(super) fn secret(mut response: Response) -> Response {
    response.extensions_mut().insert(Secret);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
