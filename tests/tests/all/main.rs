//! The engine's integration tests: one binary, a module a subject.

mod hostile;
mod kills;
mod live;
mod postgres;
mod store;
mod sync;
mod tidy;
