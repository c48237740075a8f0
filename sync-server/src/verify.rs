//! Whether a space's rows are what its log says: the log is walked from its beginning, and every row that follows from it is
//! compared with what the walk comes to.

use std::collections::BTreeMap;
use std::fmt;

use sync_core::check::{ChangeFacts, Checked};
use sync_core::feed::{Body, FeedHead, Item, ItemKind, Run};
use sync_core::graft::Grafts;
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::ledger::{DocumentFacts, Tail};
use sync_core::log::{Cursor, Header, Verdict};

use crate::store::StoreError;
use crate::store::inspect::{Derived, Inspect, LogRow, RowFacts};

/// Entries that are read at once. With a payload of a mebibyte each they are what a server may spare for this.
const ROWS_AT_ONCE_MAX: usize = 64;
/// What is said of one space: what is broken at one place is mostly broken behind it, too.
const FINDINGS_MAX: usize = 100;

/// Something that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// At which entry of the log; `None` for what is stored beside it.
    pub seq: Option<u64>,
    /// What is wrong, for people.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "entry {seq}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// What came of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Where the log ended when it was compared.
    pub head: Cursor,
    /// What is wrong, in the order in which it was found; nothing if all is well.
    pub findings: Vec<Finding>,
    /// How many more there are than were noted.
    pub more: u64,
}

/// Walks a space's log and compares what is stored beside it. `told` hears how far it has come.
pub async fn space(store: &dyn Inspect, space: SpaceId, told: &mut dyn FnMut(u64)) -> Result<Report, StoreError> {
    let mut walk = Walk::new(space);
    walk.follow(store, u64::MAX, told).await?;
    let derived = store.derived(space).await?;
    // The server goes on meanwhile: the walk catches up with the moment of the comparison. It cannot be ahead of that, but in a
    // space that says less of its log than there is.
    walk.follow(store, derived.head.seq, told).await?;
    walk.compare(&derived);
    Ok(Report { head: derived.head, findings: walk.findings, more: walk.more })
}

/// What the log comes to so far.
struct Walk {
    space: SpaceId,
    place: Cursor,
    feeds: BTreeMap<DeviceId, FeedHead>,
    documents: BTreeMap<DocId, (DocumentFacts, Option<u64>)>,
    actors: BTreeMap<(DocId, Actor), Tail>,
    exclusions: BTreeMap<DocId, Vec<Hash>>,
    findings: Vec<Finding>,
    more: u64,
}

impl Walk {
    fn new(space: SpaceId) -> Self {
        Self {
            space,
            place: Cursor::start(space),
            feeds: BTreeMap::new(),
            documents: BTreeMap::new(),
            actors: BTreeMap::new(),
            exclusions: BTreeMap::new(),
            findings: Vec::new(),
            more: 0,
        }
    }

