//! What a live session promises.

use proptest::prelude::*;
use sync_core::limits::{
    LIVE_BACKOFF_BASE_MS, LIVE_BLOCKED_RETRY_MAX_MS, LIVE_PING_INTERVAL_MS, LIVE_PROBE_TIMEOUT_MS,
    LIVE_PUSHES_IN_FLIGHT_MAX, POLL_IDLE_MAX_MS, PRESENCE_PER_SECOND_MAX, SEAL_DELAY_MS,
};
use sync_core::session::{Ending, Event, Failure, Presence, Status, Trouble};
use sync_core::wire::{ErrorCode, LiveRequest, LiveResponse, Peer};

use crate::cases::{cases, device};
use crate::live_world::{HEARTBEAT_MS, World, space};

const HOUR_MS: u64 = 3_600_000;

#[test]
fn one_connection_serves_everything_and_is_silent_when_idle() {
    let mut world = World::new(20, 1);
    world.other(3);
    world.run_ms(HOUR_MS);
    assert!((1..=20).all(|at| world.is_even(at)));
    assert_eq!((world.opens.len(), world.syncs(), world.requests.len()), (1, 20, 0));
    let pings = world.said.len() as u64 - 20;
    assert!(pings <= HOUR_MS / LIVE_PING_INTERVAL_MS + 1, "{pings} pings an hour");
    assert_eq!(world.session.status(), Status::Idle);
    assert!(world.session.is_quiet(world.now_ms));
}

#[test]
fn a_keystroke_on_an_idle_connection_leaves_at_once() {
    let mut world = World::new(2, 2);
    world.run_ms(1_000);
    for _ in 0..5 {
        world.edit(1);
        assert_eq!(world.stores[&space(1)].left_ms.last(), Some(&Some(world.now_ms)));
        world.run_ms(150);
    }
    assert!(world.is_even(1));
}

#[test]
fn keystrokes_on_a_slow_network_wait_for_each_other_but_never_long() {
    let mut world = World::new(1, 3);
    world.fate.latency_ms = 150;
    world.run_ms(1_000);
    let before = world.pushes();
    for _ in 0..200 {
        world.edit(1);
        world.run_ms(10);
    }
    let store = &world.stores[&space(1)];
    let waits = store.made_ms.iter().zip(&store.left_ms).filter_map(|(made, left)| Some((*left)? - made));
    assert!(waits.max().is_some_and(|wait| wait <= SEAL_DELAY_MS), "an answer that is on its way holds up nothing");
    let pushes = world.pushes() - before;
    assert!(pushes <= 2_000 / SEAL_DELAY_MS as usize + 2, "{pushes} pushes of 200 keystrokes");
    world.run_ms(1_000);
    assert!(world.is_even(1));
    assert_eq!(world.servers[&space(1)].log.len(), 200);
}

#[test]
fn pushes_under_way_are_bounded() {
    let mut world = World::new(1, 4);
    world.run_ms(1_000);
    world.fate.latency_ms = 100_000;
    world.fate.beats = false;
    let before = world.pushes();
    for _ in 0..100 {
        world.edit(1);
        world.run_ms(100);
    }
    assert!(world.pushes() - before <= LIVE_PUSHES_IN_FLIGHT_MAX);
}

#[test]
fn what_waits_leaves_with_the_answer() {
    let mut world = World::new(1, 5);
    world.run_ms(1_000);
    world.edit(1);
    world.run_ms(15);
    // The push is answered after 20 ms, and nobody waits for the rest of the 50.
    world.edit(1);
    world.run_ms(6);
    assert_eq!(world.stores[&space(1)].left_ms.last(), Some(&Some(world.stores[&space(1)].made_ms[0] + 20)));
}

#[test]
fn a_lost_notice_costs_two_heartbeats_at_most() {
    let mut world = World::new(2, 6);
    world.run_ms(1_000);
    world.fate.forgets = Box::new(|| true);
    world.other(1);
    world.fate.forgets = Box::new(|| false);
    world.run_ms(2 * HEARTBEAT_MS + 100);
    assert!(world.is_even(1));
    assert_eq!(world.syncs(), 3, "the space that missed something is followed anew, the other is not");
}

