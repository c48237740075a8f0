//! What is decided under the space's lock: verdicts for a group of pushes, against the state that earlier items of the
//! same group leave. Pure: a store loads the facts that [`Wanted`] names, calls [`Ledger::decide`], writes what changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::admit::{Admission, admit};
use crate::check::{Candidate, ChangeFacts, Checked, Push};
use crate::chunk::is_hashed;
use crate::code::RejectCode;
use crate::epoch::EpochFacts;
use crate::feed::{ChangeId, FeedHead, ItemKind};
use crate::graft::Grafts;
use crate::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use crate::limits::{
    DOCUMENT_ACTORS_MAX, DOCUMENT_ACTORS_OF_DEVICE_MAX, DOCUMENT_OPERATIONS_MAX, DOCUMENT_STRUCTURES_MAX,
    NEED_HASHES_MAX, SPACE_DOCUMENTS_MAX,
};
use crate::log::{Cursor, Header, Verdict};

mod wanted;

pub use wanted::Wanted;

/// What a member of a space may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Pull.
    Reader = 1,
    /// Pull and push.
    Writer = 2,
    /// That, and decide who else may.
    Owner = 3,
}

impl Role {
    /// The role with that number, as databases store it.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Reader),
            2 => Some(Self::Writer),
            3 => Some(Self::Owner),
            _ => None,
        }
    }
}

/// What the log knows of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentFacts {
    /// The collection it was created in.
    pub collection: String,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Operations of all its applied changes.
    pub operations: u64,
    /// Actors of all its applied changes.
    pub actors: u64,
    /// How many epochs it has begun. What is said of operations and actors is of the present one.
    pub epoch: u64,
}

/// What the log knows of a change that others may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    /// Applied; the counter of its last operation.
    Applied {
        /// The highest operation counter of the change.
        max_op: u64,
    },
    /// Refused.
    Refused,
    /// Of an epoch that is over, whatever became of it.
    Passed,
}

/// How a document stands where an epoch is to begin that was made at a place in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EpochStanding {
    /// It has changes behind that place.
    pub moved: bool,
    /// Another active device has not read so far.
    pub behind: bool,
}

/// The last change of an actor in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// automerge's sequence number.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// The facts of one space, as far as they were [`Wanted`]; deciding moves them on.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Which space.
    pub space: SpaceId,
    /// The newest entry of its log.
    pub head: Cursor,
    /// How many documents were ever created in it.
    pub documents_total: u64,
    /// Roles of the users that push. Who is missing is no member.
    pub roles: BTreeMap<String, Role>,
    /// What is acknowledged of each feed; a missing one has not begun.
    pub feeds: BTreeMap<DeviceId, FeedHead>,
    /// Documents; a missing one does not exist.
    pub documents: BTreeMap<DocId, DocumentFacts>,
    /// Last changes of actors; a missing one has written nothing.
    pub tails: BTreeMap<(DocId, Actor), Tail>,
    /// How many actors of a device, or of all structures, a document has: under the first of those that are
    /// [counted together](Actor::counted_with).
    pub actors_together: BTreeMap<(DocId, Actor), u64>,
    /// Dependencies; where a change is in the log both refused and applied, it counts as applied.
    pub dependencies: BTreeMap<(DocId, Hash), Dependency>,
    /// How documents stand that are to begin anew, by the place that is spoken of and who speaks.
    pub standings: BTreeMap<(DocId, u64, DeviceId), EpochStanding>,
    /// Documents that got changes in this group.
    pub(crate) moved: BTreeSet<DocId>,
    /// What was excluded of documents; of a missing one nothing was. Dependencies are known by the hashes under which they were
    /// sealed: see [`Wanted::see_through`].
    pub grafts: BTreeMap<DocId, Grafts>,
    /// Changes that are to be excluded, and those of their documents behind them, in the order of the log. What is not excluded
    /// yet breaks its document, so that no snapshot has it or what was made upon it: their payloads are there.
    pub behind: BTreeMap<(DocId, Hash), Vec<Vec<u8>>>,
}

/// What a push comes to. A push is answered as a whole, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The run joined the feed.
    Taken {
        /// Items at the front that the log held already; their verdicts stand there.
        duplicates: usize,
        /// What became of the items behind them, in order.
        fresh: Vec<Fresh>,
        /// Dependencies of the first item that is not in `fresh`, which the server does not know: the run stopped there.
        need: Vec<Hash>,
    },
    /// See [`Admission::Behind`].
    Behind,
    /// See [`Admission::Gap`].
    Gap,
    /// See [`Admission::Forked`].
    Forked,
}

