//! A phone that does one thing at a time, when it is told to: the client and its background session, driven by a simulation in
//! the place of a thread, and over a network that is the simulation's.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use sync_core::session::{Ending, Event, Failure};
use sync_core::wire::{HealRequest, HealResponse, LiveRequest, LiveResponse, SyncRequest, SyncResponse, Welcome};

use super::Until;
use super::drive::Runner;
use crate::client::error::OpenError;
use crate::client::transport::{Answer, Line, Opening, Pending, Traffic, Transport};
use crate::client::{Client, ClientBuilder, lock, store};

thread_local! {
    // Patience is the simulation's: nothing here ever waits, but timeouts want to know a clock.
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime without threads");
}

/// What a phone asks of the network. Tickets are never given twice.
#[derive(Debug)]
pub enum Asked {
    /// A plain request.
    Sync {
        /// By which it is answered.
        ticket: u64,
        /// What.
        request: Box<SyncRequest>,
        /// In whose name.
        token: Option<String>,
    },
    /// The same, of what the server lost.
    Heal {
        /// By which it is answered.
        ticket: u64,
        /// What.
        request: Box<HealRequest>,
        /// In whose name.
        token: Option<String>,
    },
    /// A live connection.
    Open {
        /// By which it is answered, and goes by from then on.
        ticket: u64,
        /// In whose name.
        token: Option<String>,
    },
    /// A frame on it.
    Say {
        /// The connection.
        line: u64,
        /// What.
        frame: Box<LiveRequest>,
    },
    /// Its end.
    HangUp {
        /// The connection.
        line: u64,
    },
}

/// What comes of it.
#[derive(Debug)]
pub enum Answered {
    /// Of a plain request.
    Sync(Result<Box<SyncResponse>, Failure>),
    /// Of one about what the server lost.
    Heal(Result<Box<HealResponse>, Failure>),
    /// Of opening a live connection.
    Open(Result<Welcome, Ending>),
}

#[derive(Default)]
struct Wire {
    last: u64,
    asked: Vec<Asked>,
    answers: BTreeMap<u64, Answered>,
    lines: BTreeMap<u64, VecDeque<Result<LiveResponse, Ending>>>,
}

/// The network as the phone sees it.
#[derive(Clone, Default)]
struct Net(Arc<Mutex<Wire>>);

impl Net {
    fn ask(&self, ask: impl FnOnce(u64) -> Asked) -> u64 {
        let mut wire = lock(&self.0);
        wire.last += 1;
        let ticket = wire.last;
        wire.asked.push(ask(ticket));
        ticket
    }

    async fn answer(self, ticket: u64) -> Answered {
        std::future::poll_fn(|_| match lock(&self.0).answers.remove(&ticket) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await
    }
}

impl Transport for Net {
    fn send<'a>(&'a self, request: &'a SyncRequest, token: Option<String>, _: Option<usize>) -> Pending<'a, Answer> {
        let ticket = self.ask(|ticket| Asked::Sync { ticket, request: Box::new(request.clone()), token });
        let answer = self.clone().answer(ticket);
        Box::pin(async {
            match answer.await {
                Answered::Sync(answer) => answer,
                _ => Err(Failure::Unreachable),
            }
        })
    }

    fn heal<'a>(&'a self, request: &'a HealRequest, token: Option<String>) -> Pending<'a, Answer<HealResponse>> {
        let ticket = self.ask(|ticket| Asked::Heal { ticket, request: Box::new(request.clone()), token });
        let answer = self.clone().answer(ticket);
        Box::pin(async {
            match answer.await {
                Answered::Heal(answer) => answer,
                _ => Err(Failure::Unreachable),
            }
        })
    }

    fn open(&self, token: Option<String>) -> Pending<'_, Opening> {
        let ticket = self.ask(|ticket| Asked::Open { ticket, token });
        let (net, answer) = (self.clone(), self.clone().answer(ticket));
        Box::pin(async move {
            let Answered::Open(opened) = answer.await else { return Err(Ending::Lost) };
            let welcome = opened?;
            lock(&net.0).lines.insert(ticket, VecDeque::new());
            let line: Box<dyn Line> = Box::new(Open { net, line: ticket });
            Ok((welcome, line))
        })
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

struct Open {
    net: Net,
    line: u64,
}

impl Line for Open {
    fn say(&mut self, frame: &LiveRequest) -> Result<(), Ending> {
        lock(&self.net.0).asked.push(Asked::Say { line: self.line, frame: Box::new(frame.clone()) });
        Ok(())
    }

