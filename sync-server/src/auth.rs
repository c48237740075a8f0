//! Who calls: keys on disk, the tokens they sign, and the caller of a request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::app::App;
use crate::error::ApiError;
use crate::router::observe::Note;

pub mod keys;
pub mod token;

pub use token::{Access, Caller};

/// A handler that names a [`Caller`] cannot be reached without a valid token.
impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Access::from_request_parts(parts, app).await?.caller)
    }
}

/// As [`Caller`], for what lasts longer than a request.
impl FromRequestParts<App> for Access {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(ApiError::unauthorized("not exactly one Authorization header"));
        };
        let token = value.to_str().ok().and_then(|value| value.split_once(' '));
        let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            return Err(ApiError::unauthorized("not a bearer token"));
        };
        let access = app.tokens.verify(token.trim()).map_err(ApiError::unauthorized)?;
        if let Some(note) = parts.extensions.get::<Arc<Note>>() {
            note.caller(&access.caller);
        }
        Ok(access)
    }
}
