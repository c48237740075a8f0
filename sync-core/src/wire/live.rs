//! Frames of the live connection, `/v1/live`: what `POST /v1/sync` exchanges, and what only a lasting connection can say.
//! Each is one binary WebSocket message in msgpack. The client speaks first, with [`LiveRequest::Hello`].

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_bytes::ByteBuf;

use super::{
    ErrorCode, ErrorResponse, FrameError, Page, Pull, PullAnswer, PushAnswer, SnapshotPart, SnapshotWish, decode,
};
use crate::feed::Run;
use crate::id::{DeviceId, SpaceId};
use crate::limits;
use crate::log::Cursor;

/// An access token. Its text is not in its `Debug` form, so that no log shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccessToken(pub String);

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessToken")
    }
}

/// What a client says.
// A frame is handed on at once; few exist at a time, and most are of the large kind.
#[expect(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LiveRequest {
    /// Opens the conversation; anything else before it ends the connection.
    Hello {
        /// [`SCHEMA`](super::SCHEMA).
        schema: u16,
        /// The access token, unless the upgrade carried it as `Authorization: Bearer …`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<AccessToken>,
    },
    /// A push, a pull, or both, of one space, as [`SyncRequest`](super::SyncRequest). Answered by
    /// [`LiveResponse::Answer`] or [`LiveResponse::Refused`] with the same id.
    Sync {
        /// Names the request among those of this connection.
        id: u64,
        /// Which space.
        space: SpaceId,
        /// The front of the outbox, or what follows a run that is still under way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        push: Option<Run>,
        /// A wish for a page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pull: Option<Pull>,
        /// Whether the log is to be followed from the page on: what comes after it then comes by itself, as
        /// [`LiveResponse::Page`]. Needs a `pull`; begins anew where the space was followed already.
        #[serde(default, skip_serializing_if = "is_false")]
        subscribe: bool,
        /// A part of a snapshot that was too large for its page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<SnapshotWish>,
    },
    /// Follows a space no longer, and leaves it.
    Unsubscribe {
        /// Which space.
        space: SpaceId,
    },
    /// Shows oneself to whoever follows a space: a name, a colour, where the cursor is. The engine does not look inside.
    Presence {
        /// A space that this connection follows.
        space: SpaceId,
        /// What to show, or `None` to leave.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<ByteBuf>,
        /// How long it holds if nothing follows; the server's limit bounds it.
        #[serde(default)]
        ttl_ms: u32,
    },
    /// A newer access token, of the same user and device.
    Token {
        /// The token.
        token: AccessToken,
    },
    /// Is anybody there?
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
}

/// What the server says.
// As above.
#[expect(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveResponse {
    /// The first frame: the connection is open.
    Hello(Welcome),
    /// The answer to a [`LiveRequest::Sync`].
    Answer {
        /// The request's.
        id: u64,
        /// The request's.
        space: SpaceId,
        /// What became of the push.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        push: Option<PushAnswer>,
        /// The page that was asked for; on a push to a space that is followed also, unasked, what continues the log.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pull: Option<PullAnswer>,
        /// The part of a snapshot that was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<SnapshotPart>,
    },
    /// A request was refused as a whole and consumed nothing; the connection goes on. With a space and no id: the user may
    /// not enter that space any more, and it is followed no longer. With neither: why the connection is about to be closed.
    Refused {
        /// The request's, where it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Which space it was about, where it was about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        space: Option<SpaceId>,
        /// Why.
        error: ErrorResponse,
    },
    /// The log of a followed space goes on: it continues what this connection was sent of it before.
    Page {
        /// Which space.
        space: SpaceId,
        /// Its entries, [`Page::more`] where further pages are on their way.
        page: Page,
    },
    /// Comes every [`Welcome::heartbeat_ms`], with where the database has the logs of followed spaces, so far as they have
    /// moved since the last time: who has not got as far by the next one has missed something.
    Beat {
        /// Heads of logs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        heads: Vec<SpaceHead>,
    },
    /// Others show themselves or leave.
    Presence {
        /// Which space.
        space: SpaceId,
        /// Who, and what they show.
        peers: Vec<Peer>,
    },
    /// The answer to [`LiveRequest::Token`]: the new token holds.
    Renewed {
        /// For how long.
        expires_in_ms: u64,
    },
    /// The token runs out soon, and the connection with it unless [`LiveRequest::Token`] comes in time.
    TokenExpires {
        /// In how long.
        in_ms: u64,
    },
    /// The answer to [`LiveRequest::Ping`].
    Pong {
        /// The request's.
        nonce: u64,
    },
}

impl LiveResponse {
    const NAMES: [&str; 9] =
        ["hello", "answer", "refused", "page", "beat", "presence", "renewed", "token_expires", "pong"];

    /// Reads a frame; `None` where it is of a kind that this version does not know, which is to be passed over.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        match decode(bytes) {
            Ok(frame) => Ok(Some(frame)),
            Err(error) => match decode::<Kind>(bytes) {
                Ok(Kind(name)) if !Self::NAMES.contains(&name.as_str()) => Ok(None),
                _ => Err(error),
            },
        }
    }
}

