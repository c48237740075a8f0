//! One exchange in the time and bytes that the operating system gives to an app in the background.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sync_client_ffi::{Client, PushError, SpaceId, SyncError};
use sync_tests::proxy::{Proxy, Weather};
use sync_tests::rig::{PATIENCE, Rig, Seeded, device};

const DEADLINE: Duration = Duration::from_secs(2);
const BUDGET: u64 = 64 << 10;
const SLOW: Weather =
    Weather { bytes_per_s: 64 << 10, latency: Duration::from_millis(40), one_in: 3, lost_after_max: 20 << 10 };

/// Documents with text that does not compress well.
fn write(phone: &Client, space: SpaceId, documents: usize, bytes: usize) {
    let mut random = Seeded::new("texts");
    for _ in 0..documents {
        let text: String = (0..bytes).map(|_| char::from(b'!' + random.below(90) as u8)).collect();
        let doc = phone.create(space, "notes").unwrap();
        doc.edit(|edit| {
            edit.put("text", text.as_str());
        })
        .unwrap();
    }
}

/// A phone with much to send that has much to read, and the one that wrote that.
fn two_phones(rig: &Rig, proxy: &Proxy) -> (Client, Client, SpaceId) {
    let there = rig.phone("ann", 1);
    let space = there.personal_space();
    write(&there, space, 300, 1_000);
    there.sync_once(PATIENCE).unwrap();
    let here = rig.phone_by("ann", 2, &proxy.url());
    write(&here, space, 100, 1_000);
    (here, there, space)
}

fn place(phone: &Client, space: SpaceId) -> u64 {
    phone.log_position(space).unwrap() + phone.acknowledged(space).unwrap().n
}

fn same(here: &Client, there: &Client, space: SpaceId) {
    there.sync_once(PATIENCE).unwrap();
    assert_eq!(here.documents(space, None).unwrap(), there.documents(space, None).unwrap());
    assert_eq!(here.documents(space, None).unwrap().len(), 400);
    assert_eq!(here.pending(space).unwrap().outbox_changes, 0);
}

/// For how long at once the machine let nobody run who wanted to, while that was done: none of it is the client's.
fn stalls<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    const NAP: Duration = Duration::from_millis(5);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(NAP);
                longest = longest.max(began.elapsed().saturating_sub(NAP));
            }
            longest
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, watching.join().unwrap())
    })
}

#[test]
fn a_deadline_is_kept_over_a_slow_and_lossy_network_and_each_call_gets_further() {
    let rig = Rig::start();
    let proxy = Proxy::start(rig.address());
    let (here, there, space) = two_phones(&rig, &proxy);
    proxy.set_weather(SLOW);
    for call in 1.. {
        let (before, began) = (place(&here, space), Instant::now());
        let (report, stalled) = stalls(|| here.sync_once(DEADLINE).unwrap());
        let took = began.elapsed();
        assert!(
            took <= DEADLINE + DEADLINE / 10 + stalled,
            "call {call} took {took:?}, the machine stalled {stalled:?}"
        );
        println!("call {call}: {took:?}, {report:?}");
        if !report.more {
            break;
        }
        assert!(took >= DEADLINE / 2, "call {call} gave up after {took:?}");
        assert!(place(&here, space) > before, "call {call} made no progress");
        assert!(call < 40, "it does not come to an end");
    }
    same(&here, &there, space);
}

#[test]
fn a_byte_budget_is_kept_over_a_slow_and_lossy_network_and_each_call_gets_further() {
    let rig = Rig::start();
    let proxy = Proxy::start(rig.address());
    let (here, there, space) = two_phones(&rig, &proxy);
    proxy.set_weather(SLOW);
    for call in 1.. {
        let (before, traffic) = (place(&here, space), here.traffic());
        let report = here.sync_once_within(Duration::from_secs(10), BUDGET).unwrap();
        let spent = here.traffic().since(&traffic);
        let bytes = spent.bytes_sent + spent.bytes_received;
        println!("call {call}: {report:?}");
        assert_eq!(report.traffic, spent);
        assert!(bytes <= BUDGET + BUDGET / 10, "call {call} took {bytes} bytes");
        if !report.more {
            break;
        }
        assert!(bytes >= BUDGET / 4, "call {call} gave up after {bytes} bytes");
        assert!(place(&here, space) > before, "call {call} made no progress");
        assert!(call < 40, "it does not come to an end");
    }
    same(&here, &there, space);
}

