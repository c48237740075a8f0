//! Pushes for the conformance functions: what the checks would have made of real ones, without automerge.

use sync_core::check::{Candidate, ChangeFacts, Checked, Push};
use sync_core::code::RejectCode;
use sync_core::feed::{FeedHead, ItemKind, create_hash, delete_hash};
use sync_core::id::{ACTORS_OF_STRUCTURES, Actor, DeviceId, DocId, Hash, SpaceId};

/// 16 random bytes, so that a database may be shared and used again.
pub(super) fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("random numbers");
    bytes
}

/// A space that nobody else has.
pub(super) fn new_space() -> SpaceId {
    SpaceId::from_random(random())
}

/// A document that nobody else has.
pub(super) fn new_doc() -> DocId {
    DocId::from_bytes(random())
}

/// A user that nobody else is.
pub(super) fn new_user() -> String {
    DeviceId::from_random(random()).to_string()
}

/// A device that writes its feed of a space.
#[derive(Clone)]
pub(super) struct Author {
    pub(super) user: String,
    pub(super) device: DeviceId,
    pub(super) head: FeedHead,
}

impl Author {
    pub(super) fn new(space: SpaceId, user: &str) -> Self {
        let device = DeviceId::from_random(random());
        Self { user: user.to_owned(), device, head: FeedHead::start(space, device) }
    }

    pub(super) fn actor(&self) -> Actor {
        Actor::new(self.device, [0; 4])
    }

    /// A run of the next items.
    pub(super) fn push(&mut self, candidates: Vec<Candidate>) -> Push {
        let base = self.head;
        let mut links = Vec::new();
        for candidate in &candidates {
            self.head = self.head.next(candidate.kind, candidate.doc, candidate.hash);
            links.push(self.head.chain);
        }
        Push { user: self.user.clone(), device: self.device, base, links, candidates, active_since_ms: 0 }
    }

    /// A change of this author: its sequence number, first operation and dependencies; it has one operation.
    pub(super) fn change(&self, doc: DocId, seq: u64, start_op: u64, deps: &[Hash]) -> Candidate {
        self.change_of(doc, seq, start_op, deps, 100)
    }

    pub(super) fn change_of(&self, doc: DocId, seq: u64, start_op: u64, deps: &[Hash], bytes: usize) -> Candidate {
        let hash = Hash::of(&[self.actor().as_bytes(), doc.as_bytes(), &seq.to_be_bytes()]);
        let (actor, deps, others) = (self.actor(), deps.to_vec(), Vec::new());
        let facts = ChangeFacts { actor, seq, start_op, operations: 1, deps, others };
        let mut payload = vec![0; bytes];
        payload[..8].copy_from_slice(&seq.to_be_bytes());
        Candidate { kind: ItemKind::Change, doc, hash, checked: Checked::Change(facts, payload) }
    }
}

/// A structure, as any device may bring it: one operation upon another structure, or upon nothing.
pub(super) fn structure(doc: DocId, number: u8, upon: Option<Hash>) -> Candidate {
    let mut author = [number; 20];
    author[..ACTORS_OF_STRUCTURES.len()].copy_from_slice(&ACTORS_OF_STRUCTURES);
    let actor = Actor::from_slice(&author).expect("an actor");
    let start_op = if upon.is_some() { 2 } else { 1 };
    let (deps, others) = (upon.into_iter().collect(), Vec::new());
    let facts = ChangeFacts { actor, seq: 1, start_op, operations: 1, deps, others };
    let hash = Hash::of(&[b"structure", &[number]]);
    Candidate { kind: ItemKind::Change, doc, hash, checked: Checked::Change(facts, vec![number; 50]) }
}

pub(super) fn create(doc: DocId) -> Candidate {
    let checked = Checked::Create("notes".to_owned());
    Candidate { kind: ItemKind::Create, doc, hash: create_hash(doc, "notes"), checked }
}

pub(super) fn delete(doc: DocId) -> Candidate {
    Candidate { kind: ItemKind::Delete, doc, hash: delete_hash(doc), checked: Checked::Delete }
}

pub(super) fn refused(doc: DocId, code: RejectCode) -> Candidate {
    Candidate { kind: ItemKind::Change, doc, hash: Hash::of(&[&random()]), checked: Checked::Refused(code) }
}
