//! A change of one plain operation: a keystroke, a deleted character, a field that is set. Its columns hold one value each,
//! so that their one canonical form, and whether the operation is possible, show without automerge. Live, nearly every
//! change is of this kind, and having automerge parse it and write it again would cost more than all other checks together.
//!
//! Only what is certainly sound is passed here; on anything else the whole verification decides, also on the reason.

use std::str::from_utf8;

use crate::chunk::{
    ACTION, Chunk, INSERT, KEY_ACTOR, KEY_COUNTER, KEY_STRING, OBJECT_ACTOR, OBJECT_COUNTER, PREDECESSOR_ACTOR,
    PREDECESSOR_COUNT, PREDECESSOR_COUNTER, VALUE, VALUE_META, signed,
};
use crate::leb128;

/// How a column begins that holds one value: a run of one literal.
const LONE: u8 = 0x7f;

const MAKE_MAP: u64 = 0;
const SET: u64 = 1;
const MAKE_LIST: u64 = 2;
const DELETE: u64 = 3;
const MAKE_TEXT: u64 = 4;

const NULL: u64 = 0;
const FALSE: u64 = 1;
const TRUE: u64 = 2;
const TEXT: u64 = 6;
const BYTES: u64 = 7;

/// An operation's id: the place of its actor in the change's table, the author's being 0, and its counter.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Id {
    actor: u64,
    counter: u64,
}

enum Key {
    InMap,
    Head,
    Element(Id),
}

/// Whether a chunk that passed the cheap stage holds one plain operation, in canonical form, that is possible as far as it
/// shows by itself.
pub(super) fn is_sound(chunk: &Chunk<'_>) -> bool {
    chunk.operations() == 1 && sound(chunk).is_some()
}

fn sound(chunk: &Chunk<'_>) -> Option<()> {
    let column = |spec| chunk.columns().iter().find(|column| column.spec == spec).map(|column| column.data);
    let known = [
        OBJECT_ACTOR,
        OBJECT_COUNTER,
        KEY_ACTOR,
        KEY_COUNTER,
        KEY_STRING,
        INSERT,
        ACTION,
        VALUE_META,
        VALUE,
        PREDECESSOR_COUNT,
        PREDECESSOR_ACTOR,
        PREDECESSOR_COUNTER,
    ];
    require(chunk.columns().iter().all(|column| known.contains(&column.spec)))?;

    let object = match (column(OBJECT_ACTOR), column(OBJECT_COUNTER)) {
        (None, None) => None,
        (Some(actor), Some(counter)) => Some(Id { actor: number(actor)?, counter: number(counter)? }),
        _ => return None,
    };
    let key = match (column(KEY_ACTOR), column(KEY_COUNTER), column(KEY_STRING)) {
        (None, None, Some(text)) => {
            let mut text = text.strip_prefix(&[LONE])?;
            let length = leb128::read(&mut text)?;
            require(length == text.len() as u64 && from_utf8(text).is_ok())?;
            Key::InMap
        }
        (None, Some(counter), None) if delta(counter)? == 0 => Key::Head,
        (Some(actor), Some(counter), None) => Key::Element(Id { actor: number(actor)?, counter: delta(counter)? }),
        _ => return None,
    };
    let insert = match column(INSERT)? {
        [1] => false,
        [0, 1] => true,
        _ => return None,
    };
    let action = number(column(ACTION)?)?;
    let predecessor =
        match (number(column(PREDECESSOR_COUNT)?)?, column(PREDECESSOR_ACTOR), column(PREDECESSOR_COUNTER)) {
            (0, None, None) => None,
            (1, Some(actor), Some(counter)) => Some(Id { actor: number(actor)?, counter: delta(counter)? }),
            _ => return None,
        };
    is_value(action, number(column(VALUE_META)?)?, column(VALUE).unwrap_or_default())?;
    let element = if let Key::Element(element) = key { Some(element) } else { None };
    let ids = [object, element, predecessor];
    is_actor_table(chunk, &ids)?;

    // There is no earlier operation in this change: all that it names is older, and nothing older is of a new author.
    let is_older = |id: &Id| (1..chunk.start_op()).contains(&id.counter) && !(id.actor == 0 && chunk.seq() == 1);
    require(ids.iter().flatten().all(is_older))?;
    let holds = |id: Id| object.is_none_or(|object| object.counter < id.counter);
    require(element.is_none_or(holds) && predecessor.is_none_or(holds))?;
    match key {
        Key::InMap => require(!insert)?,
        // A place in a list or text: an insertion replaces nothing, anything else the element or what came upon it.
        Key::Head => require(object.is_some() && insert && predecessor.is_none())?,
        Key::Element(element) => {
            let upon = |id: Id| id == element || element.counter < id.counter;
            require(object.is_some() && insert == predecessor.is_none() && predecessor.is_none_or(upon))?;
        }
    }
    require(action != DELETE || predecessor.is_some())
}

/// Whether the value fits the action, and is of a type whose bytes have one form.
fn is_value(action: u64, meta: u64, value: &[u8]) -> Option<()> {
    let (kind, length) = (meta & 0xf, meta >> 4);
    require(length == value.len() as u64)?;
    match (action, kind) {
        (MAKE_MAP | MAKE_LIST | MAKE_TEXT | DELETE, NULL) | (SET, NULL | FALSE | TRUE) => require(value.is_empty()),
        (SET, TEXT) => require(from_utf8(value).is_ok()),
        (SET, BYTES) => Some(()),
        _ => None,
    }
}

/// Whether the table of actors holds those that the operation names and no others, none of them the author.
fn is_actor_table(chunk: &Chunk<'_>, ids: &[Option<Id>]) -> Option<()> {
    let others = chunk.other_actors();
    let named = |place: u64| ids.iter().flatten().any(|id| id.actor == place);
    require(others.len() <= ids.len() && (1..=others.len() as u64).all(named))?;
    require(!others.contains(&chunk.actor()) && ids.iter().flatten().all(|id| id.actor <= others.len() as u64))
}

fn require(holds: bool) -> Option<()> {
    holds.then_some(())
}

/// The number that is all of a column.
fn number(column: &[u8]) -> Option<u64> {
    let mut rest = column.strip_prefix(&[LONE])?;
    let number = leb128::read(&mut rest)?;
    rest.is_empty().then_some(number)
}

/// The same in a column of differences, where the first counts from 0.
fn delta(column: &[u8]) -> Option<u64> {
    let mut rest = column.strip_prefix(&[LONE])?;
    let number = signed(&mut rest).ok()?;
    if rest.is_empty() { u64::try_from(number).ok() } else { None }
}
