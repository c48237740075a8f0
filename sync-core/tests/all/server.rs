//! A server's store in memory: it loads only what the ledger says that it wants, as a database would.

use std::collections::BTreeMap;

use sync_core::check::Push;
use sync_core::code::RejectCode;
use sync_core::feed::{ChangeId, FeedHead, ItemKind};
use sync_core::graft::Grafts;
use sync_core::heal::{Lost, TakenBack};
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::ledger::{
    Decision, Dependency, DocumentFacts, EpochStanding, Ledger, NewEntry, Outcome, Role, Tail, Wanted,
};
use sync_core::log::{Cursor, Verdict};
use sync_core::wire::{ItemResult, ItemStatus, PushAnswer};

#[derive(Clone)]
pub struct Server {
    pub space: SpaceId,
    pub log: Vec<NewEntry>,
    pub roles: BTreeMap<String, Role>,
    feeds: BTreeMap<DeviceId, FeedHead>,
    places: BTreeMap<ChangeId, usize>,
    documents: BTreeMap<DocId, DocumentFacts>,
    tails: BTreeMap<(DocId, Actor), Tail>,
    dependencies: BTreeMap<(DocId, Hash), Dependency>,
    /// What was excluded.
    pub grafts: BTreeMap<DocId, Grafts>,
}

impl Server {
    pub fn new(space: SpaceId) -> Self {
        Self {
            space,
            log: Vec::new(),
            roles: BTreeMap::from([
                ("writer".to_owned(), Role::Writer),
                ("reader".to_owned(), Role::Reader),
                ("owner".to_owned(), Role::Owner),
            ]),
            feeds: BTreeMap::new(),
            places: BTreeMap::new(),
            documents: BTreeMap::new(),
            tails: BTreeMap::new(),
            dependencies: BTreeMap::new(),
            grafts: BTreeMap::new(),
        }
    }

    pub fn head(&self) -> Cursor {
        self.log.last().map_or_else(|| Cursor::start(self.space), |entry| entry.at)
    }

    /// Operations and actors of a document.
    pub fn facts(&self, doc: DocId) -> (u64, u64) {
        (self.documents[&doc].operations, self.documents[&doc].actors)
    }

    pub fn acked(&self, device: DeviceId) -> FeedHead {
        self.feeds.get(&device).copied().unwrap_or_else(|| FeedHead::start(self.space, device))
    }

    fn load(&self, wanted: &Wanted) -> Ledger {
        fn some<K: Ord + Clone, V: Clone>(all: &BTreeMap<K, V>, wanted: impl IntoIterator<Item = K>) -> BTreeMap<K, V> {
            wanted.into_iter().filter_map(|key| all.get(&key).map(|value| (key.clone(), value.clone()))).collect()
        }
        let mut wanted = wanted.clone();
        wanted.see_through(&self.grafts);
        let together = |&(doc, actor): &(DocId, Actor)| {
            let (first, last) = actor.counted_with();
            let count = self.tails.range((doc, first)..=(doc, last)).count();
            ((doc, first), count as u64)
        };
        let standing = |&(doc, through, device): &(DocId, u64, DeviceId)| {
            let of_document = |entry: &&NewEntry| entry.header.doc == doc && entry.change.is_some();
            let moved = self.log.iter().filter(of_document).any(|entry| entry.at.seq > through);
            ((doc, through, device), EpochStanding { moved, behind: false })
        };
        let mut ledger = Ledger::new(self.space, self.head(), self.documents.len() as u64);
        ledger.roles = some(&self.roles, wanted.users.iter().cloned());
        ledger.feeds = some(&self.feeds, wanted.devices.iter().copied());
        ledger.documents = some(&self.documents, wanted.documents.iter().copied());
        ledger.tails = some(&self.tails, wanted.actors.iter().copied());
        ledger.actors_together = wanted.actors.iter().map(together).collect();
        ledger.dependencies = some(&self.dependencies, wanted.dependencies.iter().copied());
        ledger.standings = wanted.epochs.keys().map(standing).collect();
        ledger.grafts = some(&self.grafts, wanted.documents.iter().copied());
        ledger
    }

