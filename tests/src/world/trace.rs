//! What happened, for people to read, and as a number that two runs of one seed must agree on.

use std::fmt;

/// The trace of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    /// Whether it is printed as it goes.
    printed: bool,
    /// When it is.
    pub now_ms: u64,
}

impl Trace {
    /// A trace that has nothing yet.
    pub fn new(printed: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, printed, now_ms: 0 }
    }

    /// Notes what happened.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        let line = what.to_string();
        self.add(line.as_bytes());
        if self.printed {
            println!("{:>10} {line}", self.now_ms);
        }
    }

    /// Notes what is not worth a line.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&self.now_ms.to_le_bytes()) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// What two runs agree on.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}
