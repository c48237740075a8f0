//! Accounts of our own: an address and a password.
//!
//! Nobody learns here which addresses have an account: known and unknown ones are counted, hashed and answered alike.

use std::sync::Arc;

use sync_core::id::Hash;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Builder;

use self::password::{BYTES_MAX, Compared, Hasher, Known, Passwords};
use self::throttle::{Attempt, Rules};
use crate::app::App;
use crate::audit::{self, Event, Kind};
use crate::auth::erase::{NotErased, erase_user};
use crate::auth::{Caller, sessions};
use crate::config;
use crate::error::ApiError;
use crate::router::observe::Note;
use crate::store::accounts::AccountRecord;

pub(super) mod attempts;
mod password;
mod throttle;

/// An address, RFC 5321 and a little more.
const EMAIL_BYTES_MAX: usize = 255;
/// What others call a person.
const DISPLAY_NAME_CHARACTERS_MAX: usize = 100;
/// What the ids of our own users begin with, as those of other issuers' begin with the issuer's name.
const ISSUER: &str = "local";
/// Somebody with an account here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's name, as tokens bear it.
    pub user: String,
    /// What others call this person.
    pub display_name: String,
}

/// What accounts need besides the store.
pub(crate) struct Accounts {
    sign_up: bool,
    rules: Rules,
    passwords: Passwords,
}

impl Accounts {
    pub(crate) fn new(config: &config::Accounts) -> Result<Self, argon2::Error> {
        Ok(Self { sign_up: config.sign_up, rules: config.into(), passwords: Passwords::new(config)? })
    }

    /// Waits for attempts whose callers have gone.
    pub(crate) async fn settled(&self) {
        self.passwords.settled().await;
    }

    /// How many passwords were hashed.
    #[cfg(test)]
    fn hashes(&self) -> u64 {
        self.passwords.computed()
    }
}

/// An address in the form by which accounts are known: in lower case and without spaces around it. Mail systems may tell
/// `Ann@` from `ann@`, people do not. Beyond ASCII, characters are taken as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Email(String);

impl Email {
    fn new(text: &str) -> Result<Self, ApiError> {
        // Bounded before it is worked on, and after: a few characters grow in lower case.
        let bounded = Some(text).filter(|text| text.len() <= 2 * EMAIL_BYTES_MAX);
        let text = bounded.map(|text| text.trim().to_lowercase()).unwrap_or_default();
        let parts = text.split_once('@').filter(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !domain.starts_with('.')
        });
        let fine = text.len() <= EMAIL_BYTES_MAX
            && parts.is_some()
            && !text.chars().any(|character| character.is_whitespace() || character.is_control());
        if !fine {
            return Err(ApiError::invalid("email", "an e-mail address of at most 255 bytes"));
        }
        Ok(Self(text))
    }

    fn identity(&self) -> Hash {
        Hash::of(&[b"rejoin identity\0", self.0.as_bytes()])
    }
}

/// What the log calls an identity whose address it must not show.
fn stand_in(identity: Hash) -> String {
    let mut text = identity.to_string();
    text.truncate(16);
    text
}

/// Makes an account, unless the address has one; the answer is the same. So is the work: one hash, one row that is or is
/// not added, one thing to be recorded.
pub(crate) async fn sign_up(
    app: &App,
    note: &Arc<Note>,
    email: &str,
    password: &str,
    display_name: &str,
) -> Result<(), ApiError> {
    if !app.accounts.sign_up {
        return Err(ApiError::not_found());
    }
    let email = Email::new(email)?;
    password::admissible("password", password)?;
    let display_name = display_name.trim();
    let characters = display_name.chars().count();
    if !(1..=DISPLAY_NAME_CHARACTERS_MAX).contains(&characters) || display_name.chars().any(char::is_control) {
        return Err(ApiError::invalid("display_name", "1 to 100 characters"));
    }
    let hasher = app.accounts.passwords.enter()?;
    let (app, note, password) = (app.clone(), Arc::clone(note), password.to_owned());
    let display_name = display_name.to_owned();
    to_its_end(hasher.room(), async move { enrol(&app, &note, hasher, email, &password, display_name).await }).await
}

async fn enrol(
    app: &App,
    note: &Note,
    hasher: Hasher,
    email: Email,
    password: &str,
    display_name: String,
) -> Result<(), ApiError> {
    let password_hash = hasher.hash(password).await?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(ApiError::internal)?;
    let user = format!("{ISSUER}:{}", Builder::from_random_bytes(random).into_uuid());
    let identity = stand_in(email.identity());
    let account = AccountRecord {
        email: email.0,
        user: user.clone(),
        password_hash,
        display_name,
        created_ms: app.clock.now_ms(),
    };
    let added = app.registry.add_account(account).await?;
    let (kind, user) = if added { (Kind::AccountCreated, user) } else { (Kind::AccountRefused, identity) };
    audit::record(app, Some(note), Event { kind, user: &user, device: None, space: None, detail: None }).await;
    Ok(())
}

/// Whose address and password these are.
pub(crate) async fn sign_in(
    app: &App,
    note: Option<&Arc<Note>>,
    email: &str,
    password: &str,
) -> Result<Account, ApiError> {
    let account = prove(app, note, Email::new(email)?, password).await?;
    Ok(Account { user: account.user, display_name: account.display_name })
}

