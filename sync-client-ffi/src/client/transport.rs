//! Requests over HTTP.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use sync_core::limits::{BODY_BYTES_MAX, REQUEST_TIMEOUT_MS};
use sync_core::session::Failure;
use sync_core::wire::{self, ErrorCode, ErrorResponse, SyncRequest, SyncResponse};

use super::error::OpenError;

const MSGPACK: &str = "application/msgpack";

/// What comes of a request.
pub(super) type Answer = Result<Box<SyncResponse>, Failure>;

/// How requests reach a server; an object, so that a faulty one fits in tests.
pub(super) trait Transport: Send + Sync {
    fn send<'a>(
        &'a self,
        request: &'a SyncRequest,
        token: Option<String>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

    fn traffic(&self) -> Traffic;
}

/// Bytes that went over the wire, in bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests begun.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes_sent: u64,
    /// Bytes of the bodies of the answers.
    pub bytes_received: u64,
}

/// HTTP/1.1 or HTTP/2 by reqwest, with TLS by rustls where the address says so.
pub(super) struct Http {
    client: reqwest::Client,
    url: String,
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Http {
    pub(super) fn new(server: &str) -> Result<Self, OpenError> {
        let bad = || OpenError::BadAddress { address: server.to_owned() };
        let url = reqwest::Url::parse(server).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(bad());
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Lost races are fine: then the app, or another client, has installed one.
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        let client = reqwest::Client::builder()
            .timeout(Duration::from_millis(REQUEST_TIMEOUT_MS))
            .connect_timeout(Duration::from_millis(REQUEST_TIMEOUT_MS / 3))
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rejoin/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| bad())?;
        let url = format!("{}/v1/sync", url.as_str().trim_end_matches('/'));
        let zero = || AtomicU64::new(0);
        Ok(Self { client, url, requests: zero(), sent: zero(), received: zero() })
    }

    async fn exchange(&self, request: &SyncRequest, token: Option<String>) -> Answer {
        let not_understood = Failure::Refused { code: ErrorCode::BadFrame, retry_after_ms: None };
        let token = token.ok_or(Failure::Refused { code: ErrorCode::Unauthorized, retry_after_ms: None })?;
        let body = wire::encode(request).map_err(|_| not_understood)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
        let request = self
            .client
            .post(&self.url)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, MSGPACK)
            .header(ACCEPT, MSGPACK)
            .body(body);
        let response = request.send().await.map_err(|_| Failure::Unreachable)?;
        let status = response.status();
        let retry_after_ms = retry_after_ms(&response);
        let body = self.body(response).await?;
        if status.is_success() {
            let frame = wire::decode::<SyncResponse>(&body).map_err(|error| {
                tracing::warn!(%error, "the server's answer is not a frame");
                not_understood
            })?;
            return Ok(Box::new(frame));
        }
        let code = match wire::decode::<ErrorResponse>(&body) {
            Ok(error) => error.code,
            // A proxy or captive portal speaks for itself; only a status that says enough is believed.
            Err(_) if status.as_u16() == 401 => ErrorCode::Unauthorized,
            Err(_) if status.as_u16() == 413 => ErrorCode::TooLarge,
            Err(_) => ErrorCode::Unavailable,
        };
        Err(Failure::Refused { code, retry_after_ms })
    }

    /// The body, as far as a frame may be long; a longer one is cut off before it fills the memory.
    async fn body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Failure::Unreachable)? {
            self.received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(Failure::Refused { code: ErrorCode::BadFrame, retry_after_ms: None });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn retry_after_ms(response: &reqwest::Response) -> Option<u64> {
    let seconds: u64 = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1000))
}

impl Transport for Http {
    fn send<'a>(
        &'a self,
        request: &'a SyncRequest,
        token: Option<String>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(self.exchange(request, token))
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            bytes_sent: self.sent.load(Ordering::Relaxed),
            bytes_received: self.received.load(Ordering::Relaxed),
        }
    }
}
