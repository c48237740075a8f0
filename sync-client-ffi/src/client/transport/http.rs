//! Plain requests over HTTP/1.1, with TLS where the address says so. HTTP/2 would save a client nothing that makes one request
//! at a time and is live over a WebSocket, and cost the app a tenth of a megabyte.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::limits::{BODY_BYTES_MAX, LIVE_OPEN_TIMEOUT_MS, REQUEST_TIMEOUT_MS};
use sync_core::session::{Ending, Failure};
use sync_core::wire::{self, ErrorCode, ErrorResponse, HealRequest, HealResponse, SyncRequest};

use super::tls::{self, Trust};
use super::{Answer, App, Meter, Opening, Pending, Traffic, Transport, socket};
use crate::client::error::OpenError;

pub(in crate::client) const MSGPACK: &str = "application/msgpack";

/// Where requests go, and live connections.
pub(super) struct Urls {
    pub(super) sync: String,
    pub(super) heal: String,
    live: String,
}

impl Urls {
    pub(super) fn new(server: &str) -> Result<Self, OpenError> {
        let bad = || OpenError::BadAddress { address: server.to_owned() };
        let url = reqwest::Url::parse(server).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(bad());
        }
        let base = url.as_str().trim_end_matches('/');
        let url = |path| format!("{base}{path}");
        Ok(Self { sync: url("/v1/sync"), heal: url("/v1/heal"), live: url("/v1/live") })
    }
}

/// A server over HTTP, by reqwest and rustls.
pub(in crate::client) struct Http {
    urls: Urls,
    trust: Trust,
    /// Made when they are needed: the first reads the certificates that the system trusts, and opening a store is to be quick.
    requests: OnceLock<Option<reqwest::Client>>,
    upgrades: OnceLock<Option<reqwest::Client>>,
    meter: Arc<Meter>,
    app: Arc<App>,
}

impl Http {
    pub(in crate::client) fn new(server: &str, app: Arc<App>, trust: Trust) -> Result<Self, OpenError> {
        let (requests, upgrades) = (OnceLock::new(), OnceLock::new());
        Ok(Self { urls: Urls::new(server)?, trust, requests, upgrades, meter: Arc::default(), app })
    }

    fn requests(&self) -> Option<&reqwest::Client> {
        let client = self.requests.get_or_init(|| {
            let timeout = Duration::from_millis(REQUEST_TIMEOUT_MS);
            build(common(&self.trust)?.timeout(timeout).connect_timeout(timeout / 3))
        });
        client.as_ref()
    }

    /// For live connections: each is to be a connection of its own.
    fn upgrades(&self) -> Option<&reqwest::Client> {
        let client = self.upgrades.get_or_init(|| {
            // Sooner than the whole may take, so that a server out of reach is not taken for one behind a barrier.
            let timeout = Duration::from_millis(LIVE_OPEN_TIMEOUT_MS / 5 * 4);
            build(common(&self.trust)?.pool_max_idle_per_host(0).connect_timeout(timeout))
        });
        client.as_ref()
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        url: &str,
        request: &impl Serialize,
        token: Option<String>,
        bytes_max: Option<usize>,
    ) -> Answer<T> {
        let not_understood = Failure::Refused { code: ErrorCode::BadFrame, retry_after_ms: None };
        let token = token.ok_or(Failure::Refused { code: ErrorCode::Unauthorized, retry_after_ms: None })?;
        let body = wire::encode(request).map_err(|_| not_understood)?;
        Meter::add(&self.meter.requests, 1);
        Meter::add(&self.meter.bytes_sent, body.len());
        let client = self.requests().ok_or(Failure::Unreachable)?;
        let request = client
            .post(url)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, MSGPACK)
            .header(ACCEPT, MSGPACK)
            .body(body);
        let mut response = self.app.sign(request).send().await.map_err(|_| Failure::Unreachable)?;
        let status = response.status().as_u16();
        let header_ms = retry_after_ms(&response);
        let body = self.body(&mut response, bytes_max).await?;
        understand(status, header_ms, &body, &self.app)
    }

    async fn body(&self, response: &mut reqwest::Response, bytes_max: Option<usize>) -> Result<Vec<u8>, Failure> {
        let most = bytes_max.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        match bounded_body(response, most, &self.meter).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) if most < BODY_BYTES_MAX => Err(Failure::Cut),
            Ok(None) => Err(Failure::Refused { code: ErrorCode::BadFrame, retry_after_ms: None }),
            Err(_) => Err(Failure::Unreachable),
        }
    }
}

