//! Frames about people, devices, spaces and members. Like all frames they are msgpack or JSON; those whose names OAuth has
//! fixed (RFC 6749) bear them.

use serde::{Deserialize, Serialize};

use crate::id::{DeviceId, SpaceId};
use crate::ledger;

/// A text that no log shows: a password, a token, a code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct Private(pub String);

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Private")
    }
}

impl From<&str> for Private {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// `POST /v1/accounts`: an account of our own. The answer is always the same, so that nobody learns which addresses have one:
/// signing in tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignUpRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// An e-mail address of at most 255 bytes.
    pub email: String,
    /// At least 12 characters, an upper-case letter, a digit and a special character among them.
    pub password: Private,
    /// What others call this person, 1 to 100 characters.
    pub display_name: String,
}

/// The answer to [`SignUpRequest`], whatever came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignUpResponse {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
}

/// `POST /v1/accounts/password`: another password. It ends all other sessions of the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangePasswordRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// The one until now.
    pub old_password: Private,
    /// The one from now on, as for signing up.
    pub new_password: Private,
}

/// `POST /v1/accounts/delete`: the account, its personal space, its memberships and its devices go, for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeleteAccountRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// The account's.
    pub password: Private,
}

/// The answer to `GET /v1/spaces/{id}/deletions/{doc}`: what became of a document's deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeletionResponse {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// The entry of the log that deleted it.
    pub seq: u64,
    /// When the server took that, in milliseconds since 1970.
    pub deleted_ms: u64,
    /// Whether nothing of the content is left on the server.
    pub purged: bool,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged_ms: Option<u64>,
    /// The devices that read the space of late, in ascending order.
    pub devices: Vec<DeletionOnDevice>,
}

/// How a device stands to a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeletionOnDevice {
    /// Which device.
    pub device: DeviceId,
    /// Whether it has said that it has the log as far as the deletion.
    pub applied: bool,
    /// When it last said how far it has the log, in milliseconds since 1970.
    pub seen_ms: u64,
}

/// `POST /v1/devices`: registers a device for whoever the proof is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// Who it is for.
    pub proof: Proof,
    /// The device.
    pub device: NewDevice,
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Proof {
    /// The owner of an account here.
    Password {
        /// Its address.
        email: String,
        /// Its password.
        password: Private,
    },
    /// Whom one of the configured OpenID providers names.
    IdToken {
        /// Its ID token.
        token: Private,
        /// The nonce that the sign-in was begun with, where there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonce: Option<String>,
    },
}

/// A device that is to be registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewDevice {
    /// The id that it has had before, so that it keeps its feeds when the same user signs in again. Absent for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<uuid::Uuid>))]
    pub device: Option<DeviceId>,
    /// What its owner calls it, 1 to 100 characters.
    pub name: String,
    /// `ios`, `android`, `macos`, `windows`, `linux`, `web` or another word of a-z, 0-9 and -, at most 32.
    pub platform: String,
    /// The app's version, such as `2.4.1`, at most 32 characters.
    pub app_version: String,
    /// The device's public key (Ed25519, 32 bytes) in base64url without padding, for signed feeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// The answer to [`RegisterRequest`] and of `POST /v1/oauth/token`: RFC 6749, section 5.1, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenResponse {
    /// For `Authorization: Bearer …`; it names the user and the device.
    pub access_token: Private,
    /// `Bearer`.
    pub token_type: String,
    /// How long the access token holds, in seconds.
    pub expires_in: u64,
    /// Good for one refresh, which gives the next.
    pub refresh_token: Private,
    /// How long the refresh token holds if it is not used, in seconds.
    pub refresh_expires_in: u64,
    /// The user.
    pub user: String,
    /// The device.
    #[cfg_attr(feature = "openapi", schema(value_type = uuid::Uuid))]
    pub device: DeviceId,
}

/// The answer to `GET /v1/devices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DevicesResponse {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// The caller's devices, the oldest first; revoked ones are not among them.
    pub devices: Vec<DeviceOfCaller>,
}

