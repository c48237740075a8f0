//! The mailbox's state, and what changes it: no lock, no waiting.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use sync_core::id::{DeviceId, SpaceId};
use sync_core::limits::{LIVE_PAGE_BYTES_MAX, LIVE_QUEUE_BYTES_MAX, PRESENCE_QUEUE_MAX};
use sync_core::log::Cursor;
use sync_core::wire::{LiveResponse, Page, PushAnswer, SpaceHead};

use super::super::follow::{Fate, Follow, Pace, Wish};
use super::super::parcel::Parcel;
use super::super::presence::Shown;
use super::{Answer, Behind, Outgoing};
use crate::telemetry::metrics;

/// What an item takes besides what it carries, about.
const ITEM_BYTES: usize = 128;

/// What waits for one connection.
#[derive(Default)]
pub(super) struct Outbox {
    items: VecDeque<Item>,
    /// Of items, of what is held back for an answer, and of what is being written.
    bytes: usize,
    /// The part of it that is never dropped.
    answer_bytes: usize,
    /// What was taken and is being written.
    writing: Weight,
    is_writing: bool,
    follows: BTreeMap<SpaceId, Box<Follow>>,
    presence: BTreeMap<(SpaceId, DeviceId), Arc<Shown>>,
    presence_bytes: usize,
    beat: bool,
    /// The space whose log is being read, and the one that was read last.
    reading: Option<SpaceId>,
    read_last: Option<SpaceId>,
}

#[derive(Default, Clone, Copy)]
struct Weight {
    bytes: usize,
    /// The part of it that is an answer.
    answer: usize,
}

enum Item {
    Whole { response: Box<LiveResponse>, bytes: usize },
    Pushed { id: u64, space: SpaceId, push: Box<PushAnswer>, bytes: usize, log: Vec<Arc<Parcel>> },
    Page(Arc<Parcel>),
    LogPage { space: SpaceId, page: Box<Page>, bytes: usize },
}

impl Item {
    fn weight(&self) -> Weight {
        match self {
            Self::Whole { bytes, .. } => Weight { bytes: ITEM_BYTES + bytes, answer: ITEM_BYTES + bytes },
            Self::Pushed { bytes, log, .. } => {
                Weight { bytes: ITEM_BYTES + bytes + weigh(log), answer: ITEM_BYTES + bytes }
            }
            Self::Page(parcel) => Weight { bytes: parcel.bytes(), answer: 0 },
            Self::LogPage { bytes, .. } => Weight { bytes: ITEM_BYTES + bytes, answer: 0 },
        }
    }

    /// Without what may be dropped of that space, or of any; `None` if nothing is left.
    fn stripped(mut self, of: Option<SpaceId>) -> Option<Self> {
        let dropped = |space: SpaceId| of.is_none_or(|of| of == space);
        match &mut self {
            Self::Page(parcel) if dropped(parcel.space()) => return None,
            Self::LogPage { space, .. } if dropped(*space) => return None,
            Self::Pushed { space, log, .. } if dropped(*space) => log.clear(),
            _ => {}
        }
        Some(self)
    }
}

fn queue_bytes_max() -> usize {
    #[cfg(feature = "testing")]
    if let Some(bytes_max) = crate::store::sqlite::simulated::queue_bytes_max() {
        return bytes_max;
    }
    LIVE_QUEUE_BYTES_MAX
}

fn weigh(parcels: &[Arc<Parcel>]) -> usize {
    parcels.iter().map(|parcel| parcel.bytes()).sum()
}

