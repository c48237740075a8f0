//! The state behind a client's lock: the store, the spaces, the open documents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sync_core::document::{Document, EditError, Edited, Op, Patch, Sealed, encode_ops};
use sync_core::feed::{ChangeId, FeedHead, ItemKind, delete_hash};
use sync_core::graft::Grafts;
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::limits::{OPEN_DOCUMENTS_BYTES_MAX, SESSION_SPACES_MAX};
use sync_core::version::{FeedHeads, VersionVector};

use super::clock;
use super::error::ClientError;
use super::schema::{Declared, Schemas};
use super::store::{Held, NewItem, SpaceRow, Store, StoreError, Writer};

mod access;
mod catch_up;
mod collect;
mod epoch;
mod exclude;
mod fold;
mod heal;
mod held;
mod intake;
mod leave;
mod load;
mod merge;
mod page;
mod readonly;
mod remake;
mod rollback;
mod schema;
mod times;
mod undo;

pub(super) use fold::FoldRule;
pub(super) use heal::Healing;
pub(super) use intake::{Progress, Stored};
pub(super) use load::new_actor;
pub(super) use merge::{Begun, Merge, Swap};
pub(super) use page::Decided;
pub(super) use rollback::AWAITED;
pub(super) use undo::Turning;

pub(super) type Result<T> = std::result::Result<T, ClientError>;

/// Everything that a client knows.
pub(super) struct Engine {
    pub(super) store: Store,
    /// What documents of collections are made of.
    pub(super) schemas: Schemas,
    pub(super) user: String,
    pub(super) device: DeviceId,
    pub(super) spaces: BTreeMap<SpaceId, Space>,
    pub(super) documents: BTreeMap<(SpaceId, DocId), OpenDocument>,
    /// Goes up whenever a document shows something else.
    pub(super) turns: u64,
    uses: u64,
    merges: u64,
    /// Parts of snapshots that came.
    pub(super) parts: u64,
    /// The time in the newest document id that was made here.
    minted_ms: u64,
    /// Where another process writes the store: what was read last, and why nothing newer can be.
    seen: Option<u64>,
    stale: Option<readonly::Stale>,
    /// The store was taken away.
    left: bool,
    /// Devices that this store was, and labels of what it did not send under their names.
    former: BTreeSet<DeviceId>,
    /// There is no token of this device's yet.
    awaits: bool,
    pub(super) folds: FoldRule,
}

/// A space that this device takes part in.
pub(super) struct Space {
    pub(super) row: SpaceRow,
    /// How far each feed of others has arrived.
    pub(super) feeds: FeedHeads,
    /// Documents with open journals, in the order in which these were opened and have to be sealed: a change must not
    /// overtake one that was made before it in another document.
    journals: Vec<DocId>,
    journals_opened: u64,
    /// The last own item that ever went out.
    pub(super) sent_n: u64,
    /// The place behind what was sent since the outbox was last sent from its front.
    sent: FeedHead,
    /// The server does not let the user in.
    barred: bool,
    /// Documents that others have changed in the store, which observers do not know yet.
    behind: BTreeSet<DocId>,
    /// Its feed begins anew when the log is read to its end; until then what is written here is kept under this label.
    label: Option<DeviceId>,
    /// It was removed once and is read from the beginning, with what this device wrote.
    regaining: bool,
    /// Where its present catch-up began: up to there its documents are whole. And what is written down of it.
    base: u64,
    base_on_disk: u64,
    /// What it shows while something in it is missing.
    held: Option<Held>,
    /// And how far others' feeds had come there.
    held_version: Option<VersionVector>,
    /// Another one each time that the space is added, so that what was on its way into the one before is known.
    life: u64,
}