/// A new entry's place and verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fresh {
    /// Its place in the log.
    pub seq: u64,
    /// What was decided.
    pub verdict: Verdict,
}

/// A row that is to be added to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// What the chain covers.
    pub header: Header,
    /// Its place, and the chain's value there.
    pub at: Cursor,
    /// Of an applied change: what later changes are checked against.
    pub change: Option<ChangeFacts>,
    /// A change's bytes or a creation's collection, where it was applied.
    pub payload: Option<Vec<u8>>,
}

/// What deciding changed, for the store to write.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// One for each push, in the order given.
    pub outcomes: Vec<Outcome>,
    /// New entries, in log order.
    pub entries: Vec<NewEntry>,
    /// Feeds that moved on.
    pub feeds: BTreeSet<DeviceId>,
    /// Documents that are new or changed.
    pub documents: BTreeSet<DocId>,
    /// Actors that are new or moved on.
    pub actors: BTreeSet<(DocId, Actor)>,
    /// Documents that began anew, with the place of that in the log. What was known of their actors before does not hold.
    pub epochs: BTreeMap<DocId, (u64, EpochFacts)>,
    /// Documents whose grafts are changed.
    pub grafts: BTreeSet<DocId>,
}

impl Decision {
    /// Documents that were deleted, and by which entries of the log.
    pub fn deletions(&self) -> BTreeMap<DocId, u64> {
        let deletes = self.entries.iter().filter(|entry| {
            let Header { kind, verdict, .. } = entry.header;
            kind == ItemKind::Delete && verdict == Verdict::Applied
        });
        deletes.map(|entry| (entry.header.doc, entry.at.seq)).collect()
    }
}

pub(crate) enum Judged {
    Verdict(Verdict),
    Need(Vec<Hash>),
}

/// What an item is judged by, besides the state of its document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Whether the author may write in this space.
    pub(crate) may_write: bool,
    /// Whether the author may begin an epoch in this space.
    pub(crate) owns: bool,
    /// Whether there is to be room for it.
    pub(crate) quotas: bool,
}

impl Ledger {
    /// A space's ledger before any of the facts is known.
    pub fn new(space: SpaceId, head: Cursor, documents_total: u64) -> Self {
        Self {
            space,
            head,
            documents_total,
            roles: BTreeMap::new(),
            feeds: BTreeMap::new(),
            documents: BTreeMap::new(),
            tails: BTreeMap::new(),
            actors_together: BTreeMap::new(),
            dependencies: BTreeMap::new(),
            standings: BTreeMap::new(),
            moved: BTreeSet::new(),
            grafts: BTreeMap::new(),
            behind: BTreeMap::new(),
        }
    }

    /// Decides on a group of pushes, one after the other.
    pub fn decide(&mut self, pushes: Vec<Push>) -> Decision {
        let mut decision = Decision::default();
        for push in pushes {
            let outcome = self.decide_push(push, &mut decision);
            decision.outcomes.push(outcome);
        }
        decision
    }

    /// What is acknowledged of a feed.
    pub fn acked(&self, device: DeviceId) -> FeedHead {
        self.feeds.get(&device).copied().unwrap_or_else(|| FeedHead::start(self.space, device))
    }

    fn decide_push(&mut self, push: Push, decision: &mut Decision) -> Outcome {
        let duplicates = match admit(&self.acked(push.device), &push.base, &push.links) {
            Admission::Fresh { duplicates } => duplicates,
            Admission::Behind => return Outcome::Behind,
            Admission::Gap => return Outcome::Gap,
            Admission::Forked => return Outcome::Forked,
        };
        let is = |least: Role| self.roles.get(&push.user).is_some_and(|&role| role >= least);
        let may_write = crate::mutation!("role-unasked") || is(Role::Writer);
        let rules = Rules { may_write, owns: is(Role::Owner), quotas: true };
        let mut fresh = Vec::with_capacity(push.candidates.len() - duplicates);
        let rest = push.candidates.into_iter().zip(push.links).enumerate().skip(duplicates);
        for (index, (candidate, chain)) in rest {
            let verdict = match self.judge(push.device, rules, &candidate) {
                Judged::Verdict(verdict) => verdict,
                Judged::Need(need) => return Outcome::Taken { duplicates, fresh, need },
            };
            let n = push.base.n + index as u64 + 1;
            let id = ChangeId { device: push.device, n };
            let Candidate { kind, doc, hash, checked } = candidate;
            let header = Header { id, kind, doc, hash, verdict };
            self.append(header, chain, checked, decision);
            fresh.push(Fresh { seq: self.head.seq, verdict });
        }
        Outcome::Taken { duplicates, fresh, need: Vec::new() }
    }