#[test]
fn a_page_behind_a_hole_is_not_taken_and_the_hole_is_read() {
    let mut world = World::new(1, 7);
    world.run_ms(1_000);
    world.fate.forgets = Box::new(|| true);
    world.other(1);
    world.fate.forgets = Box::new(|| false);
    world.other(1);
    world.run_ms(1_000);
    assert!(world.is_even(1), "long before the next heartbeat");
}

#[test]
fn phones_that_lost_their_server_together_come_back_apart() {
    let mut at: Vec<u64> = Vec::new();
    for seed in 0..200 {
        let mut world = World::new(1, seed);
        world.run_ms(1_000);
        let cut_ms = world.now_ms;
        world.cut();
        world.run_ms(LIVE_BACKOFF_BASE_MS + 100);
        assert!(world.is_even(1) && world.session.status() == Status::Idle);
        assert_eq!(world.opens.len(), 2);
        at.push(world.opens[1] - cut_ms);
    }
    let busiest = (0..4_000).step_by(100).map(|from| at.iter().filter(|at| (from..from + 1_000).contains(*at)).count());
    let busiest = busiest.max().unwrap();
    assert!(busiest * 3 < 200 * 2, "{busiest} of 200 within one second");
}

#[test]
fn a_server_that_is_away_is_tried_ever_less_often() {
    let mut world = World::opening(1, 8, |_| Err(Ending::Lost));
    world.edit(1);
    world.run_ms(HOUR_MS);
    assert!((20..60).contains(&world.wakes), "{} wakes an hour", world.wakes);
    assert_eq!((world.requests.len(), world.session.status()), (0, Status::Offline));
    world.fate.opens = Box::new(|_| Ok(()));
    world.tell(Event::NetworkChanged { online: true });
    world.run_ms(100);
    assert!(world.is_even(1), "back within a moment");
}

#[test]
fn where_connections_are_blocked_requests_do_the_work() {
    let mut world = World::opening(2, 9, |_| Err(Ending::Blocked));
    world.edit(1);
    world.run_ms(200);
    assert!(world.is_even(1) && world.is_even(2), "at once");
    assert_eq!(world.session.status(), Status::Idle);
    world.run_ms(HOUR_MS);
    let opens = world.opens.len() as u64;
    assert!((HOUR_MS / LIVE_BLOCKED_RETRY_MAX_MS / 2..100).contains(&opens), "{opens} tries an hour");
    let polls = world.requests.len() as u64;
    assert!(polls >= 2 * (HOUR_MS / POLL_IDLE_MAX_MS - 20), "{polls} polls");
    assert!(world.wakes < 60, "{} wakes an hour", world.wakes);
    world.fate.opens = Box::new(|_| Ok(()));
    world.run_ms(LIVE_BLOCKED_RETRY_MAX_MS + POLL_IDLE_MAX_MS + 1_000);
    assert!(world.link.is_some());
    let polls = world.requests.len();
    world.other(2);
    world.run_ms(HOUR_MS);
    assert_eq!(world.requests.len(), polls, "live again, it asks no more");
    assert!(world.is_even(2));
}

#[test]
fn in_the_background_it_sends_what_is_left_and_closes() {
    let mut world = World::new(1, 10);
    world.fate.latency_ms = 30;
    world.run_ms(1_000);
    world.edit(1);
    world.edit(1);
    world.tell(Event::Foreground(false));
    world.run_ms(200);
    assert_eq!(world.servers[&space(1)].log.len(), 2, "nothing waits for the app to come back");
    assert!(world.link.is_none());
    assert_eq!(world.session.status(), Status::Asleep);
    let before = (world.opens.len(), world.said.len());
    world.other(1);
    world.edit(1);
    world.run_ms(HOUR_MS);
    assert_eq!((world.opens.len(), world.said.len(), world.requests.len()), (before.0, before.1, 0));
    // A job in the background may still want everything.
    world.tell(Event::SyncNow);
    world.run_ms(1_000);
    assert!(world.is_even(1) && world.link.is_none());
    world.other(1);
    world.tell(Event::Foreground(true));
    world.run_ms(200);
    assert!(world.is_even(1) && world.link.is_some(), "it comes back at once");
}

