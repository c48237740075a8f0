//! Hostile changes: refused with a code of their own, fast, in little memory; what stands beside them is applied, and the
//! device's feed goes on. The server is a process of its own, so that its memory can be measured.

use std::io::Write;
use std::time::Instant;

use sync_core::check::Push;
use sync_core::code::RejectCode;
use sync_core::document::{Document, Op};
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::hostile;
use sync_core::id::{Actor, DocId, Hash, SpaceId};
use sync_core::log::Cursor;
use sync_core::value::Value;
use sync_core::wire::{ErrorCode, ItemStatus, Pull, PushAnswer, SCHEMA, SyncRequest, SyncResponse};
use sync_tests::rig::{Answer, ServerProcess, device, token};

const MILLISECONDS_MAX: u128 = 250;
const KIBIBYTES_MAX: u64 = 64 << 10;

struct Attack {
    server: ServerProcess,
    _folder: tempfile::TempDir,
    space: SpaceId,
    head: FeedHead,
    token: String,
    documents: u64,
}

impl Attack {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("server");
        let server = ServerProcess::start(env!("CARGO_BIN_EXE_child").as_ref(), &data);
        let space = SpaceId::personal("mallory");
        let token = token(&data, "mallory", device(7));
        Self { server, _folder: folder, space, head: FeedHead::start(space, device(7)), token, documents: 0 }
    }

    fn document(&mut self) -> DocId {
        self.documents += 1;
        DocId::mint(self.documents, [7; 10])
    }

    fn request(&self, run: Run) -> SyncRequest {
        SyncRequest { schema: SCHEMA, space: self.space, push: Some(run), pull: None, snapshot: None }
    }

    /// Pushes a good document, the hostile item, and another good document; the hostile one alone is refused.
    fn refused(&mut self, name: &str, hostile: impl Fn(Actor) -> Vec<u8>, code: RejectCode) {
        let mut best_ms = u128::MAX;
        for _ in 0..3 {
            let mut items = good(self.document());
            let victim = items[0].doc;
            let bytes = hostile(Actor::new(device(7), [1; 4]));
            items.push(Item::change(victim, declared(&bytes), bytes));
            items.extend(good(self.document()));
            let run = Run { device: device(7), base: self.head, items };
            let (count, end) = (run.items.len(), run.end());
            let before = self.server.memory_kib();
            self.server.reset_peak_memory();
            let began = Instant::now();
            let answer: SyncResponse = self.server.post(&self.token, &self.request(run)).expect("an answer");
            best_ms = best_ms.min(began.elapsed().as_millis());
            let grown = self.server.peak_memory_kib().saturating_sub(before);
            assert!(grown <= KIBIBYTES_MAX, "{name}: {grown} KiB");

            let Some(PushAnswer::Taken { acked, results, need }) = answer.push else { panic!("{name}: {answer:?}") };
            assert_eq!((acked, results.len(), need.len()), (end, count, 0), "{name}");
            for (index, result) in results.iter().enumerate() {
                let expected =
                    if index == 2 { (ItemStatus::Rejected, Some(code)) } else { (ItemStatus::Applied, None) };
                assert_eq!((result.status, result.code), expected, "{name}, item {index}");
            }
            self.head = acked;
        }
        assert!(best_ms <= MILLISECONDS_MAX, "{name}: {best_ms} ms");
        println!("{name}: {code}, {best_ms} ms");
    }
}

/// A new document with one change.
fn good(doc: DocId) -> Vec<Item> {
    let mut document = Document::new(Actor::new(device(7), [0; 4]));
    let mut random = || 5;
    document.edit(vec![Op::Put { path: "n".into(), value: Value::Int(1) }], &mut random).unwrap();
    let sealed = document.seal(&mut random).unwrap();
    vec![Item::create(doc, "notes".into()), Item::change(doc, sealed.hash, sealed.bytes)]
}

/// The hash that a change's bytes have, if they are one.
fn declared(bytes: &[u8]) -> Hash {
    sync_core::chunk::Chunk::read(bytes).map_or_else(|_| Hash::of(&[bytes]), |chunk| chunk.hash())
}

fn change_by(actor: Actor, text: &str) -> Vec<u8> {
    let mut document = Document::new(actor);
    let mut random = || 5;
    let value = Value::Text(text.to_owned());
    document.edit(vec![Op::Put { path: "n".into(), value }], &mut random).unwrap();
    document.seal(&mut random).unwrap().bytes
}

