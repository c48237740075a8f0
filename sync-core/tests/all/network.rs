//! Real changes of several devices through a network that loses, repeats, delays and reorders, to a server that now and
//! then goes back in time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sync_core::check::Push;
use sync_core::code::RejectCode;
use sync_core::document::{Document, Op};
use sync_core::feed::{Body, FeedHead, Item, ItemKind, Run};
use sync_core::id::{DeviceId, DocId, Hash};
use sync_core::log::{Cursor, Verdict};
use sync_core::session::{FeedState, Meaning, Trouble, meaning};
use sync_core::wire::PushAnswer;

use crate::cases::{SPACE, actor, cases, device, doc};
use crate::rng::Rng;
use crate::server::Server;

const DOCS: u8 = 2;

struct Phone {
    device: DeviceId,
    items: Vec<Item>,
    heads: Vec<FeedHead>,
    acked: FeedHead,
    cursor: usize,
    documents: BTreeMap<DocId, Document>,
    trouble: Option<Trouble>,
}

impl Phone {
    fn new(number: u8) -> Self {
        let start = FeedHead::start(SPACE, device(number));
        let documents = (0..DOCS).map(|at| (doc(at), Document::new(actor(number)))).collect();
        Self {
            device: device(number),
            items: Vec::new(),
            heads: vec![start],
            acked: start,
            cursor: 0,
            documents,
            trouble: None,
        }
    }

    fn append(&mut self, item: Item) {
        self.heads.push(self.heads[self.items.len()].next(item.kind(), item.doc, item.hash));
        self.items.push(item);
    }

    fn edit(&mut self, rng: &mut Rng) {
        let at = doc(rng.below(DOCS.into()) as u8);
        if rng.chance(8) {
            return self.append(Item::create(at, "notes".to_owned()));
        }
        if rng.chance(2) {
            return self.append(Item::delete(at));
        }
        let document = self.documents.get_mut(&at).unwrap();
        let op = Op::Put { path: format!("key{}", rng.below(4)).into(), value: (rng.next() as i64 % 100).into() };
        document.edit(vec![op], &mut || rng.next()).unwrap();
        let sealed = document.seal(&mut || rng.next()).unwrap();
        self.append(Item::change(at, sealed.hash, sealed.bytes));
    }

    /// What the log has that is new, as far as it reaches.
    fn pull(&mut self, server: &Server) {
        for entry in server.log.iter().skip(self.cursor) {
            let foreign = entry.header.id.device != self.device;
            if let (true, ItemKind::Change, Some(bytes)) = (foreign, entry.header.kind, &entry.payload) {
                let applied = self.documents.get_mut(&entry.header.doc).unwrap().apply(&[bytes]).unwrap();
                assert_eq!(applied.left_out, [], "the log is causally closed");
            }
        }
        self.cursor = self.cursor.max(server.log.len());
    }

    fn run(&self, items_max: usize) -> Run {
        let base = self.acked.n as usize;
        let end = (base + items_max).min(self.items.len());
        Run { device: self.device, base: self.acked, items: self.items[base..end].to_vec() }
    }

    fn answered(&mut self, answer: &PushAnswer) {
        let feed = FeedState { head: self.heads[self.items.len()], acked: self.acked };
        let own = self.heads.get(answer.acked().n as usize).map(|head| head.chain);
        match meaning(feed, answer, own) {
            // A late answer may be to an old request.
            Meaning::Acknowledged(acked) if acked.n > self.acked.n => self.acked = acked,
            Meaning::Acknowledged(_) => {}
            Meaning::SendFrom(acked) => self.acked = acked,
            Meaning::Trouble(trouble) => self.trouble = Some(trouble),
        }
    }
}

fn deps(item: &Item, bytes: &[u8]) -> Vec<(DocId, Hash)> {
    let change = automerge::Change::from_bytes(bytes.to_vec()).unwrap();
    change.deps().iter().map(|dep| (item.doc, Hash(dep.0))).collect()
}

/// The verdicts that follow from the log's own order, by a look at all of it.
fn expected_verdicts(server: &Server, items: &BTreeMap<(DeviceId, u64), Item>) -> Vec<Verdict> {
    let mut documents: BTreeMap<DocId, bool> = BTreeMap::new();
    let mut applied: BTreeSet<(DocId, Hash)> = BTreeSet::new();
    let mut refused: BTreeSet<(DocId, Hash)> = BTreeSet::new();
    let mut verdicts = Vec::new();
    for entry in &server.log {
        let item = &items[&(entry.header.id.device, entry.header.id.n)];
        let code = match (&item.body, documents.get(&item.doc)) {
            (_, Some(true)) => Some(RejectCode::DocumentDeleted),
            (Body::Create { .. }, _) => {
                documents.insert(item.doc, false);
                None
            }
            (Body::Change { bytes }, None) if deps(item, bytes).iter().any(|dep| refused.contains(dep)) => {
                Some(RejectCode::DependencyRefused)
            }
            (Body::Change { bytes }, None) => {
                assert!(deps(item, bytes).is_empty(), "its creation is lost: it must wait, not be refused for good");
                Some(RejectCode::UnknownDocument)
            }
            (_, None) => Some(RejectCode::UnknownDocument),
            (Body::Delete, _) => {
                documents.insert(item.doc, true);
                None
            }
            (Body::Change { bytes }, _) => {
                let deps = deps(item, bytes);
                let upon_refused = deps.iter().any(|dep| refused.contains(dep) && !applied.contains(dep));
                assert!(upon_refused || deps.iter().all(|dep| applied.contains(dep)), "nothing before its causes");
                upon_refused.then_some(RejectCode::DependencyRefused)
            }
            (Body::Void { .. } | Body::Epoch { .. }, _) => unreachable!(),
        };
        if item.kind() == ItemKind::Change {
            if code.is_none() { &mut applied } else { &mut refused }.insert((item.doc, item.hash));
        }
        verdicts.push(code.map_or(Verdict::Applied, Verdict::Rejected));
    }
    verdicts
}

