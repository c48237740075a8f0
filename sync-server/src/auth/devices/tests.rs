//! Who is asked, how often, and for how long an answer counts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use sync_core::id::DeviceId;
use tokio::sync::Semaphore;

use super::known::{AGE_MAX, KNOWN_MAX};
use super::*;
use crate::auth::Caller;
use crate::store::StoreError;
use crate::store::devices::SessionId;

const PHONE: DeviceId = DeviceId::from_bytes([1; 16]);
const TABLET: DeviceId = DeviceId::from_bytes([2; 16]);
const SESSION: Option<SessionId> = Some(SessionId::from_bytes([3; 16]));
const FINE: Standing = Standing { device: Some(DeviceStanding::Registered), session_goes_on: true };
const OVER: Standing = Standing { device: Some(DeviceStanding::Registered), session_goes_on: false };

/// Whether somebody is let in is found out by asking, `AGE_MAX` after the last time at the earliest.
#[tokio::test]
async fn an_answer_counts_for_less_than_a_second() {
    let (known, start, asked) = (Known::default(), Instant::now(), AtomicU32::new(0));
    assert!(AGE_MAX < Duration::from_secs(1));
    let at = async |after: Duration, standing: Standing| {
        let entry = known.entry("ann", PHONE, SESSION, start + after);
        let ask = || {
            asked.fetch_add(1, Ordering::Relaxed);
            async move { Ok(standing) }
        };
        entry.standing(|| start + after, ask).await.unwrap()
    };
    let moment = Duration::from_nanos(1);
    assert_eq!(at(Duration::ZERO, FINE).await, FINE);
    assert_eq!(at(AGE_MAX.saturating_sub(moment), OVER).await, FINE, "it is known");
    assert_eq!(at(AGE_MAX, OVER).await, OVER, "not for longer");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    known.forget("ann", Some(TABLET));
    known.forget("an", None);
    known.forget("anna", None);
    assert_eq!(at(AGE_MAX + moment, FINE).await, OVER, "others were forgotten");
    known.forget("ann", Some(PHONE));
    assert_eq!(at(AGE_MAX + moment, FINE).await, FINE);
    known.forget("ann", None);
    assert_eq!(at(AGE_MAX + moment, OVER).await, OVER);
    known.forget_all();
    assert_eq!(at(AGE_MAX + moment, FINE).await, FINE);
}

#[tokio::test]
async fn one_asks_for_all_who_come_meanwhile_and_a_failure_is_theirs_too() {
    let (known, asked, gate) = (Known::default(), AtomicU32::new(0), Semaphore::new(0));
    for failing in [false, true] {
        known.forget_all();
        asked.store(0, Ordering::Relaxed);
        let callers = (0..50).map(|_| async {
            let entry = known.entry("ann", PHONE, SESSION, Instant::now());
            let ask = || async {
                asked.fetch_add(1, Ordering::Relaxed);
                gate.acquire().await.unwrap().forget();
                if failing { Err(StoreError::Unavailable("away".into())) } else { Ok(FINE) }
            };
            entry.standing(Instant::now, ask).await
        });
        let mut all = Box::pin(join_all(callers));
        assert!((&mut all).now_or_never().is_none(), "all wait");
        gate.add_permits(1);
        let answers = all.now_or_never().expect("one answer is enough");
        assert!(answers.iter().all(|answer| answer.is_err() == failing));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
    let entry = known.entry("ann", PHONE, SESSION, Instant::now());
    let asked_anew = entry.standing(Instant::now, || async { Ok(FINE) }).await;
    assert_eq!(asked_anew.unwrap(), FINE, "who comes after a failure asks");
}

/// What was asked before somebody was cut off is no answer for those who come afterwards.
#[tokio::test]
async fn what_is_asked_when_it_is_forgotten_is_asked_again() {
    let (known, gate) = (Known::default(), Semaphore::new(0));
    let entry = known.entry("ann", PHONE, SESSION, Instant::now());
    let ask = || async {
        gate.acquire().await.unwrap().forget();
        Ok(FINE)
    };
    let mut slow = Box::pin(entry.standing(Instant::now, ask));
    assert!((&mut slow).now_or_never().is_none());
    known.forget("ann", Some(PHONE));
    gate.add_permits(1);
    assert_eq!(slow.await.unwrap(), FINE);
    let entry = known.entry("ann", PHONE, SESSION, Instant::now());
    assert_eq!(entry.standing(Instant::now, || async { Ok(OVER) }).await.unwrap(), OVER);
}

#[tokio::test]
async fn remembers_only_so_many() {
    let (known, start) = (Known::default(), Instant::now());
    for number in 0..KNOWN_MAX as u32 + 100 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let entry = known.entry("ann", DeviceId::from_bytes(id), None, start);
        entry.standing(|| start, || async { Ok(FINE) }).await.unwrap();
        assert!(known.len() <= KNOWN_MAX);
    }
    known.entry("ann", PHONE, SESSION, start + AGE_MAX);
    assert_eq!(known.len(), 1, "what is too old makes room");
}

#[test]
fn nobody_passes_who_is_cut_off() {
    let access = |session| {
        let caller = Caller { user: "ann".to_owned(), device: PHONE };
        Access { caller, session, expires_s: 0, issued_by: crate::auth::token::IssuedBy::Us }
    };
    let told = |standing, session| judge(standing, &access(session)).err().map(|error| error.code_name());
    let (unknown, revoked) = (Standing { device: None, ..FINE }, Some(DeviceStanding::Revoked));
    assert_eq!(told(FINE, SESSION), None);
    assert_eq!(told(OVER, SESSION).unwrap(), "session_ended");
    for session in [None, SESSION] {
        for session_goes_on in [true, false] {
            let standing = Standing { device: revoked, session_goes_on };
            assert_eq!(told(standing, session).unwrap(), "device_revoked");
        }
    }
    assert_eq!(told(unknown, None), None, "a token for development names any device");
    assert_eq!(told(Standing { device: None, session_goes_on: false }, SESSION).unwrap(), "session_ended");
}
