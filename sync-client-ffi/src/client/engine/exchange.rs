//! The exchange with the server: what goes into a request, and what an answer does to the store.

use std::collections::BTreeSet;

use sync_core::chunk::Chunk;
use sync_core::feed::{Body, ChangeId, FeedHead, ItemKind};
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::log::{Cursor, Entry, Verdict};
use sync_core::session::{Collected, FeedState, Meaning, StoreOutcome, Trouble, meaning};
use sync_core::wire::{ItemStatus, Page, PageEntry, PullAnswer, PushAnswer};

use super::{Engine, Result};
use crate::client::error::ClientError;
use crate::client::store::{NewItem, SpaceRow, StoreError, Writer};

/// Entries that are stored in one transaction: the lock is free between two, so that an edit never waits for a page.
const STORED_AT_ONCE_MAX: usize = 500;

/// What storing a part of an answer changed, for observers and for whoever waits.
#[derive(Debug, Default)]
pub(in crate::client) struct Stored {
    /// Documents that must be loaded again: a change of this device was refused.
    pub(in crate::client) rebuilt: BTreeSet<DocId>,
    /// Documents that were deleted.
    pub(in crate::client) deleted: BTreeSet<DocId>,
}

/// A page on its way into the store.
pub(in crate::client) struct Intake {
    entries: std::vec::IntoIter<PageEntry>,
    next: Cursor,
    receipt: sync_core::log::Receipt,
    version: Option<sync_core::version::FeedHeads>,
    more: bool,
}

impl Intake {
    pub(in crate::client) fn new(page: Page) -> Self {
        let Page { entries, next, more, receipt, version } = page;
        Self { entries: entries.0.into_iter(), next, receipt, version, more }
    }
}

/// How taking in a page goes on.
pub(in crate::client) enum Progress {
    /// There is more of the page.
    Again,
    /// The page is on disk.
    Done(StoreOutcome),
}

impl Engine {
    /// Seals what is open and reads the front of the outbox.
    pub(in crate::client) fn collect(&mut self, space: SpaceId, bytes_max: usize) -> Result<Collected> {
        self.seal(space, None)?;
        let device = self.device;
        let row = self.space(space)?.row;
        let run = if row.own.n > row.acked.n {
            let run = self.store.read().outbox(space, device, row.acked, bytes_max)?;
            (!run.items.is_empty()).then_some(run)
        } else {
            None
        };
        if let (Some(state), Some(run)) = (self.spaces.get_mut(&space), &run) {
            state.sent_n = state.sent_n.max(run.base.n + run.items.len() as u64);
        }
        let cursor = (row.cursor.seq > 0).then_some(row.cursor);
        Ok(Collected { run, cursor })
    }

    /// Takes the answer to a push.
    pub(in crate::client) fn take_push(
        &mut self,
        space: SpaceId,
        answer: &PushAnswer,
        stored: &mut Stored,
    ) -> Result<Option<Trouble>> {
        let mut row = self.space(space)?.row;
        let feed = FeedState { head: row.own, acked: row.acked };
        let own_chain = self.store.read().own_chain(space, self.device, answer.acked().n)?;
        let meaning = meaning(feed, answer, own_chain);
        row.acked = match meaning {
            Meaning::Acknowledged(acked) | Meaning::SendFrom(acked) => acked,
            Meaning::Trouble(trouble) => return Ok(Some(trouble)),
        };
        if let PushAnswer::Taken { results, .. } = answer
            && results.iter().any(|result| result.code.is_some())
        {
            row = self.seal_before_a_refusal(space, row)?;
        }
        let before = self.space(space)?.row.acked.n;
        let device = self.device;
        let refused = self.store.transaction(|writer| {
            let mut refused = BTreeSet::new();
            if let PushAnswer::Taken { acked, results, .. } = answer {
                let first = (acked.n + 1).saturating_sub(results.len() as u64);
                for (result, n) in results.iter().zip(first..) {
                    let verdict = match (result.status, result.code) {
                        (ItemStatus::Rejected | ItemStatus::Duplicate, Some(code)) => Verdict::Rejected(code),
                        _ => Verdict::Applied,
                    };
                    let id = ChangeId { device, n };
                    decide_own(writer, space, id, result.seq, verdict, &mut refused)?;
                }
            }
            writer.set_space(space, &row)?;
            Ok::<_, StoreError>(refused)
        })?;
        if let Some(state) = self.spaces.get_mut(&space) {
            state.row = row;
            if row.acked.n < before {
                state.sent_n = row.acked.n;
            }
        }
        self.rebuild(space, &refused);
        stored.rebuilt.extend(refused);
        Ok(None)
    }

