//! Requests about accounts, devices and spaces: blocking, bounded in time and bytes, with no redirects.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sync_core::limits::{BODY_BYTES_MAX, REQUEST_TIMEOUT_MS};
use sync_core::wire::{self, ErrorCode, ErrorResponse};

use super::AccountError;
use crate::client::transport::http::{MSGPACK, bounded_body, build, common, retry_after_ms};
use crate::client::transport::{App, Meter, Trust};
use crate::client::{clock, lock};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const REQUEST_TIMEOUT: Duration = Duration::from_millis(REQUEST_TIMEOUT_MS);
/// Whoever waits for a sign-in is to learn soon that there is no network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server, and how it is asked.
pub(super) struct Requests {
    base: Url,
    /// Made when it is needed: it reads the certificates that the system trusts.
    client: OnceLock<Option<reqwest::Client>>,
    trust: Mutex<Trust>,
    meter: Meter,
    pub(super) app: Arc<App>,
}

/// A request.
pub(super) struct Call<'a> {
    method: Method,
    /// Below the server's address; each is escaped.
    path: &'a [&'a str],
    token: Option<&'a str>,
    body: Body,
    /// Under which name a repetition is known as such.
    key: Option<String>,
}

enum Body {
    None,
    Frame(Vec<u8>),
    Form(String),
}

/// An answer of success.
pub(super) struct Reply {
    body: Vec<u8>,
    json: bool,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request never left: it took no effect.
    Unsent,
    /// No answer came, so it may have taken effect.
    Lost,
    /// The server refused it.
    Refused(Refusal),
    /// Something else answered, or the server in words that are none of its: a proxy, a captive portal.
    Strange {
        /// HTTP's status.
        status: u16,
        /// How long to wait, if it said so.
        retry_after: Option<Duration>,
    },
}

/// A refusal in the server's own words.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: String,
    pub(super) request_id: String,
    pub(super) retry_after: Option<Duration>,
    /// Where the app is updated.
    pub(super) update_url: Option<String>,
    /// What OAuth calls it (RFC 6749, section 5.2), on the routes that OAuth defines.
    pub(super) oauth: Option<String>,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, token: None, body: Body::None, key: None }
    }

    pub(super) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn delete(path: &'a [&'a str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(super) fn post<T: Serialize>(path: &'a [&'a str], frame: &T) -> Result<Self, AccountError> {
        Self::new(Method::POST, path).frame(frame)
    }

    pub(super) fn form(path: &'a [&'a str], fields: &[(&str, &str)]) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self { body: Body::Form(form), ..Self::new(Method::POST, path) }
    }

    pub(super) fn frame<T: Serialize>(self, frame: &T) -> Result<Self, AccountError> {
        let bytes = wire::encode(frame).map_err(|_| AccountError::NotUnderstood)?;
        Ok(Self { body: Body::Frame(bytes), ..self })
    }

    /// Sent again it is known as the same request, so a lost answer costs nothing.
    pub(super) fn once(self) -> Self {
        let mut bytes = [0; 16];
        clock::fill(&mut bytes);
        let key = bytes.iter().fold(String::new(), |key, byte| format!("{key}{byte:02x}"));
        Self { key: Some(key), ..self }
    }

    pub(super) fn authorized(&self, token: &'a str) -> Self {
        let body = match &self.body {
            Body::None => Body::None,
            Body::Frame(bytes) => Body::Frame(bytes.clone()),
            Body::Form(form) => Body::Form(form.clone()),
        };
        Self { method: self.method.clone(), path: self.path, token: Some(token), body, key: self.key.clone() }
    }

    /// Whether making it twice is as good as making it once.
    pub(super) fn bears_repetition(&self) -> bool {
        self.method != Method::POST || self.key.is_some()
    }
}

impl Requests {
    pub(super) fn new(server: &str) -> Result<Self, AccountError> {
        let bad = || AccountError::BadAddress { address: server.to_owned() };
        let base = Url::parse(server).map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() || base.cannot_be_a_base() {
            return Err(bad());
        }
        Ok(Self {
            base,
            client: OnceLock::new(),
            trust: Mutex::default(),
            meter: Meter::default(),
            app: Arc::default(),
        })
    }