    fn poll_hear(&mut self, _: &mut Context<'_>) -> Poll<Result<LiveResponse, Ending>> {
        match lock(&self.net.0).lines.get_mut(&self.line).and_then(VecDeque::pop_front) {
            Some(heard) => Poll::Ready(heard),
            None => Poll::Pending,
        }
    }

    fn hang_up(&mut self) {}
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut wire = lock(&self.net.0);
        wire.lines.remove(&self.line);
        wire.asked.push(Asked::HangUp { line: self.line });
    }
}

/// Makes a store that belongs to nobody yet, to be copied: that takes less than making one.
pub fn make_store(path: &Path) -> Result<(), OpenError> {
    store::create_or_open(path).map(drop)
}

/// A phone, with its session.
pub struct Phone {
    client: Client,
    runner: Runner,
    net: Net,
    round: u64,
}

impl Phone {
    /// Opens a store, and begins a session.
    pub fn open(builder: ClientBuilder, live: bool) -> Result<Self, OpenError> {
        let net = Net::default();
        let client = builder.open_over(Some(Arc::new(net.clone())))?;
        client.shared.inbox.anew(false);
        super::drive::offer_again(&client.shared);
        let runner = Runner::new(Until::Stopped, live, Instant::now());
        Ok(Self { client, runner, net, round: 0 })
    }

    /// The client, as an app has it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Does what there is to do now. Gives when there will be something again, if nothing happens before.
    pub fn turn(&mut self) -> Option<u64> {
        RUNTIME.with(|runtime| {
            let _inside = runtime.enter();
            self.runner.turn(&self.client.shared, &mut self.round)
        })
    }

    /// What it has asked of the network since the last time.
    pub fn asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut lock(&self.net.0).asked)
    }

    /// Answers it.
    pub fn answer(&mut self, ticket: u64, answer: Answered) {
        lock(&self.net.0).answers.insert(ticket, answer);
    }

    /// A frame comes on a live connection, or its end; `false` where it is not open here.
    pub fn hear(&mut self, line: u64, heard: Result<LiveResponse, Ending>) -> bool {
        match lock(&self.net.0).lines.get_mut(&line) {
            Some(waiting) => {
                waiting.push_back(heard);
                true
            }
            None => false,
        }
    }

    /// The app wants an exchange.
    pub fn sync_now(&self) {
        self.client.shared.inbox.sync_now();
    }

    /// Whether there is nothing left to exchange, and nothing under way.
    pub fn is_quiet(&self) -> bool {
        self.runner.is_quiet()
    }
}

impl Runner {
    fn turn(&mut self, shared: &Arc<crate::client::Shared>, round: &mut u64) -> Option<u64> {
        loop {
            for event in shared.inbox.events(round).unwrap_or_default() {
                if matches!(event, Event::Foreground(true)) {
                    super::drive::offer_again(shared);
                }
                self.handle(shared, event);
            }
            self.pace.merge_due(shared);
            let mut context = Context::from_waker(Waker::noop());
            let event = match self.poll(&mut context) {
                Some(event) => event,
                None if self.wake_at_ms.is_some_and(|at_ms| at_ms <= self.clock.now_ms()) => {
                    self.wake_at_ms = None;
                    Event::Timer
                }
                None => return self.wake_at_ms,
            };
            self.handle(shared, event);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Option<Event> {
        if let Poll::Ready(event) = self.connection.poll_next(context) {
            return Some(event);
        }
        let asked = self.request.as_mut()?;
        let Poll::Ready(event) = asked.answered.as_mut().poll(context) else { return None };
        self.request = None;
        Some(event)
    }

    fn is_quiet(&self) -> bool {
        self.request.is_none() && self.session.is_quiet(self.clock.now_ms())
    }
}
