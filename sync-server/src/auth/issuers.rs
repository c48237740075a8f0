//! Other issuers that are believed: OpenID providers whose ID tokens prove who somebody is.

use crate::error::ApiError;

/// Whom a provider names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name here: the provider's, a colon, and the subject.
    pub user: String,
    /// What others call this person, where the provider says.
    pub display_name: Option<String>,
}

/// The providers.
#[derive(Default)]
pub(crate) struct Issuers;

impl Issuers {
    /// Whom an ID token is of.
    #[expect(clippy::unused_async, reason = "keys have to be fetched")]
    pub(crate) async fn identity(&self, _token: &str, _nonce: Option<&str>) -> Result<Identity, ApiError> {
        Err(ApiError::login_failed("no provider is configured"))
    }
}
