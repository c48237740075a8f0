//! Sessions of devices: an access token for a quarter of an hour, and a refresh token for the next.

use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sync_core::id::{DeviceId, Hash};
use sync_core::wire::ErrorCode;
use sync_core::wire::account::{NewDevice, Private, TokenResponse};

use self::rule::{Presented, Verdict, decide};
use self::token::RefreshToken;
use crate::app::App;
use crate::audit::{self, Kind};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::router::observe::Note;
use crate::store::StoreError;
use crate::store::devices::{Begin, Begun, Rotation, Session, SessionId, Whose, Why};

mod device;
mod rule;
mod token;

pub(crate) use device::name_of_device;
pub use token::RefreshKey;

/// Each try begins with what the one before lost to, and a row changes but a few times in a second.
const TRIES_MAX: u32 = 8;
/// What a device signs to repeat its very last refresh later on: this, and the SHA-256 of the token's text.
const PROOF_TAG: &[u8] = b"rejoin refresh repeat\0";

/// Why a session was not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotBegun {
    /// As a client would be told.
    pub code: ErrorCode,
    /// The same for people.
    pub message: String,
}

impl From<&ApiError> for NotBegun {
    fn from(error: &ApiError) -> Self {
        let frame = error.frame("", Duration::ZERO);
        Self { code: frame.code, message: frame.message }
    }
}

/// Whether a device says of itself what it may.
pub(crate) fn check(device: &NewDevice) -> Result<(), ApiError> {
    device::description(device.clone()).map(|_| ())
}

/// Registers a device for a user who has proved to be one, and begins a session.
pub(crate) async fn begin(
    app: &App,
    note: Option<&Note>,
    user: &str,
    display_name: Option<&str>,
    device: NewDevice,
) -> Result<TokenResponse, ApiError> {
    let (known, description) = device::description(device)?;
    let (session, nonce) = (SessionId::from_random(random_bytes()?), random_bytes()?);
    let id = known.map_or_else(|| random_bytes().map(DeviceId::from_random), Ok)?;
    let refresh = app.refresh.token(user, session, &nonce, 1);
    let now_ms = app.clock.now_ms();
    let expires_ms = now_ms.saturating_add(app.token.refresh_ms());
    let caller = Caller { user: user.to_owned(), device: id };
    // First what may be refused, so that nothing is registered for nobody.
    let answer = answer(app, &caller, &refresh, expires_ms, now_ms)?;
    let platform = description.platform.clone();
    let begin = Begin {
        user: caller.user,
        display_name: display_name.map(str::to_owned),
        device: id,
        is_new: known.is_none(),
        description,
        session,
        nonce,
        token_hash: refresh.hash(),
        now_ms,
        expires_ms,
    };
    match app.registry.begin(begin).await? {
        Begun::Done => {}
        Begun::Unknown => return Err(ApiError::not_found()),
        Begun::Revoked => return Err(ApiError::device_revoked()),
        Begun::TooMany => return Err(ApiError::too_many("A user has at most 64 devices; revoke one first.")),
    }
    let event = |kind, detail| audit::Event { kind, user, device: Some(id), space: None, detail };
    if known.is_none() {
        audit::record(app, note, event(Kind::DeviceRegistered, Some(platform))).await;
    } else {
        // Its earlier sessions have ended.
        app.live.fanout.tell_cut(user, Some(id));
    }
    audit::record(app, note, event(Kind::SignIn, None)).await;
    Ok(answer)
}

/// A refresh, as it is asked for.
pub(crate) struct Refresh {
    /// The token's text.
    pub(crate) token: Private,
    /// The device that says so.
    pub(crate) device: DeviceId,
    /// The app's version, where it says.
    pub(crate) app_version: Option<String>,
    /// Its signature, where it proves to be the same device.
    pub(crate) proof: Option<String>,
}

/// A new access token and the next refresh token, if the session goes on.
pub(crate) async fn refresh(app: &App, note: Option<&Note>, refresh: Refresh) -> Result<TokenResponse, ApiError> {
    let app_version = refresh.app_version.map(device::app_version).transpose()?;
    let unknown = || ApiError::session_ended("a refresh token of no session");
    let token = RefreshToken::read(&refresh.token.0).ok_or_else(unknown)?;
    let (user, id) = (token.user.as_str(), token.session);
    let now_ms = app.clock.now_ms();
    for _ in 0..TRIES_MAX {
        let session = app.registry.session(user, id).await?.ok_or_else(unknown)?;
        let is_current = token.n == session.n && token.hash() == session.token_hash;
        let presented = Presented {
            n: token.n,
            // The current one also where the key was replaced since.
            is_genuine: is_current || app.refresh.made(&token, &session.nonce),
            device: refresh.device,
            is_proved: refresh.proof.as_ref().map_or(Ok(false), |proof| is_proved(&session, &refresh.token, proof))?,
        };
        let caller = Caller { user: user.to_owned(), device: session.device };
        match decide(&session, presented, now_ms, app.token.refresh_repeat_ms) {
            Verdict::Rotate(n) => {
                let next = app.refresh.token(user, id, &session.nonce, n);
                let expires_ms = now_ms.saturating_add(app.token.refresh_ms());
                let answer = answer(app, &caller, &next, expires_ms, now_ms)?;
                let rotation = Rotation {
                    from_n: session.n,
                    n,
                    token_hash: next.hash(),
                    now_ms,
                    expires_ms,
                    app_version: app_version.clone(),
                };
                if app.registry.rotate(user, id, rotation).await? {
                    return Ok(answer);
                }
            }
            Verdict::Repeat => {
                let current = app.refresh.token(user, id, &session.nonce, session.n);
                if current.hash() != session.token_hash {
                    return Err(ApiError::session_ended("the key that made the successor was replaced"));
                }
                return answer(app, &caller, &current, session.expires_ms, now_ms);
            }
            Verdict::Theft => return Err(theft(app, note, &token, &session, refresh.device).await?),
            Verdict::Ended(Some(Why::Revoked)) => return Err(ApiError::device_revoked()),
            Verdict::Ended(why) => return Err(ApiError::session_ended(format!("over: {why:?}"))),
            Verdict::Unknown => return Err(unknown()),
        }
    }
    Err(ApiError::busy())
}

