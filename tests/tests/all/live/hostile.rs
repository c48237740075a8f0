//! Servers that are not ours, or mean ill: no panic, no loop, no memory beyond the limits, and every edit is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_client_ffi::{Client, DeviceId, DocId, Hash, SpaceId, Status, Trouble, Value};
use sync_core::feed::{Body, ChangeId, ItemKind, create_hash};
use sync_core::log::{Cursor, Entry, Header, Receipt, Verdict};
use sync_core::wire::{Entries, LiveRequest, LiveResponse, Page, PageEntry, Peer, PullAnswer, PushAnswer, SpaceHead};
use sync_tests::fake::{Fake, Says, welcome};
use sync_tests::rig::{PATIENCE, device};
use sync_tests::seen::Seen;

use super::statuses;

/// A phone of that server. A client looks into a token for a name alone, so any will do.
fn phone(fake: &Fake, folder: &tempfile::TempDir) -> Client {
    let claims = format!("{{\"sub\":\"ann\",\"device\":\"{}\"}}", device(1));
    let token = format!("e30.{}.x", base64_url(claims.as_bytes()));
    Client::builder(folder.path().join("phone")).server(fake.url()).token(token).open().unwrap()
}

fn base64_url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letters = bytes.chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |at| LETTERS[(bits >> (18 - 6 * at)) as usize & 63] as char)
    });
    letters.collect()
}

/// Says hello, and then these.
fn after_hello(says: fn() -> Vec<Says>) -> Fake {
    Fake::start(move |request| match request {
        LiveRequest::Hello { .. } => {
            let mut all = vec![Says::hello(device(1))];
            all.extend(says());
            all
        }
        _ => Vec::new(),
    })
}

/// The client survives it: it comes again when it is told to, and edits go on.
fn survives(name: &str, fake: &Fake) {
    let folder = tempfile::tempdir().unwrap();
    let phone = phone(fake, &folder);
    let space = phone.personal_space();
    phone.start().unwrap();
    let doc = phone.create(space, "notes").unwrap();
    for round in 0..3 {
        fake.connections.wait(|connections| (connections.len() > round).then_some(()));
        doc.edit(|edit| {
            edit.put("round", round as i64);
        })
        .unwrap();
        // It may be in the middle of anything: each time it is told so, it looks again.
        phone.network_changed(true);
    }
    phone.stop();
    assert_eq!(doc.get("round").unwrap(), Some(Value::Int(2)), "{name}");
    assert!(phone.pending(space).unwrap().outbox_changes > 0, "{name}: nothing was taken for acknowledged");
}

