//! Asking a provider for its keys: where the configuration says and nowhere else, for a bounded time and size.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use url::Url;

use super::jwks::KeySet;
use crate::config;

/// What a provider takes to answer; it is asked again later.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// Of these, a part at most for the connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Providers' documents have a few KiB, key sets with chains of certificates some ten.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
#[error("no TLS for asking OpenID providers: {0}")]
pub struct TlsError(String);

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

/// For all providers: certificates of the system are believed, no proxy is asked, and nobody is sent anywhere else.
pub(super) fn client() -> Result<Client, TlsError> {
    let failed = |error: &dyn std::error::Error| TlsError(error.to_string());
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    let (_, unusable) = roots.add_parsable_certificates(system.certs);
    if unusable > 0 || !system.errors.is_empty() {
        tracing::debug!(unusable, errors = ?system.errors, "certificates of the system");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(|error| failed(&error))?.with_root_certificates(roots).with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIME_MAX)
        .timeout(REQUEST_TIME_MAX)
        // Asked once an hour, a provider has closed the connection by then.
        .pool_max_idle_per_host(0);
    client.build().map_err(|error| failed(&error))
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
        // The library's text has the address, which is the configuration's, and the cause is in its sources.
        let failed = |error: reqwest::Error| {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            FetchError::Http(text)
        };
        let response = self.client.get(url).header("accept", "application/json").send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        body(response).await.map_err(|error| error.map_or(FetchError::Long, failed))
    }
}

/// The body, or nothing where it is too long.
async fn body(mut response: Response) -> Result<Vec<u8>, Option<reqwest::Error>> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(Some)? {
        if body.len() + part.len() > BODY_BYTES_MAX {
            return Err(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