    /// The address, as it was given.
    pub(super) fn server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Whom it takes for the server, from its first request on.
    pub(super) fn trust(&self, trust: Trust) {
        *lock(&self.trust) = trust;
    }

    pub(super) fn trusts(&self) -> Trust {
        lock(&self.trust).clone()
    }

    /// In the name of which app it asks.
    pub(super) fn named(&self, platform: &str, version: &str) -> Result<(), AccountError> {
        let bad = |_| AccountError::BadApp { platform: platform.to_owned(), version: version.to_owned() };
        self.app.named(platform, version).map_err(bad)
    }

    /// Makes a request, and waits for the answer.
    pub(super) fn call(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        let client = self.client.get_or_init(|| {
            // Each call has a runtime of its own, so no connection outlives its call.
            build(
                common(&self.trusts())?
                    .timeout(REQUEST_TIMEOUT)
                    .connect_timeout(CONNECT_TIMEOUT)
                    .pool_max_idle_per_host(0),
            )
        });
        let client = client.as_ref().ok_or(Failure::Unsent)?;
        let asking = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| {
                tracing::error!(%error, "no runtime for a request");
                Failure::Unsent
            })?;
            let answer = runtime.block_on(self.exchange(client, call));
            // A name that is being looked up holds up nobody.
            runtime.shutdown_background();
            answer
        };
        // A thread of its own: the caller's may be inside an async runtime, which would not let itself be blocked.
        std::thread::scope(|scope| scope.spawn(asking).join()).unwrap_or(Err(Failure::Lost))
    }

    async fn exchange(&self, client: &reqwest::Client, call: &Call<'_>) -> Result<Reply, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(call.path);
        }
        // OAuth's routes speak JSON, the others what is asked for.
        let accept = if matches!(call.body, Body::Form(_)) { JSON } else { MSGPACK };
        let mut request = client.request(call.method.clone(), url).header(ACCEPT, accept);
        if let Some(token) = call.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        request = match &call.body {
            Body::None => request,
            Body::Frame(bytes) => request.header(CONTENT_TYPE, MSGPACK).body(bytes.clone()),
            Body::Form(form) => request.header(CONTENT_TYPE, FORM).body(form.clone()),
        };
        let sent = self.app.sign(request).send().await;
        let mut response = sent.map_err(|error| if error.is_connect() { Failure::Unsent } else { Failure::Lost })?;
        let status = response.status();
        let retry_after = retry_after_ms(&response).map(Duration::from_millis);
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let json = kind.starts_with(JSON);
        let strange = Failure::Strange { status: status.as_u16(), retry_after };
        let body = match bounded_body(&mut response, BODY_BYTES_MAX, &self.meter).await {
            Ok(Some(body)) => body,
            Ok(None) => return Err(strange),
            Err(_) => return Err(Failure::Lost),
        };
        let reply = Reply { body, json };
        if status.is_success() {
            return Ok(reply);
        }
        // A proxy or captive portal speaks for itself; nobody is signed out on its word.
        let Some(error) = reply.decode::<ErrorResponse>() else { return Err(strange) };
        self.app.hear(&error);
        let ErrorResponse { code, message, request_id, retry_after_ms, .. } = error;
        let update_url = self.app.update_url().filter(|_| code == ErrorCode::UpgradeRequired);
        let retry_after = retry_after_ms.map(Duration::from_millis).or(retry_after);
        let oauth = json.then(|| reply.decode::<OauthError>()).flatten().map(|oauth| oauth.error);
        Err(Failure::Refused(Refusal { code, message, request_id, retry_after, update_url, oauth }))
    }
}

#[derive(Deserialize)]
struct OauthError {
    error: String,
}

impl Reply {
    /// What it says, if it is that.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Option<T> {
        if self.json { wire::decode_json(&self.body).ok() } else { wire::decode(&self.body).ok() }
    }

    /// The same, where nothing else will do.
    pub(super) fn frame<T: DeserializeOwned>(&self) -> Result<T, AccountError> {
        self.decode().ok_or(AccountError::NotUnderstood)
    }
}
