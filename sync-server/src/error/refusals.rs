//! What requests are refused for, each with the status, the code and the words that callers get.

use std::time::Duration;

use axum::http::StatusCode;
use sync_core::id::SpaceId;
use sync_core::wire::{ErrorCode, FrameError};

use super::{ApiError, Retry, field};
use crate::router::format::Unreadable;
use crate::versions::TooOld;

impl ApiError {
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

    /// An app from before snapshots slept past the horizon.
    pub(crate) fn takes_no_snapshots() -> Self {
        let message = "What follows that place is kept as snapshots, which this app does not take: update it.";
        Self::new(StatusCode::GONE, ErrorCode::UpgradeRequired, message)
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

    /// An account is not deleted that others would miss an owner by.
    pub(crate) fn owns_alone(space: SpaceId) -> Self {
        let message = "Others are in a space that nobody else owns; make somebody else an owner, or delete it, first: ";
        let mut refused = Self::new(StatusCode::CONFLICT, ErrorCode::LastOwner, message);
        refused.detail = Some(space.to_string());
        refused
    }

    pub(crate) fn too_many(message: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, ErrorCode::TooMany, message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, "There is no such thing here.")
    }

    pub(crate) fn space_deleted() -> Self {
        let message = "This space was deleted by an owner, for good; what this device has of it is its own to keep.";
        Self::new(StatusCode::GONE, ErrorCode::SpaceDeleted, message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "This route does not take that method.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::MethodNotAllowed, message)
    }

    pub(crate) fn wrong_device() -> Self {
        let message = "The run is not of the device that the token names.";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::WrongDevice, message)
    }

    pub(crate) fn receipt_refused(cause: impl ToString) -> Self {
        let message = "The receipt does not prove that this server once had these entries; nothing was taken.";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::ReceiptRefused, message).because(cause)
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
}
