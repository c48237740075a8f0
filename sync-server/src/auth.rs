//! Who calls: keys on disk, the tokens they sign, and the caller of a request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::app::App;
use crate::error::ApiError;
use crate::router::observe::Note;

pub mod accounts;
pub(crate) mod callers;
pub(crate) mod devices;
pub mod erase;
pub(crate) mod grants;
pub mod issuers;
mod jwt;
pub mod keys;
pub mod sessions;
pub mod token;
pub(crate) mod upkeep;

pub use token::{Access, Caller};

/// A handler that names a [`Caller`] cannot be reached without a valid token.
impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Access::verified(parts, app).await?.caller)
    }
}

/// As [`Caller`], for what lasts longer than a request.
impl FromRequestParts<App> for Access {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Self::verified(parts, app).await
    }
}

/// What came of the request's token; it travels with the request, since verifying costs more than all other checks.
#[derive(Clone)]
struct Verified(Result<Access, ApiError>);

impl Access {
    /// What a token allows now: it is valid, and neither its device nor its session was cut off.
    pub(crate) async fn of_token(app: &App, token: &str) -> Result<Self, ApiError> {
        let access = app.callers.verify(token).await?;
        app.devices.pass(&access).await?;
        Ok(access)
    }

    /// Verifies the request's token, once.
    pub(crate) async fn verified(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if let Some(Verified(result)) = parts.extensions.get() {
            return result.clone();
        }
        let result = match bearer(parts) {
            Ok(token) => Self::of_token(app, token).await,
            Err(error) => Err(error),
        };
        if let (Ok(access), Some(note)) = (&result, parts.extensions.get::<Arc<Note>>()) {
            note.caller(&access.caller);
        }
        parts.extensions.insert(Verified(result.clone()));
        result
    }
}

/// The token that the request came with.
fn bearer(parts: &Parts) -> Result<&str, ApiError> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(ApiError::unauthorized("not exactly one Authorization header"));
    };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return Err(ApiError::unauthorized("not a bearer token"));
    };
    Ok(token.trim())
}
