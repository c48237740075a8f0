//! The dedupe rule and the verdicts against a reference model that compares whole histories instead of hash chains.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sync_core::admit::{Admission, admit};
use sync_core::check::Push;
use sync_core::code::RejectCode;
use sync_core::feed::{Body, FeedHead, Item, ItemKind, Run};
use sync_core::id::{DeviceId, DocId, Hash};
use sync_core::ledger::{Fresh, Outcome};
use sync_core::log::Verdict;

use crate::cases::{SPACE, cases, device, doc};
use crate::rng::Rng;
use crate::server::Server;

/// One device's items, without any chain.
type History = Vec<Item>;

/// What the server should hold: for each device the items that it took, with their verdicts.
#[derive(Default)]
struct Model {
    taken: BTreeMap<DeviceId, History>,
    log: Vec<(DeviceId, Item, Verdict)>,
    documents: BTreeMap<DocId, (String, bool)>,
}

impl Model {
    /// A run is `history[base..]`, and says truly or not that `history[..base]` went before.
    fn push(&mut self, device: DeviceId, history: &[Item], base: usize, honest: bool, writer: bool) -> Outcome {
        let taken = self.taken.entry(device).or_default();
        if base > taken.len() {
            return Outcome::Gap;
        }
        if history.len() < taken.len() {
            return Outcome::Behind;
        }
        if !honest || !same(taken, &history[..taken.len()]) {
            return Outcome::Forked;
        }
        let duplicates = taken.len() - base;
        let mut fresh = Vec::new();
        for item in &history[base + duplicates..] {
            let verdict = Self::verdict(&mut self.documents, item, writer);
            taken.push(item.clone());
            self.log.push((device, item.clone(), verdict));
            fresh.push(Fresh { seq: self.log.len() as u64, verdict });
        }
        Outcome::Taken { duplicates, fresh, need: Vec::new() }
    }

    fn verdict(documents: &mut BTreeMap<DocId, (String, bool)>, item: &Item, writer: bool) -> Verdict {
        let known = documents.get(&item.doc).cloned();
        let code = match (&item.body, known) {
            (Body::Void { code, .. }, _) => *code,
            (Body::Epoch { .. }, _) => unreachable!("none is written"),
            (Body::Change { .. }, _) => RejectCode::Malformed,
            (Body::Create { collection }, _) if collection.is_empty() => RejectCode::Malformed,
            (_, _) if item.hash == Hash([0; 32]) => RejectCode::HashMismatch,
            (_, _) if !writer => RejectCode::NotAWriter,
            (_, Some((_, true))) => RejectCode::DocumentDeleted,
            (Body::Create { collection }, Some((of, false))) if *collection != of => RejectCode::CollectionMismatch,
            (Body::Create { .. }, Some(_)) => return Verdict::Applied,
            (Body::Create { collection }, None) => {
                documents.insert(item.doc, (collection.clone(), false));
                return Verdict::Applied;
            }
            (Body::Delete, None) => RejectCode::UnknownDocument,
            (Body::Delete, Some((of, false))) => {
                documents.insert(item.doc, (of, true));
                return Verdict::Applied;
            }
        };
        Verdict::Rejected(code)
    }
}

/// What the chain covers.
fn same(a: &[Item], b: &[Item]) -> bool {
    let covered = |item: &Item| (item.kind(), item.doc, item.hash);
    a.iter().map(covered).eq(b.iter().map(covered))
}

fn item(rng: &mut Rng) -> Item {
    let doc = doc(rng.below(4) as u8);
    let mut item = match rng.below(10) {
        0..5 => Item::create(doc, (*rng.pick(&["a", "b", ""])).to_owned()),
        5..7 => Item::delete(doc),
        7 => Item::change(doc, Hash::of(&[&rng.next().to_be_bytes()]), vec![rng.next() as u8; rng.below(30)]),
        _ => {
            let kind = *rng.pick(&[ItemKind::Create, ItemKind::Change, ItemKind::Delete]);
            let hash = Hash::of(&[&rng.next().to_be_bytes()]);
            Item { doc, hash, body: Body::Void { kind, code: *rng.pick(RejectCode::ALL) } }
        }
    };
    if rng.chance(5) && !matches!(item.body, Body::Void { .. } | Body::Change { .. }) {
        item.hash = Hash([0; 32]);
    }
    item
}

struct Sent {
    device: DeviceId,
    history: History,
    base: usize,
    honest: bool,
    writer: bool,
}

impl Sent {
    fn push(&self) -> Push {
        let head = |head: FeedHead, item: &Item| head.next(item.kind(), item.doc, item.hash);
        let mut base = self.history[..self.base].iter().fold(FeedHead::start(SPACE, self.device), head);
        if !self.honest {
            base.chain.0[0] ^= 1;
        }
        let run = Run { device: self.device, base, items: self.history[self.base..].to_vec() };
        Push::check(if self.writer { "writer" } else { "reader" }.to_owned(), run)
    }
}

