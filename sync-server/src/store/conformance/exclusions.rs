//! Exclusions: an entry of the log that is no item of a feed, and what is known of a document since.

use std::collections::BTreeMap;

use sync_core::check::Push;
use sync_core::code::RejectCode;
use sync_core::document::{Document, Op};
use sync_core::feed::{ChangeId, Item, ItemKind, Run};
use sync_core::graft::Grafts;
use sync_core::guard;
use sync_core::heal::{Lost, TakenBack};
use sync_core::id::{Actor, DocId, Hash, SpaceId};
use sync_core::log::{Header, Verdict};
use sync_core::wire::{ItemResult, PageEntry};

use super::author::{Author, new_doc};
use super::{applied, chained, commit, duplicate, everything, page, space, taken};
use crate::store::inspect::Inspect;
use crate::store::snapshots::{Range, Snapshots};
use crate::store::{PageRequest, Store};

/// A device with a document in memory.
struct Phone {
    author: Author,
    document: Document,
    random: u64,
}

impl Phone {
    fn new(author: Author) -> Self {
        let document = Document::new(Actor::new(author.device, [0; 4]));
        Self { author, document, random: 0 }
    }

    fn write(&mut self, key: &str) -> Vec<u8> {
        self.random += 1;
        let (mut random, put) = (|| self.random, Op::Put { path: key.into(), value: 1i64.into() });
        self.document.edit(vec![put], &mut random).expect("an edit");
        self.document.seal(&mut random).expect("a change").bytes
    }

    fn read(&mut self, changes: &[&[u8]]) {
        self.document.apply(changes).expect("changes that are whole");
    }

    fn run(&mut self, items: Vec<Item>) -> Push {
        let run = Run { device: self.author.device, base: self.author.head, items };
        self.author.head = run.end();
        Push::check(self.author.user.clone(), run)
    }

    fn push(&mut self, doc: DocId, bytes: &[u8]) -> Push {
        self.run(vec![Item::change(doc, hash(bytes), bytes.to_vec())])
    }
}

fn hash(bytes: &[u8]) -> Hash {
    guard::inspect(bytes).expect("a change").hash
}

async fn grafts(store: &impl Snapshots, space: SpaceId, doc: DocId) -> Grafts {
    let stored = store.grafts(space, doc).await.expect("a look").expect("the grafts");
    Grafts::decode(&stored).expect("what was stored")
}

