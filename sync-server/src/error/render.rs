//! Refusals as answers: frames, what RFC 6749 has them look like, and pages.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sync_core::wire::{ErrorCode, ErrorResponse};

use super::ApiError;
use crate::handlers::page::{self, Page};
use crate::router::format::Format;
use crate::versions::TooOld;

impl ApiError {
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
