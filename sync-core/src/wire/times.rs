//! When the server took the entries of a page, by its clock: for people alone, nothing is decided by it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::pack::{PackError, Packer, Unpacker, inflate};
use crate::limits::PAGE_CHANGES_MAX;

/// No clock shows more: seconds up to the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// One for each entry of a page, in its order: seconds since 1970. Whole seconds are what people want to know, and most
/// entries of a page then have the time of the one before: they cost nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times(pub Vec<u64>);

impl Times {
    /// From milliseconds.
    pub fn of_ms(times: impl IntoIterator<Item = u64>) -> Self {
        Self(times.into_iter().map(|ms| (ms / 1_000).min(SECONDS_MAX)).collect())
    }

    /// Runs of entries with one time: how many, and by how much it differs from that of the run before.
    fn pack(&self) -> Vec<u8> {
        let (mut packer, mut before) = (Packer::default(), 0);
        for run in self.0.chunk_by(|one, other| one == other) {
            let at = run[0].min(SECONDS_MAX);
            packer.number(run.len() as u64);
            packer.number(folded(at.cast_signed() - before));
            before = at.cast_signed();
        }
        packer.finish()
    }

    fn unpack(packed: &[u8]) -> Result<Self, PackError> {
        let raw = inflate(packed)?;
        let mut input = Unpacker::new(&raw);
        let (mut times, mut before) = (Vec::new(), 0i64);
        while !input.is_at_end() {
            let count = input.number()?;
            if count > (PAGE_CHANGES_MAX - times.len()) as u64 {
                return Err(PackError::TooMany);
            }
            let at = before.checked_add(unfolded(input.number()?)).ok_or(PackError::Malformed)?;
            if !(0..=SECONDS_MAX.cast_signed()).contains(&at) || count == 0 {
                return Err(PackError::Malformed);
            }
            times.resize(times.len() + count as usize, at.cast_unsigned());
            before = at;
        }
        Ok(Self(times))
    }
}

/// A difference as a number without a sign, small where it is small: clocks of several nodes go back, too.
fn folded(difference: i64) -> u64 {
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

fn unfolded(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(&self.0)
        } else {
            ByteBuf::from(self.pack()).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let times = Vec::<u64>::deserialize(deserializer)?;
            Ok(Self(times.into_iter().map(|at| at.min(SECONDS_MAX)).collect()))
        } else {
            let packed = ByteBuf::deserialize(deserializer)?;
            Self::unpack(&packed).map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(times: &Times) -> Vec<u8> {
        let packed = times.pack();
        assert_eq!(&Times::unpack(&packed).unwrap(), times);
        packed
    }

    #[test]
    fn a_full_page_of_one_group_costs_a_few_bytes() {
        let now = 1_790_000_000_000;
        assert!(back(&Times::of_ms((0..PAGE_CHANGES_MAX).map(|_| now))).len() <= 8);
        // Twenty keystrokes a second, for eight minutes.
        let typed = Times::of_ms((0..PAGE_CHANGES_MAX as u64).map(|at| now + at * 50));
        assert!(back(&typed).len() < 200, "{}", back(&typed).len());
        // Days of short sessions.
        let sessions =
            Times::of_ms((0..PAGE_CHANGES_MAX as u64).map(|at| now + (at / 30) * 7_777_777 + at % 7 * 1_000));
        assert!(back(&sessions).len() < 3 * PAGE_CHANGES_MAX, "{}", back(&sessions).len());
    }

    #[test]
    fn clocks_go_back_and_nonsense_is_refused() {
        back(&Times(vec![SECONDS_MAX, 0, 5, 5, 4, SECONDS_MAX]));
        back(&Times::default());
        assert_eq!(Times::of_ms([u64::MAX]).0, [SECONDS_MAX]);
        let packed = |numbers: &[u64]| {
            let mut packer = Packer::default();
            for number in numbers {
                packer.number(*number);
            }
            packer.finish()
        };
        assert_eq!(Times::unpack(&packed(&[1, folded(7)])).unwrap().0, [7]);
        for bad in [
            vec![PAGE_CHANGES_MAX as u64 + 1, 0],
            vec![u64::MAX, 0],
            vec![0, 0],
            vec![1, folded(-1)],
            vec![1, folded(SECONDS_MAX.cast_signed() + 1)],
            vec![1, u64::MAX],
            vec![1, folded(1), 1, folded(i64::MAX)],
            vec![1],
        ] {
            assert!(Times::unpack(&packed(&bad)).is_err(), "{bad:?}");
        }
    }
}
