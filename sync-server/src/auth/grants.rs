//! What companions redeem for a session: codes that somebody gave them.

use sync_core::wire::account::TokenResponse;

use crate::app::App;
use crate::error::ApiError;
use crate::handlers::form::Form;
use crate::router::observe::Note;

/// Redeems a grant of that type, by the rest of the form.
#[expect(clippy::unused_async, reason = "it asks the store")]
pub(crate) async fn redeem(
    _app: &App,
    _note: Option<&Note>,
    _grant_type: &str,
    _form: Form,
) -> Result<TokenResponse, ApiError> {
    Err(ApiError::unsupported_grant_type())
}
