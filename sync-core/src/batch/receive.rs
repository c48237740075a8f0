//! Taking a batch: what is new is checked, waits for what it was made upon, and is applied document by document.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Judgement;
use super::parked::Waiting;
use super::replica::{Known, Replica};
use super::{Batch, BatchError};
use crate::check::{Candidate, Checked, Push};
use crate::code::RejectCode;
use crate::document::Patch;
use crate::feed::{Body, ChangeId, FeedHead, Item, Run};
use crate::id::{DeviceId, DocId, Hash};
use crate::wire::SCHEMA;

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Received {
    /// Items that the version vector now counts and did not before; what was parked may be among them.
    pub taken: u64,
    /// Items that were here already.
    pub duplicates: u64,
    /// Of those taken: without effect, and why.
    pub refused: Vec<(ChangeId, RejectCode)>,
    /// Of those taken: changes that broke their document, and what was made upon them.
    pub left_out: Vec<(DocId, Hash)>,
    /// Feeds of which an earlier part must come first: ask again, with the heads as they are now.
    pub gaps: Vec<DeviceId>,
    /// What observers of the documents must do; documents without patches are not among them.
    pub patches: Vec<(DocId, Vec<Patch>)>,
    /// Documents that are gone.
    pub deleted: BTreeSet<DocId>,
}

type Coming = BTreeMap<DocId, Vec<Vec<u8>>>;

impl Replica {
    /// Takes a batch, in any order and however often it comes. On an error nothing of it is taken.
    pub fn receive(&mut self, batch: Batch) -> Result<Received, BatchError> {
        if batch.schema != SCHEMA {
            return Err(BatchError::Schema { schema: batch.schema });
        }
        if batch.space != self.space {
            return Err(BatchError::OtherSpace { space: batch.space });
        }
        let compare = |run: Run| self.known(&run, &run.links()).map(|known| (run, known));
        let runs = batch.runs.0.into_iter().map(compare).collect::<Result<Vec<_>, _>>()?;

        let mut received = Received::default();
        for (run, known) in runs {
            match known {
                Known::Items(count) => {
                    received.duplicates += count as u64;
                    self.park(run, count);
                }
                Known::Nothing if self.parked.reaches(run.device, &run.base) => self.park(run, 0),
                Known::Nothing if received.gaps.contains(&run.device) => {}
                Known::Nothing => received.gaps.push(run.device),
            }
        }
        let mut coming = Coming::new();
        self.settle(&mut received, &mut coming);
        self.parked.trim();
        self.apply(coming, &mut received);
        Ok(received)
    }

    /// Everything new goes through the same door, whether or not it has to wait there.
    fn park(&mut self, mut run: Run, known: usize) {
        let rest = run.items.split_off(known);
        let Run { device, base, .. } = Run { base: run.end(), ..run };
        let push = Push::check(String::new(), Run { device, base, items: rest });
        for (n, (candidate, chain)) in (base.n + 1..).zip(push.candidates.into_iter().zip(push.links)) {
            self.parked.put(device, n, Waiting { candidate, chain });
        }
    }

    /// Takes whatever need not wait any longer, until nothing moves.
    fn settle(&mut self, received: &mut Received, coming: &mut Coming) {
        let mut moved = true;
        while moved {
            moved = false;
            for device in self.parked.devices() {
                while let Some(judgement) = self.judge_next(device) {
                    self.take(device, judgement, received, coming);
                    moved = true;
                }
            }
        }
    }

    fn judge_next(&self, device: DeviceId) -> Option<Judgement> {
        let waiting = self.parked.get(device, self.head(device).n + 1)?;
        match self.facts.judge(&waiting.candidate) {
            Judgement::Wait => None,
            judgement => Some(judgement),
        }
    }

    fn take(&mut self, device: DeviceId, judgement: Judgement, received: &mut Received, coming: &mut Coming) {
        let n = self.head(device).n + 1;
        let Some(Waiting { candidate, chain }) = self.parked.take(device, n) else { return };
        received.taken += 1;
        let id = ChangeId { device, n };
        if let Judgement::Refuse(code) = judgement {
            received.refused.push((id, code));
        }
        let refused = matches!(judgement, Judgement::Refuse(_));
        let Candidate { kind, doc, hash, checked } = candidate;
        let body = match checked {
            // What shows by itself that it is none is not handed on; its place in the chain is.
            Checked::Refused(code) => Body::Void { kind, code },
            Checked::Create(collection) => {
                self.facts.create(doc, &collection);
                if !self.documents.contains_key(&doc) && !self.is_deleted(doc) {
                    self.documents.insert(doc, self.fresh_document());
                }
                Body::Create { collection }
            }
            Checked::Delete => {
                self.facts.delete(doc);
                self.documents.remove(&doc);
                coming.remove(&doc);
                received.deleted.insert(doc);
                Body::Delete
            }
            Checked::Epoch(_, bytes) => Body::Epoch { bytes },
            Checked::Change(_, bytes) | Checked::Unwanted(_, bytes) if refused => {
                self.facts.refuse(doc, hash);
                Body::Change { bytes }
            }
            Checked::Change(facts, bytes) | Checked::Unwanted(facts, bytes) => {
                self.facts.apply(doc, hash, &facts);
                coming.entry(doc).or_default().push(bytes.clone());
                Body::Change { bytes }
            }
        };
        self.keep(device, FeedHead { n, chain }, Item { doc, hash, body });
    }

    fn apply(&mut self, coming: Coming, received: &mut Received) {
        for (doc, changes) in coming {
            let Some(document) = self.documents.get_mut(&doc) else { continue };
            let Ok(applied) = document.apply(&changes) else {
                self.rebuild(doc);
                continue;
            };
            for hash in applied.left_out {
                self.facts.leave_out(doc, hash);
                received.left_out.push((doc, hash));
            }
            if !applied.patches.is_empty() {
                received.patches.push((doc, applied.patches));
            }
        }
    }
}
