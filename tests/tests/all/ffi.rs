//! The face that other languages see, from Rust: handles that were shut, foreign code that throws, hangs or lies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sync_client_ffi::ffi::{
    ChangeState, Document, DocumentEvent, DocumentObserver, EditOp, FfiValue, OpenOptions, RejoinClient, RejoinError,
    StatusObserver, SyncStatus, TokenProvider, TokenProviderError, Watch,
};
use sync_tests::rig::{PATIENCE, Rig, device};
use sync_tests::seen::Seen;

const PATIENCE_MS: u64 = PATIENCE.as_millis() as u64;

fn options(rig: &Rig, number: u8) -> OpenOptions {
    let path = rig.folder().join(format!("ffi-{number}")).display().to_string();
    let token = Some(rig.token("ann", device(number)));
    OpenOptions { server: Some(rig.url()), token, ..OpenOptions::at(path) }
}

fn phone(rig: &Rig, number: u8) -> Arc<RejoinClient> {
    RejoinClient::open_blocking(options(rig, number)).unwrap()
}

fn note(client: &RejoinClient) -> Arc<Document> {
    let note = client.create_document(client.personal_space().unwrap(), "notes".into()).unwrap();
    note.put("/body", FfiValue::Text { value: String::new() }).unwrap();
    note
}

#[derive(Clone, Default)]
struct Watching(Seen<DocumentEvent>);

impl DocumentObserver for Watching {
    fn on_event(&self, event: DocumentEvent) -> Result<(), RejoinError> {
        self.0.see(event);
        Ok(())
    }
}

