//! The engine's integration tests: one binary, a module a subject.

mod access;
mod hostile;
mod kills;
mod live;
mod nodes;
mod postgres;
mod services;
mod store;
mod sync;
mod tidy;
