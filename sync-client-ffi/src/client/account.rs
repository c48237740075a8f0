//! Accounts, devices and shared spaces: who uses the app, on which devices, with whom. Plain requests that block; nothing
//! here is needed for editing, which goes on with no network and after a session has ended.

use std::sync::Arc;

use reqwest::Method;
use serde::de::DeserializeOwned;
use sync_core::id::{DeviceId, DocId, SpaceId};
use sync_core::wire::SCHEMA;
use sync_core::wire::account::{
    AcceptInviteRequest, ApproveDeviceRequest, CreateSpaceRequest, DeleteAccountRequest, DevicesResponse,
    InviteRequest, InvitesResponse, LogoutRequest, MembersResponse, RenameDeviceRequest, SetRoleRequest,
    SpacesResponse,
};

mod attached;
mod credentials;
mod device_key;
mod error;
mod file;
mod refresher;
mod request;
mod tokens;

pub(super) use attached::sync_once;
pub use credentials::{Credentials, Held, Keychain, KeychainError};
pub use error::AccountError;
pub use file::CredentialsFile;
pub use refresher::{Refresher, Standing, StandingSubscription};
pub use sync_core::wire::account::{
    DeletionOnDevice, DeletionResponse, DeviceOfCaller, InviteResponse, Member, NewDevice, OpenInvite, Private, Proof,
    Role, SpaceOfCaller,
};
pub use tokens::CompanionCode;

use super::transport::Trust;
use request::{Call, Failure, Reply, Requests};

/// Tries of one request whose answer was lost; each may take half a minute.
const TRIES_MAX: u32 = 2;

/// The account routes of a server. Cheap to clone.
///
/// ```no_run
/// use sync_client_ffi::account::{Account, CredentialsFile, NewDevice, Proof, Refresher};
/// use sync_client_ffi::Client;
///
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let account = Account::new("https://sync.example.com")?;
/// let proof = Proof::Password { email: "ann@example.com".into(), password: "Correct-Horse-7".into() };
/// let device = NewDevice {
///     device: None, // the store's, if there is one from before
///     name: "Ann's phone".into(),
///     platform: "android".into(),
///     app_version: "1.0.0".into(),
///     public_key: None,
/// };
/// let credentials = account.sign_in(proof, device)?;
/// let refresher = Refresher::begin(CredentialsFile::new("login.json"), credentials)?;
/// let client = Client::builder("notes.rejoin").signed_in(&refresher).open()?; // renews its tokens by itself
/// let family = refresher.account().create_space("Family")?;
/// client.add_space(family.space)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Account {
    requests: Arc<Requests>,
    tokens: Tokens,
}

/// Where an access token comes from.
#[derive(Clone)]
enum Tokens {
    None,
    Fixed(Private),
    Renewed(Refresher),
}

impl Tokens {
    fn token(&self) -> Result<Private, AccountError> {
        match self {
            Self::None => Err(AccountError::NotSignedIn),
            Self::Fixed(token) => Ok(token.clone()),
            Self::Renewed(refresher) => refresher.token(),
        }
    }

    /// Another one than that, which the server did not take.
    fn other_than(&self, refused: &Private) -> Result<Private, AccountError> {
        match self {
            Self::Renewed(refresher) => refresher.other_than(refused),
            Self::None | Self::Fixed(_) => Err(AccountError::SessionEnded),
        }
    }
}

impl Account {
    /// The account routes of the server at an address, for somebody who is not signed in yet.
    pub fn new(server: &str) -> Result<Self, AccountError> {
        Ok(Self { requests: Arc::new(Requests::new(server)?), tokens: Tokens::None })
    }

    /// The same with an access token that came by another way, and is not renewed.
    pub fn with_token(server: &str, token: impl Into<String>) -> Result<Self, AccountError> {
        let tokens = Tokens::Fixed(Private(token.into()));
        Ok(Self { requests: Arc::new(Requests::new(server)?), tokens })
    }

    /// The app that this is part of, for the server to know: as [`ClientBuilder::app`](crate::ClientBuilder::app). A
    /// version that it no longer serves is refused with [`UpgradeRequired`](AccountError::UpgradeRequired).
    pub fn app(self, platform: &str, version: &str) -> Result<Self, AccountError> {
        self.requests.named(platform, version)?;
        Ok(self)
    }

    /// Whom it takes for the server; as [`ClientBuilder::trust`](crate::ClientBuilder::trust). To be said before anything is
    /// asked.
    #[must_use]
    pub fn trust(self, trust: Trust) -> Self {
        self.requests.trust(trust);
        self
    }

    /// What was said of that.
    pub(crate) fn trusts(&self) -> Trust {
        self.requests.trusts()
    }

    fn of(requests: Arc<Requests>, refresher: Refresher) -> Self {
        Self { requests, tokens: Tokens::Renewed(refresher) }
    }

