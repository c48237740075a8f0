//! The session over a virtual clock: a small store and a small server around it, and a network that fails on purpose.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sync_core::check::Push;
use sync_core::feed::{FeedHead, Item, Run};
use sync_core::id::{DeviceId, SpaceId};
use sync_core::limits::{BACKOFF_CAP_MS, POLL_IDLE_MAX_MS, POLL_INTERVAL_MS, RETRY_AFTER_MAX_MS, SEAL_DELAY_MS};
use sync_core::log::{Cursor, ReceiptKey};
use sync_core::session::{
    Backoff, Collected, Effect, Event, Failure, FeedState, Meaning, Session, Status, StoreOutcome, Trouble, Window,
    meaning,
};
use sync_core::wire::{Entries, ErrorCode, Page, PullAnswer, SCHEMA, SyncRequest, SyncResponse};

use crate::cases::{cases, device, doc};
use crate::rng::Rng;
use crate::server::Server;

fn space(number: u8) -> SpaceId {
    SpaceId::from_bytes([number; 16])
}

/// The phone's own feed in one space.
#[derive(Clone)]
struct Outbox {
    items: Vec<Item>,
    heads: Vec<FeedHead>,
    acked: FeedHead,
}

impl Outbox {
    fn new(space: SpaceId, device: DeviceId) -> Self {
        let start = FeedHead::start(space, device);
        Self { items: Vec::new(), heads: vec![start], acked: start }
    }

    fn append(&mut self, bytes: usize) {
        let item = Item::create(doc(1), "x".repeat(bytes));
        self.heads.push(self.heads[self.items.len()].next(item.kind(), item.doc, item.hash));
        self.items.push(item);
    }

    fn run(&self, device: DeviceId, bytes_max: usize) -> Option<Run> {
        let mut bytes = 0;
        let rest = &self.items[self.acked.n as usize..];
        let fits = |item: &&Item| {
            bytes += item.payload_bytes();
            bytes <= bytes_max || bytes == item.payload_bytes()
        };
        let items: Vec<Item> = rest.iter().take_while(fits).cloned().collect();
        (!items.is_empty()).then_some(Run { device, base: self.acked, items })
    }

    fn pending(&self) -> bool {
        self.acked.n < self.items.len() as u64
    }
}

type Policy = Box<dyn FnMut(u64, &SyncRequest) -> Option<Failure>>;

struct World {
    session: Session,
    device: DeviceId,
    now_ms: u64,
    rng: Rng,
    latency_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    wake_ms: Option<u64>,
    wakes: u64,
    outboxes: BTreeMap<SpaceId, Outbox>,
    servers: BTreeMap<SpaceId, Server>,
    /// Which failure a request meets.
    policy: Policy,
    /// Whether an answer is lost after the server has taken the push.
    answers_lost: bool,
    /// How long the app takes for a new token; `None`: it has none.
    token_ms: Option<u64>,
    requests: Vec<(u64, SpaceId, usize)>,
    refreshes: Vec<u64>,
    barred: Vec<SpaceId>,
    statuses: Vec<Status>,
    handled: u64,
}

impl World {
    fn new(spaces: u8, seed: u64) -> Self {
        let device = device(1);
        let mut world = Self {
            session: Session::default(),
            device,
            now_ms: 1_000_000,
            rng: Rng(seed),
            latency_ms: 20,
            events: BTreeMap::new(),
            wake_ms: None,
            wakes: 0,
            outboxes: (1..=spaces).map(|at| (space(at), Outbox::new(space(at), device))).collect(),
            servers: (1..=spaces).map(|at| (space(at), Server::new(space(at)))).collect(),
            policy: Box::new(|_, _| None),
            answers_lost: false,
            token_ms: None,
            requests: Vec::new(),
            refreshes: Vec::new(),
            barred: Vec::new(),
            statuses: Vec::new(),
            handled: 0,
        };
        for at in 1..=spaces {
            world.tell(Event::SpaceAdded(space(at)));
        }
        world
    }

    fn later(&mut self, delay_ms: u64, event: Event) {
        self.handled += 1;
        self.events.insert((self.now_ms + delay_ms, self.handled), event);
    }