/// The kind of a frame, whatever it carries.
struct Kind(String);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneKey;

        impl<'de> Visitor<'de> for OneKey {
            type Value = Kind;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of one key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
                let Some((name, IgnoredAny)) = map.next_entry()? else { return Err(A::Error::missing_field("kind")) };
                if map.next_key::<IgnoredAny>()?.is_some() {
                    return Err(A::Error::custom("more than one kind"));
                }
                Ok(Kind(name))
            }
        }

        deserializer.deserialize_map(OneKey)
    }
}

/// The server's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u16,
    /// Whom the token names.
    pub device: DeviceId,
    /// How often [`LiveResponse::Beat`] comes. Three of them missed, and the connection is dead.
    pub heartbeat_ms: u64,
    /// How long the token holds.
    pub token_expires_in_ms: u64,
    /// What the server takes.
    pub limits: Limits,
}

/// The server's limits, which clients obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// One frame.
    pub frame_bytes_max: u64,
    /// Payload bytes of one push.
    pub push_bytes_max: u64,
    /// Items of one push.
    pub push_items_max: u64,
    /// One change, encoded.
    pub change_bytes_max: u64,
    /// Operations of one change.
    pub change_operations_max: u64,
    /// Spaces that one connection follows.
    pub spaces_max: u64,
    /// What one presence message shows.
    pub presence_bytes_max: u64,
    /// Presence messages of one connection.
    pub presence_per_second_max: u64,
    /// How long a presence message holds at most.
    pub presence_ttl_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: limits::LIVE_FRAME_BYTES_MAX as u64,
            push_bytes_max: limits::LIVE_PUSH_BYTES_MAX as u64,
            push_items_max: limits::PAGE_CHANGES_MAX as u64,
            change_bytes_max: limits::CHANGE_BYTES_MAX as u64,
            change_operations_max: limits::CHANGE_OPERATIONS_MAX,
            spaces_max: limits::SESSION_SPACES_MAX as u64,
            presence_bytes_max: limits::PRESENCE_BYTES_MAX as u64,
            presence_per_second_max: u64::from(limits::PRESENCE_PER_SECOND_MAX),
            presence_ttl_ms_max: limits::PRESENCE_TTL_MAX_MS,
        }
    }
}

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceHead {
    /// Which space.
    pub space: SpaceId,
    /// The place of its last entry.
    pub head: Cursor,
}

/// Somebody who shows itself in a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Who.
    pub user: String,
    /// On which device.
    pub device: DeviceId,
    /// What it shows; `None` where it has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ByteBuf>,
    /// How long that holds if nothing follows.
    #[serde(default)]
    pub ttl_ms: u32,
}

/// Why the server ended a live connection: the code of the WebSocket's close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// Both are done.
    Normal,
    /// The server stops; come again, to it or to another.
    GoingAway,
    /// A text message; frames are binary.
    NotBinary,
    /// A frame larger than [`Limits::frame_bytes_max`].
    TooLarge,
    /// Not a frame, or not in its place: hello comes first, and once.
    BadFrame,
    /// No valid token, or it ran out, or it is of another user or device than the connection's.
    Unauthorized,
    /// Nothing was heard in time: no hello, or nothing at all for long.
    Idle,
    /// The schema version is not served here, or the app is too old.
    UpgradeRequired,
    /// Too many messages, or too many connections of this user.
    Flood,
    /// The storage cannot be reached; come again.
    Unavailable,
    /// A fault of the server.
    Internal,
}

impl CloseCode {
    const ALL: [Self; 11] = [
        Self::Normal,
        Self::GoingAway,
        Self::NotBinary,
        Self::TooLarge,
        Self::BadFrame,
        Self::Unauthorized,
        Self::Idle,
        Self::UpgradeRequired,
        Self::Flood,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The number in the close frame: RFC 6455's where it has one, else 4000 and the HTTP status that says the same.
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::NotBinary => 1003,
            Self::TooLarge => 1009,
            Self::BadFrame => 4400,
            Self::Unauthorized => 4401,
            Self::Idle => 4408,
            Self::UpgradeRequired => 4426,
            Self::Flood => 4429,
            Self::Internal => 4500,
            Self::Unavailable => 4503,
        }
    }

    /// The code with that number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// What an HTTP request would have been refused with.
    pub const fn as_error(self) -> ErrorCode {
        match self {
            Self::Normal | Self::GoingAway | Self::Idle | Self::Unavailable => ErrorCode::Unavailable,
            Self::NotBinary | Self::BadFrame => ErrorCode::BadFrame,
            Self::TooLarge => ErrorCode::TooLarge,
            Self::Unauthorized => ErrorCode::Unauthorized,
            Self::UpgradeRequired => ErrorCode::UpgradeRequired,
            Self::Flood => ErrorCode::Busy,
            Self::Internal => ErrorCode::Internal,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}
