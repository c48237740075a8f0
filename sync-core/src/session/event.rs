//! What the shell tells the session.

use super::answer::Trouble;
use crate::feed::Run;
use crate::id::SpaceId;
use crate::log::Cursor;
use crate::wire::{ErrorCode, HealRequest, HealResponse, LiveResponse, SnapshotWish, SyncResponse, Welcome};

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// The app uses a space. Where it does already and had no access, it is asked for once more.
    SpaceAdded(SpaceId),
    /// The app no longer uses it.
    SpaceRemoved(SpaceId),
    /// The app edited a document of that space.
    Edited(SpaceId),
    /// The server has news of those spaces, as a push service says.
    Pushed(Vec<SpaceId>),
    /// The app wants everything synchronised now, whatever was wrong before.
    SyncNow,
    /// The operating system says that the network came, went or changed.
    NetworkChanged {
        /// Whether there is any.
        online: bool,
    },
    /// The app came to the foreground, or went to the background: then what is pending is sent, the live connection is
    /// closed, and nothing is asked until it comes back or wants it ([`SyncNow`](Self::SyncNow)).
    Foreground(bool),
    /// What the user shows to the others of a space from now on; `None`: nothing.
    Present(SpaceId, Option<Presence>),
    /// The app has a new access token.
    TokenChanged,
    /// [`Effect::Open`](super::Effect::Open) worked: the server has said hello.
    Opened(u64, Welcome),
    /// A live connection ended, or could not be opened.
    Closed(u64, Ending),
    /// The server said something. The shell holds such events back while a [`Collect`](super::Effect::Collect) or a
    /// [`Store`](super::Effect::Store) is under way.
    Heard(u64, Box<LiveResponse>),
    /// The time that [`Effect::Wake`](super::Effect::Wake) asked for has come.
    Timer,
    /// [`Effect::Collect`](super::Effect::Collect) is done.
    Collected(SpaceId, Collected),
    /// So many bytes of bodies of requests and answers went over the wire, also of those that failed. Told in front of what
    /// came of them.
    Moved(u64),
    /// [`Effect::Send`](super::Effect::Send) came to an end.
    Answered(u64, Result<Box<SyncResponse>, Failure>),
    /// [`Effect::Store`](super::Effect::Store) came to an end, or a collection failed.
    Stored(SpaceId, StoreOutcome),
    /// [`Effect::Heal`](super::Effect::Heal) is done, so far.
    Heal(SpaceId, HealStep),
    /// [`Effect::Ask`](super::Effect::Ask) came to an end.
    HealAnswered(u64, Result<Box<HealResponse>, Failure>),
}

/// What a device goes on with that hands back what a server lost.
#[derive(Debug, PartialEq)]
pub enum HealWork {
    /// The beginning.
    Begin,
    /// What the server said.
    Answer(Box<HealResponse>),
    /// The server does not know its receipt.
    ReceiptRefused,
}

/// What comes next in handing back.
#[derive(Debug)]
pub enum HealStep {
    /// The server is asked something.
    Ask(Box<HealRequest>),
    /// All that can be is handed back, and the cursor stands where the server's log has it.
    Done {
        /// How far the log is stored.
        at: u64,
    },
    /// The disk failed; it begins anew later.
    Failed,
}

/// What the store holds for the server, and what it wants from it.
#[derive(Debug)]
pub struct Collected {
    /// The front of the outbox; `None` if it is empty.
    pub run: Option<Run>,
    /// The place in the log; `None` for the beginning.
    pub cursor: Option<Cursor>,
    /// Whether what this device wrote itself is wanted back too.
    pub own: bool,
    /// Up to which place of the log the documents are there: see [`Pull::snapshots`](crate::wire::Pull::snapshots).
    pub snapshots: Option<u64>,
    /// What is missing of a large snapshot. Until it is there nothing else is asked for.
    pub wish: Option<SnapshotWish>,
}

/// A request without a usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No answer: no network, no server, or none in time.
    Unreachable,
    /// An answer that is longer than it may be, of which nothing is kept.
    Cut,
    /// The server refused the request.
    Refused {
        /// Why.
        code: ErrorCode,
        /// How long it asks to wait.
        retry_after_ms: Option<u64>,
    },
}

/// What a user shows to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// What it is, is the app's.
    pub data: Vec<u8>,
    /// How long it holds when this device vanishes; it is renewed in time as long as the device is there.
    pub ttl_ms: u32,
}

/// How a live connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// No network, no server, or the connection broke.
    Lost,
    /// The server's address was reached, but something on the way does not let live connections through, or the server has
    /// none.
    Blocked,
    /// The server did not take it, or closed it.
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
        /// How far the log is stored.
        at: u64,
    },
    /// The server's log does not have the place up to which it is stored; nothing of the answer was taken.
    Diverged,
    /// The page begins behind what is stored; nothing of it was taken.
    Gap,
    /// It cannot be taken, and trying again would not help.
    Trouble(Trouble),
    /// The disk failed; it is tried again later.
    Failed,
}
