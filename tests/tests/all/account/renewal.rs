//! One renewal for all who want one; what ends a session, and what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;

use sync_client_ffi::account::{AccountError, KeychainError, Refresher, Standing};
use sync_core::wire::ErrorCode;
use sync_core::wire::account::Private;
use sync_tests::desk::{Answers, Desk, Presented};
use sync_tests::seen::Seen;

use super::{Fails, LONG, Memory, SPENT, access, desk, refresher, rules, spent};

const RACERS: usize = 50;

#[test]
fn fifty_who_want_a_token_make_one_request() {
    let rules = rules(LONG);
    let (release, held) = channel::<()>();
    let held = std::sync::Mutex::new(held);
    let answering = rules.clone();
    let desk = Desk::start(move |asked| {
        held.lock().unwrap().recv().ok();
        answering.answer(asked, access)
    });
    let refresher = refresher(&desk, &Memory::default());
    let started = std::sync::Barrier::new(RACERS + 1);
    std::thread::scope(|scope| {
        let racing: Vec<_> = (0..RACERS)
            .map(|_| {
                scope.spawn(|| {
                    started.wait();
                    refresher.other_than(&Private::from("access-0"))
                })
            })
            .collect();
        started.wait();
        desk.asked.wait(|asked| (!asked.is_empty()).then_some(()));
        drop(release);
        for racer in racing {
            assert_eq!(racer.join().unwrap(), Ok(Private::from("access-1")));
        }
    });
    assert_eq!(rules.presented(), [Presented::Rotated]);
}

#[test]
fn fifty_who_waited_for_a_failure_do_not_repeat_it_each() {
    let (release, held) = channel::<()>();
    let held = std::sync::Mutex::new(held);
    let desk = Desk::start(move |_| {
        held.lock().unwrap().recv().ok();
        Answers::refusal(503, ErrorCode::Unavailable)
    });
    let refresher = refresher(&desk, &Memory::default());
    let started = std::sync::Barrier::new(RACERS + 1);
    std::thread::scope(|scope| {
        let race = || {
            started.wait();
            refresher.token()
        };
        let racing: Vec<_> = (0..RACERS).map(|_| scope.spawn(race)).collect();
        started.wait();
        desk.asked.wait(|asked| (!asked.is_empty()).then_some(()));
        drop(release);
        for racer in racing {
            assert_eq!(racer.join().unwrap(), Err(AccountError::Unavailable { retry_after: None }));
        }
    });
    // Whoever comes late, after the failure, may try for itself.
    assert!(desk.asked.count() <= RACERS / 5, "{} requests", desk.asked.count());
}

#[test]
fn a_token_that_holds_is_used_and_one_that_was_refused_is_not() {
    let rules = rules(LONG);
    let desk = desk(&rules);
    let memory = Memory::default();
    let refresher = refresher(&desk, &memory);
    let first = refresher.token().unwrap();
    assert_eq!(refresher.token().unwrap(), first);
    assert_eq!(desk.asked.count(), 1);
    // It was refused, whatever the clock says.
    let second = refresher.other_than(&first).unwrap();
    assert_ne!(second, first);
    // The news was late: there is a newer one already.
    assert_eq!(refresher.other_than(&first).unwrap(), second);
    assert_eq!(rules.presented(), [Presented::Rotated, Presented::Rotated]);
    assert_eq!(memory.kept(), refresher.credentials());
    // The next start goes on from there, and asks nothing.
    assert_eq!(Refresher::open(memory).unwrap().token().unwrap(), second);
    assert_eq!(desk.asked.count(), 2);
}

#[test]
fn an_account_route_that_wants_another_token_gets_it() {
    let rules = rules(LONG);
    let tokens = rules.clone();
    let desk = Desk::start(move |asked| match asked.token.as_deref() {
        None => tokens.answer(asked, access),
        Some("access-2") => {
            Answers::frame(200, &sync_core::wire::account::SpacesResponse { schema: 1, spaces: vec![] })
        }
        Some(_) => Answers::refusal(401, ErrorCode::Unauthorized),
    });
    let refresher = refresher(&desk, &Memory::default());
    assert_eq!(refresher.account().spaces(), Ok(vec![]));
    let lines: Vec<String> = desk.all().iter().map(super::Asked::line).collect();
    let renewal = "POST /v1/oauth/token";
    assert_eq!(lines, [renewal, "GET /v1/spaces", renewal, "GET /v1/spaces"]);
}

#[test]
fn only_the_servers_own_word_ends_a_session() {
    let rules = rules(LONG);
    let answering = rules.clone();
    let strange = Arc::new(AtomicU64::new(0));
    let turn = strange.clone();
    let desk = Desk::start(move |asked| match turn.fetch_add(1, Ordering::SeqCst) {
        0 => Answers::page(401),
        1 => Answers::page(403),
        2 => Answers::refusal(429, ErrorCode::RateLimited),
        3 => Answers::refusal(426, ErrorCode::UpgradeRequired),
        4 => Answers::refusal(503, ErrorCode::Unavailable),
        _ => answering.answer(asked, access),
    });
    let memory = Memory::default();
    // Each try is of a process of its own: who was told to wait does.
    let tried: Vec<_> =
        (0..5).map(|_| refresher(&desk, &memory)).map(|refresher| (refresher.token(), refresher.standing())).collect();
    for (token, standing) in tried {
        let error = token.unwrap_err();
        assert!(!error.ends_session(), "{error}");
        assert_eq!(standing, Standing::Waiting(error));
    }
    let refresher = Refresher::open(memory).unwrap();
    refresher.token().unwrap();
    assert_eq!(refresher.standing(), Standing::SignedIn);
}

