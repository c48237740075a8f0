//! What nodes of one database agree on: the keys.

use async_trait::async_trait;

use super::StoreError;
use crate::auth::keys::KeyIds;

/// Where it is written down which keys all nodes have. A store that only one node can open has nothing to write.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// This node's signing keys were rotated: those that start later are compared with these. A node that is behind the others
    /// changes nothing.
    async fn keys_rotated(&self, before: &KeyIds, now: &KeyIds) -> Result<(), StoreError>;
}
