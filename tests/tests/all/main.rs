//! The engine's integration tests: one binary, a module a subject.

mod access;
mod account;
mod app_versions;
mod compaction;
mod ffi;
mod healing;
mod histories;
mod hostile;
mod kills;
mod leaving;
mod live;
mod nodes;
mod oidc;
mod postgres;
mod quarantine;
mod reader;
mod restored;
mod schemathesis;
mod services;
mod simulation;
mod store;
mod sync;
mod tidy;
mod upgrades;
mod window;
