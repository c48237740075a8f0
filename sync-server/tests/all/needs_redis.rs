//! Nodes with Redis between them: a real one, which the tests kill.

mod access;
mod conformance;
mod cuts;
mod faults;
mod flood;
mod nodes;
mod server;
