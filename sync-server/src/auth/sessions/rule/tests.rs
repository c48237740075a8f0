//! The rule, case by case.

use sync_core::id::Hash;

use super::*;

const PHONE: DeviceId = DeviceId::from_bytes([1; 16]);
const ELSEWHERE: DeviceId = DeviceId::from_bytes([2; 16]);
const REPEAT_MS: u64 = 30_000;
const ROTATED_MS: u64 = 1_000_000;
const EXPIRES_MS: u64 = 2_000_000;

fn session(n: u64, ended: Option<Why>) -> Session {
    Session {
        device: PHONE,
        nonce: [0; 16],
        n,
        token_hash: Hash([0; 32]),
        rotated_ms: ROTATED_MS,
        expires_ms: EXPIRES_MS,
        ended,
        public_key: None,
    }
}

/// What the issue says, in its own order, over everything that the rule looks at.
#[test]
fn every_case_is_decided_as_it_is_written_down() {
    let edges = [
        0,
        ROTATED_MS - 10_000,
        ROTATED_MS,
        ROTATED_MS + REPEAT_MS,
        ROTATED_MS + REPEAT_MS + CLOCK_SKEW_MS,
        ROTATED_MS + REPEAT_MS + CLOCK_SKEW_MS + 1,
        EXPIRES_MS - 1,
        EXPIRES_MS + CLOCK_SKEW_MS - 1,
        EXPIRES_MS + CLOCK_SKEW_MS,
        u64::MAX,
    ];
    let ends = [None, Some(Why::Replaced), Some(Why::LoggedOut), Some(Why::Revoked), Some(Why::Theft)];
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for current in [1, 2, 3, 9] {
        for n in 0..12 {
            for is_genuine in [true, false] {
                for device in [PHONE, ELSEWHERE] {
                    for is_proved in [true, false] {
                        for ended in ends {
                            for now_ms in edges {
                                let presented = Presented { n, is_genuine, device, is_proved };
                                let verdict = decide(&session(current, ended), presented, now_ms, REPEAT_MS);
                                let in_time = now_ms <= ROTATED_MS + REPEAT_MS + CLOCK_SKEW_MS;
                                let expected = if !is_genuine {
                                    Verdict::Unknown
                                } else if ended.is_some() {
                                    Verdict::Ended(ended)
                                } else if device == ELSEWHERE {
                                    Verdict::Theft
                                } else if now_ms >= EXPIRES_MS + CLOCK_SKEW_MS {
                                    Verdict::Ended(None)
                                } else if n >= current {
                                    Verdict::Rotate(n + 1)
                                } else if n == current - 1 && (in_time || is_proved) {
                                    Verdict::Repeat
                                } else {
                                    Verdict::Theft
                                };
                                let case = format!("{presented:?} of {current}, {ended:?}, at {now_ms}");
                                assert_eq!(verdict, expected, "{case}");
                                *seen.entry(format!("{:?}", std::mem::discriminant(&verdict))).or_default() += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(seen.len(), 5, "every verdict was met: {seen:?}");
}

#[test]
fn numbers_do_not_overflow() {
    let presented = |n| Presented { n, is_genuine: true, device: PHONE, is_proved: false };
    assert_eq!(decide(&session(u64::MAX, None), presented(u64::MAX), 0, u64::MAX), Verdict::Rotate(u64::MAX));
    assert_eq!(decide(&session(0, None), presented(u64::MAX - 1), 0, u64::MAX), Verdict::Rotate(u64::MAX));
    let last = Session { expires_ms: u64::MAX, rotated_ms: 0, ..session(5, None) };
    assert_eq!(decide(&last, presented(4), u64::MAX - 1, u64::MAX), Verdict::Repeat);
}