/// A deflated chunk of some hundred KiB that inflates to 772 MiB: one mebibyte of zeros, deflated once, said 771 times more.
fn bomb() -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let mut block = || {
        let before = encoder.get_ref().len();
        encoder.write_all(&zeros).unwrap();
        // A flush ends the block at a byte; what it refers to are zeros, and zeros stand before every repetition.
        encoder.flush().unwrap();
        encoder.get_ref()[before..].to_vec()
    };
    let (first, again) = (block(), block());
    let mut deflated = first;
    for _ in 1..772 {
        deflated.extend_from_slice(&again);
    }
    // An empty last block.
    deflated.extend_from_slice(&[0x03, 0x00]);
    hostile::compressed(&deflated)
}

#[test]
fn hostile_changes_are_refused_one_by_one() {
    let mut attack = Attack::new();
    let bomb = bomb();
    assert!(bomb.len() > 200 << 10, "{} bytes", bomb.len());
    let stranger = Actor::new(device(8), [0; 4]);
    attack.refused("truncated", |actor| hostile::truncated(&change_by(actor, "x"), 5), RejectCode::Malformed);
    attack.refused("bad checksum", |actor| hostile::bad_checksum(&change_by(actor, "x")), RejectCode::HashMismatch);
    attack.refused("oversized", |_| vec![0x85; (1 << 20) + 1], RejectCode::TooLarge);
    attack.refused("forged actor", |_| change_by(stranger, "x"), RejectCode::ForgedActor);
    attack.refused("over-counted", |actor| hostile::huge_claim(actor, 10_000_000), RejectCode::TooManyOperations);
    attack.refused("inflating", |_| bomb.clone(), RejectCode::Compressed);
    attack.refused("deeply nested", |actor| hostile::nested(actor, 2_000), RejectCode::TooDeep);
}

#[test]
fn a_declared_hash_that_is_not_the_hash_is_refused() {
    let mut attack = Attack::new();
    let doc = attack.document();
    let mut items = good(doc);
    items[1].hash = Hash([1; 32]);
    items.extend(good(attack.document()));
    let run = Run { device: device(7), base: attack.head, items };
    let answer: SyncResponse = attack.server.post(&attack.token, &attack.request(run)).expect("an answer");
    let Some(PushAnswer::Taken { results, .. }) = answer.push else { panic!("{answer:?}") };
    let codes: Vec<Option<RejectCode>> = results.iter().map(|result| result.code).collect();
    assert_eq!(codes, [None, Some(RejectCode::HashMismatch), None, None]);
}

#[test]
fn runs_that_do_not_fit_are_refused_whole_and_the_feed_goes_on() {
    let mut attack = Attack::new();
    let first = Run { device: device(7), base: attack.head, items: good(attack.document()) };
    attack.head = first.end();
    let answer: SyncResponse = attack.server.post(&attack.token, &attack.request(first)).expect("an answer");
    assert!(matches!(answer.push, Some(PushAnswer::Taken { .. })));

    let wrong = FeedHead { n: attack.head.n, chain: Hash([9; 32]) };
    let forked = Run { device: device(7), base: wrong, items: good(attack.document()) };
    let answer: SyncResponse = attack.server.post(&attack.token, &attack.request(forked)).expect("an answer");
    assert!(matches!(answer.push, Some(PushAnswer::Forked { acked }) if acked == attack.head));

    let elsewhere = Run { device: device(8), base: attack.head, items: good(attack.document()) };
    let refused = attack.server.post::<SyncResponse>(&attack.token, &attack.request(elsewhere));
    assert!(matches!(refused, Err(Answer { status: 403, code: Some(ErrorCode::WrongDevice) })), "{refused:?}");

    let run = Run { device: device(7), base: attack.head, items: good(attack.document()) };
    let mut foreign = attack.request(run);
    foreign.space = SpaceId::personal("ann");
    let refused = attack.server.post::<SyncResponse>(&attack.token, &foreign);
    assert!(matches!(refused, Err(Answer { status: 404, code: Some(ErrorCode::NotFound) })), "{refused:?}");

    let right = Run { device: device(7), base: attack.head, items: good(attack.document()) };
    let mut request = attack.request(right);
    request.pull = Some(Pull {
        since: Some(Cursor::start(attack.space)),
        bytes_max: None,
        own: true,
        version: true,
        snapshots: None,
    });
    let answer: SyncResponse = attack.server.post(&attack.token, &request).expect("an answer");
    assert!(matches!(answer.push, Some(PushAnswer::Taken { .. })));
}

#[test]
fn a_push_as_the_client_library_makes_it_passes_every_check() {
    let run = Run {
        device: device(7),
        base: FeedHead::start(SpaceId::personal("x"), device(7)),
        items: good(DocId::mint(1, [1; 10])),
    };
    let push = Push::check("x".into(), run);
    assert!(
        !push.candidates.iter().any(|candidate| matches!(candidate.checked, sync_core::check::Checked::Refused(_)))
    );
}
