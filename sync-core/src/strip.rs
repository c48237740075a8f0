//! The wire's form of a change chunk: without what the receiver can put back, with references to what it has just seen.
//!
//! One stripped chunk is: flags; the author's place in the table of actors (one past its end: a new one follows); then,
//! unless a flag says that it follows from the context: dependencies (each as the distance back to a change of this
//! context, or 0 and the hash), sequence number, first operation, time, other actors; then the length of the body and the
//! body. Magic, checksum, type, lengths and hash are computed again.

use std::collections::BTreeMap;

use crate::chunk::{Chunk, ChunkError, MAGIC, TYPE_AT, TYPE_CHANGE};
use crate::id::{Actor, DocId, Hash};
use crate::leb128;
use crate::limits::{ACTOR_BYTES, CHANGE_DEPENDENCIES_MAX, DOCUMENT_ACTORS_MAX, INFLATED_BYTES_MAX};

/// The only dependency is the author's previous change of this document in this context.
const DEPS_PREVIOUS: u8 = 1;
/// The sequence number is one more than that of the author's previous change of this document; 1 without one.
const SEQ_FOLLOWS: u8 = 2;
/// The first operation is one more than the highest of the dependencies that this context has seen.
const START_FOLLOWS: u8 = 4;
/// The time is 0.
const TIME_ZERO: u8 = 8;
/// No other actors.
const NO_OTHERS: u8 = 16;
const FLAGS: u8 = DEPS_PREVIOUS | SEQ_FOLLOWS | START_FOLLOWS | TIME_ZERO | NO_OTHERS;