    /// Asks for an account of the server's own. It is answered alike whether the address has one already or not:
    /// [`sign_in`](Self::sign_in) tells.
    pub fn sign_up(&self, email: &str, password: &str, display_name: &str) -> Result<(), AccountError> {
        self.requests.sign_up(email, password.into(), display_name)
    }

    /// Registers a device for whoever the proof is of, and signs it in. Whoever has a store already passes its device
    /// ([`Client::device`](crate::Client::device)), so that it goes on where it was;
    /// [`DeviceRevoked`](AccountError::DeviceRevoked) then means that it cannot, and another store is needed. A device without
    /// a public key gets a key pair, whose secret half is among the credentials: with it, answers may be lost for as long as
    /// they like.
    pub fn sign_in(&self, proof: Proof, device: NewDevice) -> Result<Credentials, AccountError> {
        self.requests.sign_in(proof, device)
    }

    /// The tokens after these. A [`Refresher`] does it in time, one at a time, and keeps what comes; without one, save the
    /// new ones before they are used: the old ones are good for nothing half a minute later.
    pub fn refresh(&self, old: &Credentials) -> Result<Credentials, AccountError> {
        self.requests.renew(old).map_err(ended)
    }

    /// Begins to sign in a companion without a keyboard (RFC 8628): it shows the code, and asks
    /// [`poll_companion`](Self::poll_companion) now and then.
    pub fn begin_companion(&self, client_id: &str) -> Result<CompanionCode, AccountError> {
        self.requests.begin_companion(client_id)
    }

    /// Whether the companion was let in; `None` if not yet. Wait [`interval`](CompanionCode::interval) before each call.
    pub fn poll_companion(
        &self,
        code: &mut CompanionCode,
        device: &NewDevice,
    ) -> Result<Option<Credentials>, AccountError> {
        self.requests.poll_companion(code, device)
    }

    /// Lets in the companion that shows this code, or says no to it.
    pub fn approve_companion(&self, user_code: &str, approve: bool) -> Result<(), AccountError> {
        let frame = ApproveDeviceRequest { schema: SCHEMA, user_code: user_code.into(), approve };
        self.done(Call::post(&["v1", "oauth", "device", "approve"], &frame)?.once())
    }

    /// The user's devices, the oldest first.
    pub fn devices(&self) -> Result<Vec<DeviceOfCaller>, AccountError> {
        Ok(self.ask::<DevicesResponse>(Call::get(&["v1", "devices"]))?.devices)
    }

    /// Gives a device another name.
    pub fn rename_device(&self, device: DeviceId, name: &str) -> Result<(), AccountError> {
        let frame = RenameDeviceRequest { schema: SCHEMA, name: name.to_owned() };
        let id = device.to_string();
        self.done(Call::new(Method::PATCH, &["v1", "devices", &id]).frame(&frame)?)
    }

    /// Cuts a device off for good, within a second wherever it is connected.
    pub fn revoke_device(&self, device: DeviceId) -> Result<(), AccountError> {
        self.done(Call::delete(&["v1", "devices", &device.to_string()]))
    }

    /// Ends this device's session, or those of all the user's devices, and forgets the tokens here. Stores stay as they
    /// are.
    pub fn log_out(&self, all: bool) -> Result<(), AccountError> {
        let told = self.done(Call::post(&["v1", "logout"], &LogoutRequest { schema: SCHEMA, all })?.once());
        match told {
            // Who is out already is out.
            Err(AccountError::SessionEnded | AccountError::DeviceRevoked) if !all => {}
            other => other?,
        }
        if let Tokens::Renewed(refresher) = &self.tokens {
            refresher.forget()?;
        }
        Ok(())
    }

    /// The spaces that the user may enter.
    pub fn spaces(&self) -> Result<Vec<SpaceOfCaller>, AccountError> {
        Ok(self.ask::<SpacesResponse>(Call::get(&["v1", "spaces"]))?.spaces)
    }

    /// Makes a space that the user owns.
    pub fn create_space(&self, name: &str) -> Result<SpaceOfCaller, AccountError> {
        let frame = CreateSpaceRequest { schema: SCHEMA, name: name.to_owned() };
        self.ask(Call::post(&["v1", "spaces"], &frame)?.once())
    }

    /// Deletes a space for good, as its owner: nobody may enter it any more, and the server purges what it has of it. What
    /// devices have of it stays theirs, until [`remove_space`](crate::Client::remove_space).
    pub fn delete_space(&self, space: SpaceId) -> Result<(), AccountError> {
        match self.done(Call::delete(&["v1", "spaces", &space.to_string()])) {
            // The first answer was lost, or another owner was quicker.
            Err(AccountError::SpaceDeleted) => Ok(()),
            other => other,
        }
    }

