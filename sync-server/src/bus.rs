//! How nodes tell each other what happened: what was committed, who shows itself, whose access changed. It is a shortcut
//! past the database and may lose messages: whoever listens finds out from the database.

use std::sync::Weak;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sync_core::id::{DeviceId, SpaceId};
use sync_core::log::{Cursor, Receipt};
use sync_core::wire::Entries;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod memory;
mod publisher;
pub mod redis;

pub use publisher::Publisher;

/// What an entry takes in memory besides its payload, about.
pub(crate) const ENTRY_BYTES: usize = 160;

/// Where that is told which concerns no space: every node joins it. It is no UUID that anybody mints.
pub const CONTROL: SpaceId = SpaceId::from_bytes(*b"rejoin control  ");

/// What travels between nodes. A node passes over kinds that it does not know: newer nodes run beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusMessage {
    /// A log goes on.
    Log(Notice),
    /// Somebody shows itself, or leaves.
    Presence(Presence),
    /// What somebody may do in a space has changed.
    Access(Access),
    /// A device was revoked, or a session ended.
    Cut(Cut),
}

impl BusMessage {
    /// Which space it is about.
    pub fn space(&self) -> SpaceId {
        match self {
            Self::Log(notice) => notice.space,
            Self::Presence(presence) => presence.space,
            Self::Access(access) => access.space,
            Self::Cut(_) => CONTROL,
        }
    }
}

/// What one commit added to a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Which space.
    pub space: SpaceId,
    /// Where its log ended before.
    pub from: Cursor,
    /// Where it ends now.
    pub next: Cursor,
    /// The receipt for `next`.
    pub receipt: Receipt,
    /// What was added, whole; left out where it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<Entries>,
    /// When that was; nodes of before do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_ms: Option<u64>,
}

/// Who shows what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// In which space.
    pub space: SpaceId,
    /// The connection that says so: an earlier one of the same device cannot take it back.
    pub session: u64,
    /// Who.
    pub user: String,
    /// On which device.
    pub device: DeviceId,
    /// What it shows; `None` where it leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ByteBuf>,
    /// How long that holds if nothing follows.
    pub ttl_ms: u32,
}

/// Whose access changed: what it is now is in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// To which space.
    pub space: SpaceId,
    /// Whose.
    pub user: String,
}

/// Who was cut off: what is left of it is in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Whose.
    pub user: String,
    /// Which device; all of the user's where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
}

/// Who is told, on one node. It is called from the middle of other work: it neither waits nor calls the bus.
pub trait Listener: Send + Sync + 'static {
    /// A message of a space that was joined. Messages that one node publishes on one space come in their order.
    fn hear(&self, message: BusMessage);

    /// Messages may have been lost: of that space, or of any.
    fn lost(&self, space: Option<SpaceId>);
}

/// One node's end of the bus. None of its methods but [`close`](Bus::close) waits: what cannot be sent at once is dropped.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Says who hears what is published from now on. Called once.
    fn listen(&self, listener: Weak<dyn Listener>);

    /// Messages of this space are wanted. Where it takes time until they come, [`Listener::lost`] is called when they do.
    fn join(&self, space: SpaceId);

    /// They are not wanted any more.
    fn leave(&self, space: SpaceId);

    /// Tells every node that has joined the message's space. This node's own listener has heard it, if at all, when this
    /// returns.
    fn publish(&self, message: BusMessage);

    /// Whether messages get through just now. [`Listener::lost`] is called when that changes.
    fn is_up(&self) -> bool {
        true
    }

    /// Sends what was published before, where that takes little time, and ends.
    async fn close(&self) {}
}
