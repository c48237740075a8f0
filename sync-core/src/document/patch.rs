//! What changed in a document, for observers: small steps instead of the whole.

use automerge::{Automerge, ObjId, PatchAction, ReadDoc};

use super::op::Op;
use super::read;
use crate::value::{Path, Step, Value};

/// One step from what an observer shows to what the document holds now.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// The object or property that changed.
    pub path: Path,
    /// How.
    pub action: Action,
}

/// How a place changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The property at the path has this value now. An object may arrive empty, its contents follow.
    Put(Value),
    /// Elements came into the list at the path.
    Insert {
        /// Before which index.
        at: u64,
        /// The elements.
        values: Vec<Value>,
    },
    /// Characters came into the text at the path.
    InsertText {
        /// Before which character.
        at: u64,
        /// The characters.
        text: String,
    },
    /// Elements or characters left the list or text at the path.
    Remove {
        /// The first of them.
        at: u64,
        /// How many.
        count: u64,
    },
    /// The key at the path is gone.
    Delete,
    /// The counter at the path moved by this much.
    Increment(i64),
    /// A part of the text at the path was marked; null means unmarked.
    Mark {
        /// The first character.
        start: u64,
        /// The character behind the last.
        end: u64,
        /// The mark's name.
        name: String,
        /// The mark's value.
        value: Value,
    },
}

/// What an app's own operation does, seen as patches.
pub(super) fn of_op(op: &Op) -> Vec<Patch> {
    let at_path = |action| Patch { path: op.path().clone(), action };
    match op {
        Op::Put { value, .. } => vec![at_path(Action::Put(value.clone()))],
        Op::Insert { path, values } => match path.0.split_last() {
            Some((Step::Index(at), list)) => {
                let action = Action::Insert { at: *at, values: values.clone() };
                vec![Patch { path: Path(list.to_vec()), action }]
            }
            _ => Vec::new(),
        },
        Op::Delete { path } => match path.0.split_last() {
            Some((Step::Index(at), list)) => {
                vec![Patch { path: Path(list.to_vec()), action: Action::Remove { at: *at, count: 1 } }]
            }
            _ => vec![at_path(Action::Delete)],
        },
        Op::Splice { at, delete, insert, .. } => {
            let mut patches = Vec::new();
            if *delete > 0 {
                patches.push(at_path(Action::Remove { at: *at, count: *delete }));
            }
            if !insert.is_empty() {
                patches.push(at_path(Action::InsertText { at: *at, text: insert.clone() }));
            }
            patches
        }
        Op::Mark { start, end, name, value, .. } => {
            vec![at_path(Action::Mark { start: *start, end: *end, name: name.clone(), value: value.clone() })]
        }
        Op::Increment { by, .. } => vec![at_path(Action::Increment(*by))],
    }
}

/// automerge's patches of remote changes, in our words.
pub(super) fn of_automerge(doc: &Automerge, patches: Vec<automerge::Patch>) -> Vec<Patch> {
    patches.into_iter().flat_map(|patch| convert(doc, patch)).collect()
}

pub(super) fn step(prop: &automerge::Prop) -> Step {
    match prop {
        automerge::Prop::Map(key) => Step::Key(key.clone()),
        automerge::Prop::Seq(index) => Step::Index(*index as u64),
    }
}

/// Elements that came into a list. automerge 0.12 takes a list's last element for gone when a counter there was incremented
/// in the same batch, says one less for what comes behind it, and may join that to what came in before it. Patches of a list
/// ascend, so each element stands where it came in when all are done: there it is looked for.
fn inserted(doc: &Automerge, list: &ObjId, path: &Path, said: usize, values: &[(Value, ObjId)]) -> Vec<Patch> {
    let stands = |index: usize, id: &ObjId| doc.get(list, index).ok().flatten().is_some_and(|(_, there)| there == *id);
    let (Some((_, first)), Some((_, last))) = (values.first(), values.last()) else { return Vec::new() };
    let patch = |at: usize, values: &[(Value, ObjId)]| {
        let values = values.iter().map(|(value, _)| value.clone()).collect();
        Patch { path: path.clone(), action: Action::Insert { at: at as u64, values } }
    };
    // The elements are in order, so two right ends leave no room for a wrong middle.
    if stands(said, first) && stands(said + values.len() - 1, last) {
        return vec![patch(said, values)];
    }
    let mut patches = Vec::new();
    let (mut from, mut at, mut next) = (0, said, said);
    for (index, (_, id)) in values.iter().enumerate() {
        let found = (next..doc.length(list)).find(|&place| stands(place, id)).unwrap_or(next);
        if found != next {
            if from < index {
                patches.push(patch(at, &values[from..index]));
            }
            (from, at) = (index, found);
        }
        next = found + 1;
    }
    patches.push(patch(at, &values[from..]));
    patches
}

fn convert(doc: &Automerge, patch: automerge::Patch) -> Vec<Patch> {
    let path = Path(patch.path.iter().map(|(_, prop)| step(prop)).collect());
    let one = |path: Path, action: Action| vec![Patch { path, action }];
    match patch.action {
        PatchAction::PutMap { key, value, .. } => one(path.join(key), Action::Put(read::shallow(&value.0))),
        PatchAction::PutSeq { index, value, .. } => one(path.join(index), Action::Put(read::shallow(&value.0))),
        PatchAction::Insert { index, values } => {
            let values: Vec<_> = values.iter().map(|(value, id, _)| (read::shallow(value), id.clone())).collect();
            inserted(doc, &patch.obj, &path, index, &values)
        }
        PatchAction::SpliceText { index, value, .. } => {
            one(path, Action::InsertText { at: index as u64, text: value.make_string() })
        }
        PatchAction::Increment { prop, value } => one(path.join(step(&prop)), Action::Increment(value)),
        PatchAction::DeleteMap { key } => one(path.join(key), Action::Delete),
        PatchAction::DeleteSeq { index, length } => {
            one(path, Action::Remove { at: index as u64, count: length as u64 })
        }
        PatchAction::Mark { marks } => {
            let mark = |mark: automerge::marks::Mark| Patch {
                path: path.clone(),
                action: Action::Mark {
                    start: mark.start as u64,
                    end: mark.end as u64,
                    name: mark.name().to_owned(),
                    value: read::scalar(mark.value()),
                },
            };
            marks.into_iter().map(mark).collect()
        }
        // Which of two concurrent values shows is told by the put that goes with it.
        PatchAction::Conflict { .. } => Vec::new(),
    }
}
