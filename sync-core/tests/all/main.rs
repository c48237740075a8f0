//! What sync-core promises, as properties over random histories and as tables of cases.
//!
//! `PROPTEST_CASES=100000 cargo test --release -p sync-core --test all` looks longer.
//! `UPDATE_GOLDEN=1 cargo test -p sync-core --test all golden` writes the golden files again: look at the difference, as
//! old phones must still be able to read what a new server says.

// Tests may read their environment and files; the core may not.
#![allow(clippy::disallowed_methods)]

mod batches;
mod cases;
mod documents;
mod edits;
mod epochs;
mod feeds;
mod frames;
mod golden;
mod grafts;
mod heal_sessions;
mod healing;
mod live_frames;
mod live_sessions;
mod live_world;
mod log;
mod mirror;
mod network;
mod pastes;
mod patches;
mod quarantine;
mod reauthor;
mod replicas;
mod restore;
mod rng;
mod server;
mod sessions;
mod structures;
mod undo;
mod versions;
