//! What waits to be told, at most so much of it: steps of a document that are more than the bound become "look again".

use std::collections::{BTreeMap, BTreeSet};

use sync_core::document::Action;
use sync_core::id::SpaceId;
use sync_core::limits::{OBSERVER_BYTES_MAX, OBSERVER_QUEUE_MAX};
use sync_core::session::Status;
use sync_core::value::{Path, Step, Value};

use super::news::{Collections, Edits};
use super::{DocEvent, EventKind, Key, Patched};

/// What a step takes beside its texts.
const STEP_BYTES: usize = size_of::<Patched>();

/// News since the last delivery.
#[derive(Default)]
pub(super) struct Waiting {
    /// In the order in which the documents first changed.
    docs: Vec<(Key, News)>,
    places: BTreeMap<Key, usize>,
    bytes: usize,
    presences: BTreeSet<SpaceId>,
    lists: BTreeSet<SpaceId>,
    pub(super) collections: Collections,
    pub(super) edits: Edits,
    /// Spaces to which access was lost or came back: as many as a client has.
    pub(super) accesses: BTreeSet<SpaceId>,
    pub(super) status: Option<Status>,
    pub(super) token: bool,
}

struct News {
    kind: EventKind,
    through: u64,
    bytes: usize,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        !self.is_urgent() && !self.is_paced()
    }

    /// Whether something waits that is told at once.
    pub(super) fn is_urgent(&self) -> bool {
        self.status.is_some() || self.token || !self.accesses.is_empty()
    }

    /// Whether something waits that is told once a frame of the screen.
    pub(super) fn is_paced(&self) -> bool {
        !self.docs.is_empty()
            || !self.presences.is_empty()
            || !self.lists.is_empty()
            || !self.collections.is_empty()
            || !self.edits.is_empty()
    }

    fn news(&mut self, key: Key) -> &mut News {
        let at = *self.places.entry(key).or_insert_with(|| {
            self.docs.push((key, News { kind: EventKind::Patches(Vec::new()), through: 0, bytes: 0 }));
            self.docs.len() - 1
        });
        &mut self.docs[at].1
    }

    /// One document changed.
    pub(super) fn steps(&mut self, key: Key, steps: impl Iterator<Item = Patched>, through: u64) {
        let elsewhere = self.bytes;
        let news = self.news(key);
        news.through = news.through.max(through);
        let before = news.bytes;
        let mut fits = true;
        // Whoever looks again, or has lost the document, sees these steps anyway.
        if let EventKind::Patches(waiting) = &mut news.kind {
            for step in steps {
                news.bytes += size(&step);
                waiting.push(step);
            }
            fits = waiting.len() <= OBSERVER_QUEUE_MAX && elsewhere - before + news.bytes <= OBSERVER_BYTES_MAX;
        }
        self.bytes = elsewhere - before + news.bytes;
        if !fits {
            self.look_again(key);
        }
    }

    pub(super) fn look_again(&mut self, key: Key) {
        self.replace(key, EventKind::LookAgain);
    }

    pub(super) fn deleted(&mut self, key: Key) {
        self.replace(key, EventKind::Deleted);
    }

    fn replace(&mut self, key: Key, kind: EventKind) {
        let news = self.news(key);
        let freed = std::mem::take(&mut news.bytes);
        news.kind = kind;
        self.bytes -= freed;
    }

    pub(super) fn presence(&mut self, space: SpaceId) {
        self.presences.insert(space);
    }

    /// Documents of a space came or went.
    pub(super) fn listed(&mut self, space: SpaceId) {
        self.lists.insert(space);
    }

    /// The spaces in which they did.
    pub(super) fn take_lists(&mut self) -> BTreeSet<SpaceId> {
        std::mem::take(&mut self.lists)
    }

    /// Everything else that is told once a frame.
    pub(super) fn take_paced(&mut self) -> (Vec<DocEvent>, BTreeSet<SpaceId>) {
        self.places.clear();
        self.bytes = 0;
        let event = |((space, doc), news): (Key, News)| DocEvent { space, doc, kind: news.kind, through: news.through };
        let events = std::mem::take(&mut self.docs).into_iter().map(event).collect();
        (events, std::mem::take(&mut self.presences))
    }
}

