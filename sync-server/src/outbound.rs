//! Requests that the server itself makes, to where its configuration says and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Response};
use rustls::{ClientConfig, RootCertStore};

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
#[error("no TLS for requests to others: {0}")]
pub struct TlsError(pub(crate) String);

/// Certificates of the system are believed, no proxy is asked, and nobody is sent anywhere else. A whole request may take
/// `time_max`, of that `connect_time_max` for the connection.
pub(crate) fn client(connect_time_max: Duration, time_max: Duration) -> Result<ClientBuilder, TlsError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    let (_, unusable) = roots.add_parsable_certificates(system.certs);
    if unusable > 0 || !system.errors.is_empty() {
        tracing::debug!(unusable, errors = ?system.errors, "certificates of the system");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(|error| TlsError(error.to_string()))?.with_root_certificates(roots).with_no_client_auth();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).redirect(Policy::none()).no_proxy();
    Ok(builder.connect_timeout(connect_time_max).timeout(time_max))
}

/// What went wrong with a request. The library's text has the address, which is the configuration's; the cause is in its
/// sources.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The body of an answer, or nothing where it is longer than that.
pub(crate) async fn body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Option<reqwest::Error>> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(Some)? {
        if body.len() + part.len() > bytes_max {
            return Err(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
