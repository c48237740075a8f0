//! One automerge document: edits into an open transaction, sealing, applying what others wrote, reading, patches.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::transaction::{CommitOptions, OwnedTransaction};
use automerge::{Automerge, Change, ReadDoc};

use crate::id::{Actor, Hash};
use crate::limits::{
    EDIT_OPERATIONS_MAX, JOURNAL_BYTES_MAX, JOURNAL_INCREMENTS_MAX, JOURNAL_OPERATIONS_MAX, NESTING_DEPTH_MAX,
};
use crate::structure::Mark;
use crate::value::{Path, Value};

mod apply;
mod fold;
mod history;
mod json;
mod op;
mod patch;
mod read;
mod restore;
mod structure;
mod undo;
mod write;

use apply::{attempt, sift, topological};
pub use fold::{FoldError, Folded, changes_beyond, fold, snapshot_json};
pub use history::{Marked, Revision};
pub use op::{Expand, Op, decode_ops, encode_ops};
pub use patch::{Action, Patch};
use read::View;
use undo::Recorder;
pub use undo::{Renames, UndoStep, Undone};
pub use write::EditError;

/// Random 64-bit numbers, as the caller draws them.
pub type Random<'a> = &'a mut dyn FnMut() -> u64;

/// A document with at most one open transaction: the edits of the journal.
#[derive(Debug)]
pub struct Document {
    body: Body,
    actor: Actor,
    journal: OpenJournal,
    /// What it holds of schemas.
    structures: BTreeMap<Hash, Mark>,
}

// Few documents are open at a time, and one that is sealed is read the most.
#[expect(clippy::large_enum_variant)]
#[derive(Debug)]
enum Body {
    Sealed(Automerge),
    Open(Box<OwnedTransaction>),
    /// automerge panicked on it, or an edit failed half-way behind a seal: only the disk knows what holds.
    Lost,
}

#[derive(Debug, Default)]
struct OpenJournal {
    /// What its change will hold in place of a time.
    mark: Option<u32>,
    ops: Vec<Op>,
    edits: u64,
    operations: u64,
    bytes: usize,
    increments: u64,
}

/// Edits sealed together into one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// automerge's hash of it.
    pub hash: Hash,
    /// The chunk, uncompressed.
    pub bytes: Vec<u8>,
    /// How many edits end in it.
    pub edits: u64,
    /// How many automerge operations it has.
    pub operations: u64,
}

/// What an edit did.
#[derive(Debug, Default)]
pub struct Edited {
    /// Changes that were sealed on the way, oldest first. If there are any, nothing of this edit is left open.
    pub sealed: Vec<Sealed>,
    /// What an observer must do to show it.
    pub patches: Vec<Patch>,
}

/// What applying did.
#[derive(Debug, Default)]
pub struct Applied {
    /// What an observer must do to show it.
    pub patches: Vec<Patch>,
    /// Changes that break the document, and those that were made upon them.
    pub left_out: Vec<Hash>,
}

/// A document that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Its snapshot cannot be loaded.
    #[error("the document's snapshot is damaged")]
    Snapshot,
    /// It has edits that must be sealed first.
    #[error("the document has edits that are not sealed")]
    Unsealed,
    /// It must be loaded again from what is stored.
    #[error("the document must be loaded again")]
    Lost,
    /// A change breaks it: it can be read, and cannot be written down until the server has excluded that change.
    #[error("a change breaks the document")]
    Broken,
}

macro_rules! reading {
    ($self:expr, $doc:ident => $made:expr, $lost:expr) => {
        match &$self.body {
            Body::Sealed($doc) => $made,
            Body::Open($doc) => {
                let $doc = &**$doc;
                $made
            }
            Body::Lost => $lost,
        }
    };
}

impl Document {
    /// An empty document.
    pub fn new(actor: Actor) -> Self {
        let body = Body::Sealed(Automerge::new().with_actor(actor.into()));
        Self { body, actor, journal: OpenJournal::default(), structures: BTreeMap::new() }
    }

    /// A document from a snapshot and the changes behind it, in an order in which each follows its dependencies.
    pub fn load(
        actor: Actor,
        snapshot: Option<&[u8]>,
        changes: &[impl AsRef<[u8]>],
    ) -> Result<(Self, Applied), DocumentError> {
        let base = fold::open(snapshot).ok_or(DocumentError::Snapshot)?;
        let body = Body::Sealed(base.with_actor(actor.into()));
        let mut document = Self { body, actor, journal: OpenJournal::default(), structures: BTreeMap::new() };
        document.find_structures(snapshot.unwrap_or_default());
        // Nobody observes a document while it is loaded, so no patches are made.
        let applied = document.take_in(changes, false)?;
        Ok((document, applied))
    }

