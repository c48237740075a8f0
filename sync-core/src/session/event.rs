//! What the shell tells the session.

use super::answer::Trouble;
use crate::feed::Run;
use crate::id::SpaceId;
use crate::log::Cursor;
use crate::wire::{ErrorCode, SyncResponse};

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// The app uses a space.
    SpaceAdded(SpaceId),
    /// The app no longer uses it.
    SpaceRemoved(SpaceId),
    /// The app edited a document of that space.
    Edited(SpaceId),
    /// The app wants everything synchronised now, whatever was wrong before.
    SyncNow,
    /// The operating system says that the network came, went or changed.
    NetworkChanged {
        /// Whether there is any.
        online: bool,
    },
    /// The app has a new access token.
    TokenChanged,
    /// The time that [`Effect::Wake`](super::Effect::Wake) asked for has come.
    Timer,
    /// [`Effect::Collect`](super::Effect::Collect) is done.
    Collected(SpaceId, Collected),
    /// [`Effect::Send`](super::Effect::Send) came to an end.
    Answered(u64, Result<Box<SyncResponse>, Failure>),
    /// [`Effect::Store`](super::Effect::Store) came to an end, or a collection failed.
    Stored(SpaceId, StoreOutcome),
}

/// What the store holds for the server, and what it wants from it.
#[derive(Debug)]
pub struct Collected {
    /// The front of the outbox; `None` if it is empty.
    pub run: Option<Run>,
    /// The place in the log; `None` for the beginning.
    pub cursor: Option<Cursor>,
}

/// A request without a usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No answer: no network, no server, or none in time.
    Unreachable,
    /// The server refused the request.
    Refused {
        /// Why.
        code: ErrorCode,
        /// How long it asks to wait.
        retry_after_ms: Option<u64>,
    },
}

/// What became of an answer in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It is on disk.
    Done {
        /// Whether the log goes on, or the outbox is not empty.
        more: bool,
    },
    /// It cannot be taken, and trying again would not help.
    Trouble(Trouble),
    /// The disk failed; it is tried again later.
    Failed,
}
