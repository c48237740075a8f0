//! Accounts of our own: an address and a password.

use crate::app::App;
use crate::error::ApiError;

/// Somebody with an account here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's name, as tokens bear it.
    pub user: String,
    /// What others call this person.
    pub display_name: String,
}

/// Whose address and password these are.
#[expect(clippy::unused_async, reason = "it asks the store")]
pub(crate) async fn sign_in(_app: &App, _email: &str, _password: &str) -> Result<Account, ApiError> {
    Err(ApiError::login_failed("there are no accounts"))
}
