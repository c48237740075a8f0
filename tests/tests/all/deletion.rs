//! What is deleted is gone everywhere: spaces for their members, content on the server, accounts with what is theirs; and what
//! phones have not sent is theirs to keep.

use std::time::{Duration, Instant};

use sync_client_ffi::account::{Account, AccountError, DeletionResponse, NewDevice, Proof};
use sync_client_ffi::{Client, ClientError, Status, SyncError, Trouble, Value};
use sync_core::id::{DocId, SpaceId};
use sync_core::ledger::Role;
use sync_core::wire::{self, ErrorCode};
use sync_server::compaction::Round;
use sync_tests::rig::{PATIENCE, Rig, device};

/// A space of Ann's with Ben in it, and a document that both phones have.
fn shared(rig: &Rig) -> (SpaceId, Client, Client, DocId) {
    let space = SpaceId::from_random([200; 16]);
    rig.set_role(space, "ann", Some(Role::Owner));
    rig.set_role(space, "ben", Some(Role::Writer));
    let (ann, ben) = (rig.phone("ann", 1), rig.phone("ben", 2));
    ann.add_space(space).unwrap();
    ben.add_space(space).unwrap();
    let doc = ann.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("title", "shared");
    })
    .unwrap();
    ann.sync_once(PATIENCE).unwrap();
    ben.sync_once(PATIENCE).unwrap();
    (space, ann, ben, doc.id())
}

/// Waits until that is so, and says how long it took.
fn until(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    since.elapsed()
}

