//! Rejoin's pure core: it merges documents, computes batches of changes from version vectors, and decides everything that
//! the server and the phone decide.
//!
//! sync-core never reads a clock, draws a random number, opens a file or a socket, starts a thread, or depends on the
//! order of a hash map: time and randomness are arguments, and the same arguments give the same result everywhere.

pub mod admit;
pub mod batch;
pub mod check;
pub mod chunk;
pub mod code;
pub mod document;
pub mod epoch;
pub mod feed;
pub mod graft;
pub mod guard;
pub mod heal;
#[doc(hidden)]
pub mod hostile;
pub mod id;
mod leb128;
pub mod ledger;
pub mod limits;
pub mod log;
pub mod mutation;
pub mod quarantine;
pub mod reauthor;
#[cfg(feature = "openapi")]
mod schema;
pub mod session;
pub mod strip;
pub mod structure;
pub mod value;
pub mod version;
pub mod wire;
