//! A server that goes back in time, and phones that hand back what it lost: over random histories, with phones that are gone,
//! killed in the middle, and others that go on meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use proptest::prelude::*;
use sync_core::check::Push;
use sync_core::code::RejectCode;
use sync_core::document::{Document, Op};
use sync_core::feed::{Body, ChangeId, FeedHead, Item, ItemKind, Run};
use sync_core::heal::{HandBack, Healed, Held, LostEntries, Next, Page, Refused, TakenBack};
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::ledger::NewEntry;
use sync_core::limits::{HEAL_ROUNDS_MAX, PAGE_BYTES_MAX};
use sync_core::log::{Cursor, Entry, Header, Receipt, ReceiptKey, Verdict};
use sync_core::session::{FeedState, Meaning, meaning};
use sync_core::value::Value;
use sync_core::wire::{HandedBack, HealRequest, HealResponse, SCHEMA, decode, encode};

use crate::cases::{SPACE, actor, cases, device, doc};
use crate::rng::Rng;
use crate::server::Server;

const DOCS: u8 = 2;

fn key() -> ReceiptKey {
    ReceiptKey::new([3; 32])
}

fn entry(new: &NewEntry) -> Entry {
    let body = match (new.header.kind, new.header.verdict, &new.payload) {
        (_, Verdict::Rejected(_), _) => None,
        (ItemKind::Create, _, Some(name)) => {
            Some(Body::Create { collection: String::from_utf8(name.clone()).unwrap() })
        }
        (ItemKind::Change, _, Some(bytes)) => Some(Body::Change { bytes: bytes.clone() }),
        _ => Some(Body::Delete),
    };
    Entry { header: new.header, body }
}

/// A log as a phone has it.
struct Log(Vec<Entry>);

impl Held for Log {
    type Error = Infallible;

    fn entries(&self, after: u64, through: u64, page: Page) -> Result<Vec<Entry>, Infallible> {
        let all = &self.0[after as usize..(through as usize).min(self.0.len())];
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in all.iter().take(page.entries_max) {
            bytes += entry.body.as_ref().map_or(0, Body::payload_bytes);
            if page.bytes_max.is_some_and(|bytes_max| bytes > bytes_max) && !entries.is_empty() {
                break;
            }
            let body = if page.bytes_max.is_some() { entry.body.clone() } else { None };
            entries.push(Entry { header: entry.header, body });
        }
        Ok(entries)
    }
}

/// The server's answer, as its handler gives it.
fn serve(server: &mut Server, request: &HealRequest) -> Result<HealResponse, Refused> {
    let request: HealRequest = decode(&encode(request).unwrap()).unwrap();
    let (mut receipt, mut taken) = (None, None);
    if let Some(HandedBack { lost, prove }) = request.lost {
        if !lost.is_proven(server.space, &key()) {
            return Err(Refused::Receipt);
        }
        receipt = Some(key().sign(server.space, &lost.base));
        if !prove {
            let (lost, left) = lost.check()?;
            let became = server.take_back(lost);
            taken = Some(TakenBack { left: became.left + left, ..became });
        }
    }
    let place = |seq: &u64| Some(server.log.get(seq.checked_sub(1)? as usize)?.at);
    let places = request.places.iter().filter_map(place).collect();
    Ok(HealResponse { schema: SCHEMA, head: server.head(), places, receipt, taken })
}

struct Phone {
    device: DeviceId,
    items: Vec<Item>,
    heads: Vec<FeedHead>,
    acked: FeedHead,
    log: Log,
    cursor: Cursor,
    receipt: Option<Receipt>,
    have: BTreeSet<ChangeId>,
    documents: BTreeMap<DocId, Document>,
}

impl Phone {
    fn new(number: u8) -> Self {
        let start = FeedHead::start(SPACE, device(number));
        Self {
            device: device(number),
            items: Vec::new(),
            heads: vec![start],
            acked: start,
            log: Log(Vec::new()),
            cursor: Cursor::start(SPACE),
            receipt: None,
            have: BTreeSet::new(),
            documents: (0..DOCS).map(|at| (doc(at), Document::new(actor(number)))).collect(),
        }
    }

    fn append(&mut self, item: Item) {
        self.heads.push(self.heads[self.items.len()].next(item.kind(), item.doc, item.hash));
        self.items.push(item);
        self.have.insert(ChangeId { device: self.device, n: self.items.len() as u64 });
    }

