//! A change that breaks its document goes out of it by an entry of the log: on the server and on every phone, whenever it
//! hears of that, the document is the same, and has everything that others wrote upon it.

use std::fs;

use sync_client_ffi::{Client, ClientError, Doc, DocId, EditState, Reason, RejectCode, Value};
use sync_core::document::{Document, Op};
use sync_core::feed::{ChangeId, FeedHead, Item, Run};
use sync_core::hostile;
use sync_core::id::{Actor, Hash};
use sync_core::wire::{self, PushAnswer, SCHEMA, SyncRequest, SyncResponse};
use sync_server::Config;
use sync_server::compaction::Round;
use sync_tests::rig::{PATIENCE, Rig, device};

fn eager(config: &mut Config) {
    config.compaction.enabled = false;
    config.compaction.tail_changes_max = 3;
    config.compaction.pause_ms = 0;
    config.compaction.retention_days = 0;
}

/// A server that folds in a process of its own, and two phones.
fn folded_by_a_worker() -> (Rig, Client, Client) {
    let mut rig = Rig::with(eager);
    rig.fold_in(crate::worker());
    rig.restart();
    let (one, two) = (rig.phone("ann", 1), rig.phone("ann", 2));
    (rig, one, two)
}

fn hash(bytes: &[u8]) -> Hash {
    sync_core::guard::inspect(bytes).unwrap().hash
}

fn put(doc: &Doc, key: &str, value: impl Into<Value>) {
    let value = value.into();
    doc.edit(|edit| _ = edit.put(key, value)).unwrap();
    doc.seal().unwrap();
}

fn insert(doc: &Doc, at: u64, text: &str) {
    doc.edit(|edit| _ = edit.splice("body", at, 0, text)).unwrap();
    doc.seal().unwrap();
}