    /// What is typed upon a change joins the feed before that is taken out of the document; later the journal would have
    /// nothing to stand on. Gives the row as it is then, with what the answer acknowledges.
    fn seal_before_a_refusal(&mut self, space: SpaceId, row: SpaceRow) -> Result<SpaceRow> {
        self.seal(space, None)?;
        Ok(SpaceRow { own: self.space(space)?.row.own, ..row })
    }

    fn rebuild(&mut self, space: SpaceId, docs: &BTreeSet<DocId>) {
        for doc in docs {
            if let Some(open) = self.documents.get_mut(&(space, *doc)) {
                open.document = None;
                open.merging = None;
            }
        }
    }

    /// Checks a page against the chain before anything of it is stored.
    pub(in crate::client) fn check_page(&self, space: SpaceId, page: &Page) -> Result<Option<Trouble>> {
        let mut cursor = self.space(space)?.row.cursor;
        for entry in &page.entries.0 {
            let Some(hash) = self.hash_of(space, entry)? else {
                // An entry of our own that this store does not hold: it was rolled back.
                return Ok(Some(Trouble::RolledBack));
            };
            let header =
                sync_core::log::Header { id: entry.id, kind: entry.kind, doc: entry.doc, hash, verdict: entry.verdict };
            cursor = cursor.next(&header);
        }
        Ok((cursor != page.next).then_some(Trouble::BrokenLog))
    }

    fn hash_of(&self, space: SpaceId, entry: &PageEntry) -> Result<Option<Hash>> {
        if entry.id.device != self.device {
            return Ok(entry.hash);
        }
        let own = self.store.read().item(space, entry.id)?.map(|(_, hash, _)| hash);
        Ok(own)
    }

    /// Stores the next part of a page.
    pub(in crate::client) fn take_page(
        &mut self,
        space: SpaceId,
        intake: &mut Intake,
        stored: &mut Stored,
    ) -> Result<Progress> {
        let device = self.device;
        let part: Vec<PageEntry> = intake.entries.by_ref().take(STORED_AT_ONCE_MAX).collect();
        // What is typed upon what goes away now joins the feed first; later its journal would have nothing to stand on.
        let goes_away = |entry: &PageEntry| match entry.verdict {
            Verdict::Applied => entry.kind == ItemKind::Delete,
            Verdict::Rejected(_) => entry.id.device == device,
        };
        if part.iter().any(goes_away) {
            self.seal(space, None)?;
        }
        let state = self.space(space)?;
        let (mut row, mut feeds) = (state.row, state.feeds.clone());
        let last = intake.entries.len() == 0;
        let mut deleted = BTreeSet::new();
        let mut trouble = None;
        let refused = self.store.transaction(|writer| {
            let mut refused = BTreeSet::new();
            for page_entry in part {
                let own = if page_entry.id.device == device { writer.item(space, page_entry.id)? } else { None };
                let Some(entry) = page_entry.resolve(|_| own.map(|(_, hash, _)| hash)) else {
                    return Err(StoreError::Row { table: "items" });
                };
                let next = row.cursor.next(&entry.header);
                let seq = next.seq;
                if entry.header.id.device == device {
                    decide_own(writer, space, entry.header.id, seq, entry.header.verdict, &mut refused)?;
                } else if let Err(found) = take_foreign(writer, space, seq, &entry, &mut feeds)? {
                    trouble = Some(found);
                    break;
                }
                take_effect(writer, space, &entry, &mut deleted)?;
                row.cursor = next;
            }
            if last && trouble.is_none() {
                row.receipt = Some(intake.receipt);
            }
            writer.set_space(space, &row)?;
            Ok(refused)
        })?;
        if let Some(state) = self.spaces.get_mut(&space) {
            state.row = row;
            state.feeds = feeds;
        }
        self.rebuild(space, &refused);
        for doc in &deleted {
            if let Some(open) = self.documents.get_mut(&(space, *doc)) {
                open.document = None;
                open.merging = None;
            }
        }
        stored.rebuilt.extend(refused);
        stored.deleted.extend(deleted);
        if let Some(trouble) = trouble {
            return Ok(Progress::Done(StoreOutcome::Trouble(trouble)));
        }
        if !last {
            return Ok(Progress::Again);
        }
        debug_assert_eq!(row.cursor, intake.next, "the page was checked before");
        Ok(Progress::Done(self.outcome(space, intake.more, intake.version.as_ref())?))
    }

