//! How far one connection has come in one log that it follows.

use std::sync::Arc;

use sync_core::id::{DeviceId, SpaceId};
use sync_core::log::Cursor;

use super::parcel::Parcel;

/// Where the next entries come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The first page is being read.
    Joining,
    /// From notices, as they come.
    Live,
    /// From the log.
    Lagging,
}

/// What the reader asked for with its first page. It holds until it has come to the end of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Its own payloads too.
    pub(crate) own: bool,
    /// The version, at the end.
    pub(crate) version: bool,
    /// Snapshots, and up to where it has the documents.
    pub(crate) snapshots: Option<u64>,
}

impl Wish {
    /// What still holds of it at the end of the log: from then on the reader has everything up to there.
    fn fulfilled(self, seq: u64) -> Self {
        Self { own: false, version: false, snapshots: self.snapshots.map(|_| seq) }
    }
}

/// What is to become of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is known, or comes from the log.
    Ignored,
    /// It goes out next.
    Queued,
    /// It goes out with the answer to a push that is under way.
    Held,
    /// It cannot be used: the log is to be read instead.
    Hole,
}

/// A followed log.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) pace: Pace,
    /// Where the receiver is when it has what was handed out.
    pub(super) sent: Cursor,
    /// And when it has what waits, too.
    pub(super) queued: Cursor,
    /// The furthest place that was heard of. While the pace is not live, this is what must not be forgotten.
    announced: u64,
    /// Where the database had the log last, and whether that is to go into the next heartbeat.
    head: Cursor,
    told: bool,
    pub(super) wish: Wish,
    /// A push of this connection is being committed.
    pub(super) pushing: bool,
    /// What waits for its answer.
    pub(super) held: Vec<Arc<Parcel>>,
}

impl Follow {
    pub(super) fn new(space: SpaceId) -> Self {
        let start = Cursor::start(space);
        Self {
            pace: Pace::Joining,
            sent: start,
            queued: start,
            announced: 0,
            head: start,
            told: true,
            wish: Wish::default(),
            pushing: false,
            held: Vec::new(),
        }
    }

    /// The first page was read, up to there.
    pub(super) fn begin(&mut self, next: Cursor, more: bool, wish: Wish) {
        (self.sent, self.queued) = (next, next);
        if next.seq >= self.head.seq {
            (self.head, self.told) = (next, true);
        }
        self.wish = if more { wish } else { wish.fulfilled(next.seq) };
        self.pace = if more || self.announced > next.seq { Pace::Lagging } else { Pace::Live };
    }

    /// What to do with a notice.
    pub(super) fn judge(&mut self, parcel: &Parcel, device: DeviceId) -> Fate {
        let next = parcel.next();
        self.announced = self.announced.max(next.seq);
        if self.pace != Pace::Live || next.seq <= self.queued.seq {
            return Fate::Ignored;
        }
        let continues = parcel.from() == self.queued || sync_core::mutation!("notice-without-its-chain");
        if !continues || !parcel.is_whole() {
            self.pace = Pace::Lagging;
            return Fate::Hole;
        }
        self.queued = next;
        // From its own entries on, so that what others wrote before does not wait for the disk.
        let held = self.pushing && (!self.held.is_empty() || parcel.is_by(device));
        if held { Fate::Held } else { Fate::Queued }
    }

    /// The database has the log up to there. Whether it is to be read.
    pub(super) fn learn(&mut self, head: Cursor) -> bool {
        // A head from before the last commit says nothing.
        if head.seq > self.head.seq {
            (self.head, self.told) = (head, false);
        }
        self.announced = self.announced.max(head.seq);
        let behind = self.pace == Pace::Live && head.seq > self.queued.seq;
        if behind {
            self.pace = Pace::Lagging;
        }
        behind
    }

    /// What the next heartbeat says of it.
    pub(super) fn news(&mut self) -> Option<Cursor> {
        let news = (!self.told).then_some(self.head);
        self.told = true;
        news
    }

    /// A page of the log was read, up to there. Notices count again when it reached what was heard of.
    pub(super) fn read(&mut self, next: Cursor, more: bool) {
        self.queued = next;
        if !more && self.announced <= next.seq {
            self.pace = Pace::Live;
        }
    }

    /// The log has nothing new. What was announced beyond its end is not there (any more), and asking again does not help.
    pub(super) fn at_end(&mut self) {
        self.announced = self.queued.seq;
        self.fulfil(self.queued.seq);
        self.pace = Pace::Live;
    }

    /// The reader was sent the end of the log, which is there.
    pub(super) fn fulfil(&mut self, seq: u64) {
        self.wish = self.wish.fulfilled(seq);
    }

    /// What waited is dropped.
    pub(super) fn rewind(&mut self) {
        if self.queued != self.sent {
            self.queued = self.sent;
            self.pace = Pace::Lagging;
        }
        self.held.clear();
    }
}