    /// Who authors edits here.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// The heads of what is sealed and applied, ascending.
    pub fn heads(&self) -> Vec<Hash> {
        let heads = match &self.body {
            Body::Sealed(doc) => doc.get_heads(),
            Body::Open(doc) => doc.get_heads(),
            Body::Lost => Vec::new(),
        };
        let mut heads: Vec<Hash> = heads.into_iter().map(Hash::from).collect();
        heads.sort_unstable();
        heads
    }

    /// The value at a path with all that is in it; `None` if nothing is there.
    pub fn get(&self, path: impl Into<Path>) -> Option<Value> {
        let path = path.into();
        reading!(self, doc => read::value(doc, &path), None)
    }

    /// The same as JSON text, and several times faster: bytes become base64 text, counters and timestamps numbers.
    pub fn json(&self, path: impl Into<Path>) -> Option<String> {
        let path = path.into();
        reading!(self, doc => View::now(doc).json(&path), None)
    }

    /// The text at a path; `None` if there is none.
    pub fn text(&self, path: impl Into<Path>) -> Option<String> {
        let path = path.into();
        reading!(self, doc => {
            let (id, _) = read::object(doc, &path.0)?;
            doc.text(&id).ok()
        }, None)
    }

    /// Elements of the list or map, or characters of the text, at a path; `None` if there is none.
    pub fn length(&self, path: impl Into<Path>) -> Option<u64> {
        let path = path.into();
        reading!(self, doc => {
            let (id, _) = read::object(doc, &path.0)?;
            Some(doc.length(&id) as u64)
        }, None)
    }

    /// Whether there are edits that are not sealed.
    pub fn is_open(&self) -> bool {
        self.journal.edits > 0
    }

    /// Whether it must be loaded again from what is stored.
    pub fn is_lost(&self) -> bool {
        matches!(self.body, Body::Lost)
    }

    /// Applies one edit: all its operations, or none. It stays open until it is sealed, unless it overflows the journal.
    pub fn edit(&mut self, ops: Vec<Op>, random: Random<'_>) -> Result<Edited, EditError> {
        self.edit_noting(ops, random, None)
    }

    fn edit_noting(
        &mut self,
        ops: Vec<Op>,
        random: Random<'_>,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<Edited, EditError> {
        self.check(&ops)?;
        let kept = self.journal.ops.len();
        let mut edited = Edited { sealed: Vec::new(), patches: ops.iter().flat_map(patch::of_op).collect() };
        for op in ops.into_iter().flat_map(Op::pieces) {
            self.write_piece(op, kept, &mut edited.sealed, random, recorder.as_deref_mut())?;
        }
        self.end_edit(&mut edited.sealed, random);
        Ok(edited)
    }

    /// Writes a part of an edit that fits a change. Where it fails, the edit is taken back.
    fn write_piece(
        &mut self,
        op: Op,
        kept: usize,
        sealed: &mut Vec<Sealed>,
        random: Random<'_>,
        recorder: Option<&mut Recorder>,
    ) -> Result<(), EditError> {
        if self.overflows(&op) {
            sealed.extend(self.seal(random));
        }
        self.journal.mark.get_or_insert_with(|| random() as u32);
        let noted = match &recorder {
            Some(_) => reading!(self, doc => Some(undo::before(doc, &op)), None),
            None => None,
        };
        if let Err(error) = self.write(&op) {
            self.take_back(if sealed.is_empty() { Some(kept) } else { None });
            return Err(error);
        }
        if let (Some(recorder), Some(noted)) = (recorder, noted) {
            reading!(self, doc => recorder.took(noted, doc), ());
        }
        self.journal.note(op);
        Ok(())
    }

    fn end_edit(&mut self, sealed: &mut Vec<Sealed>, random: Random<'_>) {
        self.journal.edits += 1;
        if !sealed.is_empty() {
            sealed.extend(self.seal(random));
        }
    }

    fn check(&self, ops: &[Op]) -> Result<(), EditError> {
        if self.is_lost() {
            return Err(EditError::Lost);
        }
        if ops.is_empty() {
            return Err(EditError::Empty);
        }
        let total = ops.iter().map(Op::cost).fold(0u64, u64::saturating_add);
        if total > EDIT_OPERATIONS_MAX {
            return Err(EditError::TooLarge { operations: total });
        }
        for op in ops {
            let below = match op {
                Op::Put { value, .. } => value.depth(),
                Op::Insert { values, .. } => values.iter().map(Value::depth).max().unwrap_or(0),
                _ => 0,
            };
            if op.path().0.len() + below > NESTING_DEPTH_MAX {
                return Err(EditError::TooDeep);
            }
            if op.value_bytes_max() > JOURNAL_BYTES_MAX * 8 {
                return Err(EditError::ValueTooLarge { bytes: op.value_bytes_max() });
            }
        }
        Ok(())
    }

