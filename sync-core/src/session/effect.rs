//! What the session asks of the shell.

use super::answer::Trouble;
use super::event::HealWork;
use crate::id::SpaceId;
use crate::wire::{HealRequest, LiveRequest, Peer, SyncRequest, SyncResponse};

/// Something to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Seal what is open in that space and read its outbox; then [`Event::Collected`](super::Event::Collected).
    Collect {
        /// Which space.
        space: SpaceId,
        /// Payload bytes that the run may hold; one item always fits.
        bytes_max: usize,
        /// Items that it may hold, at least one.
        items_max: usize,
        /// Whether the run begins at the first item that is not acknowledged, or behind what was sent since this was last
        /// set.
        again: bool,
    },
    /// Open a live connection: authenticate, send [`LiveRequest::Hello`], wait for the server's; then
    /// [`Event::Opened`](super::Event::Opened) or [`Event::Closed`](super::Event::Closed) with the same number. At most one
    /// is open or opening at a time.
    Open {
        /// Names the connection.
        link: u64,
    },
    /// Send a frame on a live connection.
    Say {
        /// The connection's number.
        link: u64,
        /// What to send.
        frame: Box<LiveRequest>,
    },
    /// Send the app's access token on a live connection, as [`LiveRequest::Token`].
    SayToken {
        /// The connection's number.
        link: u64,
    },
    /// Give up a live connection; nothing more is to be heard of it.
    Shut {
        /// The connection's number.
        link: u64,
    },
    /// Tell the app who shows itself in a space.
    Peers {
        /// Which space.
        space: SpaceId,
        /// Who, and what they show now.
        peers: Vec<Peer>,
    },
    /// Send a request; then [`Event::Answered`](super::Event::Answered) with the same id.
    Send {
        /// Names the request.
        id: u64,
        /// What to send.
        request: Box<SyncRequest>,
        /// A body of an answer that is longer is given up as [`Failure::Cut`](super::Failure::Cut).
        answer_bytes_max: Option<usize>,
        /// After so long it is given up as unreachable, if that is sooner than usual.
        patience_ms: Option<u64>,
    },
    /// Store an answer in one transaction; then [`Event::Stored`](super::Event::Stored).
    Store {
        /// Which space.
        space: SpaceId,
        /// What the server said.
        response: Box<SyncResponse>,
    },
    /// The server lost what this device has of a space: find out what, and what to ask the server next, by a
    /// [`HandBack`](crate::heal::HandBack); then [`Event::Heal`](super::Event::Heal). When it is done, the cursor is where the
    /// server's log has it, and what lies behind it has no place in the log any more until it is read again.
    Heal {
        /// Which space.
        space: SpaceId,
        /// What to go on with.
        work: HealWork,
        /// Payload bytes that one page may hold.
        bytes_max: usize,
    },
    /// Send a request to `/v1/heal`; then [`Event::HealAnswered`](super::Event::HealAnswered) with the same id.
    Ask {
        /// Names the request.
        id: u64,
        /// What to send.
        request: Box<HealRequest>,
        /// After so long it is given up as unreachable, if that is sooner than usual.
        patience_ms: Option<u64>,
    },
    /// The server does not let the user into a space (any more): what it has not got of it is kept, and neither sent nor
    /// added to until it does. It says so for every request, so this may come again. That it does tells a
    /// [`Store`](Self::Store) for the space, but for one that comes while the space is still in this
    /// [trouble](super::Session::trouble): it answers something older.
    Barred {
        /// Which space.
        space: SpaceId,
    },
    /// Send [`Event::Timer`](super::Event::Timer) at that time. A later wish replaces an earlier one.
    Wake {
        /// On the clock that `now_ms` comes from.
        at_ms: u64,
    },
    /// Ask the app for a new access token, which runs out soon or is not taken any more; then [`Event::TokenChanged`](super::Event::TokenChanged).
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
    /// Everything is exchanged; live, or until the next poll.
    Idle,
    /// The app is in the background: everything is exchanged, and nothing is open.
    Asleep,
    /// The access token is missing, expired or of another device; edits go on, offline.
    NeedsAuth,
    /// Something that waiting does not mend.
    Error(Trouble),
}
