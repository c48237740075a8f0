//! What is noted of each operation while an edit is written, to undo it.

use automerge::{ObjId, Prop, ReadDoc};

use super::name::{Between, Id, Kept, Name, characters};
use super::{Inverse, Place, UndoStep};
use crate::document::history::{Marked, marks};
use crate::document::op::Op;
use crate::document::read;
use crate::value::{Path, Step, Value};

/// What has to be known before an operation is written.
pub(in crate::document) struct Noted(Option<Before>);

enum Before {
    Key { object: ObjId, key: String, before: Option<Kept> },
    Element { list: ObjId, index: usize, before: Kept },
    Inserts { list: ObjId, index: usize, count: usize },
    Splice { text: ObjId, at: usize, typed: usize, erased: String, characters: Vec<Name>, between: Between },
    Known(Vec<Inverse>),
}

/// Looks at what an operation is about to change.
pub(in crate::document) fn before(doc: &impl ReadDoc, op: &Op) -> Noted {
    Noted(look(doc, op))
}

fn look(doc: &impl ReadDoc, op: &Op) -> Option<Before> {
    let of_place = |path: &Path| {
        let (step, above) = path.0.split_last()?;
        Some((read::object(doc, above)?.0, step.clone()))
    };
    Some(match op {
        Op::Put { path, .. } => match of_place(path)? {
            (object, Step::Key(key)) => {
                let before = Kept::read(doc, &object, key.as_str()).ok()?;
                Before::Key { object, key, before }
            }
            (list, Step::Index(index)) => {
                let index = usize::try_from(index).ok()?;
                let before = Kept::read(doc, &list, index).ok()??;
                Before::Element { list, index, before }
            }
        },
        Op::Delete { path } => match of_place(path)? {
            (object, Step::Key(key)) => {
                let before = Kept::read(doc, &object, key.as_str()).ok()?;
                let object = Id::of(&object)?;
                Before::Known(vec![Inverse::Key { object, key, wrote: None, before }])
            }
            (list, Step::Index(index)) => {
                let index = usize::try_from(index).ok()?;
                let before = Kept::read(doc, &list, index).ok()??;
                let element = Name::of_element(doc, &list, index)?;
                let between = Between::read(doc, &list, index, 1)?;
                Before::Known(vec![Inverse::Removed { list: Id::of(&list)?, element, between, before }])
            }
        },
        Op::Insert { path, values } => {
            let (list, Step::Index(index)) = of_place(path)? else { return None };
            Before::Inserts { list, index: usize::try_from(index).ok()?, count: values.len() }
        }
        Op::Splice { path, at, delete, insert } => {
            let (text, _) = read::object(doc, &path.0)?;
            let (at, count) = (usize::try_from(*at).ok()?, usize::try_from(*delete).ok()?);
            let characters = characters(doc, &text, at, count)?;
            let erased =
                if count == 0 { String::new() } else { doc.text(&text).ok()?.chars().skip(at).take(count).collect() };
            let between = Between::read(doc, &text, at, count)?;
            Before::Splice { text, at, typed: insert.chars().count(), erased, characters, between }
        }
        Op::Mark { path, start, end, name, expand, .. } => {
            let (text, _) = read::object(doc, &path.0)?;
            let marks = marks(doc, path)?;
            let id = Id::of(&text)?;
            let part = |(from, to, before): (u64, u64, Value)| {
                let first = Name::of_element(doc, &text, from as usize)?;
                let last = Name::of_element(doc, &text, to as usize - 1)?;
                Some(Inverse::Marked { text: id, first, last, name: name.clone(), before, expand: *expand })
            };
            Before::Known(parts(&marks, name, *start, *end).into_iter().map(part).collect::<Option<_>>()?)
        }
        Op::Increment { path, by } => {
            let (object, step) = of_place(path)?;
            let (prop, place): (Prop, Place) = match step {
                Step::Key(key) => (key.as_str().into(), Place::Key(key)),
                Step::Index(index) => {
                    let index = usize::try_from(index).ok()?;
                    (index.into(), Place::Element(Name::of_element(doc, &object, index)?))
                }
            };
            let (_, counter) = doc.get(&object, prop).ok()??;
            let (object, counter) = (Id::of(&object)?, Id::of(&counter)?);
            Before::Known(vec![Inverse::Counted { object, place, counter, by: *by }])
        }
    })
}

/// A range in parts, each with the value that a mark had there; null where there was none.
fn parts(marks: &[Marked], name: &str, start: u64, end: u64) -> Vec<(u64, u64, Value)> {
    let (mut parts, mut at) = (Vec::new(), start);
    let mut here: Vec<&Marked> =
        marks.iter().filter(|mark| mark.name == name && mark.start < end && mark.end > start).collect();
    here.sort_by_key(|mark| mark.start);
    for mark in here {
        let (from, to) = (mark.start.max(at), mark.end.min(end));
        if from > at {
            parts.push((at, from, Value::Null));
        }
        if to > from {
            parts.push((from, to, mark.value.clone()));
            at = to;
        }
    }
    if at < end {
        parts.push((at, end, Value::Null));
    }
    parts
}

impl Noted {
    /// What undoes the operation, now that it is written; `None` if that cannot be said.
    fn after(self, doc: &impl ReadDoc) -> Option<Vec<Inverse>> {
        let wrote = |object: &ObjId, prop: Prop| Id::of(&doc.get(object, prop).ok()??.1);
        Some(match self.0? {
            Before::Known(inverses) => inverses,
            Before::Key { object, key, before } => {
                let wrote = Some(wrote(&object, key.as_str().into())?);
                vec![Inverse::Key { object: Id::of(&object)?, key, wrote, before }]
            }
            Before::Element { list, index, before } => {
                let (element, wrote) = (Name::of_element(doc, &list, index)?, wrote(&list, index.into())?);
                vec![Inverse::Element { list: Id::of(&list)?, element, wrote, before }]
            }
            Before::Inserts { list, index, count } => {
                vec![Inverse::Inserted { list: Id::of(&list)?, elements: characters(doc, &list, index, count)? }]
            }
            Before::Splice { text, at, typed, erased, characters: gone, between } => {
                let id = Id::of(&text)?;
                let mut inverses = Vec::new();
                if !gone.is_empty() {
                    inverses.push(Inverse::Erased { text: id, erased, characters: gone, between });
                }
                if typed > 0 {
                    inverses.push(Inverse::Typed { text: id, characters: characters(doc, &text, at, typed)? });
                }
                inverses
            }
        })
    }
}

/// Collects what undoes an edit while it is written.
#[derive(Default)]
pub(in crate::document) struct Recorder {
    inverses: Vec<Inverse>,
    lost: bool,
}

impl Recorder {
    pub(in crate::document) fn took(&mut self, noted: Noted, doc: &impl ReadDoc) {
        match noted.after(doc) {
            Some(inverses) => self.inverses.extend(inverses),
            None => self.lost = true,
        }
    }

    pub(in crate::document) fn step(self) -> Option<UndoStep> {
        (!self.lost).then_some(UndoStep { inverses: self.inverses })
    }
}