#[test]
fn in_the_background_the_last_edits_leave_by_requests_too() {
    let mut world = World::opening(2, 19, |_| Err(Ending::Blocked));
    world.run_ms(1_000);
    world.edit(1);
    world.tell(Event::Foreground(false));
    world.run_ms(1_000);
    assert!(world.is_even(1));
    assert_eq!(world.session.status(), Status::Asleep);
    let before = (world.opens.len(), world.requests.len());
    world.edit(1);
    world.run_ms(HOUR_MS);
    assert_eq!((world.opens.len(), world.requests.len()), before, "and then it is silent");
    world.tell(Event::Foreground(true));
    world.run_ms(1_000);
    assert!(world.is_even(1));
}

#[test]
fn a_token_is_renewed_on_the_open_connection() {
    let mut world = World::new(1, 11);
    world.run_ms(1_000);
    world.send(LiveResponse::TokenExpires { in_ms: 60_000 });
    world.run_ms(100);
    assert_eq!(world.refreshes, 1);
    world.tell(Event::TokenChanged);
    assert_eq!((world.renewals, world.opens.len()), (1, 1));
    // And where the app had none in time:
    world.close(ErrorCode::Unauthorized);
    assert_eq!((world.refreshes, world.session.status()), (2, Status::NeedsAuth));
    world.edit(1);
    world.run_ms(HOUR_MS);
    assert_eq!((world.opens.len(), world.requests.len()), (1, 0), "no use in trying with the same token");
    world.tell(Event::TokenChanged);
    world.run_ms(200);
    assert!(world.is_even(1) && world.session.status() == Status::Idle);
}

#[test]
fn a_connection_of_the_network_that_was_is_found_out() {
    let mut world = World::new(1, 12);
    world.run_ms(1_000);
    // Frames vanish, and nobody says so.
    world.fate.latency_ms = 100 * HOUR_MS;
    world.edit(1);
    world.tell(Event::NetworkChanged { online: true });
    world.fate.latency_ms = 10;
    world.run_ms(LIVE_PROBE_TIMEOUT_MS + LIVE_BACKOFF_BASE_MS + 100);
    assert_eq!(world.opens.len(), 2);
    assert!(world.is_even(1));
    assert_eq!(world.servers[&space(1)].log.len(), 1);
}

#[test]
fn a_connection_without_a_heartbeat_is_dead() {
    let mut world = World::new(1, 13);
    world.run_ms(1_000);
    world.fate.beats = false;
    let before = world.now_ms;
    world.run_ms(4 * HEARTBEAT_MS);
    assert!(world.opens[1] - before >= 2 * HEARTBEAT_MS);
    assert!(world.opens[1] - before <= 3 * HEARTBEAT_MS + LIVE_BACKOFF_BASE_MS + 1);
}

#[test]
fn a_refused_push_is_sent_again_in_its_place() {
    let mut world = World::new(2, 14);
    world.fate.latency_ms = 100;
    world.run_ms(1_000);
    let until = world.now_ms + 500;
    world.fate.refuses = Box::new(move |now_ms, frame| {
        let pushes = matches!(frame, LiveRequest::Sync { push: Some(_), .. });
        (pushes && now_ms < until).then_some(ErrorCode::Busy)
    });
    for _ in 0..40 {
        world.edit(1);
        world.run_ms(60);
    }
    world.run_ms(5_000);
    assert!(world.is_even(1) && world.trouble(1).is_none());
    assert_eq!(world.servers[&space(1)].log.len(), 40);
    assert_eq!(world.session.status(), Status::Idle);
    assert_eq!(world.opens.len(), 1);
}

