//! The writer over a store that waits, and fails, when it is told to.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use sync_core::feed::FeedHead;
use sync_core::heal::Lost;
use sync_core::id::{DeviceId, Hash};
use sync_core::ledger::Role;
use sync_core::log::{Cursor, ReceiptKey};
use sync_core::wire::PushAnswer;
use tokio::sync::mpsc;

use super::*;
use crate::bus::memory::MemoryBus;
use crate::store::idempotency::{Claim, ClaimToken, KeptAnswer, NewClaim, RequestKey};
use crate::store::{Committed, Healed, PageAnswer, PageRequest, SpaceVersion};

/// Tells of each group, and waits for the word what to do with it.
struct Told {
    groups: mpsc::UnboundedSender<(SpaceId, usize)>,
    words: tokio::sync::Mutex<mpsc::UnboundedReceiver<Word>>,
}

enum Word {
    Commit,
    Fail,
    Panic,
}

#[async_trait]
impl Store for Told {
    async fn commit(&self, space: SpaceId, pushes: Vec<Push>) -> Result<Committed, StoreError> {
        self.groups.send((space, pushes.len())).unwrap();
        match self.words.lock().await.recv().await.unwrap() {
            Word::Commit => {
                let answers = pushes.iter().map(|push| PushAnswer::Behind { acked: push.base }).collect();
                let start = Cursor::start(space);
                Ok(Committed { answers, before: start, head: start, entries: Vec::new(), received_ms: 0 })
            }
            Word::Fail => Err(StoreError::Unavailable("full".into())),
            Word::Panic => panic!("on purpose"),
        }
    }

    async fn take_back(&self, _: SpaceId, _: Vec<Lost>) -> Result<Healed, StoreError> {
        Err(StoreError::UnknownSpace)
    }

    async fn places(&self, _: SpaceId, _: Vec<u64>) -> Result<(Cursor, Vec<Cursor>), StoreError> {
        Err(StoreError::UnknownSpace)
    }

    async fn page(&self, _: SpaceId, _: PageRequest) -> Result<PageAnswer, StoreError> {
        Err(StoreError::UnknownSpace)
    }

    async fn version(&self, _: SpaceId) -> Result<SpaceVersion, StoreError> {
        Err(StoreError::UnknownSpace)
    }

    async fn heads(&self, _: &[SpaceId]) -> Result<Vec<(SpaceId, Cursor)>, StoreError> {
        Err(StoreError::UnknownSpace)
    }

    async fn role(&self, _: SpaceId, _: &str) -> Result<Option<Role>, StoreError> {
        Ok(None)
    }

