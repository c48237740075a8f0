//! `/v1/spaces`: the caller's spaces, and making one.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use sync_core::id::SpaceId;
use sync_core::wire::account::{CreateSpaceRequest, Role, SpaceOfCaller, SpacesResponse};
use sync_core::wire::{ErrorResponse, SCHEMA};

use super::body;
use super::members::shared;
use super::membership::{Happened, created, current, done, of_path, owner};
use crate::app::App;
use crate::audit::Kind;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;
use crate::router::observe::Note;
use crate::store::spaces::{BOUNDS, NewSpace, OwnSpace};

/// What a space may be called: a line, as lists show it.
const NAME_CHARACTERS_MAX: usize = 100;

/// The caller's spaces.
#[utoipa::path(
    get,
    path = "/v1/spaces",
    security(("token" = [])),
    responses((status = 200, description = "In ascending order of their ids.", body = SpacesResponse), Refusals),
)]
pub(crate) async fn spaces(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    let spaces = app.registry.named_spaces_of(&caller.user).await?;
    let told = |OwnSpace { space, role, name }| SpaceOfCaller { space, role: role.into(), name };
    let spaces = spaces.into_iter().map(told).collect();
    Format::of_answer(&headers).answer(&SpacesResponse { schema: SCHEMA, spaces })
}

/// Makes a space, with the caller as its owner.
#[utoipa::path(
    post,
    path = "/v1/spaces",
    security(("token" = [])),
    request_body = CreateSpaceRequest,
    responses(
        (status = 201, body = SpaceOfCaller),
        (status = 409, description = "The caller has made as many as one may", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn create(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let format = Format::of_answer(request.headers());
    let CreateSpaceRequest { schema, name } = body::frame(&app, request).await?;
    current(schema)?;
    if !is_name(&name) {
        return Err(ApiError::invalid("name", "1 to 100 characters, none of them a control character"));
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(ApiError::internal)?;
    let space = SpaceId::from_random(random);
    let (owner, now_ms) = (caller.user.clone(), app.clock.now_ms());
    let new = NewSpace { space, name: name.clone(), owner, now_ms, bounds: BOUNDS };
    let made = app.registry.create_space(new).await?;
    made.map_err(|_| ApiError::too_many("You have made as many spaces as one may."))?;
    Happened { kind: Kind::SpaceCreated, space, detail: None, caller: &caller, note: &note }.record(&app).await;
    format.answer(&SpaceOfCaller { space, role: Role::Owner, name: Some(name) }).map(created)
}

/// An owner deletes a space for good: nobody may enter it any more, what the server has of it goes, and its id is never used
/// again. What its members' devices have stays theirs.
#[utoipa::path(
    delete,
    path = "/v1/spaces/{id}",
    security(("token" = [])),
    params(("id" = uuid::Uuid, Path, description = "The space")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "The caller is no owner, or it is a personal space", body = ErrorResponse),
        (status = 410, description = "It was deleted before, and the caller was a member", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn remove(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let space = owner(&app, &caller, &of_path(path)?).await?;
    shared(space, &caller, &caller.user)?;
    let former = app.registry.delete_space(space, Some(&caller.user), app.clock.now_ms()).await??;
    tell_all(&app, space, &former);
    let detail = Some(format!("{} members", former.len()));
    Happened { kind: Kind::SpaceDeleted, space, detail, caller: &caller, note: &note }.record(&app).await;
    Ok(done())
}

/// Connections of those who may not enter any more look it up at once, on all nodes.
pub(crate) fn tell_all(app: &App, space: SpaceId, former: &[String]) {
    for user in former {
        app.live.fanout.tell_access(space, user.clone());
    }
}

fn is_name(name: &str) -> bool {
    let characters = name.chars().count();
    (1..=NAME_CHARACTERS_MAX).contains(&characters) && !name.chars().any(char::is_control) && !name.trim().is_empty()
}
