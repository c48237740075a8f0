//! What the routes about members share: who gets in, how a store's refusal is told, and who hears that something has changed.

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sync_core::id::{DeviceId, SpaceId};
use sync_core::ledger::Role;
use sync_core::wire::SCHEMA;

use crate::app::App;
use crate::audit::{self, Event, Kind};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::exchange;
use crate::router::observe::Note;
use crate::store::spaces::Refusal;

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::not_found(),
            Refusal::Forbidden => Self::forbidden(),
            Refusal::LastOwner => Self::last_owner(),
            Refusal::TooMany => Self::too_many("There are as many as there may be."),
        }
    }
}

/// What stands in a path and cannot be read names nothing that there is.
pub(crate) fn of_path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, ApiError> {
    path.map(|Path(values)| values).map_err(|_| ApiError::not_found())
}

/// Refuses frames of another version.
pub(crate) fn current(schema: u16) -> Result<(), ApiError> {
    if schema == SCHEMA { Ok(()) } else { Err(ApiError::unsupported_schema()) }
}

/// The space in a path, and what the caller may do there. To who is no member it does not exist.
pub(crate) async fn member(app: &App, caller: &Caller, space: &str) -> Result<(SpaceId, Role), ApiError> {
    let space = space.parse().map_err(|_| ApiError::not_found())?;
    exchange::enter(app, caller, space).await.map(|role| (space, role))
}

/// The same for who decides there.
pub(crate) async fn owner(app: &App, caller: &Caller, space: &str) -> Result<SpaceId, ApiError> {
    match member(app, caller, space).await? {
        (space, Role::Owner) => Ok(space),
        _ => Err(ApiError::forbidden()),
    }
}

/// Something that happened in a space.
pub(crate) struct Happened<'a> {
    pub(crate) kind: Kind,
    pub(crate) space: SpaceId,
    pub(crate) detail: Option<String>,
    pub(crate) caller: &'a Caller,
    pub(crate) note: &'a Arc<Note>,
}

impl Happened<'_> {
    /// Writes it down.
    pub(crate) async fn record(self, app: &App) {
        let device = Some(self.caller.device);
        self.write(app, &self.caller.user, device, self.detail.clone()).await;
    }

    /// The same where it is about what a user may do: connections that follow the space look it up at once, on all nodes.
    pub(crate) async fn announce(self, app: &App, user: &str) {
        app.live.fanout.tell_access(self.space, user.to_owned());
        if user == self.caller.user {
            return self.record(app).await;
        }
        // It is found under whom it concerns, and says who did it.
        let by = format!("by {} on {}", self.caller.user, self.caller.device);
        let detail = self.detail.as_ref().map_or_else(|| by.clone(), |detail| format!("{detail}, {by}"));
        self.write(app, user, None, Some(detail)).await;
    }

    async fn write(&self, app: &App, user: &str, device: Option<DeviceId>, detail: Option<String>) {
        let event = Event { kind: self.kind, user, device, space: Some(self.space), detail };
        audit::record(app, Some(self.note), event).await;
    }
}

/// An answer with nothing in it.
pub(crate) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// An answer about something that is new.
pub(crate) fn created(mut response: Response) -> Response {
    *response.status_mut() = StatusCode::CREATED;
    response
}