#[test]
fn a_space_without_access_is_parked_and_the_others_go_on() {
    let mut world = World::new(2, 15);
    world.fate.refuses = Box::new(|_, frame| match frame {
        LiveRequest::Sync { space: of, .. } if *of == space(1) => Some(ErrorCode::NotFound),
        _ => None,
    });
    world.run_ms(1_000);
    world.edit(2);
    world.run_ms(HOUR_MS);
    assert_eq!(world.trouble(1), Some(Trouble::NoAccess));
    assert!(world.is_even(2));
    assert_eq!(world.syncs(), 3);
    assert_eq!(world.session.status(), Status::Error(Trouble::NoAccess));
    assert_eq!(world.barred, [space(1)]);
    world.fate.refuses = Box::new(|_, _| None);
    world.tell(Event::SyncNow);
    world.run_ms(1_000);
    assert!(world.is_even(1) && world.session.status() == Status::Idle);
}

#[test]
fn a_space_that_is_joined_again_is_followed_again() {
    let mut world = World::new(2, 16);
    world.fate.refuses = Box::new(|_, frame| match frame {
        LiveRequest::Sync { space: of, .. } if *of == space(1) => Some(ErrorCode::NotFound),
        _ => None,
    });
    world.run_ms(1_000);
    world.tell(Event::SpaceAdded(space(1)));
    world.run_ms(1_000);
    assert_eq!(world.barred, [space(1); 2], "asked for once more, and told once more");
    world.fate.refuses = Box::new(|_, _| None);
    world.run_ms(HOUR_MS);
    assert_eq!(world.trouble(1), Some(Trouble::NoAccess), "nobody asks unasked");
    world.tell(Event::SpaceAdded(space(1)));
    world.edit(1);
    world.run_ms(1_000);
    assert!(world.is_even(1) && world.session.status() == Status::Idle);
}

#[test]
fn sync_now_proves_that_there_is_no_more() {
    let mut world = World::new(1, 16);
    world.run_ms(1_000);
    world.fate.forgets = Box::new(|| true);
    world.other(1);
    world.tell(Event::SyncNow);
    assert!(!world.session.is_quiet(world.now_ms));
    world.run_ms(100);
    assert!(world.session.is_quiet(world.now_ms) && world.is_even(1));
}

#[test]
fn presence_is_told_renewed_and_taken_back() {
    let mut world = World::new(1, 17);
    world.run_ms(1_000);
    let show = |data: &[u8]| Some(Presence { data: data.to_vec(), ttl_ms: 10_000 });
    let told = |world: &World| -> Vec<(u64, Option<Vec<u8>>)> {
        let said = world.said.iter().filter_map(|(at_ms, frame)| match frame {
            LiveRequest::Presence { data, .. } => Some((*at_ms, data.as_ref().map(|data| data.to_vec()))),
            _ => None,
        });
        said.collect()
    };
    world.tell(Event::Present(space(1), show(b"first")));
    assert_eq!(told(&world).len(), 1, "at once");
    // A cursor that moves all the time.
    for step in 0..100_u8 {
        world.tell(Event::Present(space(1), show(&[step])));
        world.run_ms(10);
    }
    world.run_ms(1_000);
    let moved = told(&world);
    assert!(moved.len() <= PRESENCE_PER_SECOND_MAX as usize + 3, "{} in a second", moved.len());
    assert_eq!(moved.last().unwrap().1, Some(vec![99]), "the last one counts");
    let before = moved.len();
    world.run_ms(60_000);
    let renewed = told(&world).len() - before;
    assert!((11..=13).contains(&renewed), "{renewed} in a minute, of a life of ten seconds");
    world.cut();
    world.run_ms(LIVE_BACKOFF_BASE_MS + 1_000);
    assert_eq!(told(&world).last().unwrap().1, Some(vec![99]), "a new connection hears of it too");
    world.tell(Event::Present(space(1), None));
    world.run_ms(100);
    let after = told(&world);
    assert_eq!(after.last().unwrap().1, None);
    world.run_ms(60_000);
    assert_eq!(told(&world).len(), after.len(), "and that is all");
    let peer = Peer { user: "ann".into(), device: device(2), data: None, ttl_ms: 0 };
    world.send(LiveResponse::Presence { space: space(1), peers: vec![peer.clone()] });
    world.run_ms(100);
    assert_eq!(world.peers, [peer]);
}

