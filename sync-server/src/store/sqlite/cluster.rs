//! One node has one folder of keys: there is nobody to agree with.

use async_trait::async_trait;

use super::super::StoreError;
use super::super::cluster::Cluster;
use super::SqliteStore;
use crate::auth::keys::KeyIds;

#[async_trait]
impl Cluster for SqliteStore {
    async fn keys_rotated(&self, _before: &KeyIds, _now: &KeyIds) -> Result<(), StoreError> {
        Ok(())
    }
}
