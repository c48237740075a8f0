//! Chance that follows from a seed: a hash of the seed and a count.

use sync_core::id::Hash;

/// A stream of numbers.
pub struct Draw {
    key: Hash,
    count: u64,
}

impl Draw {
    /// The stream that these parts name.
    pub fn new(parts: &[&[u8]]) -> Self {
        let mut all: Vec<&[u8]> = vec![b"rejoin seed"];
        all.extend(parts);
        Self { key: Hash::of(&all), count: 0 }
    }

    /// The next bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        self.count += 1;
        let block = Hash::of(&[&self.key.0, &self.count.to_be_bytes()]).0;
        std::array::from_fn(|at| block[at % block.len()])
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    /// A number below that one; 0 below 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// One of these.
    pub fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}