/// A document that is open, or was and is loaded again when it is needed.
#[derive(Default)]
pub(super) struct OpenDocument {
    /// Absent when memory was needed elsewhere, or when only the disk knows what holds.
    pub(super) document: Option<Document>,
    /// Edits that this device has made here; all of them are on disk.
    pub(super) edits: u64,
    /// Changes up to this arrival are applied, and own ones behind it.
    arrival: u64,
    /// The place in the log up to which its snapshot covers it; 0 without one.
    covered: u64,
    /// Everything in the log up to this place is in it, as far as it concerns it; 0 where that is not known.
    through: u64,
    /// Encoded bytes of what is loaded.
    bytes: usize,
    /// How changes stand where something was excluded.
    grafts: Grafts,
    /// While a copy takes in remote changes.
    merging: Option<Merging>,
    /// How far others' feeds were taken in while it was held.
    merged: VersionVector,
    /// How many hold it at what it shows now.
    pub(super) holds: usize,
    /// It was read from the disk with something that observers have not been told of.
    unseen: bool,
    used: u64,
    /// What its collection's schema is here.
    pub(super) schema: Option<Arc<Declared>>,
    /// While somebody wants to undo edits.
    undo: Option<undo::UndoStacks>,
}

/// An edit that was made in memory.
struct Made<T> {
    ops: Vec<Op>,
    edited: Edited,
    with: T,
}

/// With what a journal begins.
struct Begins<'a> {
    heads: &'a [Hash],
    actor: Actor,
    mark: Option<u32>,
}

/// What a merge that is under way has to know when it is done.
struct Merging {
    /// Which one; another one may have begun since.
    id: u64,
    /// What was sealed on the old copy meanwhile.
    sealed: Vec<Vec<u8>>,
}

impl Space {
    fn new(row: SpaceRow) -> Self {
        Self {
            row,
            feeds: FeedHeads::default(),
            journals: Vec::new(),
            journals_opened: 0,
            sent_n: row.acked.n,
            sent: row.acked,
            barred: false,
            behind: BTreeSet::new(),
            label: None,
            regaining: false,
            base: 0,
            base_on_disk: 0,
            held: None,
            held_version: None,
            life: 0,
        }
    }
}

impl Space {
    /// How far others' feeds have come in what it shows.
    pub(super) fn shown_version(&self) -> VersionVector {
        self.held_version.clone().unwrap_or_else(|| self.feeds.vector())
    }
}

impl OpenDocument {
    /// Whether a copy is taking in remote changes.
    pub(super) fn is_merging(&self) -> bool {
        self.merging.is_some()
    }
}

impl Engine {
    pub(super) fn open(store: Store, user: String, device: DeviceId) -> Result<Self> {
        let mut engine = Self {
            store,
            schemas: Schemas::new(),
            user,
            device,
            spaces: BTreeMap::new(),
            documents: BTreeMap::new(),
            turns: 0,
            uses: 0,
            merges: 0,
            parts: 0,
            minted_ms: 0,
            seen: None,
            stale: None,
            left: false,
            former: BTreeSet::new(),
            awaits: false,
            folds: FoldRule::default(),
        };
        engine.read_identity()?;
        engine.read_spaces()?;
        Ok(engine)
    }

