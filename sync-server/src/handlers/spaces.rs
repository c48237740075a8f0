//! `GET /v1/spaces`: the caller's spaces, and what it may do in each.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sync_core::id::SpaceId;
use sync_core::ledger;
use sync_core::wire::SCHEMA;

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::router::format::Format;

/// The answer to `GET /v1/spaces`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpacesResponse {
    /// [`SCHEMA`].
    pub schema: u16,
    /// In ascending order of their ids.
    pub spaces: Vec<SpaceOfCaller>,
}

/// A space that the caller may enter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceOfCaller {
    /// Which space.
    pub space: SpaceId,
    /// What the caller may do there.
    pub role: Role,
}

/// What a member of a space may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Pull.
    Reader,
    /// Pull and push.
    Writer,
    /// That, and decide who else may.
    Owner,
}

impl From<ledger::Role> for Role {
    fn from(role: ledger::Role) -> Self {
        match role {
            ledger::Role::Reader => Self::Reader,
            ledger::Role::Writer => Self::Writer,
            ledger::Role::Owner => Self::Owner,
        }
    }
}

/// The caller's spaces.
pub(crate) async fn spaces(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    let spaces = app.store.spaces_of(&caller.user).await?;
    let spaces = spaces.into_iter().map(|(space, role)| SpaceOfCaller { space, role: role.into() }).collect();
    Format::of_answer(&headers).answer(&SpacesResponse { schema: SCHEMA, spaces })
}
