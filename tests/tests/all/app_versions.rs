//! An app that has become too old for its server: it is told, and where to update, and keeps what is written.

use std::time::Instant;

use sync_client_ffi::account::{Account, AccountError, CredentialsFile, NewDevice, Proof, Refresher};
use sync_client_ffi::{Client, OpenError, Status, SyncError, Trouble, Value};
use sync_server::store::Store as _;
use sync_server::store::sqlite::{SqliteOptions, SqliteStore};
use sync_server::store::versions::{AppMinimum, Versions as _};
use sync_tests::rig::{PATIENCE, Rig, device};
use sync_tests::seen::Seen;

const UPDATE_URL: &str = "https://example.com/update";

fn rig() -> Rig {
    Rig::with(|config| config.versions.poll_ms = 20)
}

/// As the server's command does.
fn set_minimum(rig: &Rig, minimum: Option<&str>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&rig.folder().join("server"), &SqliteOptions::default()).unwrap();
        let (platform, update_url) = ("ios".to_owned(), UPDATE_URL.to_owned());
        let done = match minimum {
            Some(minimum) => {
                store.set_app_minimum(AppMinimum { platform, minimum: minimum.to_owned(), update_url }).await
            }
            None => store.clear_app_minimum(&platform).await,
        };
        assert!(done.unwrap());
        store.close().await.unwrap();
    });
}

fn phone(rig: &Rig, number: u8, version: &str) -> Client {
    let token = rig.token("ann", device(number));
    rig.builder("ann", number).server(rig.url()).token(token).app("ios", version).open().unwrap()
}

fn note(phone: &Client, title: &str) {
    let doc = phone.create(phone.personal_space(), "notes").unwrap();
    doc.edit(|edit| {
        edit.put("title", Value::Text(title.into()));
    })
    .unwrap();
}

#[test]
fn a_phone_that_is_too_old_keeps_what_it_writes_and_knows_where_to_update() {
    let rig = rig();
    let (old, new) = (phone(&rig, 1, "1.9"), phone(&rig, 2, "2.0.0"));
    note(&old, "before");
    old.sync_once(PATIENCE).unwrap();
    assert_eq!(old.update_url(), None);

    let statuses = Seen::default();
    let _watching = old.on_status({
        let statuses = statuses.clone();
        move |status| statuses.see(status)
    });
    old.start().unwrap();
    old.sync_once(PATIENCE).unwrap();
    set_minimum(&rig, Some("2.0.0"));
    statuses.wait_for(0, &Status::Error(Trouble::UpgradeRequired));
    assert_eq!(old.update_url().as_deref(), Some(UPDATE_URL), "told on the connection that was open");

    note(&old, "meanwhile");
    assert_eq!(old.pending(old.personal_space()).unwrap().journal_edits, 1, "kept");
    let required = SyncError::UpgradeRequired { update_url: Some(UPDATE_URL.into()) };
    assert_eq!(old.sync_once(PATIENCE).unwrap_err(), required);
    assert_eq!(required.to_string(), format!("the app must be updated: {UPDATE_URL}"));
    old.stop();
    assert_eq!(old.sync_once(PATIENCE).unwrap_err(), required, "also without a live connection");
    new.sync_once(PATIENCE).unwrap();
    assert_eq!(new.documents(new.personal_space(), None).unwrap().len(), 1, "others are served");

    // The same store in an app that was updated sends what waited.
    drop(old);
    let updated = phone(&rig, 1, "2.0.0");
    updated.sync_once(PATIENCE).unwrap();
    new.sync_once(PATIENCE).unwrap();
    assert_eq!(new.documents(new.personal_space(), None).unwrap().len(), 2);
}

#[test]
fn accounts_and_clients_of_one_app_say_alike_what_they_are() {
    let rig = rig();
    let account = |version| Account::new(&rig.url()).unwrap().app("ios", version).unwrap();
    account("1.9").sign_up("ann@example.com", "Correct-Horse-7", "Ann").unwrap();
    let proof = || Proof::Password { email: "ann@example.com".into(), password: "Correct-Horse-7".into() };
    let device = || NewDevice {
        device: None,
        name: "Ann's phone".into(),
        platform: "ios".into(),
        app_version: "1.9".into(),
        public_key: None,
    };
    let credentials = account("1.9").sign_in(proof(), device()).unwrap();
    let keychain = CredentialsFile::new(rig.folder().join("login.json"));
    let refresher = Refresher::begin(keychain, credentials).unwrap().app("ios", "1.9").unwrap();
    let phone = Client::builder(rig.folder().join("phone")).signed_in(&refresher).open().unwrap();
    let statuses = Seen::default();
    let _watching = phone.on_status({
        let statuses = statuses.clone();
        move |status| statuses.see(status)
    });
    phone.start().unwrap();
    phone.sync_once(PATIENCE).unwrap();

    set_minimum(&rig, Some("2.0.0"));
    statuses.wait_for(0, &Status::Error(Trouble::UpgradeRequired));
    let required = AccountError::UpgradeRequired { update_url: Some(UPDATE_URL.into()) };
    assert_eq!(refresher.account().spaces().unwrap_err(), required);
    assert!(required.to_string().contains(&format!("update it at {UPDATE_URL};")), "{required}");
    assert_eq!(account("1.9").sign_in(proof(), device()).unwrap_err(), required);
    assert_eq!(phone.update_url().as_deref(), Some(UPDATE_URL), "whichever of them was told");
    let too_old = SyncError::UpgradeRequired { update_url: Some(UPDATE_URL.into()) };
    assert_eq!(phone.sync_once(PATIENCE).unwrap_err(), too_old);
    account("2.0.0").sign_in(proof(), device()).unwrap();

    let nonsense = Account::new(&rig.url()).unwrap().app("iOS", "1.0").err();
    assert!(matches!(nonsense, Some(AccountError::BadApp { .. })), "{nonsense:?}");
}

#[test]
fn who_does_not_say_what_it_is_is_served_and_nonsense_is_refused_at_once() {
    let rig = rig();
    set_minimum(&rig, Some("2.0.0"));
    rig.phone("ann", 1).sync_once(PATIENCE).unwrap();
    for (platform, version) in [("iOS", "1.0"), ("", "1.0"), ("ios", ""), ("ios", "1 0"), ("ios", "1\r\nx: y")] {
        let opened = rig.builder("ann", 3).server(rig.url()).app(platform, version).open();
        assert!(matches!(opened, Err(OpenError::BadApp { .. })), "{platform} {version}");
    }
    set_minimum(&rig, None);
    let phone = phone(&rig, 4, "1.0");
    let began = Instant::now();
    // Until the server has looked.
    while let Err(error) = phone.sync_once(PATIENCE) {
        assert!(matches!(error, SyncError::UpgradeRequired { .. }) && began.elapsed() < PATIENCE, "{error}");
    }
}