    fn edit(&mut self, rng: &mut Rng) {
        let at = doc(rng.below(DOCS.into()) as u8);
        let document = self.documents.get_mut(&at).unwrap();
        let op = Op::Put { path: format!("key{}", rng.below(4)).into(), value: Value::from(rng.next() as i64 % 100) };
        document.edit(vec![op], &mut || rng.next()).unwrap();
        let sealed = document.seal(&mut || rng.next()).unwrap();
        self.append(Item::change(at, sealed.hash, sealed.bytes));
    }

    fn push(&mut self, server: &mut Server, items_max: usize) {
        let from = self.acked.n as usize;
        let items: Vec<Item> = self.items[from..].iter().take(items_max).cloned().collect();
        if items.is_empty() {
            return;
        }
        let run = Run { device: self.device, base: self.heads[from], items };
        let answer = server.push(Push::check("writer".to_owned(), run));
        let feed = FeedState { head: self.heads[self.items.len()], acked: self.acked };
        let own = self.heads.get(answer.acked().n as usize).map(|head| head.chain);
        match meaning(feed, &answer, own) {
            Meaning::Acknowledged(acked) | Meaning::SendFrom(acked) => self.acked = acked,
            Meaning::Trouble(trouble) => panic!("{trouble} after {answer:?}"),
        }
    }

    /// Reads a page; `false` where the server does not know its place.
    fn pull(&mut self, server: &Server, entries_max: usize) -> bool {
        let known = match self.cursor.seq {
            0 => true,
            seq => server.log.get(seq as usize - 1).is_some_and(|entry| entry.at == self.cursor),
        };
        if !known {
            return false;
        }
        for new in server.log.iter().skip(self.cursor.seq as usize).take(entries_max) {
            if let (true, ItemKind::Change, Some(bytes)) =
                (self.have.insert(new.header.id), new.header.kind, &new.payload)
            {
                let applied = self.documents.get_mut(&new.header.doc).unwrap().apply(&[bytes]).unwrap();
                assert_eq!(applied.left_out, [], "the log is causally closed");
            }
            self.log.0.push(entry(new));
            self.cursor = new.at;
        }
        self.receipt = Some(key().sign(SPACE, &self.cursor));
        if self.cursor == server.head() {
            // The version that goes with the last page.
            let acked = server.acked(self.device);
            if acked.n < self.acked.n {
                self.acked = acked;
            }
        }
        true
    }

    fn hand_back(&self, bytes_max: usize) -> HandBack {
        HandBack::new(SPACE, self.cursor, self.receipt.map(|receipt| (self.cursor, receipt)), bytes_max)
    }

    fn healed(&mut self, healed: &Healed) {
        self.log.0.truncate(healed.resume.seq as usize);
        self.cursor = healed.resume;
        self.receipt = healed.receipt;
        let own = self.log.0.iter().filter(|entry| entry.header.id.device == self.device).count();
        if (own as u64) < self.acked.n {
            self.acked = self.heads[own];
        }
    }

    /// One exchange until there is nothing left; gives whether it came to its end.
    fn sync(&mut self, server: &mut Server, rng: &mut Rng, meanwhile: &mut dyn FnMut(&mut Server, &mut Rng)) -> bool {
        for _ in 0..200 {
            let page = 1 + rng.below(20);
            if self.pull(server, page) {
                self.push(server, 1 + rng.below(20));
                if self.cursor == server.head() && self.acked.n == self.items.len() as u64 {
                    return true;
                }
                continue;
            }
            let mut hand_back = self.hand_back(1 + rng.below(400));
            let mut request = hand_back.begin();
            let mut questions = 0;
            loop {
                if rng.chance(3) {
                    // Killed: what it knew of the healing is gone.
                    break;
                }
                let answer = serve(server, &request).expect("an honest phone");
                questions += u32::from(request.lost.is_none());
                assert!(questions <= HEAL_ROUNDS_MAX);
                meanwhile(server, rng);
                match hand_back.next(&answer, &self.log).unwrap() {
                    Next::Ask(next) => request = *next,
                    Next::Done(healed) => {
                        self.healed(&healed);
                        break;
                    }
                }
            }
        }
        false
    }
}

