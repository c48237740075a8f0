//! Schemas of collections: what the documents of a collection are made of, version by version, so that two devices that make
//! the same document offline make the same objects in it, and merge, instead of one shadowing what the other wrote.
//!
//! A version brings a *structure*: one change that makes the containers and first values which are new in it. It is made upon the
//! structure of the version before and upon nothing else, so it is the same, byte for byte, on every device, in whatever state
//! its document is; the same objects have the same ids everywhere. Its operations are older than any content made upon it, so a
//! value that somebody wrote is never replaced by a first value that comes later.
//!
//! Its author is no device: the [actor](Actor::is_structure) is a digest of everything else in the change. So who receives a
//! structure sees from its bytes alone that nobody chose the author, any device may send it, and it takes effect once however many
//! do. Its `time` holds its version and who may still write, which makes the version of a document a matter of which structures it
//! holds: nothing is stored beside it that could disagree, and an older app knows a newer version when it sees one.
//!
//! What follows from content (moving a value to another key) cannot be a structure. That is an ordinary edit of the device which
//! does it, and two may do it at once: see [`is_repeatable`].

use automerge::ActorId;

use crate::chunk::Chunk;
use crate::code::RejectCode;
use crate::document::{Document, EditError, Op};
use crate::feed::is_collection;
use crate::guard::{self, Guarded};
use crate::id::{ACTORS_OF_STRUCTURES, Actor, Hash};
use crate::limits::{ACTOR_BYTES, COLLECTION_BYTES_MAX, SCHEMA_VERSIONS_MAX};
use crate::strip::frame;
use crate::value::Value;

/// Which version a structure brings, and who may write from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The version, from 1.
    pub version: u16,
    /// The lowest version of an app that may still edit the document; 0 for any app, also one that knows no schema.
    pub writers_from: u16,
}

impl Mark {
    pub(crate) fn time(self) -> u32 {
        u32::from(self.version) << 16 | u32::from(self.writers_from)
    }

    /// Reads it from a structure's time; `None` if it cannot be one.
    pub(crate) fn of_time(time: i64) -> Option<Self> {
        let time = u32::try_from(time).ok()?;
        let (version, writers_from) = ((time >> 16) as u16, time as u16);
        let mark = Self { version, writers_from };
        ((1..=SCHEMA_VERSIONS_MAX).contains(&version) && writers_from <= version).then_some(mark)
    }
}

/// What a version of a schema declares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Version {
    /// The containers and first values that it brings; nothing, if it only changes what content means. They may work on what
    /// earlier versions made.
    pub operations: Vec<Op>,
    /// The lowest version of an app that may still edit a document which has this one; 0 for any. Versions behind it do not ask
    /// for less.
    pub writers_from: u16,
}

/// A change that brings a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// Which.
    pub mark: Mark,
    /// automerge's hash of it.
    pub hash: Hash,
    /// The chunk, uncompressed.
    pub bytes: Vec<u8>,
}

/// A collection's schema: its structures, version 1 first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    collection: String,
    structures: Vec<Structure>,
}

/// A schema that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Empty, or too long.
    #[error("a collection's name has 1 to {COLLECTION_BYTES_MAX} bytes, none of them zero")]
    Collection,
    /// None, or too many.
    #[error("a schema has 1 to {SCHEMA_VERSIONS_MAX} versions")]
    Versions,
    /// It asks for writers of a version that comes later.
    #[error("version {version} lets only apps write that know version {writers_from}")]
    Writers {
        /// Of which version.
        version: u16,
        /// What it asks for.
        writers_from: u16,
    },
    /// An operation of it is not possible.
    #[error("version {version}: {error}")]
    Operation {
        /// Of which version.
        version: u16,
        /// Why.
        error: EditError,
    },
    /// It makes more than one change can hold.
    #[error("version {version} makes more than one change can hold")]
    TooLarge {
        /// Of which version.
        version: u16,
    },
}

impl Schema {
    /// The schema of a collection. What a version that was ever shipped declares must stay as it is: another declaration makes
    /// other objects.
    pub fn new(collection: &str, versions: &[Version]) -> Result<Self, SchemaError> {
        if !is_collection(collection) {
            return Err(SchemaError::Collection);
        }
        let count = u16::try_from(versions.len()).ok().filter(|count| (1..=SCHEMA_VERSIONS_MAX).contains(count));
        let count = count.ok_or(SchemaError::Versions)?;
        let mut structures: Vec<Structure> = Vec::with_capacity(versions.len());
        let mut floor = 0;
        for (version, declared) in (1..=count).zip(versions) {
            let writers_from = declared.writers_from.max(floor);
            if writers_from > version {
                return Err(SchemaError::Writers { version, writers_from });
            }
            floor = writers_from;
            structures.push(make(&structures, Mark { version, writers_from }, &declared.operations)?);
        }
        Ok(Self { collection: collection.to_owned(), structures })
    }