    fn tell(&mut self, event: Event) {
        let rng = &mut self.rng;
        let effects = self.session.handle(event, self.now_ms, &mut || rng.next());
        let starts =
            effects.iter().filter(|effect| matches!(effect, Effect::Collect { .. } | Effect::Send { .. })).count();
        assert!(starts <= 1, "one thing at a time: {effects:?}");
        for effect in effects {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Collect { space, bytes_max, .. } => {
                let run = self.outboxes[&space].run(self.device, bytes_max);
                self.later(
                    1,
                    Event::Collected(space, Collected { run, cursor: None, own: false, snapshots: None, wish: None }),
                );
            }
            Effect::Send { id, request, .. } => {
                let bytes = request.push.iter().flat_map(|run| &run.items).map(Item::payload_bytes).sum();
                self.requests.push((self.now_ms, request.space, bytes));
                let answer = match (self.policy)(self.now_ms, &request) {
                    Some(failure) => Err(failure),
                    None => Ok(Box::new(self.serve(&request))),
                };
                let answer = if self.answers_lost { answer.and(Err(Failure::Unreachable)) } else { answer };
                self.later(self.latency_ms, Event::Answered(id, answer));
            }
            Effect::Store { space, response } => {
                let outcome = self.store(space, &response);
                self.later(1, Event::Stored(space, outcome));
            }
            Effect::Wake { at_ms } => {
                assert!(at_ms > self.now_ms, "a wish to be woken now would be a loop");
                self.wake_ms = Some(at_ms);
            }
            Effect::RefreshToken => {
                self.refreshes.push(self.now_ms);
                if let Some(delay_ms) = self.token_ms {
                    self.later(delay_ms, Event::TokenChanged);
                }
            }
            Effect::Barred { space } => self.barred.push(space),
            Effect::Open { .. }
            | Effect::Say { .. }
            | Effect::SayToken { .. }
            | Effect::Shut { .. }
            | Effect::Peers { .. }
            | Effect::Heal { .. }
            | Effect::Ask { .. } => panic!("a session of plain requests with a server that lost nothing: {effect:?}"),
            Effect::Status(status) => {
                assert_ne!(self.statuses.last(), Some(&status), "the app hears of changes only");
                assert_eq!(self.session.status(), status);
                self.statuses.push(status);
            }
        }
    }

    fn serve(&mut self, request: &SyncRequest) -> SyncResponse {
        let server = self.servers.get_mut(&request.space).unwrap();
        let push = request.push.clone().map(|run| server.push(Push::check("writer".to_owned(), run)));
        let next: Cursor = server.head();
        let receipt = ReceiptKey::new([1; 32]).sign(request.space, &next);
        let page = Page {
            entries: Entries::default(),
            next,
            more: false,
            receipt,
            version: None,
            snapshots: Vec::new(),
            times: None,
        };
        SyncResponse { schema: SCHEMA, push, pull: Some(PullAnswer::Page(page)), snapshot: None }
    }

    fn store(&mut self, space: SpaceId, response: &SyncResponse) -> StoreOutcome {
        let outbox = self.outboxes.get_mut(&space).unwrap();
        if let Some(answer) = &response.push {
            let feed = FeedState { head: outbox.heads[outbox.items.len()], acked: outbox.acked };
            let own = outbox.heads.get(answer.acked().n as usize).map(|head| head.chain);
            match meaning(feed, answer, own) {
                Meaning::Acknowledged(acked) | Meaning::SendFrom(acked) => outbox.acked = acked,
                Meaning::Trouble(trouble) => return StoreOutcome::Trouble(trouble),
            }
        }
        StoreOutcome::Done { more: outbox.pending(), at: 0 }
    }

    fn edit(&mut self, at: u8, bytes: usize) {
        self.outboxes.get_mut(&space(at)).unwrap().append(bytes);
        self.tell(Event::Edited(space(at)));
    }