    /// Seals what a kill left in journals, in the order in which it was written.
    pub(super) fn recover(&mut self) -> Result<()> {
        for (space, doc) in self.journals() {
            self.loaded(space, doc)?;
            match self.seal(space, Some(doc)) {
                // A full disk does not keep anybody from reading; it is sealed when there is room.
                Err(ClientError::DiskFull) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// The same in a store that was repaired: a journal whose document is lost is dropped; the damaged file has it.
    pub(super) fn recover_what_can_be(&mut self) -> Result<()> {
        for (space, doc) in self.journals() {
            let recovered = self.loaded(space, doc).and_then(|()| self.seal(space, Some(doc)));
            if recovered.is_err() {
                self.store.transaction(|writer| writer.close_journal(space, doc))?;
                if let Some(state) = self.spaces.get_mut(&space) {
                    state.journals.retain(|open| *open != doc);
                }
            }
        }
        Ok(())
    }

    fn journals(&self) -> Vec<(SpaceId, DocId)> {
        let of = |(space, state): (&SpaceId, &Space)| {
            let space = *space;
            state.journals.iter().map(|doc| (space, *doc)).collect::<Vec<_>>()
        };
        self.spaces.iter().flat_map(of).collect()
    }

    pub(super) fn space(&self, space: SpaceId) -> Result<&Space> {
        self.is_open()?;
        self.check_fresh()?;
        self.spaces.get(&space).ok_or(ClientError::NoSpace)
    }

    pub(super) fn add_space(&mut self, space: SpaceId) -> Result<()> {
        self.is_open()?;
        if self.spaces.contains_key(&space) {
            return Ok(());
        }
        self.check_writable()?;
        if self.spaces.len() >= SESSION_SPACES_MAX {
            return Err(ClientError::TooManySpaces(SESSION_SPACES_MAX));
        }
        let mut row = SpaceRow::new(space, self.device);
        let removed = self.store.read().removed(space)?;
        if let Some((own, acked)) = removed {
            (row.own, row.acked) = (own, acked);
        }
        // Which device this is, a token is yet to say.
        let label = self.awaits.then(rollback::new_device);
        self.store.transaction(|writer| {
            writer.set_space(space, &row)?;
            label.map_or(Ok(()), |label| writer.begin_healing(space, label))
        })?;
        if let Some(label) = label {
            self.former.insert(label);
        }
        self.uses += 1;
        let fresh = Space { label, regaining: removed.is_some(), life: self.uses, ..Space::new(row) };
        self.spaces.insert(space, fresh);
        Ok(())
    }

    pub(super) fn create(&mut self, space: SpaceId, collection: &str) -> Result<DocId> {
        self.may_edit(space)?;
        let mut random = [0; 10];
        clock::fill(&mut random);
        // Never twice the same, so that documents are listed in the order in which they were made.
        self.minted_ms = clock::wall_ms().max(self.minted_ms + 1);
        let doc = DocId::mint(self.minted_ms, random);
        self.bring_into_being(space, doc, collection)?;
        Ok(doc)
    }

    pub(super) fn delete(&mut self, space: SpaceId, doc: DocId) -> Result<()> {
        self.may_edit(space)?;
        self.loaded(space, doc)?;
        self.seal(space, None)?;
        let (device, mut row) = (self.feed_of(space)?, self.space(space)?.row);
        self.store.transaction(|writer| {
            writer.set_deleted(space, doc, true)?;
            append(writer, space, device, &mut row, ItemKind::Delete, doc, delete_hash(doc), None, 0)
        })?;
        self.moved_on(space, row);
        self.documents.remove(&(space, doc));
        if let Some(state) = self.spaces.get_mut(&space) {
            state.behind.remove(&doc);
        }
        self.turns += 1;
        Ok(())
    }

    /// Makes an edit durable, and gives its number and what observers must do. On an error nothing has changed.
    pub(super) fn edit(&mut self, space: SpaceId, doc: DocId, ops: Vec<Op>) -> Result<(u64, Vec<Patch>)> {
        self.may_edit(space)?;
        self.loaded(space, doc)?;
        let written = self.write(space, doc, |document, recorded| {
            let (edited, step) = if recorded {
                document.edit_recorded(ops.clone(), &mut clock::random)?
            } else {
                (document.edit(ops.clone(), &mut clock::random)?, None)
            };
            Ok(Made { ops, edited, with: step })
        })?;
        // An edit has operations, or is none.
        let (edit, patches, step) = written.ok_or(ClientError::Edit(EditError::Empty))?;
        if let Some(stacks) = self.documents.get_mut(&(space, doc)).and_then(|open| open.undo.as_mut()) {
            stacks.edited(step);
        }
        Ok((edit, patches))
    }

    /// Makes an edit in memory and on disk; `None` if it came to nothing. Whether edits are to be undone later is said to
    /// `make`.
    fn write<T>(
        &mut self,
        space: SpaceId,
        doc: DocId,
        make: impl FnOnce(&mut Document, bool) -> std::result::Result<Made<T>, EditError>,
    ) -> Result<Option<(u64, Vec<Patch>, T)>> {
        self.check_schema(space, doc)?;
        // An edit behind another document's may not join a change in front of it.
        let journals = &self.space(space)?.journals;
        if journals.contains(&doc)
            && journals.last() != Some(&doc)
            && !sync_core::mutation!("edit-joins-an-earlier-change")
        {
            self.seal(space, Some(doc))?;
        }
        let open = self.documents.get_mut(&(space, doc)).ok_or(ClientError::NoDocument(doc))?;
        let document = open.document.as_mut().ok_or(ClientError::NoDocument(doc))?;
        let begins = (!document.is_open()).then(|| document.heads());
        let actor = document.actor();
        let Made { ops, edited, with } = match make(document, open.undo.is_some()) {
            Ok(made) if made.ops.is_empty() => return Ok(None),
            Ok(made) => made,
            Err(error) => {
                if document.is_lost() {
                    open.document = None;
                }
                return Err(error.into());
            }
        };
        let edit = open.edits + 1;
        let Ok(encoded) = encode_ops(&ops) else {
            self.give_up(space, doc);
            return Err(ClientError::Corrupt);
        };
        let stored = if edited.sealed.is_empty() {
            let mark = document.journal_mark();
            self.note(space, doc, edit, &encoded, begins.as_deref().map(|heads| Begins { heads, actor, mark }))
        } else {
            self.overflow(space, doc, edited.sealed)
        };
        let open = self.documents.entry((space, doc)).or_default();
        match stored {
            Ok(()) => {
                open.edits = edit;
                open.bytes += encoded.len();
                self.turns += 1;
                Ok(Some((edit, edited.patches, with)))
            }
            Err(error) => {
                // The disk did not take it, so the document goes back to what is on disk before its next edit.
                if !sync_core::mutation!("shows-what-the-disk-refused") {
                    self.give_up(space, doc);
                }
                Err(error)
            }
        }
    }

    fn note(&mut self, space: SpaceId, doc: DocId, edit: u64, ops: &[u8], begins: Option<Begins<'_>>) -> Result<()> {
        let opened = self.space(space)?.journals_opened + 1;
        self.store.transaction(|writer| {
            if let Some(Begins { heads, actor, mark }) = &begins {
                writer.open_journal(space, doc, opened, heads, actor, *mark)?;
                writer.set_actor(space, doc, Some(actor))?;
            }
            if sync_core::mutation!("edit-not-journaled") && edit.is_multiple_of(4) {
                return Ok(());
            }
            writer.add_edit(space, doc, edit, ops)
        })?;
        if let (Some(_), Some(state)) = (&begins, self.spaces.get_mut(&space)) {
            state.journals.push(doc);
            state.journals_opened = opened;
        }
        Ok(())
    }

    /// An edit that filled the journal: what was open before it in other documents is sealed first.
    fn overflow(&mut self, space: SpaceId, doc: DocId, sealed: Vec<Sealed>) -> Result<()> {
        let before: Vec<DocId> = self.space(space)?.journals.iter().copied().take_while(|open| *open != doc).collect();
        let mut work = self.seal_in_memory(space, before)?;
        work.push((doc, sealed));
        self.write_sealed(space, work)
    }

    /// Seals the open journals of a space in their order, through that of `through` or all of them.
    pub(in crate::client) fn seal(&mut self, space: SpaceId, through: Option<DocId>) -> Result<()> {
        let journals = &self.space(space)?.journals;
        let count = match through {
            None => journals.len(),
            Some(doc) => journals.iter().position(|open| *open == doc).map_or(0, |at| at + 1),
        };
        if count == 0 {
            return Ok(());
        }
        self.check_writable()?;
        let mut journals = journals[..count].to_vec();
        if sync_core::mutation!("journals-sealed-backwards") {
            journals.reverse();
        }
        let work = self.seal_in_memory(space, journals)?;
        self.write_sealed(space, work)
    }

    fn seal_in_memory(&mut self, space: SpaceId, journals: Vec<DocId>) -> Result<Vec<(DocId, Vec<Sealed>)>> {
        let mut work = Vec::with_capacity(journals.len());
        for doc in journals {
            // Loading a document that was closed in between seals its journal by itself.
            self.loaded(space, doc)?;
            let open = self.documents.get_mut(&(space, doc)).and_then(|open| open.document.as_mut());
            let sealed = open.and_then(|document| document.seal(&mut clock::random));
            work.push((doc, sealed.into_iter().collect()));
        }
        Ok(work)
    }

    fn write_sealed(&mut self, space: SpaceId, work: Vec<(DocId, Vec<Sealed>)>) -> Result<()> {
        let (device, mut row) = (self.feed_of(space)?, self.space(space)?.row);
        if sync_core::mutation!("sealed-in-two-steps") {
            self.store.transaction(|writer| work.iter().try_for_each(|(doc, _)| writer.close_journal(space, *doc)))?;
        }
        let written = self.store.transaction(|writer| {
            for (doc, sealed) in &work {
                let mut edits = writer.document(space, *doc)?.map_or(0, |stored| stored.edits);
                for change in sealed {
                    edits += change.edits;
                    if sync_core::mutation!("journal-lost-at-seal") && row.own.n % 4 == 3 {
                        continue;
                    }
                    let payload = Some(change.bytes.as_slice());
                    append(writer, space, device, &mut row, ItemKind::Change, *doc, change.hash, payload, edits)?;
                }
                writer.set_edits(space, *doc, edits)?;
                writer.close_journal(space, *doc)?;
            }
            writer.set_space(space, &row)
        });
        if let Err(error) = written {
            for (doc, _) in work {
                self.give_up(space, doc);
            }
            return Err(ClientError::from(error));
        }
        self.moved_on(space, row);
        for (doc, sealed) in work {
            if let Some(state) = self.spaces.get_mut(&space) {
                state.journals.retain(|open| *open != doc);
            }
            let merging = self.documents.get_mut(&(space, doc)).and_then(|open| open.merging.as_mut());
            if let Some(merging) = merging {
                merging.sealed.extend(sealed.into_iter().map(|change| change.bytes));
            }
        }
        Ok(())
    }

    fn moved_on(&mut self, space: SpaceId, row: SpaceRow) {
        if let Some(state) = self.spaces.get_mut(&space) {
            state.row = row;
        }
    }

    /// Closes documents that were not used for long, when the open ones take more memory than they may.
    fn close_some(&mut self, keep: (SpaceId, DocId)) {
        // An open document takes a few times its encoded size.
        let weight = |open: &OpenDocument| open.document.as_ref().map_or(0, |_| open.bytes * 4 + 4096);
        let mut total: usize = self.documents.values().map(weight).sum();
        while total > OPEN_DOCUMENTS_BYTES_MAX {
            let idle = self.documents.iter_mut().filter(|(key, open)| {
                let document = open.document.as_ref();
                **key != keep
                    && open.merging.is_none()
                    && open.holds == 0
                    && document.is_some_and(|open| !open.is_open())
            });
            let Some((_, open)) = idle.min_by_key(|(_, open)| open.used) else { return };
            total -= weight(open);
            open.document = None;
        }
    }
}

/// Adds an own item to the feed.
#[expect(clippy::too_many_arguments, reason = "one row of the feed; a struct of them would be used here alone")]
fn append(
    writer: &Writer<'_>,
    space: SpaceId,
    device: DeviceId,
    row: &mut SpaceRow,
    kind: ItemKind,
    doc: DocId,
    hash: Hash,
    payload: Option<&[u8]>,
    last_edit: u64,
) -> std::result::Result<(), StoreError> {
    row.own = row.own.next(kind, doc, hash);
    let FeedHead { n, chain } = row.own;
    let id = ChangeId { device, n };
    writer.add_item(
        space,
        &NewItem { id, kind, doc, hash, payload, decided: None, taken_s: None, own: Some((last_edit, chain)) },
    )?;
    writer.set_space(space, row)
}
