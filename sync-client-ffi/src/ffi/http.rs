//! HTTP of the app's own, where a company demands its own stack, and what the library's trusts.

use std::sync::Arc;

use super::background;
use super::error::RejoinError;
use crate::client::{HttpAnswer, HttpPost, HttpStack, HttpWork, Trust};

/// A header of a request or an answer.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HttpHeader {
    /// Its name; of requests in lower case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The answer to a request, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HttpResponse {
    /// HTTP's status.
    pub status: u16,
    /// Of the headers, `retry-after` is looked at.
    pub headers: Vec<HttpHeader>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer. Whatever the app's code throws counts as this.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Error, thiserror::Error)]
pub enum HttpTransportError {
    /// The server was not reached: it is tried again later.
    #[error("not reached: {reason}")]
    Unreachable {
        /// Why.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for HttpTransportError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Unreachable { reason: error.reason }
    }
}

/// Makes the requests of a client. There is no live connection then: changes come with the next request. Account routes are
/// not reached through it, so it goes with tokens of the app's own.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait HttpTransport: Send + Sync {
    /// Makes a POST request and gives the answer, whatever its status. It follows no redirect, and is given up after that
    /// time. One at a time is asked for.
    async fn post(
        &self,
        url: String,
        headers: Vec<HttpHeader>,
        body: Vec<u8>,
        timeout_ms: u64,
    ) -> Result<HttpResponse, HttpTransportError>;
}

/// What an app says of keys and authorities.
pub(super) fn trust(pins: &[String], roots: Vec<Vec<u8>>) -> Result<Trust, RejoinError> {
    let mut trust = Trust::default();
    for root in roots {
        trust = trust.root(root)?;
    }
    for pin in pins {
        trust = trust.pin(pin)?;
    }
    Ok(trust)
}

/// The app's, as the client wants it.
pub(super) struct Stack(pub(super) Arc<dyn HttpTransport>);

/// Given up when nobody waits for it any more.
struct Flight(Option<tokio::task::JoinHandle<()>>);

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(flight) = self.0.take() {
            flight.abort();
        }
    }
}

impl HttpStack for Stack {
    fn post(&self, request: HttpPost) -> HttpWork<'_> {
        let transport = self.0.clone();
        // On a thread of the library's own: foreign code that blocks is not to hold up the session and its deadline.
        let (tell, told) = tokio::sync::oneshot::channel();
        let asking = background::spawn(async move {
            let headers = request.headers.into_iter().map(|(name, value)| HttpHeader { name, value }).collect();
            let timeout_ms = request.timeout.as_millis() as u64;
            let answer = transport.post(request.url, headers, request.body, timeout_ms).await;
            let answer = answer.inspect_err(|error| tracing::warn!(%error, "the app's HTTP failed")).ok();
            tell.send(answer).ok();
        });
        let flight = Flight(asking.ok());
        Box::pin(async move {
            let answer = told.await.ok().flatten();
            drop(flight);
            let HttpResponse { status, headers, body } = answer?;
            let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
            Some(HttpAnswer { status, headers, body })
        })
    }
}
