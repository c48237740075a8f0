//! A client that synchronises with tokens of a refresher, against a real server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sync_client_ffi::account::{AccountError, Refresher, Standing};
use sync_client_ffi::{Client, Doc, Status, SyncError, Value};
use sync_core::wire::{ErrorCode, LiveRequest, LiveResponse};
use sync_tests::desk::{Answers, Desk, Presented, Rules};
use sync_tests::fake::{Fake, Says};
use sync_tests::rig::{PATIENCE, Rig, device};
use sync_tests::seen::Seen;

use super::{LONG, Memory, rules, spent};

/// Long enough for a loaded machine to renew in its last quarter.
const SHORT: Duration = Duration::from_secs(12);

/// A desk that gives tokens which the server takes, each once more for `lifetime`.
fn desk_of(rig: &Rig, rules: &Arc<Rules>, lifetime: Duration) -> Desk {
    let (rules, mint) = (rules.clone(), rig.minter("ann", device(1), lifetime));
    Desk::start(move |asked| rules.answer(asked, |_| mint()))
}

fn phone(rig: &Rig, refresher: &Refresher) -> Client {
    rig.builder("ann", 1).signed_in(refresher).server(rig.url()).open().unwrap()
}

fn note(client: &Client) -> Doc {
    let doc = client.create(client.personal_space(), "notes").unwrap();
    write(&doc, "hello");
    doc
}

fn write(doc: &Doc, text: &str) {
    doc.edit(|edit| {
        edit.put("body", Value::Text(text.to_owned()));
    })
    .unwrap();
}

#[test]
fn one_exchange_renews_a_spent_token_first() {
    let (rig, rules) = (Rig::start(), rules(LONG));
    let desk = desk_of(&rig, &rules, LONG);
    let refresher = super::refresher(&desk, &Memory::default());
    let client = phone(&rig, &refresher);
    note(&client);
    client.sync_once(PATIENCE).unwrap();
    client.sync_once(PATIENCE).unwrap();
    assert_eq!(client.pending(client.personal_space()).unwrap().outbox_changes, 0);
    assert_eq!(rules.presented(), [Presented::Rotated]);
}

#[test]
fn one_exchange_whose_token_is_refused_is_made_with_another() {
    let (rig, rules) = (Rig::start(), rules(LONG));
    let desk = desk_of(&rig, &rules, LONG);
    let mut good_by_the_clock = spent(&desk.url());
    good_by_the_clock.access_expires_ms = u64::MAX;
    let refresher = Refresher::begin(Memory::default(), good_by_the_clock).unwrap();
    let client = phone(&rig, &refresher);
    note(&client);
    client.sync_once(PATIENCE).unwrap();
    assert!(rules.presented().len() <= 2, "{:?}", rules.presented());
}

#[test]
fn a_live_client_outlives_its_tokens_on_one_connection() {
    let (rig, rules) = (Rig::start(), rules(SHORT));
    let desk = desk_of(&rig, &rules, SHORT);
    let refresher = super::refresher(&desk, &Memory::default());
    // The first token is there before the first connection is made.
    refresher.token().unwrap();
    let client = phone(&rig, &refresher);
    let doc = note(&client);
    client.start().unwrap();
    let space = client.personal_space();
    // Beyond the end of the first token and of the second, with something to send all the time.
    let until = Instant::now() + SHORT + SHORT / 2;
    while Instant::now() < until {
        write(&doc, &format!("{:?}", Instant::now()));
        assert!(client.wait_acknowledged(space, PATIENCE));
    }
    assert_eq!((client.traffic().connections, client.traffic().requests), (1, 0));
    let renewals = rules.presented().len();
    assert!((3..=8).contains(&renewals), "{renewals} renewals");
    assert!(rules.presented().iter().all(|presented| *presented == Presented::Rotated));
}

