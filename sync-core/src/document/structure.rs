//! Which structures a document holds, and writing one.

use automerge::transaction::CommitOptions;
use automerge::{Automerge, Change};

use super::op::Op;
use super::write::EditError;
use super::{Body, Document};
use crate::id::{ACTORS_OF_STRUCTURES, Hash};
use crate::limits::{ACTOR_BYTES, DOCUMENT_ACTORS_MAX};
use crate::structure::{self, Mark};

/// A snapshot names its actors before anything else.
const ACTORS_END: usize = 32 + DOCUMENT_ACTORS_MAX as usize * (ACTOR_BYTES + 1);

impl Document {
    /// What a structure that the document holds brings; `None` if it does not hold it.
    pub fn structure(&self, hash: Hash) -> Option<Mark> {
        self.structures.get(&hash).copied()
    }

    /// The structures that it holds, ascending by hash.
    pub fn structures(&self) -> impl Iterator<Item = (Hash, Mark)> {
        self.structures.iter().map(|(hash, mark)| (*hash, *mark))
    }

    /// The version of its collection's schema that it has come to; 0 without one. It may be newer than what is declared here.
    pub fn schema_version(&self) -> u16 {
        self.structures.values().map(|mark| mark.version).max().unwrap_or(0)
    }

    /// The lowest version of an app that may edit it.
    pub fn writers_from(&self) -> u16 {
        self.structures.values().map(|mark| mark.writers_from).max().unwrap_or(0)
    }

    /// Looks for structures in what was loaded. A document without any costs a look at the front of its snapshot; another one a
    /// walk over its changes' headers, since automerge does not find a change by its author.
    pub(super) fn find_structures(&mut self, snapshot: &[u8]) {
        let front = &snapshot[..snapshot.len().min(ACTORS_END)];
        if !front.windows(ACTORS_OF_STRUCTURES.len()).any(|bytes| bytes == ACTORS_OF_STRUCTURES) {
            return;
        }
        let Body::Sealed(doc) = &self.body else { return };
        let found = doc.get_changes_meta(&[]).into_iter();
        let found = found.filter_map(|meta| Some((meta.hash.into(), structure::mark(&meta.actor, meta.timestamp)?)));
        self.structures = found.collect();
    }

    /// Notes the structures among changes that were applied.
    pub(super) fn note_structures(&mut self, applied: &[Change], left_out: &[Hash]) {
        for change in applied {
            let hash = Hash::from(change.hash());
            if let Some(mark) = structure::mark(change.actor_id(), change.timestamp())
                && !left_out.contains(&hash)
            {
                self.structures.insert(hash, mark);
            }
        }
    }

    /// A change of these operations with that time; `None` if they do not fit one. For a document that is used for nothing else.
    pub(crate) fn author_structure(&mut self, operations: &[Op], time: u32) -> Result<Option<Vec<u8>>, EditError> {
        if operations.is_empty() {
            let Body::Sealed(doc) = &mut self.body else { return Err(EditError::Lost) };
            return Ok(empty(doc, time));
        }
        // The first number that an edit draws is its change's time.
        let edited = self.edit(operations.to_vec(), &mut || u64::from(time))?;
        if !edited.sealed.is_empty() {
            return Ok(None);
        }
        Ok(self.seal(&mut || u64::from(time)).map(|sealed| sealed.bytes))
    }
}

fn empty(doc: &mut Automerge, time: u32) -> Option<Vec<u8>> {
    let hash = doc.empty_commit(CommitOptions::default().with_time(i64::from(time)));
    Some(doc.get_changes(&[]).into_iter().find(|change| change.hash() == hash)?.raw_bytes().to_vec())
}