    fn overflows(&self, op: &Op) -> bool {
        let journal = &self.journal;
        let increments = u64::from(matches!(op, Op::Increment { .. }));
        journal.operations > 0
            && (journal.operations + op.cost() > JOURNAL_OPERATIONS_MAX
                || journal.bytes + op.bytes() > JOURNAL_BYTES_MAX
                || journal.increments + increments > JOURNAL_INCREMENTS_MAX)
    }

    fn write(&mut self, op: &Op) -> Result<(), EditError> {
        match std::mem::replace(&mut self.body, Body::Lost) {
            Body::Lost => return Err(EditError::Lost),
            Body::Open(transaction) => self.body = Body::Open(transaction),
            Body::Sealed(doc) => {
                // Without a patch log of another document this cannot fail.
                let transaction = doc.into_transaction(None, None).map_err(|_| EditError::Lost)?;
                self.body = Body::Open(Box::new(transaction));
            }
        }
        match &mut self.body {
            Body::Open(transaction) => write::write(&mut **transaction, op),
            Body::Sealed(_) | Body::Lost => Err(EditError::Lost),
        }
    }

    /// Undoes a failed edit: back to the open operations before it, or where some of it is sealed already, to the disk.
    fn take_back(&mut self, kept: Option<usize>) {
        let (Body::Open(transaction), Some(kept)) = (std::mem::replace(&mut self.body, Body::Lost), kept) else {
            return;
        };
        let (doc, _) = transaction.rollback();
        self.body = Body::Sealed(doc);
        let (edits, mark) = (self.journal.edits, self.journal.mark);
        let mut ops = std::mem::take(&mut self.journal).ops;
        ops.truncate(kept);
        self.journal.mark = mark.filter(|_| kept > 0);
        for op in ops {
            if self.write(&op).is_err() {
                self.body = Body::Lost;
                return;
            }
            self.journal.note(op);
        }
        self.journal.edits = edits;
    }

    /// The random bits by which a journal that comes back after a crash is known for what it was; `None` if none is open. They
    /// are the first that [`edit`](Self::edit) draws for it.
    pub fn journal_mark(&self) -> Option<u32> {
        self.journal.mark
    }

    /// Makes one change of all open edits; `None` if there are none. The change's `time` holds 32 random bits, which were drawn
    /// when the journal was opened.
    pub fn seal(&mut self, random: Random<'_>) -> Option<Sealed> {
        if !matches!(self.body, Body::Open(_)) {
            return None;
        }
        let Body::Open(transaction) = std::mem::replace(&mut self.body, Body::Lost) else {
            return None;
        };
        let journal = std::mem::take(&mut self.journal);
        // An edit that changes nothing (deleting no characters) still needs a change to be counted in.
        let time = i64::from(journal.mark.unwrap_or_else(|| random() as u32));
        let (mut doc, hash, _) = transaction.commit_with(CommitOptions::default().with_time(time));
        let hash = hash.unwrap_or_else(|| doc.empty_commit(CommitOptions::default().with_time(time)));
        let change = doc.get_change_by_hash(&hash);
        self.body = Body::Sealed(doc);
        let change = change?;
        Some(Sealed {
            hash: hash.into(),
            bytes: change.raw_bytes().to_vec(),
            edits: journal.edits,
            operations: change.len() as u64,
        })
    }

    /// A copy on which changes can be tried; only of a sealed document.
    pub fn copy(&self) -> Result<Self, DocumentError> {
        match &self.body {
            Body::Sealed(doc) => {
                let (body, structures) = (Body::Sealed(doc.clone()), self.structures.clone());
                Ok(Self { body, actor: self.actor, journal: OpenJournal::default(), structures })
            }
            Body::Open(_) => Err(DocumentError::Unsealed),
            Body::Lost => Err(DocumentError::Lost),
        }
    }

    /// Applies changes in the order given, in which each follows its dependencies. What breaks the document is left out.
    /// automerge works on a copy that is thrown away when it panics.
    pub fn apply(&mut self, changes: &[impl AsRef<[u8]>]) -> Result<Applied, DocumentError> {
        self.take_in(changes, true)
    }

    /// The same without a copy of its own, for a [`copy`](Self::copy) that is thrown away where this fails: where a change
    /// breaks the document, it is lost. A copy costs as much as the document has changes, and a keystroke may be one.
    pub fn apply_or_lose(&mut self, changes: &[impl AsRef<[u8]>]) -> Result<Applied, DocumentError> {
        match std::mem::replace(&mut self.body, Body::Lost) {
            Body::Sealed(doc) => {
                let mut left_out = Vec::new();
                let batch = sift(&doc, changes, &mut left_out);
                let (applied, patches) = attempt(doc, &batch, true).ok_or(DocumentError::Lost)?;
                self.body = Body::Sealed(applied);
                self.note_structures(&batch, &[]);
                Ok(Applied { patches, left_out })
            }
            Body::Open(transaction) => {
                self.body = Body::Open(transaction);
                Err(DocumentError::Unsealed)
            }
            Body::Lost => Err(DocumentError::Lost),
        }
    }