    /// Of which collection.
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// The newest version.
    pub fn version(&self) -> u16 {
        self.structures.len() as u16
    }

    /// The structures of all versions, the first one first: each is made upon the one before.
    pub fn structures(&self) -> &[Structure] {
        &self.structures
    }

    /// The structures that a document lacks, in their order.
    pub fn missing<'a>(&'a self, document: &Document) -> Vec<&'a Structure> {
        self.structures.iter().filter(|structure| document.structure(structure.hash).is_none()).collect()
    }
}

/// Writes under an author that stands for the one that is known only when the change is whole.
fn make(before: &[Structure], mark: Mark, operations: &[Op]) -> Result<Structure, SchemaError> {
    let version = mark.version;
    let failed = |error| SchemaError::Operation { version, error };
    let changes: Vec<&[u8]> = before.iter().map(|structure| structure.bytes.as_slice()).collect();
    let stand_in = Actor::from_slice(&[0xff; ACTOR_BYTES]).map_err(|_| failed(EditError::Lost))?;
    let (mut document, _) = Document::load(stand_in, None, &changes).map_err(|_| failed(EditError::Lost))?;
    let written = document.author_structure(operations, mark.time()).map_err(failed)?;
    let (bytes, hash) = written.as_deref().and_then(signed).ok_or(SchemaError::TooLarge { version })?;
    // What no server would take is found out here, and not when it is refused.
    let (chunk, guarded) = guard::inspect_declared(&bytes, hash).map_err(|_| SchemaError::TooLarge { version })?;
    let sound = check(&chunk, &guarded).and_then(|()| guard::settle(&chunk, &guarded));
    sound.map_err(|_| SchemaError::TooLarge { version })?;
    Ok(Structure { mark, hash, bytes })
}

/// The same change by the author that follows from it.
fn signed(bytes: &[u8]) -> Option<(Vec<u8>, Hash)> {
    let chunk = Chunk::read(bytes).ok()?;
    let [ahead, behind] = chunk.around_actor();
    Some(frame(&[ahead, author(&chunk).as_bytes(), behind].concat()))
}

fn author(chunk: &Chunk<'_>) -> Actor {
    let [ahead, behind] = chunk.around_actor();
    Actor::of_structure(Hash::of(&[b"rejoin structure", ahead, behind]))
}

/// Whether a change by the author of a structure is one: its author follows from it, it is made upon the structure of the version
/// before alone, and works on structures alone.
pub(crate) fn check(chunk: &Chunk<'_>, guarded: &Guarded) -> Result<(), RejectCode> {
    let mark = Mark::of_time(chunk.time()).ok_or(RejectCode::ForgedActor)?;
    let upon = usize::from(mark.version > 1);
    let alone = guarded.seq == 1 && guarded.deps.len() == upon && guarded.other_actors.iter().all(Actor::is_structure);
    if alone && author(chunk) == guarded.actor { Ok(()) } else { Err(RejectCode::ForgedActor) }
}

/// What a change says of itself, if it is a structure.
pub(crate) fn mark(actor: &ActorId, time: i64) -> Option<Mark> {
    let is_structure = Actor::from_slice(actor.to_bytes()).is_ok_and(|actor| actor.is_structure());
    if is_structure { Mark::of_time(time) } else { None }
}

/// With one dependency at most, a structure's author begins within so many bytes.
const AUTHOR_WITHIN: usize = 64;

/// Whether bytes are a structure, for whoever holds changes that were checked before. Of what is none it costs a look at the front.
pub fn is_structure(bytes: &[u8]) -> bool {
    let front = &bytes[..bytes.len().min(AUTHOR_WITHIN)];
    let may_be = front.windows(ACTORS_OF_STRUCTURES.len()).any(|part| part == ACTORS_OF_STRUCTURES);
    may_be && guard::inspect(bytes).is_ok_and(|guarded| guarded.actor.is_structure())
}

/// Whether an operation that two devices do at once, from the same content, comes to what one of them would have done: a value is
/// set, or something is removed. Not so an insertion or a splice (it would be there twice), an increment (it would count twice), or
/// a new map, list, text or counter (one would shadow what the other's is filled with: a structure makes those).
pub fn is_repeatable(op: &Op) -> bool {
    match op {
        Op::Put { value, .. } => !matches!(value, Value::Map(_) | Value::List(_) | Value::Text(_) | Value::Counter(_)),
        Op::Delete { .. } => true,
        Op::Insert { .. } | Op::Splice { .. } | Op::Mark { .. } | Op::Increment { .. } => false,
    }
}
