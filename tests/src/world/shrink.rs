//! Less of a case that still breaks the same promise.

use super::{Case, Plan, run};

/// Runs that are spent on one case.
const RUNS_MAX: u32 = 300;

/// Leaves out steps, in ever smaller pieces, as long as the same promise breaks.
pub fn shrink(case: &Case, promise: u8) -> Case {
    let steps = Plan::of(case.seed).steps;
    let (mut best, mut runs) = (case.clone(), 0);
    let mut size = steps.div_ceil(2);
    loop {
        let mut smaller = false;
        let mut from = 0;
        while from < steps && runs < RUNS_MAX {
            let mut tried = best.clone();
            tried.skip.extend(from..(from + size).min(steps));
            from += size;
            if tried.skip.len() == best.skip.len() {
                continue;
            }
            runs += 1;
            if run(&tried, false).broken.is_some_and(|broken| broken.promise == promise) {
                (best, smaller) = (tried, true);
            }
        }
        if runs >= RUNS_MAX || (size == 1 && !smaller) {
            return best;
        }
        if size > 1 {
            size = size.div_ceil(2);
        }
    }
}
