//! Going back to what a document was: the edit that makes it so again. What was kept since is left where it is, by its identity
//! and not by its looks, so that what others do to it at the same time still meets it; only what differs is written anew.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, ChangeHash, ObjId, ObjType, ROOT, ReadDoc, ValueRef};

use super::op::{Expand, Op};
use super::read::{self, View};
use super::{Body, Document, Marked};
use crate::id::Hash;
use crate::limits::NESTING_DEPTH_MAX;
use crate::value::{Path, Value};

/// What is at a place: a value, or an object that has to be looked into.
#[derive(Debug, Clone, PartialEq)]
enum There {
    Scalar(Value),
    Object(ObjType),
}

type Found = (There, ObjId);

impl There {
    fn of(value: &ValueRef<'_>) -> Self {
        match value {
            ValueRef::Scalar(value) => Self::Scalar(read::scalar_ref(value)),
            ValueRef::Object(kind) => Self::Object(*kind),
        }
    }
}

impl Document {
    /// The operations of an edit after which the value at a path is what it was when exactly the changes `at`, and those that
    /// they were made upon, were applied; none where it is so already. `None` if a change is not known here, or the document
    /// has edits that are not sealed.
    ///
    /// Texts and lists keep the characters and elements that are there in both states, and counters count back.
    pub fn restoring(&self, path: impl Into<Path>, at: &[Hash]) -> Option<Vec<Op>> {
        let Body::Sealed(doc) = &self.body else { return None };
        // What a schema brought since is no content that could be taken back.
        let all = at.iter().copied().chain(self.structures().map(|(structure, _)| structure));
        let heads: Vec<ChangeHash> = all.map(ChangeHash::from).collect();
        if !at.iter().all(|hash| self.has_change(*hash)) {
            return None;
        }
        let path = path.into();
        let then = View::at(doc, &heads);
        let mut restoring = Restoring { doc, heads: &heads, ops: Vec::new() };
        restoring.place(&path, View::now(doc).found(&path), then.found(&path), 0);
        let mut ops = restoring.ops;
        // What comes back may take over marks of what is beside it, also of what is not to be seen any more: they are looked at
        // where it is done.
        let mut done = self.copy().ok()?;
        if ops.is_empty() || done.edit(ops.clone(), &mut || 0).is_ok() {
            let mut texts = Vec::new();
            texts_within(&path, &then.value(&path).unwrap_or(Value::Null), &mut texts);
            for (path, length) in texts {
                let was = then.object(&path.0).and_then(|(id, _)| then.marks(&id)).unwrap_or_default();
                remark(&path, length, done.marks(path.clone()).unwrap_or_default(), was, &mut ops);
            }
        }
        Some(ops)
    }
}

/// The texts in a value, and how many characters they have.
fn texts_within(path: &Path, value: &Value, out: &mut Vec<(Path, usize)>) {
    match value {
        Value::Text(text) => out.push((path.clone(), text.chars().count())),
        Value::Map(map) => map.iter().for_each(|(key, value)| texts_within(&path.join(key.as_str()), value, out)),
        Value::List(list) => {
            list.iter().enumerate().for_each(|(at, value)| texts_within(&path.join(at), value, out));
        }
        _ => {}
    }
}

