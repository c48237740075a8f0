//! What a document was: its changes, newest first, and its values at any of them.

use std::collections::{BTreeSet, BinaryHeap};

use automerge::legacy::{ObjectId, OpId};
use automerge::{Automerge, ChangeHash, ObjId, ReadDoc};

use super::read::View;
use super::{Body, Document};
use crate::id::{Actor, Hash};
use crate::limits::HISTORY_MAX;
use crate::value::{Path, Value};

/// A change, as the history tells of it. It carries no clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The change's hash.
    pub hash: Hash,
    /// Who made it; `None` for an author that is no device of ours, and for a structure, which nobody made.
    pub actor: Option<Actor>,
    /// Which of its author's changes here it is, counted from 1.
    pub seq: u64,
    /// How many operations it has.
    pub operations: u64,
    /// The changes that it was made upon: the others are made upon one of these.
    pub deps: Vec<Hash>,
}

/// A mark on a part of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Marked {
    /// The first character.
    pub start: u64,
    /// The character behind the last.
    pub end: u64,
    /// The mark's name, for example `bold`.
    pub name: String,
    /// The mark's value.
    pub value: Value,
}

impl Document {
    /// The changes that are sealed and applied, newest first, at most `limit` of them and never more than [`HISTORY_MAX`]: each
    /// stands in front of those that it was made upon. Costs what it gives, not what there is.
    pub fn history(&self, limit: usize) -> Vec<Revision> {
        let Body::Sealed(doc) = &self.body else { return Vec::new() };
        let limit = limit.min(HISTORY_MAX);
        let (mut seen, mut ahead) = (BTreeSet::new(), BinaryHeap::new());
        let mut look = |hashes: &[ChangeHash], ahead: &mut BinaryHeap<_>| {
            for hash in hashes {
                if seen.insert(*hash)
                    && let Some(meta) = doc.get_change_meta_by_hash(hash)
                {
                    // A change begins behind every operation of those that it was made upon.
                    ahead.push((meta.start_op, meta.max_op, meta.seq, *hash));
                }
            }
        };
        look(&doc.get_heads(), &mut ahead);
        let mut revisions = Vec::new();
        while revisions.len() < limit {
            let Some((start_op, max_op, seq, hash)) = ahead.pop() else { break };
            let Some(meta) = doc.get_change_meta_by_hash(&hash) else { continue };
            look(&meta.deps, &mut ahead);
            revisions.push(Revision {
                hash: hash.into(),
                actor: Actor::from_slice(meta.actor.to_bytes()).ok().filter(|actor| !actor.is_structure()),
                seq,
                operations: (max_op + 1).saturating_sub(start_op),
                deps: meta.deps.iter().map(|dep| Hash::from(*dep)).collect(),
            });
        }
        revisions
    }

    /// The value at a path as it was when exactly the changes `at`, and those that they were made upon, were applied; `None` if
    /// nothing was there, or if a change is not known here.
    pub fn get_at(&self, path: impl Into<Path>, at: &[Hash]) -> Option<Value> {
        let (doc, heads) = self.known(at)?;
        View::at(doc, &heads).value(&path.into())
    }

    /// The same as JSON text.
    pub fn json_at(&self, path: impl Into<Path>, at: &[Hash]) -> Option<String> {
        let (doc, heads) = self.known(at)?;
        View::at(doc, &heads).json(&path.into())
    }

    fn known(&self, at: &[Hash]) -> Option<(&Automerge, Vec<ChangeHash>)> {
        let Body::Sealed(doc) = &self.body else { return None };
        let heads: Vec<ChangeHash> = at.iter().map(|hash| (*hash).into()).collect();
        heads.iter().all(|hash| doc.get_change_meta_by_hash(hash).is_some()).then_some((doc, heads))
    }

    /// Whether a change is sealed or applied here.
    pub fn has_change(&self, hash: Hash) -> bool {
        self.known(&[hash]).is_some()
    }

    /// The operations that made what is under a key now; more than one where it was written concurrently.
    pub(crate) fn written(&self, object: &ObjectId, key: &str) -> Vec<OpId> {
        let Body::Sealed(doc) = &self.body else { return Vec::new() };
        let object = match object {
            ObjectId::Root => ObjId::Root,
            ObjectId::Id(id) => ObjId::Id(id.counter(), id.actor().clone(), 0),
        };
        let values = doc.get_all(&object, key).unwrap_or_default();
        let id = |(_, id)| match id {
            ObjId::Id(counter, actor, _) => Some(OpId::new(counter, &actor)),
            ObjId::Root => None,
        };
        values.into_iter().filter_map(id).collect()
    }

    /// The marks on the text at a path; `None` if there is no text.
    pub fn marks(&self, path: impl Into<Path>) -> Option<Vec<Marked>> {
        let path = path.into();
        match &self.body {
            Body::Sealed(doc) => marks(doc, &path),
            Body::Open(doc) => marks(&**doc, &path),
            Body::Lost => None,
        }
    }
}

pub(super) fn marks(doc: &impl ReadDoc, path: &Path) -> Option<Vec<Marked>> {
    let (id, automerge::ObjType::Text) = super::read::object(doc, &path.0)? else { return None };
    View::now(doc).marks(&id)
}
