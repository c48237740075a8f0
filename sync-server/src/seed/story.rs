//! How one document comes about: several devices edit it, each sees the others' work late, and all of it merges.

use std::collections::BTreeSet;

use sync_core::document::{Document, DocumentError, Op};
use sync_core::feed::Item;
use sync_core::id::{Actor, DeviceId, DocId};
use sync_core::path;
use sync_core::value::Value;

use super::SeedError;
use super::draw::Draw;

/// Devices that write one document: more seldom meet in one.
const AUTHORS_MAX: u64 = 4;
/// A device looks at what others wrote before one edit of so many; the rest is concurrent.
const MERGE_EVERY: u64 = 2;
/// One document of so many is deleted in the end.
const DELETED_EVERY: u32 = 12;
/// Ids of documents carry a time, which nobody trusts: some day, and a second later each.
const FIRST_MS: u64 = 1_750_000_000_000;

const TITLES: [&str; 12] = [
    "Groceries",
    "Kitchen plan",
    "Trip to the coast",
    "Reading list",
    "Minutes",
    "Ideas",
    "Garden",
    "Budget",
    "Birthday",
    "Moving house",
    "Recipe",
    "Questions for Monday",
];
const PHRASES: [&str; 20] = [
    "milk, bread and two lemons. ",
    "Ask Ben about the keys. ",
    "The train leaves at 7:42. ",
    "Café near the harbour, ",
    "do not forget the tickets! ",
    "three pots of paint, ",
    "We agreed to meet on Thursday. ",
    "It rained all day. ",
    "Chapter 4 is worth a second look. ",
    "call the plumber; ",
    "half a kilo of plums, ",
    "Who brings the salad? ",
    "The blue one is out of stock. ",
    "1,200 a month at the most. ",
    "see the photo above, ",
    "größer als gedacht, ",
    "naïve but it works. ",
    "first draft. ",
    "Nobody answered yet. ",
    "Done, see below. ",
];
const TASKS: [&str; 14] = [
    "water the plants",
    "book a table",
    "send the invoice",
    "back up the laptop",
    "return the books",
    "buy a lamp",
    "fix the bike",
    "pay the rent",
    "call home",
    "renew the passport",
    "clean the oven",
    "write to Kim",
    "order filters",
    "take out the bins",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A text that people type into.
    Note,
    /// A list of things to do.
    List,
    /// A number that many add to.
    Tally,
}

/// What one device wrote before another one did.
pub struct Written {
    /// Whose: an index into the devices that the story began with.
    pub author: usize,
    /// Its items.
    pub items: Vec<Item>,
}

/// A document on the devices that write it.
pub struct Story {
    id: DocId,
    kind: Kind,
    authors: Vec<Author>,
    /// All changes so far, in an order in which each follows its dependencies.
    history: Vec<Vec<u8>>,
    deleted: bool,
    deletes: bool,
}

struct Author {
    index: usize,
    document: Document,
    /// How much of the history it has taken in.
    seen: usize,
    /// Own changes behind that, by their place in it.
    own: BTreeSet<usize>,
}