    /// Adds an entry to the log, `chain` being the feed's value after it.
    pub(crate) fn append(&mut self, header: Header, chain: Hash, checked: Checked, decision: &mut Decision) {
        let ChangeId { device, n } = header.id;
        self.head = self.head.next(&header);
        self.feeds.insert(device, FeedHead { n, chain });
        decision.feeds.insert(device);
        let (change, payload) = self.take(&header, checked, decision);
        decision.entries.push(NewEntry { header, at: self.head, change, payload });
    }

    /// Adds the entry that excludes a change, and works out how its document stands then. `None` where the log does not have the
    /// change, or too many are excluded; `false` where it is excluded already. In a document that was deleted, or where what the
    /// change carried is gone with an epoch, it has no effect.
    pub(crate) fn exclude(&mut self, header: Header, decision: &mut Decision) -> Option<bool> {
        let Header { doc, hash, .. } = header;
        let (document, known) = (self.documents.get(&doc)?, self.dependencies.get(&(doc, hash))?);
        if self.grafts.get(&doc).is_some_and(|grafts| grafts.excluded().contains(&hash)) {
            return Some(false);
        }
        let behind = self.behind.get(&(doc, hash)).map_or(&[][..], Vec::as_slice);
        let stands = matches!(known, Dependency::Applied { .. }) && behind.iter().any(|bytes| is_hashed(bytes, hash));
        if stands && !document.deleted {
            self.grafts.entry(doc).or_default().exclude(hash, behind).ok()?;
            decision.grafts.insert(doc);
        }
        self.head = self.head.next(&header);
        decision.entries.push(NewEntry { header, at: self.head, change: None, payload: None });
        Some(true)
    }

    pub(crate) fn judge(&self, device: DeviceId, rules: Rules, candidate: &Candidate) -> Judged {
        let verdict = match &candidate.checked {
            Checked::Refused(code) => Err(*code),
            _ if !rules.may_write => Err(RejectCode::NotAWriter),
            Checked::Create(collection) => self.judge_create(candidate.doc, collection, rules),
            Checked::Delete => self.live_document(candidate.doc).map(|_| ()),
            Checked::Unwanted(facts, _) if !self.is_repeated(candidate.doc, candidate.hash, facts) => {
                Err(RejectCode::Validation)
            }
            Checked::Epoch(facts, _) => self.judge_epoch(device, candidate.doc, facts, rules),
            Checked::Change(facts, _) | Checked::Unwanted(facts, _) => {
                match self.judge_change(candidate, facts, rules) {
                    Ok(need) if !need.is_empty() => return Judged::Need(need),
                    other => other.map(|_| ()),
                }
            }
        };
        Judged::Verdict(match verdict {
            Ok(()) => Verdict::Applied,
            Err(code) => Verdict::Rejected(code),
        })
    }

    fn judge_create(&self, doc: DocId, collection: &str, rules: Rules) -> Result<(), RejectCode> {
        match self.documents.get(&doc) {
            Some(facts) if facts.deleted => Err(RejectCode::DocumentDeleted),
            Some(facts) if facts.collection != collection => Err(RejectCode::CollectionMismatch),
            None if rules.quotas && self.documents_total >= SPACE_DOCUMENTS_MAX => Err(RejectCode::SpaceDocumentsQuota),
            Some(_) | None => Ok(()),
        }
    }

