//! The engine's integration tests: one binary, a module a subject.

mod sync;
mod tidy;
