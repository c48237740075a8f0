//! The engine's integration tests: one binary, a module a subject.

mod access;
mod account;
mod app_versions;
mod ffi;
mod hostile;
mod kills;
mod live;
mod nodes;
mod oidc;
mod postgres;
mod schemathesis;
mod services;
mod store;
mod sync;
mod tidy;