    /// Lets time pass; what happens then, happens.
    fn run_ms(&mut self, duration_ms: u64) {
        let end = self.now_ms + duration_ms;
        for round in 0.. {
            assert!(round < 100_000, "an endless loop at {}", self.now_ms);
            let next = self.events.keys().next().map(|key| key.0);
            let Some(at_ms) = next.into_iter().chain(self.wake_ms).min().filter(|&at_ms| at_ms <= end) else { break };
            self.now_ms = at_ms.max(self.now_ms);
            if next == Some(at_ms) {
                let (_, event) = self.events.pop_first().unwrap();
                self.tell(event);
            } else {
                self.wake_ms = None;
                self.wakes += 1;
                self.tell(Event::Timer);
            }
        }
        self.now_ms = end;
    }

    fn sent(&self, at: u8) -> bool {
        !self.outboxes[&space(at)].pending()
    }

    fn requests_of(&self, at: u8) -> usize {
        self.requests.iter().filter(|(_, of, _)| *of == space(at)).count()
    }
}

const HOUR_MS: u64 = 3_600_000;

fn unreachable() -> Policy {
    Box::new(|_, _| Some(Failure::Unreachable))
}

fn refusing(code: ErrorCode, retry_after_ms: Option<u64>) -> Policy {
    Box::new(move |_, _| Some(Failure::Refused { code, retry_after_ms }))
}

#[test]
fn an_idle_session_asks_ever_more_seldom_and_for_all_spaces_at_once() {
    let mut world = World::new(3, 1);
    world.run_ms(HOUR_MS);
    for at in 1..=3 {
        let count = world.requests_of(at) as u64;
        assert!((HOUR_MS / POLL_IDLE_MAX_MS..=HOUR_MS / POLL_IDLE_MAX_MS + 8).contains(&count), "{count}");
    }
    assert!(world.wakes < 60, "{} wakes an hour", world.wakes);
    let moments = world.requests.windows(2).filter(|pair| pair[1].0 - pair[0].0 > 1_000).count() as u64;
    assert!(moments <= world.wakes, "the radio is woken {moments} times");
    world.run_ms(POLL_IDLE_MAX_MS / 2);
    assert_eq!(world.session.status(), Status::Idle);
    // Where something happens, it is asked for often again.
    world.edit(1, 10);
    world.run_ms(100);
    let before = world.requests_of(1);
    world.run_ms(2 * POLL_INTERVAL_MS);
    assert!(world.requests_of(1) > before);
}

#[test]
fn who_looks_is_not_made_to_wait_for_a_poll() {
    for event in [Event::Foreground(true), Event::Pushed(vec![space(1)]), Event::SyncNow] {
        let mut world = World::new(1, 1);
        world.run_ms(HOUR_MS);
        let before = world.requests.len();
        world.tell(event);
        world.run_ms(100);
        assert_eq!(world.requests.len(), before + 1);
    }
}

#[test]
fn without_a_network_or_a_foreground_nothing_wakes() {
    for event in [Event::NetworkChanged { online: false }, Event::Foreground(false)] {
        let mut world = World::new(3, 1);
        world.run_ms(1_000);
        world.tell(event);
        world.run_ms(1_000);
        let before = (world.requests.len(), world.wakes);
        world.run_ms(HOUR_MS);
        assert!(world.wakes - before.1 <= 1 && world.requests.len() == before.0);
    }
}

#[test]
fn a_push_in_the_background_waits_for_the_exchange_that_follows() {
    let mut world = World::new(2, 1);
    world.run_ms(1_000);
    world.tell(Event::Foreground(false));
    world.run_ms(1_000);
    let before = world.requests.len();
    world.tell(Event::Pushed(vec![space(2), space(9)]));
    world.run_ms(1_000);
    assert_eq!(world.requests.len(), before, "the system decides when there is time");
    world.tell(Event::SyncNow);
    world.run_ms(1_000);
    assert_eq!(world.requests.len(), before + 2);
}