    /// What became of a document's deletion, for owners: which devices have it, and whether the server has purged its content.
    pub fn deletion(&self, space: SpaceId, doc: DocId) -> Result<DeletionResponse, AccountError> {
        let (space, doc) = (space.to_string(), doc.to_string());
        self.ask(Call::get(&["v1", "spaces", &space, "deletions", &doc]))
    }

    /// Deletes the user's account for good, upon its password, with the personal space, the spaces that nobody else is in, all
    /// memberships and all devices, and forgets the tokens here. Stores on devices stay as they are: who does not want them any
    /// more removes their files, after [`leave`](crate::Client::leave) or instead of it.
    ///
    /// [`LastOwner`](AccountError::LastOwner) where others are in a space that nobody else owns: then nothing was done.
    pub fn delete(&self, password: &str) -> Result<(), AccountError> {
        let frame = DeleteAccountRequest { schema: SCHEMA, password: password.into() };
        self.done(Call::post(&["v1", "accounts", "delete"], &frame)?.once())?;
        if let Tokens::Renewed(refresher) = &self.tokens {
            refresher.forget()?;
        }
        Ok(())
    }

    /// Who may enter a space.
    pub fn members(&self, space: SpaceId) -> Result<Vec<Member>, AccountError> {
        let id = space.to_string();
        Ok(self.ask::<MembersResponse>(Call::get(&["v1", "spaces", &id, "members"]))?.members)
    }

    /// Gives a member another role.
    pub fn set_role(&self, space: SpaceId, user: &str, role: Role) -> Result<(), AccountError> {
        let id = space.to_string();
        let frame = SetRoleRequest { schema: SCHEMA, role };
        self.done(Call::new(Method::PUT, &["v1", "spaces", &id, "members", user]).frame(&frame)?)
    }

    /// Takes a member out of a space; oneself: leaves it.
    pub fn remove_member(&self, space: SpaceId, user: &str) -> Result<(), AccountError> {
        self.done(Call::delete(&["v1", "spaces", &space.to_string(), "members", user]))
    }

    /// An invitation that one person can accept, within so many seconds (a week, if none are given). Whoever has its
    /// token can: it is shown this once.
    pub fn invite(&self, space: SpaceId, role: Role, expires_in: Option<u64>) -> Result<InviteResponse, AccountError> {
        let id = space.to_string();
        let frame = InviteRequest { schema: SCHEMA, role, expires_in };
        self.ask(Call::post(&["v1", "spaces", &id, "invites"], &frame)?.once())
    }

    /// A space's invitations that can still be accepted.
    pub fn invites(&self, space: SpaceId) -> Result<Vec<OpenInvite>, AccountError> {
        let id = space.to_string();
        Ok(self.ask::<InvitesResponse>(Call::get(&["v1", "spaces", &id, "invites"]))?.invites)
    }

    /// Takes an invitation back, by the id that it goes by ([`OpenInvite::invite`]).
    pub fn revoke_invite(&self, space: SpaceId, invite: &str) -> Result<(), AccountError> {
        self.done(Call::delete(&["v1", "spaces", &space.to_string(), "invites", invite]))
    }

    /// Joins the space that an invitation is for.
    pub fn accept(&self, token: &str) -> Result<SpaceOfCaller, AccountError> {
        let frame = AcceptInviteRequest { schema: SCHEMA, token: token.into() };
        self.ask(Call::post(&["v1", "invites", "accept"], &frame)?.once())
    }

    fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, AccountError> {
        self.authorized(&call)?.frame()
    }

    fn done(&self, call: Call<'_>) -> Result<(), AccountError> {
        self.authorized(&call).map(drop)
    }

    /// Asks with a token; with another one if the server does not take the first.
    fn authorized(&self, call: &Call<'_>) -> Result<Reply, AccountError> {
        let token = self.tokens.token()?;
        match self.patiently(&call.authorized(&token.0)) {
            Err(Failure::Refused(refusal)) if refusal.ends_session() => {
                // Whether it was the session or the access token alone that ended, the server says to the next question.
                let token = self.tokens.other_than(&token).map_err(|error| match error {
                    AccountError::SessionEnded => AccountError::from(refusal),
                    other => other,
                })?;
                Ok(self.patiently(&call.authorized(&token.0))?)
            }
            other => Ok(other?),
        }
    }

    fn patiently(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        let mut tries = 1;
        loop {
            match self.requests.call(call) {
                Err(Failure::Lost) if tries < TRIES_MAX && call.bears_repetition() => tries += 1,
                answer => return answer,
            }
        }
    }
}

/// On the token route, whatever the server calls it, a refresh token that is not good means that the session ended.
fn ended(failure: Failure) -> AccountError {
    match failure {
        Failure::Refused(refusal) if refusal.ends_session() => match AccountError::from(refusal) {
            AccountError::DeviceRevoked => AccountError::DeviceRevoked,
            _ => AccountError::SessionEnded,
        },
        other => other.into(),
    }
}
