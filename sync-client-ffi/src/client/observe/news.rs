//! What observers of collections and of edits are told, and how it waits: coalesced, and bounded.

use std::collections::BTreeMap;

use sync_core::id::{DocId, SpaceId};
use sync_core::limits::OBSERVER_QUEUE_MAX;

use super::Key;
use crate::client::EditState;

/// What happened to the documents of a space, or of a collection in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionEvent {
    /// In which space.
    pub space: SpaceId,
    /// What happened.
    pub news: CollectionNews,
}

/// What happened to documents in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectionNews {
    /// These came, changed or went, each named once.
    Changed(CollectionChanges),
    /// List them again: there were more of them than are kept.
    LookAgain,
}

/// Documents that came, changed and went, ascending: in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectionChanges {
    /// Those that came; what was written into them since then is not told of on its own.
    pub added: Vec<DocId>,
    /// Those that were there and show something else.
    pub changed: Vec<DocId>,
    /// Those that are deleted.
    pub removed: Vec<DocId>,
}

/// What became of this device's edits of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditEvent {
    /// In which space.
    pub space: SpaceId,
    /// Of which document.
    pub doc: DocId,
    /// What became of them.
    pub news: EditNews,
}

/// What became of edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditNews {
    /// This, in this order.
    Changed(Vec<EditChange>),
    /// More than is kept: ask [`edit_state`](crate::client::Doc::edit_state).
    LookAgain,
}

/// What became of edits that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditChange {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// What became of them.
    pub state: EditState,
}

/// What happened to one document in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Turn {
    Added,
    Changed,
    Removed,
}

impl Turn {
    fn then(self, next: Self) -> Self {
        match (self, next) {
            // Whoever lists it after this sees the change, or does not see it at all.
            (Self::Added | Self::Removed, Self::Changed) => self,
            (_, next) => next,
        }
    }
}

/// Changes of collections that wait, at most so many a space; `None` for more.
#[derive(Default)]
pub(super) struct Collections {
    spaces: BTreeMap<SpaceId, Option<BTreeMap<DocId, (String, Turn)>>>,
}

impl Collections {
    pub(super) fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }

    pub(super) fn note(&mut self, space: SpaceId, doc: DocId, collection: String, turn: Turn) {
        let entry = self.spaces.entry(space).or_insert_with(|| Some(BTreeMap::new()));
        let Some(docs) = entry else { return };
        let noted = docs.entry(doc).or_insert((collection, turn));
        noted.1 = noted.1.then(turn);
        if docs.len() > OBSERVER_QUEUE_MAX {
            *entry = None;
        }
    }

    pub(super) fn look_again(&mut self, space: SpaceId) {
        self.spaces.insert(space, None);
    }

    pub(super) fn take(&mut self) -> BTreeMap<SpaceId, CollectionsOfSpace> {
        std::mem::take(&mut self.spaces).into_iter().map(|(space, docs)| (space, CollectionsOfSpace(docs))).collect()
    }
}

/// What waited in one space.
pub(super) struct CollectionsOfSpace(Option<BTreeMap<DocId, (String, Turn)>>);

impl CollectionsOfSpace {
    /// What of it an observer of a collection, or of all of them, is told.
    pub(super) fn event(&self, space: SpaceId, collection: Option<&str>) -> Option<CollectionEvent> {
        let Some(docs) = &self.0 else { return Some(CollectionEvent { space, news: CollectionNews::LookAgain }) };
        let mut changes = CollectionChanges::default();
        for (doc, (name, turn)) in docs {
            if collection.is_none_or(|collection| collection == name) {
                match turn {
                    Turn::Added => changes.added.push(*doc),
                    Turn::Changed => changes.changed.push(*doc),
                    Turn::Removed => changes.removed.push(*doc),
                }
            }
        }
        let any = changes != CollectionChanges::default();
        any.then_some(CollectionEvent { space, news: CollectionNews::Changed(changes) })
    }
}

/// States of edits that wait, at most so many a document; `None` for more.
#[derive(Default)]
pub(super) struct Edits {
    docs: BTreeMap<Key, Option<Vec<EditChange>>>,
}

