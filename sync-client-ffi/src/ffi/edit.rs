//! Edits: operations on paths, and what becomes of them.

use sync_core::document::{Expand, Op};

use sync_core::value::Path;

use super::error::RejoinError;
use super::path::parse;
use super::value::{self, FfiValue};
use crate::client::{Edit, EditState};

/// One operation. Those of one edit take effect together, or none of them does.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum EditOp {
    /// Sets a key of a map, or replaces an element of a list.
    Put {
        /// The place.
        path: String,
        /// What to set.
        value: FfiValue,
    },
    /// The same with a value in JSON: strings become texts where `text` is true, else strings that are replaced as a whole.
    PutJson {
        /// The place.
        path: String,
        /// JSON.
        json: String,
        /// Whether strings are texts that people type.
        text: bool,
    },
    /// Removes a key of a map, or an element of a list.
    Delete {
        /// The place.
        path: String,
    },
    /// Inserts elements into a list, before the index that ends the path.
    Insert {
        /// The place.
        path: String,
        /// The elements.
        values: Vec<FfiValue>,
    },
    /// Replaces a part of a text. Positions count Unicode characters (code points).
    Splice {
        /// The text.
        path: String,
        /// Where.
        at: u64,
        /// How many characters go.
        remove: u64,
        /// What comes in their place.
        insert: String,
    },
    /// Marks a part of a text; the value null unmarks it.
    Mark {
        /// The text.
        path: String,
        /// The first character.
        start: u64,
        /// The character behind the last.
        end: u64,
        /// The mark's name, for example `bold`.
        name: String,
        /// The mark's value.
        value: FfiValue,
        /// Whether text that is inserted at its edges belongs to it.
        edges: MarkEdges,
    },
    /// Moves an element of a list: its value is inserted anew and the old element deleted. What others do to the element at the
    /// same time is done to the old one, and lost; if they move it too, there are two.
    Move {
        /// The list.
        path: String,
        /// Where the element is.
        from_index: u64,
        /// Where it is afterwards.
        to_index: u64,
    },
    /// Adds to a counter.
    Increment {
        /// The counter.
        path: String,
        /// How much; may be negative.
        by: i64,
    },
}

/// Whether text that is inserted at the edge of a mark belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum MarkEdges {
    /// At neither edge, as for a link.
    Neither,
    /// At the start.
    Start,
    /// At the end, as for bold.
    End,
    /// At both.
    Both,
}

/// What has become of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ChangeState {
    /// On disk here.
    Local,
    /// On its way; whether it arrived is not known yet.
    Sent,
    /// In the server's log, at this place.
    Durable {
        /// The place.
        seq: u64,
    },
    /// Refused by the server, and out of the document; it is kept in quarantine.
    Rejected,
}

impl From<EditState> for ChangeState {
    fn from(state: EditState) -> Self {
        match state {
            EditState::Local => Self::Local,
            EditState::Sent => Self::Sent,
            EditState::Durable { seq } => Self::Durable { seq },
            EditState::Rejected { .. } => Self::Rejected,
        }
    }
}

/// One step of an edit, as the client takes it.
pub(super) enum Step {
    Op(Op),
    Move { list: Path, from: u64, to: u64 },
}

impl Step {
    pub(super) fn write(self, edit: &mut Edit) {
        match self {
            Self::Op(op) => edit.op(op),
            Self::Move { list, from, to } => edit.move_element(list, from, to),
        };
    }
}

impl TryFrom<EditOp> for Step {
    type Error = RejoinError;

    fn try_from(op: EditOp) -> Result<Self, RejoinError> {
        match op {
            EditOp::Move { path, from_index: from, to_index: to } => Ok(Self::Move { list: parse(&path)?, from, to }),
            op => op_of(op).map(Self::Op),
        }
    }
}

fn op_of(op: EditOp) -> Result<Op, RejoinError> {
    Ok(match op {
        EditOp::Move { .. } => return Err(RejoinError::internal()),
        EditOp::Put { path, value } => Op::Put { path: parse(&path)?, value: value.into() },
        EditOp::PutJson { path, json, text } => Op::Put { path: parse(&path)?, value: value::of_json(&json, text)? },
        EditOp::Delete { path } => Op::Delete { path: parse(&path)? },
        EditOp::Insert { path, values } => {
            Op::Insert { path: parse(&path)?, values: values.into_iter().map(Into::into).collect() }
        }
        EditOp::Splice { path, at, remove, insert } => Op::Splice { path: parse(&path)?, at, delete: remove, insert },
        EditOp::Mark { path, start, end, name, value, edges } => {
            let expand = match edges {
                MarkEdges::Neither => Expand::None,
                MarkEdges::Start => Expand::Before,
                MarkEdges::End => Expand::After,
                MarkEdges::Both => Expand::Both,
            };
            Op::Mark { path: parse(&path)?, start, end, name, value: value.into(), expand }
        }
        EditOp::Increment { path, by } => Op::Increment { path: parse(&path)?, by },
    })
}
