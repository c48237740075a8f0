//! What an answer means for the device's own feed.

use crate::feed::FeedHead;
use crate::id::Hash;
use crate::wire::PushAnswer;

/// Something that waiting does not mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Trouble {
    /// The user may not enter the space.
    #[error("no access to this space")]
    NoAccess,
    /// The space was deleted, and does not come back.
    #[error("this space was deleted")]
    SpaceDeleted,
    /// The server does not understand this client, or the other way round.
    #[error("client and server do not understand each other")]
    NotUnderstood,
    /// The app is too old for the server.
    #[error("the app must be updated")]
    UpgradeRequired,
    /// The server knows changes of this device that the device does not: its store was restored from a backup.
    #[error("this device's store was rolled back")]
    RolledBack,
    /// Another device, or another life of this one, writes the same feed.
    #[error("this device's feed has been written elsewhere")]
    Forked,
    /// The server has lost changes that it once acknowledged.
    #[error("the server has lost acknowledged changes")]
    ServerLostData,
    /// The server's log does not fit its own chain.
    #[error("the server's log contradicts itself")]
    BrokenLog,
}

impl Trouble {
    /// Whether the server does not let the user into the space.
    pub fn bars(self) -> bool {
        matches!(self, Self::NoAccess | Self::SpaceDeleted)
    }
}

/// What a device knows of its own feed.
#[derive(Debug, Clone, Copy)]
pub struct FeedState {
    /// The last item that it ever sealed.
    pub head: FeedHead,
    /// What the server has acknowledged.
    pub acked: FeedHead,
}

/// What to do about an answer to a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The feed is acknowledged that far, with the verdicts of the answer, if it has any.
    Acknowledged(FeedHead),
    /// The server has less than it acknowledged: go on from there.
    SendFrom(FeedHead),
    /// Stop, and say so.
    Trouble(Trouble),
}

/// Decides what an answer to a push means. `own_chain` is the own chain's value at the answer's
/// [`acked`](PushAnswer::acked) place; `None` where the feed does not reach it.
pub fn meaning(feed: FeedState, answer: &PushAnswer, own_chain: Option<Hash>) -> Meaning {
    let fits = |place: &FeedHead| place.n <= feed.head.n && own_chain == Some(place.chain);
    match answer {
        PushAnswer::Taken { need, .. } if !need.is_empty() => Meaning::Trouble(Trouble::ServerLostData),
        // `Behind` with a place that fits is a late copy of an old request: the answer to the newer one tells more.
        PushAnswer::Taken { acked, .. } | PushAnswer::Behind { acked } if fits(acked) => Meaning::Acknowledged(*acked),
        PushAnswer::Gap { .. } if crate::mutation!("loss-of-own-unseen") => Meaning::Acknowledged(feed.acked),
        PushAnswer::Gap { acked } if fits(acked) => Meaning::SendFrom(*acked),
        PushAnswer::Behind { .. } => Meaning::Trouble(Trouble::RolledBack),
        PushAnswer::Taken { .. } | PushAnswer::Gap { .. } | PushAnswer::Forked { .. } => {
            Meaning::Trouble(Trouble::Forked)
        }
    }
}

/// Whether an answer says that the server has lost something that it acknowledged once: items of this device's feed, which was
/// `acked` so far, or what one of them was made upon. A run that overtook another one has a gap before it, too, but behind what
/// is acknowledged.
pub fn shows_loss(acked: FeedHead, answer: &PushAnswer) -> bool {
    match answer {
        PushAnswer::Gap { acked: now } => now.n < acked.n,
        PushAnswer::Taken { need, .. } => !need.is_empty(),
        PushAnswer::Behind { .. } | PushAnswer::Forked { .. } => false,
    }
}
