//! A live session over a virtual clock: a small store, a small server that keeps connections, and a network that fails on
//! purpose.

use std::collections::{BTreeMap, VecDeque};

use sync_core::check::Push;
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::id::{DeviceId, SpaceId};
use sync_core::log::ReceiptKey;
use sync_core::session::{
    Collected, Effect, Ending, Event, Failure, FeedState, Meaning, Session, Status, StoreOutcome,
};
use sync_core::session::{Trouble, meaning};
use sync_core::wire::{
    Entries, ErrorCode, ErrorResponse, Limits, LiveRequest, LiveResponse, Page, PageEntry, Peer, PullAnswer, SCHEMA,
    SpaceHead, SyncRequest, SyncResponse, Welcome,
};

use crate::cases::{device, doc};
use crate::rng::Rng;
use crate::server::Server;

pub const HEARTBEAT_MS: u64 = 5_000;

pub fn space(number: u8) -> SpaceId {
    SpaceId::from_bytes([number; 16])
}

/// What one space is on the phone.
pub struct Store {
    items: Vec<Item>,
    heads: Vec<FeedHead>,
    /// When each item was made, and when it first left.
    pub made_ms: Vec<u64>,
    pub left_ms: Vec<Option<u64>>,
    acked: FeedHead,
    sent: u64,
    pub at: u64,
}

type Refuses = Box<dyn FnMut(u64, &LiveRequest) -> Option<ErrorCode>>;

/// Who decides what the network and the server do.
pub struct Fate {
    pub latency_ms: u64,
    pub opens: Box<dyn FnMut(u64) -> Result<(), Ending>>,
    pub requests: Box<dyn FnMut(u64) -> Option<Failure>>,
    /// Which frames of the client are refused.
    pub refuses: Refuses,
    /// Whether a page that was to be sent by itself is forgotten.
    pub forgets: Box<dyn FnMut() -> bool>,
    pub beats: bool,
}

pub struct World {
    pub session: Session,
    pub device: DeviceId,
    pub now_ms: u64,
    pub rng: Rng,
    pub fate: Fate,
    events: BTreeMap<(u64, u64), Happening>,
    count: u64,
    wake_ms: Option<u64>,
    pub wakes: u64,
    pub stores: BTreeMap<SpaceId, Store>,
    pub servers: BTreeMap<SpaceId, Server>,
    pub link: Option<u64>,
    arrives_ms: u64,
    reaches_ms: u64,
    /// Whether the session knows that it is open.
    is_open: bool,
    /// How far each followed space was sent.
    pub following: BTreeMap<SpaceId, u64>,
    pub opens: Vec<u64>,
    pub said: Vec<(u64, LiveRequest)>,
    pub requests: Vec<(u64, SpaceId)>,
    pub refreshes: usize,
    pub renewals: usize,
    pub peers: Vec<Peer>,
    pub barred: Vec<SpaceId>,
    pub statuses: Vec<Status>,
}

/// What happens later.
enum Happening {
    Tell(Event),
    /// A frame reaches the phone, if its connection still is.
    Arrive(u64, Box<LiveResponse>),
    /// A frame reaches the server.
    Reach(u64, LiveRequest),
    Beat(u64),
}

impl World {
    pub fn new(spaces: u8, seed: u64) -> Self {
        Self::opening(spaces, seed, |_| Ok(()))
    }

    pub fn opening(spaces: u8, seed: u64, opens: impl FnMut(u64) -> Result<(), Ending> + 'static) -> Self {
        let device = device(1);
        let store = |space| {
            let start = FeedHead::start(space, device);
            let (items, heads) = (Vec::new(), vec![start]);
            Store { items, heads, made_ms: Vec::new(), left_ms: Vec::new(), acked: start, sent: 0, at: 0 }
        };
        let mut world = Self {
            session: Session::live(),
            device,
            now_ms: 1_000_000,
            rng: Rng(seed),
            fate: Fate {
                latency_ms: 10,
                opens: Box::new(opens),
                requests: Box::new(|_| None),
                refuses: Box::new(|_, _| None),
                forgets: Box::new(|| false),
                beats: true,
            },
            events: BTreeMap::new(),
            count: 0,
            wake_ms: None,
            wakes: 0,
            stores: (1..=spaces).map(|at| (space(at), store(space(at)))).collect(),
            servers: (1..=spaces).map(|at| (space(at), Server::new(space(at)))).collect(),
            link: None,
            arrives_ms: 0,
            reaches_ms: 0,
            is_open: false,
            following: BTreeMap::new(),
            opens: Vec::new(),
            said: Vec::new(),
            requests: Vec::new(),
            refreshes: 0,
            renewals: 0,
            peers: Vec::new(),
            barred: Vec::new(),
            statuses: Vec::new(),
        };
        for at in 1..=spaces {
            world.tell(Event::SpaceAdded(space(at)));
        }
        world
    }