/// Marks a text as it was.
fn remark(path: &Path, length: usize, is: Vec<Marked>, was: Vec<Marked>, ops: &mut Vec<Op>) {
    let by_name = |marks: Vec<Marked>| {
        let mut by_name: BTreeMap<String, Vec<Option<Value>>> = BTreeMap::new();
        for Marked { start, end, name, value } in marks.into_iter().filter(|mark| mark.value != Value::Null) {
            let values = by_name.entry(name).or_insert_with(|| vec![None; length]);
            let end = (end as usize).min(length);
            values[(start as usize).min(end)..end].fill(Some(value));
        }
        by_name
    };
    let (is, was) = (by_name(is), by_name(was));
    let names: BTreeSet<&String> = is.keys().chain(was.keys()).collect();
    for name in names {
        let value =
            |of: &BTreeMap<String, Vec<Option<Value>>>, at: usize| of.get(name).and_then(|values| values[at].clone());
        let mut at = 0;
        while at < length {
            let (start, wanted) = (at, value(&was, at));
            at += 1;
            if value(&is, start) == wanted {
                continue;
            }
            while at < length && value(&was, at) == wanted && value(&is, at) != wanted {
                at += 1;
            }
            // What a mark does at its edges is not told of one that is there.
            let expand = if wanted.is_some() { Expand::After } else { Expand::None };
            let (start, end, value) = (start as u64, at as u64, wanted.unwrap_or(Value::Null));
            ops.push(Op::Mark { path: path.clone(), start, end, name: name.clone(), value, expand });
        }
    }
}

impl<D: ReadDoc> View<'_, D> {
    fn found(&self, path: &Path) -> Option<Found> {
        let Some((last, above)) = path.0.split_last() else { return Some((There::Object(ObjType::Map), ROOT)) };
        let (value, id) = self.get(&self.object(above)?, last)?;
        let there = match value {
            automerge::Value::Scalar(value) => There::Scalar(read::scalar(&value)),
            automerge::Value::Object(kind) => There::Object(kind),
        };
        Some((there, id))
    }
}

struct Restoring<'d> {
    doc: &'d Automerge,
    heads: &'d [ChangeHash],
    ops: Vec<Op>,
}

