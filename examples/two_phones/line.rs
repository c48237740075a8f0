//! What the director and the phones tell each other: one line of JSON each, over standard input and output.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sync_client_ffi::{DeviceId, DocId};

/// From the director to a phone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Begin to type, or go on.
    Go,
    /// A phone has done so many steps, and they end with that change of its feed.
    Point {
        /// Which phone.
        phone: usize,
        /// After how many steps.
        steps: usize,
        /// The last change of its feed then.
        n: u64,
    },
    /// There is a network again, as the operating system says it.
    Network,
    /// Exchange everything there is, and show it.
    Settle,
    /// Tell what the document holds.
    Prove,
}

/// From a phone to the director.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The document is open.
    Ready {
        /// The document.
        doc: DocId,
        /// How many steps are done: they were on disk before a kill.
        steps: usize,
        /// The last change of the own feed.
        n: u64,
    },
    /// So many steps are on disk.
    Typed {
        /// How many.
        steps: usize,
    },
    /// Others may merge what is done so far, and nothing behind it.
    Point {
        /// After how many steps.
        steps: usize,
        /// The last change of the own feed then.
        n: u64,
    },
    /// The script is played to its end.
    Done,
    /// Everything is exchanged, as far as this phone knows.
    Settled {
        /// The version vector, in hexadecimal.
        version: String,
    },
    /// What the document holds. Its canonical bytes are in a file beside the store.
    Proof(Box<Proof>),
}

/// What a replica holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proof {
    /// The heads, in hexadecimal, sorted.
    pub heads: Vec<String>,
    /// The text.
    pub text: String,
    /// The shared counter.
    pub words: i64,
    /// Changes of the own feed.
    pub n: u64,
    /// For each edit of the own feed, its place in the server's log; where there are very many edits, for some.
    pub places: BTreeMap<u64, u64>,
}

/// What a phone has to know when it starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Which phone it is.
    pub phone: usize,
    /// Where the server is, through this phone's own network.
    pub server: String,
    /// Its access token.
    pub token: String,
    /// All phones' devices, in their order.
    pub devices: Vec<DeviceId>,
    /// The document and the change of the first phone's feed that prepared it; `None` for the phone that does so.
    pub doc: Option<(DocId, u64)>,
    /// Whether it only reads, and so needs no script.
    pub reads: bool,
}

/// The file with a phone's [`Job`], in its folder.
pub const JOB_FILE: &str = "job.json";
/// The file with a replica's canonical bytes, in its folder.
pub const CANONICAL_FILE: &str = "canonical.automerge";
/// The phone's store, in its folder.
pub const STORE_FILE: &str = "store.sqlite";