#[test]
fn a_session_that_ends_stops_asking_and_edits_go_on_until_somebody_signs_in_again() {
    let (rig, rules) = (Rig::start(), rules(LONG));
    let mint = rig.minter("ann", device(1), LONG);
    let (answering, revoked) = (rules.clone(), Arc::new(AtomicBool::new(true)));
    let is_revoked = revoked.clone();
    let desk = Desk::start(move |asked| {
        if is_revoked.load(Ordering::SeqCst) {
            return Answers::refusal(401, ErrorCode::DeviceRevoked);
        }
        answering.answer(asked, |_| mint())
    });
    let refresher = super::refresher(&desk, &Memory::default());
    let standings = Seen::default();
    let told = standings.clone();
    let standing = refresher.on_standing(move |standing| told.see(standing.clone()));
    let client = phone(&rig, &refresher);
    let statuses = Seen::default();
    let told = statuses.clone();
    let status = client.on_status(move |status| told.see(status));
    client.start().unwrap();
    standings.wait_for(0, &Standing::Ended(AccountError::DeviceRevoked));
    statuses.wait_for(0, &Status::NeedsAuth);
    let doc = note(&client);
    assert_eq!(client.sync_once(PATIENCE).unwrap_err(), SyncError::NeedsAuth);
    assert_eq!(desk.asked.count(), 1, "it goes on asking");
    assert_eq!(doc.text("body").unwrap().as_deref(), Some("hello"));
    // The user signs in again: what was written meanwhile goes out by itself.
    revoked.store(false, Ordering::SeqCst);
    let mut again = spent(&desk.url());
    again.access_token = rig.token("ann", device(1)).as_str().into();
    again.access_expires_ms = u64::MAX;
    refresher.signed_in_again(again).unwrap();
    assert!(client.wait_acknowledged(client.personal_space(), PATIENCE));
    assert_eq!(refresher.standing(), Standing::SignedIn);
    drop((standing, status));
}

#[test]
fn offline_it_waits_and_comes_back_by_itself() {
    let (rig, rules) = (Rig::start(), rules(LONG));
    let mint = rig.minter("ann", device(1), LONG);
    let (answering, turns) = (rules.clone(), AtomicU64::new(0));
    let desk = Desk::start(move |asked| match turns.fetch_add(1, Ordering::SeqCst) {
        0 => Answers::refusal(503, ErrorCode::Unavailable),
        1..=4 => Answers::Silence,
        _ => answering.answer(asked, |_| mint()),
    });
    let refresher = super::refresher(&desk, &Memory::default());
    let client = phone(&rig, &refresher);
    note(&client);
    client.start().unwrap();
    assert!(client.wait_acknowledged(client.personal_space(), PATIENCE));
    assert_eq!(rules.presented(), [Presented::Rotated]);
}

#[test]
fn a_server_that_always_wants_another_token_is_not_hammered() {
    let rules = rules(LONG);
    let desk = super::desk(&rules);
    let server = Fake::start(|request| match request {
        LiveRequest::Hello { .. } => vec![Says::hello(device(1)), expires()],
        LiveRequest::Token { .. } => vec![expires()],
        _ => vec![],
    });
    let refresher = super::refresher(&desk, &Memory::default());
    let folder = tempfile::tempdir().unwrap();
    let client = Client::builder(folder.path().join("s")).signed_in(&refresher).server(server.url()).open().unwrap();
    client.start().unwrap();
    let times: Vec<Instant> =
        desk.asked.wait(|asked| (asked.len() >= 5).then(|| asked.iter().map(|(at, _)| *at).collect()));
    drop(client);
    // Between them lie random waits whose bounds double from a second; without them it takes a tenth of this.
    let span = times[4] - times[0];
    assert!(span > Duration::from_millis(300), "five renewals in {span:?}");
}

fn expires() -> Says {
    Says::frame(&LiveResponse::TokenExpires { in_ms: 1 })
}

#[test]
fn an_app_that_is_closed_closes_its_store() {
    let (rig, rules) = (Rig::start(), rules(SHORT));
    let desk = desk_of(&rig, &rules, SHORT);
    let refresher = super::refresher(&desk, &Memory::default());
    let client = phone(&rig, &refresher);
    client.start().unwrap();
    client.stop();
    drop(client);
    // The refresher keeps no client alive: the store can be opened again at once.
    drop(phone(&rig, &refresher));
}
