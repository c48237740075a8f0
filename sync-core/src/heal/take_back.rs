//! The server's side: what is handed back is proven, checked, and joins the log again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::check::{Candidate, ChangeFacts, Checked, check_change};
use crate::chunk;
use crate::code::RejectCode;
use crate::epoch::{Epoch, epoch_hash};
use crate::feed::{Body, ChangeId, ItemKind, create_hash, delete_hash, is_collection};
use crate::id::{DocId, Hash};
use crate::ledger::{Decision, Judged, Ledger, Rules, Wanted};
use crate::log::{Cursor, Entry, Header, Receipt, ReceiptKey, Verdict};

/// Why nothing of what is handed back is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The receipt is not this server's for the place to which these entries lead, in this space.
    #[error("the receipt does not cover the entries")]
    Receipt,
    /// An entry carries other bytes than its hash says.
    #[error("an entry was altered")]
    Altered,
}

/// A part of a log, as a device hands it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostEntries {
    /// The place before the first entry.
    pub base: Cursor,
    /// Entries that follow each other. One that takes effect and comes without what it carried proves where those before it
    /// stood; it is not taken, and neither is what follows it.
    pub entries: Vec<Entry>,
    /// The server's receipt for the place after the last.
    pub receipt: Receipt,
}

/// An entry that the server once had, checked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    header: Header,
    checked: Checked,
}

/// What became of what was handed back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TakenBack {
    /// Entries that are in the log again.
    pub taken: u64,
    /// Entries that it had.
    pub known: u64,
    /// Entries that could not join: what goes before them in their feed, what they were made upon, or what they carried is
    /// missing.
    pub left: u64,
}

impl LostEntries {
    /// Whether the receipt proves that a log of that space once held these entries at these places.
    pub fn is_proven(&self, space: crate::id::SpaceId, key: &ReceiptKey) -> bool {
        let end = self.entries.iter().fold(self.base, |place, entry| place.next(&entry.header));
        // Behind the last number there is no place that the chain tells from it.
        let counts = end.seq.checked_sub(self.base.seq) == Some(self.entries.len() as u64);
        counts && key.verify(space, &end, &self.receipt)
    }

    /// What of it may be taken, from its front, and how many entries that leaves. What today's limits do not let in comes back
    /// as refused. The entries are to be [proven](Self::is_proven).
    pub fn check(self) -> Result<(Vec<Lost>, u64), Refused> {
        let total = self.entries.len();
        let mut lost = Vec::with_capacity(total);
        for Entry { header, body } in self.entries {
            match check(&header, body)? {
                Some(checked) => lost.push(Lost { header, checked }),
                None => break,
            }
        }
        let left = (total - lost.len()) as u64;
        Ok((lost, left))
    }
}

/// `None` where what it carried is missing.
fn check(header: &Header, body: Option<Body>) -> Result<Option<Checked>, Refused> {
    if let Verdict::Rejected(code) = header.verdict {
        return Ok(Some(Checked::Refused(code)));
    }
    if !header.is_item() {
        return Err(Refused::Altered);
    }
    Ok(match (header.kind, body) {
        (ItemKind::Create, Some(Body::Create { collection })) => {
            if create_hash(header.doc, &collection) != header.hash {
                return Err(Refused::Altered);
            }
            let fits = is_collection(&collection);
            Some(if fits { Checked::Create(collection) } else { Checked::Refused(RejectCode::Malformed) })
        }
        (ItemKind::Change, Some(Body::Change { bytes })) => {
            if !chunk::is_hashed(&bytes, header.hash) {
                return Err(Refused::Altered);
            }
            Some(match check_change(header.id.device, header.hash, &bytes) {
                Ok(facts) => Checked::Change(facts, bytes),
                Err(code) => Checked::Refused(code),
            })
        }
        (ItemKind::Epoch, Some(Body::Epoch { bytes })) if epoch_hash(header.doc, &bytes) == header.hash => {
            Some(match Epoch::check(header.id.device, &bytes) {
                Ok(facts) => Checked::Epoch(facts, bytes),
                Err(code) => Checked::Refused(code),
            })
        }
        (ItemKind::Delete, None | Some(Body::Delete)) if delete_hash(header.doc) == header.hash => {
            Some(Checked::Delete)
        }
        (_, None) if header.kind != ItemKind::Delete => None,
        _ => return Err(Refused::Altered),
    })
}

