//! The HTTP edge: what callers are told when a request is not answered as hoped. Errors of libraries are logged with the
//! request's id and never shown.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sync_core::wire::{ErrorCode, ErrorResponse, FrameError};

use crate::handlers::page::{self, Page};
use crate::router::format::{Format, Unreadable};
use crate::store::{Cause, StoreError};
use crate::versions::TooOld;

mod field;

/// A request that was refused as a whole.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    message: &'static str,
    detail: Option<String>,
    retry: Option<Retry>,
    cause: Option<String>,
    /// Boxed, since it is there so seldom.
    too_old: Option<Box<TooOld>>,
    /// What RFC 6749 calls it, where that is not told by the code.
    oauth: Option<&'static str>,
}

/// When it is worth trying again.
#[derive(Debug, Clone, Copy)]
enum Retry {
    /// Nobody knows: as the configuration says.
    Soon,
    /// Not before.
    After(Duration),
}

impl ApiError {
    fn new(status: StatusCode, code: ErrorCode, message: &'static str) -> Self {
        Self { status, code, message, detail: None, retry: None, cause: None, too_old: None, oauth: None }
    }

    pub(crate) fn because(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    fn later(mut self) -> Self {
        self.retry = Some(Retry::Soon);
        self
    }

    /// The body is not the frame that the route takes. Texts of the libraries quote what they could not read, which is
    /// payload: so neither the caller nor the log gets them.
    pub(crate) fn bad_frame(unreadable: &Unreadable) -> Self {
        let error = &unreadable.error;
        let cause = match error {
            FrameError::Json(error) => {
                format!("JSON, {:?} at {}:{}", error.classify(), error.line(), error.column())
            }
            FrameError::TooLarge { .. } | FrameError::Trailing { .. } => error.to_string(),
            _ => "msgpack of another form".to_owned(),
        };
        let message = "The body is not a frame of this route";
        let mut refused = Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadFrame, message).because(cause);
        refused.detail = Some(field::at_fault(unreadable));
        refused
    }

