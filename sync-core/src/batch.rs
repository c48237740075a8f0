//! From version vectors to batches bounded in bytes: two replicas sync with nothing else, over any transport, without a
//! server.
//!
//! ```
//! use sync_core::batch::{Budget, Replica};
//! use sync_core::document::Op;
//! use sync_core::id::{DeviceId, DocId, SpaceId};
//! use sync_core::path;
//!
//! let space = SpaceId::from_random([7; 16]);
//! let mut ann = Replica::new(space, DeviceId::from_random([1; 16]), [0; 4]);
//! let mut bob = Replica::new(space, DeviceId::from_random([2; 16]), [0; 4]);
//!
//! let doc = DocId::mint(0, [3; 10]);
//! ann.create(doc, "notes").unwrap();
//! ann.edit(doc, vec![Op::Put { path: path!["title"], value: "Milk".into() }], &mut || 4).unwrap();
//!
//! // Bob tells how far he is; Ann sends what he lacks, in pieces as small as the transport wants them.
//! while let Some(batch) = ann.next_batch(bob.heads(), Budget::default()) {
//!     bob.receive(batch).unwrap();
//! }
//! assert_eq!(bob.document(doc).unwrap().get("title"), Some("Milk".into()));
//! ```

use serde::{Deserialize, Serialize};

use crate::id::{DeviceId, SpaceId};
use crate::wire::Runs;

mod facts;
mod parked;
mod plan;
mod receive;
mod replica;

pub use plan::{Arrival, Budget, ITEM_BYTES, Plan, plan};
pub use receive::Received;
pub use replica::{Batches, Replica, ReplicaError};

/// A frame between two replicas: runs of feeds in the order in which the sender got them, so that each item follows
/// everything that it was made upon, also across devices and documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// [`SCHEMA`](crate::wire::SCHEMA).
    pub schema: u16,
    /// Which space.
    pub space: SpaceId,
    /// The items.
    pub runs: Runs,
}

/// A batch of which nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It is of a version that this replica does not know.
    #[error("batch of schema version {schema}")]
    Schema {
        /// Which.
        schema: u16,
    },
    /// It is of another space.
    #[error("batch of {space}, which is not the space of this replica")]
    OtherSpace {
        /// Which.
        space: SpaceId,
    },
    /// Two lives of one device wrote the same feed: it contradicts what is here.
    #[error("the feed of {device} has been written twice, differently")]
    Forked {
        /// Whose feed.
        device: DeviceId,
    },
}
