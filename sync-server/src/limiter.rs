//! How often something may happen: an exact sliding window. What is refused does not count.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod memory;
pub mod redis;
mod refused;

pub use refused::Refused;

/// So many times in any stretch of time of that length, of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The rule by which it is counted.
    pub rule: Arc<str>,
    /// Of what, such as a user's name. Keys of different rules have nothing to do with each other.
    pub key: String,
    /// How many times.
    pub requests: u32,
    /// In any stretch of time of this length.
    pub window: Duration,
}

impl Quota {
    /// What it is counted under where rules are not kept apart.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.rule, self.key)
    }

    /// As it stands when it is used up, for so long.
    pub(crate) fn used_up(&self, frees_in: Duration) -> Usage {
        Usage { rule: Arc::clone(&self.rule), requests: self.requests, window: self.window, remaining: 0, frees_in }
    }
}

/// Where a quota stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Its rule.
    pub rule: Arc<str>,
    /// How many times it allows; less than was asked for where this node enforces its share alone.
    pub requests: u32,
    /// In which stretch of time.
    pub window: Duration,
    /// How many more times now.
    pub remaining: u32,
    /// When a place becomes free; zero where none is taken.
    pub frees_in: Duration,
}

/// Whether it may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Then it was counted in all quotas, else in none.
    pub allowed: bool,
    /// Where the quotas stand now, in their order; of a refusal perhaps only those that refused.
    pub usage: Vec<Usage>,
}

impl Decision {
    /// The quota that is used up first.
    pub fn tightest(&self) -> Option<&Usage> {
        self.usage.iter().min_by_key(|usage| (usage.remaining, std::cmp::Reverse(usage.frees_in)))
    }

    /// How long trying again is in vain.
    pub fn refused_for(&self) -> Duration {
        let used_up = self.usage.iter().filter(|usage| usage.remaining == 0);
        used_up.map(|usage| usage.frees_in).max().unwrap_or_default()
    }
}

/// Counts. It never fails: where it cannot count together with others, it counts alone.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Counts in all of these quotas, or in none where one is used up.
    async fn ask(&self, quotas: &[Quota]) -> Decision;

    /// A refusal that is certain without asking anybody else. Nothing is counted.
    fn refused(&self, quotas: &[Quota]) -> Option<Decision>;
}
