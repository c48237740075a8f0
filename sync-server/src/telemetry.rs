//! Structured logs of the process, as JSON. The line of each request is written by `router/observe.rs`.

use tracing_subscriber::EnvFilter;

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("log.filter: {0}")]
pub struct LogError(String);

/// Sends the logs of the whole process to standard error, as JSON. For binaries; an app that embeds the server has a
/// subscriber of its own.
pub fn init(filter: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| LogError(error.to_string()))?;
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    subscriber.try_init().map_err(|error| LogError(error.to_string()))
}
