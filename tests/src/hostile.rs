//! placeholder
/// x
pub fn run(_name: &str) {}