#[test]
fn an_ended_session_is_said_once_and_asked_about_no_more() {
    for (code, expected) in
        [(ErrorCode::SessionEnded, AccountError::SessionEnded), (ErrorCode::DeviceRevoked, AccountError::DeviceRevoked)]
    {
        let ended = Arc::new(AtomicBool::new(true));
        let (is_ended, rules) = (ended.clone(), rules(LONG));
        let desk = Desk::start(move |asked| {
            if is_ended.load(Ordering::SeqCst) { Answers::refusal(401, code) } else { rules.answer(asked, access) }
        });
        let memory = Memory::default();
        let refresher = refresher(&desk, &memory);
        let seen = Seen::default();
        let told = seen.clone();
        let subscription = refresher.on_standing(move |standing| told.see(standing.clone()));
        for _ in 0..3 {
            assert_eq!(refresher.token(), Err(expected.clone()));
            assert_eq!(refresher.account().devices(), Err(expected.clone()));
        }
        assert_eq!((desk.asked.count(), seen.count()), (1, 1));
        assert_eq!(refresher.standing(), Standing::Ended(expected.clone()));
        // What was kept is still there, so whoever was ended by mistake of a server comes back at the next start.
        ended.store(false, Ordering::SeqCst);
        assert!(Refresher::open(memory.clone()).unwrap().token().is_ok());
        // Signing in again mends it here and now.
        let mut again = spent(&desk.url());
        (again.access_token, again.access_expires_ms) = ("fresh".into(), u64::MAX);
        refresher.signed_in_again(again.clone()).unwrap();
        assert_eq!(refresher.token(), Ok("fresh".into()));
        assert_eq!(memory.kept(), again);
        seen.wait_for(0, &Standing::SignedIn);
        let other = sync_client_ffi::account::Credentials { user: "bob".into(), ..again };
        assert_eq!(refresher.signed_in_again(other), Err(AccountError::OtherIdentity));
        drop(subscription);
    }
}

#[test]
fn nothing_is_used_before_it_is_saved_and_nothing_further_asked_for() {
    let rules = rules(LONG);
    let desk = desk(&rules);
    let memory = Memory::default();
    let refresher = refresher(&desk, &memory);
    memory.inside(|inside| inside.fails = Fails::Before);
    for _ in 0..3 {
        let locked = KeychainError("locked".into());
        assert_eq!(refresher.token(), Err(AccountError::Keychain(locked)));
        assert_eq!(refresher.credentials().access_token, "access-0".into());
    }
    assert_eq!(rules.presented(), [Presented::Rotated], "a second rotation would have left an ancient token on disk");
    memory.inside(|inside| inside.fails = Fails::Not);
    assert_eq!(refresher.token(), Ok("access-1".into()));
    assert_eq!(memory.kept().refresh_token, "rjr_1".into());
    assert_eq!(desk.asked.count(), 1);
}

#[test]
fn two_processes_share_one_session() {
    let rules = rules(SPENT);
    let desk = desk(&rules);
    let memory = Memory::default();
    let one = refresher(&desk, &memory);
    let other = Refresher::open(memory.clone()).unwrap();
    // Each finds what the other one left, though its own memory is older; by the rules an older token is theft.
    for n in 1..=10 {
        let renewing = if n % 2 == 0 { &one } else { &other };
        assert_eq!(renewing.token(), Ok(Private(access(n))));
        rules.pass(std::time::Duration::from_mins(1));
    }
    assert!(!rules.is_ended());
    assert_eq!(rules.presented(), [Presented::Rotated; 10]);
}

#[test]
fn logging_out_forgets_and_another_user_is_not_taken_for_this_one() {
    let rules = rules(LONG);
    let tokens = rules.clone();
    let desk = Desk::start(move |asked| match asked.path.as_str() {
        "/v1/oauth/token" => tokens.answer(asked, access),
        _ => Answers::nothing(),
    });
    let memory = Memory::default();
    let one = refresher(&desk, &memory);
    one.account().log_out(false).unwrap();
    assert!(memory.inside(|inside| inside.kept.is_none()));
    assert_eq!(one.token(), Err(AccountError::NotSignedIn));
    assert!(matches!(Refresher::open(memory.clone()), Err(AccountError::NotSignedIn)));
    // A process that did not notice does not bring it back.
    let late = refresher(&desk, &memory);
    memory.inside(|inside| inside.kept = None);
    assert_eq!(late.token(), Err(AccountError::NotSignedIn));
    let other = sync_client_ffi::account::Credentials { user: "bob".into(), ..spent(&desk.url()) };
    let late = refresher(&desk, &memory);
    memory.inside(|inside| inside.kept = Some(other.clone()));
    assert_eq!(late.token(), Err(AccountError::OtherIdentity));
    assert_eq!(memory.kept(), other);
}

#[test]
fn a_keychain_that_panics_leaves_nobody_waiting() {
    struct Panics;
    impl sync_client_ffi::account::Keychain for Panics {
        fn load(&self) -> Result<Option<sync_client_ffi::account::Credentials>, KeychainError> {
            panic!("planted")
        }
        fn save(&self, _: &sync_client_ffi::account::Credentials) -> Result<(), KeychainError> {
            Ok(())
        }
        fn clear(&self) -> Result<(), KeychainError> {
            panic!("planted")
        }
    }
    let refresher = Refresher::begin(Panics, spent("http://127.0.0.1:9")).unwrap();
    for _ in 0..2 {
        assert!(matches!(refresher.token(), Err(AccountError::Keychain(_))));
        assert!(matches!(refresher.forget(), Err(AccountError::Keychain(_))));
    }
}
