//! What goes wrong, and when: cuts and kills at seeded moments, spread over the whole run.

use std::collections::VecDeque;
use std::time::Duration;

use crate::random::Random;

/// How often the network of a phone is cut.
const CUTS: u64 = 12;
/// How often a process is killed.
const KILLS: u64 = 6;
/// How long a dead zone lasts, in milliseconds.
const CUT_MS: (u64, u64) = (100, 600);

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A phone loses its network for a while.
    Cut {
        /// Which phone.
        phone: usize,
        /// For how long.
        lasts: Duration,
    },
    /// A phone is killed.
    KillPhone {
        /// Which phone.
        phone: usize,
    },
    /// A node of the server is killed.
    KillNode {
        /// Which node.
        node: usize,
    },
}

/// All that goes wrong in a run of so many steps, with the step (of all phones together) at which it does.
pub fn schedule(seed: u64, steps: usize, phones: usize, nodes: usize) -> VecDeque<(usize, Fault)> {
    let mut random = Random::new(seed, u64::MAX);
    let all = CUTS + KILLS;
    let share = steps as u64 / (all + 1);
    let processes = nodes + phones;
    let first = random.within(0, processes as u64) as usize;
    let mut kills = 0;
    let fault = |index: u64| {
        // Every third fault is a kill, of the nodes and the phones in turn; where in its share of the run is chance.
        let at = share * (index + 1) - random.within(0, share.max(1));
        let fault = if index % 3 == 2 {
            kills += 1;
            match (first + kills) % processes {
                node if node < nodes => Fault::KillNode { node },
                turn => Fault::KillPhone { phone: turn - nodes },
            }
        } else {
            let phone = random.within(0, phones as u64) as usize;
            Fault::Cut { phone, lasts: Duration::from_millis(random.within(CUT_MS.0, CUT_MS.1)) }
        };
        (at as usize, fault)
    };
    (0..all).map(fault).collect()
}