    fn found(&mut self, seq: Option<u64>, what: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { seq, what: what.into() });
        } else {
            self.more += 1;
        }
    }

    async fn follow(&mut self, store: &dyn Inspect, through: u64, told: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        while self.place.seq < through {
            let rows_max =
                usize::try_from(through - self.place.seq).map_or(ROWS_AT_ONCE_MAX, |rest| rest.min(ROWS_AT_ONCE_MAX));
            let rows = store.log_rows(self.space, self.place.seq, rows_max).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                self.step(row);
            }
            told(self.place.seq);
        }
        Ok(())
    }

    fn step(&mut self, row: LogRow) {
        let (seq, header) = (row.at.seq, row.header);
        if seq != self.place.seq + 1 {
            self.found(Some(self.place.seq + 1), format!("missing; the next in the log is {seq}"));
            // What follows is checked by itself.
            self.place = Cursor { seq: seq - 1, chain: self.place.chain };
        } else if self.place.next(&header) != row.at {
            self.found(
                Some(seq),
                "the log's chain breaks: this entry, or the chain's value here or before, was altered",
            );
        }
        self.place = row.at;
        if !header.is_item() {
            return self.excluded(&row);
        }
        let device = header.id.device;
        let before = self.feeds.get(&device).copied().unwrap_or_else(|| FeedHead::start(self.space, device));
        if header.id.n != before.n + 1 {
            self.found(Some(seq), format!("item {} of device {device} follows its item {}", header.id.n, before.n));
        }
        let FeedHead { chain, .. } = before.next(header.kind, header.doc, header.hash);
        self.feeds.insert(device, FeedHead { n: header.id.n, chain });
        if header.verdict == Verdict::Applied {
            self.applied(&row);
        } else if row.payload.is_some() || row.facts.is_some() {
            self.found(Some(seq), "a refused item carries something");
        }
    }

    fn excluded(&mut self, row: &LogRow) {
        let (seq, header) = (row.at.seq, row.header);
        if row.payload.is_some()
            || row.facts.is_some()
            || header != Header::exclusion(header.id, header.doc, header.hash)
        {
            self.found(Some(seq), "an exclusion says more than which change it is about");
        }
        if self.feeds.get(&header.id.device).is_none_or(|feed| feed.n < header.id.n) {
            self.found(Some(seq), "excludes a change that is not in the log");
        }
        self.exclusions.entry(header.doc).or_default().push(header.hash);
    }

    /// What is kept of how a document stands is to speak of the changes that the log excludes of its present epoch.
    fn compare_grafts(&mut self, derived: &Derived) {
        let mut expected = std::mem::take(&mut self.exclusions);
        expected.retain(|doc, _| self.documents.get(doc).is_some_and(|(_, deleted)| deleted.is_none()));
        for (doc, bytes) in &derived.grafts {
            let of_log = expected.remove(doc);
            let deleted = self.documents.get(doc).is_some_and(|(_, deleted)| deleted.is_some());
            match Grafts::decode(bytes) {
                Err(_) => self.found(None, format!("the grafts of document {doc} are damaged")),
                Ok(grafts) if deleted || of_log.as_deref() == Some(grafts.excluded()) => {}
                Ok(_) => self.found(None, format!("the grafts of document {doc} do not follow from the log")),
            }
        }
        for doc in expected.keys() {
            self.found(None, format!("the grafts of document {doc} are missing"));
        }
    }

    fn applied(&mut self, row: &LogRow) {
        let (seq, header) = (row.at.seq, row.header);
        if let (ItemKind::Change, None, true) = (header.kind, &row.payload, row.folded) {
            // What it said is not here to be compared.
            return match &row.facts {
                Some(facts) => self.changed(row, facts.actor, facts.seq, facts.max_op + 1 - facts.start_op),
                None => self.found(Some(seq), "the row says nothing of its change"),
            };
        }
        let checked = match check(row) {
            Ok(checked) => checked,
            Err(what) => return self.found(Some(seq), what),
        };
        match checked {
            Checked::Create(collection) => {
                let facts = DocumentFacts { collection, deleted: false, operations: 0, actors: 0, epoch: 0 };
                self.documents.entry(header.doc).or_insert((facts, None));
            }
            Checked::Delete => match self.documents.get_mut(&header.doc) {
                Some((facts, deleted)) => {
                    facts.deleted = true;
                    deleted.get_or_insert(seq);
                }
                None => self.found(Some(seq), "deletes a document that was never created"),
            },
            Checked::Change(facts, _) | Checked::Unwanted(facts, _) => {
                if row.facts.as_ref() != Some(&columns(&facts)) {
                    self.found(Some(seq), "what the row says of its change is not what the change says");
                }
                self.changed(row, facts.actor, facts.seq, facts.operations);
            }
            Checked::Epoch(facts, _) => {
                self.exclusions.remove(&header.doc);
                self.actors.retain(|(doc, _), _| *doc != header.doc);
                self.actors.insert((header.doc, facts.actor), Tail { seq: facts.changes, hash: facts.head });
                match self.documents.get_mut(&header.doc) {
                    Some((document, _)) => {
                        (document.operations, document.actors) = (facts.operations, 1);
                        document.epoch = facts.number;
                    }
                    None => self.found(Some(seq), "begins a document anew that was never created"),
                }
            }
            Checked::Refused(_) => {}
        }
    }

    fn changed(&mut self, row: &LogRow, actor: Actor, actor_seq: u64, operations: u64) {
        let (seq, header) = (row.at.seq, row.header);
        let tail = Tail { seq: actor_seq, hash: header.hash };
        // A structure comes from several devices, and takes effect once.
        if actor.is_structure() && self.actors.get(&(header.doc, actor)) == Some(&tail) {
            return;
        }
        let before = self.actors.insert((header.doc, actor), tail);
        if before.map_or(0, |tail| tail.seq) + 1 != actor_seq {
            self.found(Some(seq), format!("change {actor_seq} of its actor does not follow on"));
        }
        match self.documents.get_mut(&header.doc) {
            Some((document, _)) => {
                document.operations += operations;
                document.actors += u64::from(before.is_none());
            }
            None => self.found(Some(seq), "changes a document that was never created"),
        }
    }

    fn compare(&mut self, derived: &Derived) {
        if derived.head != self.place {
            let Cursor { seq, .. } = self.place;
            self.found(
                None,
                format!("the space says that its log ends at entry {}, but it does at {seq}", derived.head.seq),
            );
        }
        if derived.documents_total != self.documents.len() as u64 {
            let (told, there) = (derived.documents_total, self.documents.len());
            self.found(None, format!("the space counts {told} documents, its log {there}"));
        }
        self.compare_grafts(derived);
        let feeds = std::mem::take(&mut self.feeds);
        self.rows("feed of device", feeds, derived.feeds.iter().copied());
        let documents = std::mem::take(&mut self.documents);
        let stored = derived.documents.iter().map(|(doc, facts, deleted)| (*doc, (facts.clone(), *deleted)));
        self.rows("document", documents, stored);
        let actors = std::mem::take(&mut self.actors).into_iter().map(|(key, tail)| (Named(key), tail)).collect();
        self.rows("actor", actors, derived.actors.iter().map(|(key, tail)| (Named(*key), *tail)));
    }

    fn rows<K: Ord + fmt::Display, V: PartialEq>(
        &mut self,
        what: &str,
        mut expected: BTreeMap<K, V>,
        stored: impl Iterator<Item = (K, V)>,
    ) {
        for (key, value) in stored {
            match expected.remove(&key) {
                Some(same) if same == value => {}
                Some(_) => self.found(None, format!("the row of {what} {key} does not follow from the log")),
                None => self.found(None, format!("the row of {what} {key} has nothing in the log")),
            }
        }
        for key in expected.keys() {
            self.found(None, format!("the row of {what} {key} is missing"));
        }
    }
}