/// Runs of three devices with up to two lives each: continued, retried, too early, too late, forked, falsely chained.
fn traffic(rng: &mut Rng, count: usize) -> Vec<Sent> {
    let mut lives: Vec<(DeviceId, History)> = (0..3).map(|number| (device(number), History::new())).collect();
    let mut sent = Vec::new();
    for _ in 0..count {
        if rng.chance(6) {
            let (of, history) = rng.pick(&lives).clone();
            let kept = rng.below(history.len() + 1);
            lives.push((of, history[..kept].to_vec()));
        }
        let at = rng.below(lives.len());
        let (of, history) = &mut lives[at];
        for _ in 0..rng.below(4) {
            history.push(item(rng));
        }
        let end = if rng.chance(80) { history.len() } else { rng.below(history.len() + 1) };
        let base = if rng.chance(30) { 0 } else { rng.below(end + 1) };
        sent.push(Sent {
            device: *of,
            history: history[..end].to_vec(),
            base,
            honest: !rng.chance(3),
            writer: !rng.chance(5),
        });
        if rng.chance(30) {
            // A late copy of an old request overtakes.
            let old = sent.swap_remove(rng.below(sent.len()));
            sent.push(Sent { history: old.history.clone(), ..old });
            sent.push(old);
        }
    }
    sent
}

proptest! {
    #![proptest_config(cases(2_500))]

    #[test]
    fn pushes_come_to_what_the_model_says(seed: u64, count in 1usize..40) {
        let mut rng = Rng(seed);
        let (mut server, mut model) = (Server::new(SPACE), Model::default());
        for sent in traffic(&mut rng, count) {
            let before = server.log.len();
            let outcome = server.commit(vec![sent.push()]).outcomes.remove(0);
            let expected = model.push(sent.device, &sent.history, sent.base, sent.honest, sent.writer);
            prop_assert_eq!(&outcome, &expected);
            if !matches!(outcome, Outcome::Taken { .. }) {
                prop_assert_eq!(server.log.len(), before, "nothing of what was not taken gets in");
            }
        }
        prop_assert_eq!(server.log.len(), model.log.len());
        let mut counts: BTreeMap<DeviceId, u64> = BTreeMap::new();
        let mut cursor = sync_core::log::Cursor::start(SPACE);
        for ((seq, entry), (device, item, verdict)) in (1u64..).zip(&server.log).zip(&model.log) {
            cursor = cursor.next(&entry.header);
            prop_assert_eq!(entry.at, cursor);
            prop_assert_eq!(entry.at.seq, seq, "no hole in the log");
            let n = counts.entry(*device).or_default();
            *n += 1;
            prop_assert_eq!((entry.header.id.device, entry.header.id.n), (*device, *n), "no hole in a feed, nothing twice");
            prop_assert_eq!((entry.header.doc, entry.header.hash, entry.header.verdict), (item.doc, item.hash, *verdict));
            prop_assert_eq!(entry.payload.is_some(), *verdict == Verdict::Applied && item.kind() == ItemKind::Create);
        }
    }

    #[test]
    fn a_group_is_its_pushes_one_by_one(seed: u64, count in 1usize..30) {
        let mut rng = Rng(seed);
        let (mut alone, mut grouped) = (Server::new(SPACE), Server::new(SPACE));
        let mut sent = traffic(&mut rng, count);
        while !sent.is_empty() {
            let group: Vec<Sent> = sent.drain(..(1 + rng.below(8)).min(sent.len())).collect();
            let one_by_one: Vec<_> =
                group.iter().map(|sent| alone.commit(vec![sent.push()]).outcomes.remove(0)).collect();
            let together = grouped.commit(group.iter().map(Sent::push).collect());
            prop_assert_eq!(together.outcomes, one_by_one);
            prop_assert_eq!(grouped.head(), alone.head());
        }
        prop_assert_eq!(grouped.log, alone.log);
    }

    #[test]
    fn a_duplicate_gets_its_first_verdict(seed: u64, count in 1usize..12) {
        let mut rng = Rng(seed);
        let mut server = Server::new(SPACE);
        let history: History = (0..count).map(|_| item(&mut rng)).collect();
        let sent = Sent { device: device(1), history, base: 0, honest: true, writer: true };
        let first = server.push(sent.push());
        // Others change the documents meanwhile; the verdicts stand.
        let other = Sent { device: device(2), history: (0..6).map(|_| item(&mut rng)).collect(), ..sent };
        server.push(other.push());
        let sent = Sent { device: device(1), history: sent.history, ..other };
        let again = server.push(sent.push());
        let codes = |answer: &sync_core::wire::PushAnswer| match answer {
            sync_core::wire::PushAnswer::Taken { results, .. } => {
                results.iter().map(|result| (result.seq, result.code)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(codes(&first), codes(&again));
    }
}

#[test]
fn admit_looks_at_one_link() {
    let start = FeedHead::start(SPACE, device(1));
    let items: Vec<Item> = (0..10_000u32).map(|n| Item::create(doc(1), n.to_string())).collect();
    let run = Run { device: device(1), base: start, items };
    let links = run.links();
    let at = |n: u64| FeedHead { n, chain: if n == 0 { start.chain } else { links[n as usize - 1] } };
    assert_eq!(run.end(), at(10_000));
    for n in [0, 1, 5_000, 9_999, 10_000] {
        assert_eq!(admit(&at(n), &start, &links), Admission::Fresh { duplicates: n as usize });
        assert_eq!(admit(&FeedHead { chain: Hash([1; 32]), ..at(n) }, &start, &links), Admission::Forked);
    }
    assert_eq!(admit(&FeedHead { n: 10_001, ..at(0) }, &start, &links), Admission::Behind);
    assert_eq!(admit(&at(3), &at(4), &links[4..]), Admission::Gap);
    assert_eq!(admit(&at(3), &at(3), &[]), Admission::Fresh { duplicates: 0 });
    assert_eq!(admit(&FeedHead { n: u64::MAX, ..at(0) }, &start, &links), Admission::Behind);
}
