//! Taking in an answer: verdicts on what this device has pushed, and a page of the log, stored in one transaction where it
//! is not long.

use std::collections::BTreeSet;

use sync_core::feed::{ChangeId, FeedHead};
use sync_core::id::{DeviceId, DocId, SpaceId};
use sync_core::log::{Cursor, Receipt, Verdict};
use sync_core::session::{FeedState, Meaning, StoreOutcome, Trouble, meaning};
use sync_core::version::FeedHeads;
use sync_core::wire::{ItemResult, ItemStatus, PageEntry, PullAnswer, PushAnswer, SyncResponse};

use super::page::{Decided, Effects, Fit, goes_away};
use super::remake::Feed;
use super::{Engine, Result};
use crate::client::error::ClientError;
use crate::client::store::{SpaceRow, StoreError, Writer};

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
    entries: std::vec::IntoIter<PageEntry>,
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
        let life = self.space(space)?.life;
        let verdicts = match response.push.map(|answer| self.verdicts(space, answer)).transpose()? {
            Some(Err(trouble)) => {
                let end = End::Outcome(StoreOutcome::Trouble(trouble));
                return Ok(Intake { verdicts: None, entries: Vec::new().into_iter(), end, life });
            }
            Some(Ok(verdicts)) => Some(verdicts),
            None => None,
        };
        let (entries, end) = match response.pull {
            None => (Vec::new(), End::Nothing { more: false }),
            Some(PullAnswer::Diverged { .. }) => {
                (Vec::new(), End::Outcome(StoreOutcome::Trouble(Trouble::ServerLostData)))
            }
            Some(PullAnswer::Page(page)) => match self.fit(space, &page)? {
                Fit::Trouble(trouble) => (Vec::new(), End::Outcome(StoreOutcome::Trouble(trouble))),
                Fit::Gap => (Vec::new(), End::Outcome(StoreOutcome::Gap)),
                Fit::Stale => (Vec::new(), End::Nothing { more: page.more }),
                Fit::Behind { known } => {
                    let (next, receipt, more, version) = (page.next, page.receipt, page.more, page.version);
                    let mut entries = page.entries.0;
                    entries.drain(..known);
                    (entries, End::Page { next, receipt, more, version })
                }
            },
        };
        Ok(Intake { verdicts, entries: entries.into_iter(), end, life })
    }

    fn verdicts(&self, space: SpaceId, answer: PushAnswer) -> Result<std::result::Result<Verdicts, Trouble>> {
        let row = self.space(space)?.row;
        let feed = FeedState { head: row.own, acked: row.acked };
        let own = self.own_place(space, answer.acked().n)?;
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
        let part: Vec<PageEntry> = intake.entries.by_ref().take(STORED_AT_ONCE_MAX).collect();
        let last = intake.entries.len() == 0;
        // What is typed upon what goes away now joins the feed first; later its journal would have nothing to stand on.
        if verdicts.as_ref().is_some_and(Verdicts::refuse) || part.iter().any(|entry| goes_away(entry, device)) {
            self.seal(space, None)?;
        }
        let state = self.spaces.get(&space).ok_or(ClientError::NoSpace)?;
        let mut row = state.row;
        if let Some(verdicts) = &verdicts {
            row.acked = verdicts.acked;
        }
        if let (true, End::Page { receipt, .. }) = (last, &intake.end) {
            row.receipt = Some(*receipt);
        }
        let mut effects = Effects::default();
        let nothing_new =
            part.is_empty() && verdicts.as_ref().is_none_or(|verdicts| verdicts.results.is_empty()) && row == state.row;
        if !nothing_new {
            let before = row;
            row = self.store.transaction(|writer| {
                let mut row = before;
                if let Some(verdicts) = &verdicts {
                    verdicts.write(writer, space, device, &mut effects)?;
                }
                for entry in part {
                    effects.take(writer, space, &state.feeds, device, entry, &mut row.cursor)?;
                    if effects.trouble.is_some() {
                        row.receipt = state.row.receipt;
                        break;
                    }
                }
                let mut feed = Feed { space, label: device, device: of_actors, row: &mut row };
                feed.rebuild(writer, &effects.refused)?;
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
        self.regain(space, &intake.end)?;
        if matches!(intake.end, End::Page { more: false, .. }) {
            if self.is_taken(space)? {
                return Ok(Progress::Done(StoreOutcome::Trouble(Trouble::Forked)));
            }
            stored.refused.extend(self.heal(space)?);
        }
        let outcome = self.outcome(space, &intake.end)?;
        Ok(Progress::Done(outcome))
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
        let Effects { feeds, refused, decided, not_a_writer, created, deleted, touched, .. } = effects;
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
            state.sent_n = row.acked.n;
        }
        state.behind.extend(touched);
        for doc in &refused {
            // What was made upon it is made anew, or not at all.
            if let Some(stacks) = self.documents.get_mut(&(space, *doc)).and_then(|open| open.undo.as_mut()) {
                stacks.forget();
            }
        }
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
                *more
            }
        };
        // What is under way needs no further push.
        let gone = state.sent.n.max(state.row.acked.n);
        let unsent = state.label.is_none() && state.row.own.n > gone;
        Ok(StoreOutcome::Done { more: more || unsent, at: state.row.cursor.seq })
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