    fn take_in(&mut self, changes: &[impl AsRef<[u8]>], observed: bool) -> Result<Applied, DocumentError> {
        let doc = match std::mem::replace(&mut self.body, Body::Lost) {
            Body::Sealed(doc) => doc,
            Body::Open(transaction) => {
                self.body = Body::Open(transaction);
                return Err(DocumentError::Unsealed);
            }
            Body::Lost => return Err(DocumentError::Lost),
        };
        if changes.is_empty() {
            self.body = Body::Sealed(doc);
            return Ok(Applied::default());
        }
        let mut left_out = Vec::new();
        let batch = sift(&doc, changes, &mut left_out);
        // Most batches are sound, and one apply of many costs little more than one apply of one.
        if let Some((applied, patches)) = attempt(doc.clone(), &batch, observed) {
            self.body = Body::Sealed(applied);
            self.note_structures(&batch, &[]);
            return Ok(Applied { patches, left_out });
        }
        self.body = Body::Sealed(doc);
        let mut patches = Vec::new();
        self.one_by_one(&batch, observed, &mut patches, &mut left_out)?;
        self.note_structures(&batch, &left_out);
        Ok(Applied { patches, left_out })
    }

    fn one_by_one(
        &mut self,
        batch: &[Change],
        observed: bool,
        patches: &mut Vec<Patch>,
        left_out: &mut Vec<Hash>,
    ) -> Result<(), DocumentError> {
        let mut bad: BTreeSet<Hash> = BTreeSet::new();
        for change in batch {
            let Body::Sealed(doc) = &self.body else { return Err(DocumentError::Lost) };
            let upon_bad = change.deps().iter().any(|dep| bad.contains(&Hash::from(*dep)));
            let tried = if upon_bad { None } else { attempt(doc.clone(), std::slice::from_ref(change), observed) };
            match tried {
                Some((doc, made)) => {
                    self.body = Body::Sealed(doc);
                    patches.extend(made);
                }
                None => {
                    bad.insert(change.hash().into());
                }
            }
        }
        left_out.extend(bad);
        Ok(())
    }

    /// What an observer of the state at `before` must do to show what is sealed and applied now. Costs more than the patches
    /// that [`apply`](Self::apply) gives: it looks at the whole document.
    pub fn diff(&self, before: &[Hash]) -> Vec<Patch> {
        let Body::Sealed(doc) = &self.body else { return Vec::new() };
        let before: Vec<automerge::ChangeHash> = before.iter().map(|hash| (*hash).into()).collect();
        patch::of_automerge(doc, doc.diff(&before, &doc.get_heads()))
    }

    /// automerge's compact form of what is sealed and applied.
    pub fn save(&self) -> Result<Vec<u8>, DocumentError> {
        match &self.body {
            Body::Sealed(doc) => unbroken(|| doc.save()),
            Body::Open(_) => Err(DocumentError::Unsealed),
            Body::Lost => Err(DocumentError::Lost),
        }
    }

    /// The bytes of a change of this document, as they were when it was sealed.
    pub fn change_bytes(&self, hash: Hash) -> Option<Vec<u8>> {
        let Body::Sealed(doc) = &self.body else { return None };
        unbroken(|| doc.get_change_by_hash(&hash.into()).map(|change| change.raw_bytes().to_vec())).ok()?
    }

    /// Equal bytes for equal histories: the changes in topological order, ties by hash, in a fresh document, saved.
    /// automerge's plain `save` differs with the order of application.
    pub fn canonical_save(&self) -> Result<Vec<u8>, DocumentError> {
        let doc = match &self.body {
            Body::Sealed(doc) => doc,
            Body::Open(_) => return Err(DocumentError::Unsealed),
            Body::Lost => return Err(DocumentError::Lost),
        };
        unbroken(|| {
            let mut fresh = Automerge::new().with_actor(self.actor.into());
            fresh.apply_changes(topological(doc.get_changes(&[]))).map_err(|_| DocumentError::Lost)?;
            Ok(fresh.save())
        })?
    }
}

/// What a change that breaks its document shows in, until the server excludes it: it is applied, and cannot be written down.
fn unbroken<T>(work: impl FnOnce() -> T) -> Result<T, DocumentError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| DocumentError::Broken)
}

impl OpenJournal {
    fn note(&mut self, op: Op) {
        self.operations += op.cost();
        self.bytes += op.bytes();
        self.increments += u64::from(matches!(op, Op::Increment { .. }));
        self.ops.push(op);
    }
}
