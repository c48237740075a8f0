//! How many cases a property gets, always the same ones: a failure in CI is a failure here.

use proptest::test_runner::{Config, RngSeed};
use sync_core::id::{Actor, DeviceId, DocId, SpaceId};

pub const SPACE: SpaceId = SpaceId::from_bytes([9; 16]);

/// `cases`, or what `PROPTEST_CASES` says for every property.
pub fn cases(cases: u32) -> Config {
    let told = std::env::var("PROPTEST_CASES").ok().and_then(|told| told.parse().ok());
    Config {
        cases: told.unwrap_or(cases),
        rng_seed: RngSeed::Fixed(20_261_122),
        failure_persistence: None,
        ..Config::default()
    }
}

pub fn device(number: u8) -> DeviceId {
    DeviceId::from_bytes([number; 16])
}

pub fn actor(number: u8) -> Actor {
    Actor::new(device(number), [number; 4])
}

pub fn doc(number: u8) -> DocId {
    DocId::from_bytes([number; 16])
}