impl Lost {
    /// An entry and what the checks made of it.
    pub fn new(header: Header, checked: Checked) -> Self {
        Self { header, checked }
    }

    /// Checks an entry with what it carried; `None` where that is missing. What today's limits do not let in comes back as
    /// refused.
    pub fn check(header: Header, body: Option<Body>) -> Result<Option<Self>, Refused> {
        Ok(check(&header, body)?.map(|checked| Self { header, checked }))
    }

    /// The exclusion of a change.
    pub fn exclusion(id: ChangeId, doc: DocId, hash: Hash) -> Self {
        Self { header: Header::exclusion(id, doc, hash), checked: Checked::Refused(RejectCode::BreaksDocument) }
    }

    /// A change of which nothing but this is left, since its document was deleted.
    pub fn bare(header: Header, facts: ChangeFacts) -> Self {
        Self { header, checked: Checked::Change(facts, Vec::new()) }
    }

    /// What taking these back needs to know.
    pub fn wanted(lost: &[Self]) -> Wanted {
        let mut wanted = Wanted::default();
        for one in lost {
            if one.header.is_item() {
                wanted.devices.insert(one.header.id.device);
            }
            wanted.add(&one.candidate());
        }
        wanted
    }

    /// Payload bytes that it adds to the log.
    pub fn payload_bytes(&self) -> usize {
        match &self.checked {
            Checked::Change(_, bytes) | Checked::Unwanted(_, bytes) | Checked::Epoch(_, bytes) => bytes.len(),
            Checked::Create(collection) => collection.len(),
            Checked::Delete | Checked::Refused(_) => 0,
        }
    }

    fn candidate(&self) -> Candidate {
        let Header { kind, doc, hash, .. } = self.header;
        Candidate { kind, doc, hash, checked: self.checked.clone() }
    }
}

impl Ledger {
    /// Takes back what a log lost. An entry that its feed has is passed over, whatever became of it since; the others go to the
    /// end of the log in their order: under their old numbers, and so with the old chain, where the log has not grown since.
    ///
    /// A verdict changes only where the log has grown so that the old one would break it: a document was deleted meanwhile, or
    /// what a change was made upon has come back as refused. Neither role nor quotas are asked for.
    pub fn take_back(&mut self, lost: Vec<Lost>) -> (Decision, TakenBack) {
        let (mut decision, mut became) = (Decision::default(), TakenBack::default());
        let mut stopped = BTreeSet::new();
        for one in lost {
            if !one.header.is_item() {
                match self.exclude(one.header, &mut decision) {
                    Some(true) => became.taken += 1,
                    Some(false) => became.known += 1,
                    None => became.left += 1,
                }
                continue;
            }
            let device = one.header.id.device;
            let acked = self.acked(device);
            if one.header.id.n <= acked.n {
                became.known += 1;
                continue;
            }
            let joins = one.header.id.n == acked.n + 1 && !stopped.contains(&device);
            let rules = Rules { may_write: true, owns: true, quotas: false };
            match joins.then(|| self.judge(device, rules, &one.candidate())) {
                Some(Judged::Verdict(verdict)) => {
                    let header = Header { verdict, ..one.header };
                    let chain = acked.next(header.kind, header.doc, header.hash).chain;
                    let checked = match verdict {
                        Verdict::Applied => one.checked,
                        Verdict::Rejected(code) => Checked::Refused(code),
                    };
                    self.append(header, chain, checked, &mut decision);
                    became.taken += 1;
                }
                Some(Judged::Need(_)) | None => {
                    stopped.insert(device);
                    became.left += 1;
                }
            }
        }
        (decision, became)
    }
}