#[test]
fn a_window_asks_first_for_what_was_pushed_and_never_for_more_than_is_left() {
    for pushed in 1..=5 {
        let mut world = World::new(0, pushed);
        let window = Window { ends_at_ms: world.now_ms + 30_000, bytes: Some(64 << 10) };
        world.session = Session::within(window, world.now_ms);
        for at in 1..=5 {
            world.outboxes.insert(space(at), Outbox::new(space(at), world.device));
            world.servers.insert(space(at), Server::new(space(at)));
        }
        world.outboxes.get_mut(&space(3)).unwrap().append(100_000);
        for at in 1..=5 {
            // What is due first is asked for at once, so all are pushed to before anything is.
            world.session.handle(Event::NetworkChanged { online: false }, world.now_ms, &mut || 1);
            world.tell(Event::SpaceAdded(space(at)));
        }
        world.tell(Event::Pushed(vec![space(pushed as u8)]));
        world.tell(Event::NetworkChanged { online: true });
        world.run_ms(29_000);
        assert_eq!(world.requests[0].1, space(pushed as u8));
        assert_eq!(world.requests.iter().map(|request| request.2).sum::<usize>(), 0, "it does not fit");
        assert!(world.session.needs_bytes().is_some_and(|needs| needs > 100_000));
        assert!((1..=5).all(|at| world.requests_of(at) >= 1), "and holds up no other");
        world.tell(Event::Moved(64 << 10));
        assert!(world.session.is_spent(world.now_ms));
        let before = world.requests.len();
        world.tell(Event::SyncNow);
        world.run_ms(10_000);
        assert_eq!(world.requests.len(), before);
    }
}

#[test]
fn an_edit_is_sent_after_a_moment() {
    let mut world = World::new(1, 1);
    world.run_ms(POLL_INTERVAL_MS / 2);
    let before = world.requests.len();
    // A word, letter by letter.
    for _ in 0..5 {
        world.edit(1, 10);
        world.run_ms(SEAL_DELAY_MS / 10);
    }
    assert_eq!(world.requests.len(), before, "letters wait for each other");
    world.run_ms(SEAL_DELAY_MS + 100);
    assert!(world.sent(1));
    assert_eq!(world.requests.len(), before + 1);
    assert!(world.session.is_quiet(world.now_ms));
}

#[test]
fn an_edit_during_a_request_leads_to_another_round() {
    for delay in 0..120 {
        let mut world = World::new(1, delay);
        world.edit(1, 10);
        world.run_ms(delay);
        world.edit(1, 20);
        world.run_ms(500);
        assert!(world.sent(1), "an edit {delay} ms later is forgotten");
    }
}

#[test]
fn offline_waits_longer_and_longer_and_comes_back_at_once() {
    let mut world = World::new(1, 3);
    world.policy = unreachable();
    world.edit(1, 10);
    world.run_ms(HOUR_MS);
    assert_eq!(world.session.status(), Status::Offline);
    assert!(world.statuses.contains(&Status::Offline), "the app is told");
    let gaps: Vec<u64> = world.requests.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    // Full jitter lies between nothing and a bound that doubles; a request itself takes a moment.
    for (failures, gap) in gaps.iter().enumerate() {
        let bound = (250 << failures.min(20)).min(BACKOFF_CAP_MS);
        assert!(*gap <= bound + 30, "wait {failures} of {gap} ms");
    }
    assert!(gaps[0] < 300 && *gaps.iter().max().unwrap() > BACKOFF_CAP_MS / 2, "{gaps:?}");
    assert!((20..60).contains(&world.wakes), "{} wakes an hour", world.wakes);
    // No request at all while the system says that there is no network.
    world.tell(Event::NetworkChanged { online: false });
    let before = world.requests.len();
    world.run_ms(HOUR_MS);
    assert!(world.requests.len() <= before + 1);
    world.policy = Box::new(|_, _| None);
    world.tell(Event::NetworkChanged { online: true });
    world.run_ms(100);
    assert!(world.sent(1), "back within a moment");
    assert_eq!(world.session.status(), Status::Idle);
}

#[test]
fn a_lost_answer_doubles_nothing() {
    let mut world = World::new(1, 4);
    world.answers_lost = true;
    for _ in 0..5 {
        world.edit(1, 10);
        world.run_ms(3_000);
    }
    assert_eq!(world.outboxes[&space(1)].acked.n, 0);
    world.answers_lost = false;
    world.run_ms(BACKOFF_CAP_MS);
    assert!(world.sent(1));
    assert_eq!(world.servers[&space(1)].log.len(), 5);
}

