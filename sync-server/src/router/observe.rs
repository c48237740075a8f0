//! The outermost layer: gives a request its id, renders refusals, writes one JSON line. Never a token, never a payload.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::app_version::AppVersion;
use super::format::Format;
use super::{Refusals, Route};
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::telemetry::metrics;

const REQUEST_ID: &str = "x-request-id";
/// What proxies write where the caller left before the answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// The route of what is on none.
const UNKNOWN: &str = "unknown";

/// Ids of requests: random for the process, counted within it. A caller's own id is never taken: logs must not say what
/// callers want them to.
pub(crate) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut process = [0; 8];
        getrandom::fill(&mut process)?;
        Ok(Self { process: u64::from_be_bytes(process), next: AtomicU64::new(1) })
    }

    pub(crate) fn next(&self) -> String {
        format!("{:016x}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// What is learnt of a request on its way through the layers.
pub(crate) struct Note {
    id: String,
    address: Option<IpAddr>,
    country: Option<String>,
    app: Option<AppVersion>,
    caller: OnceLock<Caller>,
    bytes_in: AtomicU64,
}

impl Note {
    #[cfg(test)]
    pub(crate) fn test() -> Self {
        let (caller, bytes_in) = (OnceLock::new(), AtomicU64::new(0));
        Self { id: "test".to_owned(), address: None, country: None, app: None, caller, bytes_in }
    }

    fn of(app: &App, request: &Request) -> Self {
        let (extensions, headers) = (request.extensions(), request.headers());
        Self {
            id: app.request_ids.next(),
            address: app.addresses.of(extensions, headers),
            country: app.addresses.country(extensions, headers),
            // What cannot be read is refused further in.
            app: AppVersion::of(headers).ok().flatten(),
            caller: OnceLock::new(),
            bytes_in: AtomicU64::new(0),
        }
    }

    /// From which address.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// From which country, as a proxy says.
    pub(crate) fn country(&self) -> Option<&str> {
        self.country.as_deref()
    }

    /// By which app.
    pub(crate) fn app(&self) -> Option<&AppVersion> {
        self.app.as_ref()
    }

    /// The request's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Notes who calls.
    pub(crate) fn caller(&self, caller: &Caller) {
        self.caller.get_or_init(|| caller.clone());
    }

    /// Notes how much was read of the body.
    pub(crate) fn read(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A refusal that was told already, in words of the route's own.
#[derive(Clone)]
pub(crate) struct Told(ApiError);

impl Told {
    /// The answer that tells of it.
    pub(crate) fn with(error: ApiError, mut response: Response, retry_after: Duration) -> Response {
        error.say_when(&mut response, retry_after);
        response.extensions_mut().insert(Self(error));
        response
    }
}

/// The request's line. It is written when this is dropped, so also when the caller hung up or a handler panicked.
struct Line {
    note: Arc<Note>,
    started: Instant,
    method: &'static str,
    route: Option<MatchedPath>,
    listed: Option<&'static Route>,
    status: u16,
    bytes_out: u64,
    refused: Option<ApiError>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let status = if std::thread::panicking() { 500 } else { self.status };
        let caller = self.note.caller.get();
        let route = self.route.as_ref().map_or(UNKNOWN, MatchedPath::as_str);
        metrics::answered(self.method, self.listed.map_or(UNKNOWN, |route| route.path), status, self.started.elapsed());
        if let Some(error) = &self.refused {
            metrics::refused(error.code_name());
        }
        tracing::info!(
            request_id = self.note.id,
            user = caller.map(|caller| caller.user.as_str()),
            device = caller.map(|caller| tracing::field::display(caller.device)),
            method = self.method,
            route,
            status,
            address = self.note.address.map(tracing::field::display),
            platform = self.note.app().map(|app| app.platform.as_str()),
            app_version = self.note.app().map(|app| tracing::field::display(app.version.release())),
            code = self.refused.as_ref().map(ApiError::code_name),
            cause = self.refused.as_ref().and_then(ApiError::cause),
            latency_us = self.started.elapsed().as_micros() as u64,
            bytes_in = self.note.bytes_in.load(Ordering::Relaxed),
            bytes_out = self.bytes_out,
            "request"
        );
    }
}

/// Anybody may make up methods, and neither logs nor numbers are theirs to fill.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The outermost layer: gives the request its id, renders refusals, writes the line.
pub(crate) async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let note = Arc::new(Note::of(&app, &request));
    let id = note.id.clone();
    let mut line = Line {
        note: Arc::clone(&note),
        started: Instant::now(),
        method: method(request.method()),
        route: request.extensions().get().cloned(),
        listed: Route::of(request.extensions(), request.method()),
        status: CLIENT_CLOSED_REQUEST,
        bytes_out: 0,
        refused: None,
    };
    let format = Format::of_answer(request.headers());
    request.extensions_mut().insert(Arc::clone(&note));
    let mut response = next.run(request).await;
    if let Some(caller) = note.caller.get() {
        app.flags.called(caller, &note);
        if let Some(country) = note.country() {
            app.flags.seen_in(country, caller, &note);
        }
    }
    if let Some(Told(error)) = response.extensions_mut().remove() {
        line.refused = Some(error);
    }
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        if let Some(caller) = note.caller.get().filter(|_| error.is_of_reach()) {
            app.flags.refused(caller, &note);
        }
        line.refused = Some(error.clone());
        let told = std::mem::take(response.headers_mut());
        let refusals = line.listed.map_or(Refusals::Frames, |route| route.refusals);
        response = match refusals {
            Refusals::Frames => error.render(format, &id, app.retry_after()),
            Refusals::OAuth => error.render_oauth(&id, app.retry_after()),
            Refusals::Pages => error.render_page(&id, app.retry_after()),
        };
        // What layers and routes said besides goes with it, but not about the body that it had before: none.
        let about_body = [header::CONTENT_LENGTH, header::CONTENT_TYPE];
        for (name, value) in told.iter().filter(|(name, _)| !about_body.contains(name)) {
            response.headers_mut().append(name, value.clone());
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    line.status = response.status().as_u16();
    line.bytes_out = response.body().size_hint().exact().unwrap_or(0);
    response
}
