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
}

impl Default for Token {
    fn default() -> Self {
        Self { issuer: "rejoin".to_owned(), audience: "rejoin".to_owned() }
    }
}

impl Token {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within(!self.issuer.is_empty(), "token.issuer", "a name")?;
        within(!self.audience.is_empty(), "token.audience", "a name")
    }
}