#[test]
fn an_edit_goes_from_one_phone_to_the_other() {
    let rig = Rig::start();
    let (one, two) = (phone(&rig, 1), phone(&rig, 2));
    let written = note(&one);
    let ops = vec![
        EditOp::Splice { path: "/body".into(), at: 0, remove: 0, insert: "milk".into() },
        EditOp::PutJson { path: "/more".into(), json: r#"{"3":[1,2.5,null,true]}"#.into(), text: false },
        EditOp::Put { path: "/seen".into(), value: FfiValue::Counter { value: 0 } },
    ];
    let edit = written.edit(ops).unwrap();
    assert_eq!(written.edit_state(edit).unwrap(), ChangeState::Local);
    one.sync_once_blocking(PATIENCE_MS, None).unwrap();
    assert!(matches!(written.edit_state(edit).unwrap(), ChangeState::Durable { .. }));
    two.sync_once_blocking(PATIENCE_MS, None).unwrap();
    let read = two.document(two.personal_space().unwrap(), written.id()).unwrap();
    assert_eq!(read.json("").unwrap().unwrap(), r#"{"body":"milk","more":{"3":[1,2.5,null,true]},"seen":0}"#);
    assert_eq!(read.get("/more/~23/1").unwrap(), Some(FfiValue::Float { value: 2.5 }));
    assert_eq!(read.text("/body").unwrap().as_deref(), Some("milk"));
    assert_eq!((read.length("/body").unwrap(), read.length("/more/~23").unwrap()), (Some(4), Some(4)));
}

#[test]
fn what_cannot_be_done_says_so_and_does_nothing() {
    let rig = Rig::start();
    let client = phone(&rig, 1);
    let note = note(&client);
    let edits = note.edits().unwrap();
    let splice = |path: &str, at| note.splice(path, at, 0, "x".into()).unwrap_err();
    assert!(matches!(splice("body", 0), RejoinError::BadPath { .. }));
    let RejoinError::BadEdit { path: Some(path), text } = splice("/nothing", 0) else { panic!() };
    assert_eq!((path.as_str(), text.as_str()), ("/nothing", "there is no text at /nothing"));
    assert!(matches!(splice("/body", 9), RejoinError::BadEdit { .. }));
    assert!(matches!(note.edit(Vec::new()).unwrap_err(), RejoinError::BadEdit { path: None, .. }));
    let json = vec![EditOp::PutJson { path: "/x".into(), json: "{".into(), text: true }];
    assert!(matches!(note.edit(json).unwrap_err(), RejoinError::Invalid { .. }));
    assert_eq!(note.edits().unwrap(), edits);

    let other = sync_client_ffi::DocId::mint(1, [1; 10]);
    let missing = client.document(client.personal_space().unwrap(), other).err().unwrap();
    assert!(matches!(missing, RejoinError::NoDocument { document, .. } if document == other));
    let half = OpenOptions { user: Some("ann".into()), ..options(&rig, 3) };
    assert!(matches!(RejoinClient::open_blocking(half).err().unwrap(), RejoinError::Invalid { .. }));
    let locked = RejoinClient::open_blocking(options(&rig, 1)).err().unwrap();
    assert!(matches!(locked, RejoinError::StoreLocked { .. }), "{locked:?}");
}

#[test]
fn a_client_that_was_shut_gives_the_store_back_and_says_so_everywhere() {
    let rig = Rig::start();
    let client = phone(&rig, 1);
    let note = note(&client);
    client.start().unwrap();
    client.shutdown();
    client.shutdown();
    let closed = |error| assert!(matches!(error, RejoinError::Closed { .. }), "{error:?}");
    closed(note.json("").unwrap_err());
    closed(note.splice("/body", 0, 0, "x".into()).unwrap_err());
    closed(note.observe(Arc::new(Watching::default())).err().unwrap());
    closed(client.start().unwrap_err());
    closed(client.sync_once_blocking(1, None).unwrap_err());
    closed(client.status().unwrap_err());
    // While the old handles are still referred to.
    phone(&rig, 1).document(note.space(), note.id()).unwrap();
}

/// Fails in every way that there is, and calls back in.
struct Nasty {
    calls: AtomicU64,
    note: Arc<Document>,
    own: Mutex<Option<Arc<Watch>>>,
}

impl DocumentObserver for Nasty {
    fn on_event(&self, _: DocumentEvent) -> Result<(), RejoinError> {
        match self.calls.fetch_add(1, Ordering::SeqCst) {
            0 => Err(RejoinError::Other { text: "thrown".into() }),
            1 => panic!("a fault of the app"),
            2 => self.note.splice("/body", 0, 0, "from within".into()).map(drop),
            _ => {
                self.own.lock().unwrap().take().into_iter().for_each(|own| own.cancel());
                Ok(())
            }
        }
    }
}

#[test]
fn observers_may_throw_panic_call_back_in_and_end_themselves() {
    let rig = Rig::start();
    let client = phone(&rig, 1);
    let note = note(&client);
    let nasty = Arc::new(Nasty { calls: AtomicU64::new(0), note: note.clone(), own: Mutex::default() });
    *nasty.own.lock().unwrap() = Some(note.observe(nasty.clone()).unwrap());
    let watching = Watching::default();
    let _watch = note.observe(Arc::new(watching.clone())).unwrap();
    let mut seen = 0;
    while nasty.own.lock().unwrap().is_some() {
        note.splice("/body", 0, 0, "x".into()).unwrap();
        watching.0.wait_from(seen, |events| (!events.is_empty()).then_some(()));
        seen = watching.0.count();
        assert!(seen < 1_000);
    }
    let calls = nasty.calls.load(Ordering::SeqCst);
    note.splice("/body", 0, 0, "y".into()).unwrap();
    watching.0.wait_from(seen, |events| (!events.is_empty()).then_some(()));
    assert_eq!(nasty.calls.load(Ordering::SeqCst), calls, "it has ended itself");
    assert!(note.text("/body").unwrap().unwrap().contains("from within"));
}

#[derive(Clone, Default)]
struct Statuses(Seen<SyncStatus>);

impl StatusObserver for Statuses {
    fn on_status(&self, status: SyncStatus) -> Result<(), RejoinError> {
        self.0.see(status);
        Ok(())
    }
}

type Answer = Box<dyn Fn(u64, Option<String>) -> Result<String, TokenProviderError> + Send + Sync>;

struct Provider {
    asked: Seen<Option<String>>,
    inside: AtomicU64,
    answer: Answer,
}

#[async_trait::async_trait]
impl TokenProvider for Provider {
    async fn token(&self, refused: Option<String>) -> Result<String, TokenProviderError> {
        assert_eq!(self.inside.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
        tokio::task::yield_now().await;
        let number = self.asked.count() as u64;
        self.asked.see(refused.clone());
        let answer = (self.answer)(number, refused);
        self.inside.fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

fn provided(rig: &Rig, token: String, answer: Answer) -> (Arc<RejoinClient>, Arc<Provider>, Statuses) {
    let provider = Arc::new(Provider { asked: Seen::default(), inside: AtomicU64::new(0), answer });
    let given = OpenOptions { token: Some(token), token_provider: Some(provider.clone()), ..options(rig, 1) };
    let client = RejoinClient::open_blocking(given).unwrap();
    let statuses = Statuses::default();
    // The subscription lives as long as the test's process.
    std::mem::forget(client.observe_status(Arc::new(statuses.clone())).unwrap());
    client.start().unwrap();
    (client, provider, statuses)
}

#[test]
fn a_provider_that_fails_and_repeats_a_bad_token_is_asked_until_there_is_a_good_one() {
    let rig = Rig::start();
    let bad = rig.token_for("ann", device(1), Duration::ZERO);
    let (good, repeated) = (rig.token("ann", device(1)), bad.clone());
    let answer = move |number, refused: Option<String>| {
        assert_eq!(refused.as_ref(), Some(&repeated));
        match number {
            0 => Err(TokenProviderError::Unavailable { reason: "no network".into() }),
            1 => Ok(repeated.clone()),
            _ => Ok(good.clone()),
        }
    };
    let (client, provider, statuses) = provided(&rig, bad, Box::new(answer));
    note(&client);
    statuses.0.wait(|seen| seen.iter().any(|(_, status)| *status == SyncStatus::Idle).then_some(()));
    assert_eq!(provider.asked.count(), 3);
}

#[test]
fn a_provider_that_hangs_holds_up_neither_edits_nor_the_end() {
    struct Hangs(Seen<()>);
    #[async_trait::async_trait]
    impl TokenProvider for Hangs {
        async fn token(&self, _: Option<String>) -> Result<String, TokenProviderError> {
            self.0.see(());
            std::future::pending().await
        }
    }
    let rig = Rig::start();
    let provider = Arc::new(Hangs(Seen::default()));
    let bad = Some(rig.token_for("ann", device(1), Duration::ZERO));
    let given = OpenOptions { token: bad, token_provider: Some(provider.clone()), ..options(&rig, 1) };
    let client = RejoinClient::open_blocking(given).unwrap();
    client.start().unwrap();
    provider.0.wait(|seen| (!seen.is_empty()).then_some(()));
    let note = note(&client);
    let began = Instant::now();
    client.shutdown();
    assert!(began.elapsed() < Duration::from_secs(10), "it waits for nobody");
    phone(&rig, 1).document(note.space(), note.id()).unwrap();
}

#[test]
fn async_calls_need_no_runtime_of_the_caller() {
    let rig = Rig::start();
    let client = phone(&rig, 1);
    let note = note(&client);
    note.splice("/body", 0, 0, "milk".into()).unwrap();
    let summary = futures_util::future::FutureExt::now_or_never(client.sync_once(PATIENCE_MS, None));
    assert!(summary.is_none(), "it is done elsewhere, and was given up");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        client.sync_once(PATIENCE_MS, None).await.unwrap();
        assert!(client.wait_durable(client.personal_space().unwrap(), PATIENCE_MS).await.unwrap());
        assert!(note.wait_for_text("/body".into(), "milk".into(), PATIENCE_MS).await.unwrap());
    });
    assert!(began.elapsed() < PATIENCE / 2, "neither waits for a word that the other has taken");
}
