//! Sessions of devices: an access token for a quarter of an hour, and a refresh token for the next.

use sync_core::id::DeviceId;
use sync_core::wire::account::{NewDevice, TokenResponse};

use crate::app::App;
use crate::error::ApiError;

/// Registers a device for a user who has proved to be one, and begins a session.
#[expect(clippy::unused_async, reason = "it asks the store")]
pub(crate) async fn begin(
    _app: &App,
    _user: &str,
    _display_name: Option<&str>,
    _device: NewDevice,
) -> Result<TokenResponse, ApiError> {
    Err(ApiError::not_found())
}

/// Ends all sessions of a user but that of one device.
#[expect(clippy::unused_async, reason = "it asks the store")]
pub(crate) async fn end_all_but(_app: &App, _user: &str, _device: DeviceId) -> Result<(), ApiError> {
    Ok(())
}
