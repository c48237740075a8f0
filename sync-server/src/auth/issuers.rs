//! Other issuers that are believed: OpenID providers whose ID tokens prove who somebody is, and whose access tokens may be
//! taken. Which they are, and where they are, the configuration says alone: nothing in a token leads anywhere.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Header};

use self::cache::{KeyCache, Missing};
use self::fetch::Source;
use super::jwt;
use super::token::{Access, TokenError};
use crate::clock::Clock;
use crate::config;
use crate::error::ApiError;
use crate::outbound::TlsError;

mod access_token;
mod cache;
mod fetch;
mod id_token;
mod jwks;

/// An ID token may hold a picture's address and groups; what is longer is not parsed.
const ID_TOKEN_BYTES_MAX: usize = 16 << 10;

/// Whom a provider names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name here: the provider's, a colon, and the subject.
    pub user: String,
    /// What others call this person, where the provider says.
    pub display_name: Option<String>,
}

/// The providers.
pub(crate) struct Issuers {
    providers: Vec<Provider>,
    clock: Clock,
    leeway_s: u64,
}

/// One of them.
struct Provider {
    config: config::TokenIssuer,
    keys: Arc<KeyCache>,
}

/// Why a provider's token is not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Nobody knows yet: the provider could not be asked.
    #[error("the keys of the provider {0} are not to be had")]
    NoKeys(String),
    #[error("{0}")]
    Claim(&'static str),
}

impl Issuers {
    /// Those of the configuration. Nothing is asked of them yet.
    pub(crate) fn new(config: &config::Token, clock: &Clock) -> Result<Self, TlsError> {
        let client = if config.issuers.is_empty() { None } else { Some(fetch::client()?) };
        let provider = |config: &config::TokenIssuer| {
            let source = Source::new(client.clone()?, config);
            Some(Provider { config: config.clone(), keys: Arc::new(KeyCache::new(source, clock.clone())) })
        };
        let providers = config.issuers.iter().filter_map(provider).collect();
        Ok(Self { providers, clock: clock.clone(), leeway_s: config.leeway_seconds })
    }

    /// Begins to fetch keys that are due, so that hardly a request waits for it.
    pub(crate) fn refresh(&self) {
        for provider in &self.providers {
            provider.keys.refresh();
        }
    }

    /// Whom an ID token is of. A nonce of the sign-in is either in both places or in none.
    pub(crate) async fn identity(&self, token: &str, nonce: Option<&str>) -> Result<Identity, ApiError> {
        self.identified(token, nonce).await.map_err(|error| match error {
            Refused::NoKeys(_) => ApiError::unavailable(error),
            _ => ApiError::login_failed(error),
        })
    }

    async fn identified(&self, token: &str, nonce: Option<&str>) -> Result<Identity, Refused> {
        if token.len() > ID_TOKEN_BYTES_MAX {
            return Err(TokenError::Long.into());
        }
        let provider = self.provider(&jwt::issuer(token)?)?;
        let rules = id_token::Rules { nonce, now_ms: self.clock.now_ms(), leeway_s: self.leeway_s };
        id_token::identity(provider, token, &rules).await
    }

    /// Whose access token of a provider it is.
    pub(crate) async fn access(&self, issuer: &str, token: &str) -> Result<Access, ApiError> {
        let accessed = async {
            let provider = self.provider(issuer)?;
            access_token::access(provider, token, self.clock.now_ms(), self.leeway_s).await
        };
        accessed.await.map_err(|error| match error {
            Refused::NoKeys(_) => ApiError::unavailable(error),
            _ => ApiError::unauthorized(error),
        })
    }

    fn provider(&self, issuer: &str) -> Result<&Provider, TokenError> {
        self.providers.iter().find(|provider| provider.config.url == issuer).ok_or(TokenError::Issuer)
    }
}

impl Provider {
    /// What a token of this provider says, if one of its keys signed it.
    async fn claims<T: serde::de::DeserializeOwned>(&self, token: &str, header: &Header) -> Result<T, Refused> {
        if !matches!(header.alg, Algorithm::ES256 | Algorithm::RS256 | Algorithm::EdDSA) {
            return Err(TokenError::Algorithm.into());
        }
        let id = header.kid.as_deref().ok_or(TokenError::Key)?;
        let key = self.keys.key(id, header.alg).await.map_err(|missing| match missing {
            Missing::Unknown => Refused::Token(TokenError::Key),
            Missing::Unavailable => Refused::NoKeys(self.config.name.clone()),
        })?;
        Ok(jwt::claims(token, header.alg, &key.decoding)?)
    }

    /// What its user is called here. Names of our own accounts have no colon.
    fn user(&self, subject: &str) -> Result<String, TokenError> {
        let user = format!("{}:{subject}", self.config.name);
        if subject.is_empty() || !jwt::is_user(&user) { Err(TokenError::User) } else { Ok(user) }
    }
}
