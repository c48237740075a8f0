//! `/v1/spaces/{id}/members`: who may enter a space, and what they may do there.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use sync_core::id::SpaceId;
use sync_core::wire::SCHEMA;
use sync_core::wire::account::{Member, MembersResponse, Role, SetRoleRequest};

use super::body;
use super::membership::{Happened, current, done, member, of_path, owner};
use crate::app::App;
use crate::audit::Kind;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;
use crate::router::observe::Note;
use crate::store::devices::NAMES_MAX;
use sync_core::wire::ErrorResponse;

/// The members of a space, for its members.
#[utoipa::path(
    get,
    path = "/v1/spaces/{id}/members",
    security(("token" = [])),
    params(("id" = uuid::Uuid, Path, description = "The space")),
    responses((status = 200, body = MembersResponse), Refusals),
)]
pub(crate) async fn members(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (space, _) = member(&app, &caller, &of_path(path)?).await?;
    let members = app.registry.members(space, &caller.user).await??;
    let mut names = display_names(&app, &members).await?;
    let told = |(user, role): (String, sync_core::ledger::Role)| {
        let display_name = names.remove(&user);
        Member { user, display_name, role: role.into() }
    };
    let members = members.into_iter().map(told).collect();
    Format::of_answer(&headers).answer(&MembersResponse { schema: SCHEMA, members })
}

/// What these people call themselves, where it is known: a look for as many at once as one may ask for.
async fn display_names<R>(app: &App, members: &[(String, R)]) -> Result<BTreeMap<String, String>, ApiError> {
    let mut names = BTreeMap::new();
    for some in members.chunks(NAMES_MAX) {
        let users: Vec<String> = some.iter().map(|(user, _)| user.clone()).collect();
        names.extend(app.registry.names(&users).await?);
    }
    Ok(names)
}

/// An owner gives a member another role.
#[utoipa::path(
    put,
    path = "/v1/spaces/{id}/members/{user}",
    security(("token" = [])),
    params(("id" = uuid::Uuid, Path, description = "The space"), ("user" = String, Path, description = "The member")),
    request_body = SetRoleRequest,
    responses(
        (status = 204, description = "It has that role"),
        (status = 403, description = "The caller is no owner, or it is a personal space", body = ErrorResponse),
        (status = 409, description = "Nobody would own the space any more", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn set_role(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let SetRoleRequest { schema, role } = body::frame(&app, request).await?;
    current(schema)?;
    let (space, user) = of_path(path)?;
    let space = owner(&app, &caller, &space).await?;
    shared(space, &caller, &user)?;
    let before = Role::from(app.registry.change_role(space, &caller.user, &user, role.into()).await??);
    if before != role {
        let detail = Some(format!("{} to {}", name(before), name(role)));
        let happened = Happened { kind: Kind::MemberRoleChanged, space, detail, caller: &caller, note: &note };
        happened.announce(&app, &user).await;
    }
    Ok(done())
}

/// An owner removes a member, or a member leaves.
#[utoipa::path(
    delete,
    path = "/v1/spaces/{id}/members/{user}",
    security(("token" = [])),
    params(("id" = uuid::Uuid, Path, description = "The space"), ("user" = String, Path, description = "The member")),
    responses(
        (status = 204, description = "It is no member any more"),
        (status = 403, description = "The caller is no owner, or it is a personal space", body = ErrorResponse),
        (status = 409, description = "Nobody would own the space any more", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn remove(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    let (space, user) = of_path(path)?;
    let leaves = user == caller.user;
    let space = if leaves { member(&app, &caller, &space).await?.0 } else { owner(&app, &caller, &space).await? };
    shared(space, &caller, &user)?;
    app.registry.remove_member(space, &caller.user, &user).await??;
    let kind = if leaves { Kind::MemberLeft } else { Kind::MemberRemoved };
    Happened { kind, space, detail: None, caller: &caller, note: &note }.announce(&app, &user).await;
    Ok(done())
}

/// A personal space stays its user's, whoever else was let in by the operator.
pub(super) fn shared(space: SpaceId, caller: &Caller, user: &str) -> Result<(), ApiError> {
    let is_personal = [&caller.user, user].into_iter().any(|user| space == SpaceId::personal(user));
    if is_personal { Err(ApiError::personal_space()) } else { Ok(()) }
}

/// A role as the log shows it.
pub(super) fn name(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Owner => "owner",
    }
}
