//! Accounts, devices and shared spaces.

use std::sync::{Arc, Mutex};

use sync_core::id::{DeviceId, SpaceId};

use super::background::blocking;
use super::error::RejoinError;
use super::http::trust;
use super::session::{CredentialsStore, Session};
use crate::client::account::{self, AccountError, CompanionCode, NewDevice, Proof};
use crate::client::lock;

/// Who somebody is.
#[derive(Clone, uniffi::Enum)]
pub enum SignInProof {
    /// The owner of an account of the server's own.
    Password {
        /// Its address.
        email: String,
        /// Its password.
        password: String,
    },
    /// Whom a configured OpenID provider names.
    IdToken {
        /// Its ID token.
        token: String,
        /// The nonce that the sign-in was begun with, where there was one.
        nonce: Option<String>,
    },
}

/// A device that is to be registered.
#[derive(Debug, Clone, uniffi::Record)]
pub struct NewAccountDevice {
    /// What its owner calls it, 1 to 100 characters.
    pub name: String,
    /// `ios`, `android`, `macos`, `windows`, `linux`, `web` or another word.
    pub platform: String,
    /// The app's version, such as `2.4.1`.
    pub app_version: String,
    /// The device of the store that is there from before, so that it goes on where it was.
    #[uniffi(default = None)]
    pub device: Option<DeviceId>,
}

/// What a member of a space may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Role {
    /// Read.
    Reader,
    /// Read and write.
    Writer,
    /// That, and decide who else may.
    Owner,
}

/// A space that the user may enter.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct SpaceInfo {
    /// Its id.
    pub space: SpaceId,
    /// What the user may do there.
    pub role: Role,
    /// Its name; the personal space has none.
    pub name: Option<String>,
}

/// Who may enter a space.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Member {
    /// The user.
    pub user: String,
    /// What it is called.
    pub display_name: Option<String>,
    /// What it may do.
    pub role: Role,
}

/// An invitation, which is shown this once.
#[derive(Clone, uniffi::Record)]
pub struct Invitation {
    /// By which it can be taken back.
    pub invite: String,
    /// Whoever has it joins.
    pub token: String,
    /// The token in a link, where the server has an address for them.
    pub link: Option<String>,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// An invitation that can still be accepted.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct OpenInvitation {
    /// By which it can be taken back.
    pub invite: String,
    /// What whoever accepts may do.
    pub role: Role,
    /// Who invited.
    pub by: String,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A device of the user.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Device {
    /// Its id.
    pub device: DeviceId,
    /// What its owner calls it.
    pub name: String,
    /// What it runs.
    pub platform: String,
    /// The app's version when it was seen last.
    pub app_version: String,
    /// When that was, in milliseconds since 1970, by the server's clock.
    pub seen_ms: u64,
    /// Whether it is signed in.
    pub signed_in: bool,
    /// Whether it is this one.
    pub current: bool,
}

/// The account routes of a server.
#[derive(uniffi::Object)]
pub struct Account {
    account: account::Account,
}

/// A companion without a keyboard that waits to be let in: it shows `user_code` or the page's address.
#[derive(uniffi::Object)]
pub struct Companion {
    account: account::Account,
    code: Mutex<CompanionCode>,
    device: NewDevice,
}

#[uniffi::export]
impl Account {
    /// The account routes of the server at an address, for somebody who is not signed in yet. Later ones come from a session.
    #[uniffi::constructor]
    pub fn new(server: &str) -> Result<Arc<Self>, RejoinError> {
        Ok(Self::of(account::Account::new(server)?))
    }

    /// The same for a server that must have one of those keys, as in `OpenOptions.pins`, or a certificate of one of those
    /// authorities (in DER) besides the system's. Sessions that begin here hold to it; `Session.resume_pinned` has to be told
    /// again.
    #[uniffi::constructor]
    pub fn pinned(server: &str, pins: Vec<String>, roots: Vec<Vec<u8>>) -> Result<Arc<Self>, RejoinError> {
        Ok(Self::of(account::Account::new(server)?.trust(trust(&pins, roots)?)))
    }

    /// Asks for an account. It is answered alike whether the address has one already or not: signing in tells.
    pub async fn sign_up(&self, email: String, password: String, display_name: String) -> Result<(), RejoinError> {
        self.ask(move |account| account.sign_up(&email, &password, &display_name)).await
    }

