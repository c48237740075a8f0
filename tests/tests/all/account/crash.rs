//! Kills and losses at each step of a renewal log nobody out.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_client_ffi::account::{
    Account, AccountError, Credentials, CredentialsFile, Keychain, NewDevice, Proof, Refresher,
};
use sync_core::wire::account::RegisterRequest;
use sync_tests::desk::{Answers, Desk, Presented, Rules};
use sync_tests::rig::Seeded;

use super::{Fails, LONG, Memory, SPENT, access, desk, refresher, rules, spent};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
const ROUNDS: u64 = 80;

/// A process that renews the tokens in that file, and dies at a step.
fn renewing(file: &Path, step: &str) -> Command {
    let mut command = Command::new(CHILD);
    command.args(["renew".as_ref(), file.as_os_str(), step.as_ref()]).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

#[test]
fn a_kill_before_the_answer_is_saved_after_it_and_after_its_use() {
    for (step, shown, left, then) in [
        ("answered", "", "rjr_0", Presented::Repeated),
        ("saved", "", "rjr_1", Presented::Rotated),
        ("used", "access-1\n", "rjr_1", Presented::Rotated),
    ] {
        let rules = rules(SPENT);
        let desk = desk(&rules);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("login.json");
        let file = CredentialsFile::new(&path);
        file.save(&spent(&desk.url())).unwrap();
        let died = renewing(&path, step).output().unwrap();
        assert!(!died.status.success());
        assert_eq!(String::from_utf8(died.stdout).unwrap(), shown, "{step}");
        assert_eq!(file.load().unwrap().unwrap().refresh_token, left.into(), "{step}");
        // The next start goes on.
        Refresher::open(file.clone()).unwrap().token().unwrap();
        assert_eq!(rules.presented(), [Presented::Rotated, then], "{step}");
        let n = if step == "answered" { 1 } else { 2 };
        assert_eq!(file.load().unwrap().unwrap().refresh_token, format!("rjr_{n}").as_str().into());
    }
}

#[test]
fn a_kill_while_the_server_works() {
    let rules = rules(LONG);
    let (release, held) = channel::<()>();
    let (held, answering, first) = (Mutex::new(held), rules.clone(), AtomicBool::new(true));
    let desk = Desk::start(move |asked| {
        let answer = answering.answer(asked, access);
        if first.swap(false, Ordering::SeqCst) {
            held.lock().unwrap().recv().ok();
        }
        answer
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("login.json");
    let file = CredentialsFile::new(&path);
    file.save(&spent(&desk.url())).unwrap();
    let mut child = renewing(&path, "never").spawn().unwrap();
    desk.asked.wait(|asked| (!asked.is_empty()).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(release);
    // It died with the file held: that ends with it.
    assert_eq!(Refresher::open(file).unwrap().token(), Ok("access-1".into()));
    assert_eq!(rules.presented(), [Presented::Rotated, Presented::Repeated]);
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_at_once() {
    let rules = rules(LONG);
    let (answering, losses) = (rules.clone(), Mutex::new(3));
    let desk = Desk::start(move |asked| {
        let answer = answering.answer(asked, access);
        let mut losses = losses.lock().unwrap();
        if *losses == 0 {
            return answer;
        }
        *losses -= 1;
        // Also a proxy that gives up is no answer.
        if *losses == 1 { Answers::page(504) } else { Answers::Silence }
    });
    let refresher = refresher(&desk, &Memory::default());
    assert_eq!(refresher.token(), Ok("access-1".into()));
    assert_eq!(rules.presented(), [&[Presented::Rotated][..], &[Presented::Repeated; 3]].concat());
    // A copy of a lost request must not come in behind a further renewal, or it looks like a theft.
    let next = refresher.other_than(&"access-1".into()).unwrap_err();
    assert!(next.retry_after().is_some_and(|wait| wait > Duration::from_secs(30)), "{next:?}");
    assert_eq!((refresher.token(), rules.presented().len()), (Ok("access-1".into()), 4));
}

#[test]
fn a_device_with_a_key_may_lose_an_answer_for_days() {
    // Signs in, so that it has a key, at a desk that says which.
    let tokens = rules(SPENT).tokens(access);
    let desk = Desk::start(move |_| Answers::frame(201, &tokens));
    let proof = Proof::Password { email: "ann@example.com".into(), password: "p".into() };
    let (name, platform, app_version) = ("laptop".into(), "linux".into(), "1".into());
    let device = NewDevice { device: None, name, platform, app_version, public_key: None };
    let signed_in = Account::new(&desk.url()).unwrap().sign_in(proof, device).unwrap();
    let key = super::only(&desk).frame::<RegisterRequest>().device.public_key.unwrap();

    for has_key in [true, false] {
        let rules = Rules::new("ann", sync_tests::rig::device(1), SPENT);
        let rules = Arc::new(if has_key { rules.with_key(key.clone()) } else { rules });
        let desk = super::desk(&rules);
        let device_key = signed_in.device_key.clone().filter(|_| has_key);
        let credentials = Credentials { server: desk.url(), device_key, ..signed_in.clone() };
        let memory = Memory::default();
        memory.inside(|inside| inside.fails = Fails::Not);
        let refresher = Refresher::begin(memory.clone(), credentials).unwrap();
        // It dies before it has saved what came, and is found in a drawer days later.
        memory.inside(|inside| inside.fails = Fails::Before);
        assert!(matches!(refresher.token(), Err(AccountError::Keychain(_))));
        memory.inside(|inside| inside.fails = Fails::Not);
        rules.pass(Duration::from_hours(72));
        let later = Refresher::open(memory).unwrap().token();
        if has_key {
            later.unwrap();
            assert_eq!(rules.presented(), [Presented::Rotated, Presented::Repeated]);
        } else {
            assert_eq!(later, Err(AccountError::SessionEnded));
        }
    }
}

/// What happens to the next request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    RequestLost,
    AnswerLost,
}

#[test]
fn losses_kills_and_failing_keychains_in_any_order_log_nobody_out() {
    let mut seeded = Seeded::new("losses_kills_and_failing_keychains");
    let rules = rules(SPENT);
    let fate = Arc::new(Mutex::new(Fate::Answered));
    let (answering, next) = (rules.clone(), fate.clone());
    let desk = Desk::start(move |asked| match std::mem::replace(&mut *next.lock().unwrap(), Fate::Answered) {
        Fate::Answered => answering.answer(asked, access),
        Fate::RequestLost => Answers::Silence,
        Fate::AnswerLost => {
            answering.answer(asked, access);
            Answers::Silence
        }
    });
    let memory = Memory::default();
    let mut refresher = refresher(&desk, &memory);
    for _ in 0..ROUNDS {
        *fate.lock().unwrap() =
            [Fate::Answered, Fate::Answered, Fate::RequestLost, Fate::AnswerLost][seeded.below(4) as usize];
        let fails = [Fails::Not, Fails::Not, Fails::Before, Fails::After][seeded.below(4) as usize];
        memory.inside(|inside| inside.fails = fails);
        match refresher.token() {
            Ok(_) => assert!(fails == Fails::Not),
            Err(AccountError::Keychain(_)) => assert!(fails != Fails::Not),
            // Copies of the request before may be on their way: the next process does not know of it.
            Err(AccountError::Unavailable { .. }) => {
                rules.pass(Duration::from_secs(40));
                refresher = Refresher::open(memory.clone()).unwrap();
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        if seeded.below(3) == 0 {
            refresher = Refresher::open(memory.clone()).unwrap();
        }
        // Whoever comes back within the half minute is known; a device that has what it asked for has all the time.
        let settled = fails == Fails::Not;
        rules.pass(if settled { Duration::from_hours(seeded.below(48)) } else { Duration::from_millis(100) });
        assert!(!rules.is_ended(), "{:?}", rules.presented());
    }
    assert!(rules.presented().contains(&Presented::Repeated), "the test met no loss");
}