/// Ends a family of which somebody has a token that it should not have.
async fn theft(
    app: &App,
    note: Option<&Note>,
    token: &RefreshToken,
    session: &Session,
    by: DeviceId,
) -> Result<ApiError, StoreError> {
    let (user, now_ms) = (token.user.as_str(), app.clock.now_ms());
    let ended = app.registry.end(user, Whose::One(token.session), Why::Theft, now_ms).await?;
    // Who comes second finds it ended, and there is nothing more to tell.
    if !ended.is_empty() {
        app.live.fanout.tell_cut(user, Some(session.device));
        let what = if by == session.device { "used before" } else { "used on another device" };
        let detail = Some(format!("{token:?}, the current one is {}: {what}", session.n));
        let event = audit::Event { kind: Kind::RefreshTheft, user, device: Some(session.device), space: None, detail };
        audit::record(app, note, event).await;
    }
    Ok(ApiError::session_ended("a refresh token was used again"))
}

/// Ends the session of the caller, or where its token names none those of its device, or those of all its user's devices.
pub(crate) async fn log_out(
    app: &App,
    note: Option<&Note>,
    caller: &Caller,
    session: Option<SessionId>,
    all: bool,
) -> Result<(), ApiError> {
    let whose = match session {
        _ if all => Whose::All,
        Some(session) => Whose::One(session),
        None => Whose::Of(caller.device),
    };
    let (user, device) = (caller.user.as_str(), Some(caller.device));
    let ended = app.registry.end(user, whose, Why::LoggedOut, app.clock.now_ms()).await?;
    app.live.fanout.tell_cut(user, if all { None } else { device });
    let detail = Some(format!("{} sessions", ended.len()));
    audit::record(app, note, audit::Event { kind: Kind::LogOut, user, device, space: None, detail }).await;
    Ok(())
}

/// Ends the sessions of all devices of a user but one, as when the password was changed.
pub(crate) async fn end_all_but(app: &App, user: &str, device: DeviceId) -> Result<(), ApiError> {
    app.registry.end(user, Whose::AllBut(device), Why::LoggedOut, app.clock.now_ms()).await?;
    app.live.fanout.tell_cut(user, None);
    Ok(())
}

/// Revokes a device; `not_found` where the user has no such device.
pub(crate) async fn revoke(app: &App, note: Option<&Note>, user: &str, device: DeviceId) -> Result<(), ApiError> {
    let revoked = app.registry.revoke(user, device, app.clock.now_ms()).await?.ok_or_else(ApiError::not_found)?;
    app.live.fanout.tell_cut(user, Some(device));
    if revoked {
        let event = audit::Event { kind: Kind::DeviceRevoked, user, device: Some(device), space: None, detail: None };
        audit::record(app, note, event).await;
    }
    Ok(())
}

fn answer(
    app: &App,
    caller: &Caller,
    refresh: &RefreshToken,
    expires_ms: u64,
    now_ms: u64,
) -> Result<TokenResponse, ApiError> {
    let lifetime = Duration::from_secs(app.token.access_seconds);
    let access = app.callers.tokens().issue_in(caller, Some(refresh.session), lifetime);
    Ok(TokenResponse {
        access_token: Private(access.map_err(ApiError::internal)?),
        token_type: "Bearer".to_owned(),
        expires_in: app.token.access_seconds,
        refresh_token: Private(refresh.text()),
        refresh_expires_in: expires_ms.saturating_sub(now_ms) / 1_000,
        user: caller.user.clone(),
        device: caller.device,
    })
}

/// Whether the device that the session is of has signed that it repeats this.
fn is_proved(session: &Session, token: &Private, proof: &str) -> Result<bool, ApiError> {
    let Some(key) = session.public_key else { return Ok(false) };
    let wrong = || ApiError::invalid("proof", "a signature of the device's key over the token, in base64url");
    let signature = URL_SAFE_NO_PAD.decode(proof).map_err(|_| wrong())?;
    let signed = [PROOF_TAG, &Hash::of(&[token.0.as_bytes()]).0].concat();
    UnparsedPublicKey::new(&ED25519, key).verify(&signed, &signature).map_err(|_| wrong())?;
    Ok(true)
}

fn random_bytes() -> Result<[u8; 16], ApiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(ApiError::internal)?;
    Ok(bytes)
}