    /// Signs a device in, and keeps what signs it in with the app.
    pub async fn sign_in(
        &self,
        proof: SignInProof,
        device: NewAccountDevice,
        store: Arc<dyn CredentialsStore>,
    ) -> Result<Arc<Session>, RejoinError> {
        let credentials = self.ask(move |account| account.sign_in(proof.into(), device.into())).await?;
        let trust = self.account.trusts();
        blocking(move || Session::begin(store, credentials, trust)).await
    }

    /// The same, and keeps it in a file that only its owner can read.
    pub async fn sign_in_to_file(
        &self,
        proof: SignInProof,
        device: NewAccountDevice,
        path: String,
    ) -> Result<Arc<Session>, RejoinError> {
        let credentials = self.ask(move |account| account.sign_in(proof.into(), device.into())).await?;
        let trust = self.account.trusts();
        blocking(move || Session::begin_in_file(path, credentials, trust)).await
    }

    /// Begins to sign in a companion (RFC 8628).
    pub async fn begin_companion(
        &self,
        client_id: String,
        device: NewAccountDevice,
    ) -> Result<Arc<Companion>, RejoinError> {
        let code = self.ask(move |account| account.begin_companion(&client_id)).await?;
        let companion = Companion { account: self.account.clone(), code: Mutex::new(code), device: device.into() };
        Ok(Arc::new(companion))
    }

    /// Lets in the companion that shows this code, or says no to it.
    pub async fn approve_companion(&self, user_code: String, approve: bool) -> Result<(), RejoinError> {
        self.ask(move |account| account.approve_companion(&user_code, approve)).await
    }

    /// The user's devices, the oldest first.
    pub async fn devices(&self) -> Result<Vec<Device>, RejoinError> {
        Ok(self.ask(account::Account::devices).await?.into_iter().map(Into::into).collect())
    }

    /// Gives a device another name.
    pub async fn rename_device(&self, device: DeviceId, name: String) -> Result<(), RejoinError> {
        self.ask(move |account| account.rename_device(device, &name)).await
    }

    /// Cuts a device off for good.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), RejoinError> {
        self.ask(move |account| account.revoke_device(device)).await
    }

    /// The spaces that the user may enter.
    pub async fn spaces(&self) -> Result<Vec<SpaceInfo>, RejoinError> {
        Ok(self.ask(account::Account::spaces).await?.into_iter().map(Into::into).collect())
    }

    /// Makes a space that the user owns.
    pub async fn create_space(&self, name: String) -> Result<SpaceInfo, RejoinError> {
        Ok(self.ask(move |account| account.create_space(&name)).await?.into())
    }

    /// Deletes a space for good, as its owner. What devices have of it stays theirs, until `remove_space`.
    pub async fn delete_space(&self, space: SpaceId) -> Result<(), RejoinError> {
        self.ask(move |account| account.delete_space(space)).await
    }

    /// Deletes the user's account for good, upon its password: the personal space, the spaces that nobody else is in, all
    /// memberships and all devices. The session is over then; the store on this device stays, until the app removes it.
    /// `Invalid` where others are in a space that nobody else owns: hand it over or delete it first.
    pub async fn delete_account(&self, password: String) -> Result<(), RejoinError> {
        self.ask(move |account| account.delete(&password)).await
    }

    /// Who may enter a space.
    pub async fn members(&self, space: SpaceId) -> Result<Vec<Member>, RejoinError> {
        Ok(self.ask(move |account| account.members(space)).await?.into_iter().map(Into::into).collect())
    }

    /// Gives a member another role.
    pub async fn set_role(&self, space: SpaceId, user: String, role: Role) -> Result<(), RejoinError> {
        self.ask(move |account| account.set_role(space, &user, role.into())).await
    }

    /// Takes a member out of a space; oneself: leaves it.
    pub async fn remove_member(&self, space: SpaceId, user: String) -> Result<(), RejoinError> {
        self.ask(move |account| account.remove_member(space, &user)).await
    }

    /// An invitation that one person can accept, within so many seconds (a week, if none are given).
    #[uniffi::method(default(expires_in_s = None))]
    pub async fn invite(
        &self,
        space: SpaceId,
        role: Role,
        expires_in_s: Option<u64>,
    ) -> Result<Invitation, RejoinError> {
        let made = self.ask(move |account| account.invite(space, role.into(), expires_in_s)).await?;
        Ok(Invitation {
            invite: made.invite.to_string(),
            token: made.token.0,
            link: made.link.map(|link| link.0),
            expires_ms: made.expires_ms,
        })
    }

