//! Taking out of a document what was refused, and making anew what this device made upon it; and making again what is in
//! quarantine.

use std::collections::BTreeSet;

use sync_core::code::RejectCode;
use sync_core::feed::{ChangeId, ItemKind, create_hash};
use sync_core::id::{Actor, DeviceId, DocId, SpaceId};
use sync_core::limits::{OFFER_AGAIN_BASE_MS, OFFER_AGAIN_CAP_MS, OFFERS_MAX};
use sync_core::quarantine::{self, Left, Outgoing, State, Stored};
use sync_core::reauthor::{Made, MadeChange, NoChange, Why};

use super::load::new_actor;
use super::{Engine, Result, append};
use crate::client::clock;
use crate::client::error::ClientError;
use crate::client::store::{KeptEntry, SpaceRow, StoreError, StoredChange, Writer};

type Done<T> = std::result::Result<T, StoreError>;

/// In whose name changes of a space are made anew, and where its feed stands.
pub(super) struct Feed<'a> {
    pub(super) space: SpaceId,
    /// Whose feed it is.
    pub(super) label: DeviceId,
    /// Whose actors write.
    pub(super) device: DeviceId,
    pub(super) row: &'a mut SpaceRow,
}

/// A change that goes out of its document, and what is written in its place.
pub(super) struct Plan {
    pub(super) id: ChangeId,
    pub(super) doc: DocId,
    pub(super) author: Actor,
    pub(super) code: RejectCode,
    pub(super) made: Option<MadeChange>,
    pub(super) left: Left,
}

pub(super) fn unreadable(error: NoChange) -> StoreError {
    tracing::error!(%error, "an own change cannot be read");
    StoreError::Row { table: "items" }
}

