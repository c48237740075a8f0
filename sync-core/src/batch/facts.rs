//! What a replica knows of documents and changes, and what it makes of the next item of a feed.
//!
//! Without a server nobody hands out verdicts, so every replica must come to the same ones by itself, whatever came
//! first: each is a function of the item and of what it was made upon. Quotas are not judged here, since which change
//! exceeds one depends on the order; and what a deleted document refuses depends on it too, but does not show.

use std::collections::BTreeMap;

use crate::check::{Candidate, ChangeFacts, Checked};
use crate::code::RejectCode;
use crate::id::{Actor, DocId, Hash};
use crate::ledger::{Dependency, Tail};

#[derive(Debug, Default)]
pub(super) struct Facts {
    documents: BTreeMap<DocId, DocumentFacts>,
    changes: BTreeMap<(DocId, Hash), Dependency>,
    tails: BTreeMap<(DocId, Actor), Tail>,
}

#[derive(Debug)]
pub(super) struct DocumentFacts {
    pub(super) collection: String,
    pub(super) deleted: bool,
}

pub(super) enum Judgement {
    Take,
    Refuse(RejectCode),
    /// Something that it was made upon is not here.
    Wait,
}

impl Facts {
    pub(super) fn document(&self, doc: DocId) -> Option<&DocumentFacts> {
        self.documents.get(&doc)
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = (DocId, &DocumentFacts)> {
        self.documents.iter().map(|(&doc, facts)| (doc, facts))
    }

    pub(super) fn is_applied(&self, doc: DocId, hash: Hash) -> bool {
        matches!(self.changes.get(&(doc, hash)), Some(Dependency::Applied { .. }))
    }

    pub(super) fn judge(&self, candidate: &Candidate) -> Judgement {
        let facts = match &candidate.checked {
            Checked::Refused(code) => return Judgement::Refuse(*code),
            Checked::Create(_) => return Judgement::Take,
            // Without a server nobody knows when every device has read so far.
            Checked::Epoch(..) => return Judgement::Refuse(RejectCode::EpochEarly),
            Checked::Delete => None,
            Checked::Change(facts, _) | Checked::Unwanted(facts, _) => Some(facts),
        };
        let Some(document) = self.documents.get(&candidate.doc) else { return Judgement::Wait };
        match facts {
            None => Judgement::Take,
            Some(facts) => self.judge_change(candidate.doc, document.deleted, candidate.hash, facts),
        }
    }

    fn judge_change(&self, doc: DocId, deleted: bool, hash: Hash, facts: &ChangeFacts) -> Judgement {
        match self.changes.get(&(doc, hash)) {
            // Several devices bring the same one, and it takes effect once.
            Some(Dependency::Applied { .. }) if facts.actor.is_structure() && !deleted => return Judgement::Take,
            // Refused once, refused for good: others may have built on that verdict.
            Some(_) => return Judgement::Refuse(RejectCode::SequenceGap),
            None => {}
        }
        let mut max_op = 0;
        let (mut missing, mut upon_refused) = (false, false);
        for &dep in &facts.deps {
            match self.changes.get(&(doc, dep)) {
                Some(Dependency::Applied { max_op: of_dep }) => max_op = max_op.max(*of_dep),
                Some(Dependency::Refused | Dependency::Passed) => upon_refused = true,
                None => missing = true,
            }
        }
        if missing {
            return Judgement::Wait;
        }
        // Only now, so that even here nothing stands ahead of what it was made upon.
        if deleted {
            return Judgement::Refuse(RejectCode::DocumentDeleted);
        }
        if upon_refused {
            return Judgement::Refuse(RejectCode::DependencyRefused);
        }
        // automerge panics on an actor that has written nothing; an honest author knows it from the dependencies.
        if facts.others.iter().any(|&other| !self.tails.contains_key(&(doc, other))) {
            return Judgement::Wait;
        }
        match self.tails.get(&(doc, facts.actor)) {
            Some(tail) if facts.seq != tail.seq + 1 => return Judgement::Refuse(RejectCode::SequenceGap),
            Some(tail) if !facts.deps.contains(&tail.hash) => return Judgement::Refuse(RejectCode::AuthorDependency),
            None if facts.seq != 1 => return Judgement::Refuse(RejectCode::SequenceGap),
            _ => {}
        }
        if facts.start_op != max_op + 1 {
            return Judgement::Refuse(RejectCode::StartOperation);
        }
        Judgement::Take
    }

    /// Concurrent creations in different collections: the lesser name holds, whichever came first.
    pub(super) fn create(&mut self, doc: DocId, collection: &str) {
        let new = || DocumentFacts { collection: collection.to_owned(), deleted: false };
        let document = self.documents.entry(doc).or_insert_with(new);
        if collection < document.collection.as_str() {
            collection.clone_into(&mut document.collection);
        }
    }

    pub(super) fn delete(&mut self, doc: DocId) {
        if let Some(document) = self.documents.get_mut(&doc) {
            document.deleted = true;
        }
    }

    pub(super) fn apply(&mut self, doc: DocId, hash: Hash, facts: &ChangeFacts) {
        self.changes.insert((doc, hash), Dependency::Applied { max_op: facts.max_op() });
        self.tails.insert((doc, facts.actor), Tail { seq: facts.seq, hash });
    }

    /// Only for changes whose hash and author were found true: a false claim must not refuse what others built on.
    pub(super) fn refuse(&mut self, doc: DocId, hash: Hash) {
        self.changes.entry((doc, hash)).or_insert(Dependency::Refused);
    }

    /// automerge could not take it after all.
    pub(super) fn leave_out(&mut self, doc: DocId, hash: Hash) {
        self.changes.insert((doc, hash), Dependency::Refused);
    }
}