    pub(crate) fn unsupported_schema() -> Self {
        let message = "This version of the frames is not served here.";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::UnsupportedSchema, message)
    }

    pub(crate) fn unauthorized(cause: impl ToString) -> Self {
        let message = "Send a valid access token as `Authorization: Bearer …`.";
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message).because(cause)
    }

    pub(crate) fn login_failed(cause: impl ToString) -> Self {
        let message = "The address and the password, or the proof, are not those of an account here.";
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::LoginFailed, message).because(cause)
    }

    pub(crate) fn session_ended(cause: impl ToString) -> Self {
        let message = "This session has ended; sign in again.";
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::SessionEnded, message).because(cause)
    }

    pub(crate) fn device_revoked() -> Self {
        let message = "This device was revoked; sign in to register it anew.";
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::DeviceRevoked, message)
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, "Your role in this space does not allow that.")
    }

    pub(crate) fn personal_space() -> Self {
        let message = "A personal space is its user's alone: it cannot be shared or left.";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message)
    }

    /// A field's value is out of its range.
    pub(crate) fn invalid(field: &'static str, must: &'static str) -> Self {
        let message = "A value is out of its range: ";
        let mut refused = Self::new(StatusCode::BAD_REQUEST, ErrorCode::Invalid, message);
        refused.detail = Some(format!("`{field}` must be {must}"));
        refused
    }

    /// A refusal that OAuth has a name for.
    pub(crate) fn oauth(error: &'static str, code: ErrorCode, message: &'static str) -> Self {
        let mut refused = Self::new(StatusCode::BAD_REQUEST, code, message);
        refused.oauth = Some(error);
        refused
    }

    pub(crate) fn unsupported_grant_type() -> Self {
        Self::oauth("unsupported_grant_type", ErrorCode::Invalid, "This server does not know that `grant_type`.")
    }

    pub(crate) fn not_a_form() -> Self {
        let message = "Send `application/x-www-form-urlencoded`.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::UnsupportedMediaType, message)
    }

    /// The body is not a form as it must be.
    pub(crate) fn bad_form(must: &'static str) -> Self {
        let mut refused = Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadFrame, "The body is not a form ");
        refused.detail = Some(must.to_owned());
        refused
    }

    pub(crate) fn missing_field(name: &'static str) -> Self {
        let mut refused = Self::bad_form("");
        refused.detail = Some(format!("of this route: missing field `{name}`"));
        refused
    }

    /// By its name, where that may be told back.
    pub(crate) fn unknown_field(name: Option<String>) -> Self {
        let mut refused = Self::bad_form("of this route: unknown field");
        if let (Some(name), Some(detail)) = (name, &mut refused.detail) {
            *detail = format!("{detail} `{name}`");
        }
        refused
    }

    pub(crate) fn last_owner() -> Self {
        let message = "A space keeps at least one owner; make somebody else one first.";
        Self::new(StatusCode::CONFLICT, ErrorCode::LastOwner, message)
    }

    pub(crate) fn too_many(message: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, ErrorCode::TooMany, message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, "There is no such thing here.")
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "This route does not take that method.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::MethodNotAllowed, message)
    }

    pub(crate) fn wrong_device() -> Self {
        let message = "The run is not of the device that the token names.";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::WrongDevice, message)
    }

    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let message = "Send at most 10,000 changes at once, and ";
        let mut refused = Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, message);
        refused.detail = Some(format!("{} MiB", bytes_max >> 20));
        refused
    }

    pub(crate) fn body_too_large(bytes_max: usize) -> Self {
        let message = "The body of a request to this route has at most ";
        let mut refused = Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, message);
        refused.detail = Some(format!("{} KiB", bytes_max >> 10));
        refused
    }

    pub(crate) fn upgrade_required(too_old: &TooOld) -> Self {
        let message = "This version of the app is no longer served; update it to at least ";
        let mut refused = Self::new(StatusCode::UPGRADE_REQUIRED, ErrorCode::UpgradeRequired, message);
        refused.detail = Some(too_old.minimum.to_string());
        refused.too_old = Some(Box::new(too_old.clone()));
        refused
    }

    pub(crate) fn too_many_spaces() -> Self {
        let message = "One connection follows no more spaces than the hello said.";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, message)
    }

    pub(crate) fn not_a_websocket() -> Self {
        let message = "This route is a WebSocket of version 13.";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadFrame, message)
    }

    pub(crate) fn bad_query(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadFrame, detail)
    }

    pub(crate) fn subscribe_without_pull() -> Self {
        let message = "Who subscribes says where to begin: send a `pull` with it.";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadFrame, message)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let message = "Send `application/msgpack` or `application/json`.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::UnsupportedMediaType, message)
    }

    pub(crate) fn body_timeout() -> Self {
        let message = "The body did not arrive in time.";
        Self::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::BadFrame, message)
    }

    pub(crate) fn body_broken(cause: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadFrame, "The body broke off.").because(cause)
    }

    pub(crate) fn rate_limited(retry_after: Duration) -> Self {
        let message = "Too often; come again when `Retry-After` has passed.";
        let mut refused = Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, message);
        refused.retry = Some(Retry::After(retry_after));
        refused
    }

    pub(crate) fn bad_idempotency_key() -> Self {
        let message = "`Idempotency-Key` comes once, with 1 to 255 visible characters of ASCII.";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadFrame, message)
    }

    pub(crate) fn idempotency_mismatch() -> Self {
        let message = "This `Idempotency-Key` stands for another request; take a new one.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::IdempotencyMismatch, message)
    }

    pub(crate) fn idempotency_in_flight() -> Self {
        let message = "The request with this `Idempotency-Key` is still worked on; come again.";
        Self::new(StatusCode::CONFLICT, ErrorCode::IdempotencyInFlight, message).later()
    }

    pub(crate) fn busy() -> Self {
        let message = "Too much at once; come again.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Busy, message).later()
    }

    pub(crate) fn unavailable(cause: impl ToString) -> Self {
        let message = "The server cannot take this now; come again.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message).later().because(cause)
    }

    pub(crate) fn internal(cause: impl ToString) -> Self {
        let message = "A fault of the server; its log has more under this request's id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, message).because(cause)
    }

    /// The code as callers see it.
    pub(crate) fn code_name(&self) -> String {
        serde_json::to_value(self.code).ok().and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether it may go well the next time.
    pub(crate) fn is_passing(&self) -> bool {
        self.retry.is_some()
    }

    fn retry_after(&self, configured: Duration) -> Option<Duration> {
        self.retry.map(|retry| match retry {
            Retry::Soon => configured,
            Retry::After(time) => time,
        })
    }

    /// Whether somebody reached for what is not theirs, or is not there.
    pub(crate) fn is_of_reach(&self) -> bool {
        matches!(self.code, ErrorCode::NotFound | ErrorCode::Forbidden | ErrorCode::WrongDevice)
    }

    /// Whether it is the server that failed, or had no room.
    pub(crate) fn is_of_the_server(&self) -> bool {
        self.status.is_server_error()
    }

    /// What happened, for the log alone.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer's frame, once it is known whose request it is.
    pub(crate) fn frame(&self, request_id: &str, retry_after: Duration) -> ErrorResponse {
        let message = match &self.detail {
            Some(detail) => format!("{}{detail}.", self.message),
            None => self.message.to_owned(),
        };
        // Rounded up, since a moment too early is in vain.
        let retry_after_ms = self.retry_after(retry_after).map(|time| time.as_micros().div_ceil(1_000) as u64);
        let update_url = self.too_old.as_ref().map(|too_old| too_old.update_url.clone());
        ErrorResponse { code: self.code, message, request_id: request_id.to_owned(), retry_after_ms, update_url }
    }

    /// What RFC 6749 and RFC 8628 call it.
    fn oauth_name(&self) -> &'static str {
        self.oauth.unwrap_or(match self.code {
            ErrorCode::Unauthorized
            | ErrorCode::LoginFailed
            | ErrorCode::SessionEnded
            | ErrorCode::DeviceRevoked
            | ErrorCode::NotFound => "invalid_grant",
            ErrorCode::Busy | ErrorCode::Unavailable | ErrorCode::RateLimited => "temporarily_unavailable",
            ErrorCode::Internal => "server_error",
            _ => "invalid_request",
        })
    }

    /// The answer in full as RFC 6749 has it, with what our other answers say besides.
    pub(crate) fn render_oauth(self, request_id: &str, retry_after: Duration) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            error_description: String,
            #[serde(flatten)]
            frame: ErrorResponse,
        }
        let frame = self.frame(request_id, retry_after);
        // RFC 6749, section 5.2: of the characters of ASCII but for " and \.
        let description =
            frame.message.replace(['"', '\\'], "'").replace(|other: char| !(' '..='~').contains(&other), "-");
        let body = Body { error: self.oauth_name(), error_description: description, frame };
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        // What is wrong with a grant is wrong with the request: there is no token that would mend it.
        let grant = self.status == StatusCode::UNAUTHORIZED || self.status == StatusCode::NOT_FOUND;
        let status = if grant { StatusCode::BAD_REQUEST } else { self.status };
        let mut response = ([(header::CONTENT_TYPE, Format::Json.content_type())], bytes).into_response();
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(time) = self.retry_after(retry_after) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(time.as_secs_f64().ceil() as u64));
        }
        response
    }

    /// What people are told.
    pub(crate) fn message(&self) -> String {
        self.frame("", Duration::ZERO).message
    }

    /// Whether somebody at a browser can do something about it: type again, or wait.
    pub(crate) fn is_of_the_user(&self) -> bool {
        let user = matches!(self.code, ErrorCode::LoginFailed | ErrorCode::Invalid | ErrorCode::NotFound);
        user || self.is_passing()
    }

    /// The status of a page that tells it: there is no token that would help a browser.
    pub(crate) fn status_of_page(&self) -> StatusCode {
        if self.status == StatusCode::UNAUTHORIZED { StatusCode::FORBIDDEN } else { self.status }
    }

    /// Says when to come again.
    pub(crate) fn say_when(&self, response: &mut Response, retry_after: Duration) {
        if let Some(time) = self.retry_after(retry_after) {
            let seconds = HeaderValue::from(time.as_secs_f64().ceil() as u64);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
    }

    /// The answer in full as a page.
    pub(crate) fn render_page(self, request_id: &str, retry_after: Duration) -> Response {
        // A field that is not known has a name that whoever sent the browser here has chosen.
        let message = if self.code == ErrorCode::BadFrame { self.message.to_owned() } else { self.message() };
        let body = format!("{}<p>Request {}</p>", page::alert(&message), page::escape(request_id));
        let page = Page { status: self.status_of_page(), title: "This did not work", body, leads_to: None };
        let mut response = page.into_response();
        self.say_when(&mut response, retry_after);
        response
    }

    /// The answer in full, in the format that they read.
    pub(crate) fn render(self, format: Format, request_id: &str, retry_after: Duration) -> Response {
        let body = self.frame(request_id, retry_after);
        let upgrade = self.too_old.as_ref().and_then(|too_old| upgrade(too_old));
        let mut response = match format.encode(&body) {
            Ok(bytes) => ([(header::CONTENT_TYPE, format.content_type())], bytes).into_response(),
            Err(_) => ().into_response(),
        };
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(time) = self.retry_after(retry_after) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(time.as_secs_f64().ceil() as u64));
        }
        if let Some(upgrade) = upgrade {
            headers.insert(header::UPGRADE, upgrade);
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// RFC 9110 wants `Upgrade` with every 426. It names protocols, so what the app has to be stands there as one that nobody would
/// switch to by themselves; where to get it is in the body.
fn upgrade(too_old: &TooOld) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("rejoin-app/{}", too_old.minimum)).ok()
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let text = |cause: Cause| cause.to_string();
        match error {
            StoreError::UnknownSpace => Self::not_found(),
            StoreError::Busy => Self::busy(),
            StoreError::Unavailable(cause) => Self::unavailable(text(cause)),
            StoreError::Fault(cause) => Self::internal(text(cause)),
        }
    }
}

/// The bare status, with the error beside it: the telemetry layer knows the request's id and format, and renders it.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
