//! Asking a provider for its keys: where the configuration says and nowhere else, for a bounded time and size.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::Url;

use super::jwks::KeySet;
use crate::config;
use crate::outbound::{self, TlsError};

/// What a provider takes to answer; it is asked again later.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// Of these, a part at most for the connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Providers' documents have a few KiB, key sets with chains of certificates some ten.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Why a provider's keys are not to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Http(String),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is longer than 256 KiB")]
    Long,
    #[error("its configuration is not one")]
    Discovery,
    #[error("its configuration is that of another issuer")]
    Issuer,
    #[error("its keys would be on another host; name them in `jwks_url`")]
    Elsewhere,
    #[error("{0}")]
    Keys(&'static str),
}

/// For all providers. Asked once an hour, one has closed the connection by then.
pub(super) fn client() -> Result<Client, TlsError> {
    let builder = outbound::client(CONNECT_TIME_MAX, REQUEST_TIME_MAX)?.pool_max_idle_per_host(0);
    builder.build().map_err(|error| TlsError(error.to_string()))
}

/// Where a provider's keys are.
pub(super) struct Source {
    client: Client,
    pub(super) name: String,
    issuer: String,
    jwks_url: Option<String>,
}

impl Source {
    pub(super) fn new(client: Client, config: &config::TokenIssuer) -> Self {
        let (name, issuer, jwks_url) = (config.name.clone(), config.url.clone(), config.jwks_url.clone());
        Self { client, name, issuer, jwks_url }
    }

    /// Asks for the keys.
    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        KeySet::parse(&self.get(&url).await?).map_err(FetchError::Keys)
    }

    /// Where it says that its keys are (OpenID Connect Discovery, section 4).
    async fn discover(&self) -> Result<String, FetchError> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        let document =
            self.get(&format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'))).await?;
        let document: Document = serde_json::from_slice(&document).map_err(|_| FetchError::Discovery)?;
        if document.issuer != self.issuer {
            return Err(FetchError::Issuer);
        }
        let parse = |url: &str| Url::parse(url).map_err(|_| FetchError::Discovery);
        if parse(&document.jwks_uri)?.origin() != parse(&self.issuer)?.origin() {
            return Err(FetchError::Elsewhere);
        }
        Ok(document.jwks_uri)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let failed = |error: reqwest::Error| FetchError::Http(outbound::cause(&error));
        let response = self.client.get(url).header("accept", "application/json").send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        outbound::body(response, BODY_BYTES_MAX).await.map_err(|error| error.map_or(FetchError::Long, failed))
    }
}
