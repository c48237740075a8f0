//! Frames: what client and server say to each other, and their version. msgpack with named fields, or JSON of the same
//! types. An unknown field is refused on requests and ignored on responses.

use serde::{Deserialize, Serialize};

use crate::code::RejectCode;
use crate::feed::{FeedHead, Run};
use crate::id::{DeviceId, Hash, SpaceId};
use crate::log::{Cursor, Receipt};
use crate::version::FeedHeads;

pub mod account;
mod codec;
mod entries;
mod heal;
mod live;
mod pack;
mod run;
mod runs;
mod snapshot;
mod strict;
mod times;

pub use codec::{FrameError, at_fault, at_fault_json, decode, decode_json, encode, encode_json};
pub use entries::{Entries, PageEntry};
pub use heal::{HandedBack, HealRequest, HealResponse};
pub use live::{AccessToken, CloseCode, Limits, LiveRequest, LiveResponse, Peer, SpaceHead, Welcome};
pub use runs::Runs;
pub use snapshot::{Bytes, Snapshot, SnapshotPart, SnapshotWish};
pub use times::Times;

/// The version of the frames. The first field of each; a server answers in the version it was asked in.
pub const SCHEMA: u16 = 1;

/// `POST /v1/sync`: a push, a pull, or both in one exchange, of one space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncRequest {
    /// [`SCHEMA`].
    pub schema: u16,
    /// Which space.
    pub space: SpaceId,
    /// What the device has written and the server has not acknowledged, or the first part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Run>,
    /// What the device wants to read. The push is taken first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<Pull>,
    /// A part of a snapshot that was too large for its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotWish>,
}

/// A wish for a page of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pull {
    /// The reader's place; absent for the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "strict::cursor")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<strict::StrictCursor>))]
    pub since: Option<Cursor>,
    /// Payload bytes that the page may hold, and a 128th of that many entries; the server's limits bound both. At least one
    /// entry always comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u32>,
    /// Whether the device wants its own payloads back; it has them, unless it was rolled back.
    #[serde(default)]
    pub own: bool,
    /// Whether the answer should carry the server's version vector when the page reaches the end of the log.
    #[serde(default)]
    pub version: bool,
    /// Says that the reader takes snapshots in place of payloads, and up to which `seq` it has the documents: where its
    /// present catch-up began. From 0 on it gets a snapshot wherever that is shorter; further on only of documents whose
    /// payloads behind that place are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<u64>,
}

/// The answer to [`SyncRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncResponse {
    /// [`SCHEMA`].
    pub schema: u16,
    /// What became of the push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushAnswer>,
    /// The page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<PullAnswer>,
    /// The part of a snapshot that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotPart>,
}

/// What became of a push.
// Tagged from outside: serde reads an inner tag through a buffer that forgets whether the format is binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PushAnswer {
    /// The run joined the feed. It may have stopped early: then `need` is not empty.
    Taken {
        /// What is acknowledged now.
        acked: FeedHead,
        /// One for each item of the run, from its first, as far as it was taken.
        results: Vec<ItemResult>,
        /// Dependencies of the first item without a result, which the server does not know.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        need: Vec<Hash>,
    },
    /// The run ends before what is acknowledged.
    Behind {
        /// What is acknowledged.
        acked: FeedHead,
    },
    /// The run begins after what is acknowledged.
    Gap {
        /// What is acknowledged.
        acked: FeedHead,
    },
    /// The run is of another life of this feed.
    Forked {
        /// What is acknowledged.
        acked: FeedHead,
    },
}

impl PushAnswer {
    /// What the server has acknowledged of the device's feed.
    pub fn acked(&self) -> FeedHead {
        match self {
            Self::Taken { acked, .. } | Self::Behind { acked } | Self::Gap { acked } | Self::Forked { acked } => *acked,
        }
    }
}

/// What became of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ItemResult {
    /// Its place in the log.
    pub seq: u64,
    /// What was decided.
    pub status: ItemStatus,
    /// Why, where it was rejected (now or, for a duplicate, then).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<RejectCode>,
}

/// What was decided about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ItemStatus {
    /// It is in the log and takes effect.
    Applied,
    /// It was in the log already; `code` tells whether it was refused there.
    Duplicate,
    /// It is in the log without effect.
    Rejected,
}

/// The answer to a pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PullAnswer {
    /// Entries that follow the reader's cursor without a hole.
    Page(Page),
    /// The server's log does not hold the reader's cursor: it lost its newest entries.
    Diverged {
        /// Where the server's log ends.
        head: Cursor,
    },
}

/// A page of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page {
    /// The entries, in log order.
    pub entries: Entries,
    /// The reader's place after them.
    pub next: Cursor,
    /// Whether the log goes on.
    pub more: bool,
    /// The server's receipt for `next`.
    pub receipt: Receipt,
    /// At the end of the log, if asked for: how far every feed has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<FeedHeads>,
    /// Snapshots that cover entries up to one of this page, in the order of the log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<Snapshot>,
    /// When the server took the entries, by its clock: for people alone. Earlier servers do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<u64>>))]
    pub times: Option<Times>,
}

/// The answer to `GET /v1/spaces/{id}/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionResponse {
    /// [`SCHEMA`].
    pub schema: u16,
    /// Which space.
    pub space: SpaceId,
    /// Where its log ends.
    pub head: Cursor,
    /// What is acknowledged of the caller's own feed.
    pub acked: FeedHead,
    /// The caller.
    pub device: DeviceId,
    /// How far every feed has come.
    pub version: FeedHeads,
}

/// Any answer that is not the one hoped for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorResponse {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what happened and what to do. Never text of a library.
    pub message: String,
    /// For whoever reads the server's logs.
    pub request_id: String,
    /// How long to wait before the next try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Where the app is updated, if it is too old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_url: Option<String>,
}

/// Why a request as a whole was refused. It consumed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ErrorCode {
    /// The body is not a frame.
    BadFrame,
    /// The frame's schema version is not served here.
    UnsupportedSchema,
    /// No valid token.
    Unauthorized,
    /// Neither an e-mail address and its password, nor a proof of another issuer, that is known here.
    LoginFailed,
    /// Nobody has let this companion in yet: ask again.
    Pending,
    /// This session has ended: sign in again.
    SessionEnded,
    /// The device was revoked: it has to be registered anew.
    DeviceRevoked,
    /// It does not exist, or the caller may not know that it does.
    NotFound,
    /// The space was deleted, and the caller was a member: it does not come back.
    SpaceDeleted,
    /// The caller's role does not allow it.
    Forbidden,
    /// A field's value is out of its range; the message names the field.
    Invalid,
    /// A space keeps at least one owner.
    LastOwner,
    /// There are as many as there may be.
    TooMany,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The run is not of the device that the token names.
    WrongDevice,
    /// The receipt does not prove that this server once had what is handed back.
    ReceiptRefused,
    /// The body or the run is larger than allowed.
    TooLarge,
    /// Neither msgpack nor JSON.
    UnsupportedMediaType,
    /// Too much at once; come again.
    Busy,
    /// The caller called too often; come again when it says.
    RateLimited,
    /// The idempotency key stands for another request.
    IdempotencyMismatch,
    /// The request with this idempotency key is still worked on; come again.
    IdempotencyInFlight,
    /// The server cannot reach its storage, or is shutting down; come again.
    Unavailable,
    /// The app is too old.
    UpgradeRequired,
    /// A fault of the server.
    Internal,
    /// A code that this client does not know yet.
    #[serde(other)]
    Unknown,
}
