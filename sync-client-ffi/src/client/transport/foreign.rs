//! A server that is reached through HTTP of the app's own, where a company demands its own stack: plain requests only. What
//! the app's code does is not trusted: it may hang, lie about the status, or give anything for a body.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_core::limits::{BODY_BYTES_MAX, REQUEST_TIMEOUT_MS};
use sync_core::session::{Ending, Failure};
use sync_core::wire::{self, ErrorCode, HealRequest, HealResponse, SyncRequest};

use super::http::{self, MSGPACK, Urls};
use super::{Answer, App, Meter, Opening, Pending, Traffic, Transport};
use crate::client::error::OpenError;

/// A request that the app is to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPost {
    /// Where to.
    pub url: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What to send.
    pub body: Vec<u8>,
    /// Nobody waits for the answer any longer.
    pub timeout: Duration,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// HTTP's status.
    pub status: u16,
    /// Of the headers, `retry-after` is looked at.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a stack gives: no answer at all is `None`, whatever the reason.
pub type HttpWork<'a> = Pin<Box<dyn Future<Output = Option<HttpAnswer>> + Send + 'a>>;

/// HTTP of the app's own.
pub trait HttpStack: Send + Sync {
    /// Makes a POST request, follows no redirect, and gives the answer, whatever its status.
    fn post(&self, request: HttpPost) -> HttpWork<'_>;
}

/// The server, through that.
pub(in crate::client) struct Foreign {
    stack: Arc<dyn HttpStack>,
    urls: Urls,
    meter: Meter,
    app: Arc<App>,
}

impl Foreign {
    pub(in crate::client) fn new(server: &str, app: Arc<App>, stack: Arc<dyn HttpStack>) -> Result<Self, OpenError> {
        Ok(Self { stack, urls: Urls::new(server)?, meter: Meter::default(), app })
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        url: &str,
        request: &impl Serialize,
        token: Option<String>,
        bytes_max: Option<usize>,
    ) -> Answer<T> {
        let token = token.ok_or(Failure::Refused { code: ErrorCode::Unauthorized, retry_after_ms: None })?;
        let not_understood = Failure::Refused { code: ErrorCode::BadFrame, retry_after_ms: None };
        let body = wire::encode(request).map_err(|_| not_understood)?;
        Meter::add(&self.meter.requests, 1);
        Meter::add(&self.meter.bytes_sent, body.len());
        let mut headers = vec![
            ("authorization".to_owned(), format!("Bearer {token}")),
            ("content-type".to_owned(), MSGPACK.to_owned()),
            ("accept".to_owned(), MSGPACK.to_owned()),
        ];
        headers.extend(self.app.headers().map(|(name, value)| (name.to_owned(), value)));
        let timeout = Duration::from_millis(REQUEST_TIMEOUT_MS);
        let work = self.stack.post(HttpPost { url: url.to_owned(), headers, body, timeout });
        let answer = tokio::time::timeout(timeout, work).await.ok().flatten().ok_or(Failure::Unreachable)?;
        Meter::add(&self.meter.bytes_received, answer.body.len());
        let most = bytes_max.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        if answer.body.len() > most {
            return Err(if most < BODY_BYTES_MAX { Failure::Cut } else { not_understood });
        }
        let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("retry-after");
        let seconds = answer.headers.iter().find(named).and_then(|(_, value)| value.trim().parse::<u64>().ok());
        let retry_after_ms = seconds.map(|seconds| seconds.saturating_mul(1000));
        http::understand(answer.status, retry_after_ms, &answer.body, &self.app)
    }
}

impl Transport for Foreign {
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

    fn open(&self, _: Option<String>) -> Pending<'_, Opening> {
        Box::pin(async { Err(Ending::Blocked) })
    }

    fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    fn update_url(&self) -> Option<String> {
        self.app.update_url()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use sync_core::id::DeviceId;
    use sync_core::session::Trouble;
    use sync_core::wire::ErrorResponse;

    use super::*;
    use crate::client::{Client, SyncError, lock};

    type Say = Box<dyn Fn(&HttpPost) -> Option<HttpAnswer> + Send + Sync>;

    /// Answers what a test says, or hangs.
    struct Stack {
        say: Option<Say>,
        asked: Mutex<Vec<HttpPost>>,
    }

    impl HttpStack for Stack {
        fn post(&self, request: HttpPost) -> HttpWork<'_> {
            let answer = self.say.as_ref().map(|say| say(&request));
            lock(&self.asked).push(request);
            Box::pin(async move {
                match answer {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            })
        }
    }

    fn try_once(say: Option<Say>) -> (Result<bool, SyncError>, Vec<HttpPost>, Duration) {
        let folder = tempfile::tempdir().unwrap();
        let stack = Arc::new(Stack { say, asked: Mutex::default() });
        let builder = Client::builder(folder.path().join("store")).identity("ann", DeviceId::from_random([1; 16]));
        let client = builder.server("https://sync.example.com/base/").http_stack(stack.clone()).open().unwrap();
        client.set_token("secret");
        let began = std::time::Instant::now();
        let done = client.sync_once(Duration::from_millis(400)).map(|report| report.more);
        let asked = lock(&stack.asked).clone();
        (done, asked, began.elapsed())
    }

    fn answers(status: u16, body: impl Into<Vec<u8>>) -> Say {
        let body = body.into();
        Box::new(move |_| Some(HttpAnswer { status, headers: Vec::new(), body: body.clone() }))
    }

    #[test]
    fn what_is_asked_is_what_the_server_expects() {
        let (_, asked, _) = try_once(Some(answers(503, "down")));
        let request = &asked[0];
        assert_eq!(request.url, "https://sync.example.com/base/v1/sync");
        assert!(request.headers.contains(&("authorization".into(), "Bearer secret".into())));
        assert!(request.headers.contains(&("content-type".into(), MSGPACK.into())));
        assert!(wire::decode::<SyncRequest>(&request.body).is_ok());
    }

    #[test]
    fn a_stack_that_hangs_fails_or_lies_does_no_harm() {
        let late = Duration::from_millis(440);
        for say in [None, Some(Box::new(|_: &HttpPost| None) as Say)] {
            let (done, asked, took) = try_once(say);
            assert_eq!(done, Err(SyncError::Offline));
            assert!(!asked.is_empty() && took <= late, "{took:?}");
        }
        for (status, body) in [(0, vec![]), (999, vec![7; 100]), (301, vec![]), (500, b"<html>".to_vec())] {
            assert_eq!(try_once(Some(answers(status, body))).0, Err(SyncError::Offline), "{status}");
        }
        let trouble = Err(SyncError::Trouble(Trouble::NotUnderstood));
        for body in [vec![], b"rubbish".to_vec(), vec![0; BODY_BYTES_MAX + 1]] {
            assert_eq!(try_once(Some(answers(200, body))).0, trouble);
        }
        assert_eq!(try_once(Some(answers(401, ""))).0, Err(SyncError::NeedsAuth));
        let error = ErrorResponse {
            code: ErrorCode::NotFound,
            message: String::new(),
            request_id: String::new(),
            retry_after_ms: None,
            update_url: None,
        };
        let no_access = Err(SyncError::Trouble(Trouble::NoAccess));
        assert_eq!(try_once(Some(answers(404, wire::encode(&error).unwrap()))).0, no_access);
    }
}
