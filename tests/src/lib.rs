//! What the engine's integration tests share. The tests themselves are one binary, `tests/all`.

pub mod counted;
pub mod desk;
pub mod fake;
pub mod nodes;
pub mod notes;
pub mod proxy;
pub mod rig;
pub mod seen;
pub mod services;
pub mod tidy;
pub mod world;