    fn later(&mut self, delay_ms: u64, happening: Happening) {
        let mut at_ms = self.now_ms + delay_ms;
        // Frames of a connection do not overtake each other.
        let last_ms = match happening {
            Happening::Arrive(..) => Some(&mut self.arrives_ms),
            Happening::Reach(..) => Some(&mut self.reaches_ms),
            _ => None,
        };
        if let Some(last_ms) = last_ms {
            at_ms = at_ms.max(*last_ms);
            *last_ms = at_ms;
        }
        self.count += 1;
        self.events.insert((at_ms, self.count), happening);
    }

    pub fn tell(&mut self, event: Event) {
        if let Event::Opened(link, _) = &event {
            self.is_open |= self.link == Some(*link);
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let rng = &mut self.rng;
            let effects = self.session.handle(event, self.now_ms, &mut || rng.next());
            let works = |effect: &&Effect| {
                matches!(effect, Effect::Collect { .. } | Effect::Store { .. } | Effect::Send { .. })
            };
            assert!(effects.iter().filter(works).count() <= 1, "one thing at a time: {effects:?}");
            for effect in effects {
                events.extend(self.effect(effect));
            }
        }
    }

    /// Does it; gives what the session hears of it at once.
    fn effect(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Collect { space, bytes_max, again, .. } => {
                let run = self.collect(space, bytes_max, again);
                return Some(Event::Collected(
                    space,
                    Collected { run, cursor: None, own: false, snapshots: None, wish: None },
                ));
            }
            Effect::Store { space, response } => {
                let outcome = self.store(space, &response);
                return Some(Event::Stored(space, outcome));
            }
            Effect::Send { id, request, .. } => {
                assert!(self.link.is_none() || !self.is_open, "no plain requests beside an open connection");
                self.requests.push((self.now_ms, request.space));
                let answer = match (self.fate.requests)(self.now_ms) {
                    Some(failure) => Err(failure),
                    None => Ok(Box::new(self.serve(&request))),
                };
                self.later(self.fate.latency_ms, Happening::Tell(Event::Answered(id, answer)));
            }
            Effect::Open { link } => {
                assert!(self.link.is_none(), "one connection at a time");
                self.opens.push(self.now_ms);
                let event = match (self.fate.opens)(self.now_ms) {
                    Ok(()) => {
                        let (limits, device) = (Limits::default(), self.device);
                        let (heartbeat_ms, token_expires_in_ms) = (HEARTBEAT_MS, 3_600_000);
                        let welcome = Welcome { schema: SCHEMA, device, heartbeat_ms, token_expires_in_ms, limits };
                        (self.link, self.is_open) = (Some(link), false);
                        (self.arrives_ms, self.reaches_ms) = (0, 0);
                        self.following.clear();
                        self.later(HEARTBEAT_MS, Happening::Beat(link));
                        Event::Opened(link, welcome)
                    }
                    Err(ending) => Event::Closed(link, ending),
                };
                self.later(self.fate.latency_ms, Happening::Tell(event));
            }
            Effect::Say { link, frame } => {
                self.said.push((self.now_ms, (*frame).clone()));
                if self.link == Some(link) {
                    self.later(self.fate.latency_ms, Happening::Reach(link, *frame));
                }
            }
            Effect::SayToken { .. } => self.renewals += 1,
            Effect::Shut { link } => {
                if self.link == Some(link) {
                    self.link = None;
                }
            }
            Effect::Peers { peers, .. } => self.peers.extend(peers),
            Effect::Barred { space } => self.barred.push(space),
            Effect::Heal { .. } | Effect::Ask { .. } => panic!("no server here lost anything: {effect:?}"),
            Effect::Wake { at_ms } => {
                assert!(at_ms > self.now_ms, "a wish to be woken now would be a loop");
                self.wake_ms = Some(at_ms);
            }
            Effect::RefreshToken => self.refreshes += 1,
            Effect::Status(status) => {
                assert_ne!(self.statuses.last(), Some(&status), "the app hears of changes only");
                self.statuses.push(status);
            }
        }
        None
    }

    fn collect(&mut self, space: SpaceId, bytes_max: usize, again: bool) -> Option<Run> {
        let (now_ms, device) = (self.now_ms, self.device);
        let store = self.stores.get_mut(&space)?;
        let from = if again { store.acked.n } else { store.sent.max(store.acked.n) };
        let mut bytes = 0;
        let fits = |item: &&Item| {
            bytes += item.payload_bytes();
            bytes <= bytes_max || bytes == item.payload_bytes()
        };
        let items: Vec<Item> = store.items[from as usize..].iter().take_while(fits).cloned().collect();
        store.sent = from + items.len() as u64;
        for left in &mut store.left_ms[from as usize..store.sent as usize] {
            left.get_or_insert(now_ms);
        }
        (!items.is_empty()).then(|| Run { device, base: store.heads[from as usize], items })
    }

    fn store(&mut self, space: SpaceId, response: &SyncResponse) -> StoreOutcome {
        let Some(store) = self.stores.get_mut(&space) else { return StoreOutcome::Failed };
        if let Some(answer) = &response.push {
            let feed = FeedState { head: store.heads[store.items.len()], acked: store.acked };
            let own = store.heads.get(answer.acked().n as usize).map(|head| head.chain);
            match meaning(feed, answer, own) {
                Meaning::Acknowledged(acked) => store.acked = acked,
                Meaning::SendFrom(acked) => {
                    store.acked = acked;
                    store.sent = acked.n;
                }
                Meaning::Trouble(trouble) => return StoreOutcome::Trouble(trouble),
            }
        }
        let mut more = store.items.len() as u64 > store.acked.n;
        if let Some(PullAnswer::Page(page)) = &response.pull {
            let first = page.next.seq - page.entries.0.len() as u64;
            if first > store.at {
                return StoreOutcome::Gap;
            }
            store.at = store.at.max(page.next.seq);
            more |= page.more;
        }
        StoreOutcome::Done { more, at: store.at }
    }

    fn page(&self, space: SpaceId, since: u64, max: usize) -> Page {
        let server = &self.servers[&space];
        let entries: Vec<_> = server.log.iter().skip(since as usize).take(max).collect();
        let more = since as usize + entries.len() < server.log.len();
        let next = entries.last().map_or_else(|| server.head(), |entry| entry.at);
        let shown = |entry: &&sync_core::ledger::NewEntry| {
            let header = entry.header;
            let (hash, body) = (Some(header.hash), None);
            PageEntry { id: header.id, kind: header.kind, doc: header.doc, verdict: header.verdict, hash, body }
        };
        let entries = Entries(entries.iter().map(shown).collect());
        let receipt = ReceiptKey::new([1; 32]).sign(space, &next);
        Page { entries, next, more, receipt, version: None, snapshots: Vec::new(), times: None }
    }

    fn serve(&mut self, request: &SyncRequest) -> SyncResponse {
        let space = request.space;
        let server = self.servers.get_mut(&space).expect("a space of the model");
        let push = request.push.clone().map(|run| server.push(Push::check("writer".to_owned(), run)));
        let at = self.stores[&space].at;
        SyncResponse { schema: SCHEMA, push, pull: Some(PullAnswer::Page(self.page(space, at, 100))), snapshot: None }
    }

    fn reach(&mut self, frame: LiveRequest) {
        if let Some(code) = (self.fate.refuses)(self.now_ms, &frame) {
            let (id, space) = match &frame {
                LiveRequest::Sync { id, space, .. } => (Some(*id), Some(*space)),
                _ => (None, None),
            };
            let (message, request_id) = (String::new(), String::new());
            let error = ErrorResponse { code, message, request_id, retry_after_ms: None, update_url: None };
            return self.send(LiveResponse::Refused { id, space, error });
        }
        match frame {
            LiveRequest::Sync { id, space, push, pull, subscribe, .. } => {
                let server = self.servers.get_mut(&space).expect("a space of the model");
                let push = push.map(|run| server.push(Push::check("writer".to_owned(), run)));
                let pull = pull.map(|_| {
                    let page = self.page(space, self.stores[&space].at, 3);
                    if subscribe {
                        self.following.insert(space, page.next.seq);
                    }
                    PullAnswer::Page(page)
                });
                self.send(LiveResponse::Answer { id, space, push, pull, snapshot: None });
                self.go_on(space);
            }
            LiveRequest::Ping { nonce } => self.send(LiveResponse::Pong { nonce }),
            LiveRequest::Unsubscribe { space } => {
                self.following.remove(&space);
            }
            _ => {}
        }
    }

    /// Sends what a follower lacks.
    fn go_on(&mut self, space: SpaceId) {
        while let Some(&sent) = self.following.get(&space) {
            let page = self.page(space, sent, 3);
            if page.entries.0.is_empty() {
                return;
            }
            self.following.insert(space, page.next.seq);
            if !(self.fate.forgets)() {
                self.send(LiveResponse::Page { space, page });
            }
        }
    }

    pub fn send(&mut self, frame: LiveResponse) {
        if let Some(link) = self.link {
            self.later(self.fate.latency_ms, Happening::Arrive(link, Box::new(frame)));
        }
    }

    fn beat(&mut self, link: u64) {
        if self.link == Some(link) {
            if self.fate.beats {
                let spaces = self.following.keys();
                let heads = spaces.map(|space| SpaceHead { space: *space, head: self.servers[space].head() }).collect();
                self.send(LiveResponse::Beat { heads });
            }
            self.later(HEARTBEAT_MS, Happening::Beat(link));
        }
    }

    /// The connection breaks.
    pub fn cut(&mut self) {
        if let Some(link) = self.link.take() {
            self.tell(Event::Closed(link, Ending::Lost));
        }
    }

    pub fn close(&mut self, code: ErrorCode) {
        if let Some(link) = self.link.take() {
            self.tell(Event::Closed(link, Ending::Refused { code, retry_after_ms: None }));
        }
    }

    pub fn edit(&mut self, at: u8) {
        let now_ms = self.now_ms;
        let store = self.stores.get_mut(&space(at)).expect("a space of the model");
        let item = Item::create(doc(1), format!("edit {}", store.items.len()));
        store.heads.push(store.heads[store.items.len()].next(item.kind(), item.doc, item.hash));
        store.items.push(item);
        store.made_ms.push(now_ms);
        store.left_ms.push(None);
        self.tell(Event::Edited(space(at)));
    }

    /// Another device writes.
    pub fn other(&mut self, at: u8) {
        let server = self.servers.get_mut(&space(at)).expect("a space of the model");
        let base = server.acked(device(2));
        let item = Item::create(doc(2), format!("of another {}", base.n));
        let run = Run { device: device(2), base, items: vec![item] };
        server.push(Push::check("writer".to_owned(), run));
        self.go_on(space(at));
    }

    /// Lets time pass; what happens then, happens.
    pub fn run_ms(&mut self, duration_ms: u64) {
        let end = self.now_ms + duration_ms;
        for round in 0.. {
            assert!(round < 200_000, "an endless loop at {}", self.now_ms);
            let next = self.events.keys().next().map(|key| key.0);
            let Some(at_ms) = next.into_iter().chain(self.wake_ms).min().filter(|&at_ms| at_ms <= end) else { break };
            self.now_ms = at_ms.max(self.now_ms);
            if next != Some(at_ms) {
                self.wake_ms = None;
                self.wakes += 1;
                self.tell(Event::Timer);
                continue;
            }
            let Some((_, happening)) = self.events.pop_first() else { break };
            match happening {
                Happening::Tell(event) => self.tell(event),
                Happening::Beat(link) => self.beat(link),
                Happening::Arrive(link, frame) if self.link == Some(link) => {
                    self.tell(Event::Heard(link, frame));
                }
                Happening::Reach(link, frame) if self.link == Some(link) => self.reach(frame),
                Happening::Arrive(..) | Happening::Reach(..) => {}
            }
        }
        self.now_ms = end;
    }

    /// Whether the phone and the server hold the same of a space.
    pub fn is_even(&self, at: u8) -> bool {
        let (store, server) = (&self.stores[&space(at)], &self.servers[&space(at)]);
        store.acked.n == store.items.len() as u64 && store.at == server.log.len() as u64
    }

    pub fn pushes(&self) -> usize {
        self.said.iter().filter(|(_, frame)| matches!(frame, LiveRequest::Sync { push: Some(_), .. })).count()
    }

    pub fn syncs(&self) -> usize {
        self.said.iter().filter(|(_, frame)| matches!(frame, LiveRequest::Sync { .. })).count()
    }

    pub fn trouble(&self, at: u8) -> Option<Trouble> {
        self.session.trouble(space(at))
    }
}