/// About how many bytes a step takes.
fn size(step: &Patched) -> usize {
    let patch = &step.patch;
    let said = match &patch.action {
        Action::Put(value) => value_size(value),
        Action::Insert { values, .. } => values.iter().map(value_size).sum(),
        Action::InsertText { text, .. } => text.len(),
        Action::Mark { name, value, .. } => name.len() + value_size(value),
        Action::Remove { .. } | Action::Delete | Action::Increment(_) => 0,
    };
    STEP_BYTES + path_size(&patch.path) + said
}

fn path_size(path: &Path) -> usize {
    let step = |step: &Step| match step {
        Step::Key(key) => key.len(),
        Step::Index(_) => 0,
    };
    path.0.iter().map(|part| size_of::<Step>() + step(part)).sum()
}

fn value_size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Str(text) | Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(values) => values.iter().map(value_size).sum(),
            Value::Map(map) => map.iter().map(|(key, value)| key.len() + value_size(value)).sum(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::observe::Origin;
    use sync_core::document::Patch;
    use sync_core::id::DocId;

    fn key(number: u8) -> Key {
        (SpaceId::from_random([1; 16]), DocId::from_bytes([number; 16]))
    }

    fn typed(text: &str) -> Patched {
        let action = Action::InsertText { at: 0, text: text.to_owned() };
        Patched { origin: Origin::Local, patch: Patch { path: "text".into(), action } }
    }

    #[test]
    fn documents_are_told_in_the_order_in_which_they_changed_first() {
        let mut waiting = Waiting::default();
        for (number, text) in [(2, "a"), (1, "b"), (2, "c")] {
            waiting.steps(key(number), std::iter::once(typed(text)), 0);
        }
        let (events, _) = waiting.take_paced();
        let told: Vec<_> = events.into_iter().map(|event| (event.doc, event.kind)).collect();
        let both = EventKind::Patches(vec![typed("a"), typed("c")]);
        assert_eq!(told, [(key(2).1, both), (key(1).1, EventKind::Patches(vec![typed("b")]))]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn too_many_steps_are_a_look_of_that_document_alone() {
        let mut waiting = Waiting::default();
        waiting.steps(key(1), std::iter::once(typed("a")), 0);
        waiting.steps(key(2), (0..=OBSERVER_QUEUE_MAX).map(|_| typed("b")), 0);
        waiting.steps(key(2), std::iter::once(typed("c")), 0);
        let (events, _) = waiting.take_paced();
        assert_eq!(events[0].kind, EventKind::Patches(vec![typed("a")]));
        assert_eq!(events[1].kind, EventKind::LookAgain);
    }

    #[test]
    fn texts_count_by_their_length() {
        let mut waiting = Waiting::default();
        let long = "x".repeat(1 << 20);
        for number in 1..=8 {
            waiting.steps(key(number), std::iter::once(typed(&long)), 0);
        }
        let (events, _) = waiting.take_paced();
        let kept = events.iter().filter(|event| event.kind != EventKind::LookAgain).count();
        assert_eq!((events.len(), kept), (8, 3));
        assert_eq!(waiting.bytes, 0);
    }

    #[test]
    fn a_deletion_takes_the_place_of_what_was_before() {
        let mut waiting = Waiting::default();
        waiting.steps(key(1), std::iter::once(typed("a")), 0);
        waiting.deleted(key(1));
        waiting.steps(key(1), std::iter::once(typed("b")), 0);
        assert_eq!(waiting.take_paced().0[0].kind, EventKind::Deleted);
        waiting.deleted(key(1));
        // The deletion was refused: the document is there again.
        waiting.look_again(key(1));
        assert_eq!(waiting.take_paced().0[0].kind, EventKind::LookAgain);
    }
}
