//! Taking in an answer: verdicts on what this device has pushed, and a page of the log, stored in one transaction where it
//! is not long.

use std::collections::{BTreeSet, VecDeque};

use sync_core::feed::{ChangeId, FeedHead};
use sync_core::id::{DeviceId, DocId, SpaceId};
use sync_core::limits::VECTOR_DEVICES_MAX;
use sync_core::log::{Cursor, Receipt, Verdict};
use sync_core::session::{FeedState, Meaning, StoreOutcome, Trouble, meaning, shows_loss};
use sync_core::version::FeedHeads;
use sync_core::wire::{
    ItemResult, ItemStatus, PageEntry, PullAnswer, PushAnswer, Snapshot, SnapshotPart, SyncResponse,
};

use super::catch_up::{at_end, is_left_out, release};
use super::page::{Decided, Effects, Fit, begins_epoch, goes_away};
use super::remake::Feed;
use super::{Engine, Result};
use crate::client::error::ClientError;
use crate::client::store::{Held, SpaceRow, StoreError, Writer};

/// Entries that are stored in one transaction: the lock is free between two, so that an edit never waits for a page.
const STORED_AT_ONCE_MAX: usize = 500;

/// What storing a part of an answer changed, for observers and for whoever waits.
#[derive(Debug, Default)]
pub(in crate::client) struct Stored {
    /// Documents that must be read again: a change of this device was refused.
    pub(in crate::client) refused: BTreeSet<DocId>,
    /// Documents that others made, or whose deletion was refused.
    pub(in crate::client) created: BTreeSet<DocId>,
    /// Own items about which the server has decided: as many as an answer tells of.
    pub(in crate::client) decided: Vec<Decided>,
    /// Documents that were deleted.
    pub(in crate::client) deleted: BTreeSet<DocId>,
    /// Whether the user was let in, or a change was refused since the user may not write.
    pub(in crate::client) access: bool,
}

/// An answer on its way into the store.
pub(in crate::client) struct Intake {
    verdicts: Option<Verdicts>,
    /// Each with when the server took it.
    entries: std::vec::IntoIter<(PageEntry, Option<u64>)>,
    /// What stands in for payloads that they lack, in the order of the log.
    snapshots: VecDeque<Snapshot>,
    /// Whether they lack any: nothing of them is shown before that is here.
    holds: bool,
    /// A part of a large snapshot.
    part: Option<SnapshotPart>,
    end: End,
    /// Of which life of the space.
    life: u64,
}

/// What became of a run.
struct Verdicts {
    /// What is acknowledged now.
    acked: FeedHead,
    /// Whether what follows has to be sent once more.
    again: bool,
    /// The place in the feed of the first result.
    first: u64,
    results: Vec<ItemResult>,
}

/// What holds when everything is stored.
enum End {
    Page { next: Cursor, receipt: Receipt, more: bool, version: Option<FeedHeads> },
    Nothing { more: bool },
    Outcome(StoreOutcome),
}

/// How taking in an answer goes on.
pub(in crate::client) enum Progress {
    /// There is more of it.
    Again,
    /// It is on disk, or cannot be taken.
    Done(StoreOutcome),
}

impl Verdicts {
    fn refuse(&self) -> bool {
        self.results.iter().any(|result| result.code.is_some())
    }
}

