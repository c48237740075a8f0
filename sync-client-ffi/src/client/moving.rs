//! Moves within lists, which automerge does not have: they become operations once it is known what is moved.

use sync_core::document::{Document, EditError, Expand, Op};
use sync_core::id::{DocId, SpaceId};
use sync_core::value::{Path, Value};

use super::clock;
use super::engine::Engine;
use super::error::ClientError;

/// A step of an edit as the app gives it.
#[derive(Debug)]
pub(super) enum EditStep {
    Op(Op),
    Move { list: Path, from: u64, to: u64 },
}

impl Engine {
    /// The operations that an edit comes to.
    pub(super) fn operations(
        &mut self,
        space: SpaceId,
        doc: DocId,
        steps: Vec<EditStep>,
    ) -> Result<Vec<Op>, ClientError> {
        let mut ops = Vec::new();
        // What the document shows after the steps so far, where a move has to know.
        let mut shown: Option<Document> = None;
        for step in steps {
            let made = match step {
                EditStep::Op(op) => vec![op],
                EditStep::Move { list, from, to } => {
                    self.loaded(space, doc)?;
                    if shown.is_none() && !ops.is_empty() {
                        self.seal(space, Some(doc))?;
                        let mut copy = self.open_document(space, doc)?.copy().map_err(|_| ClientError::Corrupt)?;
                        copy.edit(ops.clone(), &mut clock::random)?;
                        shown = Some(copy);
                    }
                    match &shown {
                        Some(shown) => moved(shown, &list, from, to)?,
                        None => moved(self.open_document(space, doc)?, &list, from, to)?,
                    }
                }
            };
            if let Some(shown) = shown.as_mut().filter(|_| !made.is_empty()) {
                shown.edit(made.clone(), &mut clock::random)?;
            }
            ops.extend(made);
        }
        Ok(ops)
    }

    fn open_document(&self, space: SpaceId, doc: DocId) -> Result<&Document, ClientError> {
        let open = self.documents.get(&(space, doc)).and_then(|open| open.document.as_ref());
        open.ok_or(ClientError::NoDocument(doc))
    }
}

fn moved(document: &Document, list: &Path, from: u64, to: u64) -> Result<Vec<Op>, EditError> {
    let missing = || EditError::NotFound { expected: "list", path: list.clone() };
    let length = document.length(list).ok_or_else(missing)?;
    if let Some(index) = [from, to].into_iter().find(|index| *index >= length) {
        return Err(EditError::OutOfRange { path: list.clone(), index, length });
    }
    let old = list.join(from);
    let value = document.get(&old).ok_or_else(missing)?;
    if from == to {
        return Ok(Vec::new());
    }
    let texts = texts(&value);
    // In front of the old element it is one further behind.
    let (insert, delete) = if to > from { (to + 1, from) } else { (to, from + 1) };
    let mut ops =
        vec![Op::Insert { path: list.join(insert), values: vec![value] }, Op::Delete { path: list.join(delete) }];
    for text in texts {
        let under = |element: &Path| Path(element.0.iter().chain(&text.0).cloned().collect());
        for mark in document.marks(under(&old)).unwrap_or_default() {
            let (start, end, name, value) = (mark.start, mark.end, mark.name, mark.value);
            ops.push(Op::Mark { path: under(&list.join(to)), start, end, name, value, expand: Expand::After });
        }
    }
    Ok(ops)
}

/// Where the texts in a value are.
fn texts(value: &Value) -> Vec<Path> {
    let mut found = Vec::new();
    let mut stack = vec![(Path::root(), value)];
    while let Some((path, value)) = stack.pop() {
        match value {
            Value::Text(_) => found.push(path),
            Value::Map(map) => stack.extend(map.iter().map(|(key, value)| (path.join(key.as_str()), value))),
            Value::List(list) => stack.extend(list.iter().enumerate().map(|(index, value)| (path.join(index), value))),
            _ => {}
        }
    }
    found
}
