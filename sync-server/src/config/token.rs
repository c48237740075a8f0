//! Access tokens.

use serde::{Deserialize, Serialize};

use super::{ConfigError, within};

/// Access tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// Who issues tokens.
    pub issuer: String,
    /// For whom tokens are meant.
    pub audience: String,
    /// How long an access token of a session holds.
    pub access_seconds: u64,
    /// How long a refresh token holds if it is not used.
    pub refresh_seconds: u64,
    /// How long the very last refresh may be repeated.
    pub refresh_repeat_ms: u64,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            issuer: "rejoin".to_owned(),
            audience: "rejoin".to_owned(),
            access_seconds: 900,
            refresh_seconds: 30 * 86_400,
            refresh_repeat_ms: 30_000,
        }
    }
}

impl Token {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within(!self.issuer.is_empty(), "token.issuer", "a name")?;
        within(!self.audience.is_empty(), "token.audience", "a name")?;
        within((1..=86_400).contains(&self.access_seconds), "token.access_seconds", "1 to 86,400")?;
        let refresh = self.access_seconds..=365 * 86_400;
        within(refresh.contains(&self.refresh_seconds), "token.refresh_seconds", "token.access_seconds to a year")?;
        within(self.refresh_repeat_ms <= 600_000, "token.refresh_repeat_ms", "at most 10 minutes")
    }

    /// How long a refresh token holds if it is not used.
    pub(crate) fn refresh_ms(&self) -> u64 {
        self.refresh_seconds.saturating_mul(1_000)
    }
}
