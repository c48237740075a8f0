//! From a token's text to what it allows.

use super::issuers::Issuers;
use super::token::{Access, Tokens};
use crate::error::ApiError;

/// All that decides who calls.
pub(crate) struct Callers {
    tokens: Tokens,
    issuers: Issuers,
}

impl Callers {
    pub(crate) fn new(tokens: Tokens, issuers: Issuers) -> Self {
        Self { tokens, issuers }
    }

    /// Our own issuer.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Other issuers, whose ID tokens prove who somebody is.
    pub(crate) fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Whose token it is, and how long it holds.
    #[expect(clippy::unused_async, reason = "keys of other issuers have to be fetched")]
    pub(crate) async fn verify(&self, token: &str) -> Result<Access, ApiError> {
        self.tokens.verify(token).map_err(ApiError::unauthorized)
    }
}