    fn judge_epoch(&self, device: DeviceId, doc: DocId, facts: &EpochFacts, rules: Rules) -> Result<(), RejectCode> {
        if !rules.owns {
            return Err(RejectCode::NotAnOwner);
        }
        let document = self.live_document(doc)?;
        if facts.number <= document.epoch {
            return Err(RejectCode::EpochPassed);
        }
        // What the server had before it is let in again, whoever has read it by now.
        if !rules.quotas {
            return Ok(());
        }
        let standing = self.standings.get(&(doc, facts.through, device)).copied();
        let standing = standing.unwrap_or(EpochStanding { moved: true, behind: true });
        let early = standing.moved || standing.behind || self.moved.contains(&doc);
        if early || facts.number != document.epoch + 1 || facts.through > self.head.seq {
            return Err(RejectCode::EpochEarly);
        }
        Ok(())
    }

    fn live_document(&self, doc: DocId) -> Result<&DocumentFacts, RejectCode> {
        match self.documents.get(&doc) {
            None => Err(RejectCode::UnknownDocument),
            Some(facts) if facts.deleted && !crate::mutation!("deleted-takes-edits") => {
                Err(RejectCode::DocumentDeleted)
            }
            Some(facts) => Ok(facts),
        }
    }

    /// Whether it is a structure that the document has already: another device has brought the same bytes.
    fn is_repeated(&self, doc: DocId, hash: Hash, facts: &ChangeFacts) -> bool {
        let known = self.dependencies.get(&(doc, hash));
        facts.actor.is_structure() && matches!(known, Some(Dependency::Applied { .. }))
    }

    /// The dependencies that are unknown, or why the change is refused.
    fn judge_change(&self, candidate: &Candidate, facts: &ChangeFacts, rules: Rules) -> Result<Vec<Hash>, RejectCode> {
        let doc = candidate.doc;
        let document = match self.live_document(doc) {
            // Made upon changes that are lost, and with them the creation: its time comes when they are back.
            Err(RejectCode::UnknownDocument) if !facts.deps.is_empty() => None,
            document => Some(document?),
        };
        if document.is_some() && self.is_repeated(doc, candidate.hash, facts) {
            return Ok(Vec::new());
        }
        // Everything of an epoch is made upon its beginning.
        let passed = |dep: &Hash| self.dependencies.get(&(doc, *dep)) == Some(&Dependency::Passed);
        let begins = facts.deps.is_empty() && document.is_some_and(|document| document.epoch > 0);
        if begins || facts.deps.iter().any(passed) {
            return Err(RejectCode::EpochPassed);
        }
        // Who has heard of an exclusion writes upon other hashes than who has not; operations have the same ids under both.
        let grafts = self.grafts.get(&doc);
        let sealed = |hash| grafts.map_or(hash, |grafts| grafts.sealed(hash));
        let mut need = Vec::new();
        let mut max_op = 0;
        for &dep in &facts.deps {
            match self.dependencies.get(&(doc, sealed(dep))) {
                Some(Dependency::Applied { max_op: of_dep }) => max_op = max_op.max(*of_dep),
                Some(Dependency::Refused | Dependency::Passed) => return Err(RejectCode::DependencyRefused),
                None if need.len() < NEED_HASHES_MAX => need.push(dep),
                None => {}
            }
        }
        if !need.is_empty() {
            return Ok(need);
        }
        let document = document.ok_or(RejectCode::UnknownDocument)?;
        let tail = self.tails.get(&(doc, facts.actor));
        match tail {
            Some(tail) if facts.seq != tail.seq + 1 => return Err(RejectCode::SequenceGap),
            Some(tail) if !facts.deps.iter().any(|dep| sealed(*dep) == tail.hash) => {
                return Err(RejectCode::AuthorDependency);
            }
            None if facts.seq != 1 => return Err(RejectCode::SequenceGap),
            _ => {}
        }
        if !facts.others.iter().all(|&other| self.tails.contains_key(&(doc, other))) {
            return Err(RejectCode::OperationRange);
        }
        if facts.start_op != max_op + 1 {
            return Err(RejectCode::StartOperation);
        }
        if !rules.quotas {
            return Ok(need);
        }
        if document.operations + facts.operations > DOCUMENT_OPERATIONS_MAX {
            return Err(RejectCode::DocumentOperationsQuota);
        }
        let (first, _) = facts.actor.counted_with();
        let together = self.actors_together.get(&(doc, first)).copied().unwrap_or(0);
        let together_max =
            if facts.actor.is_structure() { DOCUMENT_STRUCTURES_MAX } else { DOCUMENT_ACTORS_OF_DEVICE_MAX };
        if tail.is_none() && (document.actors >= DOCUMENT_ACTORS_MAX || together >= together_max) {
            return Err(RejectCode::DocumentActorsQuota);
        }
        Ok(need)
    }