impl Edits {
    pub(super) fn is_empty(&self) -> bool {
        self.docs.is_empty()
    }

    pub(super) fn note(&mut self, key: Key, change: EditChange) {
        let entry = self.docs.entry(key).or_insert_with(|| Some(Vec::new()));
        let Some(changes) = entry else { return };
        match changes.last_mut() {
            Some(before) if before.state == change.state && before.last + 1 == change.first => {
                before.last = change.last
            }
            _ => changes.push(change),
        }
        if changes.len() > OBSERVER_QUEUE_MAX {
            *entry = None;
        }
    }

    pub(super) fn look_again(&mut self, key: Key) {
        self.docs.insert(key, None);
    }

    pub(super) fn take(&mut self) -> Vec<EditEvent> {
        let event = |((space, doc), changes): (Key, Option<Vec<EditChange>>)| {
            let news = changes.map_or(EditNews::LookAgain, EditNews::Changed);
            EditEvent { space, doc, news }
        };
        std::mem::take(&mut self.docs).into_iter().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> SpaceId {
        SpaceId::from_random([1; 16])
    }

    fn doc(number: usize) -> DocId {
        DocId::mint(number as u64, [0; 10])
    }

    fn told(collections: &mut Collections, collection: Option<&str>) -> Option<CollectionNews> {
        collections.take().remove(&space()).and_then(|of| of.event(space(), collection)).map(|event| event.news)
    }

    #[test]
    fn each_document_is_told_once_with_what_it_came_to() {
        use Turn::{Added, Changed, Removed};
        for (turns, told) in [
            (&[Added, Changed][..], Added),
            (&[Changed, Changed], Changed),
            (&[Changed, Removed], Removed),
            // Somebody may have listed it in between.
            (&[Added, Changed, Removed], Removed),
            (&[Removed, Changed], Removed),
            (&[Removed, Added], Added),
        ] {
            assert_eq!(turns.iter().copied().reduce(Turn::then), Some(told), "{turns:?}");
        }
    }

    #[test]
    fn an_observer_hears_of_its_collection_alone() {
        let note = |collections: &mut Collections| {
            collections.note(space(), doc(2), "notes".into(), Turn::Added);
            collections.note(space(), doc(1), "lists".into(), Turn::Changed);
        };
        let of =
            |added, changed| Some(CollectionNews::Changed(CollectionChanges { added, changed, removed: Vec::new() }));
        for (collection, expected) in [
            (Some("notes"), of(vec![doc(2)], vec![])),
            (Some("lists"), of(vec![], vec![doc(1)])),
            (None, of(vec![doc(2)], vec![doc(1)])),
            (Some("other"), None),
        ] {
            let mut collections = Collections::default();
            note(&mut collections);
            assert_eq!(told(&mut collections, collection), expected);
            assert!(collections.is_empty());
        }
    }

    #[test]
    fn more_documents_than_are_kept_are_a_look() {
        let mut collections = Collections::default();
        for number in 0..=OBSERVER_QUEUE_MAX {
            collections.note(space(), doc(number), "notes".into(), Turn::Added);
        }
        collections.note(space(), doc(1), "notes".into(), Turn::Added);
        assert_eq!(told(&mut collections, Some("other")), Some(CollectionNews::LookAgain));
    }

    #[test]
    fn edits_that_go_the_same_way_are_told_together_and_too_many_ways_are_a_look() {
        let mut edits = Edits::default();
        let key = (space(), doc(1));
        let change = |first, last, state| EditChange { first, last, state };
        for number in 1..=9 {
            edits.note(key, change(number, number, EditState::Local));
        }
        edits.note(key, change(1, 4, EditState::Sent));
        edits.note(key, change(10, 10, EditState::Local));
        let expected =
            vec![change(1, 9, EditState::Local), change(1, 4, EditState::Sent), change(10, 10, EditState::Local)];
        assert_eq!(edits.take()[0].news, EditNews::Changed(expected));
        for seq in 0..=OBSERVER_QUEUE_MAX as u64 {
            edits.note(key, change(seq + 1, seq + 1, EditState::Durable { seq }));
        }
        assert_eq!(edits.take()[0].news, EditNews::LookAgain);
        assert!(edits.is_empty());
    }
}