/// All of it.
pub async fn exclusions<S: Store + Snapshots + Inspect>(store: &S) {
    let (space, owner) = space(store).await;
    let doc = new_doc();
    let mut other = Phone::new(Author::new(space, &owner.user));
    let mut ann = Phone::new(owner);
    let (first, bad, upon) = (ann.write("first"), ann.write("bad"), ann.write("upon"));
    let again = ann.run(vec![
        Item::create(doc, "notes".to_owned()),
        Item::change(doc, hash(&first), first.clone()),
        Item::change(doc, hash(&bad), bad.clone()),
        Item::change(doc, hash(&upon), upon.clone()),
    ]);
    taken(commit(store, space, again.clone()).await);
    other.read(&[&first, &bad, &upon]);
    let unaware = other.write("unaware");
    let push = other.push(doc, &unaware);
    assert_eq!(taken(commit(store, space, push).await).1, [applied(5)]);
    assert_eq!(store.grafts(space, doc).await.expect("a look"), None);

    // One that the log does not have is none of its.
    let id = ChangeId { device: ann.author.device, n: 3 };
    let lost = vec![Lost::exclusion(id, doc, Hash([9; 32]))];
    let healed = store.take_back(space, lost).await.expect("an answer");
    assert_eq!((healed.became, healed.committed.head.seq), (TakenBack { taken: 0, known: 0, left: 1 }, 5));
    // It comes once.
    let lost = vec![Lost::exclusion(id, doc, hash(&bad)), Lost::exclusion(id, doc, hash(&bad))];
    let healed = store.take_back(space, lost).await.expect("an answer");
    assert_eq!((healed.became, healed.committed.head.seq), (TakenBack { taken: 1, known: 1, left: 0 }, 6));
    let known = grafts(store, space, doc).await;
    assert_eq!(known.excluded(), [hash(&bad)]);
    for changed in [&bad, &upon, &unaware] {
        assert_ne!(known.now(hash(changed)), hash(changed), "as if it had been made without");
    }
    assert_eq!(known.now(hash(&first)), hash(&first));
    let state = store.document_state(space, doc).await.expect("a look").expect("the document");
    assert!(state.grafted);

    // Readers get it, of feeds it is no part, and a retry is answered as before.
    let read = page(store, space, everything(other.author.device)).await;
    let exclusion = Header::exclusion(id, doc, hash(&bad));
    let PageEntry { kind, verdict, hash: of, body, .. } = read.entries[5].clone();
    assert_eq!((kind, verdict, of), (ItemKind::Exclude, exclusion.verdict, Some(hash(&bad))));
    assert_eq!(verdict, Verdict::Rejected(RejectCode::BreaksDocument));
    assert_eq!((read.entries[5].id, body), (id, None));
    assert_eq!(chained(space, &read.entries), read.next);
    let version = read.version.expect("at the end");
    assert_eq!((version.get(id.device), read.next.seq), (Some(ann.author.head), 6));
    let results: Vec<ItemResult> = (1..=4).map(|seq| duplicate(applied(seq))).collect();
    assert_eq!(taken(commit(store, space, again).await).1, results);

    // Who has heard of it writes upon how things stand, who has not upon how they stood, and all of it is known.
    let mut aware = Phone::new(Author::new(space, &ann.author.user));
    let mut stand = known.clone();
    let standing: Vec<Vec<u8>> = [&first, &bad, &upon, &unaware]
        .into_iter()
        .map(|sealed| stand.stand(sealed).expect("a graft").bytes.unwrap_or_else(|| sealed.clone()))
        .collect();
    aware.read(&standing.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let heard = aware.write("heard");
    ann.read(&[&unaware]);
    let more = ann.write("more");
    let push = aware.push(doc, &heard);
    assert_eq!(taken(commit(store, space, push).await).1, [applied(7)]);
    let push = ann.push(doc, &more);
    assert_eq!(taken(commit(store, space, push).await).1, [applied(8)]);
    let known = grafts(store, space, doc).await;
    assert_eq!((known.now(hash(&heard)), known.now(hash(&more)) == hash(&more)), (hash(&heard), false));
    // And upon both.
    let bytes = known.clone().stand(&more).expect("a graft").bytes.expect("other bytes");
    aware.read(&[&bytes]);
    let both = aware.write("both");
    let push = aware.push(doc, &both);
    assert_eq!(taken(commit(store, space, push).await).1, [applied(9)]);

    // What it says of the log, and that its payloads stay.
    let report = crate::verify::space(store, space, &mut |_| {}).await.expect("a report");
    assert_eq!(report.findings, []);
    let range = Range { after: 0, through: u64::MAX, few: true };
    let found = store.changes_in(space, doc, range, 100).await.expect("changes");
    let seqs: Vec<u64> = found.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, [2, 3, 4, 5, 7, 8, 9]);
    let ids: BTreeMap<Hash, ChangeId> = store
        .changes_at(space, &seqs)
        .await
        .expect("changes")
        .into_iter()
        .map(|change| (change.hash, change.id))
        .collect();
    assert_eq!(ids.get(&hash(&bad)), Some(&id));

    // A page as small as may be.
    let small = PageRequest { bytes_max: 1, changes_max: 1, since: Some(read.next), ..everything(other.author.device) };
    assert_eq!(page(store, space, small).await.next.seq, 7);
    ended(store, space, doc, &mut ann).await;
}

/// In a deleted document nothing stands any more.
async fn ended<S: Store + Snapshots + Inspect>(store: &S, space: SpaceId, doc: DocId, ann: &mut Phone) {
    let push = ann.run(vec![Item::delete(doc)]);
    taken(commit(store, space, push).await);
    store.document_purged(space, doc, 1).await.expect("a purge");
    assert_eq!(store.grafts(space, doc).await.expect("a look"), None);
    let report = crate::verify::space(store, space, &mut |_| {}).await.expect("a report");
    let of_grafts = report.findings.iter().find(|finding| finding.what.contains("grafts"));
    assert_eq!(of_grafts, None);
}
