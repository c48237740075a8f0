//! A store that was restored from a backup, or copied from another device: it goes on as another device, and nothing that was
//! written in any of its lives is lost or doubled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sync_client_ffi::account::{Account, AccountError, CredentialsFile, NewDevice, Proof, Refresher};
use sync_client_ffi::{Client, DeviceId, Doc, DocId, SpaceId, SyncError, Value, path};
use sync_tests::rig::{PATIENCE, Rig, Seeded, device};

/// What a kill would leave on disk now, or a backup holds: the files as they are, while the client goes on.
fn copy(store: &Path, to: &Path) -> PathBuf {
    for suffix in ["", "-wal"] {
        let (from, to) = (format!("{}{suffix}", store.display()), format!("{}{suffix}", to.display()));
        if Path::new(&from).exists() {
            std::fs::copy(from, to).unwrap();
        } else if Path::new(&to).exists() {
            std::fs::remove_file(to).unwrap();
        }
    }
    to.to_owned()
}

fn open(rig: &Rig, store: &Path, device: DeviceId) -> Client {
    Client::builder(store).server(rig.url()).token(rig.token("ann", device)).open().unwrap()
}

/// Exchanges everything; where the store goes on as another device, with a token for that.
fn exchange(rig: &Rig, phone: &Client) {
    for _ in 0..4 {
        match phone.sync_once(PATIENCE) {
            Ok(_) => return,
            Err(SyncError::NeedsDevice(device)) => phone.set_token(rig.token("ann", device)),
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("it does not come to an end");
}

/// Edits that can be told from each other, and counted.
struct Tally {
    space: SpaceId,
    doc: DocId,
    made: Vec<String>,
}

impl Tally {
    fn begin(phone: &Client) -> Self {
        let space = phone.personal_space();
        let doc = phone.create(space, "notes").unwrap();
        doc.edit(|edit| {
            edit.put("n", Value::Counter(0)).put("list", Value::List(vec![])).put("text", Value::Text("-".into()));
        })
        .unwrap();
        Self { space, doc: doc.id(), made: Vec::new() }
    }

    fn doc(&self, phone: &Client) -> Doc {
        phone.open_doc(self.space, self.doc).unwrap()
    }

    fn edit(&mut self, phone: &Client, name: &str) {
        let doc = self.doc(phone);
        let tag = format!("{name}{};", self.made.len());
        let (list, text) = (doc.length("list").unwrap().unwrap(), doc.length("text").unwrap().unwrap());
        let tagged = tag.clone();
        doc.edit(|edit| {
            edit.increment("n", 1).insert(path!["list", list], vec![tagged.as_str().into()]);
            edit.splice("text", text, 0, tagged.as_str()).put(tagged.as_str(), 1i64);
        })
        .unwrap();
        self.made.push(tag);
    }

    /// Each edit is there, once.
    fn check(&self, phone: &Client) {
        let doc = self.doc(phone);
        let Some(Value::List(list)) = doc.get("list").unwrap() else { panic!("a list") };
        let mut counts = BTreeMap::new();
        for value in list {
            let Value::Str(tag) = value else { panic!("{value:?}") };
            *counts.entry(tag).or_insert(0) += 1;
        }
        let expected: BTreeMap<String, i32> = self.made.iter().map(|tag| (tag.clone(), 1)).collect();
        assert_eq!(counts, expected);
        assert_eq!(doc.get("n").unwrap(), Some(Value::Counter(self.made.len() as i64)));
        let text = doc.text("text").unwrap().unwrap();
        for tag in &self.made {
            assert_eq!(text.matches(tag.as_str()).count(), 1, "{tag} in {text}");
            assert_eq!(doc.get(tag.as_str()).unwrap(), Some(1i64.into()));
        }
        assert_eq!(text.len(), 1 + self.made.iter().map(String::len).sum::<usize>());
        assert_eq!(phone.quarantine(self.space).unwrap(), []);
    }
}

fn everything(doc: &Doc) -> (Option<Value>, Vec<sync_client_ffi::Hash>) {
    (doc.get(path![]).unwrap(), doc.heads().unwrap())
}

#[test]
fn three_generations_of_one_store_are_one_document() {
    let rig = Rig::start();
    let (store, backup) = (rig.folder().join("store"), rig.folder().join("backup"));
    let phone = open(&rig, &store, device(1));
    let mut tally = Tally::begin(&phone);
    tally.edit(&phone, "begun");
    exchange(&rig, &phone);
    let other = rig.phone("ann", 9);
    exchange(&rig, &other);
    copy(&store, &backup);
    let mut last = phone;
    let mut devices = vec![last.device()];
    for (generation, unsent) in [(1, 0), (2, 1), (3, 2)] {
        for _ in 0..3 {
            tally.edit(&last, &format!("sent{generation}-"));
            tally.doc(&last).seal().unwrap();
        }
        tally.edit(&other, "other");
        exchange(&rig, &other);
        exchange(&rig, &last);
        tally.check(&last);
        // What dies with this life unsent is lost with the disk; so nothing is left unsent in it.
        drop(last);
        copy(&backup, &store);
        let token_of = devices[0];
        last = open(&rig, &store, token_of);
        for _ in 0..unsent {
            tally.edit(&last, &format!("back{generation}-"));
            tally.doc(&last).seal().unwrap();
        }
        let offline = last.create(tally.space, "offline").unwrap();
        offline
            .edit(|edit| {
                edit.put("title", format!("{generation}"));
            })
            .unwrap();
        let edits = tally.doc(&last).edits().unwrap();
        exchange(&rig, &last);
        tally.check(&last);
        assert!(!devices.contains(&last.device()), "another device each time");
        devices.push(last.device());
        assert_eq!(tally.doc(&last).edits().unwrap(), edits, "edits are counted on");
        for edit in 1..=edits {
            let state = tally.doc(&last).edit_state(edit).unwrap();
            assert!(matches!(state, sync_client_ffi::EditState::Durable { .. }), "{edit}: {state:?}");
        }
        assert!(last.former_devices().unwrap().contains(&token_of));
        exchange(&rig, &other);
        tally.check(&other);
        assert_eq!(everything(&tally.doc(&other)), everything(&tally.doc(&last)));
    }
    assert_eq!(other.documents(tally.space, Some("offline")).unwrap().len(), 3);
    // Whoever comes new sees the same.
    let third = rig.phone("ann", 10);
    exchange(&rig, &third);
    tally.check(&third);
}

#[test]
fn two_clones_used_at_once_part_and_converge() {
    let rig = Rig::start();
    let mut random = Seeded::new("clones");
    let store = rig.folder().join("store");
    let phone = open(&rig, &store, device(1));
    let mut tally = Tally::begin(&phone);
    exchange(&rig, &phone);
    tally.edit(&phone, "unsent");
    drop(phone);
    let clones = [rig.folder().join("a"), rig.folder().join("b")].map(|to| open(&rig, &copy(&store, &to), device(1)));
    // The unsent edit is in both, and is the same one.
    for round in 0..12 {
        let at = random.below(2) as usize;
        tally.edit(&clones[at], ["a", "b"][at]);
        if random.below(3) == 0 {
            tally.doc(&clones[at]).seal().unwrap();
        }
        if random.below(2) == 0 {
            exchange(&rig, &clones[at]);
        }
        if round == 8 {
            for clone in &clones {
                exchange(&rig, clone);
            }
        }
    }
    for _ in 0..2 {
        for clone in &clones {
            exchange(&rig, clone);
        }
    }
    for clone in &clones {
        tally.check(clone);
    }
    assert_eq!(everything(&tally.doc(&clones[0])), everything(&tally.doc(&clones[1])));
    let devices = [clones[0].device(), clones[1].device()];
    assert_ne!(devices[0], devices[1]);
    assert!(devices.contains(&device(1)), "one of them stays what it was");
    for _ in 0..5 {
        for clone in &clones {
            tally.edit(clone, "on");
            exchange(&rig, clone);
        }
    }
    for clone in &clones {
        exchange(&rig, clone);
    }
    for clone in &clones {
        tally.check(clone);
    }
    assert_eq!([clones[0].device(), clones[1].device()], devices, "they have parted for good");
}

#[test]
fn a_journal_that_came_back_after_it_was_sent_is_said_once() {
    let rig = Rig::start();
    let (store, image) = (rig.folder().join("store"), rig.folder().join("image"));
    let phone = open(&rig, &store, device(1));
    let mut tally = Tally::begin(&phone);
    exchange(&rig, &phone);
    for _ in 0..4 {
        tally.edit(&phone, "journal");
    }
    // The power fails later, and the disk has lost what came from here on.
    copy(&store, &image);
    tally.edit(&phone, "sent");
    exchange(&rig, &phone);
    drop(phone);
    let back = open(&rig, &image, device(1));
    assert_eq!(back.pending(tally.space).unwrap().outbox_changes, 1);
    tally.edit(&back, "after");
    exchange(&rig, &back);
    tally.check(&back);
    let third = rig.phone("ann", 10);
    exchange(&rig, &third);
    tally.check(&third);
}

#[test]
fn a_kill_at_any_step_of_it_is_healed_by_the_next_start() {
    let rig = Rig::start();
    let (store, backup) = (rig.folder().join("store"), rig.folder().join("backup"));
    let phone = open(&rig, &store, device(1));
    let mut tally = Tally::begin(&phone);
    exchange(&rig, &phone);
    copy(&store, &backup);
    for _ in 0..30 {
        tally.edit(&phone, "sent");
        tally.doc(&phone).seal().unwrap();
    }
    exchange(&rig, &phone);
    drop(phone);
    copy(&backup, &store);

    let phone = open(&rig, &store, device(1));
    tally.edit(&phone, "unsent");
    let SyncError::NeedsDevice(wanted) = phone.sync_once(PATIENCE).unwrap_err() else { panic!("a new device") };
    assert_eq!((phone.wanted_device(), phone.device()), (Some(wanted), wanted));
    // What is typed meanwhile is kept like any other edit.
    tally.edit(&phone, "meanwhile");
    drop(phone);
    // With the token of the device that it was.
    let phone = open(&rig, &store, device(1));
    assert_eq!(phone.wanted_device(), Some(wanted));
    assert_eq!(phone.sync_once(PATIENCE).unwrap_err(), SyncError::NeedsDevice(wanted));
    assert_eq!(phone.traffic().requests, 0);
    phone.set_token(rig.token("ann", device(1)));
    assert_eq!(phone.wanted_device(), Some(wanted), "that is none");
    assert_eq!(tally.doc(&phone).get("n").unwrap(), Some(Value::Counter(2)), "its own edits are there meanwhile");
    // A server may hand out another one.
    let given = device(77);
    phone.set_token(rig.token("ann", given));
    assert_eq!((phone.wanted_device(), phone.device()), (None, given));
    drop(phone);
    // Page by page, and killed behind each.
    let mut pages = 0;
    loop {
        let phone = open(&rig, &store, given);
        tally.edit(&phone, "between");
        let killed = copy(&store, &rig.folder().join("killed"));
        drop(phone);
        copy(&killed, &store);
        let phone = open(&rig, &store, given);
        let done = phone.sync_once_within(PATIENCE, 6_000 + pages * 500);
        pages += 1;
        if done.is_ok_and(|report| !report.more) {
            tally.check(&phone);
            break;
        }
        assert!(pages < 40, "it gets nowhere");
    }
    let other = rig.phone("ann", 10);
    exchange(&rig, &other);
    tally.check(&other);
}

#[test]
fn a_running_client_asks_for_the_device_and_goes_on() {
    let rig = Rig::start();
    for live in [true, false] {
        let store = rig.folder().join(format!("store-{live}"));
        let backup = rig.folder().join(format!("backup-{live}"));
        let first = if live { device(1) } else { device(2) };
        let phone = open(&rig, &store, first);
        let mut tally = Tally::begin(&phone);
        exchange(&rig, &phone);
        copy(&store, &backup);
        tally.edit(&phone, "sent");
        exchange(&rig, &phone);
        drop(phone);
        copy(&backup, &store);
        let token = rig.token("ann", first);
        let phone = Client::builder(&store).server(rig.url()).token(token).live(live).open().unwrap();
        tally.edit(&phone, "back");
        let registering = phone.clone();
        let minter = {
            let data = rig.folder().join("server");
            move |device| sync_tests::rig::token(&data, "ann", device)
        };
        let subscription = phone.on_device_wanted(move |device| registering.set_token(minter(device)));
        phone.start().unwrap();
        let made = tally.made.len() as i64;
        let doc = tally.doc(&phone);
        assert!(doc.wait_until(PATIENCE, |doc| doc.get("n").unwrap() == Some(Value::Counter(made))));
        assert!(phone.wait_acknowledged(tally.space, PATIENCE));
        assert_ne!(phone.device(), first);
        tally.check(&phone);
        tally.edit(&phone, "on");
        assert!(phone.wait_acknowledged(tally.space, PATIENCE));
        phone.stop();
        drop(subscription);
        let other = rig.phone("ann", if live { 10 } else { 11 });
        other.sync_once(PATIENCE).unwrap();
        tally.check(&other);
    }
}

#[test]
fn who_is_signed_in_signs_in_once_more_and_goes_on() {
    let rig = Rig::start();
    let account = Account::new(&rig.url()).unwrap();
    account.sign_up("ann@example.com", "Correct-Horse-7", "Ann").unwrap();
    let sign_in = || {
        let proof = Proof::Password { email: "ann@example.com".into(), password: "Correct-Horse-7".into() };
        let (name, platform, app_version) = ("phone".into(), "linux".into(), "1.0.0".into());
        account.sign_in(proof, NewDevice { device: None, name, platform, app_version, public_key: None }).unwrap()
    };
    let (store, backup) = (rig.folder().join("store"), rig.folder().join("backup"));
    let refresher = Refresher::begin(CredentialsFile::new(rig.folder().join("login.json")), sign_in()).unwrap();
    let open = |refresher: &Refresher| Client::builder(&store).signed_in(refresher).open().unwrap();
    let phone = open(&refresher);
    let mut tally = Tally::begin(&phone);
    phone.sync_once(PATIENCE).unwrap();
    let first = phone.device();
    copy(&store, &backup);
    tally.edit(&phone, "sent");
    phone.sync_once(PATIENCE).unwrap();
    drop(phone);
    copy(&backup, &store);
    let phone = open(&refresher);
    tally.edit(&phone, "back");
    for _ in 0..2 {
        assert!(matches!(phone.sync_once(PATIENCE), Err(SyncError::NeedsDevice(_))));
    }
    drop(phone);
    let phone = open(&refresher);
    assert!(matches!(phone.sync_once(PATIENCE), Err(SyncError::NeedsDevice(_))));
    let again = sign_in();
    let second = again.device;
    refresher.signed_in_again(again).unwrap();
    phone.sync_once(PATIENCE).unwrap();
    assert_eq!(phone.device(), second);
    assert_ne!(first, second);
    tally.check(&phone);
    // From then on no other device will do.
    let other = sign_in();
    assert_eq!(refresher.signed_in_again(other), Err(AccountError::OtherIdentity));
    drop(phone);
    // At the next start what was saved fits.
    let refresher = Refresher::open(CredentialsFile::new(rig.folder().join("login.json"))).unwrap();
    let phone = open(&refresher);
    tally.edit(&phone, "on");
    phone.sync_once(PATIENCE).unwrap();
    tally.check(&phone);
}

#[test]
fn a_store_that_is_copied_while_it_waits_for_its_device_parts_again() {
    let rig = Rig::start();
    let (store, backup) = (rig.folder().join("store"), rig.folder().join("backup"));
    let phone = open(&rig, &store, device(1));
    let mut tally = Tally::begin(&phone);
    exchange(&rig, &phone);
    copy(&store, &backup);
    tally.edit(&phone, "sent");
    exchange(&rig, &phone);
    drop(phone);
    copy(&backup, &store);
    let phone = open(&rig, &store, device(1));
    let Err(SyncError::NeedsDevice(wanted)) = phone.sync_once(PATIENCE) else { panic!("a new device") };
    drop(phone);
    let clones = [rig.folder().join("a"), rig.folder().join("b")].map(|to| open(&rig, &copy(&store, &to), device(1)));
    for (clone, name) in clones.iter().zip(["a", "b"]) {
        assert_eq!(clone.wanted_device(), Some(wanted));
        tally.edit(clone, name);
        clone.create(tally.space, "offline").unwrap();
        exchange(&rig, clone);
    }
    for _ in 0..2 {
        for clone in &clones {
            exchange(&rig, clone);
        }
    }
    for clone in &clones {
        tally.check(clone);
    }
    assert_eq!(clones[0].device(), wanted);
    assert_ne!(clones[1].device(), wanted);
    let offline = |clone: &Client| clone.documents(tally.space, Some("offline")).unwrap().len();
    assert_eq!((offline(&clones[0]), offline(&clones[1])), (2, 2));
}

#[test]
fn what_is_in_quarantine_and_what_was_deleted_offline_come_along() {
    let rig = Rig::start();
    let (store, backup) = (rig.folder().join("store"), rig.folder().join("backup"));
    let phone = open(&rig, &store, device(1));
    let space = phone.personal_space();
    let [kept, gone, deleted] = [0, 1, 2].map(|_| phone.create(space, "notes").unwrap().id());
    exchange(&rig, &phone);
    let other = rig.phone("ann", 9);
    exchange(&rig, &other);
    other.delete(space, gone).unwrap();
    exchange(&rig, &other);
    for doc in [kept, gone, deleted] {
        let doc = phone.open_doc(space, doc).unwrap();
        doc.edit(|edit| {
            edit.put("late", 1i64);
        })
        .unwrap();
    }
    exchange(&rig, &phone);
    let before = phone.quarantine(space).unwrap();
    assert_eq!(before.len(), 1, "written into a document that was deleted: {before:?}");
    copy(&store, &backup);
    phone.create(space, "sent").unwrap();
    exchange(&rig, &phone);
    drop(phone);
    copy(&backup, &store);

    let phone = open(&rig, &store, device(1));
    phone.delete(space, deleted).unwrap();
    let local = phone.create(space, "local").unwrap();
    local
        .edit(|edit| {
            edit.put("title", "local");
        })
        .unwrap();
    let both = phone.create(space, "local").unwrap().id();
    phone.delete(space, both).unwrap();
    exchange(&rig, &phone);
    assert_ne!(phone.device(), device(1));
    assert_eq!(phone.quarantine(space).unwrap(), before);
    assert!(phone.export_quarantined(space, before[0].id()).unwrap().json.contains("late"));
    for phone in [&phone, &other] {
        exchange(&rig, phone);
        let listed: Vec<String> =
            phone.documents(space, None).unwrap().into_iter().map(|document| document.collection).collect();
        assert_eq!(listed, ["notes", "sent", "local"]);
        assert_eq!(phone.open_doc(space, kept).unwrap().get("late").unwrap(), Some(1i64.into()));
        assert_eq!(phone.open_doc(space, local.id()).unwrap().get("title").unwrap(), Some("local".into()));
    }
    phone.drop_quarantined(space, before[0].id()).unwrap();
    assert_eq!(phone.quarantine(space).unwrap(), []);
}

fn marked(number: u8, rig: &Rig, store: &Path, marker: &Path) -> Client {
    let token = rig.token("ann", device(number));
    Client::builder(store).server(rig.url()).token(token).marker(marker).open().unwrap()
}

#[test]
fn a_marker_that_no_backup_holds_tells_a_restored_store_from_its_own() {
    let rig = Rig::start();
    let (store, marker) = (rig.folder().join("store"), rig.folder().join("no-backup").join("marker"));
    for _ in 0..3 {
        let phone = marked(1, &rig, &store, &marker);
        assert!(!phone.is_restored() && phone.wanted_device().is_none());
        phone.create(phone.personal_space(), "notes").unwrap();
        phone.sync_once(PATIENCE).unwrap();
    }
    let backup = copy(&store, &rig.folder().join("backup"));

    // On another device, where there is no marker: it is known at once, with no network.
    let elsewhere = rig.folder().join("elsewhere").join("marker");
    let copied = copy(&backup, &rig.folder().join("copied"));
    let phone = marked(1, &rig, &copied, &elsewhere);
    assert!(phone.is_restored());
    let wanted = phone.wanted_device().unwrap();
    phone.create(phone.personal_space(), "notes").unwrap();
    assert_eq!(phone.sync_once(PATIENCE), Err(SyncError::NeedsDevice(wanted)));
    assert_eq!(phone.traffic().requests, 0);
    drop(phone);
    let phone = marked(1, &rig, &copied, &elsewhere);
    assert!(!phone.is_restored(), "the store is its own again");
    assert_eq!(phone.wanted_device(), Some(wanted));
    exchange(&rig, &phone);
    assert_eq!(phone.documents(phone.personal_space(), None).unwrap().len(), 4);

    // On the same device, where the marker is another installation's.
    let again = rig.folder().join("again");
    marked(3, &rig, &again, &rig.folder().join("again.marker")).sync_once(PATIENCE).unwrap();
    assert!(marked(1, &rig, &backup, &rig.folder().join("again.marker")).is_restored());

    // The store that stayed is none the worse.
    let phone = marked(1, &rig, &store, &marker);
    assert!(!phone.is_restored());
    phone.sync_once(PATIENCE).unwrap();
    assert_eq!(phone.device(), device(1));
    assert_eq!(phone.documents(phone.personal_space(), None).unwrap().len(), 4);
}

#[test]
fn a_store_from_before_the_marker_gets_one_and_a_backup_of_that_time_is_known() {
    let rig = Rig::start();
    let (store, marker) = (rig.folder().join("store"), rig.folder().join("marker"));
    let phone = Client::builder(&store).identity("ann", device(1)).open().unwrap();
    phone.create(phone.personal_space(), "notes").unwrap();
    drop(phone);
    let backup = copy(&store, &rig.folder().join("backup"));
    assert!(!marked(1, &rig, &store, &marker).is_restored());
    assert!(marked(1, &rig, &backup, &marker).is_restored());
    // A new store of the same app, after the old one was wiped.
    std::fs::remove_file(&store).unwrap();
    for _ in 0..2 {
        assert!(!marked(2, &rig, &store, &rig.folder().join("marker-2")).is_restored());
    }
}