    /// Decides on a group of pushes and commits what comes of it.
    pub fn commit(&mut self, pushes: Vec<Push>) -> Decision {
        let mut ledger = self.load(&Wanted::of(&pushes));
        let decision = ledger.decide(pushes);
        self.write(&ledger, &decision);
        decision
    }

    /// Takes back what the log lost.
    pub fn take_back(&mut self, lost: Vec<Lost>) -> TakenBack {
        let mut ledger = self.load(&Lost::wanted(&lost));
        let (decision, became) = ledger.take_back(lost);
        self.write(&ledger, &decision);
        became
    }

    fn write(&mut self, ledger: &Ledger, decision: &Decision) {
        for entry in &decision.entries {
            let header = &entry.header;
            self.places.insert(header.id, self.log.len());
            if header.kind == ItemKind::Change {
                let key = (header.doc, header.hash);
                if let Some(facts) = &entry.change {
                    self.dependencies.insert(key, Dependency::Applied { max_op: facts.max_op() });
                } else if header.verdict == Verdict::Rejected(RejectCode::EpochPassed) {
                    self.dependencies.insert(key, Dependency::Passed);
                } else {
                    self.dependencies.entry(key).or_insert(Dependency::Refused);
                }
            }
            self.log.push(entry.clone());
        }
        for (doc, (_, facts)) in &decision.epochs {
            self.tails.retain(|(of, _), _| of != doc);
            let of_document = self.dependencies.iter_mut().filter(|((of, _), _)| of == doc);
            of_document.for_each(|(_, dependency)| *dependency = Dependency::Passed);
            self.dependencies.insert((*doc, facts.head), Dependency::Applied { max_op: facts.operations });
        }
        self.feeds.extend(decision.feeds.iter().map(|device| (*device, ledger.feeds[device])));
        self.documents.extend(decision.documents.iter().map(|doc| (*doc, ledger.documents[doc].clone())));
        self.tails.extend(decision.actors.iter().map(|key| (*key, ledger.tails[key])));
        self.grafts.extend(decision.grafts.iter().map(|doc| (*doc, ledger.grafts[doc].clone())));
        assert_eq!(ledger.head, self.head(), "the ledger and the log end in the same place");
        assert_eq!(ledger.documents_total, self.documents.len() as u64);
    }

    /// One push alone, with the answer that its device gets.
    pub fn push(&mut self, push: Push) -> PushAnswer {
        let (device, base) = (push.device, push.base.n);
        let outcome = self.commit(vec![push]).outcomes.remove(0);
        self.answer(device, base, outcome)
    }

    pub fn answer(&self, device: DeviceId, base: u64, outcome: Outcome) -> PushAnswer {
        let acked = self.acked(device);
        let (duplicates, fresh, need) = match outcome {
            Outcome::Behind => return PushAnswer::Behind { acked },
            Outcome::Gap => return PushAnswer::Gap { acked },
            Outcome::Forked => return PushAnswer::Forked { acked },
            Outcome::Taken { duplicates, fresh, need } => (duplicates as u64, fresh, need),
        };
        let result = |seq, status, verdict| {
            let code = if let Verdict::Rejected(code) = verdict { Some(code) } else { None };
            ItemResult { seq, status, code }
        };
        let known = (base + 1..=base + duplicates).map(|n| {
            let entry = &self.log[self.places[&ChangeId { device, n }]];
            result(entry.at.seq, ItemStatus::Duplicate, entry.header.verdict)
        });
        let new = fresh.iter().map(|fresh| {
            let applied = fresh.verdict == Verdict::Applied;
            let status = if applied { ItemStatus::Applied } else { ItemStatus::Rejected };
            result(fresh.seq, status, fresh.verdict)
        });
        PushAnswer::Taken { acked, results: known.chain(new).collect(), need }
    }
}
