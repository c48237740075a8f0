//! Invitations: an owner makes a token that one person can accept for a while.
//!
//! A token is `rji_` and, in base64url, the space, the invitation and 32 random bytes. What is kept is the hash of these: who
//! reads the database can accept nothing. Whatever is wrong with a token, it is answered the same way after the same work.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sync_core::id::{Hash, SpaceId};
use sync_core::wire::SCHEMA;
use sync_core::wire::account::{
    AcceptInviteRequest, InviteRequest, InviteResponse, InvitesResponse, OpenInvite, Private, SpaceOfCaller,
};
use uuid::Uuid;

use super::body;
use super::devices::secret;
use super::members::{name, shared};
use super::membership::{Happened, created, current, done, of_path, owner};
use crate::app::App;
use crate::audit::Kind;
use crate::auth::Caller;
use crate::config::TOKEN;
use crate::error::ApiError;
use crate::handlers::openapi::Refusals;
use crate::router::format::Format;
use crate::router::observe::Note;
use crate::store::invites::{Acceptance, Invite, NewInvite};
use crate::store::spaces::BOUNDS;
use sync_core::wire::ErrorResponse;

/// What tokens begin with, so that one in the wrong place is known for what it is.
const PREFIX: &str = "rji_";
const SECRET_BYTES: usize = 32;
const TOKEN_BYTES: usize = 16 + 16 + SECRET_BYTES;
/// How long an invitation holds where nobody says otherwise: over a week-end away.
const EXPIRES_IN_DEFAULT_S: u64 = 7 * 24 * 3_600;
/// Long enough to be read, and not for ever in somebody's mailbox.
const EXPIRES_IN_S: std::ops::RangeInclusive<u64> = 60..=30 * 24 * 3_600;

/// What a token says.
struct Token {
    space: SpaceId,
    invite: Uuid,
    secret: [u8; SECRET_BYTES],
}

impl Token {
    fn new(space: SpaceId) -> Result<Self, getrandom::Error> {
        let (mut id, mut secret) = ([0; 16], [0; SECRET_BYTES]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut secret)?;
        Ok(Self { space, invite: uuid::Builder::from_random_bytes(id).into_uuid(), secret })
    }

    fn text(&self) -> String {
        let bytes = [self.space.as_bytes().as_slice(), self.invite.as_bytes(), &self.secret].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What is no token stands for one that nobody has: it is looked for all the same.
    fn read(text: &str) -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        let encoded = text.strip_prefix(PREFIX).unwrap_or_default();
        if !matches!(URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes), Ok(TOKEN_BYTES)) {
            bytes = [0; TOKEN_BYTES];
        }
        let (mut space, mut invite, mut secret) = ([0; 16], [0; 16], [0; SECRET_BYTES]);
        space.copy_from_slice(&bytes[..16]);
        invite.copy_from_slice(&bytes[16..32]);
        secret.copy_from_slice(&bytes[32..]);
        Self { space: SpaceId::from_bytes(space), invite: Uuid::from_bytes(invite), secret }
    }

    fn secret_hash(&self) -> Hash {
        Hash::of(&[&self.secret])
    }
}