    /// A space's invitations that can still be accepted.
    pub async fn invitations(&self, space: SpaceId) -> Result<Vec<OpenInvitation>, RejoinError> {
        Ok(self.ask(move |account| account.invites(space)).await?.into_iter().map(Into::into).collect())
    }

    /// Takes an invitation back.
    pub async fn revoke_invitation(&self, space: SpaceId, invite: String) -> Result<(), RejoinError> {
        self.ask(move |account| account.revoke_invite(space, &invite)).await
    }

    /// Joins the space that an invitation is for.
    pub async fn accept_invitation(&self, token: String) -> Result<SpaceInfo, RejoinError> {
        Ok(self.ask(move |account| account.accept(&token)).await?.into())
    }
}

impl Account {
    pub(super) fn of(account: account::Account) -> Arc<Self> {
        Arc::new(Self { account })
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&account::Account) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, RejoinError> {
        let account = self.account.clone();
        blocking(move || question(&account)).await
    }
}

#[uniffi::export]
impl Companion {
    /// What its user types on a device that is signed in, or on the page.
    pub fn user_code(&self) -> String {
        self.code().user_code
    }

    /// The page.
    pub fn verification_uri(&self) -> String {
        self.code().verification_uri
    }

    /// The page with the code in it, for a QR code.
    pub fn verification_uri_complete(&self) -> Option<String> {
        self.code().verification_uri_complete
    }

    /// How long to wait before the next `poll`, in milliseconds.
    pub fn interval_ms(&self) -> u64 {
        self.code().interval.as_millis() as u64
    }

    /// Whether it was let in: then it is signed in, and kept with the app. Nothing if not yet.
    pub async fn poll(&self, store: Arc<dyn CredentialsStore>) -> Result<Option<Arc<Session>>, RejoinError> {
        let (account, device, mut code) = (self.account.clone(), self.device.clone(), self.code());
        let asked = blocking(move || Ok::<_, RejoinError>((account.poll_companion(&mut code, &device), code))).await?;
        let (answer, code) = asked;
        *lock(&self.code) = code;
        let trust = self.account.trusts();
        match answer? {
            Some(credentials) => blocking(move || Session::begin(store, credentials, trust)).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Companion {
    fn code(&self) -> CompanionCode {
        lock(&self.code).clone()
    }
}

impl From<SignInProof> for Proof {
    fn from(proof: SignInProof) -> Self {
        match proof {
            SignInProof::Password { email, password } => Self::Password { email, password: password.as_str().into() },
            SignInProof::IdToken { token, nonce } => Self::IdToken { token: token.as_str().into(), nonce },
        }
    }
}

impl From<NewAccountDevice> for NewDevice {
    fn from(new: NewAccountDevice) -> Self {
        let NewAccountDevice { name, platform, app_version, device } = new;
        Self { device, name, platform, app_version, public_key: None }
    }
}

impl From<Role> for account::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Reader => Self::Reader,
            Role::Writer => Self::Writer,
            Role::Owner => Self::Owner,
        }
    }
}

impl From<account::Role> for Role {
    fn from(role: account::Role) -> Self {
        match role {
            account::Role::Reader => Self::Reader,
            account::Role::Writer => Self::Writer,
            account::Role::Owner => Self::Owner,
        }
    }
}

impl From<account::SpaceOfCaller> for SpaceInfo {
    fn from(space: account::SpaceOfCaller) -> Self {
        Self { space: space.space, role: space.role.into(), name: space.name }
    }
}

impl From<account::Member> for Member {
    fn from(member: account::Member) -> Self {
        Self { user: member.user, display_name: member.display_name, role: member.role.into() }
    }
}

impl From<account::OpenInvite> for OpenInvitation {
    fn from(open: account::OpenInvite) -> Self {
        Self { invite: open.invite.to_string(), role: open.role.into(), by: open.by, expires_ms: open.expires_ms }
    }
}

impl From<account::DeviceOfCaller> for Device {
    fn from(device: account::DeviceOfCaller) -> Self {
        Self {
            device: device.device,
            name: device.name,
            platform: device.platform,
            app_version: device.app_version,
            seen_ms: device.seen_ms,
            signed_in: device.signed_in,
            current: device.current,
        }
    }
}
