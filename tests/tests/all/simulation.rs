//! Simulated worlds: cases that once broke a promise, and some seeds. `tests/run` runs thousands.

use sync_tests::world::{Case, run};

/// As many as take some seconds without optimisation.
const SEEDS: u64 = 40;

fn kept() -> Vec<Case> {
    let text = include_str!("../../fixtures/seeds");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.map(|line| Case::parse(line.split('#').next().unwrap_or_default()).expect("a case")).collect()
}

#[test]
fn cases_that_once_broke_a_promise_keep_it() {
    for case in kept() {
        assert_eq!(run(&case, false).broken, None, "--case '{case}'");
    }
}

#[test]
fn worlds_keep_every_promise_and_are_the_same_twice() {
    for seed in 0..SEEDS {
        let case = Case::of(seed);
        let outcome = run(&case, false);
        assert_eq!(outcome.broken, None, "--seed {seed}");
        if seed.is_multiple_of(10) {
            assert_eq!(run(&case, false), outcome, "--seed {seed}: two runs differ");
        }
    }
}
