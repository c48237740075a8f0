//! What companions redeem for a session: codes that somebody gave them, once.

use std::sync::Arc;

use sync_core::id::Hash;
use sync_core::wire::ErrorCode;
use sync_core::wire::account::{NewDevice, TokenResponse};

use self::authorize::Asked;
use crate::app::App;
use crate::audit::{self, Event, Kind};
use crate::auth::{accounts, sessions};
use crate::error::ApiError;
use crate::handlers::form::Form;
use crate::router::observe::Note;
use crate::store::devices::{Whose, Why};
use crate::store::grants::{Grant, GrantKind, GrantRecord, GrantState};

pub(crate) mod authorize;
pub(crate) mod clients;
mod code;
pub(crate) mod device;

/// RFC 6749.
const CODE: &str = "authorization_code";
/// RFC 8628.
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The grants that are redeemed here, besides refresh tokens.
pub(crate) const GRANT_TYPES: [&str; 2] = [CODE, DEVICE];
/// Others that change the same grant are whoever redeems it again, and for a device who approves it.
const TRIES_MAX: u32 = 8;

fn random<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(ApiError::internal)?;
    Ok(bytes)
}

fn invalid_grant(cause: &str) -> ApiError {
    let message = "This code was used, has expired, is another app's, or never was.";
    ApiError::oauth("invalid_grant", ErrorCode::SessionEnded, message).because(cause)
}

/// A code for the app that asked, from whoever has this address and password.
pub(crate) async fn approve(
    app: &App,
    note: &Arc<Note>,
    asked: &Asked,
    email: &str,
    password: &str,
) -> Result<String, ApiError> {
    let account = accounts::sign_in(app, Some(note), email, password).await?;
    let user = account.user.clone();
    let code = code::give(app, asked, account).await?;
    let detail = Some(format!("{}, in a browser", asked.client));
    let event = Event { kind: Kind::CompanionApproved, user: &user, device: None, space: None, detail };
    audit::record(app, Some(note), event).await;
    Ok(code)
}

/// What is redeemed, and what came with it.
enum With {
    Code { redirect: String, verifier: String },
    Device { secret: Option<Hash> },
}

/// Redeems a grant of that type, by the rest of the form.
pub(crate) async fn redeem(
    app: &App,
    note: Option<&Note>,
    grant_type: &str,
    mut form: Form,
) -> Result<TokenResponse, ApiError> {
    let (id, with) = match grant_type {
        CODE => {
            let id = code::id(&form.required("code")?.0);
            let redirect = form.required("redirect_uri")?.0;
            (Some(id), With::Code { redirect, verifier: form.required("code_verifier")?.0 })
        }
        DEVICE => {
            let parsed = device::parse(&form.required("device_code")?.0);
            let (id, secret) = parsed.map(|(id, secret)| (id, Hash::of(&[&secret]))).unzip();
            (id, With::Device { secret })
        }
        _ => return Err(ApiError::unsupported_grant_type()),
    };
    let client = form.required("client_id")?.0;
    let device = device_of(&mut form)?;
    form.done()?;
    app.clients.find(&client)?;
    // Before anything is used up.
    sessions::check(&device)?;
    let id = id.ok_or_else(|| invalid_grant("not a code of ours"))?;
    let grant = claim(app, note, id, &client, &with).await?;
    let user = grant.user.ok_or_else(|| ApiError::internal("approved by nobody"))?;
    let begun = sessions::begin(app, note, &user, grant.display_name.as_deref(), device).await?;
    settle(app, note, id, &begun).await?;
    Ok(begun)
}

/// The device that is to be signed in.
fn device_of(form: &mut Form) -> Result<NewDevice, ApiError> {
    let id = form.optional("device_id").map(|id| id.0.parse()).transpose();
    let name = form.required("device_name")?.0;
    let name = sessions::name_of_device(name)
        .map_err(|_| ApiError::invalid("device_name", "1 to 100 characters, none of them invisible"))?;
    Ok(NewDevice {
        device: id.map_err(|_| ApiError::invalid("device_id", "a UUID"))?,
        name,
        platform: form.required("platform")?.0,
        app_version: form.required("app_version")?.0,
        public_key: form.optional("public_key").map(|key| key.0),
    })
}