impl Feed<'_> {
    /// Rebuilds documents without what was refused of them.
    pub(super) fn rebuild(&mut self, writer: &Writer<'_>, docs: &BTreeSet<DocId>) -> Done<()> {
        let mut plans = Vec::new();
        for doc in docs {
            plans.extend(self.plan(writer, *doc, None)?);
        }
        // In the order in which it was written, across documents too.
        plans.sort_by_key(|plan| plan.id);
        for plan in plans {
            self.carry_out(writer, plan)?;
        }
        for doc in docs {
            // What follows a refused change cannot follow on in its actor's sequence.
            if let Some(document) = writer.document(self.space, *doc)?
                && let Some(actor) = document.actor
                && !sync_core::mutation!("actor-kept")
                && wrote_something_out(actor, writer, self.space, *doc)?
            {
                writer.set_actor(self.space, *doc, None)?;
            }
        }
        Ok(())
    }

    /// What goes out of a document, and what is written in its place; and so what is `unsent` of a feed.
    pub(super) fn plan(&self, writer: &Writer<'_>, doc: DocId, unsent: Option<DeviceId>) -> Done<Vec<Plan>> {
        let (ids, changes) = apart(writer.all_changes(self.space, doc)?, unsent);
        let deleted = writer.document(self.space, doc)?.is_none_or(|document| document.deleted);
        let stands = !deleted && !writer.is_creation_refused(self.space, doc)?;
        let author = new_actor(self.device);
        let outgoing = quarantine::rebuild(&changes, author, stands, &mut clock::random).map_err(unreadable)?;
        let plan = |Outgoing { index, code, made, left }: Outgoing| {
            let code = if deleted { RejectCode::DocumentDeleted } else { code };
            Plan { id: ids[index], doc, author, code, made, left }
        };
        Ok(outgoing.into_iter().map(plan).collect())
    }

    pub(super) fn carry_out(&mut self, writer: &Writer<'_>, plan: Plan) -> Done<()> {
        let Plan { id, doc, author, code, made, left } = plan;
        writer.take_out(self.space, id)?;
        if let Some(made) = made {
            let by = self.append(writer, doc, &made)?;
            writer.add_copy(self.space, id, by, &made.indices, 0)?;
            writer.set_actor(self.space, doc, Some(&author))?;
        }
        let offers = writer.offers(self.space, id)?;
        self.keep(writer, id, doc, code, &left, offers)
    }

    /// Puts what is left of a change into quarantine.
    fn keep(
        &self,
        writer: &Writer<'_>,
        id: ChangeId,
        doc: DocId,
        code: RejectCode,
        left: &Left,
        offers: u64,
    ) -> Done<()> {
        if left.is_nothing() {
            writer.leave_quarantine(self.space, id)?;
            return Ok(());
        }
        let operations = match left {
            Left::Whole => None,
            Left::Operations(left) => {
                Some(left.iter().filter(|left| left.why != Why::Moot).map(|left| left.index).collect())
            }
        };
        let since_ms = clock::wall_ms();
        writer.set_quarantine(self.space, &KeptEntry { id, doc, code, operations, offers, since_ms })
    }

    fn append(&mut self, writer: &Writer<'_>, doc: DocId, made: &sync_core::reauthor::MadeChange) -> Done<ChangeId> {
        let payload = Some(made.bytes.as_slice());
        append(writer, self.space, self.label, self.row, ItemKind::Change, doc, made.hash, payload, 0)?;
        Ok(ChangeId { device: self.label, n: self.row.own.n })
    }

    /// Makes anew what is in quarantine of a change. Gives whether all of it could be.
    fn apply_again(&mut self, writer: &Writer<'_>, entry: &KeptEntry, by_itself: bool) -> Done<bool> {
        let KeptEntry { id, doc, code, ref operations, offers, .. } = *entry;
        // Who says so may change everything; what is done by itself replaces nothing that was written since.
        let offers = if by_itself { offers + 1 } else { 0 };
        match writer.kind(self.space, id)? {
            // It would break the document again.
            _ if code == RejectCode::BreaksDocument => Ok(false),
            Some(ItemKind::Create) => {
                let Some(name) = writer.payload(self.space, id)? else { return Ok(false) };
                let collection = String::from_utf8(name).map_err(|_| StoreError::Row { table: "items" })?;
                let hash = create_hash(doc, &collection);
                let payload = Some(collection.as_bytes());
                append(writer, self.space, self.label, self.row, ItemKind::Create, doc, hash, payload, 0)?;
                let by = ChangeId { device: self.label, n: self.row.own.n };
                writer.add_copy(self.space, id, by, &[], offers)?;
                writer.leave_quarantine(self.space, id)
            }
            Some(ItemKind::Change) => {
                let (ids, mut changes) = apart(writer.all_changes(self.space, doc)?, None);
                let Some(mut index) = ids.iter().position(|of| *of == id) else { return Ok(false) };
                // What is gone of one that stands is said by what it was sealed as.
                if !writer.is_out(self.space, id)?
                    && let (Some(item), Some(bytes)) = (writer.item(self.space, id)?, writer.payload(self.space, id)?)
                {
                    index = changes.len();
                    changes.push(Stored { hash: item.hash, bytes, state: State::Out, copies: Vec::new() });
                }
                let known = writer.document(self.space, doc)?.and_then(|document| document.actor);
                let author = known.unwrap_or_else(|| new_actor(self.device));
                let Made { change, left_out, .. } =
                    quarantine::again(&changes, author, index, operations.as_deref(), by_itself, &mut clock::random)
                        .map_err(unreadable)?;
                if let Some(made) = change {
                    let by = self.append(writer, doc, &made)?;
                    writer.add_copy(self.space, id, by, &made.indices, offers)?;
                    writer.set_actor(self.space, doc, Some(&author))?;
                }
                let mut left = Left::Operations(left_out);
                if sync_core::mutation!("kept-after-offer") {
                    left = Left::Whole;
                }
                self.keep(writer, id, doc, code, &left, offers)?;
                Ok(left.is_nothing())
            }
            _ => Ok(false),
        }
    }
}

pub(super) fn apart(stored: Vec<StoredChange>, unsent: Option<DeviceId>) -> (Vec<ChangeId>, Vec<Stored>) {
    let state = |StoredChange { id, mut change, own }: StoredChange| {
        change.state = match change.state {
            State::Own if unsent == Some(id.device) => State::Unsent,
            // Others' refused changes are none of this device's.
            State::Refused(_) if !own => State::Out,
            state => state,
        };
        (id, change)
    };
    stored.into_iter().map(state).unzip()
}

fn wrote_something_out(actor: Actor, writer: &Writer<'_>, space: SpaceId, doc: DocId) -> Done<bool> {
    let of = |bytes: &[u8]| sync_core::guard::inspect(bytes).is_ok_and(|guarded| guarded.actor == actor);
    let changes = writer.all_changes(space, doc)?;
    Ok(changes.iter().any(|stored| stored.change.state == State::Out && of(&stored.change.bytes)))
}

/// Whether the cause of a refusal can clear.
fn can_clear(code: RejectCode) -> bool {
    matches!(
        code,
        RejectCode::NotAWriter
            | RejectCode::Validation
            | RejectCode::DocumentOperationsQuota
            | RejectCode::DocumentActorsQuota
            | RejectCode::SpaceDocumentsQuota
            | RejectCode::UnknownDocument
    )
}

fn is_due(entry: &KeptEntry, now_ms: u64) -> bool {
    let wait_ms = match entry.offers {
        0 => 0,
        offers => OFFER_AGAIN_BASE_MS.saturating_mul(1 << (offers - 1).min(32)).min(OFFER_AGAIN_CAP_MS),
    };
    // A clock that was set back makes nobody wait for ever.
    entry.offers < OFFERS_MAX && now_ms.abs_diff(entry.since_ms) >= wait_ms
}

