//! What is checked of a push before the space's lock is taken: everything that an item shows by itself.

use crate::code::RejectCode;
use crate::epoch::{Epoch, EpochFacts, epoch_hash};
use crate::feed::{Body, FeedHead, Item, ItemKind, Run, create_hash, delete_hash, is_collection};
use crate::guard;
use crate::id::{Actor, DeviceId, DocId, Hash};
use crate::structure;

/// What the ledger needs to know of a change, without its operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeFacts {
    /// Who authored it.
    pub actor: Actor,
    /// automerge's sequence number: 1, 2, 3, … of that actor in that document.
    pub seq: u64,
    /// The counter of its first operation.
    pub start_op: u64,
    /// How many operations it has.
    pub operations: u64,
    /// The changes it was made upon.
    pub deps: Vec<Hash>,
    /// Other actors whose operations it refers to; automerge panics on one that the document does not know.
    pub others: Vec<Actor>,
}

impl ChangeFacts {
    /// The counter of its last operation; `start_op - 1` if it has none.
    pub fn max_op(&self) -> u64 {
        self.start_op + self.operations - 1
    }
}

/// What the checks made of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// A creation, with the name of the collection.
    Create(String),
    /// A change that automerge can take, as far as the change itself shows.
    Change(ChangeFacts, Vec<u8>),
    /// A structure that the app's validation hook does not want: refused, unless the document has it from somebody else. Who
    /// builds on it cannot know whose copy was looked at.
    Unwanted(ChangeFacts, Vec<u8>),
    /// A deletion.
    Delete,
    /// A new epoch, with its bytes.
    Epoch(EpochFacts, Vec<u8>),
    /// Refused already; it still consumes its `n`.
    Refused(RejectCode),
}

/// An item after the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What the chain covers as its kind.
    pub kind: ItemKind,
    /// Which document.
    pub doc: DocId,
    /// The declared hash.
    pub hash: Hash,
    /// What the checks made of it.
    pub checked: Checked,
}

/// A run after the checks, with the chain already hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// For whom the device writes.
    pub user: String,
    /// Whose feed.
    pub device: DeviceId,
    /// The place before the first item.
    pub base: FeedHead,
    /// The chain's value after each item.
    pub links: Vec<Hash>,
    /// The items.
    pub candidates: Vec<Candidate>,
    /// Devices that have read since then are active, as far as a new epoch asks for them.
    pub active_since_ms: u64,
}

impl Push {
    /// Checks every item of a run; the run's device must be the caller's already.
    pub fn check(user: String, run: Run) -> Self {
        let links = run.links();
        let device = run.device;
        let mut epochs = 0;
        let check_next = |item: Item| {
            epochs += u32::from(matches!(item.body, Body::Epoch { .. }));
            // An epoch is begun when everything is on the server, so none follows another one; and each costs as much as a document.
            if epochs > 1 && item.kind() == ItemKind::Epoch {
                let (kind, doc, hash) = (item.kind(), item.doc, item.hash);
                return Candidate { kind, doc, hash, checked: Checked::Refused(RejectCode::EpochEarly) };
            }
            check(device, item)
        };
        let candidates = run.items.into_iter().map(check_next).collect();
        Self { user, device, base: run.base, links, candidates, active_since_ms: 0 }
    }

    /// Payload bytes that it would add to the log.
    pub fn payload_bytes(&self) -> usize {
        let bytes = |candidate: &Candidate| match &candidate.checked {
            Checked::Change(_, bytes) | Checked::Unwanted(_, bytes) | Checked::Epoch(_, bytes) => bytes.len(),
            _ => 0,
        };
        self.candidates.iter().map(bytes).sum()
    }
}

fn check(device: DeviceId, item: Item) -> Candidate {
    let (kind, doc, hash) = (item.kind(), item.doc, item.hash);
    let checked = match item.body {
        Body::Void { code, .. } => Checked::Refused(code),
        Body::Create { collection } if !is_collection(&collection) => Checked::Refused(RejectCode::Malformed),
        Body::Create { collection } if create_hash(doc, &collection) == hash => Checked::Create(collection),
        Body::Delete if delete_hash(doc) == hash => Checked::Delete,
        Body::Epoch { bytes } if epoch_hash(doc, &bytes) == hash => match Epoch::check(device, &bytes) {
            Ok(facts) => Checked::Epoch(facts, bytes),
            Err(code) => Checked::Refused(code),
        },
        Body::Create { .. } | Body::Delete | Body::Epoch { .. } => Checked::Refused(RejectCode::HashMismatch),
        Body::Change { bytes } => match check_change(device, hash, &bytes) {
            Ok(facts) => Checked::Change(facts, bytes),
            Err(code) => Checked::Refused(code),
        },
    };
    Candidate { kind, doc, hash, checked }
}

/// A change by itself: within every limit, as declared, of an actor of that device or a structure, and possible for automerge.
pub(crate) fn check_change(device: DeviceId, declared: Hash, bytes: &[u8]) -> Result<ChangeFacts, RejectCode> {
    facts(device, declared, bytes).map_err(|code| match guard::inspect(bytes) {
        Ok(guarded) if guarded.hash == declared => code,
        // Bytes that were altered are wrong in many ways; their author is told the cause.
        Ok(_) => RejectCode::HashMismatch,
        Err(code) => code,
    })
}

fn facts(device: DeviceId, declared: Hash, bytes: &[u8]) -> Result<ChangeFacts, RejectCode> {
    let (chunk, guarded) = guard::inspect_declared(bytes, declared)?;
    if guarded.actor.is_structure() {
        structure::check(&chunk, &guarded)?;
    } else if guarded.actor.device() != device && !crate::mutation!("forged-actor-taken") {
        return Err(RejectCode::ForgedActor);
    }
    guard::settle(&chunk, &guarded)?;
    let guard::Guarded { actor, seq, start_op, operations, deps, other_actors: others, .. } = guarded;
    Ok(ChangeFacts { actor, seq, start_op, operations, deps, others })
}
