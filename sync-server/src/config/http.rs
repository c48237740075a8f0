//! How requests are taken.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sync_core::limits::REQUESTS_IN_FLIGHT_MAX;

use super::{ConfigError, time, within};

/// Connections and requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Open connections.
    pub connections_max: usize,
    /// Requests worked on at the same time.
    pub requests_in_flight_max: usize,
    /// How long a request's head may take to arrive, from the connection or the answer before it.
    pub header_timeout_ms: u64,
    /// How long a request's body may take to arrive.
    pub body_timeout_ms: u64,
    /// How long a request may take in all.
    pub request_timeout_ms: u64,
    /// How long requests in flight may take at shutdown.
    pub shutdown_timeout_ms: u64,
    /// What `Retry-After` says when the server is busy or unavailable.
    pub retry_after_ms: u64,
    /// Proxies that are believed when they say for whom they ask.
    pub proxies: Vec<IpNet>,
    /// The header in which they say so.
    pub forwarded_header: String,
    /// The header in which they say from which country somebody calls.
    pub country_header: Option<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            requests_in_flight_max: REQUESTS_IN_FLIGHT_MAX,
            header_timeout_ms: 30_000,
            body_timeout_ms: 20_000,
            request_timeout_ms: 30_000,
            shutdown_timeout_ms: 5_000,
            retry_after_ms: 1_000,
            proxies: Vec::new(),
            forwarded_header: "x-forwarded-for".to_owned(),
            country_header: None,
        }
    }
}

impl Http {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within((1..=1_000_000).contains(&self.connections_max), "http.connections_max", "1 to 1,000,000")?;
        within((1..=65_536).contains(&self.requests_in_flight_max), "http.requests_in_flight_max", "1 to 65,536")?;
        within(time(self.header_timeout_ms), "http.header_timeout_ms", "1 ms to 1 h")?;
        within(time(self.body_timeout_ms), "http.body_timeout_ms", "1 ms to 1 h")?;
        within(time(self.request_timeout_ms), "http.request_timeout_ms", "1 ms to 1 h")?;
        within(time(self.shutdown_timeout_ms), "http.shutdown_timeout_ms", "1 ms to 1 h")?;
        within(time(self.retry_after_ms), "http.retry_after_ms", "1 ms to 1 h")?;
        within(is_header(&self.forwarded_header), "http.forwarded_header", "a header's name")?;
        let country = self.country_header.as_deref().is_none_or(is_header);
        within(country, "http.country_header", "a header's name")
    }
}

fn is_header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
