//! What a document's operations leave: which objects, elements and values live, and in which order elements stand, those that
//! are gone included. Worked out from the operations alone, so that every id is known.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType, SortedVec};
use automerge::{ActorId, ObjType, ScalarValue};

use super::Map;
use crate::guard;
use crate::id::Actor;

/// Counter and author: ids in the order in which automerge lets the greater one win.
type Id = (u64, u32);
/// `None` for the root.
type Object = Option<Id>;

/// A document, down to its operations.
#[derive(Debug)]
pub struct State {
    /// Ascending, so that their numbers are in their order.
    actors: Vec<ActorId>,
    nodes: BTreeMap<Id, Node>,
    /// What is under the keys of maps.
    keys: BTreeMap<(Object, String), Vec<Id>>,
    /// Elements that follow another one, or begin a list.
    followers: BTreeMap<Id, Vec<Id>>,
    beginnings: BTreeMap<Object, Vec<Id>>,
    /// What was put in the place of elements.
    replaced: BTreeMap<Id, Vec<Id>>,
    /// The order of a list, once it was asked for.
    places: BTreeMap<Id, (Object, Option<Id>)>,
}

#[derive(Debug)]
struct Node {
    obj: Object,
    action: OpType,
    gone: bool,
    /// What was added to a counter.
    added: i64,
}

/// What an operation takes in a change, about.
pub(super) fn weight(op: &Op) -> usize {
    let value = match &op.action {
        OpType::Put(ScalarValue::Str(text)) => text.len(),
        OpType::Put(ScalarValue::Bytes(bytes)) => bytes.len(),
        OpType::MarkBegin(mark) => {
            mark.name.len()
                + match &mark.value {
                    ScalarValue::Str(text) => text.len(),
                    ScalarValue::Bytes(bytes) => bytes.len(),
                    _ => 0,
                }
        }
        _ => 0,
    };
    let key = match &op.key {
        Key::Map(key) => key.len(),
        Key::Seq(_) => 0,
    };
    value + key + 8
}

impl State {
    /// From changes, each behind those that it was made upon; `None` if one cannot be read.
    pub fn of<'a>(changes: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut expanded = Vec::new();
        let mut actors = BTreeSet::new();
        for bytes in changes {
            let guarded = guard::inspect(bytes).ok()?;
            let change = guard::verify(bytes, &guarded).ok()?.decode();
            actors.insert(change.actor_id.clone());
            expanded.push(change);
        }
        let mut state = Self {
            actors: actors.into_iter().collect(),
            nodes: BTreeMap::new(),
            keys: BTreeMap::new(),
            followers: BTreeMap::new(),
            beginnings: BTreeMap::new(),
            replaced: BTreeMap::new(),
            places: BTreeMap::new(),
        };
        for change in expanded {
            let actor = state.number(&change.actor_id)?;
            for (op, counter) in change.operations.into_iter().zip(change.start_op.get()..) {
                state.add((counter, actor), op)?;
            }
        }
        for ids in state.followers.values_mut().chain(state.beginnings.values_mut()) {
            ids.sort_unstable();
        }
        Some(state)
    }

    fn number(&self, actor: &ActorId) -> Option<u32> {
        self.actors.binary_search(actor).ok().map(|at| at as u32)
    }

    fn id(&self, id: &OpId) -> Option<Id> {
        Some((id.counter(), self.number(id.actor())?))
    }

    fn add(&mut self, id: Id, op: Op) -> Option<()> {
        let obj = match &op.obj {
            ObjectId::Root => None,
            ObjectId::Id(of) => Some(self.id(of)?),
        };
        for pred in op.pred.iter() {
            let pred = self.id(pred)?;
            // One that another change had replaced when this one came may be among them.
            if let Some(node) = self.nodes.get_mut(&pred) {
                match op.action {
                    OpType::Increment(by) => node.added = node.added.wrapping_add(by),
                    _ => node.gone = true,
                }
            }
        }
        if matches!(op.action, OpType::Delete | OpType::Increment(_)) {
            return Some(());
        }
        match op.key {
            Key::Map(key) => self.keys.entry((obj, key.to_string())).or_default().push(id),
            Key::Seq(ElementId::Head) => self.beginnings.entry(obj).or_default().push(id),
            Key::Seq(ElementId::Id(of)) => {
                let of = self.id(&of)?;
                let side = if op.insert { &mut self.followers } else { &mut self.replaced };
                side.entry(of).or_default().push(id);
            }
        }
        self.nodes.insert(id, Node { obj, action: op.action, gone: false, added: 0 });
        Some(())
    }

    /// The elements of a list or text in their order, those that are gone included.
    fn order(&self, obj: Object) -> Vec<Id> {
        let mut order = Vec::new();
        // The greatest follows at once; it lies on top.
        let mut ahead: Vec<Id> = self.beginnings.get(&obj).cloned().unwrap_or_default();
        while let Some(id) = ahead.pop() {
            order.push(id);
            ahead.extend(self.followers.get(&id).into_iter().flatten());
        }
        order
    }

    /// The element in front of another one, which may be gone; `Some(None)` in front of the first.
    pub fn in_front_of(&mut self, id: &OpId) -> Option<Option<OpId>> {
        let id = self.id(id)?;
        if !self.places.contains_key(&id) {
            let obj = self.nodes.get(&id)?.obj;
            let mut before = None;
            for element in self.order(obj) {
                self.places.insert(element, (obj, before));
                before = Some(element);
            }
        }
        let (_, before) = self.places.get(&id)?;
        Some(before.map(|(counter, actor)| OpId::new(counter, &self.actors[actor as usize])))
    }

    /// Operations of `actor` that build what lives from nothing, with counters from 1 on, and what became of the ids.
    pub(super) fn content(&self, actor: Actor) -> (Vec<Op>, Map) {
        let mut writer = Writer {
            state: self,
            now: ActorId::from(actor),
            ops: Vec::new(),
            map: Map::into(actor),
            ahead: Vec::new(),
        };
        let mut keys: BTreeMap<Object, Vec<(&String, &Vec<Id>)>> = BTreeMap::new();
        for ((obj, key), ids) in &self.keys {
            keys.entry(*obj).or_default().push((key, ids));
        }
        writer.ahead.push((None, ObjectId::Root, false));
        while let Some((obj, now, sequence)) = writer.ahead.pop() {
            if sequence {
                writer.sequence(obj, &now);
                continue;
            }
            for (key, ids) in keys.get(&obj).into_iter().flatten() {
                if let Some(shown) = self.shown(ids.iter().copied()) {
                    writer.value(shown, &now, Key::Map(key.as_str().into()), false);
                }
            }
        }
        (writer.ops, writer.map)
    }

    /// Of values in the same place the one that is shown.
    fn shown(&self, ids: impl Iterator<Item = Id>) -> Option<Id> {
        ids.filter(|id| self.nodes.get(id).is_some_and(|node| !node.gone)).max()
    }
}

