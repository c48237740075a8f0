//! The background session over a faulty transport.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use sync_core::id::{DeviceId, SpaceId};
use sync_core::session::{Ending, Failure, Status};
use sync_core::wire::{HealRequest, HealResponse, Limits, LiveRequest, LiveResponse, SCHEMA, SyncRequest, Welcome};

use crate::client::transport::{Answer, Line, Opening, Pending, Traffic, Transport};
use crate::client::{Client, lock};

const PATIENCE: Duration = Duration::from_mins(1);

/// Opens lines that break at the n-th frame, and answers nothing.
struct Faulty {
    device: DeviceId,
    takes: u64,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    opened: Mutex<u64>,
    changed: Condvar,
    said: AtomicU64,
    requests: AtomicU64,
}

struct FaultyLine {
    takes: u64,
    state: Arc<State>,
}

impl Transport for Faulty {
    fn send<'a>(&'a self, _: &'a SyncRequest, _: Option<String>, _: Option<usize>) -> Pending<'a, Answer> {
        self.state.requests.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Err(Failure::Unreachable) })
    }

    fn heal<'a>(&'a self, _: &'a HealRequest, _: Option<String>) -> Pending<'a, Answer<HealResponse>> {
        Box::pin(async { Err(Failure::Unreachable) })
    }

    fn open(&self, token: Option<String>) -> Pending<'_, Opening> {
        assert_eq!(token.as_deref(), Some("secret"));
        *lock(&self.state.opened) += 1;
        self.state.changed.notify_all();
        let (heartbeat_ms, token_expires_in_ms, limits) = (60_000, 3_600_000, Limits::default());
        let welcome = Welcome { schema: SCHEMA, device: self.device, heartbeat_ms, token_expires_in_ms, limits };
        let line: Box<dyn Line> = Box::new(FaultyLine { takes: self.takes, state: self.state.clone() });
        Box::pin(async { Ok((welcome, line)) })
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

impl Line for FaultyLine {
    fn say(&mut self, _: &LiveRequest) -> Result<(), Ending> {
        self.state.said.fetch_add(1, Ordering::Relaxed);
        if self.takes == 0 {
            return Err(Ending::Lost);
        }
        self.takes -= 1;
        Ok(())
    }

    fn poll_hear(&mut self, _: &mut Context<'_>) -> Poll<Result<LiveResponse, Ending>> {
        Poll::Pending
    }

    fn hang_up(&mut self) {}
}

impl State {
    fn wait_opened(&self, count: u64) {
        let waited = self.changed.wait_timeout_while(lock(&self.opened), PATIENCE, |opened| *opened < count);
        assert!(!waited.unwrap().1.timed_out(), "{count} connections in time");
    }
}

fn phone(folder: &tempfile::TempDir, takes: u64) -> (Client, Arc<State>, SpaceId) {
    let (device, state) = (DeviceId::from_random([1; 16]), Arc::<State>::default());
    let transport = Faulty { device, takes, state: state.clone() };
    let builder = Client::builder(folder.path().join("store")).identity("ann", device);
    let phone = builder.open_over(Some(Arc::new(transport))).unwrap();
    phone.set_token("secret");
    let space = phone.personal_space();
    (phone, state, space)
}

#[test]
fn a_line_that_takes_no_more_is_replaced_and_requests_are_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let (phone, state, space) = phone(&folder, 1);
    phone.start().unwrap();
    for count in 1..=3 {
        state.wait_opened(count);
        // What cannot be said ends the line; the next one begins with the same.
        phone.create(space, "notes").unwrap();
        phone.network_changed(true);
        phone.network_changed(true);
    }
    phone.stop();
    assert!(state.said.load(Ordering::Relaxed) >= 3);
    assert_eq!(state.requests.load(Ordering::Relaxed), 0);
    assert_eq!(phone.pending(space).unwrap().outbox_changes, 3);
}

#[test]
fn stopping_and_dropping_never_wait_for_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (phone, state, space) = phone(&folder, u64::MAX);
    phone.start().unwrap();
    phone.create(space, "notes").unwrap();
    state.wait_opened(1);
    assert_ne!(phone.status(), Status::Idle);
    phone.stop();
    phone.start().unwrap();
    state.wait_opened(2);
    phone.stop();
    drop(phone);
    // The store is nobody's any more.
    Client::builder(folder.path().join("store")).open().unwrap();
}

#[test]
fn an_exchange_that_begins_at_the_moment_of_a_stop_does_not_undo_it() {
    let folder = tempfile::tempdir().unwrap();
    let (phone, _state, _space) = phone(&folder, u64::MAX);
    let ended = Arc::new((Mutex::new(false), Condvar::new()));
    // A stop that is lost waits for ever: so it does here on a thread that nobody waits for.
    let (stopping, told) = (phone.clone(), ended.clone());
    std::thread::spawn(move || {
        for _ in 0..300 {
            stopping.start().unwrap();
            let asking = stopping.clone();
            let exchange = std::thread::spawn(move || asking.sync_once(Duration::ZERO));
            stopping.stop();
            exchange.join().unwrap().unwrap_err();
            stopping.stop();
        }
        *lock(&told.0) = true;
        told.1.notify_all();
    });
    let (done, _) = ended.1.wait_timeout_while(lock(&ended.0), PATIENCE, |done| !*done).unwrap();
    assert!(*done, "a stop was lost");
}