#[test]
fn a_deleted_space_is_gone_for_its_members_and_what_they_did_not_send_stays_theirs() {
    let rig = Rig::with(|config| config.compaction.enabled = false);
    let (space, ann, ben, doc) = shared(&rig);
    ben.start().unwrap();
    until("ben is live", || ben.status() == Status::Idle);
    // Somebody who may not.
    let path = format!("/v1/spaces/{space}");
    assert_eq!(rig.ask("ben", "DELETE", &path, &[]).status, 403);
    assert_eq!(rig.ask("eve", "DELETE", &path, &[]).status, 404);
    assert_eq!(rig.ask("ann", "DELETE", &format!("/v1/spaces/{}", ann.personal_space()), &[]).status, 403);
    // Ann writes something that does not go out before.
    let unsent = ann.open_doc(space, doc).unwrap();
    unsent
        .edit(|edit| {
            edit.put("unsent", "kept");
        })
        .unwrap();
    assert_eq!(rig.ask("ann", "DELETE", &path, &[]).status, 204);
    // On the open connection, at once: the doubt waits a tenth of a second.
    let took = until("ben is told", || ben.status() == Status::Error(Trouble::SpaceDeleted));
    assert!(took < Duration::from_secs(5), "{took:?}");
    ben.stop();
    let again = ben.open_doc(space, doc).unwrap();
    assert_eq!(again.get("title").unwrap(), Some(Value::from("shared")), "it can be read");
    let refused = again.edit(|edit| {
        edit.put("title", "more");
    });
    assert!(matches!(refused, Err(ClientError::NoAccess(_))), "{refused:?}");

    // The other phone was not connected.
    assert_eq!(ann.sync_once(PATIENCE).unwrap_err(), SyncError::Trouble(Trouble::SpaceDeleted));
    assert_eq!(unsent.get("unsent").unwrap(), Some(Value::from("kept")));
    let quarantine = ann.quarantine(space).unwrap();
    assert_eq!(quarantine.len(), 1, "{quarantine:?}");
    assert_eq!(quarantine[0].reason, sync_client_ffi::Reason::NoAccess);
    // It can be had: by itself, also after the app was started anew, and in an export of everything.
    let id = quarantine[0].id();
    let exported = ann.export_quarantined(space, id).unwrap();
    assert!(exported.json.contains("\"unsent\"") && exported.json.contains("kept"), "{}", exported.json);
    let change = exported.bytes.clone().unwrap();
    assert_eq!(sync_core::chunk::Chunk::read(&change).unwrap().hash(), unsent.heads().unwrap()[0]);
    drop((unsent, ann));
    let token = rig.token("ann", device(1));
    let ann = rig.builder("ann", 1).server(rig.url()).token(token).open().unwrap();
    assert_eq!(ann.export_quarantined(space, id).unwrap(), exported);
    let sent = sync_client_ffi::ChangeId { n: 1, ..id };
    assert!(matches!(ann.export_quarantined(space, sent), Err(ClientError::NotInQuarantine(of)) if of == sent));
    let out = rig.folder().join("out");
    let report = ann.export(&out, |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!(report.quarantined, 1);
    let file = out.join(space.to_string()).join("quarantine").join(format!("{}.change", id.n));
    assert_eq!(std::fs::read(file).unwrap(), change);
    // The rest goes on, and the space leaves the phone when its user wants.
    ann.remove_space(space, sync_client_ffi::Removal::Now).unwrap();
    ann.sync_once(PATIENCE).unwrap();

    // Who was a member is told, who was not learns nothing, and nobody gets it back.
    let version = format!("/v1/spaces/{space}/version");
    for (user, status, code) in [
        ("ann", 410, ErrorCode::SpaceDeleted),
        ("ben", 410, ErrorCode::SpaceDeleted),
        ("eve", 404, ErrorCode::NotFound),
    ] {
        let answer = rig.ask(user, "GET", &version, &[]);
        assert_eq!((answer.status, answer.code()), (status, Some(code)), "{user}");
    }
    assert_eq!(rig.ask("ann", "DELETE", &path, &[]).status, 410);
    assert_eq!(rig.compact(), Round { spaces_purged: 1, ..Round::default() });
    assert_eq!(rig.compact(), Round::default());
    let database = rusqlite::Connection::open(rig.data().join("rejoin.sqlite")).unwrap();
    for table in
        ["log", "payloads", "documents", "actors", "feeds", "snapshots", "snapshot_parts", "members", "invites"]
    {
        let sql = format!("SELECT count(*) FROM {table} WHERE space_id = ?1");
        let left: i64 = database.query_row(&sql, [space.as_bytes()], |found| found.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(rig.ask("ann", "GET", &version, &[]).status, 410, "the tombstone stays");
}

fn deletion(rig: &Rig, space: SpaceId, doc: DocId) -> DeletionResponse {
    let answer = rig.ask("ann", "GET", &format!("/v1/spaces/{space}/deletions/{doc}"), &[]);
    assert_eq!(answer.status, 200, "{:?}", answer.code());
    wire::decode(&answer.body).unwrap()
}

#[test]
fn an_owner_sees_who_has_a_deletion_and_what_is_left() {
    let rig = Rig::with(|config| config.compaction.enabled = false);
    let (space, ann, ben, doc) = shared(&rig);
    // Both say where they are with their next question.
    ann.sync_once(PATIENCE).unwrap();
    ben.sync_once(PATIENCE).unwrap();
    let path = format!("/v1/spaces/{space}/deletions/{doc}");
    assert_eq!(rig.ask("ann", "GET", &path, &[]).status, 404, "it is there");
    ann.delete(space, doc).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    ann.sync_once(PATIENCE).unwrap();
    assert_eq!(rig.ask("ben", "GET", &path, &[]).status, 403);
    assert_eq!(rig.ask("eve", "GET", &path, &[]).status, 404);
    let applied = |told: &DeletionResponse| {
        [1, 2].map(|number| told.devices.iter().find(|of| of.device == device(number)).expect("a device").applied)
    };
    let told = deletion(&rig, space, doc);
    assert_eq!((applied(&told), told.purged), ([true, false], false), "{told:?}");
    assert!(told.deleted_ms > 0 && told.purged_ms.is_none());
    ben.sync_once(PATIENCE).unwrap();
    ben.sync_once(PATIENCE).unwrap();
    assert_eq!(applied(&deletion(&rig, space, doc)), [true, true]);
    assert_eq!(rig.compact(), Round { purged: 1, ..Round::default() });
    let told = deletion(&rig, space, doc);
    assert!(told.purged && told.purged_ms.is_some_and(|at| at >= told.deleted_ms), "{told:?}");
}

const PASSWORD: &str = "Correct-Horse-7";

fn sign_up(rig: &Rig, email: &str) -> (Account, String) {
    let account = Account::new(&rig.url()).unwrap();
    account.sign_up(email, PASSWORD, "Somebody").unwrap();
    sign_in(&account, rig, email).unwrap()
}

fn sign_in(account: &Account, rig: &Rig, email: &str) -> Result<(Account, String), AccountError> {
    let proof = Proof::Password { email: email.to_owned(), password: PASSWORD.into() };
    let device = NewDevice {
        device: None,
        name: "a phone".to_owned(),
        platform: "android".to_owned(),
        app_version: "1.0.0".to_owned(),
        public_key: None,
    };
    let credentials = account.sign_in(proof, device)?;
    let signed_in = Account::with_token(&rig.url(), credentials.access_token.0.clone()).unwrap();
    Ok((signed_in, credentials.user))
}

#[test]
fn an_account_goes_with_what_is_its_users_alone() {
    let rig = Rig::with(|config| config.compaction.enabled = false);
    let (ann, user) = sign_up(&rig, "ann@example.com");
    let (ben, other) = sign_up(&rig, "ben@example.com");
    let alone = ann.create_space("Alone").unwrap().space;
    let ours = ann.create_space("Ours").unwrap().space;
    let theirs = ben.create_space("Theirs").unwrap().space;
    let invite = |of: &Account, space| of.invite(space, sync_client_ffi::account::Role::Writer, None).unwrap().token.0;
    ben.accept(&invite(&ann, ours)).unwrap();
    ann.accept(&invite(&ben, theirs)).unwrap();
    let personal = SpaceId::personal(&user);

    let before = ann.spaces().unwrap();
    assert_eq!(ann.delete(PASSWORD).unwrap_err(), AccountError::LastOwner, "Ben would be left without an owner");
    assert_eq!(ann.spaces().unwrap(), before, "nothing was done");
    ann.set_role(ours, &other, sync_client_ffi::account::Role::Owner).unwrap();
    ann.delete(PASSWORD).unwrap();

    // Its devices are cut off, the address is free, and whoever takes it is somebody else.
    assert!(matches!(ann.spaces(), Err(AccountError::DeviceRevoked | AccountError::SessionEnded)));
    let (_, later) = sign_up(&rig, "ann@example.com");
    assert_ne!(later, user);
    // What was shared goes on without; what was not is gone.
    let spaces: Vec<SpaceId> = ben.spaces().unwrap().into_iter().map(|of| of.space).collect();
    assert!(spaces.contains(&ours) && spaces.contains(&theirs), "{spaces:?}");
    for space in [ours, theirs] {
        let members = ben.members(space).unwrap();
        assert_eq!(members.len(), 1, "{members:?}");
    }
    rig.compact();
    let database = rusqlite::Connection::open(rig.data().join("rejoin.sqlite")).unwrap();
    let deleted: Vec<Vec<u8>> = database
        .prepare("SELECT space_id FROM deleted_spaces WHERE purged_ms IS NOT NULL")
        .unwrap()
        .query_map([], |found| found.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(deleted.contains(&alone.as_bytes().to_vec()));
    // The personal space comes into being with its first use, which there was none of.
    assert!(deleted.len() == 1 || deleted.contains(&personal.as_bytes().to_vec()), "{deleted:?}");
    for (table, left) in [("accounts", 0), ("sessions", 0), ("members", 0), ("last_seen", 0)] {
        let sql = format!("SELECT count(*) FROM {table} WHERE user_id = ?1");
        let found: i64 = database.query_row(&sql, [&user], |found| found.get(0)).unwrap();
        assert_eq!(found, left, "{table}");
    }
    let named: i64 = database
        .query_row("SELECT count(*) FROM devices WHERE user_id = ?1 AND name <> 'deleted'", [&user], |found| {
            found.get(0)
        })
        .unwrap();
    assert_eq!(named, 0);
}
