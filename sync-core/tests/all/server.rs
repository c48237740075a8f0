//! A server's store in memory: it loads only what the ledger says that it wants, as a database would.

use std::collections::BTreeMap;

use sync_core::check::Push;
use sync_core::feed::{ChangeId, FeedHead, ItemKind};
use sync_core::graft::Grafts;
use sync_core::heal::{Lost, TakenBack};
use sync_core::id::{Actor, DeviceId, DocId, Hash, SpaceId};
use sync_core::ledger::{Decision, Dependency, DocumentFacts, Ledger, NewEntry, Outcome, Role, Tail, Wanted};
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
            roles: BTreeMap::from([("writer".to_owned(), Role::Writer), ("reader".to_owned(), Role::Reader)]),
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

    pub fn acked(&self, device: DeviceId) -> FeedHead {
        self.feeds.get(&device).copied().unwrap_or_else(|| FeedHead::start(self.space, device))
    }

    fn load(&self, wanted: &Wanted) -> Ledger {
        fn some<K: Ord + Clone, V: Clone>(all: &BTreeMap<K, V>, wanted: impl IntoIterator<Item = K>) -> BTreeMap<K, V> {
            wanted.into_iter().filter_map(|key| all.get(&key).map(|value| (key.clone(), value.clone()))).collect()
        }
        let mut wanted = wanted.clone();
        wanted.see_through(&self.grafts);
        let of_device = |&(doc, actor): &(DocId, Actor)| {
            let count = self.tails.keys().filter(|(of, other)| *of == doc && other.device() == actor.device()).count();
            ((doc, actor.device()), count as u64)
        };
        Ledger {
            space: self.space,
            head: self.head(),
            documents_total: self.documents.len() as u64,
            roles: some(&self.roles, wanted.users.iter().cloned()),
            feeds: some(&self.feeds, wanted.devices.iter().copied()),
            documents: some(&self.documents, wanted.documents.iter().copied()),
            tails: some(&self.tails, wanted.actors.iter().copied()),
            device_actors: wanted.actors.iter().map(of_device).collect(),
            dependencies: some(&self.dependencies, wanted.dependencies.iter().copied()),
            grafts: some(&self.grafts, wanted.documents.iter().copied()),
        }
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
                } else {
                    self.dependencies.entry(key).or_insert(Dependency::Refused);
                }
            }
            self.log.push(entry.clone());
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
