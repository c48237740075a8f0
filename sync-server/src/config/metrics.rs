//! Numbers for Prometheus.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Numbers for Prometheus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where they are served.
    pub listen: Option<SocketAddr>,
}
