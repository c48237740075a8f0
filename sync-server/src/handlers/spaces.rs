//! `GET /v1/spaces`: the caller's spaces, and what it may do in each.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use sync_core::wire::SCHEMA;
use sync_core::wire::account::{SpaceOfCaller, SpacesResponse};

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;

/// The caller's spaces.
#[utoipa::path(
    get,
    path = "/v1/spaces",
    security(("token" = [])),
    responses((status = 200, description = "In ascending order of their ids.", body = SpacesResponse), Refusals),
)]
pub(crate) async fn spaces(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    let spaces = app.store.spaces_of(&caller.user).await?;
    let spaces =
        spaces.into_iter().map(|(space, role)| SpaceOfCaller { space, role: role.into(), name: None }).collect();
    Format::of_answer(&headers).answer(&SpacesResponse { schema: SCHEMA, spaces })
}
