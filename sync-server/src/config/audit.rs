//! What was done, as it is kept.

use serde::{Deserialize, Serialize};

use super::{ConfigError, within};

/// What was done, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// For how long; 0 is for good.
    pub keep_days: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { keep_days: 400 }
    }
}

impl Audit {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        // A day more than the stores refuse to go below, since clocks differ.
        let fine = self.keep_days == 0 || (366..=36_500).contains(&self.keep_days);
        within(fine, "audit.keep_days", "0, or 366 to 36,500")
    }
}