    fn outcome(
        &self,
        space: SpaceId,
        more: bool,
        version: Option<&sync_core::version::FeedHeads>,
    ) -> Result<StoreOutcome> {
        let state = self.space(space)?;
        if version.is_some_and(|version| !state.feeds.forks(version).is_empty()) {
            return Ok(StoreOutcome::Trouble(Trouble::BrokenLog));
        }
        Ok(StoreOutcome::Done { more: more || state.row.own.n > state.row.acked.n })
    }

    /// After an answer without a page.
    pub(in crate::client) fn take_no_page(&self, space: SpaceId, answer: Option<PullAnswer>) -> Result<StoreOutcome> {
        match answer {
            Some(PullAnswer::Diverged { .. }) => Ok(StoreOutcome::Trouble(Trouble::ServerLostData)),
            _ => self.outcome(space, false, None),
        }
    }
}

fn decide_own(
    writer: &Writer<'_>,
    space: SpaceId,
    id: ChangeId,
    seq: u64,
    verdict: Verdict,
    refused: &mut BTreeSet<DocId>,
) -> std::result::Result<(), StoreError> {
    let Some((doc, _, known)) = writer.item(space, id)? else { return Ok(()) };
    if known == Some(verdict) {
        return Ok(());
    }
    writer.decide(space, id, seq, verdict)?;
    if matches!(verdict, Verdict::Rejected(_)) {
        // What follows the refused change cannot follow on in its actor's sequence: the device writes on under a new one,
        // unless it does so already.
        let author = writer
            .payload(space, id)?
            .and_then(|bytes| Chunk::read(&bytes).ok().and_then(|chunk| Actor::from_slice(chunk.actor()).ok()));
        if author.is_some() && writer.document(space, doc)?.is_some_and(|document| document.actor == author) {
            writer.set_actor(space, doc, None)?;
        }
        refused.insert(doc);
    }
    Ok(())
}

/// Stores an entry of another device; the inner error says that its feed contradicts what is here.
fn take_foreign(
    writer: &Writer<'_>,
    space: SpaceId,
    seq: u64,
    entry: &Entry,
    feeds: &mut sync_core::version::FeedHeads,
) -> std::result::Result<std::result::Result<(), Trouble>, StoreError> {
    let header = &entry.header;
    let device: DeviceId = header.id.device;
    let at = feeds.get(device).unwrap_or_else(|| FeedHead::start(space, device));
    if header.id.n <= at.n {
        // It came by another way before.
        writer.decide(space, header.id, seq, header.verdict)?;
        return Ok(Ok(()));
    }
    let next = at.next(header.kind, header.doc, header.hash);
    if next.n != header.id.n {
        return Ok(Err(Trouble::BrokenLog));
    }
    feeds.set(device, next);
    writer.set_feed(space, device, next)?;
    let payload = match &entry.body {
        Some(Body::Create { collection }) => Some(collection.as_bytes()),
        Some(Body::Change { bytes }) => Some(bytes.as_slice()),
        _ => None,
    };
    let decided = Some((seq, header.verdict));
    let (id, kind, doc, hash) = (header.id, header.kind, header.doc, header.hash);
    writer.add_item(space, &NewItem { id, kind, doc, hash, payload, decided, own: None })?;
    Ok(Ok(()))
}

fn take_effect(
    writer: &Writer<'_>,
    space: SpaceId,
    entry: &Entry,
    deleted: &mut BTreeSet<DocId>,
) -> std::result::Result<(), StoreError> {
    let header = &entry.header;
    if header.verdict != Verdict::Applied {
        // A deletion of ours that was refused did not happen.
        if header.kind == ItemKind::Delete
            && header.verdict != Verdict::Rejected(sync_core::code::RejectCode::DocumentDeleted)
        {
            writer.set_deleted(space, header.doc, false)?;
        }
        return Ok(());
    }
    match (header.kind, &entry.body) {
        (ItemKind::Create, Some(Body::Create { collection })) => writer.add_document(space, header.doc, collection),
        (ItemKind::Delete, _) => {
            deleted.insert(header.doc);
            writer.set_deleted(space, header.doc, true)
        }
        _ => Ok(()),
    }
}

impl Engine {
    /// How much of a space is not on the server: edits in journals, and changes in the outbox.
    pub(in crate::client) fn pending(&self, space: SpaceId) -> Result<(u64, u64)> {
        let state = self.space(space)?;
        let mut edits = 0;
        for doc in &state.journals {
            edits += self.store.read().journal(space, *doc)?.map_or(0, |journal| journal.edits.len() as u64);
        }
        Ok((edits, state.row.own.n - state.row.acked.n))
    }

    /// The row of a space.
    pub(in crate::client) fn row(&self, space: SpaceId) -> Result<SpaceRow> {
        Ok(self.space(space).map_err(|_| ClientError::NoSpace)?.row)
    }
}
