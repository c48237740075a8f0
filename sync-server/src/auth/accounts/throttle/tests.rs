//! Signing in too often, with the time as a number.

use super::*;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const START: u64 = 1_800_000_000_000;

fn rules() -> Rules {
    Rules::from(&config::Accounts::default())
}

/// Somebody who tries again whenever it was told to.
struct Guesser {
    rules: Rules,
    known: Attempts,
    now: u64,
}

impl Guesser {
    fn new() -> Self {
        Self { rules: rules(), known: Attempts::default(), now: START }
    }

    fn take(&mut self) -> Result<Attempt, u64> {
        match self.rules.take(self.known.clone(), self.now) {
            Ok((known, attempt)) => {
                self.known = known;
                Ok(attempt)
            }
            Err(refused) => Err(refused.retry_after.as_millis() as u64),
        }
    }

    /// The next attempt that passes: how long it took to come to it.
    fn next(&mut self) -> (u64, Attempt) {
        let began = self.now;
        match self.take() {
            Ok(attempt) => (0, attempt),
            Err(wait) => {
                // A moment earlier is too early.
                self.now += wait - 1;
                assert_eq!(self.take(), Err(1));
                self.now += 1;
                (self.now - began, self.take().unwrap())
            }
        }
    }
}

#[test]
fn five_in_a_quarter_of_an_hour_with_growing_pauses() {
    let mut guesser = Guesser::new();
    let waits: Vec<u64> = (0..5).map(|_| guesser.next().0).collect();
    assert_eq!(waits, [0, SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND]);
    // The back-off would be over after 16 seconds, the window is when the first attempt leaves it.
    assert_eq!(guesser.take(), Err(15 * MINUTE - 15 * SECOND));
}

#[test]
fn no_stretch_of_a_quarter_of_an_hour_has_a_sixth_attempt() {
    let mut guesser = Guesser::new();
    let mut taken = Vec::new();
    while guesser.now < START + 3 * 24 * HOUR {
        guesser.next();
        taken.push(guesser.now);
    }
    for six in taken.windows(6) {
        assert!(six[5] - six[0] >= 15 * MINUTE, "{six:?}");
    }
    // Blocks make it far fewer than the window would allow.
    let first_day = taken.iter().filter(|at| **at < START + 24 * HOUR).count();
    assert!(first_day <= 70, "{first_day} in a day");
}

#[test]
fn ten_failures_in_a_day_block_for_longer_each_time() {
    let mut guesser = Guesser::new();
    let mut blocks = Vec::new();
    let mut attempts = Vec::new();
    let mut since = 0;
    while blocks.len() < 9 {
        since += 1;
        if guesser.next().1.blocks {
            attempts.push(since);
            since = 0;
            blocks.push(guesser.known.blocked_until_ms - guesser.now);
        }
    }
    let minutes: Vec<u64> = blocks.iter().map(|ms| ms / MINUTE).collect();
    assert_eq!(minutes, [15, 30, 60, 120, 240, 480, 960, 1_440, 1_440]);
    assert_eq!(attempts, [10; 9]);
}

#[test]
fn a_success_ends_the_back_off_but_frees_no_place() {
    let mut guesser = Guesser::new();
    for _ in 0..3 {
        guesser.next();
    }
    guesser.now += 4 * SECOND;
    let attempt = guesser.take().unwrap();
    guesser.known = guesser.rules.succeed(guesser.known.clone(), attempt);
    assert_eq!((guesser.known.in_a_row, guesser.known.failures.len(), guesser.known.recent.len()), (0, 3, 4));
    // At once, and with a back-off that begins anew.
    guesser.take().unwrap();
    assert_eq!(guesser.known.not_before_ms, guesser.now + SECOND);
    guesser.now += SECOND;
    assert!(guesser.take().unwrap_err() > 14 * MINUTE, "the window is full");
}

#[test]
fn who_always_knows_the_password_is_never_blocked() {
    let mut owner = Guesser::new();
    for _ in 0..500 {
        let (_, attempt) = owner.next();
        assert!(!attempt.blocks);
        owner.known = owner.rules.succeed(owner.known.clone(), attempt);
    }
    assert_eq!(owner.known.failures, [0_u64; 0]);
}

#[test]
fn the_tenth_attempt_that_succeeds_blocks_nobody() {
    let mut guesser = Guesser::new();
    for _ in 0..9 {
        assert!(!guesser.next().1.blocks);
    }
    let (_, tenth) = guesser.next();
    assert!(tenth.blocks && guesser.known.blocked_until_ms > guesser.now);
    guesser.known = guesser.rules.succeed(guesser.known.clone(), tenth);
    assert_eq!((guesser.known.blocked_until_ms, guesser.known.blocks), (0, 0));
}

#[test]
fn attempts_at_the_same_time_are_no_more_than_others() {
    let known = Attempts::default();
    let (known, _first) = rules().take(known, START).unwrap();
    let refused = rules().take(known, START).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(1), "the first may fail yet");
}

#[test]
fn nothing_is_remembered_for_longer_than_it_matters() {
    let mut guesser = Guesser::new();
    let (_, attempt) = guesser.next();
    assert_eq!(guesser.known.forgotten_ms, START + 24 * HOUR);
    guesser.known = guesser.rules.succeed(guesser.known.clone(), attempt);
    assert_eq!(guesser.known.forgotten_ms, START + 15 * MINUTE);
    // What is forgotten is as if it had never been: whatever is known, then.
    let mut guesser = Guesser::new();
    for _ in 0..25 {
        guesser.next();
        let (fresh, _) = rules().take(Attempts::default(), guesser.known.forgotten_ms).unwrap();
        let (known, _) = rules().take(guesser.known.clone(), guesser.known.forgotten_ms).unwrap();
        assert_eq!(
            (known.recent, known.failures, known.in_a_row, known.not_before_ms, known.blocks),
            (fresh.recent, fresh.failures, fresh.in_a_row, fresh.not_before_ms, fresh.blocks)
        );
    }
}

#[test]
fn rows_stay_small_and_numbers_do_not_overflow() {
    let mut guesser = Guesser::new();
    for _ in 0..200 {
        guesser.next();
        assert!(guesser.known.recent.len() <= 5 && guesser.known.failures.len() <= 10);
    }
    let end = Attempts {
        recent: vec![u64::MAX; 5],
        failures: vec![u64::MAX; 9],
        in_a_row: u32::MAX,
        not_before_ms: 0,
        blocks: u32::MAX,
        blocked_until_ms: 0,
        forgotten_ms: u64::MAX,
    };
    assert!(rules().take(end.clone(), START).is_err());
    let (known, _) = rules().take(Attempts { recent: Vec::new(), ..end }, START).unwrap();
    assert_eq!(known.not_before_ms, START + MINUTE);
}

#[test]
fn a_node_whose_clock_is_behind_refuses_too() {
    let mut guesser = Guesser::new();
    for _ in 0..5 {
        guesser.next();
    }
    guesser.now -= 10 * SECOND;
    assert!(guesser.take().is_err());
}