impl Engine {
    /// Makes anew, in the feed of a space.
    fn in_feed<T>(
        &mut self,
        space: SpaceId,
        work: impl FnOnce(&Writer<'_>, &mut Feed<'_>) -> std::result::Result<T, ClientError>,
    ) -> Result<T> {
        self.may_edit(space)?;
        self.seal(space, None)?;
        let (label, device, mut row) = (self.feed_of(space)?, self.device, self.space(space)?.row);
        let done = self.store.transaction(|writer| {
            let mut feed = Feed { space, label, device, row: &mut row };
            let done = work(writer, &mut feed)?;
            writer.set_space(space, &row)?;
            Ok::<_, ClientError>(done)
        })?;
        self.moved_on(space, row);
        Ok(done)
    }

    fn entry(&self, space: SpaceId, id: ChangeId) -> Result<KeptEntry> {
        let all = self.store.read().quarantine(space, None)?;
        all.into_iter().find(|entry| entry.id == id).ok_or(ClientError::NotInQuarantine(id))
    }

    /// Makes a change that is in quarantine anew, upon what its document is now. Gives the document, and whether nothing is left.
    pub(in crate::client) fn apply_quarantined(&mut self, space: SpaceId, id: ChangeId) -> Result<(DocId, bool)> {
        let entry = self.entry(space, id)?;
        let stored = self.store.read().document(space, entry.doc)?;
        if stored.is_none_or(|document| document.deleted) {
            return Err(ClientError::Deleted(entry.doc));
        }
        let whole = self.in_feed(space, |writer, feed| Ok(feed.apply_again(writer, &entry, false)?))?;
        self.give_up(space, entry.doc);
        Ok((entry.doc, whole))
    }

    /// Forgets what a change in quarantine says.
    pub(in crate::client) fn drop_quarantined(&mut self, space: SpaceId, id: ChangeId) -> Result<()> {
        self.check_writable()?;
        self.entry(space, id)?;
        self.store.transaction(|writer| {
            writer.leave_quarantine(space, id)?;
            // What is excluded, or lost a part of what it says, stands in its document all the same.
            if writer.is_out(space, id)? { writer.drop_payload(space, id) } else { Ok(()) }
        })?;
        Ok(())
    }

    /// A change in quarantine: its bytes, and which of its operations are. Also one that waits for access.
    pub(in crate::client) fn quarantined(&self, space: SpaceId, id: ChangeId) -> Result<(KeptEntry, Option<Vec<u8>>)> {
        let entry = match self.entry(space, id) {
            Err(ClientError::NotInQuarantine(id)) => self.waiting(space, id)?,
            entry => entry?,
        };
        let kind = self.store.read().kind(space, id)?;
        let payload = if kind == Some(ItemKind::Change) { self.store.read().payload(space, id)? } else { None };
        Ok((entry, payload))
    }

    /// Offers the server again what it refused for a cause that may have cleared: what is due, and with `regained` what waited
    /// for access. Gives the documents that changed.
    pub(in crate::client) fn offer_again(&mut self, space: SpaceId, regained: bool) -> Result<Vec<DocId>> {
        // What is made anew when the log is read to its end is offered then.
        if self.is_read_only() || self.is_barred(space)? || self.space(space)?.label.is_some() {
            return Ok(Vec::new());
        }
        let now_ms = clock::wall_ms();
        let mut due = self.store.read().quarantine(space, None)?;
        due.retain(|entry| {
            let cleared = regained && entry.code == RejectCode::NotAWriter;
            can_clear(entry.code) && (cleared || is_due(entry, now_ms))
        });
        let mut docs: Vec<DocId> = due.iter().map(|entry| entry.doc).collect();
        docs.sort_unstable();
        docs.dedup();
        // What stands upon a deleted document never clears.
        docs.retain(|doc| {
            self.store.read().document(space, *doc).is_ok_and(|stored| stored.is_some_and(|stored| !stored.deleted))
        });
        due.retain(|entry| docs.binary_search(&entry.doc).is_ok());
        if due.is_empty() {
            return Ok(Vec::new());
        }
        self.in_feed(space, |writer, feed| {
            for entry in &due {
                feed.apply_again(writer, entry, true)?;
                // What was made upon it comes with it.
                for upon in writer.quarantine(space, Some(entry.doc))? {
                    if upon.code == RejectCode::DependencyRefused {
                        feed.apply_again(writer, &upon, true)?;
                    }
                }
            }
            Ok(())
        })?;
        for doc in &docs {
            self.give_up(space, *doc);
        }
        Ok(docs)
    }
}