#[test]
fn what_is_not_a_frame_ends_the_connection() {
    type Case = (&'static str, fn() -> Vec<Says>);
    let cases: [Case; 6] = [
        ("noise", || vec![Says::Binary(vec![0xc1; 100])]),
        ("nothing", || vec![Says::Binary(Vec::new())]),
        ("a text", || vec![Says::Text("hello?")]),
        ("a known frame with a hole", || vec![Says::Binary(b"\x81\xa4page\x80".to_vec())]),
        ("a message of a gibibyte", || vec![Says::Raw([&[0x82, 127][..], &(1u64 << 30).to_be_bytes()].concat())]),
        ("a reserved opcode", || vec![Says::Raw(vec![0x83, 0])]),
    ];
    for (name, says) in cases {
        survives(name, &after_hello(says));
    }
}

#[test]
fn whoever_does_not_understand_a_hello_is_not_our_server() {
    survives("another proof", &Fake::with(|_| "c2lsbHk=".into(), |_| vec![Says::hello(device(1))]));
    survives("no hello", &Fake::start(|_| vec![Says::frame(&LiveResponse::Pong { nonce: 1 })]));
    survives("goodbye", &Fake::start(|_| vec![Says::Close(1000)]));
    survives("too busy", &Fake::start(|_| vec![Says::Close(4429)]));
}

fn entry(n: u64) -> PageEntry {
    PageEntry {
        id: ChangeId { device: device(7), n },
        kind: ItemKind::Delete,
        doc: DocId::mint(1, [1; 10]),
        verdict: Verdict::Applied,
        hash: Some(Hash([3; 32])),
        body: None,
    }
}

fn page(entries: Vec<PageEntry>, seq: u64, more: bool) -> Page {
    let next = Cursor { seq, chain: Hash([5; 32]) };
    Page {
        entries: Entries(entries),
        next,
        more,
        receipt: Receipt::from_hash(Hash([0; 32])),
        version: None,
        snapshots: Vec::new(),
        times: None,
    }
}

#[test]
fn frames_out_of_turn_and_of_kinds_to_come_are_passed_over() {
    let space = SpaceId::personal("ann");
    let fake = after_hello(|| {
        let (ours, foreign) = (SpaceId::personal("ann"), SpaceId::from_random([4; 16]));
        let peers = |count: u8, bytes: usize| {
            let peer = |number| Peer {
                user: "x".repeat(bytes),
                device: DeviceId::from_random([number; 16]),
                data: Some(vec![0; bytes].into()),
                ttl_ms: u32::MAX,
            };
            (2..2 + count).map(peer).collect::<Vec<_>>()
        };
        let frames = [
            LiveResponse::Page { space: foreign, page: page(vec![entry(1)], 1, true) },
            LiveResponse::Page { space: ours, page: page(vec![entry(1)], u64::MAX, true) },
            LiveResponse::Page { space: ours, page: page(Vec::new(), 9, false) },
            LiveResponse::Answer { id: 99, space: ours, push: None, pull: None, snapshot: None },
            LiveResponse::Beat { heads: vec![SpaceHead { space: ours, head: Cursor::start(ours) }; 300] },
            LiveResponse::Presence { space: foreign, peers: peers(3, 10) },
            LiveResponse::Presence { space: ours, peers: peers(200, 1 << 10) },
            LiveResponse::Presence { space: ours, peers: peers(1, 1 << 20) },
            LiveResponse::Renewed { expires_in_ms: u64::MAX },
            LiveResponse::Hello(welcome(device(1))),
        ];
        let mut says: Vec<Says> = frames.iter().map(Says::frame).collect();
        says.push(Says::Binary(b"\x81\xa8tomorrow\x93\x01\x02\x03".to_vec()));
        says.push(Says::frame(&LiveResponse::Presence {
            space: ours,
            peers: vec![Peer { user: "last".into(), device: device(1), data: Some(vec![1].into()), ttl_ms: 60_000 }],
        }));
        says
    });
    let folder = tempfile::tempdir().unwrap();
    let phone = phone(&fake, &folder);
    let seen = Seen::default();
    let told = seen.clone();
    let subscription = phone.on_presence(space, move |peers| told.see(peers.to_vec()));
    phone.start().unwrap();
    // The last frame is heard, so the connection has outlived all of them.
    seen.wait(|seen| seen.last()?.1.iter().any(|peer| peer.user == "last").then_some(()));
    let peers = phone.peers(space);
    assert_eq!(peers.len(), 201);
    assert!(peers.iter().all(|peer| peer.data.len() <= 4 << 10), "what is too large is not kept");
    assert!(phone.peers(SpaceId::from_random([4; 16])).is_empty());
    assert_eq!(phone.log_position(space).unwrap(), 0);
    assert_eq!(fake.connections.count(), 1);
    drop(subscription);
}

/// Answers each request of a client, after a hello that is in order.
fn answering(answer: impl Fn(u64, SpaceId, bool) -> LiveResponse + Send + Sync + 'static) -> Fake {
    Fake::start(move |request| match request {
        LiveRequest::Hello { .. } => vec![Says::hello(device(1))],
        LiveRequest::Sync { id, space, push, .. } => vec![Says::frame(&answer(id, space, push.is_some()))],
        _ => Vec::new(),
    })
}

fn ends_in(fake: &Fake, trouble: Trouble) {
    let folder = tempfile::tempdir().unwrap();
    let phone = phone(fake, &folder);
    let (seen, subscription) = statuses(&phone);
    phone.create(phone.personal_space(), "notes").unwrap();
    phone.start().unwrap();
    seen.wait_for(0, &Status::Error(trouble));
    assert_eq!(phone.pending(phone.personal_space()).unwrap().outbox_changes, 1);
    assert_eq!(phone.log_position(phone.personal_space()).unwrap(), 0);
    drop(subscription);
}

/// Whoever is said to have written more than it has goes on as another device.
fn asks_for_a_device(fake: &Fake) {
    let folder = tempfile::tempdir().unwrap();
    let phone = phone(fake, &folder);
    let (before, (seen, subscription)) = (phone.device(), statuses(&phone));
    phone.create(phone.personal_space(), "notes").unwrap();
    phone.start().unwrap();
    seen.wait_for(0, &Status::NeedsAuth);
    let wanted = phone.wanted_device();
    assert!(wanted.is_some_and(|wanted| wanted != before));
    assert_eq!(phone.pending(phone.personal_space()).unwrap().outbox_changes, 1);
    assert_eq!(phone.log_position(phone.personal_space()).unwrap(), 0);
    drop(subscription);
}

#[test]
fn a_log_that_contradicts_itself_is_not_taken() {
    let pull = |page: Page| Some(PullAnswer::Page(page));
    ends_in(
        &answering(move |id, space, _| LiveResponse::Answer {
            id,
            space,
            push: None,
            pull: pull(page(vec![entry(1)], 1, false)),
            snapshot: None,
        }),
        Trouble::BrokenLog,
    );
    ends_in(
        &answering(move |id, space, _| {
            // More entries than there are places.
            LiveResponse::Answer {
                id,
                space,
                push: None,
                pull: pull(page(vec![entry(1), entry(2)], 1, false)),
                snapshot: None,
            }
        }),
        Trouble::BrokenLog,
    );
    asks_for_a_device(&answering(move |id, space, _| {
        let mut own = entry(1);
        own.id = ChangeId { device: device(1), n: 9 };
        own.hash = None;
        LiveResponse::Answer { id, space, push: None, pull: pull(page(vec![own], 1, false)), snapshot: None }
    }));
    ends_in(
        &answering(move |id, space, _| {
            let head = Cursor { seq: 3, chain: Hash([1; 32]) };
            LiveResponse::Answer { id, space, push: None, pull: Some(PullAnswer::Diverged { head }), snapshot: None }
        }),
        Trouble::ServerLostData,
    );
    asks_for_a_device(&answering(move |id, space, _| {
        let acked = sync_core::feed::FeedHead { n: 5, chain: Hash([1; 32]) };
        LiveResponse::Answer { id, space, push: Some(PushAnswer::Behind { acked }), pull: None, snapshot: None }
    }));
    let too_old = Fake::start(|_| vec![Says::Close(4426)]);
    ends_in(&too_old, Trouble::UpgradeRequired);
}

/// A log that another device wrote: so many documents, one an entry.
fn log(space: SpaceId, length: u64) -> (Vec<PageEntry>, Vec<Cursor>) {
    let mut places = vec![Cursor::start(space)];
    let entry = |n: u64| {
        let doc = DocId::mint(n, [1; 10]);
        let id = ChangeId { device: device(7), n };
        let hash = create_hash(doc, "notes");
        let header = Header { id, kind: ItemKind::Create, doc, hash, verdict: Verdict::Applied };
        places.push(places[places.len() - 1].next(&header));
        PageEntry::whole(Entry { header, body: Some(Body::Create { collection: "notes".into() }) })
    };
    ((1..=length).map(entry).collect(), places)
}

#[test]
fn pages_that_overlap_or_come_late_are_taken_once() {
    let space = SpaceId::personal("ann");
    let (entries, places) = log(space, 9);
    let page = move |from: usize, through: usize| Page {
        entries: Entries(entries[from..through].to_vec()),
        next: places[through],
        more: false,
        receipt: Receipt::from_hash(Hash([0; 32])),
        version: None,
        snapshots: Vec::new(),
        times: None,
    };
    let fake = Fake::start(move |request| match request {
        LiveRequest::Hello { .. } => vec![Says::hello(device(1))],
        LiveRequest::Sync { id, space, pull: Some(_), .. } => {
            let first = PullAnswer::Page(page(0, 3));
            let mut says =
                vec![Says::frame(&LiveResponse::Answer { id, space, push: None, pull: Some(first), snapshot: None })];
            // Stale, overlapping, empty, once more, and on.
            for (from, through) in [(0, 2), (1, 5), (0, 0), (5, 5), (2, 2), (0, 5), (5, 6), (0, 9)] {
                says.push(Says::frame(&LiveResponse::Page { space, page: page(from, through) }));
            }
            says
        }
        _ => Vec::new(),
    });
    let folder = tempfile::tempdir().unwrap();
    let phone = phone(&fake, &folder);
    phone.start().unwrap();
    assert!(phone.wait_for(space, device(7), 9, PATIENCE));
    phone.stop();
    assert_eq!(phone.log_position(space).unwrap(), 9);
    assert_eq!(phone.documents(space, Some("notes")).unwrap().len(), 9);
    assert_eq!(fake.connections.count(), 1, "nothing of it was taken for an error");
}

#[test]
fn a_page_that_begins_too_late_is_asked_for_again_with_pauses() {
    let asked = Arc::new(AtomicU64::new(0));
    let counting = asked.clone();
    let fake = answering(move |id, space, _| {
        counting.fetch_add(1, Ordering::Relaxed);
        LiveResponse::Answer {
            id,
            space,
            push: None,
            pull: Some(PullAnswer::Page(page(vec![entry(9)], 9, false))),
            snapshot: None,
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let phone = phone(&fake, &folder);
    phone.start().unwrap();
    let late = phone.sync_once(std::time::Duration::from_secs(2));
    assert!(late.is_err());
    assert_eq!(phone.log_position(phone.personal_space()).unwrap(), 0);
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=40).contains(&asked), "asked {asked} times in two seconds");
}

#[test]
fn an_app_that_hands_out_bad_tokens_makes_no_loop_of_it() {
    let fake = Fake::start(|_| vec![Says::Close(4401)]);
    let folder = tempfile::tempdir().unwrap();
    let phone = phone(&fake, &folder);
    let wanted = Seen::default();
    let (told, renewing) = (wanted.clone(), phone.clone());
    let subscription = phone.on_token_wanted(move || {
        told.see(());
        renewing.set_token("rubbish");
    });
    phone.start().unwrap();
    wanted.wait(|wanted| (wanted.len() >= 3).then_some(()));
    let (began, before) = (std::time::Instant::now(), fake.connections.count());
    while began.elapsed() < std::time::Duration::from_secs(2) {
        // Offline, everything goes on.
        phone.create(phone.personal_space(), "notes").unwrap();
    }
    let tries = fake.connections.count() - before;
    assert!(tries < 20, "{tries} tries in two seconds");
    drop(subscription);
}