/// Changes a password, which ends the user's other sessions.
pub(crate) async fn change_password(
    app: &App,
    note: &Arc<Note>,
    caller: &Caller,
    old: &str,
    new: &str,
) -> Result<(), ApiError> {
    password::admissible("new_password", new)?;
    // Users of other issuers have none.
    let account = app.registry.account_of(&caller.user).await?.ok_or_else(ApiError::not_found)?;
    let known = prove(app, Some(note), Email(account.email), old).await?;
    let hasher = app.accounts.passwords.enter()?;
    let (app, note, caller, new) = (app.clone(), Arc::clone(note), caller.clone(), new.to_owned());
    to_its_end(hasher.room(), async move { replace(&app, &note, &caller, hasher, &known, &new).await }).await
}

async fn replace(
    app: &App,
    note: &Note,
    caller: &Caller,
    hasher: Hasher,
    known: &AccountRecord,
    new: &str,
) -> Result<(), ApiError> {
    let hash = hasher.hash(new).await?;
    if !app.registry.replace_password(&known.email, &known.password_hash, &hash).await? {
        return Err(ApiError::login_failed("the password was changed meanwhile"));
    }
    let (user, device) = (&caller.user, Some(caller.device));
    audit::record(app, Some(note), Event { kind: Kind::PasswordChanged, user, device, space: None, detail: None })
        .await;
    sessions::end_all_but(app, user, caller.device).await
}

/// Deletes the caller's account, and what is the user's alone.
pub(crate) async fn delete(app: &App, note: &Arc<Note>, caller: &Caller, password: &str) -> Result<(), ApiError> {
    // Users of other issuers have none.
    let account = app.registry.account_of(&caller.user).await?.ok_or_else(ApiError::not_found)?;
    prove(app, Some(note), Email(account.email), password).await?;
    let hasher = app.accounts.passwords.enter()?;
    let (app, note, caller) = (app.clone(), Arc::clone(note), caller.clone());
    to_its_end(hasher.room(), async move { erase(&app, &note, &caller).await }).await
}

async fn erase(app: &App, note: &Note, caller: &Caller) -> Result<(), ApiError> {
    let user = &caller.user;
    let erased = erase_user(&*app.registry, user, app.clock.now_ms()).await.map_err(|error| match error {
        NotErased::LastOwner(space) => ApiError::owns_alone(space),
        NotErased::Store(error) => error.into(),
    })?;
    app.live.fanout.tell_cut(user, None);
    app.live.fanout.cut(user, None);
    for (space, former) in &erased.deleted {
        for member in former {
            app.live.fanout.tell_access(*space, member.clone());
        }
    }
    for space in &erased.left {
        app.live.fanout.tell_access(*space, user.clone());
    }
    let (deleted, left, revoked) = (erased.deleted.len(), erased.left.len(), erased.revoked.len());
    let detail = Some(format!("{deleted} spaces deleted, {left} left, {revoked} devices revoked"));
    let device = Some(caller.device);
    audit::record(app, Some(note), Event { kind: Kind::AccountDeleted, user, device, space: None, detail }).await;
    Ok(())
}

/// What was begun runs to its end, also when the caller hangs up meanwhile: else whoever leaves before the answer would have
/// tried without a trace in the audit log, or changed a password and left the sessions of a thief. Whoever has a room is
/// waited for when the server stops, and there are no more such tasks than rooms.
async fn to_its_end<T: Send + 'static>(
    room: Arc<OwnedSemaphorePermit>,
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    let held = async move {
        let done = work.await;
        drop(room);
        done
    };
    tokio::spawn(held).await.map_err(ApiError::internal)?
}

/// The account that these are of.
async fn prove(app: &App, note: Option<&Arc<Note>>, email: Email, password: &str) -> Result<AccountRecord, ApiError> {
    if password.len() > BYTES_MAX {
        return Err(ApiError::invalid("password", "at most 1,024 bytes"));
    }
    // Who is sent away for want of room has not tried.
    let hasher = app.accounts.passwords.enter()?;
    let (app, note, password) = (app.clone(), note.cloned(), password.to_owned());
    to_its_end(hasher.room(), async move { try_once(&app, note.as_deref(), hasher, &email, &password).await }).await
}

/// An attempt is counted before anything is computed.
async fn try_once(
    app: &App,
    note: Option<&Note>,
    hasher: Hasher,
    email: &Email,
    password: &str,
) -> Result<AccountRecord, ApiError> {
    let identity = email.identity();
    let attempt = attempts::take(app, identity).await?;
    let account = app.registry.account(&email.0).await?;
    let known = account.as_ref().map_or(Known::Nobody, |account| Known::Hash(account.password_hash.clone()));
    let compared = hasher.compare(password, known).await?;
    let Some(mut account) = account.filter(|_| compared != Compared::Other) else {
        failed(app, note, identity, attempt).await;
        return Err(ApiError::login_failed("not an account and its password"));
    };
    attempts::succeed(app, identity, attempt).await?;
    if let Compared::Outdated(hash) = compared
        && app.registry.replace_password(&account.email, &account.password_hash, &hash).await?
    {
        account.password_hash = hash;
    }
    Ok(account)
}

async fn failed(app: &App, note: Option<&Note>, identity: Hash, attempt: Attempt) {
    let user = &stand_in(identity);
    let event = |kind| Event { kind, user, device: None, space: None, detail: None };
    audit::record(app, note, event(Kind::SignInFailed)).await;
    if attempt.blocks {
        audit::record(app, note, event(Kind::SignInBlocked)).await;
    }
}

#[cfg(test)]
mod tests;