/// Why a stripped chunk could not be put together again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StripError {
    /// The input ends within the chunk.
    #[error("a stripped change is cut off")]
    CutOff,
    /// A number, flag or reference that means nothing.
    #[error("a stripped change is malformed: {0}")]
    Malformed(&'static str),
    /// The whole chunk would be larger than allowed.
    #[error("a stripped change is too large")]
    TooLarge,
    /// What came out is not a change.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// What both ends have seen of one run or page. Each end begins with an empty one and uses it in one direction only.
#[derive(Debug, Clone, Default)]
pub struct Context {
    actors: Vec<Actor>,
    actor_places: BTreeMap<Actor, u64>,
    changes: Vec<Seen>,
    /// Of the stripping end alone.
    change_places: BTreeMap<Hash, usize>,
    last: BTreeMap<(DocId, u64), Last>,
    /// Bytes that the receiving end has put together so far.
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    hash: Hash,
    max_op: u64,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    change: usize,
    seq: u64,
}

/// Whether the stripped form can hold this chunk; every chunk that passes the guard's cheap stage can be.
pub fn strippable(chunk: &Chunk<'_>) -> bool {
    chunk.actor().len() == ACTOR_BYTES
        && chunk.other_actors().iter().all(|actor| actor.len() == ACTOR_BYTES)
        && chunk.message().is_empty()
        && u32::try_from(chunk.time()).is_ok()
}

impl Context {
    /// Appends the stripped form of `chunk` to `out` and remembers the chunk. Answers `false`, and does neither, if it is
    /// not [`strippable`].
    pub fn strip(&mut self, doc: DocId, chunk: &Chunk<'_>, out: &mut Vec<u8>) -> bool {
        let (true, Ok(actor), Ok(time)) =
            (strippable(chunk), Actor::from_slice(chunk.actor()), u32::try_from(chunk.time()))
        else {
            return false;
        };
        let known = self.actor_places.get(&actor).copied();
        let last = known.and_then(|place| self.last.get(&(doc, place))).copied();
        let is_previous = |last: Last| chunk.deps().eq([self.changes[last.change].hash]);
        let deps_previous = last.is_some_and(is_previous);

        let flags_at = out.len();
        let mut flags = 0;
        out.push(flags);
        let place = self.write_actor(actor, out);
        let mut start_op = 1;
        if deps_previous {
            flags |= DEPS_PREVIOUS;
            start_op = last.map_or(1, |last| self.changes[last.change].max_op.saturating_add(1));
        } else {
            leb128::write(out, chunk.deps().len() as u64);
            for dep in chunk.deps() {
                if let Some(&at) = self.change_places.get(&dep) {
                    leb128::write(out, (self.changes.len() - at) as u64);
                    start_op = start_op.max(self.changes[at].max_op.saturating_add(1));
                } else {
                    out.push(0);
                    out.extend_from_slice(&dep.0);
                }
            }
        }
        if chunk.seq() == follows(last) {
            flags |= SEQ_FOLLOWS;
        } else {
            leb128::write(out, chunk.seq());
        }
        if chunk.start_op() == start_op {
            flags |= START_FOLLOWS;
        } else {
            leb128::write(out, chunk.start_op());
        }
        if time == 0 {
            flags |= TIME_ZERO;
        } else {
            out.extend_from_slice(&time.to_le_bytes());
        }
        if chunk.other_actors().is_empty() {
            flags |= NO_OTHERS;
        } else {
            leb128::write(out, chunk.other_actors().len() as u64);
            for other in chunk.other_actors().iter().filter_map(|other| Actor::from_slice(other).ok()) {
                self.write_actor(other, out);
            }
        }
        leb128::write(out, chunk.body().len() as u64);
        out.extend_from_slice(chunk.body());
        out[flags_at] = flags;
        self.change_places.insert(chunk.hash(), self.changes.len());
        self.remember(doc, place, chunk);
        true
    }

    /// Reads one stripped chunk from the front of `input`, moves past it, and answers the whole chunk and its hash.
    ///
    /// A reference of one byte stands for a hash of 32. So one chunk never takes more than `bytes_max`, and all chunks of a
    /// context never more than a page may hold when inflated. What comes out has a chunk's form and nothing more: the guard
    /// is still to come. After an error the context is of no further use.
    pub fn unstrip(&mut self, doc: DocId, input: &mut &[u8], bytes_max: usize) -> Result<(Vec<u8>, Hash), StripError> {
        let flags = take(input, 1)?[0];
        if flags & !FLAGS != 0 {
            return Err(StripError::Malformed("flags"));
        }
        let bytes_max = bytes_max.min(INFLATED_BYTES_MAX.saturating_sub(self.bytes));
        let (place, actor) = self.read_actor(input)?;
        let last = self.last.get(&(doc, place)).copied();
        let mut data = Bounded { bytes: Vec::with_capacity(input.len().min(bytes_max).min(256)), bytes_max };
        let start_op = if flags & DEPS_PREVIOUS != 0 {
            let last = last.ok_or(StripError::Malformed("no previous change"))?;
            let previous = self.changes[last.change];
            data.number(1)?;
            data.extend(&previous.hash.0)?;
            previous.max_op.saturating_add(1)
        } else {
            self.read_deps(input, &mut data)?
        };
        data.number(ACTOR_BYTES as u64)?;
        data.extend(actor.as_bytes())?;
        data.number(if flags & SEQ_FOLLOWS != 0 { follows(last) } else { number(input)? })?;
        data.number(if flags & START_FOLLOWS != 0 { start_op } else { number(input)? })?;
        let time = if flags & TIME_ZERO != 0 { 0 } else { le_u32(take(input, 4)?) };
        data.signed(time)?;
        data.number(0)?;
        let others = if flags & NO_OTHERS != 0 { 0 } else { number(input)? };
        if others > DOCUMENT_ACTORS_MAX {
            return Err(StripError::Malformed("too many actors"));
        }
        data.number(others)?;
        for _ in 0..others {
            let (_, other) = self.read_actor(input)?;
            data.number(ACTOR_BYTES as u64)?;
            data.extend(other.as_bytes())?;
        }
        let body_len = usize::try_from(number(input)?).map_err(|_| StripError::CutOff)?;
        data.extend(take(input, body_len)?)?;

        let data = data.bytes;
        let (bytes, hash) = frame(&data);
        if bytes.len() > bytes_max {
            return Err(StripError::TooLarge);
        }
        let chunk = Chunk::parse(&bytes, &bytes[bytes.len() - data.len()..], hash)?;
        self.remember(doc, place, &chunk);
        self.bytes += bytes.len();
        Ok((bytes, hash))
    }

    fn read_deps(&self, input: &mut &[u8], data: &mut Bounded) -> Result<u64, StripError> {
        let count = number(input)?;
        if count > CHANGE_DEPENDENCIES_MAX as u64 {
            return Err(StripError::Malformed("too many dependencies"));
        }
        data.number(count)?;
        let mut start_op = 1;
        for _ in 0..count {
            let back = number(input)?;
            if back == 0 {
                data.extend(take(input, 32)?)?;
                continue;
            }
            let at = usize::try_from(back).ok().and_then(|back| self.changes.len().checked_sub(back));
            let seen = at.and_then(|at| self.changes.get(at)).ok_or(StripError::Malformed("unknown dependency"))?;
            data.extend(&seen.hash.0)?;
            start_op = start_op.max(seen.max_op.saturating_add(1));
        }
        Ok(start_op)
    }

    fn write_actor(&mut self, actor: Actor, out: &mut Vec<u8>) -> u64 {
        let next = self.actors.len() as u64;
        let place = *self.actor_places.entry(actor).or_insert(next);
        leb128::write(out, place);
        if place == next {
            out.extend_from_slice(actor.as_bytes());
            self.actors.push(actor);
        }
        place
    }

    fn read_actor(&mut self, input: &mut &[u8]) -> Result<(u64, Actor), StripError> {
        let place = number(input)?;
        if place == self.actors.len() as u64 {
            let actor = Actor::from_slice(take(input, ACTOR_BYTES)?).map_err(|_| StripError::Malformed("actor"))?;
            self.actors.push(actor);
        }
        let actor = usize::try_from(place).ok().and_then(|place| self.actors.get(place));
        actor.map(|&actor| (place, actor)).ok_or(StripError::Malformed("unknown actor"))
    }

    fn remember(&mut self, doc: DocId, actor: u64, chunk: &Chunk<'_>) {
        self.last.insert((doc, actor), Last { change: self.changes.len(), seq: chunk.seq() });
        self.changes.push(Seen { hash: chunk.hash(), max_op: chunk.max_op() });
    }
}

fn follows(last: Option<Last>) -> u64 {
    last.map_or(1, |last| last.seq.saturating_add(1))
}

/// The whole chunk around its data, and its hash.
pub(crate) fn frame(data: &[u8]) -> (Vec<u8>, Hash) {
    let mut bytes = Vec::with_capacity(TYPE_AT + 11 + data.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.push(TYPE_CHANGE);
    leb128::write(&mut bytes, data.len() as u64);
    bytes.extend_from_slice(data);
    let hash = Hash::of(&[&bytes[TYPE_AT..]]);
    bytes[MAGIC.len()..TYPE_AT].copy_from_slice(&hash.0[..4]);
    (bytes, hash)
}

/// A buffer that refuses to outgrow its bound.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Bounded {
    fn extend(&mut self, more: &[u8]) -> Result<(), StripError> {
        if more.len() > self.bytes_max.saturating_sub(self.bytes.len()) {
            return Err(StripError::TooLarge);
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    fn number(&mut self, value: u64) -> Result<(), StripError> {
        if self.bytes.len() >= self.bytes_max {
            return Err(StripError::TooLarge);
        }
        leb128::write(&mut self.bytes, value);
        Ok(())
    }

    /// A number that is not negative, in the signed form: the sign bit of its last byte must be clear.
    fn signed(&mut self, value: u32) -> Result<(), StripError> {
        let mut value = value;
        while value >= 0x40 {
            self.extend(&[value as u8 | 0x80])?;
            value >>= 7;
        }
        self.extend(&[value as u8])
    }
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], StripError> {
    let (taken, rest) = input.split_at_checked(len).ok_or(StripError::CutOff)?;
    *input = rest;
    Ok(taken)
}

fn number(input: &mut &[u8]) -> Result<u64, StripError> {
    leb128::read(input).ok_or(StripError::Malformed("number"))
}

fn le_u32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}