#[test]
fn many_small_changes_keep_to_the_budget_as_well() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    for _ in 0..3_000 {
        ann.create(space, "n").unwrap();
    }
    for (phone, budget) in [(&ann, 16 << 10), (&other, 16 << 10)] {
        for call in 1.. {
            let before = place(phone, space);
            let report = phone.sync_once_within(PATIENCE, budget).unwrap();
            assert!(report.traffic.bytes_sent + report.traffic.bytes_received <= budget, "call {call}: {report:?}");
            if !report.more {
                break;
            }
            assert!(place(phone, space) > before, "call {call}");
        }
    }
    assert_eq!(other.documents(space, None).unwrap().len(), 3_000);
}

#[test]
fn what_is_larger_than_the_budget_is_said_and_holds_up_nothing_else() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    write(&other, space, 3, 100);
    other.sync_once(PATIENCE).unwrap();
    write(&ann, space, 1, 200_000);
    let report = ann.sync_once_within(PATIENCE, BUDGET).unwrap();
    assert!(report.more, "what others wrote came, what was written here is left");
    assert_eq!(ann.documents(space, None).unwrap().len(), 4);
    let needs = loop {
        match ann.sync_once_within(PATIENCE, BUDGET) {
            Ok(report) => assert!(report.more),
            Err(SyncError::Budget { needs }) => break needs,
            Err(other) => panic!("{other}"),
        }
    };
    assert!((BUDGET..400_000).contains(&needs), "{needs}");
    assert!(!ann.sync_once_within(PATIENCE, needs).unwrap().more);
    // The same from the other side, where the size is not known before.
    let needs = loop {
        match other.sync_once_within(PATIENCE, BUDGET) {
            Ok(report) => assert!(report.more && report.traffic.bytes_received <= BUDGET),
            Err(SyncError::Budget { needs }) => break needs,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(!other.sync_once_within(PATIENCE, needs).unwrap().more);
    assert_eq!(other.documents(space, None).unwrap().len(), 4);
    assert!(matches!(other.sync_once_within(PATIENCE, 0), Err(SyncError::Deadline)));
}

#[test]
fn a_budget_pauses_the_background_session_and_lets_it_go_on() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    ann.start().unwrap();
    assert!(ann.sync_once(PATIENCE).is_ok());
    assert!(!ann.sync_once_within(PATIENCE, BUDGET).unwrap().more);
    write(&other, space, 1, 10);
    other.sync_once(PATIENCE).unwrap();
    assert!(ann.wait_for(space, device(2), 2, PATIENCE), "it hears of news by itself again");
}

#[test]
fn a_push_says_whether_there_is_anything_to_fetch() {
    let rig = Rig::start();
    let (ann, other) = (rig.phone("ann", 1), rig.phone("ann", 2));
    let space = ann.personal_space();
    write(&other, space, 1, 10);
    other.sync_once(PATIENCE).unwrap();
    assert_eq!(ann.on_push(r#"{"aps":{"content-available":1}}"#), Ok(vec![space]));
    assert_eq!(ann.on_push(&format!(r#"{{"spaces":["{space}"]}}"#)), Ok(vec![space]));
    assert_eq!(ann.on_push(&format!(r#"{{"spaces":["{}"]}}"#, SpaceId::from_random([9; 16]))), Ok(vec![]));
    assert_eq!(ann.on_push("rubbish"), Err(PushError::NotUnderstood));
    assert!(!ann.sync_once_within(PATIENCE, BUDGET).unwrap().more);
    assert_eq!(ann.documents(space, None).unwrap().len(), 1);
}
