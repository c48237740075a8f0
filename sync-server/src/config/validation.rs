//! Asking the app whether changes may be taken.

use serde::{Deserialize, Serialize};
use url::Url;

use super::{ConfigError, Secret, within};

/// What to do with changes about which nobody can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// They are not taken for now: devices keep them and send them again.
    Closed,
    /// They are taken.
    Open,
}

/// Asking the app whether changes may be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Validation {
    /// Where to ask; nobody is asked without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// With what requests are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// How long one attempt may take.
    pub timeout_ms: u64,
    /// How many attempts there are.
    pub tries_max: u32,
    /// What happens when all have failed.
    pub on_failure: OnFailure,
    /// How many pushes are asked about at the same time, on each node.
    pub in_flight_max: usize,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            url: None,
            secret: None,
            timeout_ms: 2_000,
            tries_max: 2,
            on_failure: OnFailure::Closed,
            in_flight_max: 64,
        }
    }
}

impl Validation {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let is_url = |url: &String| Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        within(self.url.as_ref().is_none_or(is_url), "validation.url", "an http or https address")?;
        let signed = self.secret.as_ref().is_some_and(|secret| key(secret).is_some());
        let must = "`whsec_` and the base64 of 24 to 64 random bytes";
        within(self.url.is_none() || signed, "validation.secret", must)?;
        // A phone gives a request up after half a minute.
        within((1..=10_000).contains(&self.timeout_ms), "validation.timeout_ms", "1 ms to 10 s")?;
        within((1..=3).contains(&self.tries_max), "validation.tries_max", "1 to 3")?;
        within((1..=4_096).contains(&self.in_flight_max), "validation.in_flight_max", "1 to 4,096")
    }
}

/// The key in a secret of that form, which is that of Standard Webhooks.
pub(crate) fn key(secret: &Secret) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.decode(secret.expose().strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}