fn check(server: &Server, phones: &[Phone]) -> Result<(), TestCaseError> {
    let all =
        phones.iter().flat_map(|phone| (1u64..).zip(&phone.items).map(|(n, item)| ((phone.device, n), item.clone())));
    let items: BTreeMap<(DeviceId, u64), Item> = all.collect();
    let verdicts: Vec<Verdict> = server.log.iter().map(|entry| entry.header.verdict).collect();
    prop_assert_eq!(verdicts, expected_verdicts(server, &items));
    let mut cursor = Cursor::start(SPACE);
    let mut next: BTreeMap<DeviceId, u64> = BTreeMap::new();
    for entry in &server.log {
        cursor = cursor.next(&entry.header);
        prop_assert_eq!(entry.at, cursor);
        let n = next.entry(entry.header.id.device).or_insert(0);
        *n += 1;
        prop_assert_eq!(entry.header.id.n, *n);
        prop_assert_eq!(entry.header.hash, items[&(entry.header.id.device, *n)].hash);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn each_item_takes_effect_once(seed: u64, steps in 5usize..90) {
        let mut rng = Rng(seed);
        let mut server = Server::new(SPACE);
        let mut phones: Vec<Phone> = (0..3).map(Phone::new).collect();
        phones[0].append(Item::create(doc(0), "notes".to_owned()));
        let mut requests: Vec<(usize, Run)> = Vec::new();
        let mut answers: Vec<(usize, PushAnswer)> = Vec::new();
        for _ in 0..steps {
            let at = rng.below(phones.len());
            match rng.below(10) {
                0..4 => phones[at].edit(&mut rng),
                4 => phones[at].pull(&server),
                5..7 => requests.push((at, phones[at].run(1 + rng.below(6)))),
                7..9 if !requests.is_empty() => {
                    let chosen = rng.below(requests.len());
                    // Delivered, and perhaps once more later.
                    let (from, run) = if rng.chance(40) { requests[chosen].clone() } else { requests.swap_remove(chosen) };
                    let answer = server.push(Push::check("writer".to_owned(), run));
                    if rng.chance(70) {
                        answers.push((from, answer));
                    }
                }
                _ if !answers.is_empty() => {
                    let (to, answer) = answers.swap_remove(rng.below(answers.len()));
                    phones[to].answered(&answer);
                }
                _ => {}
            }
        }
        for phone in &phones {
            prop_assert_eq!(phone.trouble, None, "nothing of this is trouble");
        }
        // The network works again: everybody gets rid of everything, in at most two rounds.
        for phone in &mut phones {
            let mut rounds = 0;
            while phone.acked.n < phone.items.len() as u64 {
                let answer = server.push(Push::check("writer".to_owned(), phone.run(3)));
                phone.answered(&answer);
                prop_assert_eq!(phone.trouble, None);
                rounds += 1;
                prop_assert!(rounds < 100, "no progress");
            }
        }
        prop_assert_eq!(server.log.len(), phones.iter().map(|phone| phone.items.len()).sum::<usize>(), "each item once");
        check(&server, &phones)?;
    }

    #[test]
    fn a_server_that_lost_its_end_gets_it_back_or_says_so(seed: u64, steps in 5usize..50) {
        let mut rng = Rng(seed);
        let mut server = Server::new(SPACE);
        let mut backup = server.clone();
        let mut phones: Vec<Phone> = (0..3).map(Phone::new).collect();
        phones[0].append(Item::create(doc(0), "notes".to_owned()));
        for _ in 0..steps {
            let at = rng.below(phones.len());
            match rng.below(12) {
                0..5 => phones[at].edit(&mut rng),
                5..7 if phones[at].cursor <= server.log.len() => phones[at].pull(&server),
                7..10 => {
                    let answer = server.push(Push::check("writer".to_owned(), phones[at].run(4)));
                    phones[at].answered(&answer);
                    // With the phone's own feed nothing is wrong; only what others wrote can be missing.
                    prop_assert!(matches!(phones[at].trouble.take(), None | Some(Trouble::ServerLostData)));
                }
                10 => backup = server.clone(),
                11 if rng.chance(30) => {
                    server = backup.clone();
                    // What is behind an old cursor may be other entries now.
                    for phone in &mut phones {
                        phone.cursor = 0;
                    }
                }
                _ => {}
            }
        }
        // Every phone sends what the server lacks, round by round, until nobody is stopped by what another has.
        for _ in 0..200 {
            for phone in &mut phones {
                let answer = server.push(Push::check("writer".to_owned(), phone.run(4)));
                phone.answered(&answer);
                phone.trouble = None;
            }
        }
        prop_assert!(phones.iter().all(|phone| phone.acked.n == phone.items.len() as u64), "everything came back");
        check(&server, &phones)?;
    }
}