impl Engine {
    /// Checks an answer as a whole before anything of it is stored.
    pub(in crate::client) fn intake(&self, space: SpaceId, response: SyncResponse) -> Result<Intake> {
        let (life, row) = (self.space(space)?.life, self.space(space)?.row);
        let nothing = |outcome| {
            let (entries, snapshots) = (Vec::new().into_iter(), VecDeque::new());
            Intake { verdicts: None, entries, snapshots, holds: false, part: None, end: End::Outcome(outcome), life }
        };
        // What the server lost is handed back before anything of this device is decided anew.
        match (&response.push, &response.pull) {
            (_, Some(PullAnswer::Diverged { .. })) => return Ok(nothing(StoreOutcome::Diverged)),
            // Only a page tells how far the log is lost.
            (Some(push), None) if shows_loss(row.acked, push) => return Ok(nothing(StoreOutcome::Gap)),
            _ => {}
        }
        let verdicts = match response.push.map(|answer| self.verdicts(space, answer)).transpose()? {
            Some(Err(trouble)) => {
                return Ok(nothing(StoreOutcome::Trouble(trouble)));
            }
            Some(Ok(verdicts)) => Some(verdicts),
            None => None,
        };
        let mut snapshots = VecDeque::new();
        let (entries, end) = match response.pull {
            None | Some(PullAnswer::Diverged { .. }) => (Vec::new(), End::Nothing { more: false }),
            Some(PullAnswer::Page(page)) => match self.fit(space, &page)? {
                Fit::Trouble(trouble) => (Vec::new(), End::Outcome(StoreOutcome::Trouble(trouble))),
                Fit::Gap => (Vec::new(), End::Outcome(StoreOutcome::Gap)),
                Fit::Stale => (Vec::new(), End::Nothing { more: page.more }),
                Fit::Behind { known } => {
                    let (next, receipt, more, version) = (page.next, page.receipt, page.more, page.version);
                    let times = page.times.filter(|times| times.0.len() == page.entries.0.len());
                    let mut times = times.map_or_else(Vec::new, |times| times.0).into_iter();
                    let entries = page.entries.0.into_iter().map(|entry| (entry, times.next()));
                    let entries: Vec<_> = entries.skip(known).collect();
                    snapshots = page.snapshots.into();
                    (entries, End::Page { next, receipt, more, version })
                }
            },
        };
        let holds = entries.iter().any(|(entry, _)| is_left_out(entry, self.device) || begins_epoch(entry));
        let (entries, part) = (entries.into_iter(), response.snapshot);
        Ok(Intake { verdicts, entries, snapshots, holds, part, end, life })
    }

    fn verdicts(&self, space: SpaceId, answer: PushAnswer) -> Result<std::result::Result<Verdicts, Trouble>> {
        let row = self.space(space)?.row;
        let feed = FeedState { head: row.own, acked: row.acked };
        let own = self.own_place(space, answer.acked().n)?;
        if own.is_none() {
            let folded = self.store.read().folded_own(space, self.feed_of(space)?)?;
            // It is as old as what was folded here, so nobody here can say whether it is a place of this feed.
            if folded.is_some_and(|(place, _)| answer.acked().n < place.n) {
                return Ok(Err(Trouble::ServerLostData));
            }
        }
        let (acked, again) = match meaning(feed, &answer, own.map(|place| place.chain)) {
            // An answer tells what its run reached; another one may have reached further.
            Meaning::Acknowledged(acked) if acked.n < row.acked.n => (row.acked, false),
            Meaning::Acknowledged(acked) => (acked, false),
            Meaning::SendFrom(acked) => (acked, true),
            Meaning::Trouble(trouble) => return Ok(Err(trouble)),
        };
        let (first, results) = match answer {
            PushAnswer::Taken { acked, results, .. } => ((acked.n + 1).saturating_sub(results.len() as u64), results),
            _ => (0, Vec::new()),
        };
        Ok(Ok(Verdicts { acked, again, first, results }))
    }