impl Outbox {
    /// What is kept, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.presence_bytes
    }

    /// Whether the writer waits for something to do; otherwise it comes back by itself.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_writing
    }

    /// Whether nothing waits, or is being written.
    pub(super) fn is_drained(&self) -> bool {
        !self.is_writing && self.items.is_empty()
    }

    /// Whether further answers may be made.
    pub(super) fn has_room(&self) -> bool {
        self.answer_bytes < LIVE_PAGE_BYTES_MAX
    }

    fn put(&mut self, item: Item) {
        let weight = item.weight();
        self.bytes += weight.bytes;
        self.answer_bytes += weight.answer;
        self.items.push_back(item);
    }

    // What comes from the fan-out.

    pub(super) fn offer(&mut self, device: DeviceId, parcel: &Arc<Parcel>) {
        let Some(follow) = self.follows.get_mut(&parcel.space()) else { return };
        match follow.judge(parcel, device) {
            Fate::Ignored | Fate::Hole => return,
            Fate::Queued => self.put(Item::Page(Arc::clone(parcel))),
            Fate::Held => {
                follow.held.push(Arc::clone(parcel));
                self.bytes += parcel.bytes();
            }
        }
        if self.bytes() > queue_bytes_max() {
            self.presence.clear();
            self.presence_bytes = 0;
        }
        if self.bytes() > queue_bytes_max() {
            self.overflow();
        }
    }

    /// Drops all pages that wait: they are read from the log when their turn comes.
    fn overflow(&mut self) {
        metrics::mailbox_dropped();
        self.strip(None);
        if sync_core::mutation!("full-queue-loses-pages") {
            return;
        }
        self.follows.values_mut().for_each(|follow| follow.rewind());
    }

    /// Drops what waits of a log. The caller sees to the follows.
    fn strip(&mut self, of: Option<SpaceId>) {
        let held = self.follows.iter().filter(|(space, _)| of.is_none_or(|of| of == **space));
        self.bytes -= held.map(|(_, follow)| weigh(&follow.held)).sum::<usize>();
        for item in mem::take(&mut self.items) {
            self.bytes -= item.weight().bytes;
            if let Some(item) = item.stripped(of) {
                self.bytes += item.weight().bytes;
                self.items.push_back(item);
            }
        }
    }

    pub(super) fn learn(&mut self, space: SpaceId, head: Cursor) -> bool {
        self.follows.get_mut(&space).is_some_and(|follow| follow.learn(head))
    }

    /// Presence is kept only where there is room for it.
    pub(super) fn show(&mut self, space: SpaceId, shown: &Arc<Shown>) {
        if !self.follows.get(&space).is_some_and(|follow| follow.pace != Pace::Joining) {
            return;
        }
        let key = (space, shown.device());
        let before = self.presence.get(&key).map_or(0, |before| before.bytes());
        let after = self.presence_bytes - before + shown.bytes();
        let fits = after <= LIVE_PAGE_BYTES_MAX && self.bytes + after <= LIVE_QUEUE_BYTES_MAX;
        if fits && (before > 0 || self.presence.len() < PRESENCE_QUEUE_MAX) {
            self.presence.insert(key, Arc::clone(shown));
            self.presence_bytes = after;
        } else if self.presence.remove(&key).is_some() {
            // An older state must not be sent after a newer one was dropped.
            self.presence_bytes -= before;
        }
    }

    pub(super) fn beat(&mut self) {
        self.beat = true;
    }

    // What comes from the connection's own requests.

    pub(super) fn answer(&mut self, response: LiveResponse, bytes: usize) {
        self.put(Item::Whole { response: Box::new(response), bytes });
    }

    pub(super) fn follow(&mut self, space: SpaceId, spaces_max: usize) -> bool {
        if !self.follows.contains_key(&space) && self.follows.len() >= spaces_max {
            return false;
        }
        self.unfollow(space);
        self.follows.insert(space, Box::new(Follow::new(space)));
        true
    }

    pub(super) fn followed(&mut self, space: SpaceId, next: Cursor, more: bool, wish: Wish) {
        if let Some(follow) = self.follows.get_mut(&space) {
            follow.begin(next, more, wish);
        }
    }

    pub(super) fn place(&self, space: SpaceId) -> Option<Cursor> {
        self.follows.get(&space).filter(|follow| follow.pace != Pace::Joining).map(|follow| follow.sent)
    }

    pub(super) fn unfollow(&mut self, space: SpaceId) -> bool {
        self.strip(Some(space));
        let (first, last) = (DeviceId::from_bytes([0; 16]), DeviceId::from_bytes([0xff; 16]));
        let shown: Vec<_> = self.presence.range((space, first)..=(space, last)).map(|(key, _)| *key).collect();
        for key in shown {
            let bytes = self.presence.remove(&key).map_or(0, |shown| shown.bytes());
            self.presence_bytes -= bytes;
        }
        self.follows.remove(&space).is_some()
    }

    pub(super) fn follows(&self, space: SpaceId) -> bool {
        self.follows.contains_key(&space)
    }

    pub(super) fn spaces(&self) -> Vec<SpaceId> {
        self.follows.keys().copied().collect()
    }

    pub(super) fn begin_push(&mut self, space: SpaceId) {
        if let Some(follow) = self.follows.get_mut(&space) {
            follow.pushing = true;
        }
    }

    /// The push was answered: what it added to the log goes out with the answer.
    pub(super) fn pushed(&mut self, id: u64, space: SpaceId, push: PushAnswer, bytes: usize) {
        let log = self.release(space);
        self.put(Item::Pushed { id, space, push: Box::new(push), bytes, log });
    }

    /// There is no answer that it could go out with.
    pub(super) fn end_push(&mut self, space: SpaceId) {
        self.release(space).into_iter().for_each(|parcel| self.put(Item::Page(parcel)));
    }

    fn release(&mut self, space: SpaceId) -> Vec<Arc<Parcel>> {
        let Some(follow) = self.follows.get_mut(&space) else { return Vec::new() };
        follow.pushing = false;
        let held = mem::take(&mut follow.held);
        self.bytes -= weigh(&held);
        held
    }

    // What the writer does.

    /// What was taken is written.
    pub(super) fn written(&mut self) {
        self.bytes -= self.writing.bytes;
        self.answer_bytes -= self.writing.answer;
        self.writing = Weight::default();
        self.is_writing = false;
    }

    /// What goes out next.
    pub(super) fn take(&mut self) -> Option<Outgoing> {
        let next = self.next()?;
        self.is_writing = true;
        Some(next)
    }

    fn next(&mut self) -> Option<Outgoing> {
        if mem::take(&mut self.beat) {
            let news = self.follows.iter_mut();
            let news = news.filter_map(|(&space, follow)| Some(SpaceHead { space, head: follow.news()? }));
            return Some(Outgoing::Beat(news.collect()));
        }
        if let Some(item) = self.items.pop_front() {
            let weight = item.weight();
            self.writing.bytes += weight.bytes;
            self.writing.answer += weight.answer;
            return Some(self.hand_out(item));
        }
        let space = self.presence.first_key_value()?.0.0;
        let mut shown = Vec::new();
        while let Some(entry) = self.presence.first_entry().filter(|entry| entry.key().0 == space) {
            let one = entry.remove();
            self.presence_bytes -= one.bytes();
            self.bytes += one.bytes();
            self.writing.bytes += one.bytes();
            shown.push(one);
        }
        Some(Outgoing::Presence(space, shown))
    }

    fn hand_out(&mut self, item: Item) -> Outgoing {
        match item {
            Item::Whole { response, .. } => Outgoing::Answer(Answer::Whole(response)),
            Item::Pushed { id, space, push, log, .. } => {
                if let Some(last) = log.last() {
                    self.sent(space, last.next());
                }
                Outgoing::Answer(Answer::Pushed { id, space, push, log })
            }
            Item::Page(parcel) => {
                self.sent(parcel.space(), parcel.next());
                Outgoing::Page(parcel)
            }
            Item::LogPage { space, page, .. } => {
                self.sent(space, page.next);
                if let (false, Some(follow)) = (page.more, self.follows.get_mut(&space)) {
                    follow.fulfil(page.next.seq);
                }
                Outgoing::LogPage(space, page)
            }
        }
    }

    fn sent(&mut self, space: SpaceId, next: Cursor) {
        if let Some(follow) = self.follows.get_mut(&space) {
            follow.sent = next;
        }
    }

    // What the log's reader does.

    /// Whether there is a log to be read.
    pub(super) fn is_behind(&self) -> bool {
        self.reading.is_none() && self.follows.values().any(|follow| follow.pace == Pace::Lagging)
    }

    /// The next log to be read, if all that was read before is written; each in its turn.
    pub(super) fn behind(&mut self) -> Option<Behind> {
        if self.is_writing || self.reading.is_some() || !self.items.is_empty() {
            return None;
        }
        let after = self.read_last.map_or(Unbounded, Excluded);
        let mut in_turn = self.follows.range((after, Unbounded)).chain(self.follows.iter());
        let (&space, follow) = in_turn.find(|(_, follow)| follow.pace == Pace::Lagging)?;
        self.reading = Some(space);
        Some(Behind { space, since: follow.sent, wish: follow.wish })
    }

    /// A page of it was read.
    pub(super) fn read(&mut self, behind: Behind, page: Page, bytes: usize) {
        let Some(follow) = self.done_reading(behind) else { return };
        if page.entries.0.is_empty() && page.version.is_none() {
            follow.at_end();
            return;
        }
        follow.read(page.next, page.more);
        self.put(Item::LogPage { space: behind.space, page: Box::new(page), bytes });
    }

    /// It could not be read; it is tried again.
    pub(super) fn unread(&mut self, behind: Behind) {
        self.done_reading(behind);
    }

    /// The follow that it was read for, unless it has been begun anew since.
    fn done_reading(&mut self, behind: Behind) -> Option<&mut Follow> {
        self.reading = None;
        self.read_last = Some(behind.space);
        let follow = self.follows.get_mut(&behind.space)?;
        (follow.pace == Pace::Lagging && follow.sent == behind.since).then_some(follow)
    }
}