/// An owner makes an invitation. The token is told this once.
#[utoipa::path(
    post,
    path = "/v1/spaces/{id}/invites",
    security(("token" = [])),
    params(("id" = Uuid, Path, description = "The space")),
    request_body = InviteRequest,
    responses(
        (status = 201, body = InviteResponse),
        (status = 403, description = "The caller is no owner, or it is a personal space", body = ErrorResponse),
        (status = 409, description = "The space has as many as it may", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn invite(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let format = Format::of_answer(request.headers());
    let InviteRequest { schema, role, expires_in } = body::frame(&app, request).await?;
    current(schema)?;
    let expires_in = expires_in.unwrap_or(EXPIRES_IN_DEFAULT_S);
    if !EXPIRES_IN_S.contains(&expires_in) {
        return Err(ApiError::invalid("expires_in", "60 to 2592000 seconds"));
    }
    let space = owner(&app, &caller, &of_path(path)?).await?;
    shared(space, &caller, &caller.user)?;
    let token = Token::new(space).map_err(ApiError::internal)?;
    let now_ms = app.clock.now_ms();
    let expires_ms = now_ms.saturating_add(expires_in * 1_000);
    let (invite, secret_hash) = (token.invite, token.secret_hash());
    let by = caller.user.clone();
    let new = NewInvite { space, by, invite, secret_hash, role: role.into(), now_ms, expires_ms, bounds: BOUNDS };
    app.registry.invite(new).await??;
    let detail = Some(format!("{invite}: {}", name(role)));
    Happened { kind: Kind::InviteCreated, space, detail, caller: &caller, note: &note }.record(&app).await;
    let text = token.text();
    let link = app.invite_link.as_ref().map(|link| Private(link.replace(TOKEN, &text)));
    let answer = InviteResponse { schema: SCHEMA, invite, token: Private(text), link, expires_ms };
    Ok(secret(format.answer(&answer).map(created)?))
}

/// A space's invitations that can be accepted, for its owners.
#[utoipa::path(
    get,
    path = "/v1/spaces/{id}/invites",
    security(("token" = [])),
    params(("id" = Uuid, Path, description = "The space")),
    responses(
        (status = 200, body = InvitesResponse),
        (status = 403, description = "The caller is no owner", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn invites(
    State(app): State<App>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let space = owner(&app, &caller, &of_path(path)?).await?;
    let open = app.registry.open_invites(space, &caller.user, app.clock.now_ms()).await??;
    let told = |open: Invite| OpenInvite {
        invite: open.invite,
        role: open.role.into(),
        by: open.by,
        expires_ms: open.expires_ms,
    };
    let invites = open.into_iter().map(told).collect();
    Format::of_answer(&headers).answer(&InvitesResponse { schema: SCHEMA, invites })
}

/// An owner takes an invitation back.
#[utoipa::path(
    delete,
    path = "/v1/spaces/{id}/invites/{invite}",
    security(("token" = [])),
    params(("id" = Uuid, Path, description = "The space"), ("invite" = Uuid, Path, description = "The invitation")),
    responses(
        (status = 204, description = "Nobody can accept it any more"),
        (status = 403, description = "The caller is no owner", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn revoke(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    let (space, invite) = of_path(path)?;
    let space = owner(&app, &caller, &space).await?;
    let invite = Uuid::try_parse(&invite).map_err(|_| ApiError::not_found())?;
    app.registry.revoke_invite(space, &caller.user, invite, app.clock.now_ms()).await??;
    let detail = Some(invite.to_string());
    Happened { kind: Kind::InviteRevoked, space, detail, caller: &caller, note: &note }.record(&app).await;
    Ok(done())
}

/// Joins the space of an invitation. Whoever lost the answer asks again and gets the same.
#[utoipa::path(
    post,
    path = "/v1/invites/accept",
    security(("token" = [])),
    request_body = AcceptInviteRequest,
    responses(
        (status = 200, body = SpaceOfCaller),
        (status = 409, description = "The space has as many members as it may", body = ErrorResponse),
        Refusals,
    ),
)]
pub(crate) async fn accept(
    State(app): State<App>,
    Extension(note): Extension<Arc<Note>>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let format = Format::of_answer(request.headers());
    let AcceptInviteRequest { schema, token } = body::frame(&app, request).await?;
    current(schema)?;
    let token = Token::read(&token.0);
    let (space, invite, secret_hash) = (token.space, token.invite, token.secret_hash());
    let (user, now_ms) = (caller.user.clone(), app.clock.now_ms());
    let acceptance = Acceptance { space, invite, secret_hash, user, now_ms, bounds: BOUNDS };
    let joined = app.registry.accept_invite(acceptance).await??;
    let role = joined.role.into();
    if joined.is_new {
        let detail = Some(format!("{invite}: {}", name(role)));
        let happened = Happened { kind: Kind::MemberJoined, space, detail, caller: &caller, note: &note };
        happened.announce(&app, &caller.user).await;
    }
    format.answer(&SpaceOfCaller { space, role, name: joined.name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_it_said_and_nothing_else_is_one() {
        let token = Token::new(SpaceId::from_bytes([3; 16])).unwrap();
        let text = token.text();
        let read = Token::read(&text);
        assert_eq!((read.space, read.invite, read.secret), (token.space, token.invite, token.secret));
        let cut = &text[..text.len() - 4];
        for wrong in ["", "rji_", cut, &text[4..], &format!("{text}AAAA"), &format!("{text}="), &"A".repeat(1 << 20)] {
            let read = Token::read(wrong);
            assert_eq!((read.space.as_bytes(), read.secret), (&[0; 16], [0; SECRET_BYTES]), "{wrong:.90}");
        }
    }
}