    /// Stores the next part of an answer.
    pub(in crate::client) fn take_part(
        &mut self,
        space: SpaceId,
        intake: &mut Intake,
        stored: &mut Stored,
    ) -> Result<Progress> {
        let (device, of_actors) = (self.feed_of(space)?, self.device);
        // The rest of a page of a space that was removed meanwhile, and maybe added again.
        if self.space(space)?.life != intake.life {
            return Err(ClientError::NoSpace);
        }
        let verdicts = intake.verdicts.take();
        let part: Vec<_> = intake.entries.by_ref().take(STORED_AT_ONCE_MAX).collect();
        let last = intake.entries.len() == 0;
        // What is typed upon what goes away now joins the feed first; later its journal would have nothing to stand on.
        if verdicts.as_ref().is_some_and(Verdicts::refuse) || part.iter().any(|(entry, _)| goes_away(entry, device)) {
            self.seal(space, None)?;
        }
        let state = self.spaces.get(&space).ok_or(ClientError::NoSpace)?;
        let mut row = state.row;
        if let Some(verdicts) = &verdicts {
            row.acked = verdicts.acked;
        }
        if let (true, End::Page { next, receipt, .. }) = (last, &intake.end) {
            row.proven = Some((*next, *receipt));
        }
        if last && let Some(acked) = self.forgotten(space, &row, &intake.end)? {
            row.acked = acked;
        }
        let mut effects = Effects { held: state.held, base_on_disk: state.base_on_disk, ..Effects::default() };
        let (base, holds, snapshots) = (state.base, std::mem::take(&mut intake.holds), &mut intake.snapshots);
        let ends = last && matches!(intake.end, End::Page { more: false, .. });
        let nothing_new =
            part.is_empty() && verdicts.as_ref().is_none_or(|verdicts| verdicts.results.is_empty()) && row == state.row;
        if !nothing_new {
            let before = row;
            row = self.store.transaction(|writer| {
                let mut row = before;
                if let Some(verdicts) = &verdicts {
                    verdicts.write(writer, space, device, &mut effects)?;
                }
                if holds && effects.held.is_none() {
                    let held = Held { seq: row.cursor.seq, arrival: writer.last_arrival()? };
                    writer.set_catch_up(space, base, Some(held))?;
                    let version = state.feeds.vector();
                    writer.set_held_version(space, &version)?;
                    effects.held_version = Some(version);
                    (effects.held, effects.base_on_disk) = (Some(held), base);
                }
                for entry in part {
                    effects.take(writer, space, &state.feeds, device, entry, &mut row.cursor)?;
                    if effects.trouble.is_some() {
                        row.proven = state.row.proven;
                        break;
                    }
                    while snapshots.front().is_some_and(|next| next.seq <= row.cursor.seq) {
                        if let Some(snapshot) = snapshots.pop_front().filter(|next| next.seq == row.cursor.seq) {
                            Effects::take_snapshot(writer, space, &snapshot)?;
                        }
                    }
                }
                for (doc, times) in std::mem::take(&mut effects.times) {
                    writer.keep_times(space, doc, &times)?;
                }
                let mut passed = Vec::new();
                if let (true, Some(held)) = (last, effects.held)
                    && let Some(mut released) = release(writer, space, device, row.cursor.seq, held)?
                {
                    passed = std::mem::take(&mut released.passed);
                    (effects.held, effects.released) = (None, Some(released));
                }
                if ends && effects.held.is_none() {
                    effects.base_on_disk = at_end(writer, space, effects.base_on_disk, row.cursor.seq)?;
                }
                let mut feed = Feed { space, label: device, device: of_actors, row: &mut row };
                if !sync_core::mutation!("rebuild-forgotten") {
                    feed.rebuild(writer, &effects.refused)?;
                }
                feed.keep_gone(writer, &effects.excluded)?;
                effects.passed.extend(passed.iter().map(|(doc, _)| *doc));
                feed.pass(writer, passed)?;
                writer.set_space(space, &row)?;
                Ok::<_, StoreError>(row)
            })?;
        }
        let trouble = effects.trouble;
        self.settle(space, row, verdicts.as_ref(), effects, stored);
        if let Some(trouble) = trouble {
            return Ok(Progress::Done(StoreOutcome::Trouble(trouble)));
        }
        if !last {
            return Ok(Progress::Again);
        }
        if let Some(state) = self.spaces.get_mut(&space).filter(|state| ends && state.held.is_none()) {
            state.base = state.row.cursor.seq;
        }
        self.regain(space, &intake.end)?;
        if matches!(intake.end, End::Page { more: false, .. }) {
            if self.is_taken(space)? {
                return Ok(Progress::Done(StoreOutcome::Trouble(Trouble::Forked)));
            }
            stored.refused.extend(self.heal(space)?);
        }
        let mut outcome = self.outcome(space, &intake.end)?;
        if let (Some(part), StoreOutcome::Done { .. }) = (intake.part.take(), outcome) {
            outcome = self.take_snapshot_part(space, part, stored)?;
        }
        Ok(Progress::Done(outcome))
    }

    /// What the server still knows of this device's feed, where it says at the end of the log that it is less than it
    /// acknowledged: it lost what this device has pushed and not read back.
    fn forgotten(&self, space: SpaceId, row: &SpaceRow, end: &End) -> Result<Option<FeedHead>> {
        let End::Page { more: false, version: Some(version), .. } = end else { return Ok(None) };
        // What came with the space that was removed cannot be sent again; and a version that is cut off says nothing.
        let unseen = sync_core::mutation!("loss-of-own-unseen");
        if unseen || self.space(space)?.regaining || version.iter().count() >= VECTOR_DEVICES_MAX {
            return Ok(None);
        }
        let known = version.get(self.device).unwrap_or_else(|| FeedHead::start(space, self.device));
        if known.n >= row.acked.n {
            return Ok(None);
        }
        Ok(self.own_place(space, known.n)?.filter(|place| *place == known))
    }

