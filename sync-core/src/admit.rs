//! The dedupe rule: the server's verdict on a run of a feed, from one row however long the history is.

use crate::feed::FeedHead;
use crate::id::Hash;

/// What becomes of a run as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The first `duplicates` items are in the log already, the rest is new.
    Fresh {
        /// How many items at the front were accepted or refused before.
        duplicates: usize,
    },
    /// It ends before what is acknowledged: a late copy of an old request, or a phone that was rolled back. Only the
    /// phone can know which.
    Behind,
    /// It begins after what is acknowledged: the server lost data, and the phone sends from there.
    Gap,
    /// The chains disagree: two devices, or two lives of one device, wrote the same feed.
    Forked,
}

/// Decides on a run that starts at `base` and whose chain has the values `links`, against what is acknowledged.
///
/// The links are hashed once, when the run arrives ([`Run::links`](crate::feed::Run::links)); this looks at one of
/// them, so its own cost does not depend on the length of the run.
pub fn admit(acked: &FeedHead, base: &FeedHead, links: &[Hash]) -> Admission {
    if base.n > acked.n {
        return Admission::Gap;
    }
    let known = acked.n - base.n;
    if known > links.len() as u64 {
        return Admission::Behind;
    }
    let duplicates = if crate::mutation!("duplicates-taken") { 0 } else { known as usize };
    let reached = if known == 0 { base.chain } else { links[known as usize - 1] };
    if reached == acked.chain || crate::mutation!("chain-unchecked") {
        Admission::Fresh { duplicates }
    } else {
        Admission::Forked
    }
}
