//! What the session asks of the shell.

use super::answer::Trouble;
use crate::id::SpaceId;
use crate::wire::{SyncRequest, SyncResponse};

/// Something to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Seal what is open in that space and read the front of its outbox; then
    /// [`Event::Collected`](super::Event::Collected).
    Collect {
        /// Which space.
        space: SpaceId,
        /// Payload bytes that the run may hold; one item always fits.
        bytes_max: usize,
    },
    /// Send a request; then [`Event::Answered`](super::Event::Answered) with the same id.
    Send {
        /// Names the request.
        id: u64,
        /// What to send.
        request: Box<SyncRequest>,
    },
    /// Store an answer in one transaction; then [`Event::Stored`](super::Event::Stored).
    Store {
        /// Which space.
        space: SpaceId,
        /// What the server said.
        response: Box<SyncResponse>,
    },
    /// Send [`Event::Timer`](super::Event::Timer) at that time. A later wish replaces an earlier one.
    Wake {
        /// On the clock that `now_ms` comes from.
        at_ms: u64,
    },
    /// Ask the app for a new access token; then [`Event::TokenChanged`](super::Event::TokenChanged).
    RefreshToken,
    /// Tell the app.
    Status(Status),
}

/// How synchronisation stands, for the app to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The server was not reached; it is tried again by itself.
    Offline,
    /// After being offline, a request is under way.
    Connecting,
    /// Changes are going up or coming down.
    Syncing,
    /// Everything is exchanged.
    Idle,
    /// The access token is missing, expired or of another device; edits go on, offline.
    NeedsAuth,
    /// Something that waiting does not mend.
    Error(Trouble),
}
