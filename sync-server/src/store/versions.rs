//! What a store keeps of the oldest versions of apps that are served: a row a platform.

use async_trait::async_trait;

use super::StoreError;

/// Platforms that there can be: each node reads all of them every few seconds.
pub const MINIMUMS_MAX: u32 = 64;

/// The oldest version of a platform's apps that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppMinimum {
    /// Which platform.
    pub platform: String,
    /// The version.
    pub minimum: String,
    /// Where an older one is updated.
    pub update_url: String,
}

/// The oldest versions of apps that are served.
#[async_trait]
pub trait Versions {
    /// All of them, by platform in ascending order.
    async fn app_minimums(&self) -> Result<Vec<AppMinimum>, StoreError>;

    /// Sets that of a platform. `false`, and nothing happens, where there are [`MINIMUMS_MAX`] others already.
    async fn set_app_minimum(&self, minimum: AppMinimum) -> Result<bool, StoreError>;

    /// Serves any version of a platform's apps. `false` where that was so already.
    async fn clear_app_minimum(&self, platform: &str) -> Result<bool, StoreError>;
}