/// Marks the grant as redeemed, which one caller does; it may have been redeemed by somebody else before.
async fn claim(app: &App, note: Option<&Note>, id: Hash, client: &str, with: &With) -> Result<Grant, ApiError> {
    for _ in 0..TRIES_MAX {
        let now_ms = app.clock.now_ms();
        let unknown = || invalid_grant("unknown");
        let GrantRecord { version, grant } = app.registry.grant(id).await?.ok_or_else(unknown)?;
        let fits = grant.client == client
            && match with {
                With::Code { redirect, verifier } => code::fits(&grant.kind, redirect, verifier),
                With::Device { secret } => {
                    matches!(&grant.kind, GrantKind::Device { secret: known, .. } if Some(*known) == *secret)
                }
            };
        let is_code = matches!(grant.kind, GrantKind::Code { .. });
        let (next, told) = match grant.state {
            GrantState::Redeemed | GrantState::Spoilt if fits || is_code => {
                return Err(again(app, note, id, version, grant).await?);
            }
            // Of a companion, the row is known to all who see its screen: they spoil nothing.
            _ if !fits && !is_code => return Err(invalid_grant("not the companion")),
            _ if now_ms >= grant.expires_ms && is_code => return Err(invalid_grant("expired")),
            _ if now_ms >= grant.expires_ms => {
                let message = "Nobody has said yes in time; begin anew.";
                return Err(ApiError::oauth("expired_token", ErrorCode::SessionEnded, message));
            }
            GrantState::Denied => {
                let message = "Somebody has said no.";
                return Err(ApiError::oauth("access_denied", ErrorCode::LoginFailed, message));
            }
            // A code in the wrong hands is of no use to anybody any more.
            _ if !fits => (Grant { state: GrantState::Spoilt, ..grant }, Some(invalid_grant("not what belongs to it"))),
            GrantState::Approved => (Grant { state: GrantState::Redeemed, ..grant }, None),
            _ => {
                let (grant, told) = device::ask(grant, now_ms);
                (grant, Some(told))
            }
        };
        if app.registry.replace_grant(id, version, &next).await? {
            return told.map_or(Ok(next), Err);
        }
    }
    Err(ApiError::busy())
}

/// A grant that is redeemed twice was stolen, by the first or by the second: what the first has is ended (RFC 6749, section
/// 4.1.2). Where the first is not done yet, it finds the mark.
async fn again(app: &App, note: Option<&Note>, id: Hash, version: u64, grant: Grant) -> Result<ApiError, ApiError> {
    if grant.state == GrantState::Redeemed {
        let spoilt = Grant { state: GrantState::Spoilt, ..grant.clone() };
        if !app.registry.replace_grant(id, version, &spoilt).await? {
            // The first has just put its device there.
            let Some(known) = app.registry.grant(id).await? else { return Ok(invalid_grant("used before")) };
            let spoilt = Grant { state: GrantState::Spoilt, ..known.grant.clone() };
            app.registry.replace_grant(id, known.version, &spoilt).await?;
            end(app, note, &known.grant).await?;
        }
        end(app, note, &grant).await?;
    }
    Ok(invalid_grant("used before"))
}

/// Remembers which device was signed in, unless the code was used again meanwhile.
async fn settle(app: &App, note: Option<&Note>, id: Hash, begun: &TokenResponse) -> Result<(), ApiError> {
    for _ in 0..TRIES_MAX {
        let gone = || invalid_grant("forgotten");
        let GrantRecord { version, grant } = app.registry.grant(id).await?.ok_or_else(gone)?;
        let grant = Grant { device: Some(begun.device), ..grant };
        if grant.state != GrantState::Redeemed {
            end(app, note, &grant).await?;
            return Err(invalid_grant("used again meanwhile"));
        }
        if app.registry.replace_grant(id, version, &grant).await? {
            return Ok(());
        }
    }
    Err(ApiError::busy())
}

/// Ends what was begun with a grant.
async fn end(app: &App, note: Option<&Note>, grant: &Grant) -> Result<(), ApiError> {
    let (Some(user), Some(device)) = (&grant.user, grant.device) else { return Ok(()) };
    let ended = app.registry.end(user, Whose::Of(device), Why::Theft, app.clock.now_ms()).await?;
    if !ended.is_empty() {
        app.live.fanout.tell_cut(user, Some(device));
        let detail = Some(format!("a code for {} was redeemed twice", grant.client));
        let event = Event { kind: Kind::RefreshTheft, user, device: Some(device), space: None, detail };
        audit::record(app, note, event).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
