//! The library's log, for the app to keep: through a bounded queue that drops, so that nothing waits for a slow sink.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};

use super::error::RejoinError;
use super::observe::told;

/// Lines that wait; what is more is dropped, and counted.
const LINES_MAX: usize = 256;
/// A longer line is cut.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Where lines go while somebody listens.
static LINES: Mutex<Option<SyncSender<LogLine>>> = Mutex::new(None);

fn lines() -> std::sync::MutexGuard<'static, Option<SyncSender<LogLine>>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, uniffi::Enum)]
pub enum LogLevel {
    /// Something failed that should not.
    Error,
    /// Something failed that may.
    Warn,
    /// What happens.
    Info,
    /// And how: for who works on the library. What phones download is built without such lines.
    Debug,
}

/// A line of the log. It holds no token, and nothing of a document's contents.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct LogLine {
    /// How important.
    pub level: LogLevel,
    /// The part of the library.
    pub target: String,
    /// What.
    pub text: String,
}

/// Keeps lines.
#[uniffi::export(with_foreign)]
pub trait LogSink: Send + Sync {
    /// One line; on a thread of the library's own.
    fn on_line(&self, line: LogLine) -> Result<(), RejoinError>;
}

/// Gives the library's log to the app, from `level` on. Once in a process: `false` if somebody listens already.
#[uniffi::export]
pub fn log_to(sink: Arc<dyn LogSink>, level: LogLevel) -> bool {
    if tracing::subscriber::set_global_default(Collector { level, dropped: AtomicU64::new(0) }).is_err() {
        return false;
    }
    let (sender, received) = sync_channel::<LogLine>(LINES_MAX);
    let spawned = std::thread::Builder::new().name("rejoin-log".into()).spawn(move || {
        for line in received {
            told(|| sink.on_line(line));
        }
    });
    *lines() = spawned.is_ok().then_some(sender);
    lines().is_some()
}

/// Lets go of the sink once it has what waits. For languages whose runtime ends before the process does; there is no more log
/// in this process then.
#[uniffi::export]
pub fn log_stop() {
    drop(lines().take());
}

struct Collector {
    level: LogLevel,
    dropped: AtomicU64,
}

fn level_of(level: Level) -> Option<LogLevel> {
    match level {
        Level::ERROR => Some(LogLevel::Error),
        Level::WARN => Some(LogLevel::Warn),
        Level::INFO => Some(LogLevel::Info),
        Level::DEBUG => Some(LogLevel::Debug),
        _ => None,
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("sync_");
        ours && level_of(*metadata.level()).is_some_and(|level| level <= self.level)
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let Some(level) = level_of(*event.metadata().level()) else { return };
        let mut text = Text::default();
        event.record(&mut text);
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = write!(text.0, " ({dropped} lines before this were dropped)");
        }
        text.cut();
        let line = LogLine { level, target: event.metadata().target().to_owned(), text: text.0 };
        let Some(sent) = lines().as_ref().map(|sender| sender.try_send(line)) else { return };
        if let Err(TrySendError::Full(_)) = sent {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn cut(&mut self) {
        if self.0.len() > LINE_BYTES_MAX {
            self.0.truncate(self.0.floor_char_boundary(LINE_BYTES_MAX));
        }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let gap = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}={value:?}"),
        };
    }
}