/// A device of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceOfCaller {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = uuid::Uuid))]
    pub device: DeviceId,
    /// What its owner calls it.
    pub name: String,
    /// What it runs.
    pub platform: String,
    /// The app's version when it signed in or refreshed last.
    pub app_version: String,
    /// When it was registered, in milliseconds since 1970, by the server's clock.
    pub created_ms: u64,
    /// When it signed in or refreshed last.
    pub seen_ms: u64,
    /// Whether it is signed in.
    pub signed_in: bool,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// `PATCH /v1/devices/{device}`: another name. `DELETE` revokes the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RenameDeviceRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// What its owner calls it from now on, 1 to 100 characters.
    pub name: String,
}

/// `POST /v1/logout`: ends the caller's session, or those of all its user's devices. Devices stay registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogoutRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// Whether it is for all devices.
    #[serde(default)]
    pub all: bool,
}

/// `POST /v1/oauth/device/approve`: a signed-in user lets in the companion that shows this code (RFC 8628).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApproveDeviceRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// Eight letters, with or without a dash, in either case.
    pub user_code: Private,
    /// Whether the user says yes.
    pub approve: bool,
}

/// What a member of a space may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// Pull.
    Reader,
    /// Pull and push.
    Writer,
    /// That, and decide who else may.
    Owner,
}

impl From<ledger::Role> for Role {
    fn from(role: ledger::Role) -> Self {
        match role {
            ledger::Role::Reader => Self::Reader,
            ledger::Role::Writer => Self::Writer,
            ledger::Role::Owner => Self::Owner,
        }
    }
}

impl From<Role> for ledger::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Reader => Self::Reader,
            Role::Writer => Self::Writer,
            Role::Owner => Self::Owner,
        }
    }
}

/// `POST /v1/spaces`: a space, with the caller as its owner. Answered with a [`SpaceOfCaller`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateSpaceRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// What its members call it, 1 to 100 characters.
    pub name: String,
}

/// The answer to `GET /v1/spaces`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpacesResponse {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// In ascending order of their ids.
    pub spaces: Vec<SpaceOfCaller>,
}

/// A space that the caller may enter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpaceOfCaller {
    /// Which space.
    #[cfg_attr(feature = "openapi", schema(value_type = uuid::Uuid))]
    pub space: SpaceId,
    /// What the caller may do there.
    pub role: Role,
    /// What its members call it; absent for a personal space, and for one that was made without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The answer to `GET /v1/spaces/{id}/members`, which every member may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MembersResponse {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// In ascending order of their ids.
    pub members: Vec<Member>,
}

/// A member of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    /// The user's id.
    pub user: String,
    /// What others call this person; absent where nobody has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What it may do.
    pub role: Role,
}

/// `PUT /v1/spaces/{id}/members/{user}`: an owner gives a member another role. `DELETE` removes it, or is how it leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetRoleRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// What the member may do from now on.
    pub role: Role,
}

/// `POST /v1/spaces/{id}/invites`: an owner asks for an invitation that one person can accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InviteRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// What whoever accepts it may do.
    pub role: Role,
    /// How long it holds, in seconds: 60 to 2,592,000 (30 days); absent for 7 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// The answer to [`InviteRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InviteResponse {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// What the invitation goes by, for taking it back.
    pub invite: uuid::Uuid,
    /// What is accepted; it is told this once.
    pub token: Private,
    /// The token in a link, where the server is configured with where such links lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Private>,
    /// Until when it holds, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// The answer to `GET /v1/spaces/{id}/invites`, which owners may ask: those that can still be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InvitesResponse {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// The oldest first.
    pub invites: Vec<OpenInvite>,
}

/// An invitation that nobody has accepted yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenInvite {
    /// What it goes by.
    pub invite: uuid::Uuid,
    /// What whoever accepts it may do.
    pub role: Role,
    /// Who made it.
    pub by: String,
    /// Until when it holds, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// `POST /v1/invites/accept`: joins a space. Answered with a [`SpaceOfCaller`]; an invitation that was used by another, has
/// expired, was taken back or never was is not found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcceptInviteRequest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// The invitation's token.
    pub token: Private,
}