    async fn ensure_personal(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn set_role(&self, _: SpaceId, _: &str, _: Option<Role>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn spaces_of(&self, _: &str) -> Result<Vec<(SpaceId, Role)>, StoreError> {
        Ok(Vec::new())
    }

    async fn claim(&self, _: NewClaim) -> Result<Claim, StoreError> {
        Ok(Claim::Fresh)
    }

    async fn settle(&self, _: RequestKey, _: ClaimToken, _: KeptAnswer, _: Duration) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn release(&self, _: RequestKey, _: ClaimToken) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

struct Stage {
    writer: Writer,
    groups: mpsc::UnboundedReceiver<(SpaceId, usize)>,
    words: mpsc::UnboundedSender<Word>,
    waiting: VecDeque<tokio::task::JoinHandle<Result<PushAnswer, StoreError>>>,
}

fn space(number: u8) -> SpaceId {
    SpaceId::from_bytes([number; 16])
}

/// A push that its answer can be told by.
fn push(n: u64) -> Push {
    let base = FeedHead { n, chain: Hash([0; 32]) };
    let device = DeviceId::from_bytes([0; 16]);
    Push { user: "ann".to_owned(), device, base, links: Vec::new(), candidates: Vec::new(), active_since_ms: 0 }
}

impl Stage {
    fn new() -> Self {
        let (sender, groups) = mpsc::unbounded_channel();
        let (words, receiver) = mpsc::unbounded_channel();
        let store = Told { groups: sender, words: tokio::sync::Mutex::new(receiver) };
        let publisher = Publisher::new(Arc::new(MemoryBus::new()), ReceiptKey::new([0; 32]));
        Self { writer: Writer::new(Arc::new(store), publisher), groups, words, waiting: VecDeque::new() }
    }

    /// Submits, and returns when the push waits for the store.
    async fn submit(&mut self, space: SpaceId, n: u64) {
        let before = self.writer.0.room.available_permits();
        let writer = self.writer.clone();
        self.waiting.push_back(tokio::spawn(async move { writer.submit(space, push(n)).await }));
        while self.writer.0.room.available_permits() == before {
            tokio::task::yield_now().await;
        }
    }

    fn say(&self, word: Word) {
        assert!(self.words.send(word).is_ok());
    }

    async fn answer(&mut self) -> Result<PushAnswer, StoreError> {
        self.waiting.pop_front().unwrap().await.unwrap()
    }
}

fn is_of(n: u64, answer: Result<PushAnswer, StoreError>) -> bool {
    matches!(answer, Ok(PushAnswer::Behind { acked }) if acked.n == n)
}

#[tokio::test]
async fn what_arrives_during_a_commit_is_the_next_group() {
    let mut stage = Stage::new();
    stage.submit(space(1), 0).await;
    assert_eq!(stage.groups.recv().await, Some((space(1), 1)));
    for n in 1..=3 {
        stage.submit(space(1), n).await;
    }
    stage.submit(space(2), 4).await;
    assert_eq!(stage.groups.recv().await, Some((space(2), 1)), "spaces do not wait for each other");
    (0..3).for_each(|_| stage.say(Word::Commit));
    assert_eq!(stage.groups.recv().await, Some((space(1), 3)));
    for n in 0..=4 {
        assert!(is_of(n, stage.answer().await), "each push gets its own answer");
    }
}

#[tokio::test]
async fn a_group_that_fails_is_refused_and_the_next_one_is_not() {
    let mut stage = Stage::new();
    for word in [Word::Fail, Word::Panic] {
        stage.submit(space(1), 0).await;
        stage.groups.recv().await.unwrap();
        stage.say(word);
        assert!(matches!(stage.answer().await, Err(StoreError::Unavailable(_))));
        stage.submit(space(1), 1).await;
        stage.groups.recv().await.unwrap();
        stage.say(Word::Commit);
        assert!(is_of(1, stage.answer().await));
    }
}

#[tokio::test]
async fn a_full_queue_says_so_and_groups_are_bounded() {
    let mut stage = Stage::new();
    for n in 0..WRITER_QUEUE_MAX as u64 {
        stage.submit(space(1), n).await;
    }
    assert!(matches!(stage.writer.submit(space(2), push(0)).await, Err(StoreError::Busy)));
    (0..WRITER_QUEUE_MAX).for_each(|_| stage.say(Word::Commit));
    for n in 0..WRITER_QUEUE_MAX as u64 {
        assert!(is_of(n, stage.answer().await));
    }
    let mut total = 0;
    while total < WRITER_QUEUE_MAX {
        let (_, size) = stage.groups.recv().await.unwrap();
        assert!(size <= GROUP_PUSHES_MAX);
        total += size;
    }
}

#[tokio::test]
async fn draining_answers_what_waits_and_refuses_what_comes() {
    let mut stage = Stage::new();
    stage.submit(space(1), 0).await;
    let draining = tokio::spawn({
        let writer = stage.writer.clone();
        async move { writer.drain().await }
    });
    while !stage.writer.0.closed.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    assert!(matches!(stage.writer.submit(space(1), push(1)).await, Err(StoreError::Unavailable(_))));
    assert!(!draining.is_finished());
    stage.say(Word::Commit);
    assert!(is_of(0, stage.answer().await));
    draining.await.unwrap();
}
