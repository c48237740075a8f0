//! The HTTP edge: what callers are told when a request is not answered as hoped. Errors of libraries are logged with the
//! request's id and never shown.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sync_core::wire::{ErrorCode, ErrorResponse};

use crate::store::{Cause, StoreError};
use crate::versions::TooOld;

mod field;
mod refusals;
mod render;

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
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let text = |cause: Cause| cause.to_string();
        match error {
            StoreError::UnknownSpace => Self::not_found(),
            StoreError::DeletedSpace => Self::space_deleted(),
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