#[test]
fn retry_after_is_respected_and_bounded() {
    for (told, least, most) in [(5_000, 5_000, 6_000), (u64::MAX, RETRY_AFTER_MAX_MS, RETRY_AFTER_MAX_MS + 1_000)] {
        for code in
            [ErrorCode::Busy, ErrorCode::Unavailable, ErrorCode::RateLimited, ErrorCode::Internal, ErrorCode::Unknown]
        {
            let mut world = World::new(1, 5);
            world.policy = refusing(code, Some(told));
            world.run_ms(100);
            world.policy = Box::new(|_, _| None);
            // Edits do not make it impatient.
            world.edit(1, 10);
            world.run_ms(RETRY_AFTER_MAX_MS + 10_000);
            let wait = world.requests[1].0 - world.requests[0].0;
            assert!((least..=most).contains(&wait), "{code:?}: told {told}, waited {wait}");
            assert!(world.sent(1));
        }
    }
}

#[test]
fn a_device_that_called_too_often_waits_with_all_its_spaces_and_loses_nothing() {
    let mut world = World::new(3, 7);
    world.policy = refusing(ErrorCode::RateLimited, Some(20_000));
    for at in 1..=3 {
        world.edit(at, 10);
    }
    world.run_ms(15_000);
    assert_eq!(world.requests.len(), 1, "the refusal holds for every space");
    world.policy = Box::new(|_, _| None);
    world.run_ms(60_000);
    let wait = world.requests[1].0 - world.requests[0].0;
    assert!((20_000..=21_000).contains(&wait), "waited {wait}");
    for at in 1..=3 {
        assert!(world.sent(at));
        assert_eq!(world.servers[&space(at)].log.len(), 1, "each edit once");
    }
}

#[test]
fn a_token_is_asked_for_once_and_the_work_goes_on() {
    let mut world = World::new(2, 6);
    world.policy = refusing(ErrorCode::Unauthorized, None);
    world.edit(1, 10);
    world.run_ms(HOUR_MS);
    assert_eq!((world.requests.len(), world.refreshes.len()), (1, 1), "without a token nothing is tried");
    assert_eq!(world.session.status(), Status::NeedsAuth);
    world.policy = Box::new(|_, _| None);
    world.tell(Event::TokenChanged);
    world.run_ms(200);
    assert!(world.sent(1));
    assert_eq!(world.session.status(), Status::Idle);
}

#[test]
fn an_app_with_a_bad_token_makes_no_loop() {
    for code in [ErrorCode::Unauthorized, ErrorCode::WrongDevice] {
        let mut world = World::new(1, 7);
        world.policy = refusing(code, None);
        world.token_ms = Some(0);
        world.run_ms(HOUR_MS);
        assert!((20..100).contains(&world.requests.len()), "{} requests an hour", world.requests.len());
    }
}

#[test]
fn a_space_without_access_is_parked_and_the_others_go_on() {
    for (code, trouble) in [
        (ErrorCode::NotFound, Trouble::NoAccess),
        (ErrorCode::SpaceDeleted, Trouble::SpaceDeleted),
        (ErrorCode::BadFrame, Trouble::NotUnderstood),
    ] {
        let mut world = World::new(3, 8);
        world.policy = Box::new(move |_, request| {
            (request.space == space(2)).then_some(Failure::Refused { code, retry_after_ms: None })
        });
        (1..=3).for_each(|at| world.edit(at, 10));
        world.run_ms(HOUR_MS);
        assert_eq!(world.requests_of(2), 1, "{code:?}");
        assert!(world.sent(1) && world.sent(3) && !world.sent(2));
        assert_eq!((world.session.trouble(space(2)), world.session.trouble(space(1))), (Some(trouble), None));
        assert_eq!(world.session.status(), Status::Error(trouble));
        let told = if trouble.bars() { vec![space(2)] } else { Vec::new() };
        assert_eq!(world.barred, told, "the shell hears of it, and of nothing else");
        // Asked for in vain once more where that may have helped.
        world.tell(Event::SpaceAdded(space(2)));
        world.run_ms(HOUR_MS);
        assert_eq!(world.requests_of(2), 1 + told.len());
        // Access is given back, and the user pulls to refresh, or joins.
        world.policy = Box::new(|_, _| None);
        let back = if told.is_empty() { Event::SyncNow } else { Event::SpaceAdded(space(2)) };
        world.tell(back);
        world.run_ms(500);
        assert!(world.sent(2));
        assert_eq!(world.session.status(), Status::Idle);
    }
}

