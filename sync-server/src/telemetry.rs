//! Logs, as JSON and without secrets, and numbers for Prometheus. The line of each request is written by `router/observe.rs`.

use std::panic;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, registry};

pub mod metrics;
mod redact;

pub use redact::text as redacted;

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("log.filter: {0}")]
pub struct LogError(String);

/// The targets that may say more than INFO: ours.
const OURS: [&str; 2] = ["sync_server", "sync_core"];

/// Sends the logs of the whole process to standard error, as JSON, redacted; panics, too. For binaries; an app that embeds the
/// server has a subscriber of its own.
///
/// Libraries are heard from INFO up, whatever the filter says: below, they print statements with their values, frames in hex
/// and headers, and no shape tells what in there is somebody's.
pub fn init(filter: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| LogError(error.to_string()))?;
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(redact::Redacting)
        .with_filter(filter_fn(|line| is_heard(line.target(), *line.level())));
    registry().with(filter).with(lines).try_init().map_err(|error| LogError(error.to_string()))?;
    panic::set_hook(Box::new(|panicked| {
        let location = panicked.location().map(tracing::field::display);
        let said = panicked.payload_as_str().map(without_quotes);
        let thread = std::thread::current();
        tracing::error!(location, said, thread = thread.name(), "panic");
    }));
    Ok(())
}

fn is_heard(target: &str, level: tracing::Level) -> bool {
    let is_within =
        |ours: &str| target.strip_prefix(ours).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    level <= LevelFilter::INFO || OURS.iter().any(|ours| is_within(ours))
}

/// What a panic says, without what it quotes: that is what it could not work with.
fn without_quotes(message: &str) -> String {
    // What follows is of the value, or of a comparison.
    let message = message.lines().next().unwrap_or_default();
    let message = message.split_once("` value: ").map_or(message, |(before, _)| before);
    let mut said = String::new();
    let mut quoted_by = None;
    for character in message.chars() {
        match quoted_by {
            Some(quote) if character == quote => quoted_by = None,
            Some(_) => {}
            None if matches!(character, '"' | '`') => {
                quoted_by = Some(character);
                said.push_str(redact::REDACTED);
            }
            None => said.push(character),
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_heard_from_info_up() {
        assert!(is_heard("sync_server::writer", Level::TRACE) && is_heard("sync_core", Level::DEBUG));
        for library in ["tungstenite::protocol", "tokio_postgres::query", "hyper", "log", "sync_server_like"] {
            assert!(is_heard(library, Level::INFO), "{library}");
            assert!(!is_heard(library, Level::DEBUG), "{library}");
        }
    }

    #[test]
    fn what_a_panic_quotes_is_left_out() {
        let said = without_quotes("byte index 5 is out of bounds of `hunter2 \"and\" more` (bytes 3..7)");
        assert_eq!(said, "byte index 5 is out of bounds of (redacted) (bytes 3..7)");
        assert_eq!(without_quotes("failed\n  left: [104, 117]"), "failed");
        assert_eq!(without_quotes("on an `Err` value: Parse { hunter2 }"), "on an (redacted)");
        assert_eq!(without_quotes("called `Option::unwrap()` on a \"None"), "called (redacted) on a (redacted)");
    }
}