    /// Whether the server lost so much of this device's feed that it is not even kept here one by one any more.
    fn forgot_folded(&self, space: SpaceId, version: Option<&FeedHeads>) -> Result<bool> {
        let Some(version) = version.filter(|version| version.iter().count() < VECTOR_DEVICES_MAX) else {
            return Ok(false);
        };
        let state = self.space(space)?;
        let known = version.get(self.device).map_or(0, |place| place.n);
        if state.regaining || known >= state.row.acked.n {
            return Ok(false);
        }
        let folded = self.store.read().folded_own(space, self.device)?;
        Ok(folded.is_some_and(|(place, _)| known < place.n))
    }

    /// At the end of the log a space that was removed once has everything again.
    fn regain(&mut self, space: SpaceId, end: &End) -> Result<()> {
        if self.space(space)?.regaining && matches!(end, End::Page { more: false, .. }) {
            self.store.transaction(|writer| writer.regained(space))?;
            if let Some(state) = self.spaces.get_mut(&space) {
                state.regaining = false;
            }
        }
        Ok(())
    }

    /// Brings what is in memory to where the disk is.
    fn settle(
        &mut self,
        space: SpaceId,
        row: SpaceRow,
        verdicts: Option<&Verdicts>,
        effects: Effects,
        stored: &mut Stored,
    ) {
        let Effects { feeds, mut refused, excluded, decided, not_a_writer, created, deleted, touched, .. } = effects;
        let Effects { held, held_version, released, base_on_disk, passed, .. } = effects;
        stored.decided.extend(decided);
        stored.created.extend(created);
        stored.access |= not_a_writer;
        let Some(state) = self.spaces.get_mut(&space) else { return };
        let acked_before = state.row.acked.n;
        state.row = row;
        for (device, head) in feeds {
            state.feeds.set(device, head);
        }
        if verdicts.is_some_and(|verdicts| verdicts.again) {
            state.sent = row.acked;
        }
        if row.acked.n < acked_before {
            state.sent = row.acked;
            state.sent_n = row.acked.n;
        }
        (state.held, state.base_on_disk) = (held, base_on_disk);
        if held_version.is_some() {
            state.held_version = held_version;
        }
        state.behind.extend(touched);
        if let Some(released) = released {
            self.released(space, &released.touched);
            stored.created.extend(released.shown);
        }
        refused.extend(excluded);
        for doc in &refused {
            // What was made upon it is made anew, or not at all.
            if let Some(stacks) = self.documents.get_mut(&(space, *doc)).and_then(|open| open.undo.as_mut()) {
                stacks.forget();
            }
        }
        self.begun_anew(space, &passed);
        stored.refused.extend(passed);
        for doc in refused.iter().chain(&deleted) {
            self.give_up(space, *doc);
        }
        for doc in &deleted {
            self.set_behind(space, *doc, false);
        }
        stored.refused.extend(refused);
        stored.deleted.extend(deleted);
    }

    fn outcome(&self, space: SpaceId, end: &End) -> Result<StoreOutcome> {
        let state = self.space(space)?;
        let more = match end {
            End::Outcome(outcome) => return Ok(*outcome),
            End::Nothing { more } => *more,
            End::Page { next, more, version, .. } => {
                debug_assert_eq!(state.row.cursor, *next, "the page was checked before");
                if version.as_ref().is_some_and(|version| !state.feeds.forks(version).is_empty()) {
                    return Ok(StoreOutcome::Trouble(Trouble::BrokenLog));
                }
                if self.forgot_folded(space, version.as_ref())? {
                    return Ok(StoreOutcome::Trouble(Trouble::ServerLostData));
                }
                *more
            }
        };
        // What is under way needs no further push.
        let gone = state.sent.n.max(state.row.acked.n);
        let unsent = state.label.is_none() && state.row.own.n > gone;
        let more = more || unsent || self.wish(space)?.is_some();
        Ok(StoreOutcome::Done { more, at: state.row.cursor.seq })
    }
}

impl Verdicts {
    fn write(
        &self,
        writer: &Writer<'_>,
        space: SpaceId,
        device: DeviceId,
        effects: &mut Effects,
    ) -> std::result::Result<(), StoreError> {
        for (result, n) in self.results.iter().zip(self.first..) {
            let verdict = match (result.status, result.code) {
                (ItemStatus::Rejected | ItemStatus::Duplicate, Some(code)) => Verdict::Rejected(code),
                _ => Verdict::Applied,
            };
            effects.decide_own(writer, space, ChangeId { device, n }, result.seq, verdict)?;
        }
        Ok(())
    }
}