impl Restoring<'_> {
    fn then(&self) -> View<'_, Automerge> {
        View::at(self.doc, self.heads)
    }

    fn place(&mut self, path: &Path, now: Option<Found>, then: Option<Found>, depth: usize) {
        match (now, then) {
            (_, None) if path.0.is_empty() => {}
            (None, None) => {}
            (Some(_), None) => self.ops.push(Op::Delete { path: path.clone() }),
            (Some((There::Object(kind), now)), Some((There::Object(was), then))) if kind == was && now == then => {
                if depth < NESTING_DEPTH_MAX {
                    self.within(path, &now, kind, depth + 1);
                }
            }
            (Some((There::Scalar(Value::Counter(is)), now)), Some((There::Scalar(Value::Counter(was)), then)))
                if now == then && was.checked_sub(is).is_some() =>
            {
                if was != is {
                    self.ops.push(Op::Increment { path: path.clone(), by: was - is });
                }
            }
            (Some((There::Scalar(is), _)), Some((There::Scalar(was), _))) if is == was => {}
            // An object that was replaced since, and shows the same again.
            (Some((There::Object(is), now)), Some((There::Object(was), then)))
                if is == was && View::now(self.doc).of_object(&now, is) == self.then().of_object(&then, was) => {}
            (_, Some((then, id))) => {
                let value = self.value(&then, &id);
                self.ops.push(Op::Put { path: path.clone(), value });
            }
        }
    }

    fn value(&self, there: &There, id: &ObjId) -> Value {
        match there {
            There::Scalar(value) => value.clone(),
            There::Object(kind) => self.then().of_object(id, *kind),
        }
    }

    fn within(&mut self, path: &Path, id: &ObjId, kind: ObjType, depth: usize) {
        match kind {
            ObjType::Map | ObjType::Table => self.map(path, id, depth),
            ObjType::List => self.list(path, id, depth),
            ObjType::Text => self.text(path, id),
        }
    }

    fn map(&mut self, path: &Path, id: &ObjId, depth: usize) {
        let fields = |view: View<'_, Automerge>| -> BTreeMap<String, Found> {
            view.fields(id).map(|item| (item.key.to_string(), (There::of(&item.value), item.id()))).collect()
        };
        let (mut now, mut then) = (fields(View::now(self.doc)), fields(self.then()));
        let keys: BTreeSet<String> = now.keys().chain(then.keys()).cloned().collect();
        for key in keys {
            let (is, was) = (now.remove(&key), then.remove(&key));
            self.place(&path.join(key), is, was, depth);
        }
    }

    /// Elements that are there in both states stand in the same order in both, so one walk along both finds what came and went.
    fn list(&mut self, path: &Path, id: &ObjId, depth: usize) {
        if View::now(self.doc).of_object(id, ObjType::List) == self.then().of_object(id, ObjType::List) {
            return;
        }
        let items = |view: View<'_, Automerge>| -> Vec<Found> {
            view.items(id).map(|item| (There::of(&item.value), item.id())).collect()
        };
        let (now, then) = (items(View::now(self.doc)), items(self.then()));
        let ids = |items: &[Found]| -> BTreeSet<ObjId> { items.iter().map(|(_, id)| id.clone()).collect() };
        let (in_now, in_then) = (ids(&now), ids(&then));
        let (mut now, mut then) = (now.into_iter().peekable(), then.into_iter().peekable());
        let mut at = 0u64;
        loop {
            let goes = now.next_if(|(_, id)| !in_then.contains(id));
            let comes = then.next_if(|(_, id)| !in_now.contains(id));
            let place = path.join(at);
            match (goes, comes) {
                (Some(_), None) => {
                    self.ops.push(Op::Delete { path: place });
                    continue;
                }
                (None, Some((there, id))) => {
                    let values = vec![self.value(&there, &id)];
                    self.ops.push(Op::Insert { path: place, values });
                }
                // An element that was replaced.
                (Some(is), Some(was)) => self.place(&place, Some(is), Some(was), depth),
                (None, None) => match (now.next(), then.next()) {
                    (None, None) => return,
                    (is, was) => self.place(&place, is, was, depth),
                },
            }
            at += 1;
        }
    }

    fn text(&mut self, path: &Path, id: &ObjId) {
        let now: Vec<char> = self.doc.text(id).unwrap_or_default().chars().collect();
        let then: Vec<char> = self.then().text(id).chars().collect();
        let same = |pair: &(&char, &char)| pair.0 == pair.1;
        let head = now.iter().zip(&then).take_while(same).count();
        let (is, was) = (&now[head..], &then[head..]);
        let tail = is.iter().rev().zip(was.iter().rev()).take_while(same).count();
        let (is, was) = (&is[..is.len() - tail], &was[..was.len() - tail]);

        let name = |at: usize, heads: Option<&[ChangeHash]>| {
            self.doc.get_cursor(id, head + at, heads).ok().map(|cursor| cursor.to_string())
        };
        let names_now: Vec<_> = (0..is.len()).map(|at| name(at, None)).collect();
        let names_then: Vec<_> = (0..was.len()).map(|at| name(at, Some(self.heads))).collect();
        let in_now: BTreeSet<_> = names_now.iter().flatten().collect();
        let in_then: BTreeSet<_> = names_then.iter().flatten().collect();
        let gone =
            |at: usize| names_now.get(at).is_some_and(|name| name.as_ref().is_none_or(|name| !in_then.contains(name)));
        let missing =
            |at: usize| names_then.get(at).is_some_and(|name| name.as_ref().is_none_or(|name| !in_now.contains(name)));

        let (mut from, mut to) = (0, 0);
        loop {
            let (first_gone, first_missing) = (from, to);
            while gone(from) {
                from += 1;
            }
            while missing(to) {
                to += 1;
            }
            if (from, to) != (first_gone, first_missing) {
                let insert: String = was[first_missing..to].iter().collect();
                let (at, delete) = ((head + first_missing) as u64, (from - first_gone) as u64);
                self.ops.push(Op::Splice { path: path.clone(), at, delete, insert });
                continue;
            }
            if from >= is.len() || to >= was.len() {
                break;
            }
            (from, to) = (from + 1, to + 1);
        }
    }
}
