//! From a token's text to what it allows.

use std::path::PathBuf;

use super::issuers::Issuers;
use super::jwt;
use super::keys::watch::Watch;
use super::token::{Access, TOKEN_BYTES_MAX, TokenError, Tokens};
use crate::error::ApiError;

/// All that decides who calls.
pub(crate) struct Callers {
    tokens: Tokens,
    issuers: Issuers,
    watch: Watch,
}

impl Callers {
    /// `keys` is the folder that the keys of `tokens` are from.
    pub(crate) fn new(tokens: Tokens, issuers: Issuers, keys: PathBuf) -> Self {
        Self { tokens, issuers, watch: Watch::new(keys) }
    }

    /// Our own issuer.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Other issuers, whose ID tokens prove who somebody is.
    pub(crate) fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Whose token it is, and how long it holds. Its issuer's name chooses who checks it, and is then checked like all else.
    pub(crate) async fn verify(&self, token: &str) -> Result<Access, ApiError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(ApiError::unauthorized(TokenError::Long));
        }
        let issuer = jwt::issuer(token).map_err(ApiError::unauthorized)?;
        if issuer != self.tokens.issuer() {
            return self.issuers.access(&issuer, token).await;
        }
        let mut verified = self.tokens.verify(token);
        if verified == Err(TokenError::Key) {
            self.look().await;
            verified = self.tokens.verify(token);
        }
        verified.map_err(ApiError::unauthorized)
    }

    /// Looks whether our keys were rotated.
    pub(crate) async fn look(&self) {
        let take = |keys: super::keys::SigningKeys| {
            let id = keys.id().to_owned();
            if self.tokens.replace(keys) {
                tracing::info!(signing_key = id, "the signing keys have changed");
            }
        };
        self.watch.look(take).await;
    }
}