#[test]
fn a_space_that_is_removed_is_followed_no_longer() {
    let mut world = World::new(2, 18);
    world.run_ms(1_000);
    world.tell(Event::SpaceRemoved(space(1)));
    world.run_ms(100);
    assert_eq!(world.following.keys().copied().collect::<Vec<_>>(), [space(2)]);
}

/// What may happen to a phone.
#[derive(Debug, Clone)]
enum Step {
    Edit(u8),
    Other(u8),
    Wait(u64),
    Cut,
    Close(ErrorCode),
    Network(bool),
    Foreground(bool),
    Latency(u64),
    Opens(u8),
    Refuses(bool),
    Forgets(bool),
    SyncNow,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..=3_u8).prop_map(Step::Edit),
        4 => (1..=3_u8).prop_map(Step::Other),
        8 => (0..4_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Cut),
        1 => prop_oneof![Just(ErrorCode::Unavailable), Just(ErrorCode::Busy), Just(ErrorCode::BadFrame)]
            .prop_map(Step::Close),
        1 => any::<bool>().prop_map(Step::Network),
        1 => any::<bool>().prop_map(Step::Foreground),
        1 => (1..2_500_u64).prop_map(Step::Latency),
        1 => (0..3_u8).prop_map(Step::Opens),
        1 => any::<bool>().prop_map(Step::Refuses),
        1 => any::<bool>().prop_map(Step::Forgets),
        1 => Just(Step::SyncNow),
    ]
}

proptest! {
    #![proptest_config(cases(400))]

    /// Whatever happened: once the network is well again, everything is everywhere, once.
    #[test]
    fn it_gets_there(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(3, seed);
        let mut edits = 0;
        for step in steps {
            match step {
                Step::Edit(at) => {
                    edits += 1;
                    world.edit(at);
                }
                Step::Other(at) => {
                    edits += 1;
                    world.other(at);
                }
                Step::Wait(duration_ms) => world.run_ms(duration_ms),
                Step::Cut => world.cut(),
                Step::Close(code) => world.close(code),
                Step::Network(online) => world.tell(Event::NetworkChanged { online }),
                Step::Foreground(foreground) => world.tell(Event::Foreground(foreground)),
                Step::Latency(latency_ms) => world.fate.latency_ms = latency_ms,
                Step::Opens(how) => world.fate.opens = match how {
                    0 => Box::new(|_| Ok(())),
                    1 => Box::new(|_| Err(Ending::Lost)),
                    _ => Box::new(|_| Err(Ending::Blocked)),
                },
                Step::Refuses(refuses) => {
                    world.fate.requests = Box::new(move |at_ms| (refuses && at_ms % 3 == 0).then_some(Failure::Unreachable));
                    world.fate.refuses = Box::new(move |at_ms, _| (refuses && at_ms % 3 == 0).then_some(ErrorCode::Busy));
                }
                Step::Forgets(forgets) => {
                    let mut count = 0;
                    world.fate.forgets = Box::new(move || {
                        count += 1;
                        forgets && count % 2 == 0
                    });
                }
                Step::SyncNow => world.tell(Event::SyncNow),
            }
        }
        world.fate.latency_ms = 10;
        world.fate.opens = Box::new(|_| Ok(()));
        world.fate.requests = Box::new(|_| None);
        world.fate.refuses = Box::new(|_, _| None);
        world.fate.forgets = Box::new(|| false);
        world.tell(Event::Foreground(true));
        world.tell(Event::NetworkChanged { online: true });
        world.run_ms(120_000);
        for at in 1..=3 {
            prop_assert!(world.is_even(at), "space {at}: {:?}", world.session);
            prop_assert_eq!(world.trouble(at), None);
        }
        prop_assert_eq!(world.servers.values().map(|server| server.log.len()).sum::<usize>(), edits);
        prop_assert_eq!(world.session.status(), Status::Idle);
        prop_assert!(world.session.is_quiet(world.now_ms));
    }
}