#[test]
fn an_app_that_is_too_old_stops() {
    let mut world = World::new(2, 9);
    world.policy = refusing(ErrorCode::UpgradeRequired, None);
    world.run_ms(HOUR_MS);
    assert_eq!(world.requests.len(), 1);
    assert_eq!(world.session.status(), Status::Error(Trouble::UpgradeRequired));
}

#[test]
fn batches_shrink_until_they_pass() {
    let mut world = World::new(1, 10);
    for _ in 0..100 {
        world.outboxes.get_mut(&space(1)).unwrap().append(30_000);
    }
    let too_large = Failure::Refused { code: ErrorCode::TooLarge, retry_after_ms: None };
    world.policy = Box::new(move |_, request| {
        let bytes: usize = request.push.iter().flat_map(|run| &run.items).map(Item::payload_bytes).sum();
        (bytes > 200_000).then_some(too_large)
    });
    world.edit(1, 30_000);
    world.run_ms(10_000);
    assert!(world.sent(1));
    let refused: Vec<usize> = world.requests.iter().map(|request| request.2).filter(|bytes| *bytes > 200_000).collect();
    assert!(refused.len() <= 3 && refused.is_sorted_by(|a, b| a > b), "{refused:?}");
    assert_eq!(world.servers[&space(1)].log.len(), 101);
}

#[test]
fn one_item_that_never_passes_is_no_loop() {
    let mut world = World::new(2, 11);
    world.policy = Box::new(|_, request| {
        request.push.is_some().then_some(Failure::Refused { code: ErrorCode::TooLarge, retry_after_ms: None })
    });
    world.edit(1, 10);
    // Somebody goes on typing meanwhile.
    for _ in 0..3_600 {
        world.edit(1, 10);
        world.run_ms(1_000);
    }
    assert!((20..300).contains(&world.requests_of(1)), "{} requests an hour", world.requests_of(1));
    let count = world.requests_of(2) as u64;
    assert!(count >= HOUR_MS / POLL_IDLE_MAX_MS - 2, "the other space goes on: {count}");
}

#[test]
fn a_server_that_lost_data_gets_it_again() {
    let mut world = World::new(1, 12);
    world.edit(1, 10);
    world.run_ms(1_000);
    let backup = world.servers[&space(1)].clone();
    (0..4).for_each(|_| world.edit(1, 10));
    world.run_ms(1_000);
    assert_eq!(world.servers[&space(1)].log.len(), 5);
    world.servers.insert(space(1), backup);
    world.edit(1, 10);
    world.run_ms(1_000);
    assert!(world.sent(1));
    assert_eq!((world.servers[&space(1)].log.len(), world.session.status()), (6, Status::Idle));
}

#[test]
fn a_phone_that_was_rolled_back_or_cloned_says_so() {
    for later in 0..3 {
        let mut world = World::new(1, 13);
        world.edit(1, 10);
        world.run_ms(1_000);
        let backup = world.outboxes[&space(1)].clone();
        world.edit(1, 20);
        world.edit(1, 30);
        world.run_ms(1_000);
        world.outboxes.insert(space(1), backup);
        // Fewer items than the server has, as many, or more: the backup writes something else.
        let edits = later + 1;
        (0..edits).for_each(|at| world.edit(1, 40 + at));
        world.run_ms(HOUR_MS);
        let trouble = if later == 0 { Trouble::RolledBack } else { Trouble::Forked };
        assert_eq!(world.session.trouble(space(1)), Some(trouble), "{later}");
        assert_eq!(world.session.status(), Status::Error(trouble));
        assert_eq!(world.servers[&space(1)].log.len(), 3, "nothing of it gets in");
    }
}

