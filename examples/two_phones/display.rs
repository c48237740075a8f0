//! What a person sees: one line that moves on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the moving line moves.
const MOVES_EVERY: Duration = Duration::from_millis(80);
/// How often progress is told where a line cannot move.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// Tells how it goes.
pub struct Display {
    quiet: bool,
    moves: bool,
    last: Option<Instant>,
    began: Instant,
}

impl Display {
    /// On standard output.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, moves: std::io::stdout().is_terminal(), last: None, began: Instant::now() }
    }

    /// How it stands, unless that was told just before.
    pub fn progress(&mut self, line: impl FnOnce() -> String) {
        let every = if self.moves { MOVES_EVERY } else { TOLD_EVERY };
        if self.quiet || self.last.is_some_and(|last| last.elapsed() < every) {
            return;
        }
        self.last = Some(Instant::now());
        if self.moves {
            print!("\r\x1b[2K{}", line());
            // A terminal that is gone is nothing to fail for.
            let _ = std::io::stdout().flush();
        } else {
            println!("{:7.1} s  {}", self.began.elapsed().as_secs_f64(), line());
        }
    }

    /// Something that happened, and stays on the screen.
    pub fn event(&mut self, line: &str) {
        if self.quiet {
            return;
        }
        if self.moves {
            print!("\r\x1b[2K");
        }
        println!("{:7.1} s  {line}", self.began.elapsed().as_secs_f64());
    }

    /// A line of the result; also where the rest is quiet.
    pub fn result(&mut self, line: &str) {
        if self.moves && !self.quiet {
            print!("\r\x1b[2K");
        }
        println!("{line}");
    }

    /// How long it has taken.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// A number as people read it: 259,778.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
