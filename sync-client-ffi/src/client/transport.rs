//! How a server is reached: by plain requests, and by a live connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use sync_core::session::{Ending, Failure};
use sync_core::wire::{HealRequest, HealResponse, LiveRequest, LiveResponse, SyncRequest, SyncResponse, Welcome};

mod app;
mod foreign;
pub(super) mod http;
mod socket;
pub(super) mod tls;

pub(super) use app::App;
pub(super) use foreign::Foreign;
pub use foreign::{HttpAnswer, HttpPost, HttpStack, HttpWork};
pub(super) use http::Http;
pub use tls::{BadTrust, Trust};

/// Something under way, which is given up by dropping it.
pub(super) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What comes of a request.
pub(super) type Answer<T = SyncResponse> = Result<Box<T>, Failure>;

/// What comes of opening a live connection.
pub(super) type Opening = Result<(Welcome, Box<dyn Line>), Ending>;

/// How a server is reached; an object, so that a faulty one fits in tests.
pub(super) trait Transport: Send + Sync {
    /// Makes a plain request. Of an answer that is longer than `answer_bytes_max` nothing more is read.
    fn send<'a>(
        &'a self,
        request: &'a SyncRequest,
        token: Option<String>,
        answer_bytes_max: Option<usize>,
    ) -> Pending<'a, Answer>;

    /// The same, of what the server lost.
    fn heal<'a>(&'a self, request: &'a HealRequest, token: Option<String>) -> Pending<'a, Answer<HealResponse>>;

    /// Opens a live connection: it is open when the server has said hello.
    fn open(&self, token: Option<String>) -> Pending<'_, Opening>;

    fn traffic(&self) -> Traffic;

    /// Where the app is updated, once the server has found it too old.
    fn update_url(&self) -> Option<String> {
        None
    }
}

/// An open live connection; an object for the same reason.
pub(super) trait Line: Send {
    /// Takes a frame, and sends of what waits as much as the network takes at once: never waits. The rest goes as the line
    /// is listened to. Fails when too much waits.
    fn say(&mut self, frame: &LiveRequest) -> Result<(), Ending>;

    /// What the server says next. It is read off the network only when it is asked for here, so a client that is busy
    /// holds the server back, and keeps nothing in memory.
    fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Result<LiveResponse, Ending>>;

    /// Says goodbye, as far as that goes without waiting.
    fn hang_up(&mut self);
}

/// What went over the wire: bodies of requests and answers, and frames of live connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Plain requests begun.
    pub requests: u64,
    /// Live connections that were opened.
    pub connections: u64,
    /// Frames that were said on them.
    pub frames_sent: u64,
    /// Frames that were heard on them.
    pub frames_received: u64,
    /// Bytes of all that was sent.
    pub bytes_sent: u64,
    /// Bytes of all that was received.
    pub bytes_received: u64,
}

impl Traffic {
    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(before.requests),
            connections: self.connections.saturating_sub(before.connections),
            frames_sent: self.frames_sent.saturating_sub(before.frames_sent),
            frames_received: self.frames_received.saturating_sub(before.frames_received),
            bytes_sent: self.bytes_sent.saturating_sub(before.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(before.bytes_received),
        }
    }
}

/// Counts [`Traffic`].
#[derive(Debug, Default)]
pub(super) struct Meter {
    requests: AtomicU64,
    connections: AtomicU64,
    frames_sent: AtomicU64,
    frames_received: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl Meter {
    fn add(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            requests: read(&self.requests),
            connections: read(&self.connections),
            frames_sent: read(&self.frames_sent),
            frames_received: read(&self.frames_received),
            bytes_sent: read(&self.bytes_sent),
            bytes_received: read(&self.bytes_received),
        }
    }
}