impl Story {
    /// The space's document of that number, on some of its devices.
    pub fn begin(draw: &mut Draw, number: u32, devices: &[DeviceId]) -> Self {
        let kind = match draw.below(6) {
            0..=2 => Kind::Note,
            3..=4 => Kind::List,
            _ => Kind::Tally,
        };
        let id = DocId::mint(FIRST_MS + u64::from(number) * 1_000, draw.bytes());
        let first = draw.below(devices.len() as u64) as usize;
        let count = (1 + draw.below(AUTHORS_MAX)) as usize;
        let authors = (0..count.min(devices.len())).map(|step| {
            let index = (first + step) % devices.len();
            let document = Document::new(Actor::new(devices[index], draw.bytes()));
            Author { index, document, seen: 0, own: BTreeSet::new() }
        });
        let authors = authors.collect();
        let deletes = number % DELETED_EVERY == DELETED_EVERY - 1;
        Self { id, kind, authors, history: Vec::new(), deleted: false, deletes }
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// So many more changes; the last ones of all where nothing follows.
    pub fn write(&mut self, draw: &mut Draw, changes: u32, is_end: bool) -> Result<Vec<Written>, SeedError> {
        let mut runs: Vec<Written> = Vec::new();
        for _ in 0..changes {
            let is_first = self.history.is_empty();
            let at = if is_first { 0 } else { draw.below(self.authors.len() as u64) as usize };
            let items = if is_first {
                vec![Item::create(self.id, collection(self.kind).to_owned()), self.change(draw, at)?]
            } else {
                vec![self.change(draw, at)?]
            };
            add(&mut runs, self.authors[at].index, items);
        }
        if is_end && self.deletes {
            self.deleted = true;
            add(&mut runs, self.authors[0].index, vec![Item::delete(self.id)]);
        }
        Ok(runs)
    }

    fn change(&mut self, draw: &mut Draw, at: usize) -> Result<Item, SeedError> {
        let author = &mut self.authors[at];
        // Whoever has nothing yet must look first: there is no text to type into.
        let looks = author.seen == 0 && author.own.is_empty() || draw.below(MERGE_EVERY) == 0;
        if looks {
            author.catch_up(&self.history)?;
        }
        let ops =
            if self.history.is_empty() { start(self.kind, draw) } else { edit(self.kind, &author.document, draw) };
        let edited = author.document.edit(ops, &mut || draw.number())?;
        debug_assert!(edited.sealed.is_empty(), "an edit of a person is far from a journal's bounds");
        let Some(sealed) = author.document.seal(&mut || draw.number()) else {
            return Err(DocumentError::Lost.into());
        };
        author.own.insert(self.history.len());
        self.history.push(sealed.bytes.clone());
        Ok(Item::change(self.id, sealed.hash, sealed.bytes))
    }
}

impl Author {
    fn catch_up(&mut self, history: &[Vec<u8>]) -> Result<(), SeedError> {
        let others = history.iter().enumerate().skip(self.seen).filter(|(at, _)| !self.own.contains(at));
        let others: Vec<&Vec<u8>> = others.map(|(_, bytes)| bytes).collect();
        self.document.apply(&others)?;
        self.seen = history.len();
        self.own.clear();
        Ok(())
    }
}

fn add(runs: &mut Vec<Written>, author: usize, items: Vec<Item>) {
    match runs.last_mut() {
        Some(last) if last.author == author => last.items.extend(items),
        _ => runs.push(Written { author, items }),
    }
}

fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::Note => "notes",
        Kind::List => "lists",
        Kind::Tally => "tallies",
    }
}

fn start(kind: Kind, draw: &mut Draw) -> Vec<Op> {
    let title = Op::Put { path: "title".into(), value: draw.one_of(&TITLES).into() };
    let (key, value) = match kind {
        Kind::Note => ("body", Value::Text(String::new())),
        Kind::List => ("items", Value::List(Vec::new())),
        Kind::Tally => ("count", Value::Counter(0)),
    };
    vec![title, Op::Put { path: key.into(), value }]
}

/// What a person does between two glances at the network.
fn edit(kind: Kind, document: &Document, draw: &mut Draw) -> Vec<Op> {
    match kind {
        Kind::Note => {
            let length = document.length("body").unwrap_or(0);
            let (at, delete) = match draw.below(4) {
                0 if length > 0 => {
                    let at = draw.below(length);
                    (at, draw.below(12).min(length - at))
                }
                // Mostly at the end.
                1 => (draw.below(length + 1), 0),
                _ => (length, 0),
            };
            vec![Op::Splice { path: "body".into(), at, delete, insert: draw.one_of(&PHRASES).to_owned() }]
        }
        Kind::List => {
            let length = document.length("items").unwrap_or(0);
            match draw.below(4) {
                0 if length > 0 => vec![Op::Delete { path: path!["items", draw.below(length)] }],
                1 | 2 if length > 0 => {
                    vec![Op::Put { path: path!["items", draw.below(length), "done"], value: true.into() }]
                }
                _ => {
                    let task = [("text", draw.one_of(&TASKS).into()), ("done", false.into())];
                    let task = Value::Map(task.map(|(key, value)| (key.to_owned(), value)).into());
                    vec![Op::Insert { path: path!["items", draw.below(length + 1)], values: vec![task] }]
                }
            }
        }
        Kind::Tally => vec![Op::Increment { path: "count".into(), by: 1 + draw.below(3) as i64 }],
    }
}
