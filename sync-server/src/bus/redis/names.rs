//! What the channels and keys are called.

use sync_core::id::SpaceId;

use super::packet::NodeId;

/// All names of one deployment.
pub(super) struct Names {
    prefix: String,
    /// Where nodes say that messages of theirs were lost.
    pub(super) lost: String,
    /// The set of the nodes that there are.
    pub(super) nodes: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), lost: format!("{prefix}:lost"), nodes: format!("{prefix}:nodes") }
    }

    /// The channel of a space. What stands in the braces is what a cluster would shard by.
    pub(super) fn space(&self, space: SpaceId) -> String {
        format!("{}:space:{{{space}}}", self.prefix)
    }

    /// The channel on which a node hears itself.
    pub(super) fn node(&self, node: NodeId) -> String {
        format!("{}:node:{node}", self.prefix)
    }
}