/// What an answer means, by its status, its header and its body.
pub(super) fn understand<T: DeserializeOwned>(
    status: u16,
    header_ms: Option<u64>,
    body: &[u8],
    app: &App,
) -> Answer<T> {
    if (200..300).contains(&status) {
        let frame = wire::decode::<T>(body).map_err(|error| {
            tracing::warn!(%error, "the server's answer is not a frame");
            Failure::Refused { code: ErrorCode::BadFrame, retry_after_ms: None }
        })?;
        return Ok(Box::new(frame));
    }
    let (code, retry_after_ms) = match wire::decode::<ErrorResponse>(body) {
        Ok(error) => {
            app.hear(&error);
            (error.code, error.retry_after_ms.or(header_ms))
        }
        // A proxy or captive portal speaks for itself; only a status that says enough is believed.
        Err(_) if status == 401 => (ErrorCode::Unauthorized, header_ms),
        Err(_) if status == 413 => (ErrorCode::TooLarge, header_ms),
        Err(_) if status == 429 => (ErrorCode::RateLimited, header_ms),
        Err(_) => (ErrorCode::Unavailable, header_ms),
    };
    Err(Failure::Refused { code, retry_after_ms })
}

/// What all requests have in common.
pub(in crate::client) fn common(trust: &Trust) -> Option<reqwest::ClientBuilder> {
    tls::settle_provider();
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(trust.config()?)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("rejoin/", env!("CARGO_PKG_VERSION")));
    Some(builder)
}

/// A system without certificates that can be read has no network that can be used.
pub(in crate::client) fn build(builder: reqwest::ClientBuilder) -> Option<reqwest::Client> {
    builder.build().inspect_err(|error| tracing::error!(%error, "no HTTP client")).ok()
}

/// The body, as far as it may be long; one that is longer is cut off before it fills the memory, and gives `None`.
pub(in crate::client) async fn bounded_body(
    response: &mut reqwest::Response,
    bytes_max: usize,
    meter: &Meter,
) -> reqwest::Result<Option<Vec<u8>>> {
    // What says how long it is need not be read to know.
    if response.content_length().is_some_and(|bytes| bytes > bytes_max as u64) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        Meter::add(&meter.bytes_received, chunk.len());
        if body.len() + chunk.len() > bytes_max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// What a `Retry-After` header says.
pub(in crate::client) fn retry_after_ms(response: &reqwest::Response) -> Option<u64> {
    let seconds: u64 = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1000))
}

impl Transport for Http {
    fn send<'a>(
        &'a self,
        request: &'a SyncRequest,
        token: Option<String>,
        answer_bytes_max: Option<usize>,
    ) -> Pending<'a, Answer> {
        Box::pin(self.exchange(&self.urls.sync, request, token, answer_bytes_max))
    }

    fn heal<'a>(&'a self, request: &'a HealRequest, token: Option<String>) -> Pending<'a, Answer<HealResponse>> {
        Box::pin(self.exchange(&self.urls.heal, request, token, None))
    }

    fn open(&self, token: Option<String>) -> Pending<'_, Opening> {
        Box::pin(async move {
            let client = self.upgrades().ok_or(Ending::Lost)?;
            socket::open(client, &self.urls.live, token, &self.meter, &self.app).await
        })
    }

    fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    fn update_url(&self) -> Option<String> {
        self.app.update_url()
    }
}