struct Writer<'a> {
    state: &'a State,
    now: ActorId,
    ops: Vec<Op>,
    map: Map,
    /// Objects whose content is still to be written: before, now, and whether it is a list or text.
    ahead: Vec<(Object, ObjectId, bool)>,
}

impl Writer<'_> {
    fn push(&mut self, was: &[Id], op: Op) -> OpId {
        self.ops.push(op);
        let counter = self.ops.len() as u64;
        for (of, actor) in was {
            // Only actors of devices write here.
            if let Ok(author) = Actor::from_slice(self.state.actors[*actor as usize].to_bytes()) {
                self.map.add((author, *of), counter);
            }
        }
        OpId::new(counter, &self.now)
    }

    fn value(&mut self, id: Id, obj: &ObjectId, key: Key, insert: bool) -> Option<OpId> {
        self.element(id, &[id], obj, key, insert)
    }

    /// Writes what `id` shows, which takes the place of all that `was`.
    fn element(&mut self, id: Id, was: &[Id], obj: &ObjectId, key: Key, insert: bool) -> Option<OpId> {
        let node = self.state.nodes.get(&id)?;
        let action = match &node.action {
            OpType::Put(ScalarValue::Counter(counter)) => {
                let value = i64::from(counter).wrapping_add(node.added);
                OpType::Put(ScalarValue::Counter(value.into()))
            }
            action => action.clone(),
        };
        let made = match action {
            OpType::Make(made) => Some(made),
            _ => None,
        };
        let op = Op { action, obj: obj.clone(), key, pred: SortedVec::new(), insert };
        let now = self.push(was, op);
        if let Some(made) = made {
            let sequence = matches!(made, ObjType::List | ObjType::Text);
            self.ahead.push((Some(id), ObjectId::Id(now.clone()), sequence));
        }
        Some(now)
    }

    fn sequence(&mut self, obj: Object, now: &ObjectId) {
        let order = self.state.order(obj);
        // What is written, by its place.
        let mut written: BTreeMap<usize, OpId> = BTreeMap::new();
        let mut living = BTreeSet::new();
        let mut marks = BTreeMap::new();
        let mut last = ElementId::Head;
        for (place, element) in order.iter().enumerate() {
            let Some(node) = self.state.nodes.get(element) else { continue };
            if matches!(node.action, OpType::MarkBegin(_) | OpType::MarkEnd(_)) {
                marks.insert(*element, place);
                continue;
            }
            let values = self.state.replaced.get(element).into_iter().flatten().copied();
            let Some(shown) = self.state.shown(values.chain([*element])) else { continue };
            let key = Key::Seq(last.clone());
            let Some(id) = self.element(shown, &[*element, shown], now, key, true) else { continue };
            last = ElementId::Id(id.clone());
            written.insert(place, id);
            living.insert(place);
        }
        // Of marks on the same text the later one wins, so they are written in the order of their ids.
        for (begin, from) in &marks {
            let OpType::MarkBegin(_) = self.state.nodes[begin].action else { continue };
            let end = (begin.0 + 1, begin.1);
            let Some(to) = marks.get(&end) else { continue };
            if living.range(from.min(to)..from.max(to)).next().is_none() {
                continue;
            }
            for (id, place) in [(begin, from), (&end, to)] {
                let front = written.range(..place).next_back();
                let key = Key::Seq(front.map_or(ElementId::Head, |(_, id)| ElementId::Id(id.clone())));
                let action = self.state.nodes[id].action.clone();
                let op = Op { action, obj: now.clone(), key, pred: SortedVec::new(), insert: true };
                let id = self.push(&[*id], op);
                written.insert(*place, id);
            }
        }
    }
}