/// An actor in a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Named((DocId, Actor));

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in document {}", self.0.1, self.0.0)
    }
}

fn columns(facts: &ChangeFacts) -> RowFacts {
    let ChangeFacts { actor, seq, start_op, deps, .. } = facts.clone();
    RowFacts { actor, seq, start_op, max_op: facts.max_op(), deps }
}

/// Checks what an entry carries as the server does before it takes it.
fn check(row: &LogRow) -> Result<Checked, String> {
    let header = row.header;
    let body = match (header.kind, row.payload.clone()) {
        (ItemKind::Delete, None) => Body::Delete,
        (ItemKind::Delete, Some(_)) => return Err("a deletion carries something".to_owned()),
        (_, None) => return Err("its payload is missing".to_owned()),
        (ItemKind::Exclude, Some(_)) => return Err("an exclusion carries something".to_owned()),
        (ItemKind::Create, Some(name)) => match String::from_utf8(name) {
            Ok(collection) => Body::Create { collection },
            Err(_) => return Err("its payload is not the name of a collection".to_owned()),
        },
        (ItemKind::Change, Some(bytes)) => Body::Change { bytes },
        (ItemKind::Epoch, Some(bytes)) => Body::Epoch { bytes },
    };
    let base = FeedHead { n: header.id.n.saturating_sub(1), chain: Hash([0; 32]) };
    let items = vec![Item { doc: header.doc, hash: header.hash, body }];
    let push = sync_core::check::Push::check(String::new(), Run { device: header.id.device, base, items });
    match push.candidates.into_iter().next().map(|candidate| candidate.checked) {
        Some(Checked::Refused(code)) => {
            Err(format!("its payload is not what its hash says, or no change that may be: {code}"))
        }
        Some(checked) => Ok(checked),
        None => Err("it cannot be read".to_owned()),
    }
}