    /// Moves the facts on by an entry, so that the next one is judged against them.
    fn take(
        &mut self,
        header: &Header,
        checked: Checked,
        decision: &mut Decision,
    ) -> (Option<ChangeFacts>, Option<Vec<u8>>) {
        let doc = header.doc;
        if header.verdict != Verdict::Applied {
            if header.kind == ItemKind::Change {
                let passed = header.verdict == Verdict::Rejected(RejectCode::EpochPassed);
                let known = if passed { Dependency::Passed } else { Dependency::Refused };
                self.dependencies.entry((doc, header.hash)).or_insert(known);
            }
            return (None, None);
        }
        decision.documents.insert(doc);
        match checked {
            Checked::Create(collection) => {
                if !self.documents.contains_key(&doc) {
                    self.documents_total += 1;
                    let facts = DocumentFacts {
                        collection: collection.clone(),
                        deleted: false,
                        operations: 0,
                        actors: 0,
                        epoch: 0,
                    };
                    self.documents.insert(doc, facts);
                }
                (None, Some(collection.into_bytes()))
            }
            Checked::Delete => {
                if let Some(document) = self.documents.get_mut(&doc) {
                    document.deleted = true;
                }
                (None, None)
            }
            // It takes effect once; everybody's feed has it.
            Checked::Change(facts, bytes) | Checked::Unwanted(facts, bytes)
                if self.is_repeated(doc, header.hash, &facts) =>
            {
                (Some(facts), Some(bytes))
            }
            Checked::Epoch(facts, bytes) => {
                self.begin_epoch(header, facts, decision);
                (None, Some(bytes))
            }
            Checked::Change(facts, bytes) => {
                self.moved.insert(doc);
                let new_actor =
                    self.tails.insert((doc, facts.actor), Tail { seq: facts.seq, hash: header.hash }).is_none();
                if new_actor {
                    let (first, _) = facts.actor.counted_with();
                    *self.actors_together.entry((doc, first)).or_insert(0) += 1;
                }
                if let Some(document) = self.documents.get_mut(&doc) {
                    document.operations += facts.operations;
                    document.actors += u64::from(new_actor);
                }
                self.dependencies.insert((doc, header.hash), Dependency::Applied { max_op: facts.max_op() });
                decision.actors.insert((doc, facts.actor));
                // It may have been made upon what stands otherwise by now, and others will write upon how it stands.
                if let Some(grafts) = self.grafts.get_mut(&doc)
                    && grafts.stand(&bytes).is_ok_and(|standing| standing.bytes.is_some())
                {
                    decision.grafts.insert(doc);
                }
                for (_, behind) in self.behind.range_mut((doc, Hash([0; 32]))..=(doc, Hash([u8::MAX; 32]))) {
                    behind.push(bytes.clone());
                }
                // No change is empty: nothing is left of this one's content.
                (Some(facts), (!bytes.is_empty()).then_some(bytes))
            }
            // A verdict of "applied" is never reached for what the checks refused.
            Checked::Refused(_) | Checked::Unwanted(..) => (None, None),
        }
    }

    /// What was known of a document's changes does not hold any more.
    fn begin_epoch(&mut self, header: &Header, facts: EpochFacts, decision: &mut Decision) {
        let doc = header.doc;
        for (_, dependency) in self.dependencies.iter_mut().filter(|((of, _), _)| *of == doc) {
            *dependency = Dependency::Passed;
        }
        self.dependencies.insert((doc, facts.head), Dependency::Applied { max_op: facts.operations });
        self.tails.retain(|(of, _), _| *of != doc);
        self.tails.insert((doc, facts.actor), Tail { seq: facts.changes, hash: facts.head });
        self.actors_together.retain(|(of, _), _| *of != doc);
        self.actors_together.insert((doc, facts.actor.counted_with().0), 1);
        if let Some(document) = self.documents.get_mut(&doc) {
            (document.operations, document.actors, document.epoch) = (facts.operations, 1, facts.number);
        }
        self.grafts.remove(&doc);
        decision.grafts.remove(&doc);
        decision.actors.retain(|(of, _)| *of != doc);
        decision.actors.insert((doc, facts.actor));
        decision.epochs.insert(doc, (self.head.seq, facts));
    }
}
