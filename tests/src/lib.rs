//! What the engine's integration tests share. The tests themselves are one binary, `tests/all`.

pub mod rig;
pub mod tidy;