#[test]
fn late_and_foreign_events_do_nothing() {
    let mut world = World::new(1, 14);
    world.run_ms(1_000);
    let before = world.requests.len();
    for event in [
        Event::Answered(1, Err(Failure::Unreachable)),
        Event::Answered(99, Err(Failure::Unreachable)),
        Event::Stored(space(1), StoreOutcome::Failed),
        Event::Stored(space(9), StoreOutcome::Done { more: true, at: 0 }),
        Event::Collected(space(9), Collected { run: None, cursor: None, own: false, snapshots: None, wish: None }),
        Event::Edited(space(9)),
        Event::SpaceRemoved(space(9)),
        Event::Timer,
    ] {
        world.tell(event);
    }
    assert_eq!((world.requests.len(), world.session.status()), (before, Status::Idle));
    world.tell(Event::SpaceRemoved(space(1)));
    world.run_ms(HOUR_MS);
    assert_eq!(world.requests.len(), before);
}

#[test]
fn jitter_is_full() {
    let mut backoff = Backoff::default();
    assert!(!backoff.is_waiting());
    for failures in 0..70u32 {
        let bound = 250u64.checked_shl(failures.min(20)).unwrap().min(BACKOFF_CAP_MS);
        let mut low = Backoff::default();
        let mut high = Backoff::default();
        for _ in 0..failures {
            low.next(None, &mut || 0);
            high.next(None, &mut || 0);
        }
        assert_eq!(low.next(None, &mut || 0), 0);
        assert_eq!(high.next(None, &mut || bound), bound);
        assert!(backoff.next(None, &mut || u64::MAX) <= bound);
    }
    backoff.reset();
    assert!(!backoff.is_waiting() && backoff.next(None, &mut || 250) == 250);
}

proptest! {
    #![proptest_config(cases(400))]

    /// Whatever goes wrong in whatever order: no loop, and when it is over everything is there, once.
    #[test]
    fn it_gets_there(seed: u64, steps in 1usize..40) {
        let mut world = World::new(2, seed);
        for _ in 0..steps {
            match world.rng.below(12) {
                0..4 => {
                    let (at, bytes) = (1 + world.rng.below(2) as u8, world.rng.below(300));
                    world.edit(at, bytes);
                }
                4 => world.policy = unreachable(),
                5 => {
                    let codes = [ErrorCode::Busy, ErrorCode::Unauthorized, ErrorCode::TooLarge, ErrorCode::Internal, ErrorCode::NotFound];
                    let (code, told) = (*world.rng.pick(&codes), world.rng.below(9_000) as u64);
                    let told = world.rng.chance(50).then_some(told);
                    world.policy = refusing(code, told);
                }
                6..8 => world.policy = Box::new(|_, _| None),
                8 => world.answers_lost = world.rng.chance(50),
                9 => {
                    let online = world.rng.chance(50);
                    world.tell(Event::NetworkChanged { online });
                }
                10 => world.token_ms = if world.rng.chance(50) { Some(world.rng.below(3_000) as u64) } else { None },
                _ => world.latency_ms = world.rng.below(2_000) as u64,
            }
            let pause = world.rng.below(20_000) as u64;
            let before = world.requests.len();
            world.run_ms(pause);
            // Two spaces of a few rounds each, and what the first short waits of a backoff allow.
            prop_assert!(world.requests.len() - before < 60, "{} requests in {pause} ms", world.requests.len() - before);
        }
        world.policy = Box::new(|_, _| None);
        world.answers_lost = false;
        // The last bad answer may be on its way still.
        world.run_ms(5_000);
        world.tell(Event::NetworkChanged { online: true });
        world.tell(Event::TokenChanged);
        world.tell(Event::SyncNow);
        world.run_ms(60_000);
        for at in 1..=2 {
            prop_assert!(world.sent(at));
            prop_assert_eq!(world.servers[&space(at)].log.len(), world.outboxes[&space(at)].items.len());
        }
        // A poll may be under way just now.
        for _ in 0..5 {
            if world.session.status() != Status::Idle {
                world.run_ms(1_000);
            }
        }
        prop_assert_eq!(world.session.status(), Status::Idle);
    }
}