fn history(seed: u64) {
    let mut rng = Rng(seed);
    let mut server = Server::new(SPACE);
    let mut phones: Vec<Phone> = (1..=4).map(Phone::new).collect();
    for at in 0..DOCS {
        phones[0].append(Item::create(doc(at), "notes".to_owned()));
    }
    let nothing: &mut dyn FnMut(&mut Server, &mut Rng) = &mut |_, _| {};
    assert!(phones[0].sync(&mut server, &mut rng, nothing));
    let mut backups = vec![server.clone()];
    let (mut gone, mut lost) = (None, 0);
    for _ in 0..40 {
        let at = rng.below(phones.len());
        if gone == Some(at) {
            continue;
        }
        for _ in 0..rng.below(6) {
            phones[at].edit(&mut rng);
        }
        let writer_comes_between = rng.chance(30);
        let other = (at + 1) % phones.len();
        let (before, after) = phones.split_at_mut(at.max(other));
        let (phone, neighbour) =
            if at < other { (&mut before[at], &mut after[0]) } else { (&mut after[0], &mut before[other]) };
        let mut between = |server: &mut Server, rng: &mut Rng| {
            // Somebody who has not found out yet reads what there is; one who was not affected writes.
            if writer_comes_between && gone != Some(other) && rng.chance(40) && neighbour.pull(server, 3) {
                neighbour.push(server, 2);
            }
        };
        phone.sync(&mut server, &mut rng, &mut between);
        match rng.below(8) {
            0 => backups.push(server.clone()),
            1 if lost < 3 => {
                server = backups[rng.below(backups.len())].clone();
                backups.retain(|backup| backup.log.len() <= server.log.len());
                lost += 1;
            }
            2 if gone.is_none() && lost > 0 => gone = Some(at),
            _ => {}
        }
    }
    // Whatever somebody who is still there has written or read.
    let living: Vec<usize> = (0..phones.len()).filter(|at| gone != Some(*at)).collect();
    let held: BTreeSet<ChangeId> =
        living.iter().flat_map(|at| phones[*at].log.0.iter().map(|entry| entry.header.id)).collect();
    for round in 0..3 {
        for at in &living {
            while !phones[*at].sync(&mut server, &mut rng, nothing) {}
        }
        if round > 0 {
            let ends: BTreeSet<_> = living.iter().map(|at| phones[*at].log.0.len()).collect();
            assert_eq!(ends.len(), 1, "two rounds bring everybody everything");
        }
    }
    let mut there = BTreeMap::new();
    for entry in &server.log {
        assert_eq!(entry.header.verdict, Verdict::Applied);
        assert!(there.insert(entry.header.id, entry.header.hash).is_none(), "{} is there twice", entry.header.id);
    }
    for id in held {
        assert!(there.contains_key(&id), "{id} is lost");
    }
    for at in &living {
        let phone = &phones[*at];
        for (n, item) in phone.items.iter().enumerate() {
            let id = ChangeId { device: phone.device, n: n as u64 + 1 };
            assert_eq!(there.get(&id), Some(&item.hash), "{id} of somebody who is there");
        }
        for of in (0..DOCS).map(doc) {
            let (one, other) = (&phones[living[0]].documents[&of], &phone.documents[&of]);
            let applied = |phone: &Phone| phone.have.iter().filter(|id| there.contains_key(id)).count();
            if applied(phone) == phone.have.len() && applied(&phones[living[0]]) == phones[living[0]].have.len() {
                assert_eq!(one.heads(), other.heads());
                assert_eq!(one.canonical_save().unwrap(), other.canonical_save().unwrap());
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn whatever_somebody_holds_comes_back_once(seed: u64) {
        history(seed);
    }
}

/// A server with a log, and a phone that has read it.
fn stage(entries: usize) -> (Server, Phone, Rng) {
    let (mut server, mut writer, mut rng) = (Server::new(SPACE), Phone::new(1), Rng(7));
    for at in 0..DOCS {
        writer.append(Item::create(doc(at), "notes".to_owned()));
    }
    for _ in DOCS.into()..entries {
        writer.edit(&mut rng);
    }
    let nothing: &mut dyn FnMut(&mut Server, &mut Rng) = &mut |_, _| {};
    assert!(writer.sync(&mut server, &mut rng, nothing));
    let mut reader = Phone::new(2);
    assert!(reader.pull(&server, usize::MAX));
    (server, reader, rng)
}

fn all_of(phone: &Phone) -> LostEntries {
    let base = Cursor::start(SPACE);
    LostEntries { base, entries: phone.log.0.clone(), receipt: phone.receipt.unwrap() }
}

#[test]
fn what_was_read_comes_back_under_its_old_numbers_in_one_page() {
    let (server, reader, _) = stage(300);
    let mut restored = Server::new(SPACE);
    let mut hand_back = reader.hand_back(PAGE_BYTES_MAX);
    let (mut request, mut asked) = (hand_back.begin(), 0);
    let healed = loop {
        asked += 1;
        match hand_back.next(&serve(&mut restored, &request).unwrap(), &reader.log).unwrap() {
            Next::Ask(next) => request = *next,
            Next::Done(healed) => break healed,
        }
    };
    assert_eq!((asked, healed.handed, healed.resume), (2, 300, reader.cursor));
    assert_eq!(restored.log, server.log);
    assert_eq!(healed.receipt, reader.receipt);
}

#[test]
fn pages_are_proven_from_the_last_to_the_first() {
    let (server, reader, _) = stage(100);
    let mut restored = Server::new(SPACE);
    let mut hand_back = reader.hand_back(1_000);
    let (mut request, mut proofs, mut pages) = (hand_back.begin(), 0, 0);
    while let Next::Ask(next) = hand_back.next(&serve(&mut restored, &request).unwrap(), &reader.log).unwrap() {
        let lost = next.lost.as_ref().unwrap();
        (proofs, pages) = if lost.prove { (proofs + 1, pages) } else { (proofs, pages + 1) };
        let bytes: usize =
            lost.lost.entries.iter().map(|entry| entry.body.as_ref().map_or(0, Body::payload_bytes)).sum();
        assert!(bytes <= 1_000 && (lost.prove == (bytes == 0)));
        request = *next;
    }
    assert_eq!((restored.log.len(), proofs), (100, pages - 1));
    assert_eq!(restored.log, server.log);
}

#[test]
fn what_is_forged_altered_or_of_elsewhere_is_refused() {
    let (_, reader, _) = stage(10);
    let mut restored = Server::new(SPACE);
    let mut refused = |lost: LostEntries, why: Refused| {
        let lost = Some(HandedBack { lost, prove: false });
        let request = HealRequest { schema: SCHEMA, space: SPACE, places: Vec::new(), lost };
        assert_eq!(serve(&mut restored, &request).unwrap_err(), why);
        assert!(restored.log.is_empty());
    };
    let honest = || all_of(&reader);
    let mut cases: Vec<LostEntries> = Vec::new();
    let mut with = |change: &dyn Fn(&mut LostEntries)| {
        let mut lost = honest();
        change(&mut lost);
        cases.push(lost);
    };
    with(&|lost| lost.receipt = Receipt::from_hash(Hash([0; 32])));
    with(&|lost| lost.receipt = ReceiptKey::new([4; 32]).sign(SPACE, &reader.cursor));
    with(&|lost| lost.receipt = key().sign(SpaceId::from_bytes([8; 16]), &reader.cursor));
    with(&|lost| lost.receipt = key().sign(SPACE, &Cursor { seq: 9, ..reader.cursor }));
    with(&|lost| lost.base.seq = 1);
    with(&|lost| lost.base.seq = u64::MAX - 3);
    with(&|lost| lost.base.chain = Hash([0; 32]));
    with(&|lost| drop(lost.entries.pop()));
    with(&|lost| drop(lost.entries.remove(0)));
    with(&|lost| lost.entries.swap(3, 4));
    with(&|lost| lost.entries.push(lost.entries[9].clone()));
    with(&|lost| lost.entries.clear());
    with(&|lost| lost.entries[5].header.id.n += 1);
    with(&|lost| lost.entries[5].header.id.device = device(9));
    with(&|lost| lost.entries[5].header.doc = doc(7));
    with(&|lost| (lost.entries[5].header.kind, lost.entries[5].body) = (ItemKind::Delete, None));
    with(&|lost| lost.entries[5].header.hash = Hash([0; 32]));
    with(&|lost| lost.entries[5].header.verdict = Verdict::Rejected(RejectCode::Validation));
    for lost in cases {
        refused(lost, Refused::Receipt);
    }
    let mut altered: Vec<LostEntries> = Vec::new();
    for at in [0, 5] {
        let mut lost = honest();
        let other = lost.entries[6].body.clone();
        lost.entries[at].body = if at == 0 { Some(Body::Create { collection: "other".to_owned() }) } else { other };
        altered.push(lost);
    }
    let mut flipped = honest();
    if let Some(Body::Change { bytes }) = &mut flipped.entries[5].body {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    }
    altered.push(flipped);
    for lost in altered {
        refused(lost, Refused::Altered);
    }
}

#[test]
fn a_payload_that_is_missing_ends_what_is_taken() {
    let (_, mut reader, _) = stage(10);
    reader.log.0[6].body = None;
    let mut restored = Server::new(SPACE);
    let mut hand_back = reader.hand_back(PAGE_BYTES_MAX);
    let mut request = hand_back.begin();
    let healed = loop {
        match hand_back.next(&serve(&mut restored, &request).unwrap(), &reader.log).unwrap() {
            Next::Ask(next) => request = *next,
            Next::Done(healed) => break healed,
        }
    };
    assert_eq!((healed.handed, restored.log.len()), (6, 6));
    assert_eq!(healed.resume, Cursor::start(SPACE), "it reads what there is again");
}

#[test]
fn quota_and_role_are_not_asked_for_again_but_what_was_deleted_stays_so() {
    let (_, reader, _) = stage(10);
    let mut restored = Server::new(SPACE);
    restored.roles.clear();
    let (lost, left) = all_of(&reader).check().unwrap();
    assert_eq!(restored.take_back(lost).taken + left, 10);
    // Another life of the server, in which the document was deleted before its lost end came back.
    let mut grown = Server::new(SPACE);
    let (lost, _) = all_of(&reader).check().unwrap();
    grown.take_back(lost[..4].to_vec());
    let mut other = Phone::new(5);
    for of in 0..DOCS {
        other.append(Item::delete(doc(of)));
    }
    other.push(&mut grown, 9);
    let became = grown.take_back(lost);
    assert_eq!(became, TakenBack { taken: 6, known: 4, left: 0 });
    for entry in &grown.log[6..] {
        assert_eq!(entry.header.verdict, Verdict::Rejected(RejectCode::DocumentDeleted));
        assert_eq!(entry.payload, None);
    }
}

#[test]
fn entries_that_do_not_join_their_feed_are_left_and_others_are_taken() {
    let (_, reader, _) = stage(10);
    let mut restored = Server::new(SPACE);
    let (lost, _) = all_of(&reader).check().unwrap();
    assert_eq!(restored.take_back(lost[2..].to_vec()), TakenBack { taken: 0, known: 0, left: 8 });
    assert_eq!(restored.take_back(lost.clone()), TakenBack { taken: 10, known: 0, left: 0 });
    assert_eq!(restored.take_back(lost), TakenBack { taken: 0, known: 10, left: 0 });
}

#[test]
fn the_place_where_logs_part_is_found_in_few_questions() {
    // Refused entries need no documents: long logs at little cost.
    let header = |device_of: u8, n: u64| Header {
        id: ChangeId { device: device(device_of), n },
        kind: ItemKind::Delete,
        doc: doc(1),
        hash: Hash::of(&[&n.to_be_bytes(), &[device_of]]),
        verdict: Verdict::Rejected(RejectCode::UnknownDocument),
    };
    for (mine, parts, theirs) in [
        (10_000_u64, 9_000_u64, 0_u64),
        (10_000, 1, 5),
        (10_000, 0, 20_000),
        (10_000, 6_543, 100),
        (10_000, 9_999, 1),
        (1, 0, 1),
        (20_000, 3, 19_997),
    ] {
        let mut place = Cursor::start(SPACE);
        let mut log = Vec::new();
        let mut chain = vec![place];
        for n in 1..=mine {
            log.push(Entry { header: header(1, n), body: None });
            place = place.next(&log[n as usize - 1].header);
            chain.push(place);
        }
        let mut of_server = chain[..=parts as usize].to_vec();
        for n in 1..=theirs {
            of_server.push(of_server[of_server.len() - 1].next(&header(2, n)));
        }
        let log = Log(log);
        let mut hand_back = HandBack::new(SPACE, place, None, PAGE_BYTES_MAX);
        let (mut request, mut asked) = (hand_back.begin(), 0);
        let healed = loop {
            asked += 1;
            let places = request.places.iter().filter_map(|seq| of_server.get(*seq as usize).copied()).collect();
            let head = of_server[of_server.len() - 1];
            let answer = HealResponse { schema: SCHEMA, head, places, receipt: None, taken: None };
            match hand_back.next(&answer, &log).unwrap() {
                Next::Ask(next) => request = *next,
                Next::Done(healed) => break healed,
            }
        };
        assert_eq!(healed.resume, chain[parts as usize], "{mine} {parts} {theirs}");
        assert!(asked <= 4, "{mine} {parts} {theirs}: {asked} questions");
    }
}

#[test]
fn a_store_that_lost_a_part_of_its_own_log_reads_everything_again() {
    let (mut server, mut reader, _) = stage(10);
    reader.log.0[4].header.doc = doc(9);
    server.log.truncate(8);
    let mut hand_back = reader.hand_back(PAGE_BYTES_MAX);
    let request = hand_back.begin();
    let lost = Cursor::start(SPACE);
    let answer = HealResponse { schema: SCHEMA, head: lost, places: Vec::new(), receipt: None, taken: None };
    let Next::Done(healed) = hand_back.next(&answer, &reader.log).unwrap() else { panic!("{request:?}") };
    assert_eq!((healed.resume, healed.handed), (lost, 0));
}