fn body(doc: &Doc) -> String {
    match doc.get("body").unwrap() {
        Some(Value::Text(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn sync(phones: &[&Client]) {
    for _ in 0..2 {
        for phone in phones {
            phone.sync_once(PATIENCE).unwrap();
        }
    }
}

#[track_caller]
fn equal(phones: &[&Client], doc: DocId) {
    let of = |phone: &Client| {
        let doc = phone.open_doc(phone.personal_space(), doc).unwrap();
        (doc.heads().unwrap(), doc.json("").unwrap(), doc.canonical_save().unwrap())
    };
    for (at, phone) in phones.iter().enumerate().skip(1) {
        let (one, other) = (of(phones[0]), of(phone));
        assert_eq!(one.1, other.1, "phone {at}");
        assert_eq!(one, other, "phone {at}");
    }
}

/// A client that looks at nothing.
struct Hostile<'a> {
    rig: &'a Rig,
    head: FeedHead,
    phone: &'a Client,
}

impl<'a> Hostile<'a> {
    fn new(rig: &'a Rig, phone: &'a Client) -> Self {
        Self { rig, head: FeedHead::start(phone.personal_space(), device(99)), phone }
    }

    fn actor() -> Actor {
        Actor::new(device(99), [1; 4])
    }

    fn push(&mut self, doc: DocId, changes: &[&[u8]]) {
        let items = changes.iter().map(|bytes| Item::change(doc, hash(bytes), bytes.to_vec())).collect();
        let run = Run { device: device(99), base: self.head, items };
        self.head = run.end();
        let space = self.phone.personal_space();
        let frame = SyncRequest { schema: SCHEMA, space, push: Some(run), pull: None, snapshot: None };
        let raw = self.rig.ask("ann", "POST", "/v1/sync", &wire::encode(&frame).unwrap());
        let answer: SyncResponse = wire::decode(&raw.body).unwrap();
        let Some(PushAnswer::Taken { results, need, .. }) = answer.push else { panic!("{answer:?}") };
        assert!(results.iter().all(|result| result.code.is_none()) && need.is_empty(), "{results:?}");
    }
}

/// Each change is within the limit of nesting, and all of them together are beyond it: only who puts the document together
/// sees that. A real worker does.
#[test]
fn what_breaks_a_document_is_found_by_folding_and_goes_out_everywhere() {
    let (rig, one, two) = folded_by_a_worker();
    let doc = one.create(one.personal_space(), "notes").unwrap();
    put(&doc, "title", "whole");
    sync(&[&one, &two]);
    let mut hostile = Hostile::new(&rig, &one);
    let first = hostile::nested(Hostile::actor(), 60);
    let second = hostile::deeper(&first, 4);
    let bad = hostile::deeper(&second, 1);
    let upon = hostile::deeper(&bad, 1);
    hostile.push(doc.id(), &[&first, &second, &bad, &upon]);
    // Who meets it first leaves it out for the time being.
    sync(&[&one, &two]);
    assert_eq!(doc.get("title").unwrap(), Some("whole".into()));
    put(&doc, "before", 1i64);
    put(&two.open_doc(two.personal_space(), doc.id()).unwrap(), "other", 2i64);
    sync(&[&one, &two]);
    assert_eq!(rig.compact(), Round { folded: 1, ..Round::default() });
    assert_eq!(rig.compact(), Round::default(), "its payloads stay, and nothing else is left to do");
    sync(&[&one, &two]);
    let fresh = rig.phone("ann", 3);
    fresh.sync_once(PATIENCE).unwrap();
    equal(&[&one, &two, &fresh], doc.id());
    assert_eq!(doc.get("other").unwrap(), Some(2i64.into()));
    assert!(one.quarantine(one.personal_space()).unwrap().is_empty(), "it is somebody else's");
    // Life goes on, also for whoever has not heard of it.
    put(&doc, "after", 3i64);
    hostile.push(doc.id(), &[&hostile::deeper(&upon, 1)]);
    let of_fresh = fresh.open_doc(fresh.personal_space(), doc.id()).unwrap();
    put(&of_fresh, "fresh", 4i64);
    sync(&[&one, &two, &fresh]);
    equal(&[&one, &two, &fresh], doc.id());
    for round in 0..4 {
        put(&of_fresh, "fresh", round);
    }
    sync(&[&fresh, &one, &two]);
    assert_eq!(rig.compact(), Round { folded: 1, ..Round::default() });
    let last = rig.phone("ann", 4);
    last.sync_once(PATIENCE).unwrap();
    equal(&[&one, &two, &fresh, &last], doc.id());
    assert_eq!(one.version(one.personal_space()).unwrap(), last.version(one.personal_space()).unwrap());
    put(&last.open_doc(last.personal_space(), doc.id()).unwrap(), "last", 5i64);
    sync(&[&last, &one]);
    equal(&[&one, &last], doc.id());
    assert_eq!(one.pending(one.personal_space()).unwrap().outbox_changes, 0);
}

/// One that every phone takes and writes upon, and that cannot be written down: it counts up what is no counter there.
#[test]
fn what_is_written_upon_a_change_that_breaks_the_document_stays() {
    let (rig, one, two) = folded_by_a_worker();
    let doc = one.create(one.personal_space(), "notes").unwrap();
    put(&doc, "body", Value::Text("text".to_owned()));
    sync(&[&one, &two]);
    let mut hostile = Hostile::new(&rig, &one);
    let first = hostile::nested(Hostile::actor(), 1);
    let mut writer = Document::load(Hostile::actor(), None, &[&first]).unwrap().0;
    writer.edit(vec![Op::Put { path: "n".into(), value: Value::Counter(0) }], &mut || 5).unwrap();
    let counter = writer.seal(&mut || 5).unwrap().bytes;
    let bad = hostile::misplaced_increment(&counter, "other", 2);
    hostile.push(doc.id(), &[&first, &counter, &bad]);
    sync(&[&one, &two]);
    assert!(doc.heads().unwrap().contains(&hash(&bad)), "nobody sees what it does");
    assert!(matches!(doc.canonical_save(), Err(ClientError::Corrupt)), "and it is no panic");
    insert(&doc, 4, " of one");
    let of_two = two.open_doc(two.personal_space(), doc.id()).unwrap();
    insert(&of_two, 0, "two: ");
    of_two.edit(|edit| _ = edit.increment("n", 3)).unwrap();
    sync(&[&one, &two]);
    assert_eq!(rig.compact(), Round { folded: 1, ..Round::default() });
    insert(&doc, 0, "late ");
    sync(&[&one, &two]);
    let fresh = rig.phone("ann", 3);
    fresh.sync_once(PATIENCE).unwrap();
    equal(&[&one, &two, &fresh], doc.id());
    assert!(!doc.heads().unwrap().contains(&hash(&bad)));
    let shown = body(&doc);
    assert!(shown == "late two: text of one" || shown == "two: late text of one", "{shown}");
    assert_eq!(doc.get("n").unwrap(), Some(Value::Counter(3)));
    for phone in [&one, &two] {
        assert!(phone.quarantine(phone.personal_space()).unwrap().is_empty());
    }
    rig_is_sound(&rig);
}

/// Two phones, and what the first of them wrote second is excluded: what that says is in the text, and others typed at it.
struct Stage {
    rig: Rig,
    one: Client,
    two: Client,
    doc: DocId,
    bad: Hash,
    bad_id: ChangeId,
}

impl Stage {
    fn new() -> Self {
        let rig = Rig::with(eager);
        let (one, two) = (rig.phone("ann", 1), rig.phone("ann", 2));
        let doc = one.create(one.personal_space(), "notes").unwrap();
        put(&doc, "body", Value::Text("ab".to_owned()));
        insert(&doc, 2, "BAD");
        let bad = doc.heads().unwrap()[0];
        let bad_id = ChangeId { device: device(1), n: 3 };
        insert(&doc, 5, "c");
        sync(&[&one, &two]);
        let of_two = two.open_doc(two.personal_space(), doc.id()).unwrap();
        insert(&of_two, 4, "within");
        insert(&of_two, 0, "x");
        sync(&[&two, &one]);
        assert_eq!(body(&doc), "xabBAwithinDc");
        let id = doc.id();
        drop(doc);
        Self { rig, one, two, doc: id, bad, bad_id }
    }

    fn doc(&self, phone: &Client) -> Doc {
        phone.open_doc(phone.personal_space(), self.doc).unwrap()
    }

    fn exclude(&self) {
        self.rig.exclude(self.one.personal_space(), self.doc, self.bad);
    }
}

#[test]
fn what_was_excluded_is_in_its_authors_quarantine_and_nowhere_else() {
    let stage = Stage::new();
    let (one, two) = (&stage.one, &stage.two);
    let space = one.personal_space();
    // Each has written upon it what the server does not have yet; one of them has an edit that is not even sealed.
    let (of_one, of_two) = (stage.doc(one), stage.doc(two));
    insert(&of_two, 0, "2");
    insert(&of_one, 0, "1");
    of_one.edit(|edit| _ = edit.put("open", true)).unwrap();
    let before = of_one.heads().unwrap();
    stage.exclude();
    sync(&[one, two]);
    let shown = body(&of_one);
    // What was typed at letters that are gone is gone with them; what else there is stays where it was.
    assert!(shown == "12xab" || shown == "21xab", "{shown}");
    assert_eq!(of_one.get("open").unwrap(), Some(true.into()));
    equal(&[one, two], stage.doc);

    let quarantined = one.quarantine(space).unwrap();
    assert_eq!(quarantined.len(), 2);
    let why = Reason::Refused(RejectCode::BreaksDocument);
    assert_eq!((quarantined[0].id(), quarantined[0].reason), (stage.bad_id, why));
    // Whoever said something about it is told, and keeps that.
    let upon = Reason::Refused(RejectCode::DependencyRefused);
    assert_eq!((quarantined[1].n, quarantined[1].reason, quarantined[1].whole), (4, upon, false));
    let of_other = two.quarantine(space).unwrap();
    assert_eq!((of_other.len(), of_other[0].reason, of_other[0].whole), (1, upon, false));
    let kept = two.export_quarantined(space, of_other[0].id()).unwrap().json;
    assert!(kept.contains(r#""kept":[0, 1, 2, 3, 4, 5]"#), "{kept}");
    assert_eq!(of_one.edit_state(2).unwrap(), EditState::Rejected { code: RejectCode::BreaksDocument });
    assert!(matches!(of_one.edit_state(3).unwrap(), EditState::Durable { .. }));
    // It would break the document again; it can be looked at, and dropped.
    assert!(!one.apply_quarantined(space, stage.bad_id).unwrap());
    assert!(one.export_quarantined(space, stage.bad_id).unwrap().bytes.is_some());
    // What was known by other hashes still is.
    assert_eq!(of_one.json_at("body", &before).unwrap(), of_two.json_at("body", &before).unwrap());
    assert!(of_one.json_at("body", &[stage.bad]).unwrap().is_some());

    // Both go on, from the disk as well.
    drop((of_one, of_two));
    let stage = reopened(stage);
    let (one, two) = (&stage.one, &stage.two);
    equal(&[one, two], stage.doc);
    assert_eq!(body(&stage.doc(one)), shown);
    insert(&stage.doc(one), 0, "more ");
    put(&stage.doc(two), "more", 1i64);
    sync(&[one, two]);
    equal(&[one, two], stage.doc);
    stage.rig.compact();
    let fresh = stage.rig.phone("ann", 3);
    fresh.sync_once(PATIENCE).unwrap();
    put(&stage.doc(&fresh), "fresh", 1i64);
    sync(&[&fresh, one, two]);
    equal(&[one, two, &fresh], stage.doc);
    assert_eq!(one.pending(space).unwrap().outbox_changes, 0);
    // It has no place any more, and stays; what was dropped is gone from the list alone.
    assert!(!two.apply_quarantined(space, of_other[0].id()).unwrap());
    for kept in one.quarantine(space).unwrap() {
        one.drop_quarantined(space, kept.id()).unwrap();
    }
    assert!(one.quarantine(space).unwrap().is_empty());
    equal(&[one, two, &fresh], stage.doc);
    rig_is_sound(&stage.rig);
}

fn reopened(stage: Stage) -> Stage {
    let Stage { rig, one, two, doc, bad, bad_id } = stage;
    drop((one, two));
    let (one, two) = (rig.phone("ann", 1), rig.phone("ann", 2));
    Stage { rig, one, two, doc, bad, bad_id }
}

/// The server's rows are what its log says.
fn rig_is_sound(rig: &Rig) {
    use sync_server::store::sqlite::{SqliteOptions, SqliteStore};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(rig.data(), &SqliteOptions::default()).unwrap();
        let space = sync_core::id::SpaceId::personal("ann");
        let report = sync_server::verify::space(&store, space, &mut |_| {}).await.unwrap();
        assert_eq!(report.findings, []);
    });
}

/// A phone that slept through two exclusions, with edits that it never sent, and one whose store folds.
#[test]
fn who_slept_comes_to_the_same_document() {
    let stage = Stage::new();
    let (one, two) = (&stage.one, &stage.two);
    let sleeper = stage.rig.phone("ann", 3);
    sleeper.sync_once(PATIENCE).unwrap();
    let of_sleeper = stage.doc(&sleeper);
    insert(&of_sleeper, 5, "slept");
    put(&of_sleeper, "slept", 1i64);
    two.fold_sooner(2, 2);
    stage.exclude();
    sync(&[one, two]);
    let of_two = stage.doc(two);
    insert(&of_two, 1, "worse");
    let worse = of_two.heads().unwrap()[0];
    put(&stage.doc(one), "meanwhile", 1i64);
    sync(&[two, one]);
    stage.rig.exclude(one.personal_space(), stage.doc, worse);
    sync(&[one, two]);
    for round in 0..6 {
        put(&of_two, "round", round);
        sync(&[two, one]);
    }
    equal(&[one, two], stage.doc);
    stage.rig.compact();
    sync(&[&sleeper, one, two]);
    let fresh = stage.rig.phone("ann", 4);
    fresh.sync_once(PATIENCE).unwrap();
    equal(&[one, two, &sleeper, &fresh], stage.doc);
    assert_eq!(of_sleeper.get("slept").unwrap(), Some(1i64.into()));
    let shown = body(&of_sleeper);
    assert!(shown.contains("xab") || shown.contains("xaslept"), "{shown}");
    assert!(!two.quarantine(two.personal_space()).unwrap().is_empty());
    for phone in [one, two, &sleeper, &fresh] {
        assert_eq!(phone.pending(phone.personal_space()).unwrap().outbox_changes, 0);
    }
}

/// A server that lost the exclusion, and what was written since, is handed both back.
#[test]
fn an_exclusion_that_a_server_lost_comes_back() {
    let mut stage = Stage::new();
    let backup = stage.rig.folder().join("backup");
    stage.rig.stop();
    fs::create_dir(&backup).unwrap();
    for file in fs::read_dir(stage.rig.data()).unwrap().flatten() {
        if file.path().is_file() {
            fs::copy(file.path(), backup.join(file.file_name())).unwrap();
        }
    }
    stage.rig.restart();
    let (one, two) = (&stage.one, &stage.two);
    put(&stage.doc(one), "lost", 1i64);
    sync(&[one, two]);
    stage.exclude();
    sync(&[one, two]);
    put(&stage.doc(two), "upon", 2i64);
    sync(&[two, one]);
    equal(&[one, two], stage.doc);
    let (heads, place) = (stage.doc(one).heads().unwrap(), one.log_position(one.personal_space()).unwrap());
    stage.rig.stop();
    for file in fs::read_dir(stage.rig.data()).unwrap().flatten().filter(|file| file.path().is_file()) {
        fs::remove_file(file.path()).unwrap();
    }
    for file in fs::read_dir(&backup).unwrap().flatten() {
        fs::copy(file.path(), stage.rig.data().join(file.file_name())).unwrap();
    }
    stage.rig.restart();
    let (one, two) = (&stage.one, &stage.two);
    sync(&[one, two]);
    assert_eq!(one.log_position(one.personal_space()).unwrap(), place);
    assert_eq!(stage.doc(one).heads().unwrap(), heads);
    let fresh = stage.rig.phone("ann", 3);
    fresh.sync_once(PATIENCE).unwrap();
    equal(&[one, two, &fresh], stage.doc);
    assert_eq!(one.quarantine(one.personal_space()).unwrap().len(), 2);
    rig_is_sound(&stage.rig);
}

/// An epoch begins with the document as it stands, and nothing of the exclusion is left.
#[test]
fn an_epoch_ends_it() {
    let stage = Stage::new();
    let (one, two) = (&stage.one, &stage.two);
    stage.exclude();
    sync(&[one, two]);
    let (of_one, shown) = (stage.doc(one), body(&stage.doc(one)));
    let mut tries = 0;
    loop {
        match of_one.start_epoch() {
            Ok(_) | Err(ClientError::Unsettled(_)) => {}
            Err(error) => panic!("{error}"),
        }
        sync(&[one, two]);
        if of_one.epoch().unwrap() == 1 {
            break;
        }
        tries += 1;
        assert!(tries < 5, "no epoch begins");
    }
    assert_eq!(body(&of_one), shown);
    insert(&stage.doc(two), 0, "new ");
    sync(&[two, one]);
    stage.rig.compact();
    let fresh = stage.rig.phone("ann", 3);
    fresh.sync_once(PATIENCE).unwrap();
    equal(&[one, two, &fresh], stage.doc);
    assert_eq!(body(&of_one), format!("new {shown}"));
    rig_is_sound(&stage.rig);
}
