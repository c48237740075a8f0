//! What the examples and the tests share: recorded editing traces, and a network that can be cut.

pub mod proxy;
pub mod trace;
